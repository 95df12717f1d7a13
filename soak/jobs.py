"""Jobs and the person who runs them: who starts, stops and redrives them, as the runbook says."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from soak.job_plan import JobKind, PlannedJob, id_of
from soak.job_verdict import token_of
from soak.ledger import JobEnd, Ledger
from soak.plan import request_name

_POLL_SECONDS: Final = 0.5
_REDRIVES: Final = 6
_NOTE_CHARACTERS: Final = 200
_RUNNING: Final = "RUNNING"
_SUCCEEDED: Final = "SUCCEEDED"
_FAILED: Final = "FAILED"
_NO_DEVICE: Final = "no_device"

_SENT_TO: Final = (
    *("accepted", "dead_token", "invalid_token", "misconfigured", "rejected", "opted_out"),
    *("transient", "unknown", "requeued"),
)
"""The outcomes of pushes that were tried."""


class OverdueError(Exception):
    """A job did not end within the time of the run."""

    def __init__(self) -> None:
        super().__init__("a job did not end")


class Jobs:
    """Runs jobs.

    Parameters
    ----------
    deployment
        The deployed stack.
    ledger
        Gets what the jobs leave behind.
    end
        When to wait no longer, on ``time.monotonic``.
    """

    def __init__(self, deployment: Deployment, ledger: Ledger, end: float) -> None:
        self._ledger = ledger
        self._end = end
        self._s3 = client("s3", deployment.url)
        self._states = client("stepfunctions", deployment.url)
        self._dynamodb = client("dynamodb", deployment.url)
        self._bucket = deployment.outputs["JobBucketName"]
        self._machine = deployment.outputs["JobStateMachineArn"]
        self._table = deployment.outputs["TableName"]
        self._statuses: defaultdict[int, list[str]] = defaultdict(list)

    def send(self, job: PlannedJob) -> None:
        """Start a job, and wait for its first end. Stop and redrive it if its plan says so."""
        self._ledger.begin(job.number)
        self._ledger.know(job.number, id_of(job))
        self._upload(job, job.file())
        self._note(job, f"started as {job.name}")
        self._states.start_execution(
            stateMachineArn=self._machine, name=job.name, input=json.dumps(job.input)
        )
        if job.kind is JobKind.STOPPED:
            self._stop_and_redrive(job)
        else:
            self._await_end(job)
        if self._statuses[job.number] == [_SUCCEEDED] and self._is_mostly_refused(job):
            self._break(job, "most of its pushes were refused, and it did not fail")

    def redrive(self, jobs: Iterable[PlannedJob]) -> None:
        """Redrive the jobs that have not succeeded, until they have."""
        for _ in range(_REDRIVES):
            failed = [job for job in jobs if self._status(job) not in (_SUCCEEDED, _RUNNING)]
            for job in failed:
                self._redrive(job)
            for job in failed:
                self._await_end(job)

    def read(self, job: PlannedJob) -> None:
        """Record what a job left behind, and its lists of rows as the report of its request."""
        status = self._status(job)
        if status != _SUCCEEDED:
            self._break(job, f"it has the status {status} at the end")
        counts, rows = self._counts(job)
        lines = self._lines(job)
        self._ledger.end_job(
            job.number, JobEnd(tuple(self._statuses[job.number]), counts, rows, lines)
        )
        self._ledger.answer(job.number, _report(job, lines))

    def _stop_and_redrive(self, job: PlannedJob) -> None:
        """Stop a job in its middle, and redrive it: first with another file in place of its own."""
        while self._status(job) == _RUNNING and not self._has_begun(job):
            self._pause()
        self._states.stop_execution(executionArn=self._arn(job), cause="a stop of the soak")
        if self._await_end(job) != "ABORTED":
            return
        self._ledger.count_fault("a job was stopped")
        if self._children(job).get("pending"):
            self._upload(job, job.changed_file())
            self._redrive(job)
            self._ledger.count_fault("the file of a job was changed")
            if self._await_end(job) == _SUCCEEDED:
                self._break(job, "its file was changed, and it did not fail")
                return
        self._upload(job, job.file())
        self._redrive(job)
        self._await_end(job)

    def _redrive(self, job: PlannedJob) -> None:
        self._states.redrive_execution(executionArn=self._arn(job))
        self._ledger.count_fault("a job was redriven")
        self._note(job, "redriven")

    def _upload(self, job: PlannedJob, body: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=job.source_key, Body=body)

    def _await_end(self, job: PlannedJob) -> str:
        """Wait until a run of a job has ended; return its status."""
        while (found := self._described(job))["status"] == _RUNNING:
            self._pause()
        status = str(found["status"])
        self._statuses[job.number].append(status)
        self._note(job, f"{status}: {found.get('error')} {found.get('cause')}"[:_NOTE_CHARACTERS])
        return status

    def _pause(self) -> None:
        if time.monotonic() > self._end:
            raise OverdueError
        time.sleep(_POLL_SECONDS)

    def _has_begun(self, job: PlannedJob) -> bool:
        children = self._children(job)
        return bool(children.get("running") or children.get("succeeded"))

    def _status(self, job: PlannedJob) -> str:
        return str(self._described(job)["status"])

    def _described(self, job: PlannedJob) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._states.describe_execution(executionArn=self._arn(job))
        return found

    def _arn(self, job: PlannedJob) -> str:
        return f"{self._machine.replace(':stateMachine:', ':execution:')}:{job.name}"

    def _children(self, job: PlannedJob) -> Mapping[str, int]:
        """Count the children of a job by status."""
        for run in self._states.list_map_runs(executionArn=self._arn(job))["mapRuns"]:
            found: Mapping[str, int] = self._states.describe_map_run(mapRunArn=run["mapRunArn"])[
                "itemCounts"
            ]
            return found
        return {}

    def _counts(self, job: PlannedJob) -> tuple[Mapping[str, int], int]:
        """Read the counts of a job that are not zero, and the rows that its index found."""
        item = self._dynamodb.get_item(
            TableName=self._table, Key={"id": {"S": f"J#{job.name}"}}, ConsistentRead=True
        ).get("Item", {})
        counts = {
            name.removeprefix("count_"): int(value["N"])
            for name, value in item.items()
            if name.startswith("count_") and value["N"] != "0"
        }
        return counts, int(item.get("rows", {"N": 0})["N"])

    def _is_mostly_refused(self, job: PlannedJob) -> bool:
        """Whether over half of the pushes were refused, so that this is true for some child."""
        counts, _ = self._counts(job)
        refused = counts.get("misconfigured", 0) + counts.get("rejected", 0)
        return refused * 2 > sum(counts.get(name, 0) for name in _SENT_TO)

    def _lines(self, job: PlannedJob) -> Sequence[Mapping[str, Any]]:
        prefix = f"jobs/{job.name}/rows/"
        listed = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix).get("Contents", ())
        bodies = [
            self._s3.get_object(Bucket=self._bucket, Key=each["Key"])["Body"].read()
            for each in listed
        ]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    def _note(self, job: PlannedJob, what: str) -> None:
        self._ledger.note([request_name(job)], what)

    def _break(self, job: PlannedJob, why: str) -> None:
        self._ledger.break_contract(job.number, why)


def _report(job: PlannedJob, lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Write the lists of a job's rows as a report: a row with a token that none names is accepted.

    A phone of a user that none names is left out: only the provider knows that it was chosen. A
    result without a device has no token, as in every report.
    """
    listed = [
        {**line, "token": None if line["outcome"] == _NO_DEVICE else token_of(line)}
        for line in lines
        if line["outcome"] not in ("skipped", "invalid_row")
    ]
    named = {each["token"] for each in listed}
    accepted = [
        {"token": token, "outcome": "accepted", "reason": None}
        for token in job.tokens
        if token not in named
    ]
    missing = sum(line["outcome"] == _NO_DEVICE for line in lines)
    return {"results": [*listed, *accepted], "summary": {_NO_DEVICE: missing}}
