"""The end of a job: an event, however it ended, and a metric."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not among the requirements
import pytest

from tests.support.invocation import ProcessQueue, metric_lines
from tests.support.jobs import BUCKET, MACHINE, JobRunner, rows_of_tokens
from tests.support.paths import REPOSITORY
from tests.support.provider import Json, Provider

SCHEMA = json.loads((REPOSITORY / "docs" / "events" / "push-job-report.json").read_text())
RULE = json.loads((REPOSITORY / "examples" / "events" / "rule-for-job-reports.json").read_text())


def ended(job: str = "spring", status: str = "SUCCEEDED", seconds: float = 0, **more: Any) -> Json:
    """Make the event of Step Functions for an execution that ended some seconds ago."""
    return {
        "version": "0",
        "id": "11111111-2222-3333-4444-555555555555",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "time": "2026-11-27T10:30:00Z",
        "detail": {
            "executionArn": f"{MACHINE}:{job}",
            "stateMachineArn": MACHINE,
            "name": job,
            "status": status,
            "startDate": 1_795_773_600_000,
            "stopDate": round((time.time() - seconds) * 1_000),
            "input": json.dumps({"job": job, "request": {"message": "m"}}),
            "output": None,
            **more,
        },
    }


@pytest.mark.parametrize(
    ("status", "metric"),
    [
        ("SUCCEEDED", "JobsSucceeded"),
        ("FAILED", "JobsFailed"),
        ("TIMED_OUT", "JobsFailed"),
        ("ABORTED", "JobsStopped"),
    ],
)
def test_the_end_of_a_job_is_an_event_and_a_metric(
    jobs: JobRunner,
    process_queue: ProcessQueue,
    capsys: pytest.CaptureFixture[str],
    status: str,
    metric: str,
) -> None:
    jobs.upload(rows_of_tokens(["a", "b c"]))
    jobs.run()
    jobs.account.events.put_rule(Name="events", EventPattern=json.dumps(RULE))
    jobs.account.send(ended(status=status, seconds=60))

    assert process_queue() == {"batchItemFailures": []}

    (event,) = jobs.account.sent_events("Push Job Report")
    jsonschema.validate(event, SCHEMA)
    assert event["detail"] == {
        "version": 1,
        "job": "spring",
        "action": "send",
        "status": status,
        "rows": 2,
        "summary": {"accepted": 1, "invalid_row": 1, "rows": 2},
        "results": f"s3://{BUCKET}/jobs/spring/rows/",
        "execution_id": f"{MACHINE}:spring",
    }
    counted = [line for line in metric_lines(capsys.readouterr().out) if metric in line]
    assert [line[metric] for line in counted] == [[1]]


def test_a_stopped_job_is_reported_when_its_children_have_ended(
    jobs: JobRunner, process_queue: ProcessQueue
) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    (child,) = jobs.children(jobs.begin())
    jobs.account.send(ended(status="ABORTED", seconds=2))

    process_queue()

    (put_back,) = jobs.account.requeued()
    assert 40 <= put_back["delay"] <= 45
    assert jobs.account.sent_events() == []
    jobs.child(child)
    jobs.account.wait()
    process_queue()
    assert jobs.account.requeued() == []
    (event,) = jobs.account.sent_events("Push Job Report")
    assert event["detail"]["summary"] == {"accepted": 1, "rows": 1}


def test_a_clock_that_is_far_off_delays_a_report_once(
    jobs: JobRunner, process_queue: ProcessQueue
) -> None:
    jobs.account.send(ended(status="FAILED", seconds=-1e6))
    process_queue()
    (put_back,) = jobs.account.requeued()
    assert put_back["delay"] == 45
    jobs.account.wait()
    process_queue()

    assert len(jobs.account.sent_events("Push Job Report")) == 1


def test_a_job_that_was_refused_before_it_began_is_reported_with_its_error(
    jobs: JobRunner, process_queue: ProcessQueue
) -> None:
    jobs.account.send(ended(status="FAILED", seconds=60, error="InvalidRequest", cause="{}"))
    process_queue()

    (event,) = jobs.account.sent_events("Push Job Report")
    jsonschema.validate(event, SCHEMA)
    assert event["detail"] == {
        "version": 1,
        "job": "spring",
        "action": "send",
        "status": "FAILED",
        "rows": 0,
        "summary": {},
        "results": None,
        "execution_id": f"{MACHINE}:spring",
        "reason": "InvalidRequest",
    }


def test_a_job_whose_name_is_that_of_another_execution_is_reported_without_its_counts(
    jobs: JobRunner, process_queue: ProcessQueue
) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    jobs.run()
    other = f"{MACHINE}-of-before:spring"
    jobs.account.send(
        ended(status="FAILED", seconds=60, executionArn=other, input=None, error="JobConflict")
    )
    process_queue()

    (event,) = jobs.account.sent_events("Push Job Report")
    assert (event["detail"]["rows"], event["detail"]["reason"]) == (0, "JobConflict")


@pytest.mark.parametrize(
    "given",
    ["text", "[]", '{"action": {"x": 1}}', '{"action": "delete"}', "[" * 100_000, None, 5],
)
def test_a_job_that_was_refused_for_its_input_is_reported(
    jobs: JobRunner, process_queue: ProcessQueue, given: object
) -> None:
    error = "e" * 1_000
    jobs.account.send(ended("Jöb.1", "FAILED", seconds=60, input=given, error=error))
    process_queue()

    (event,) = jobs.account.sent_events("Push Job Report")
    jsonschema.validate(event, SCHEMA)
    assert event["detail"]["action"] == "send"
    assert event["detail"]["reason"] == "e" * 256


@pytest.mark.parametrize(
    "forged",
    [
        {"name": "x" * 300_000, "executionArn": f"{MACHINE}:{'x' * 300_000}"},
        {"name": "a\nb", "executionArn": f"{MACHINE}:a\nb"},
        {"name": "", "executionArn": f"{MACHINE}:"},
        {"executionArn": f"{MACHINE}:another"},
        {"executionArn": "spring"},
        {"status": "RUNNING"},
        {"status": ["FAILED"]},
        {"stopDate": 10**400},
        {"stopDate": -1},
        {"stopDate": None},
    ],
)
def test_an_end_of_a_job_as_step_functions_cannot_write_it_is_a_request_that_is_refused(
    jobs: JobRunner, process_queue: ProcessQueue, forged: Json
) -> None:
    jobs.account.send(ended(seconds=60, **forged))

    assert process_queue() == {"batchItemFailures": []}

    assert jobs.account.sent_events("Push Job Report") == []
    assert len(jobs.account.dead_letter_messages()) == 1


@pytest.mark.parametrize("operation", ["BatchGetItem", "SendMessage"])
def test_a_report_that_cannot_be_made_now_comes_later(
    jobs: JobRunner, process_queue: ProcessQueue, operation: str
) -> None:
    status, seconds = ("ABORTED", 0) if operation == "SendMessage" else ("SUCCEEDED", 60)
    jobs.account.send(ended(status=status, seconds=seconds))
    jobs.proxy.fail(operation)

    assert len(process_queue()["batchItemFailures"]) == 1

    jobs.proxy.recover()
    for _ in range(2):
        jobs.account.wait()
        process_queue_if_any(jobs, process_queue)
    assert len(jobs.account.sent_events("Push Job Report")) == 1


def process_queue_if_any(jobs: JobRunner, process_queue: ProcessQueue) -> None:
    """Process the queue unless it is empty; Lambda is then not invoked."""
    if jobs.account.count_messages():
        process_queue()


def test_its_own_report_that_a_rule_brings_back_is_ignored(
    jobs: JobRunner, process_queue: ProcessQueue, provider: Provider
) -> None:
    jobs.account.send(ended(seconds=60))
    process_queue()
    (event,) = jobs.account.sent_events("Push Job Report")

    jobs.account.send(event)
    jobs.account.send(event["detail"])
    process_queue()
    assert jobs.child(event["detail"]) is None

    assert jobs.account.sent_events() == []
    assert jobs.account.dead_letter_messages() == []
    assert provider.calls == []
