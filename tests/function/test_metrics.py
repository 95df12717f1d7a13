"""The metrics of an invocation: one record (EMF) for each push service that was sent to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from push_sender.telemetry.log import Telemetry
from push_sender.telemetry.metrics import Metric, Unit, records
from tests.support.invocation import Push, metric_lines
from tests.support.loopback import Reply
from tests.support.provider import Json, Provider, accepted, refused, results


def values(record: Json) -> Json:
    """Give a record's values by metric name."""
    (directive,) = record["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "PushSender"
    # Counted by push service, and once more for the sum of all.
    assert list(map(sorted, directive["Dimensions"])) == [["push_service", "service"], ["service"]]
    assert record["service"] == "push-sender"
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


def test_retries_are_counted_separately_from_calls(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answer = lambda _: refused(500, "InternalServerErrorException")

    push({"recipient": {"token": "a", "service": "GCM"}, "message": "m"})

    counted = metrics_of(capsys)["GCM"]
    assert counted["SendMessagesCalls"] == [4]
    assert counted["SendMessagesRetries"] == [3]
    assert counted["transient"] == [1]
    assert len(counted["SendMessagesLatency"]) == 4


def test_an_invocation_does_not_count_metrics_of_another(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    event: Any = {"recipient": {"token": "a", "service": "GCM"}, "message": "m"}
    push(event)
    push({**event, "recipient": {"token": "b", "service": "APNS"}})

    first, second = metric_lines(capsys.readouterr().out)
    assert (first["push_service"], first["accepted"]) == ("GCM", [1])
    assert (second["push_service"], second["accepted"]) == ("APNS", [1])


def test_a_request_that_sends_nothing_counts_nothing(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    push({"recipient": {"token": "a", "service": "GCM"}, "message": "m", "dry_run": True})
    with pytest.raises(Exception, match="recipients: is missing"):
        push({})

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_exactly_100_calls_of_a_service_are_counted_once_and_not_for_the_next_service(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given 50 batches that are refused once each: a record takes 100 values of a metric
    seen: set[str] = set()

    def refuse_once(call: Json) -> Reply:
        first = min(call["Addresses"])
        if first not in seen:
            seen.add(first)
            return refused(429, "TooManyRequestsException")
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = refuse_once
    recipients = [{"token": f"t{n:04}", "service": "GCM"} for n in range(5_000)]

    push({"recipients": recipients, "message": "m"})
    provider.reset()
    push({"recipient": {"token": "a", "service": "APNS"}, "message": "m"})

    *of_gcm, of_apns = metric_lines(capsys.readouterr().out)
    assert {record["push_service"] for record in of_gcm} == {"GCM"}
    told = [values(record) for record in of_gcm]
    assert [record["accepted"] for record in told if "accepted" in record] == [[5_000]]
    assert [record["SendMessagesCalls"] for record in told if "SendMessagesCalls" in record] == [
        [100]
    ]
    assert sum(len(record.get("SendMessagesLatency", ())) for record in told) == 100
    assert values(of_apns)["SendMessagesCalls"] == [1]


def test_a_record_is_what_powertools_would_write(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = Metrics(namespace="PushSender", service="push-sender")
    theirs.add_dimension("push_service", "GCM")
    theirs.add_dimensions(service="push-sender")
    theirs.add_metric("accepted", MetricUnit.Count, 3)
    for milliseconds in (50.1, 49.7):
        theirs.add_metric("SendMessagesLatency", MetricUnit.Milliseconds, milliseconds)
    theirs.flush_metrics()
    (wanted,) = metric_lines(capsys.readouterr().out)

    metrics = [
        Metric("accepted", Unit.COUNT, [3]),
        Metric("SendMessagesLatency", Unit.MILLISECONDS, [50.1, 49.7]),
    ]
    dimensions = {"push_service": "GCM", "service": "push-sender"}
    (line,) = records("PushSender", dimensions, [list(dimensions), ["service"]], metrics)

    record = json.loads(line)
    assert abs(record["_aws"].pop("Timestamp") - wanted["_aws"].pop("Timestamp")) < 10_000
    assert record == wanted


def test_a_metric_of_more_than_100_values_takes_further_records_and_loses_none() -> None:
    latencies = [float(n) for n in range(250)]
    metrics = [Metric("calls", Unit.COUNT, [250]), Metric("ms", Unit.MILLISECONDS, latencies)]

    told = [json.loads(line) for line in records("N", {"service": "s"}, [["service"]], metrics)]

    assert [len(record["ms"]) for record in told] == [100, 100, 50]
    assert [value for record in told for value in record["ms"]] == latencies
    assert [record.get("calls") for record in told] == [[250], None, None]
    names = [
        [metric["Name"] for metric in record["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
        for record in told
    ]
    assert names == [["calls", "ms"], ["ms"], ["ms"]]


def test_metrics_can_be_silenced_as_powertools_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    telemetry = Telemetry()
    telemetry.count("EventsNotSent", 1)

    telemetry.flush()

    assert capsys.readouterr().out == ""
