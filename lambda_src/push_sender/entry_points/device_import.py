"""Import devices: the rows of a job's file become registrations.

Step Functions invokes the devices' function with a range of a file. A row is registered only if
neither its device nor its token is, so an import never changes what an app has registered, and a
repeated one changes nothing. What was done when an invocation is killed stays, and the next one
does the rest.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients import queue_and_bus, s3
from push_sender.devices.registration import Registration, member_of
from push_sender.devices.registry import Effect, Registry
from push_sender.entry_points.device_routes import record
from push_sender.entry_points.remaining_time import end_of
from push_sender.jobs.columns import Invalid, Skipped, names_in, registration_of
from push_sender.jobs.errors import OutOfTime
from push_sender.jobs.files import Row, rows_of
from push_sender.jobs.objects import Objects
from push_sender.jobs.plan import Plan, RowRange, wait_after
from push_sender.jobs.progress import Progress
from push_sender.request.errors import Finding, InvalidRequest, RegistryUnavailable
from push_sender.request.field_types import is_id
from push_sender.telemetry.log import Telemetry
from push_sender.validation.combinations import PROJECT_NOT_ALLOWED

_THREADS: Final = 8
"""A registration is two calls of DynamoDB, which are mostly waiting."""

_FINISH_SECONDS: Final = 1.0
"""Time in which the calls that count and list the rows may begin."""

_OUTCOMES: Final[Mapping[str, str]] = {
    "registered": "registered",
    "device_known": "known",
    "token_known": "known",
    "user_has_25_devices": "skipped",
}


class _Result(NamedTuple):
    """What became of a row, why, the members that were left out, and what was written."""

    row: Row
    outcome: str
    reason: str | None = None
    left_out: Sequence[str] = ()
    effects: Sequence[Effect] = ()

    def line(self) -> bytes:
        """Write the row for the list of results."""
        names = names_in(self.row)
        members: dict[str, object] = {
            "row": self.row.number,
            "token": names["token"],
            "device_id": names["device_id"],
            "outcome": self.outcome,
            "reason": self.reason,
        }
        if self.left_out:
            members["left_out"] = self.left_out
        return json.dumps(members, separators=(",", ":")).encode() + b"\n"


class _Device(NamedTuple):
    """A row that can be registered."""

    row: Row
    device_id: str
    members: Mapping[str, Any]
    left_out: Sequence[str]


class DeviceImport:
    """Registers the rows of a range.

    Parameters
    ----------
    registry, objects, progress
        The devices, the files of jobs, and their counts.
    application_ids
        The allowed projects.
    telemetry
        Logs and counts what was written.
    """

    def __init__(
        self,
        registry: Registry,
        objects: Objects,
        progress: Progress,
        *,
        application_ids: Collection[str],
        telemetry: Telemetry,
    ) -> None:
        self._registry = registry
        self._objects = objects
        self._progress = progress
        self._application_ids = application_ids
        self._telemetry = telemetry

    def apply(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
        """Register the rows of a range, count them, and list those that are not registered.

        Returns
        -------
        dict
            ``wait``: the seconds after which the next range may begin.

        Raises
        ------
        InvalidRequest
            If the job's index step did not write the event.
        SourceChanged
            If the file was replaced or deleted.
        SourceUnavailable, JobStoreUnavailable, RegistryUnavailable
            If S3 or DynamoDB does not answer in time.
        OutOfTime
            If time did not suffice for all rows.
        """
        started = time.monotonic()
        plan, part = Plan.of(event.get("plan")), RowRange.of(event.get("range"))
        if plan.action != "register_devices":
            raise InvalidRequest([Finding("plan.action", "must be register_devices")])
        if plan.application_id not in self._application_ids:
            raise InvalidRequest([PROJECT_NOT_ALLOWED])
        last_start = end_of(context) - s3.CALL_SECONDS
        source = plan.source
        data, _, _ = self._objects.read(
            source.bucket,
            source.key,
            part.start,
            part.end,
            etag=source.etag,
            last_start=last_start,
        )
        judged = [
            _judge(row, ignore_opt_out=plan.ignore_opt_out)
            for row in rows_of(plan.layout, data, part.first_row)
        ]
        devices = [each for each in judged if isinstance(each, _Device)]
        results = [each for each in judged if isinstance(each, _Result)]
        results += self._added(
            devices, plan, last_start - _FINISH_SECONDS - queue_and_bus.CALL_SECONDS
        )
        results.sort(key=lambda result: result.row.number)
        self._finish(results, plan, part, event["bucket"], last_start)
        seconds = time.monotonic() - started
        pace = plan.tokens_per_second
        return {"wait": wait_after(len(results), pace, waited=part.wait, seconds=seconds)}

    def _added(self, devices: Sequence[_Device], plan: Plan, deadline: float) -> Iterable[_Result]:
        """Add devices to the registry. If that fails for one, those that wait are left."""
        if plan.dry_run:
            return [_Result(each.row, "unsent", "dry_run", each.left_out) for each in devices]
        failures: list[str] = []

        def add(device: _Device) -> _Result:
            if failures:
                return _Result(device.row, "failed", failures[0])
            try:
                added = self._registry.add(
                    plan.application_id,
                    device.device_id,
                    device.members,
                    origin=f"{plan.job}/{device.row.number}",
                    deadline=deadline,
                )
            except RegistryUnavailable as unavailable:
                failures.append(unavailable.reason)
                return _Result(device.row, "failed", unavailable.reason)
            outcome = _OUTCOMES[added.outcome]
            if outcome != "registered":
                return _Result(device.row, outcome, added.outcome)
            return _Result(device.row, outcome, None, device.left_out, added.effects)

        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(add, devices))

    def _finish(
        self,
        results: Sequence[_Result],
        plan: Plan,
        part: RowRange,
        bucket: str,
        last_start: float,
    ) -> None:
        """Log, count and list the results; raise if some could not be registered."""
        counts = {
            **Counter(result.outcome for result in results),
            "rows": len(results),
            "warnings": sum(bool(result.left_out) for result in results),
        }
        for result in results:
            record(self._telemetry, result.effects, job=plan.job)
        self._telemetry.info("rows imported", job=plan.job, first_row=part.first_row, counts=counts)
        self._progress.count(plan.job, part.first_row, counts, last_start=last_start)
        listed = [each for each in results if each.outcome != "registered" or each.left_out]
        self._objects.write(
            bucket,
            f"jobs/{plan.job}/rows/{part.first_row:012}.jsonl",
            b"".join(result.line() for result in listed),
            last_start=last_start,
        )
        failed = next((each.reason for each in results if each.outcome == "failed"), None)
        if failed == "deadline":
            raise OutOfTime
        if failed is not None:
            raise RegistryUnavailable(failed)


def _judge(row: Row, *, ignore_opt_out: bool) -> _Device | _Result:
    """Check a row on its own."""
    made = registration_of(row, ignore_opt_out=ignore_opt_out)
    if isinstance(made, Skipped):
        return _Result(row, "skipped", made.reason)
    if isinstance(made, Invalid):
        return _Result(row, "invalid_row", made.reason)
    device_id, body = made
    if not is_id(device_id):
        return _Result(row, "invalid_row", "invalid_device_id")
    try:
        registration, left_out = Registration.read_fitting(body)
    except InvalidRequest as refusal:
        return _Result(row, "invalid_row", f"invalid_{member_of(refusal.errors[0])}")
    return _Device(row, device_id, registration.members(), left_out)
