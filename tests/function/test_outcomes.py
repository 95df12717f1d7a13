"""What an answer means: every signal, every shape an answer may have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from push_sender.outcomes.classification import classify, classify_error
from push_sender.outcomes.outcome import Outcome
from push_sender.outcomes.signals import CALL_CODES, REASONS, SIGNALS
from tests.support.invocation import Push
from tests.support.provider import Json, Provider, accepted, refused, results

RECORDED_APNS = (
    '{"errorMessage":"Unregistered or expired token","channelType":"APNS_SANDBOX",'
    '"pushProviderStatusCode":"400","pushProviderError":"BadDeviceToken",'
    '"pushProviderResponse":"{\\"reason\\":\\"BadDeviceToken\\"}"}'
)
RECORDED_FCM = (
    '{"errorMessage":"Invalid notification","channelType":"GCM","pushProviderStatusCode":"400",'
    '"pushProviderError":"The registration token is not a valid FCM registration token",'
    '"pushProviderResponse":"{\\"status\\":\\"INVALID_ARGUMENT\\"}"}'
)
RECORDED_FCM_MESSAGE = (
    '{"pushProviderError":"Invalid value at message.notification.title",'
    '"pushProviderResponse":"{\\"status\\":\\"INVALID_ARGUMENT\\"}"}'
)

CALL_SIGNALS = list(CALL_CODES.values())


def permanent(message: Any, code: int = 400) -> Json:
    """Answer for an address that failed for good."""
    return {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": code, "StatusMessage": message}


def told(error: Any = None, response: Any = None, text: str = "Invalid notification") -> str:
    """Write a StatusMessage in the recorded shape."""
    return json.dumps(
        {
            "errorMessage": text,
            "pushProviderError": error,
            "pushProviderResponse": response if isinstance(response, str) else json.dumps(response),
        }
    )


@pytest.mark.parametrize(
    ("message", "code", "outcome", "reason"),
    [
        pytest.param(RECORDED_APNS, 410, "invalid_token", "BadDeviceToken", id="recorded APNs"),
        pytest.param(RECORDED_FCM, 400, "invalid_token", "INVALID_ARGUMENT", id="recorded FCM"),
        pytest.param(
            RECORDED_FCM_MESSAGE, 400, "rejected", "INVALID_ARGUMENT", id="recorded FCM, message"
        ),
        pytest.param(
            told("DeviceTokenNotForTopic", {"reason": "DeviceTokenNotForTopic"}, "Unregistered"),
            410,
            "misconfigured",
            "DeviceTokenNotForTopic",
            id="the text says dead, the provider says wrong topic",
        ),
        pytest.param(
            told("Unregistered", {"reason": "Unregistered"}),
            410,
            "dead_token",
            "Unregistered",
            id="APNs dead",
        ),
        pytest.param(
            told(None, {"reason": "ExpiredToken"}),
            410,
            "dead_token",
            "ExpiredToken",
            id="only the nested response says so",
        ),
        pytest.param(
            told(
                "Requested entity was not found.",
                {
                    "error": {
                        "code": 404,
                        "message": "Requested entity was not found.",
                        "status": "NOT_FOUND",
                        "details": [{"@type": "x", "errorCode": "UNREGISTERED"}],
                    }
                },
            ),
            404,
            "dead_token",
            "UNREGISTERED",
            id="FCM v1's whole error body",
        ),
        pytest.param(
            told("Requested entity was not found.", {"status": "NOT_FOUND"}),
            404,
            "invalid_token",
            "NOT_FOUND",
            id="FCM 404 without UNREGISTERED keeps the token",
        ),
        pytest.param(
            told(None, {"results": [{"error": "NotRegistered"}], "failure": 1}),
            400,
            "dead_token",
            "NotRegistered",
            id="FCM legacy",
        ),
        pytest.param(
            told({"reason": "Unregistered"}),
            400,
            "dead_token",
            "Unregistered",
            id="error as object",
        ),
        pytest.param(
            json.dumps(told("Unregistered")), 410, "dead_token", "Unregistered", id="JSON in JSON"
        ),
        pytest.param("Unregistered", 410, "dead_token", "Unregistered", id="text alone, a code"),
        pytest.param(
            "Unregistered or expired token",
            410,
            "invalid_token",
            None,
            id="text alone that comes with living tokens too",
        ),
        pytest.param(
            'Invalid value at message.notification.title, "Unregistered"',
            400,
            "rejected",
            None,
            id="a text that repeats the sender's words",
        ),
        pytest.param(
            "No channel of type GCM is enabled for the application x",
            400,
            "misconfigured",
            None,
            id="no channel",
        ),
        pytest.param(RECORDED_APNS[:-30], 410, "invalid_token", None, id="broken JSON"),
        pytest.param("{", 400, "rejected", None, id="hardly begun JSON"),
        pytest.param("", 400, "rejected", None, id="no text"),
        pytest.param(None, 400, "rejected", None, id="null"),
        pytest.param("[" * 100_000, 400, "rejected", None, id="nested too deep"),
        pytest.param("", 403, "misconfigured", None, id="no text, and forbidden"),
        pytest.param(told("QUOTA_EXCEEDED"), 429, "transient", "QUOTA_EXCEEDED", id="quota"),
    ],
)
def test_the_answer_nearest_to_the_device_decides_the_outcome(
    message: Any, code: int, outcome: str, reason: str | None
) -> None:
    result = classify(permanent(message, code))

    assert (result.outcome, result.reason) == (outcome, reason)
    assert result.status_code == code


def by_status(status: str, error: str = "", response: Any = "", text: str = "x") -> str:
    """Write a StatusMessage with the provider's HTTP status."""
    message = json.loads(told(error, response, text))
    return json.dumps({**message, "pushProviderStatusCode": status})


