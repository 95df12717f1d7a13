"""What an answer means for the caller: the judge of every address.

Nothing here decides twice: a provider's own code is believed first, then what its
response says, then the text around it; and a token is given up only on a code that says
the app is gone, word for word. Texts can repeat what the sender wrote and one text
comes with several codes, so no text alone ends a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Outcome(StrEnum):
    """What became of one recipient. The caller branches on it."""

    ACCEPTED = "accepted"
    DEAD_TOKEN = "dead_token"  # noqa: S105  an outcome, no secret
    INVALID_TOKEN = "invalid_token"  # noqa: S105  an outcome, no secret
    MISCONFIGURED = "misconfigured"
    REJECTED = "rejected"
    OPTED_OUT = "opted_out"
    DUPLICATE = "duplicate"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"
    UNSENT = "unsent"
    REQUEUED = "requeued"


class Signal(NamedTuple):
    """What a provider may say, what it means, and why it is believed."""

    text: str
    outcome: Outcome
    why: str


_CODES: Final = (
    # The app is gone from the device. The only signals that let a caller delete a token.
    Signal("Unregistered", Outcome.DEAD_TOKEN, "APNs 410 and ADM: the app is no longer there"),
    Signal("ExpiredToken", Outcome.DEAD_TOKEN, "APNs 410: the device token has expired"),
    Signal("UNREGISTERED", Outcome.DEAD_TOKEN, "FCM v1 404: the registration has ended"),
    Signal("NotRegistered", Outcome.DEAD_TOKEN, "FCM legacy: the registration has ended"),
    # Not a token this channel can use. It may be alive on the other APNs environment.
    Signal("BadDeviceToken", Outcome.INVALID_TOKEN, "APNs: malformed, or of the other environment"),
    Signal("InvalidRegistration", Outcome.INVALID_TOKEN, "FCM legacy: not a registration token"),
    Signal("MissingRegistration", Outcome.INVALID_TOKEN, "FCM legacy: no registration token"),
    Signal("InvalidRegistrationId", Outcome.INVALID_TOKEN, "ADM: not a registration id"),
    Signal("MissingDeviceToken", Outcome.INVALID_TOKEN, "APNs: no device token"),
    # The operator's to fix. The token is fine.
    Signal("DeviceTokenNotForTopic", Outcome.MISCONFIGURED, "APNs: the token is of another app"),
    Signal("TopicDisallowed", Outcome.MISCONFIGURED, "APNs: the credential may not use the topic"),
    Signal("BadTopic", Outcome.MISCONFIGURED, "APNs: the channel's bundle id is no topic"),
    Signal("MissingTopic", Outcome.MISCONFIGURED, "APNs: the channel has no bundle id"),
    Signal("InvalidProviderToken", Outcome.MISCONFIGURED, "APNs: key id, team id or key is wrong"),
    Signal("ExpiredProviderToken", Outcome.MISCONFIGURED, "APNs: the provider token is stale"),
    Signal("MissingProviderToken", Outcome.MISCONFIGURED, "APNs: no credential reached it"),
    Signal("BadCertificate", Outcome.MISCONFIGURED, "APNs: the certificate is not usable"),
    Signal(
        "BadCertificateEnvironment", Outcome.MISCONFIGURED, "APNs: certificate of the other one"
    ),
    Signal("Forbidden", Outcome.MISCONFIGURED, "APNs: the credential is refused"),
    Signal("SENDER_ID_MISMATCH", Outcome.MISCONFIGURED, "FCM v1: the token is of another project"),
    Signal("MismatchSenderId", Outcome.MISCONFIGURED, "FCM legacy: the token is of another sender"),
    Signal(
        "THIRD_PARTY_AUTH_ERROR", Outcome.MISCONFIGURED, "FCM v1: the APNs or web push key is bad"
    ),
    Signal("PERMISSION_DENIED", Outcome.MISCONFIGURED, "FCM v1 403: the credential is refused"),
    Signal("UNAUTHENTICATED", Outcome.MISCONFIGURED, "FCM v1 401: the credential is not valid"),
    Signal("InvalidPackageName", Outcome.MISCONFIGURED, "FCM legacy: the token is of another app"),
    # The message's own fault.
    Signal("PayloadTooLarge", Outcome.REJECTED, "APNs 413: over the limit for a device"),
    Signal("PayloadEmpty", Outcome.REJECTED, "APNs: nothing to deliver"),
    Signal("BadCollapseId", Outcome.REJECTED, "APNs: the collapse id is over 64 bytes"),
    Signal("BadExpirationDate", Outcome.REJECTED, "APNs: the ttl is not usable"),
    Signal("BadPriority", Outcome.REJECTED, "APNs: the priority is not usable"),
    Signal("InvalidPushType", Outcome.REJECTED, "APNs: the push type is not usable"),
    Signal("MessageTooBig", Outcome.REJECTED, "FCM legacy: over the limit for a device"),
    Signal("MessageTooLarge", Outcome.REJECTED, "ADM: over the limit for a device"),
    Signal("InvalidDataKey", Outcome.REJECTED, "FCM legacy: a reserved key in the data"),
    Signal("InvalidTtl", Outcome.REJECTED, "FCM legacy: the ttl is not usable"),
    Signal("InvalidData", Outcome.REJECTED, "ADM: the data is not usable"),
    Signal("InvalidExpiration", Outcome.REJECTED, "ADM: the ttl is not usable"),
    # The provider asks for another try.
    Signal("TooManyRequests", Outcome.TRANSIENT, "APNs 429: too many to this device"),
    Signal("TooManyProviderTokenUpdates", Outcome.TRANSIENT, "APNs 429: keys change too often"),
    Signal("InternalServerError", Outcome.TRANSIENT, "APNs 500"),
    Signal("ServiceUnavailable", Outcome.TRANSIENT, "APNs 503"),
    Signal("Shutdown", Outcome.TRANSIENT, "APNs 503: the server is going down"),
    Signal("IdleTimeout", Outcome.TRANSIENT, "APNs: the connection had been idle"),
    Signal("QUOTA_EXCEEDED", Outcome.TRANSIENT, "FCM v1 429"),
    Signal("RESOURCE_EXHAUSTED", Outcome.TRANSIENT, "FCM v1 429, as its status"),
    Signal("UNAVAILABLE", Outcome.TRANSIENT, "FCM v1 503"),
    Signal("INTERNAL", Outcome.TRANSIENT, "FCM v1 500"),
    Signal("Unavailable", Outcome.TRANSIENT, "FCM legacy"),
    Signal("DeviceMessageRateExceeded", Outcome.TRANSIENT, "FCM legacy"),
    Signal("MaxRateExceeded", Outcome.TRANSIENT, "ADM 429"),
)

_WORDS: Final = (
    Signal(
        "not a valid FCM registration token",
        Outcome.INVALID_TOKEN,
        "FCM v1 says INVALID_ARGUMENT for a bad token too; only these words tell (recorded)",
    ),
    Signal(
        "No channel of type",
        Outcome.MISCONFIGURED,
        "the project lacks the channel; AWS's own words, where no provider was asked",
    ),
)

_WEAK_CODES: Final = (
    Signal(
        "INVALID_ARGUMENT",
        Outcome.REJECTED,
        "FCM v1: a fault of the message, unless a text says that it is the token",
    ),
    Signal("NOT_FOUND", Outcome.INVALID_TOKEN, "FCM v1 404 without its UNREGISTERED: kept"),
)

_WEAK_WORDS: Final = (
    Signal(
        "Requested entity was not found",
        Outcome.INVALID_TOKEN,
        "FCM v1 404 without its UNREGISTERED: gone, or of another project: kept",
    ),
    Signal(
        "Unregistered or expired token",
        Outcome.INVALID_TOKEN,
        "recorded with BadDeviceToken and DeviceTokenNotForTopic too, whose tokens live: kept",
    ),
)

_WHOLE_CALL: Final = (
    Signal("TooManyRequestsException", Outcome.TRANSIENT, "429: over the account's rate"),
    Signal("ThrottlingException", Outcome.TRANSIENT, "429 of AWS's front end"),
    Signal("InternalServerErrorException", Outcome.TRANSIENT, "500"),
    Signal("ServiceUnavailableException", Outcome.TRANSIENT, "503"),
    Signal("ForbiddenException", Outcome.MISCONFIGURED, "403: no permission"),
    Signal("AccessDeniedException", Outcome.MISCONFIGURED, "403: the role lacks the action"),
    Signal("UnrecognizedClientException", Outcome.MISCONFIGURED, "403: no such access key"),
    Signal("InvalidSignatureException", Outcome.MISCONFIGURED, "403: wrong secret, or clock"),
    Signal("ExpiredTokenException", Outcome.MISCONFIGURED, "403: the role's session has ended"),
    Signal("NotFoundException", Outcome.MISCONFIGURED, "404: no such project"),
    Signal("MethodNotAllowedException", Outcome.MISCONFIGURED, "405: not the API's endpoint"),
    Signal("BadRequestException", Outcome.REJECTED, "400"),
    Signal("PayloadTooLargeException", Outcome.REJECTED, "413: over 7 MB"),
    # What botocore raises itself
    Signal("NoCredentialsError", Outcome.MISCONFIGURED, "no credentials in the environment"),
    Signal("PartialCredentialsError", Outcome.MISCONFIGURED, "half a credential"),
    Signal("CredentialRetrievalError", Outcome.MISCONFIGURED, "the credentials' source failed"),
    Signal("NoRegionError", Outcome.MISCONFIGURED, "no region in the environment"),
    Signal("ConnectTimeoutError", Outcome.TRANSIENT, "never connected, so nothing was sent"),
    Signal("EndpointConnectionError", Outcome.TRANSIENT, "never connected, so nothing was sent"),
    Signal("ProxyConnectionError", Outcome.TRANSIENT, "never connected, so nothing was sent"),
    Signal("SSLError", Outcome.TRANSIENT, "no session, so nothing was sent"),
    Signal("ReadTimeoutError", Outcome.UNKNOWN, "sent, and no answer in time"),
    Signal("ConnectionClosedError", Outcome.UNKNOWN, "sent, and cut off before the answer"),
    Signal("ResponseParserError", Outcome.UNKNOWN, "answered, but not in the API's form"),
    Signal("HTTPClientError", Outcome.UNKNOWN, "broke somewhere between"),
)

_STRONG: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _CODES}
_WEAK: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _WEAK_CODES}
_OF_CALLS: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _WHOLE_CALL}

SIGNALS: Final = (*_CODES, *_WORDS, *_WEAK_CODES, *_WEAK_WORDS, *_WHOLE_CALL)
"""Everything that is ever believed."""

REASONS: Final = frozenset({*_STRONG, *_WEAK, *_OF_CALLS})
"""The closed list that ``reason`` comes from, where a service gave it."""

_BY_STATUS: Final[Mapping[str, Outcome]] = {
    "SUCCESSFUL": Outcome.ACCEPTED,
    "THROTTLED": Outcome.TRANSIENT,
    "TEMPORARY_FAILURE": Outcome.TRANSIENT,
    "OPT_OUT": Outcome.OPTED_OUT,
    "DUPLICATE": Outcome.DUPLICATE,
}
"""Statuses that say all there is to say."""

_PROVIDER_MEMBERS: Final = (
    "details", "errorCode", "reason", "error", "results", "status", "message", "description",
)  # fmt: skip
"""Where APNs (reason), FCM v1 (error, details), FCM legacy (results) and ADM (reason) put it."""

_DEPTH: Final = 8
"""How deep JSON may hold JSON before it counts as text."""


class Verdict(NamedTuple):
    """What one answer means for one address."""

    outcome: Outcome
    delivery_status: str | None = None
    status_code: int | None = None
    reason: str | None = None
    status_message: str | None = None
    message_id: str | None = None
    replacement_token: str | None = None


NO_ANSWER: Final = Verdict(Outcome.UNKNOWN)


def judge(answer: Mapping[str, Any] | None) -> Verdict:
    """Judge what SendMessages answered for one address.

    Parameters
    ----------
    answer
        The ``MessageResult`` of botocore's model, of which any member may be missing or
        of another kind; None where the address is missing from the result.
    """
    if not isinstance(answer, Mapping):
        return NO_ANSWER
    status, code = answer.get("DeliveryStatus"), answer.get("StatusCode")
    message = _text(answer.get("StatusMessage"))
    reason = None
    if status == "SUCCESSFUL":
        outcome = Outcome.ACCEPTED
    else:
        said, reason = _said(message)
        outcome = _decide(_text(status), code, said)
    return Verdict(
        outcome,
        _text(status),
        code if type(code) is int else None,
        reason,
        message,
        _text(answer.get("MessageId")),
        _text(answer.get("UpdatedToken")) or None,
    )


def judge_refusal(code: str, http_status: int | None, message: str | None) -> Verdict:
    """Judge a call that was refused or failed as a whole, for each of its addresses.

    Parameters
    ----------
    code
        The exception's name, as the service or botocore gives it.
    http_status
        Of the answer; None where there was none.
    message
        The service's words.
    """
    signal = _OF_CALLS.get(code)
    if message and "No channel of type" in message:
        outcome = Outcome.MISCONFIGURED  # some have seen the whole call refused for one channel
    elif signal:
        outcome = signal.outcome
    else:
        outcome = _by_http_status(http_status)
    return Verdict(outcome, None, http_status, signal and signal.text, _text(message))


def _decide(status: str | None, code: object, said: Outcome | None) -> Outcome:
    if status is None:
        return Outcome.UNKNOWN
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == "PERMANENT_FAILURE":
        refused = Outcome.MISCONFIGURED if code in (401, 403) else Outcome.REJECTED
        return said or refused
    # UNKNOWN_FAILURE, or a status that came later than this list: without a provider's
    # word that it did not arrive, it may have.
    return Outcome.UNKNOWN if said in (None, Outcome.TRANSIENT) else said


def _by_http_status(status: int | None) -> Outcome:
    if status is None:
        return Outcome.UNKNOWN
    if status in (401, 403, 404, 405):
        return Outcome.MISCONFIGURED
    if status == 429 or status >= 500:
        return Outcome.TRANSIENT
    return Outcome.REJECTED


def _said(message: str | None) -> tuple[Outcome | None, str | None]:
    """Find what a StatusMessage says: the outcome, and the provider's code for it."""
    if not message:
        return None, None
    sayings = list(_sayings(message))
    code = next((saying for saying in sayings if saying in _STRONG or saying in _WEAK), None)
    for codes, words in ((_STRONG, _WORDS), (_WEAK, _WEAK_WORDS)):
        for saying in sayings:
            if saying in codes:
                return codes[saying].outcome, saying
            for signal in words:
                if signal.text in saying:
                    return signal.outcome, code
    return None, None


