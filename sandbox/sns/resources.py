"""SNS: topics, their policies, and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.core.utils import camelcase_to_underscores
from moto.sns.exceptions import TopicNotFound
from moto.sns.models import SNSBackend, sns_backends
from moto.sns.models import Subscription as MotoSubscription
from moto.sns.models import Topic as MotoTopic

from sandbox.cloudformation.resource import Resource, document, is_true

_TOPIC_DEFAULTS: Final[Mapping[str, Any]] = {"DisplayName": "", "KmsMasterKeyId": ""}
_SUBSCRIPTION_ATTRIBUTES: Final = (
    "DeliveryPolicy",
    "FilterPolicyScope",  # before the policy, which moto reads by its scope
    "FilterPolicy",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
)


class Topic(Resource):
    """A topic."""

    type_name = "AWS::SNS::Topic"
    name_property = "TopicName"
    longest_name = 256
    replaced_by = ("TopicName", "FifoTopic")
    attribute_names = ("TopicArn", "TopicName")

    _topic: MotoTopic

    def create(self) -> None:
        """Make it, with its inline subscriptions."""
        fifo = {"FifoTopic": "true"} if is_true(self.properties.get("FifoTopic")) else {}
        self._topic = _backend_of(self).create_topic(self.name, fifo, self.tags)
        self.change({})
        for subscription in self.properties.get("Subscription", []):
            _backend_of(self).subscribe(
                self._topic.arn, subscription["Endpoint"], subscription["Protocol"]
            )

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its attributes."""
        for name, unset in _TOPIC_DEFAULTS.items():
            value = self.properties.get(name, unset)
            setattr(self._topic, camelcase_to_underscores(name), value)
        deduplicates = is_true(self.properties.get("ContentBasedDeduplication"))
        self._topic.content_based_deduplication = deduplicates
        self._topic._tags = self.tags

    def remove(self) -> None:
        """Remove it with its subscriptions."""
        _backend_of(self).delete_topic(self._topic.arn)

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._topic.arn

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and name."""
        return {"TopicArn": self._topic.arn, "TopicName": self.name}


class TopicPolicy(Resource):
    """The policy of topics."""

    type_name = "AWS::SNS::TopicPolicy"
    required = ("PolicyDocument", "Topics")

    def create(self) -> None:
        """Set it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it, and restore the default policy of topics that are no longer named."""
        self._restore(set(before.get("Topics", [])) - set(self.properties["Topics"]))
        for arn in self.properties["Topics"]:
            _backend_of(self).get_topic(arn).policy = self.text("PolicyDocument")

    def remove(self) -> None:
        """Restore the default policy of its topics."""
        self._restore(set(self.properties["Topics"]))

    @property
    def physical_resource_id(self) -> str:
        """A unique name."""
        return self.name

    def _restore(self, arns: set[str]) -> None:
        for arn in arns:
            with suppress(TopicNotFound):
                topic = _backend_of(self).get_topic(arn)
                default = topic._create_default_topic_policy(
                    self.region, self.account_id, topic.name
                )
                topic.policy = document(default)


class Subscription(Resource):
    """A subscription to a topic. It is confirmed at once, also one by e-mail."""

    type_name = "AWS::SNS::Subscription"
    required = ("TopicArn", "Protocol", "Endpoint")
    replaced_by = required
    attribute_names = ("Arn",)

    _subscription: MotoSubscription

    def create(self) -> None:
        """Make it."""
        own = self.properties
        self._subscription = _backend_of(self).subscribe(
            own["TopicArn"], own["Endpoint"], own["Protocol"]
        )
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its attributes."""
        for name in _SUBSCRIPTION_ATTRIBUTES:
            if name in self.properties or name in before:
                _backend_of(self).set_subscription_attributes(
                    self._subscription.arn, name, self._value(name)
                )

    def remove(self) -> None:
        """Remove it."""
        _backend_of(self).unsubscribe(self._subscription.arn)

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._subscription.arn

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN."""
        return {"Arn": self._subscription.arn}

    def _value(self, name: str) -> Any:
        if name == "RawMessageDelivery":
            # moto takes any text as true.
            return "true" if is_true(self.properties.get(name)) else False
        return self.text(name) if name in self.properties else None


RESOURCE_TYPES: Final[list[type[Resource]]] = [Topic, TopicPolicy, Subscription]


def _backend_of(resource: Resource) -> SNSBackend:
    backend: SNSBackend = sns_backends[resource.account_id][resource.region]
    return backend
