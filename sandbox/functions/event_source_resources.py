"""Lambda's event source mappings: from a queue to a function's alias or version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.models import LambdaBackend, lambda_backends
from moto.awslambda.utils import make_event_source_mapping_arn

from sandbox.cloudformation.resource import Resource, is_true

_DEFAULTS: Final[Mapping[str, Any]] = {
    "BatchSize": None,
    "Enabled": True,
    "FilterCriteria": None,
    "FunctionResponseTypes": [],
    "MaximumBatchingWindowInSeconds": 0,
    "ScalingConfig": {},
}
"""The settings that can be changed, and their defaults."""

_SOURCES: Final = ("EventSourceArn", "SelfManagedEventSource")


class EventSourceMapping(Resource):
    """A mapping. The Lambda service polls its queue."""

    type_name = "AWS::Lambda::EventSourceMapping"
    required = ("FunctionName",)
    replaced_by = _SOURCES
    attribute_names = ("Id", "EventSourceMappingArn")

    _uuid: str

    def create(self) -> None:
        """Make it."""
        spec = {
            **{name: self.properties.get(name) for name in _SOURCES},
            "Tags": self.tags,
            **self._settings(),
        }
        self._uuid = self._backend.create_event_source_mapping(spec).uuid

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its settings."""
        self._backend.update_event_source_mapping(self._uuid, self._settings())

    def remove(self) -> None:
        """Remove it."""
        if self._backend.get_event_source_mapping(self._uuid) is not None:
            self._backend.delete_event_source_mapping(self._uuid)

    @property
    def physical_resource_id(self) -> str:
        """Its UUID."""
        return self._uuid

    def attributes(self) -> Mapping[str, str]:
        """Return its UUID and ARN."""
        arn = make_event_source_mapping_arn(self.region, self.account_id, self._uuid)
        return {"Id": self._uuid, "EventSourceMappingArn": arn}

    def _settings(self) -> dict[str, Any]:
        own = {name: self.properties.get(name, default) for name, default in _DEFAULTS.items()}
        for name in ("BatchSize", "MaximumBatchingWindowInSeconds"):
            own[name] = None if own[name] is None else int(own[name])
        own["Enabled"] = is_true(own["Enabled"])
        if "MaximumConcurrency" in own["ScalingConfig"]:
            concurrency = int(own["ScalingConfig"]["MaximumConcurrency"])
            own["ScalingConfig"] = {"MaximumConcurrency": concurrency}
        return {"FunctionName": self.properties["FunctionName"], **own}

    @property
    def _backend(self) -> LambdaBackend:
        backend: LambdaBackend = lambda_backends[self.account_id][self.region]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [EventSourceMapping]
