"""Import devices: the rows of a job's file become registrations.

Step Functions invokes the devices' function with a range of a file. A row is registered only if
neither its device nor its token is, so an import never changes what an app has registered, and a
repeated one changes nothing. What was done when an invocation is killed stays, and the next one
does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients import queue_and_bus, s3
from push_sender.devices.registration import Registration, member_of
from push_sender.devices.registry import Added, Registry
from push_sender.entry_points.device_routes import record
from push_sender.entry_points.remaining_time import end_of
from push_sender.jobs.child import SKIPPED, Stores, Tally, finish, read_rows
from push_sender.jobs.columns import Invalid, Skipped, registration_of
from push_sender.jobs.errors import OutOfTime
from push_sender.jobs.files import Row
from push_sender.jobs.plan import Plan, RowRange, wait_after
from push_sender.request.errors import Finding, InvalidRequest, RegistryUnavailable
from push_sender.request.field_types import is_id
from push_sender.telemetry.log import Telemetry
from push_sender.validation.combinations import PROJECT_NOT_ALLOWED

_THREADS: Final = 8
"""A registration is two calls of DynamoDB, which are mostly waiting."""

_FINISH_SECONDS: Final = 1.0
"""Time in which the calls that count and list the rows may begin."""

_NOT_ADDED: Final = {
    "device_known": "known",
    "token_known": "known",
    "user_has_25_devices": SKIPPED,
}
"""What a row counts as that the registry does not add."""


class _Device(NamedTuple):
    """A row that can be registered, and the members that were left out of it."""

    device_id: str
    members: Mapping[str, Any]
    left_out: Sequence[str]


_Numbered = tuple[int, _Device]
"""The number of a row, and its device."""


class DeviceImport:
    """Registers the rows of a range.

    Parameters
    ----------
    registry
        The devices.
    stores
        Where the job keeps things.
    application_ids
        The allowed projects.
    telemetry
        Logs and counts what was written.
    """

    def __init__(
        self,
        registry: Registry,
        stores: Stores,
        *,
        application_ids: Collection[str],
        telemetry: Telemetry,
    ) -> None:
        self._registry = registry
        self._stores = stores
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
        started_at = time.monotonic()
        plan, part = Plan.of(event.get("plan")), RowRange.of(event.get("range"))
        if plan.action != "register_devices":
            raise InvalidRequest([Finding("plan.action", "must be register_devices")])
        if plan.application_id not in self._application_ids:
            raise InvalidRequest([PROJECT_NOT_ALLOWED])
        last_start = end_of(context) - s3.CALL_SECONDS
        tally = Tally()
        devices = tally.take(
            read_rows(plan, part, self._stores, last_start=last_start),
            partial(_device_of, ignore_opt_out=plan.ignore_opt_out),
        )
        deadline = last_start - _FINISH_SECONDS - queue_and_bus.CALL_SECONDS
        failure = self._register(devices, plan, tally, deadline)
        counts = finish(plan, part, tally, self._stores, last_start=last_start)
        self._telemetry.info("rows imported", job=plan.job, first_row=part.first_row, counts=counts)
        if failure is not None:
            raise OutOfTime if failure == "deadline" else RegistryUnavailable(failure)
        seconds = time.monotonic() - started_at
        wait = wait_after(tally.rows, plan.tokens_per_second, waited=part.wait, seconds=seconds)
        return {"wait": wait}

    def _register(
        self, devices: Sequence[_Numbered], plan: Plan, tally: Tally, deadline: float
    ) -> str | None:
        """Add devices to the registry, and count them.

        Returns
        -------
        str or None
            Why some could not be added. After the first failure no other one is tried.
        """
        failures: list[str] = []

        def add(device: _Numbered) -> Added | None:
            if failures:
                return None
            row, (device_id, members, _) = device
            origin = f"{plan.job}/{row}"
            try:
                return self._registry.add(
                    plan.application_id, device_id, members, origin=origin, deadline=deadline
                )
            except RegistryUnavailable as unavailable:
                failures.append(unavailable.reason)
                return None

        if plan.dry_run:
            for row, device in devices:
                tally.add("unsent", _line(row, device), "dry_run")
            return None
        with ThreadPoolExecutor(_THREADS) as pool:
            results = list(pool.map(add, devices))
        for (row, device), added in zip(devices, results, strict=True):
            if added is None:
                tally.add("failed", _line(row, device), failures[0])
            elif added.outcome in _NOT_ADDED:
                tally.add(_NOT_ADDED[added.outcome], _line(row, device), added.outcome)
            else:
                record(self._telemetry, added.effects, job=plan.job)
                tally.add(added.outcome, _line(row, device) if device.left_out else None)
                tally.counts["warnings"] += bool(device.left_out)
        return failures[0] if failures else None


def _line(row: int, device: _Device) -> dict[str, Any]:
    line = {"row": row, "token": device.members["token"], "device_id": device.device_id}
    return {**line, "left_out": device.left_out} if device.left_out else line


def _device_of(row: Row, *, ignore_opt_out: bool) -> _Device | Skipped | Invalid:
    """Check a row on its own."""
    made = registration_of(row, ignore_opt_out=ignore_opt_out)
    if isinstance(made, Skipped | Invalid):
        return made
    device_id, body = made
    if not is_id(device_id):
        return Invalid("invalid_device_id")
    try:
        registration, left_out = Registration.read_fitting(body)
    except InvalidRequest as refusal:
        return Invalid(f"invalid_{member_of(refusal.errors[0])}")
    return _Device(device_id, registration.members(), left_out)