def _sayings(message: str) -> Iterator[str]:
    """List what a StatusMessage says, what is nearest to the provider first."""
    document = _unwrapped(message)
    if not isinstance(document, dict):
        yield message
        return
    yield from _provider_sayings(document.get("pushProviderError"))
    yield from _provider_sayings(document.get("pushProviderResponse"))
    yield from _provider_sayings(document)
    yield from _provider_sayings(document.get("errorMessage"))


def _provider_sayings(value: object, depth: int = 0) -> Iterator[str]:
    value = _unwrapped(value)
    if isinstance(value, str):
        yield value
    elif depth < _DEPTH and isinstance(value, dict):
        for member in _PROVIDER_MEMBERS:
            yield from _provider_sayings(value.get(member), depth + 1)
    elif depth < _DEPTH and isinstance(value, list):
        for item in value:
            yield from _provider_sayings(item, depth + 1)


def _unwrapped(value: object) -> object:
    """Read JSON, and the JSON in it, as far as it is whole; broken JSON stays text."""
    for _ in range(_DEPTH):
        if not isinstance(value, str) or value[:1] not in ("{", "[", '"'):
            break
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
    return value


def _text(value: object) -> str | None:
    """Give a value that should be text as text that can be written as UTF-8."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text.isascii() else text.encode(errors="replace").decode()