PAGE = "<!DOCTYPE html><title>Error 502 (Server Error)!!1</title><p>Please try again."
VIOLATION = {"field": "message.token", "description": "Invalid registration token"}
OF_THE_TITLE = {"field": "message.notification.title", "description": "message.token"}


def v1(violation: Json) -> Json:
    """Write FCM v1's refusal of one field."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
    ]
    return {"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": details}}


@pytest.mark.parametrize(
    ("message", "code", "outcome", "reason"),
    [
        pytest.param(by_status("502", PAGE, PAGE), 400, "transient", None, id="a page"),
        pytest.param(by_status("429", "Quota exceeded"), 400, "transient", None, id="429"),
        pytest.param(by_status("408"), 400, "transient", None, id="408"),
        pytest.param("no", 503, "transient", None, id="the API's own 503"),
        pytest.param(by_status("401"), 400, "misconfigured", None, id="401"),
        pytest.param(by_status("400"), 400, "rejected", None, id="400"),
        pytest.param(by_status("5020"), 400, "rejected", None, id="no status"),
        pytest.param(
            by_status("301", "deprecated", "", "Invalid Credentials"),
            400,
            "misconfigured",
            "Invalid Credentials",
            id="AWS's own words",
        ),
        pytest.param(
            by_status("502", "BadDeviceToken"),
            400,
            "invalid_token",
            "BadDeviceToken",
            id="a code before a status",
        ),
        pytest.param(
            told("Request contains an invalid argument.", v1(VIOLATION)),
            400,
            "invalid_token",
            "INVALID_ARGUMENT",
            id="the token's field",
        ),
        pytest.param(
            told("Request contains an invalid argument.", v1(OF_THE_TITLE)),
            400,
            "rejected",
            "INVALID_ARGUMENT",
            id="another field that names the token",
        ),
        *(
            pytest.param(
                f"{blank}{json.dumps({'error': {'details': [{'errorCode': 'UNREGISTERED'}]}})}",
                404,
                "dead_token",
                "UNREGISTERED",
                id=f"JSON after {blank!r}",
            )
            for blank in ("\n", "\ufeff", " \r\n\t")
        ),
        *(
            pytest.param(by_status("403", code), 400, "misconfigured", code, id=code)
            for code in (
                "BadEnvironmentKeyIdInToken",
                "UnrelatedKeyIdInToken",
                "AccessTokenExpired",
            )
        ),
    ],
)
def test_every_part_of_an_addresss_answer_counts(
    message: str, code: int, outcome: str, reason: str | None
) -> None:
    result = classify(permanent(message, code))

    assert (result.outcome, result.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("status", "message", "outcome"),
    [
        ("SUCCESSFUL", "Unregistered", "accepted"),
        ("THROTTLED", told("TooManyRequests"), "transient"),
        ("TEMPORARY_FAILURE", None, "transient"),
        ("TEMPORARY_FAILURE", told("Unregistered"), "transient"),
        ("OPT_OUT", None, "opted_out"),
        ("DUPLICATE", None, "duplicate"),
        ("UNKNOWN_FAILURE", None, "unknown"),
        ("UNKNOWN_FAILURE", told("Unregistered"), "dead_token"),
        ("UNKNOWN_FAILURE", told("INTERNAL"), "unknown"),
        ("SOMETHING_NEW", None, "unknown"),
        ("SOMETHING_NEW", told("BadDeviceToken"), "invalid_token"),
        (None, None, "unknown"),
    ],
)
def test_a_clear_status_decides_the_outcome(
    status: str | None, message: str | None, outcome: str
) -> None:
    answer = {"DeliveryStatus": status, "StatusCode": 200, "StatusMessage": message}

    assert classify(answer).outcome == outcome


@pytest.mark.parametrize("answer", [None, [], "text", 7, {}, {"DeliveryStatus": []}])
def test_any_json_answer_is_classified_without_an_error(answer: Any) -> None:
    result = classify(answer)

    assert result.outcome == "unknown"


def test_every_signal_has_a_reason_and_is_listed_once() -> None:
    # A code of a provider and one of AWS for whole calls may be alike and mean two things.
    for signals in ([s for s in SIGNALS if s not in CALL_SIGNALS], CALL_SIGNALS):
        texts = [signal.text for signal in signals]
        assert len(set(texts)) == len(texts)
    assert all(len(signal.why) > 5 for signal in SIGNALS if signal.why not in ("400", "500", "503"))


def test_only_these_codes_make_a_token_dead() -> None:
    deadly = {signal.text for signal in SIGNALS if signal.outcome is Outcome.DEAD_TOKEN}

    assert deadly == {"Unregistered", "ExpiredToken", "UNREGISTERED", "NotRegistered"}


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.text)
def test_a_signal_alone_decides_the_outcome(signal: Any) -> None:
    result = classify(permanent(told(signal.text)))
    of_a_call = classify_error(signal.text, 400, None)

    assert signal.outcome in (result.outcome, of_a_call.outcome)
    assert result.reason in REASONS | {None}


@pytest.mark.parametrize(
    ("status", "code", "message", "outcome", "reason"),
    [
        (400, "BadRequestException", "no", "rejected", "BadRequestException"),
        (
            400,
            "BadRequestException",
            "No channel of type ADM is enabled",
            "misconfigured",
            "BadRequestException",
        ),
        (403, "ForbiddenException", "no", "misconfigured", "ForbiddenException"),
        (403, "AccessDeniedException", "no", "misconfigured", "AccessDeniedException"),
        (403, "ExpiredTokenException", "no", "misconfigured", "ExpiredTokenException"),
        (404, "NotFoundException", "no", "misconfigured", "NotFoundException"),
        (405, "MethodNotAllowedException", "no", "misconfigured", "MethodNotAllowedException"),
        (413, "PayloadTooLargeException", "no", "rejected", "PayloadTooLargeException"),
        (418, "TeapotException", "no", "misconfigured", None),
        (422, "SomethingNew", "no", "rejected", None),
        (407, "", "no", "misconfigured", None),
        (302, "", "no", "misconfigured", None),
        (401, "SomethingNew", "no", "misconfigured", None),
    ],
)
def test_a_refused_call_gives_each_address_the_refusal(
    push: Push,
    provider: Provider,
    status: int,
    code: str,
    message: str,
    outcome: str,
    reason: str | None,
) -> None:
    provider.answer = lambda _: refused(status, code, message)

    report = push(
        {
            "recipients": [{"token": t, "service": "GCM"} for t in ("a", "b")],
            "message": "m",
        }
    )

    assert len(provider.calls) == 1
    assert [(r["outcome"], r["reason"], r["status_code"]) for r in report["results"]] == [
        (outcome, reason, status)
    ] * 2


def test_the_services_answer_reaches_the_report(push: Push, provider: Provider) -> None:
    answers = {
        "replaced": {**accepted("replaced"), "UpdatedToken": "new"},
        "dead": permanent(told("Unregistered"), 410),
        "odd": {"DeliveryStatus": "SOMETHING_NEW", "StatusCode": 599, "StatusMessage": "?"},
        "surrogate": permanent("half \ud800 of a pair"),
    }
    provider.answer = lambda _: results(answers)

    report = push(
        {
            "recipients": [{"token": t, "service": "GCM"} for t in [*answers, "missing"]],
            "message": "m",
        }
    )

    by_token = {result["token"]: result for result in report["results"]}
    assert by_token["replaced"]["replacement_token"] == "new"
    assert by_token["replaced"]["message_id"] == "id-replaced"
    assert by_token["dead"]["status_message"] == told("Unregistered")
    assert by_token["odd"]["delivery_status"] == "SOMETHING_NEW"
    assert by_token["surrogate"]["status_message"] == "half ? of a pair"
    assert by_token["missing"] == {
        "token": "missing",
        "service": "GCM",
        "outcome": "unknown",
        "delivery_status": None,
        "status_code": None,
        "reason": None,
        "status_message": None,
        "message_id": None,
        "replacement_token": None,
        "attempts": 1,
    }
    assert report["summary"] == {
        "recipients": 5,
        "accepted": 1,
        "dead_token": 1,
        "rejected": 1,
        "unknown": 2,
    }
