"""The EventBridge entry point: the bus, and the rule that puts requests on the queue."""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.settings import Settings

DETAIL_TYPE: Final = "Push Notification Requested"

_DEFAULT: Final = "default"  # the name of the bus that every account has

GROUP: Final = "$.source"
"""The group of a rule's message: its event's source (user guide, "Dynamic path parameters"). If
EventBridge does not replace the path here, it is a valid group itself, of all events."""

SOURCE: Final = "push-sender"
"""The source of the events that the function itself puts on the bus."""


def accept_events(queue: sqs.IQueue, rule: events.CfnRule, *, sid: str = "EventsOfTheRule") -> None:
    """Let EventBridge put messages on a queue, for one rule; its id is unique in the policy."""
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
        )
    )


class EventBus(Construct):
    """The bus for requests and reports, and the rule for the requests.

    It is the account's default bus. A stack with a stage makes its own bus unless the settings
    name one, because two stacks on one bus would both send every push.

    Attributes
    ----------
    bus
        The bus, of this stack or an existing one.
    rule
        It has the stack's name. The metrics need the name, and for a rule on another bus than
        the default one CloudFormation returns it only together with the name of the bus.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id)
        self._rule_name = settings.name
        self.bus = self._bus(settings)
        # Not the CDK's own target, which also allows the rule to read the queue's attributes.
        self.rule = events.CfnRule(
            self,
            "Rule",
            name=self._rule_name,
            description="Puts requests for push notifications on the queue",
            event_bus_name=self.bus.event_bus_name,
            event_pattern={
                "detail-type": [DETAIL_TYPE],
                # An event of the function itself can never become a request.
                "source": [{"anything-but": [SOURCE]}],
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="Requests",
                    arn=requests.queue_arn,
                    # So one source's events cannot hold up another's (docs/reliability.md).
                    sqs_parameters=events.CfnRule.SqsParametersProperty(message_group_id=GROUP),
                    # For events that EventBridge could not deliver within a day. The message is
                    # the original event, which the queue's entry point reads.
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(
                        arn=dead_letters.queue_arn
                    ),
                )
            ],
        )
        for queue in (requests, dead_letters):
            accept_events(queue, self.rule)

    def grant_put_requests(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to put requests on the bus, but no event of the function.

        The operators are those of AWS's own example for PutEvents (EventBridge User Guide,
        "Permissions for event buses"): a call has one detail-type and a list of sources.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["events:PutEvents"],
            resource_arns=[self.bus.event_bus_arn],
            conditions={
                "StringEquals": {"events:detail-type": DETAIL_TYPE},
                "ForAllValues:StringNotEquals": {"events:source": SOURCE},
                # ForAllValues is true for a missing list.
                "Null": {"events:source": "false"},
            },
        )

    def metric_lost(self, *, period: cdk.Duration) -> cloudwatch.Metric:
        """Count the events that reached neither the queue nor the dead-letter queue."""
        # For a rule on the default bus, the metric has only the dimension RuleName.
        name = self.bus.event_bus_name
        dimensions = {} if name == _DEFAULT else {"EventBusName": name}
        return cloudwatch.Metric(
            namespace="AWS/Events",
            metric_name="InvocationsFailedToBeSentToDlq",
            dimensions_map={**dimensions, "RuleName": self._rule_name},
            statistic="Sum",
            period=period,
        )

    def _bus(self, settings: Settings) -> events.IEventBus:
        if settings.stage and not settings.event_bus_name:
            return events.EventBus(self, "Bus", event_bus_name=settings.name)
        name = settings.event_bus_name or _DEFAULT
        return events.EventBus.from_event_bus_name(self, "Bus", name)
