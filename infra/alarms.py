"""The alarms: one table of what is watched and what to do, and who is told.

Every alarm is called like its section in ``docs/runbook.md``, which says at length what
its description says in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.event_bus import EventBus
from infra.http_api import HttpApi
from infra.metrics import FAILED, LOST_TOKENS, PushMetrics
from infra.settings import Settings

RUNBOOK: Final = "docs/runbook.md"

# CloudWatch looks every minute at the whole period until then: a long period delays no
# alarm, it only lets few pushes add up and one burst count.
_SOON: Final = cdk.Duration.minutes(5)
_LONG: Final = cdk.Duration.minutes(15)


class Watch(NamedTuple):
    """One alarm: it goes off when its metric reaches a threshold in one period.

    Attributes
    ----------
    name
        What it is called, and its section in the runbook.
    metric
        What is watched.
    threshold
        From where on it is too much.
    told
        What it means and what to do, in a sentence or two.
    missing
        What the absence of data means.
    """

    name: str
    metric: cloudwatch.IMetric
    threshold: float
    told: str
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


def watches(
    settings: Settings,
    function: lambda_.IFunction,
    requests: sqs.IQueue,
    dead_letters: sqs.IQueue,
    event_bus: EventBus,
    http_api: HttpApi | None,
) -> Sequence[Watch]:
    """List what is watched. A further entry point adds its rows here."""
    pushes = PushMetrics(settings.name)
    always = (
        Watch(
            "function-errors",
            # Of the function as a whole: whoever leaves the alias out is counted, too.
            function.metric_errors(period=_SOON, statistic="Sum"),
            # One error is no alarm: whoever waits for the answer has it, and the event of
            # whoever does not is a dead letter, which is an alarm by itself.
            5,
            "5 invocations or more failed in 5 minutes. A request that is refused as invalid "
            "counts, too, which is its caller's to mend; so look in the log first whether it is "
            "InvalidRequest, a timeout or a crash.",
        ),
        Watch(
            "function-throttles",
            function.metric_throttles(period=_SOON, statistic="Sum"),
            1,
            "Lambda turned invocations away: the account's or the function's concurrency is used "
            "up, or somebody has stopped all sending. Find out which, then raise the quota.",
        ),
        Watch(
            "lost-events",
            _total(
                invocations=function.metric("DeadLetterErrors", period=_SOON, statistic="Sum"),
                events=event_bus.metric_lost(period=_SOON),
            ),
            1,
            "A request failed, as an asynchronous invocation or on its way from the bus to the "
            "queue, and could not be put into the dead-letter queue either, so it is lost. Look "
            "at the role, the queues and their policies, and have its sender send it again.",
        ),
        Watch(
            "failed-pushes",
            pushes.share(
                FAILED,
                ("accepted", *LOST_TOKENS),
                at_least=30,
                period=_LONG,
                label="failed pushes, %",
            ),
            10,
            "10% or more of at least 30 pushes in 15 minutes failed for another reason than "
            "their token. See on the dashboard which outcome it is, and in the log its reason.",
        ),
        Watch(
            "misconfigured",
            pushes.metric("misconfigured", period=_SOON),
            1,
            "A push was refused for our side's fault: channel, credential, topic, project or "
            "permission. The log names the service and the reason; the tokens are fine, so send "
            "again after the fix.",
        ),
        Watch(
            "lost-tokens",
            pushes.share(
                LOST_TOKENS,
                ("accepted",),
                at_least=50,
                period=_LONG,
                label="dead or invalid tokens, %",
            ),
            20,
            "20% or more of at least 50 tokens in 15 minutes were dead or invalid. A channel of "
            "the wrong APNs environment or of another app looks like that: look at it before "
            "anybody deletes tokens.",
        ),
        Watch(
            "events-not-sent",
            pushes.metric("EventsNotSent", period=_SOON),
            1,
            "Events about pushes, such as dead tokens and reports, could not be put on the bus "
            "and are lost; the pushes are not affected. Look at the bus and the role.",
        ),
        Watch(
            "old-requests",
            requests.metric_approximate_age_of_oldest_message(period=_SOON, statistic="Maximum"),
            # A requeued request rests 900 s at most, and is a dead letter when it was received
            # 5 times for 174 s: what is older than both waits for a free copy, or for somebody.
            1_800,
            "A request has been in the queue for half an hour: more come in than the function "
            "works off, it fails, or somebody has stopped it.",
            missing=cloudwatch.TreatMissingData.IGNORE,  # as below
        ),
        Watch(
            "dead-letters",
            dead_letters.metric_approximate_number_of_messages_visible(
                period=_SOON, statistic="Maximum"
            ),
            1,
            "Requests that were not sent lie in the dead-letter queue, which keeps them for 14 "
            "days. Their attribute `reason` tells why: mend that, then send them again.",
            # SQS counts nothing in a queue that nobody has used for hours, full or empty.
            missing=cloudwatch.TreatMissingData.IGNORE,
        ),
    )
    if http_api is None:
        return always
    return (
        *always,
        Watch(
            "http-errors",
            http_api.api.metric_server_error(period=_SOON, statistic="Sum"),
            # As with the function's errors: whoever waits for one answer has it.
            5,
            "5 requests or more over HTTP were answered 5xx in 5 minutes. The access log tells "
            "which: 500 is the function failing or not let in, 502 the push service refusing us, "
            "503 the function turned away or out of time, or the keys or the queue out of reach.",
        ),
    )


def _total(**metrics: cloudwatch.IMetric) -> cloudwatch.MathExpression:
    """Add metrics of which each may have no data."""
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({name}, 0)" for name in metrics),
        using_metrics=metrics,
        period=_SOON,
        label=", ".join(metrics),
    )


class Alarms(Construct):
    """The alarms, and the topic that tells people of them.

    Attributes
    ----------
    alarms
        In the order of the table.
    topic
        Where they are told; ``None`` where the settings name nobody.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        function: lambda_.IFunction,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
        event_bus: EventBus,
        http_api: HttpApi | None,
    ) -> None:
        super().__init__(scope, id)
        self.topic = self._topic(settings)
        self.alarms: Sequence[cloudwatch.Alarm] = [
            self._alarm(settings, watch)
            for watch in watches(settings, function, requests, dead_letters, event_bus, http_api)
        ]

    def _alarm(self, settings: Settings, watch: Watch) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            watch.name,
            alarm_name=f"{settings.name}-{watch.name}",
            alarm_description=f"{watch.told} {RUNBOOK}#{watch.name} tells how.",
            metric=watch.metric,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=watch.threshold,
            evaluation_periods=1,
            treat_missing_data=watch.missing,
        )
        if self.topic is not None:
            told = actions.SnsAction(self.topic)
            alarm.add_alarm_action(told)
            alarm.add_ok_action(told)
        return alarm

    def _topic(self, settings: Settings) -> sns.ITopic | None:
        if settings.alarm_topic_arn:
            return sns.Topic.from_topic_arn(self, "Topic", settings.alarm_topic_arn)
        if not settings.alarm_email:
            return None
        # Not encrypted with a key: CloudWatch may not use alias/aws/sns, and one of our own
        # costs a dollar a month to hide numbers that hold nothing of anybody.
        topic = sns.Topic(self, "Topic", display_name=settings.name, enforce_ssl=True)
        topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        # A topic that has a policy no longer has the one that lets the account's alarms in.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}},
            )
        )
        return topic
