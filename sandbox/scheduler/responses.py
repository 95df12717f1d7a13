"""Operations of the API in place of moto's, which accepts everything and fails without a group."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from botocore import xform_name
from moto.core.exceptions import JsonRESTError
from moto.scheduler.exceptions import ScheduleGroupNotFound, ValidationException
from moto.scheduler.models import ScheduleGroup
from moto.scheduler.responses import EventBridgeSchedulerResponse

from sandbox.scheduler import targets
from sandbox.scheduler.requests import parameters_of
from sandbox.scheduler.schedules import Schedule

_DEFAULT_GROUP: Final = "default"
_PAST_SECONDS: Final = 60
"""How far a time may be in the past: Scheduler is precise to the minute."""


class ConflictError(JsonRESTError):
    """A name exists: the API's ConflictException."""

    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ConflictException", message)


def create_schedule(self: EventBridgeSchedulerResponse) -> str:
    """Make a schedule."""
    wanted = parameters_of(self, "CreateSchedule")
    group = _group(self, wanted)
    if wanted["Name"] in group.schedules:
        raise ConflictError(f"Schedule {wanted['Name']} already exists.")
    group.add_schedule(_schedule(self, group, wanted))
    return json.dumps({"ScheduleArn": group.schedules[wanted["Name"]].arn})


def update_schedule(self: EventBridgeSchedulerResponse) -> str:
    """Replace a schedule: what the request leaves out gets its default."""
    wanted = parameters_of(self, "UpdateSchedule")
    group = _group(self, wanted)
    before = group.get_schedule(wanted["Name"])
    schedule = _schedule(self, group, wanted)
    schedule.creation_date = before.creation_date
    group.add_schedule(schedule)
    return json.dumps({"ScheduleArn": schedule.arn})


def create_schedule_group(self: EventBridgeSchedulerResponse) -> str:
    """Make a group."""
    wanted = parameters_of(self, "CreateScheduleGroup")
    if wanted["Name"] in self.scheduler_backend.schedule_groups:
        raise ConflictError(f"Schedule group {wanted['Name']} already exists.")
    group = self.scheduler_backend.create_schedule_group(wanted["Name"], wanted.get("Tags", []))
    return json.dumps({"ScheduleGroupArn": group.arn})


def delete_schedule_group(self: EventBridgeSchedulerResponse) -> str:
    """Delete a group with its schedules."""
    name = parameters_of(self, "DeleteScheduleGroup")["Name"]
    if name == _DEFAULT_GROUP:
        raise ValidationException("The default schedule group cannot be deleted.")
    if name not in self.scheduler_backend.schedule_groups:
        raise ScheduleGroupNotFound(name)
    self.scheduler_backend.delete_schedule_group(name)
    return "{}"


def checked(operation: str) -> Callable[[EventBridgeSchedulerResponse], str]:
    """Return moto's operation, with a check of its parameters and its group before it."""
    original: Any = getattr(EventBridgeSchedulerResponse, xform_name(operation))

    def answer(self: EventBridgeSchedulerResponse) -> str:
        wanted = parameters_of(self, operation)
        if "GroupName" in wanted:
            _group(self, wanted)
        return str(original(self))

    return answer


def _group(handler: EventBridgeSchedulerResponse, wanted: dict[str, Any]) -> ScheduleGroup:
    group: ScheduleGroup = handler.scheduler_backend.get_schedule_group(
        wanted.get("GroupName", _DEFAULT_GROUP)
    )
    return group


def _schedule(
    handler: EventBridgeSchedulerResponse, group: ScheduleGroup, wanted: dict[str, Any]
) -> Schedule:
    window = wanted["FlexibleTimeWindow"]
    if window != {"Mode": "OFF"}:
        raise ValidationException('The sandbox supports only FlexibleTimeWindow {"Mode": "OFF"}.')
    targets.check(wanted["Target"])
    schedule = Schedule(
        region=handler.region,
        account_id=handler.current_account,
        group_name=group.name,
        name=wanted["Name"],
        description=wanted.get("Description"),
        schedule_expression=wanted["ScheduleExpression"],
        schedule_expression_timezone=wanted.get("ScheduleExpressionTimezone"),
        flexible_time_window=window,
        target=wanted["Target"],
        state=wanted.get("State"),
        kms_key_arn=wanted.get("KmsKeyArn"),
        start_date=wanted.get("StartDate"),
        end_date=wanted.get("EndDate"),
        action_after_completion=wanted.get("ActionAfterCompletion"),
    )
    # By the time of this machine, which its callers have.
    if schedule.due is not None and schedule.due < time.time() - _PAST_SECONDS:
        raise ValidationException("The time of the schedule is in the past.")
    return schedule
