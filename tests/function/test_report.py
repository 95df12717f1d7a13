"""The report: its shape, a dry run's calls, and that it always fits into an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from push_sender.request.errors import InvalidRequest
from tests.support.invocation import PROJECT, Push
from tests.support.provider import Provider, accepted, results

LAMBDA_RESPONSE_BYTES = 6_291_556


def test_a_report_has_exactly_the_members_of_the_contract(push: Push) -> None:
    report = push({"recipient": {"token": "t", "service": "FCM"}, "message": "m"})

    assert report == {
        "application_id": PROJECT,
        "idempotency_key": None,
        "replayed": False,
        "dry_run": False,
        "summary": {"recipients": 1, "accepted": 1},
        "results": [
            {
                "token": "t",
                "service": "GCM",
                "outcome": "accepted",
                "delivery_status": "SUCCESSFUL",
                "status_code": 200,
                "reason": None,
                "status_message": "sent",
                "message_id": "id-t",
                "replacement_token": None,
                "attempts": 1,
            }
        ],
        "warnings": [],
    }


def test_a_dry_run_shows_the_calls_and_sends_nothing(push: Push, provider: Provider) -> None:
    event: dict[str, Any] = {
        "recipients": [
            {"token": "a", "service": "APNS"},
            {"token": "g", "service": "GCM"},
            {"token": "a", "service": "APNS"},
        ],
        "message": "m",
        "ttl": 5,
    }

    dry = push({**event, "dry_run": True})
    assert provider.calls == []
    push(event)

    assert dry["dry_run"] is True
    assert dry["summary"] == {"recipients": 3, "unsent": 3}
    assert {(r["outcome"], r["reason"], r["attempts"]) for r in dry["results"]} == {
        ("unsent", "dry_run", 0)
    }
    shown = [call["MessageRequest"] for call in dry["requests"]]
    assert sorted(shown, key=json.dumps) == sorted(provider.calls, key=json.dumps)
    assert {call["ApplicationId"] for call in dry["requests"]} == {PROJECT}


def test_a_dry_run_too_large_to_show_is_refused(push: Push, provider: Provider) -> None:
    recipients = [
        {"token": f"t{n}", "service": "GCM", "message": "é" * 1_000} for n in range(5_000)
    ]

    with pytest.raises(InvalidRequest, match=r"^dry_run: "):
        push({"recipients": recipients, "dry_run": True})


def test_tokens_too_long_for_the_report_are_refused_before_sending(
    push: Push, provider: Provider
) -> None:
    recipients = [{"token": f"{n:02048}", "service": "GCM"} for n in range(5_000)]

    with pytest.raises(InvalidRequest, match=r"^recipients: .*split the request"):
        push({"recipients": recipients, "message": "m"})

    assert provider.calls == []


@pytest.mark.parametrize("text", ["x" * 5_000, '"\\' * 2_500, "\x01é😀" * 1_000])
def test_long_status_messages_are_cut_so_that_the_report_fits(
    push: Push, provider: Provider, text: str
) -> None:
    provider.answer = lambda call: results(
        {
            token: {**accepted(token), "StatusMessage": text, "UpdatedToken": token}
            for token in call["Addresses"]
        }
    )
    recipients = [{"token": f"{n:0200}", "service": "GCM"} for n in range(5_000)]

    report = push({"recipients": recipients, "message": "m"})

    message = report["results"][-1]["status_message"]
    assert message.endswith("…")
    assert text.startswith(message[:-1])
    assert len(message) > 30
    assert len(json.dumps(report).encode()) <= LAMBDA_RESPONSE_BYTES


def test_a_short_status_message_is_unchanged(push: Push, provider: Provider) -> None:
    text = '{"errorMessage":"' + "x" * 300 + '"}'
    provider.answer_each(lambda token, _: {**accepted(token), "StatusMessage": text})

    report = push({"recipient": {"token": "t", "service": "GCM"}, "message": "m"})

    assert report["results"][0]["status_message"] == text
