"""The end of a job, as Step Functions reports it: an event ``Push Job Report``, and a metric.

A rule on the default bus puts the event into the queue, however the execution ended. Unless it
succeeded, children may run on for a moment, so the message waits for their counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from push_sender.follow_up.destinations import FollowUp
from push_sender.follow_up.events import job_report
from push_sender.follow_up.submission import Submission
from push_sender.jobs.progress import Progress
from push_sender.telemetry.log import Telemetry

_METRICS: Final = {"SUCCEEDED": "JobsSucceeded", "ABORTED": "JobsStopped"}
_FAILED: Final = "JobsFailed"

_REASON_CHARACTERS: Final = 256
"""The longest name of an error in Step Functions."""

_CHILD_SECONDS: Final = 45
"""After the end of an execution the report waits so long for its children: the timeout of the
function, and some time for the event. A child that is tried again can count even later."""


def report(
    event: Mapping[str, Any],
    submission: Submission,
    body: str,
    last_start: float,
    *,
    follow_up: FollowUp,
    progress: Progress,
    telemetry: Telemetry,
) -> None:
    """Report the end of a job, or put the message back until its children have ended.

    Parameters
    ----------
    event
        The event of Step Functions.
    submission, body
        The message that holds it.
    last_start
        On ``time.monotonic``: no call begins after that.
    follow_up, progress, telemetry
        Send the event, know the counts, and count.

    Raises
    ------
    JobStoreUnavailable, QueueUnavailable, BusUnavailable
        If the message must be handled again.
    """
    detail = event["detail"]
    job, status, execution = detail["name"], detail["status"], detail["executionArn"]
    wait = round(detail["stopDate"] / 1_000 + _CHILD_SECONDS - time.time())
    if status != "SUCCEEDED" and not submission.attempt and wait > 0:
        seconds = min(wait, _CHILD_SECONDS)
        follow_up.put_back(submission, body, delay_seconds=seconds, last_start=last_start)
        return
    found: Mapping[str, Any] = progress.read(job, last_start=last_start) or {}
    if found.get("execution") != execution:  # the job was refused before it began
        found = {"action": _action(detail), "rows": 0, "summary": {}}
    bucket, reason = found.get("bucket"), detail.get("error")
    ended = job_report(
        job,
        action=found["action"],
        status=status,
        rows=found["rows"],
        summary=found["summary"],
        results=f"s3://{bucket}/jobs/{job}/rows/" if bucket else None,
        execution_id=execution,
        reason=reason[:_REASON_CHARACTERS] if isinstance(reason, str) else None,
    )
    follow_up.report_job(ended, last_start=last_start)
    telemetry.count(_METRICS.get(status, _FAILED), 1)
    telemetry.info(
        "job ended", job=job, status=status, rows=found["rows"], summary=found["summary"]
    )


def _action(detail: Mapping[str, Any]) -> str:
    """Return the action of a job that has no item. Its input may be anything."""
    try:
        action = json.loads(detail["input"])["action"]
    except (KeyError, TypeError, ValueError, RecursionError):
        action = None
    return "register_devices" if action == "register_devices" else "send"
