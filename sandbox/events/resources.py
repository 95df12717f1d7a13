"""EventBridge: buses, and rules with their targets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.events.exceptions import ResourceNotFoundException
from moto.events.models import EventBus as MotoBus
from moto.events.models import EventsBackend, events_backends
from moto.events.models import Rule as MotoRule

from sandbox.cloudformation.resource import Resource, ResourceFailedError

_DEFAULT_BUS: Final = "default"


class EventBus(Resource):
    """A bus of the stack's own."""

    type_name = "AWS::Events::EventBus"
    name_property = "Name"
    longest_name = 256
    required = ("Name",)
    replaced_by = ("Name", "EventSourceName")
    attribute_names = ("Arn", "Name")

    _bus: MotoBus

    def create(self) -> None:
        """Make it."""
        self._bus = _events(self).create_event_bus(self.name)
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its settings."""
        self._bus.description = self.properties.get("Description")
        self._bus.kms_key_identifier = self.properties.get("KmsKeyIdentifier")
        self._bus.dead_letter_config = self.properties.get("DeadLetterConfig")
        _tag(self, self._bus.arn)

    def remove(self) -> None:
        """Remove it."""
        _events(self).delete_event_bus(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and name."""
        return {"Arn": self._bus.arn, "Name": self.name}


class Rule(Resource):
    """A rule: events that match its pattern go to its targets."""

    type_name = "AWS::Events::Rule"
    name_property = "Name"
    longest_name = 64
    replaced_by = ("Name", "EventBusName")
    attribute_names = ("Arn",)

    def create(self) -> None:
        """Make it."""
        bus = _events(self)._get_event_bus(self._bus_name)
        if self.name in bus.rules:
            raise ResourceFailedError(f"{self.name} already exists")
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it."""
        own = self.properties
        targets = own.get("Targets", [])
        if any(not {"Arn", "Id"} <= target.keys() for target in targets):
            raise ResourceFailedError("Each of Targets needs Arn and Id.")
        rule = _events(self).put_rule(
            self.name,
            description=own.get("Description"),
            event_bus_arn=self._bus_name,
            event_pattern=self.text("EventPattern") if "EventPattern" in own else None,
            role_arn=own.get("RoleArn"),
            scheduled_expression=own.get("ScheduleExpression"),
            state=own.get("State"),
        )
        rule.targets = []
        _events(self).put_targets(self.name, self._bus_name, targets)
        _tag(self, rule.arn)

    def remove(self) -> None:
        """Remove it with its targets."""
        with suppress(ResourceNotFoundException):
            self._rule.targets = []
            _events(self).delete_rule(self.name, self._bus_name)

    @property
    def physical_resource_id(self) -> str:
        """Its name, with the name of its bus before it unless that is the default bus."""
        bus = self._bus_name.rpartition("/")[2]
        return self.name if bus == _DEFAULT_BUS else f"{bus}|{self.name}"

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN."""
        return {"Arn": self._rule.arn}

    @property
    def _bus_name(self) -> str:
        return str(self.properties.get("EventBusName", _DEFAULT_BUS))

    @property
    def _rule(self) -> MotoRule:
        rule: MotoRule = _events(self).describe_rule(self.name, self._bus_name)
        return rule


RESOURCE_TYPES: Final[list[type[Resource]]] = [EventBus, Rule]


def _events(resource: Resource) -> EventsBackend:
    backend: EventsBackend = events_backends[resource.account_id][resource.region]
    return backend


def _tag(resource: Resource, arn: str) -> None:
    tagger = _events(resource).tagger
    tagger.delete_all_tags_for_resource(arn)
    tagger.tag_resource(arn, resource.properties.get("Tags", []))
