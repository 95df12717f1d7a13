"""The check of jobs: one of ten rows, from the upload to the list of rows."""

from __future__ import annotations

import csv
import io
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

from operations.account import OperationsError
from operations.jobs.executions import Execution, Jobs, has_jobs
from operations.json_values import as_dict, read_json
from operations.redaction import one_line
from operations.smoke.context import CheckContext, CheckResult
from operations.smoke.nonexistent_devices import MESSAGE, TITLE, Device, nonexistent_devices

_ROWS: Final = 10
_POLL_SECONDS: Final = 0.5


def check_job(context: CheckContext) -> CheckResult:
    """Upload ten rows with invented tokens, run a job over them, and compare what it counted."""
    if not has_jobs(context.stack):
        message = "left out: there is no output JobStateMachineArn, as with the setting jobs false"
        return CheckResult(message, is_deployed=False)
    jobs = Jobs(context.account, context.stack)
    name = f"smoke-test-{uuid.uuid4()}"
    key = f"uploads/{name}/ten.csv"
    try:
        jobs.upload(io.BytesIO(_file(_devices(in_sandbox=context.account.is_sandbox))), key)
        jobs.start(
            name,
            {
                "job": name,
                "source": {"key": key},
                "request": {"title": TITLE, "message": MESSAGE},
                # Services without a channel must not fail the job, which would be an alarm.
                "tolerated_failure_percentage": 100,
            },
        )
        execution = _ended(jobs, name, context.wait_seconds)
        if execution is None:
            jobs.stop(name)  # so that it does not fail later, which would be an alarm
            failure = f"the job {name} ran for more than {context.wait_seconds:g} s, and is stopped"
            return CheckResult("started", (failure,), {"job": name})
        progress = jobs.progress(name)
        listed = [as_dict(read_json(line)) for line in jobs.results(name)]
    except OperationsError as error:
        return CheckResult("not as expected", (one_line(str(error), 600),), {"job": name})
    failures = []
    if execution.status != "SUCCEEDED":
        reason = jobs.failure(execution)
        failures.append(
            one_line(f"the job is {execution.status}: {reason.error}: {reason.message}")
        )
    if progress.rows != _ROWS or sum(progress.counts.values()) != _ROWS:
        failures.append(f"it counted {sum(progress.counts.values())} of {progress.rows} rows")
    if len(listed) != progress.listed:
        failures.append(f"it lists {len(listed)} rows, not the {progress.listed} not accepted")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in progress.counts.items())
    record: dict[str, Any] = {"job": name, "counts": dict(progress.counts), "rows": listed}
    return CheckResult(f"{execution.status}: {counts}", tuple(failures), record)


def _ended(jobs: Jobs, name: str, wait_seconds: float) -> Execution | None:
    """Wait for the end of a job."""
    end = time.monotonic() + wait_seconds
    while True:
        execution = jobs.find(name)  # None while Step Functions does not show it yet
        if execution is not None and not execution.is_running:
            return execution
        if time.monotonic() > end:
            return None
        time.sleep(_POLL_SECONDS)


def _devices(*, in_sandbox: bool) -> Sequence[Device]:
    some = [nonexistent_devices(in_sandbox=in_sandbox, more=more) for more in ("-2", "-3")]
    return [device for devices in some for device in devices][:_ROWS]


def _file(devices: Sequence[Device]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["token", "service"])
    rows.writerows([device.token, device.service] for device in devices)
    return text.getvalue().encode()
