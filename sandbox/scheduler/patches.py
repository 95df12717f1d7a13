"""The patches of moto's EventBridge Scheduler."""

from __future__ import annotations

from typing import Final

from botocore import xform_name
from moto.scheduler.responses import EventBridgeSchedulerResponse

from sandbox.patches import Patch, serialized
from sandbox.scheduler import responses
from sandbox.scheduler.schedules import LOCK

_OWN: Final = (
    responses.create_schedule,
    responses.update_schedule,
    responses.create_schedule_group,
    responses.delete_schedule_group,
)
_CHECKED: Final = (
    *("GetSchedule", "DeleteSchedule", "ListSchedules"),
    *("GetScheduleGroup", "ListScheduleGroups"),
)

PATCHES: Final = (
    *(Patch(EventBridgeSchedulerResponse, each.__name__, serialized(each, LOCK)) for each in _OWN),
    *(
        Patch(
            EventBridgeSchedulerResponse,
            xform_name(each),
            serialized(responses.checked(each), LOCK),
        )
        for each in _CHECKED
    ),
)
