"""The metrics of an invocation: one record (EMF) for each service that was sent to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.invocation import Push, metric_lines
from tests.provider import Json, Provider, accepted, refused


def values(record: Json) -> Json:
    """Give a record's values by metric name."""
    (directive,) = record["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "PushSender"
    assert [set(names) for names in directive["Dimensions"]] == [{"service", "push_service"}]
    return {metric["Name"]: record[metric["Name"]] for metric in directive["Metrics"]}


def metrics_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Json]:
    records = metric_lines(capsys.readouterr().out)
    return {record["push_service"]: values(record) for record in records}


def test_pushes_are_counted_by_service_and_outcome(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": 410,
        "StatusMessage": "Unregistered",
    }
    provider.answer_each(lambda token, _: dead if token == "gone" else accepted(token))
    recipients = [
        {"token": "a", "service": "GCM"},
        {"token": "b", "service": "FCM"},
        {"token": "gone", "service": "GCM"},
        {"token": "a", "service": "APNS"},
    ]

    push({"recipients": recipients, "message": "m"})

    counted = metrics_of(capsys)
    assert set(counted) == {"GCM", "APNS"}
    assert counted["GCM"]["accepted"] == [2]
    assert counted["GCM"]["dead_token"] == [1]
    assert counted["APNS"]["accepted"] == [1]
    assert counted["GCM"]["SendMessagesCalls"] == [1]
    assert counted["GCM"]["SendMessagesRetries"] == [0]
    assert len(counted["GCM"]["SendMessagesLatency"]) == 1


def test_retries_are_counted_apart_from_calls(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answer = lambda _: refused(500, "InternalServerErrorException")

    push({"recipient": {"token": "a", "service": "GCM"}, "message": "m"})

    counted = metrics_of(capsys)["GCM"]
    assert counted["SendMessagesCalls"] == [4]
    assert counted["SendMessagesRetries"] == [3]
    assert counted["transient"] == [1]
    assert len(counted["SendMessagesLatency"]) == 4


def test_one_invocation_counts_nothing_of_another(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    event: Any = {"recipient": {"token": "a", "service": "GCM"}, "message": "m"}
    push(event)
    push({**event, "recipient": {"token": "b", "service": "APNS"}})

    first, second = metric_lines(capsys.readouterr().out)
    assert (first["push_service"], first["accepted"]) == ("GCM", [1])
    assert (second["push_service"], second["accepted"]) == ("APNS", [1])


def test_what_sends_nothing_counts_nothing(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    push({"recipient": {"token": "a", "service": "GCM"}, "message": "m", "dry_run": True})
    with pytest.raises(Exception, match="recipients: is missing"):
        push({})

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
