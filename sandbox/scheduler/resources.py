"""Groups of schedules as a resource of a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.scheduler.models import (
    EventBridgeSchedulerBackend,
    scheduler_backends,
)
from moto.scheduler.models import ScheduleGroup as MotoGroup

from sandbox.cloudformation.resource import Resource, ResourceFailedError
from sandbox.scheduler.schedules import LOCK


class ScheduleGroup(Resource):
    """A group of schedules."""

    type_name = "AWS::Scheduler::ScheduleGroup"
    name_property = "Name"
    longest_name = 64
    replaced_by = ("Name",)
    attribute_names = ("Arn",)

    _group: MotoGroup

    def create(self) -> None:
        """Make it."""
        with LOCK:
            if self.name in self._backend.schedule_groups:
                raise ResourceFailedError(f"{self.name} already exists")
            self._group = self._backend.create_schedule_group(self.name, [])
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set its tags."""
        tagger = self._backend.tagger
        tagger.delete_all_tags_for_resource(self._group.arn)
        tagger.tag_resource(self._group.arn, self.properties.get("Tags", []))

    def remove(self) -> None:
        """Remove it with its schedules."""
        with LOCK:
            if self._backend.schedule_groups.get(self.name) is self._group:
                self._backend.delete_schedule_group(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN."""
        return {"Arn": self._group.arn}

    @property
    def _backend(self) -> EventBridgeSchedulerBackend:
        backend: EventBridgeSchedulerBackend = scheduler_backends[self.account_id][self.region]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [ScheduleGroup]
