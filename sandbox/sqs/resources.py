"""SQS and SNS: queues, topics, their policies, and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.core.utils import camelcase_to_underscores
from moto.sns.exceptions import TopicNotFound
from moto.sns.models import SNSBackend, sns_backends
from moto.sns.models import Subscription as MotoSubscription
from moto.sns.models import Topic as MotoTopic
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue as MotoQueue
from moto.sqs.models import SQSBackend, sqs_backends

from sandbox.cloudformation.resource import Resource, ResourceFailedError, document, is_true

_QUEUE_UNSET: Final[Mapping[str, Any]] = {
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
"""The attributes that can be changed, and what each is where a template leaves it out."""

_FIFO: Final = (
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoQueue",
    "FifoThroughputLimit",
)
_TOPIC_UNSET: Final[Mapping[str, Any]] = {"DisplayName": "", "KmsMasterKeyId": ""}
_SUBSCRIPTION_ATTRIBUTES: Final = (
    "DeliveryPolicy",
    "FilterPolicyScope",  # before the policy, which moto reads by it
    "FilterPolicy",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
)


def correct_moto() -> None:
    """Make moto's queues show their RedriveAllowPolicy, which they keep and never tell."""
    if "RedriveAllowPolicy" not in MotoQueue.BASE_ATTRIBUTES:
        MotoQueue.BASE_ATTRIBUTES.append("RedriveAllowPolicy")
        # For the queues that have none, since moto reads each as an attribute.
        setattr(MotoQueue, camelcase_to_underscores("RedriveAllowPolicy"), None)


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
        backend = _queues(self)
        if self.name in backend.queues:
            raise ResourceFailedError(f"{self.name} already exists")
        fifo = {name: self.properties[name] for name in _FIFO if name in self.properties}
        self._queue = backend.create_queue(
            self.name, self.tags, region=self.region, **self._settings(), **fifo
        )

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its attributes."""
        # moto forgets the policy where it is not named, which is another resource's.
        _queues(self).set_queue_attributes(
            self.name, {**self._settings(), "Policy": self._queue.policy}
        )
        self._queue.tags = self.tags

    def remove(self) -> None:
        """Remove it."""
        _queues(self).queues.pop(self.name, None)

    @property
    def physical_resource_id(self) -> str:
        """Its URL, as in AWS: SDKs that have an endpoint go there, whatever the URL's host."""
        return self._queue.physical_resource_id

    def attributes(self) -> Mapping[str, str]:
        """Give its ARN, name and URL."""
        return {
            "Arn": self._queue.queue_arn,
            "QueueName": self.name,
            "QueueUrl": self.physical_resource_id,
        }

    def _settings(self) -> dict[str, Any]:
        settings = {name: self.properties.get(name, unset) for name, unset in _QUEUE_UNSET.items()}
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
        """Set it anew, and take it from queues that are no longer named."""
        backend = _queues(self)
        for url in set(before.get("Queues", [])) - set(self.properties["Queues"]):
            with suppress(QueueDoesNotExist):
                backend.get_queue(_queue_name(url)).policy = None
        for url in self.properties["Queues"]:
            backend.get_queue(_queue_name(url)).policy = self.text("PolicyDocument")

    def remove(self) -> None:
        """Take it from its queues."""
        for url in self.properties["Queues"]:
            with suppress(QueueDoesNotExist):
                _queues(self).get_queue(_queue_name(url)).policy = None

    @property
    def physical_resource_id(self) -> str:
        """What tells it from others."""
        return self.name


class Topic(Resource):
    """A topic."""

    type_name = "AWS::SNS::Topic"
    name_property = "TopicName"
    longest_name = 256
    replaced_by = ("TopicName", "FifoTopic")
    attribute_names = ("TopicArn", "TopicName")

    _topic: MotoTopic

    def create(self) -> None:
        """Make it, with the subscriptions that are written into it."""
        fifo = {"FifoTopic": "true"} if is_true(self.properties.get("FifoTopic")) else {}
        self._topic = _topics(self).create_topic(self.name, fifo, self.tags)
        self.change({})
        for subscription in self.properties.get("Subscription", []):
            _topics(self).subscribe(
                self._topic.arn, subscription["Endpoint"], subscription["Protocol"]
            )

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its attributes."""
        for name, unset in _TOPIC_UNSET.items():
            value = self.properties.get(name, unset)
            setattr(self._topic, camelcase_to_underscores(name), value)
        deduplicates = is_true(self.properties.get("ContentBasedDeduplication"))
        self._topic.content_based_deduplication = deduplicates
        self._topic._tags = self.tags

    def remove(self) -> None:
        """Remove it with its subscriptions."""
        _topics(self).delete_topic(self._topic.arn)

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._topic.arn

    def attributes(self) -> Mapping[str, str]:
        """Give its ARN and name."""
        return {"TopicArn": self._topic.arn, "TopicName": self.name}


class TopicPolicy(Resource):
    """The policy of topics."""

    type_name = "AWS::SNS::TopicPolicy"
    required = ("PolicyDocument", "Topics")

    def create(self) -> None:
        """Set it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it anew, and take it from topics that are no longer named."""
        self._restore(set(before.get("Topics", [])) - set(self.properties["Topics"]))
        for arn in self.properties["Topics"]:
            _topics(self).get_topic(arn).policy = self.text("PolicyDocument")

    def remove(self) -> None:
        """Give its topics back the policy that every topic begins with."""
        self._restore(set(self.properties["Topics"]))

    @property
    def physical_resource_id(self) -> str:
        """What tells it from others."""
        return self.name

    def _restore(self, arns: set[str]) -> None:
        for arn in arns:
            with suppress(TopicNotFound):
                topic = _topics(self).get_topic(arn)
                usual = topic._create_default_topic_policy(self.region, self.account_id, topic.name)
                topic.policy = document(usual)


class Subscription(Resource):
    """A subscription to a topic. By e-mail, too, it is confirmed at once."""

    type_name = "AWS::SNS::Subscription"
    required = ("TopicArn", "Protocol", "Endpoint")
    replaced_by = required
    attribute_names = ("Arn",)

    _subscription: MotoSubscription

    def create(self) -> None:
        """Make it."""
        own = self.properties
        self._subscription = _topics(self).subscribe(
            own["TopicArn"], own["Endpoint"], own["Protocol"]
        )
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its attributes."""
        for name in _SUBSCRIPTION_ATTRIBUTES:
            if name in self.properties or name in before:
                _topics(self).set_subscription_attributes(
                    self._subscription.arn, name, self._value(name)
                )

    def remove(self) -> None:
        """Remove it."""
        _topics(self).unsubscribe(self._subscription.arn)

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._subscription.arn

    def attributes(self) -> Mapping[str, str]:
        """Give its ARN."""
        return {"Arn": self._subscription.arn}

    def _value(self, name: str) -> Any:
        if name == "RawMessageDelivery":
            # As moto reads it: any text at all means yes to it.
            return "true" if is_true(self.properties.get(name)) else False
        return self.text(name) if name in self.properties else None


RESOURCE_TYPES: Final[list[type[Resource]]] = [
    Queue,
    QueuePolicy,
    Topic,
    TopicPolicy,
    Subscription,
]


def _queues(resource: Resource) -> SQSBackend:
    backend: SQSBackend = sqs_backends[resource.account_id][resource.region]
    return backend


def _topics(resource: Resource) -> SNSBackend:
    backend: SNSBackend = sns_backends[resource.account_id][resource.region]
    return backend


def _queue_name(url: str) -> str:
    return str(url).rpartition("/")[2]
