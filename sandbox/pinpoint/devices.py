"""Well-known device tokens, and what each push provider answers for them.

They work like a payment provider's test cards: a token that begins with a name of
``WELL_KNOWN`` behaves as its row says, on every channel. Any other token is accepted.
To add one, add a row here and in ``docs/sandbox-tokens.md``. This module only looks answers
up; ``service`` counts attempts, waits and records.

How certain the answers are. Recorded from the real service: the shape of ``StatusMessage``;
for APNs the codes, words and text of ``bad-token`` and the text of ``wrong-topic``; for FCM
v1 ``bad-token``, and the provider's words of ``rejected``; the text of ``no-channel``.
Documented by the providers: the error codes of all others. Inferred, because no record is
public: the outer ``StatusCode`` and ``errorMessage`` of all others, and that the answers of
ADM and Baidu have the same shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

PREFIX: Final = "sandbox-"
SLOW_SECONDS: Final = 3
LONGEST_SECONDS: Final = 120


class Channel(NamedTuple):
    """A ChannelType: the name of its message, its provider, and the largest payload in bytes."""

    message: str
    provider: str
    payload_limit: int


CHANNELS: Final[Mapping[str, Channel]] = {
    "GCM": Channel("GCMMessage", "FCM", 4096),
    "APNS": Channel("APNSMessage", "APNs", 4096),
    "APNS_SANDBOX": Channel("APNSMessage", "APNs", 4096),
    "APNS_VOIP": Channel("APNSMessage", "APNs", 5120),
    "APNS_VOIP_SANDBOX": Channel("APNSMessage", "APNs", 5120),
    "BAIDU": Channel("BaiduMessage", "Baidu", 4096),
    "ADM": Channel("ADMMessage", "ADM", 6144),
}


class CallRefused(NamedTuple):
    """An error for the whole call instead of a result for the address."""

    code: str


@dataclass(frozen=True, slots=True)
class WellKnown:
    """One row of the table.

    Attributes
    ----------
    token
        The token, or what it begins with: ``sandbox-slow`` also stands for
        ``sandbox-slow-…``.
    meaning
        A description of the device.
    answers
        The answer to each attempt in turn; the last one stays. A name is a key of
        ``WORDS`` or one that ``result`` knows.
    """

    token: str
    meaning: str
    answers: tuple[str | CallRefused, ...]

    @property
    def changes(self) -> bool:
        """Whether the answer depends on the attempt."""
        return len(self.answers) > 1


_THROTTLED_CALL: Final = CallRefused("TooManyRequestsException")
_FAILED_CALL: Final = CallRefused("InternalServerErrorException")

WELL_KNOWN: Final = (
    WellKnown("sandbox-accepted", "The provider accepts it", ("accepted",)),
    WellKnown("sandbox-unregistered", "The app was removed from the device", ("unregistered",)),
    WellKnown("sandbox-bad-token", "This channel cannot use the token", ("bad-token",)),
    WellKnown("sandbox-wrong-topic", "Of another app, topic or sender", ("wrong-topic",)),
    WellKnown("sandbox-bad-credentials", "The provider refuses us", ("bad-credentials",)),
    WellKnown("sandbox-rejected", "The provider refuses the message", ("rejected",)),
    WellKnown("sandbox-too-large", "The provider finds it too large", ("too-large",)),
    WellKnown("sandbox-throttled-once", "Throttled once, then accepted", ("throttled", "accepted")),
    WellKnown("sandbox-throttled", "Always throttled", ("throttled",)),
    WellKnown("sandbox-temporary", "Always a temporary failure", ("temporary",)),
    WellKnown("sandbox-opted-out", "The user opted out", ("opted-out",)),
    WellKnown("sandbox-duplicate", "The service has seen this address", ("duplicate",)),
    WellKnown("sandbox-no-channel", "The channel is not enabled", ("no-channel",)),
    WellKnown(
        "sandbox-slow",
        f"Accepted, and the whole call answers after {SLOW_SECONDS} seconds, or after N: "
        f"sandbox-slow-N, {LONGEST_SECONDS} at most",
        ("accepted",),
    ),
    WellKnown(
        "sandbox-replaced",
        "Accepted with a new token in UpdatedToken on GCM, plainly elsewhere",
        ("replaced",),
    ),
    WellKnown("sandbox-broken", "bad-token with a StatusMessage cut short", ("broken",)),
    WellKnown("sandbox-missing", "Missing from the result", ("missing",)),
    WellKnown("sandbox-unknown", "UNKNOWN_FAILURE", ("unknown",)),
    WellKnown("sandbox-new-status", "A DeliveryStatus that no model lists", ("new-status",)),
    WellKnown("sandbox-call-500", "The whole call fails with a 500", (_FAILED_CALL,)),
    WellKnown(
        "sandbox-call-500-once", "… the first time, then accepted", (_FAILED_CALL, "accepted")
    ),
    WellKnown("sandbox-call-429", "The whole call is throttled", (_THROTTLED_CALL,)),
    WellKnown(
        "sandbox-call-429-once", "… the first time, then accepted", (_THROTTLED_CALL, "accepted")
    ),
    WellKnown(
        "sandbox-call-403", "The whole call is refused", (CallRefused("ForbiddenException"),)
    ),
)
# The longest name first, so that sandbox-throttled-once is not taken for sandbox-throttled.
_LONGEST_FIRST: Final = sorted(WELL_KNOWN, key=lambda row: -len(row.token))


class Words(NamedTuple):
    """A failure as one provider reports it."""

    status_code: int  # the API's own StatusCode, which need not be the provider's
    provider_status: int
    error: str
    response: Mapping[str, object]


def _apns(status_code: int, provider_status: int, reason: str) -> Words:
    return Words(status_code, provider_status, reason, {"reason": reason})


def _fcm(status_code: int, provider_status: int, error: str, status: str) -> Words:
    return Words(status_code, provider_status, error, {"status": status})


def _adm(status_code: int, provider_status: int, reason: str) -> Words:
    return Words(status_code, provider_status, reason, {"reason": reason})


def _baidu(status_code: int, provider_status: int, code: int, text: str) -> Words:
    return Words(status_code, provider_status, text, {"error_code": code, "error_msg": text})


# ADM and Baidu do not distinguish a token of another app from a malformed or an unbound one.
WORDS: Final[Mapping[str, Mapping[str, Words]]] = {
    "unregistered": {
        "APNs": _apns(410, 410, "Unregistered"),
        "FCM": _fcm(410, 404, "Requested entity was not found.", "UNREGISTERED"),
        "ADM": _adm(410, 400, "Unregistered"),
        "Baidu": _baidu(410, 400, 30608, "Bind Relation Not Found"),
    },
    "bad-token": {
        "APNs": _apns(410, 400, "BadDeviceToken"),
        "FCM": _fcm(
            400,
            400,
            "The registration token is not a valid FCM registration token",
            "INVALID_ARGUMENT",
        ),
        "ADM": _adm(400, 400, "InvalidRegistrationId"),
        "Baidu": _baidu(400, 400, 30602, "Request Params Not Valid"),
    },
    "wrong-topic": {
        "APNs": _apns(410, 400, "DeviceTokenNotForTopic"),
        "FCM": _fcm(403, 403, "SenderId mismatch", "SENDER_ID_MISMATCH"),
        "ADM": _adm(400, 400, "InvalidRegistrationId"),
        "Baidu": _baidu(410, 400, 30608, "Bind Relation Not Found"),
    },
    "bad-credentials": {
        "APNs": _apns(403, 403, "InvalidProviderToken"),
        "FCM": _fcm(401, 401, "Auth error from APNS or Web Push Service", "THIRD_PARTY_AUTH_ERROR"),
        "ADM": _adm(401, 401, "AccessTokenExpired"),
        "Baidu": _baidu(401, 401, 30603, "Authentication Failed"),
    },
    "rejected": {
        "APNs": _apns(400, 400, "BadPriority"),
        "FCM": _fcm(400, 400, "Invalid value at message.notification.title", "INVALID_ARGUMENT"),
        "ADM": _adm(400, 400, "InvalidData"),
        "Baidu": _baidu(400, 400, 30602, "Request Params Not Valid"),
    },
    "too-large": {
        "APNs": _apns(413, 413, "PayloadTooLarge"),
        "FCM": _fcm(400, 400, "Android message is too big", "INVALID_ARGUMENT"),
        "ADM": _adm(413, 413, "MessageTooLarge"),
        "Baidu": _baidu(400, 400, 30602, "Request Params Not Valid"),
    },
    "throttled": {
        "APNs": _apns(429, 429, "TooManyRequests"),
        "FCM": _fcm(429, 429, "Resource has been exhausted", "QUOTA_EXCEEDED"),
        "ADM": _adm(429, 429, "MaxRateExceeded"),
        "Baidu": _baidu(429, 400, 30699, "Requests are too frequent to be temporarily rejected"),
    },
    "temporary": {
        "APNs": _apns(503, 503, "ServiceUnavailable"),
        "FCM": _fcm(503, 503, "The service is currently unavailable.", "UNAVAILABLE"),
        "ADM": _adm(503, 503, "ServiceUnavailable"),
        "Baidu": _baidu(500, 500, 30600, "Internal Server Error"),
    },
}
_DELIVERY_STATUS: Final = {"throttled": "THROTTLED", "temporary": "TEMPORARY_FAILURE"}
_ERROR_MESSAGE: Final = {
    400: "Invalid notification",
    401: "Unauthorized",
    403: "Forbidden",
    410: "Unregistered or expired token",
    413: "Payload too large",
    429: "Throttled",
    500: "Service unavailable",
    503: "Service unavailable",
}
# Answers of the API itself: (DeliveryStatus, StatusCode, StatusMessage).
_OWN_WORDS: Final = {
    "accepted": ("SUCCESSFUL", 200, ""),
    "replaced": ("SUCCESSFUL", 200, ""),
    "opted-out": ("OPT_OUT", 400, "The recipient has opted out"),
    "duplicate": ("DUPLICATE", 400, "Duplicate address"),
    "no-channel": (
        "PERMANENT_FAILURE",
        400,
        "No channel of type {channel} is enabled for the application {application_id}",
    ),
    "unknown": ("UNKNOWN_FAILURE", 500, "Unknown failure"),
    "new-status": ("DEFERRED", 202, "Deferred"),
}


def well_known(token: str) -> WellKnown | None:
    """Return the row of a token, or None for a token that is accepted."""
    if not token.startswith(PREFIX):
        return None
    for row in _LONGEST_FIRST:
        if token == row.token or token.startswith(row.token + "-"):
            return row
    return None


def delay(token: str) -> int:
    """Return how many seconds this token delays the call: 7 for ``sandbox-slow-7-b``."""
    slow = re.match(r"sandbox-slow(?:-([0-9]+))?(?:-|$)", token)
    if slow is None:
        return 0
    return min(int(slow[1] or SLOW_SECONDS), LONGEST_SECONDS)


def result(answer: str, channel: str, token: str, application_id: str) -> dict[str, Any] | None:
    """One address's ``MessageResult``, without its MessageId; None where it is missing.

    Examples
    --------
    >>> result("bad-token", "APNS_SANDBOX", "…", "…")["StatusCode"]
    410
    """
    if answer == "missing":
        return None
    if answer == "broken":
        complete = _failure("bad-token", channel)
        return {**complete, "StatusMessage": complete["StatusMessage"][:-20]}
    if answer in WORDS:
        return _failure(answer, channel)
    status, code, text = _OWN_WORDS[answer]
    own = {
        "DeliveryStatus": status,
        "StatusCode": code,
        "StatusMessage": text.format(channel=channel, application_id=application_id),
    }
    if answer == "replaced" and channel == "GCM":
        own["UpdatedToken"] = f"sandbox-replacement-for-{token}"[:2048]
    return own


def _failure(answer: str, channel: str) -> dict[str, Any]:
    words = WORDS[answer][CHANNELS[channel].provider]
    message = {
        "errorMessage": _ERROR_MESSAGE[words.status_code],
        "channelType": channel,
        "pushProviderStatusCode": str(words.provider_status),
        "pushProviderError": words.error,
        "pushProviderResponse": json.dumps(words.response, separators=(",", ":")),
    }
    return {
        "DeliveryStatus": _DELIVERY_STATUS.get(answer, "PERMANENT_FAILURE"),
        "StatusCode": words.status_code,
        "StatusMessage": json.dumps(message, separators=(",", ":")),
    }


def table() -> list[dict[str, object]]:
    """Return the well-known tokens with their answers on every channel, ready for JSON."""
    return [
        {
            "token": row.token,
            "meaning": row.meaning,
            "answers": {
                channel: [
                    {"error": answer.code}
                    if isinstance(answer, CallRefused)
                    else result(answer, channel, row.token, "{ApplicationId}")
                    for answer in row.answers
                ]
                for channel in CHANNELS
            },
        }
        for row in WELL_KNOWN
    ]
