"""SQS: queues and their policies."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue as MotoQueue
from moto.sqs.models import SQSBackend, sqs_backends

from sandbox.cloudformation.resource import Resource, ResourceFailedError

_QUEUE_DEFAULTS: Final[Mapping[str, Any]] = {
    "DelaySeconds": 0,
    "KmsDataKeyReusePeriodSeconds": 300,
    "KmsMasterKeyId": None,
    "MaximumMessageSize": 1_048_576,
    "MessageRetentionPeriod": 345_600,
    "ReceiveMessageWaitTimeSeconds": 0,
    "RedriveAllowPolicy": None,
    "RedrivePolicy": {},
    "SqsManagedSseEnabled": True,
    "VisibilityTimeout": 30,
}
"""The attributes that can be changed, and their defaults."""

_FIFO: Final = (
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoQueue",
    "FifoThroughputLimit",
)


class Queue(Resource):
    """A queue."""

    type_name = "AWS::SQS::Queue"
    name_property = "QueueName"
    longest_name = 80
    replaced_by = ("QueueName", "FifoQueue")
    attribute_names = ("Arn", "QueueName", "QueueUrl")

    _queue: MotoQueue

    def create(self) -> None:
        """Make it."""
        backend = _backend_of(self)
        if self.name in backend.queues:
            raise ResourceFailedError(f"{self.name} already exists")
        fifo = {name: self.properties[name] for name in _FIFO if name in self.properties}
        self._queue = backend.create_queue(
            self.name, self.tags, region=self.region, **self._settings(), **fifo
        )

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its attributes."""
        # moto removes a policy that is not named. The policy belongs to another resource.
        _backend_of(self).set_queue_attributes(
            self.name, {**self._settings(), "Policy": self._queue.policy}
        )
        self._queue.tags = self.tags

    def remove(self) -> None:
        """Remove it."""
        _backend_of(self).queues.pop(self.name, None)

    @property
    def physical_resource_id(self) -> str:
        """Its URL, as in AWS. SDKs with an endpoint ignore the URL's host."""
        return self._queue.physical_resource_id

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN, name and URL."""
        return {
            "Arn": self._queue.queue_arn,
            "QueueName": self.name,
            "QueueUrl": self.physical_resource_id,
        }

    def _settings(self) -> dict[str, Any]:
        settings = {
            name: self.properties.get(name, unset) for name, unset in _QUEUE_DEFAULTS.items()
        }
        if settings["RedriveAllowPolicy"] is not None:
            settings["RedriveAllowPolicy"] = self.text("RedriveAllowPolicy")
        return settings


class QueuePolicy(Resource):
    """The policy of queues."""

    type_name = "AWS::SQS::QueuePolicy"
    required = ("PolicyDocument", "Queues")

    def create(self) -> None:
        """Set it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it, and remove it from queues that are no longer named."""
        backend = _backend_of(self)
        for url in set(before.get("Queues", [])) - set(self.properties["Queues"]):
            with suppress(QueueDoesNotExist):
                backend.get_queue(_queue_name(url)).policy = None
        for url in self.properties["Queues"]:
            backend.get_queue(_queue_name(url)).policy = self.text("PolicyDocument")

    def remove(self) -> None:
        """Remove it from its queues."""
        for url in self.properties["Queues"]:
            with suppress(QueueDoesNotExist):
                _backend_of(self).get_queue(_queue_name(url)).policy = None

    @property
    def physical_resource_id(self) -> str:
        """A unique name."""
        return self.name


RESOURCE_TYPES: Final[list[type[Resource]]] = [Queue, QueuePolicy]


def _backend_of(resource: Resource) -> SQSBackend:
    backend: SQSBackend = sqs_backends[resource.account_id][resource.region]
    return backend


def _queue_name(url: str) -> str:
    return str(url).rpartition("/")[2]
