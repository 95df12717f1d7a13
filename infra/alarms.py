"""The alarms: one table of metrics, thresholds and descriptions, and the topic for people.

The name of an alarm is the heading of its section in ``docs/runbook.md``.
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

from infra.customer_key import customer_key
from infra.devices import Devices
from infra.event_bus import EventBus
from infra.http_api import HttpApi
from infra.jobs import Jobs
from infra.metrics import FAILED, LOST_TOKENS, PushMetrics
from infra.schedules import Schedules
from infra.settings import Settings

RUNBOOK: Final = "docs/runbook.md"

# CloudWatch evaluates the whole period every minute. So a long period delays no alarm; it only
# adds up more pushes.
_SOON: Final = cdk.Duration.minutes(5)
_LONG: Final = cdk.Duration.minutes(15)


class AlarmRule(NamedTuple):
    """One alarm: it goes off when its metric reaches the threshold in one period.

    Attributes
    ----------
    name
        Of the alarm and of its section in the runbook.
    metric
        The metric.
    threshold
        The lowest value that causes the alarm.
    description
        What it means and what to do, in a sentence or two.
    missing
        What missing data means.
    """

    name: str
    metric: cloudwatch.IMetric
    threshold: float
    description: str
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


def alarm_rules(
    settings: Settings,
    function: lambda_.IFunction,
    requests: sqs.IQueue,
    dead_letters: sqs.IQueue,
    event_bus: EventBus,
    schedules: Schedules,
    http_api: HttpApi | None,
    devices: Devices | None,
    jobs: Jobs | None,
) -> Sequence[AlarmRule]:
    """List the alarms. A new entry point adds its rows here."""
    pushes = PushMetrics(settings.name)
    return (
        AlarmRule(
            "function-errors",
            # Of the whole function: calls without the alias count, too.
            function.metric_errors(period=_SOON, statistic="Sum"),
            # One error is no alarm. A waiting caller gets it, and the event of a caller that does
            # not wait becomes a dead-letter message, which has its own alarm.
            5,
            "5 or more invocations failed in 5 minutes. Look in the log whether they are "
            "InvalidRequest (the caller must correct the request), timeouts or crashes.",
        ),
        AlarmRule(
            "function-throttles",
            function.metric_throttles(period=_SOON, statistic="Sum"),
            1,
            "Lambda throttled invocations. No concurrency is left in the account or for the "
            "function, or an operator stopped all sending. Find out which, then raise the quota.",
        ),
        AlarmRule(
            "lost-events",
            _total(
                invocations=function.metric("DeadLetterErrors", period=_SOON, statistic="Sum"),
                events=event_bus.metric_lost(period=_SOON),
            ),
            1,
            "A request failed, as an asynchronous invocation or on its way from the bus to the "
            "queue, and could not be put into the dead-letter queue either. It is lost. Check "
            "the role, the queues and their policies, and ask the sender to send it again.",
        ),
        AlarmRule(
            "failed-pushes",
            pushes.share(
                FAILED,
                ("accepted", *LOST_TOKENS),
                at_least=30,
                period=_LONG,
                label="failed pushes, %",
            ),
            10,
            "10% or more of at least 30 pushes in 15 minutes failed for a reason other than "
            "their token. The dashboard shows the outcomes, the log the reasons.",
        ),
        AlarmRule(
            "misconfigured",
            pushes.metric("misconfigured", period=_SOON),
            1,
            "A push was refused because a channel, credential, topic, project or permission is "
            "wrong. The log names the service and the reason. The tokens are valid, so send "
            "again after the fix.",
        ),
        AlarmRule(
            "lost-tokens",
            pushes.share(
                LOST_TOKENS,
                ("accepted",),
                at_least=50,
                period=_LONG,
                label="dead or invalid tokens, %",
            ),
            20,
            "20% or more of at least 50 tokens in 15 minutes were dead or invalid. A channel with "
            "the wrong APNs environment or for another app causes this, too. Check the channel "
            "before you delete tokens.",
        ),
        AlarmRule(
            "events-not-sent",
            pushes.metric("EventsNotSent", period=_SOON),
            1,
            "Events about pushes, such as dead tokens and reports, could not be put on the bus "
            "and are lost. The pushes are not affected. Check the bus and the role.",
        ),
        AlarmRule(
            "old-requests",
            requests.metric_approximate_age_of_oldest_message(period=_SOON, statistic="Maximum"),
            # A requeued request waits at most 900 s, and becomes a dead-letter message after 5
            # receives of 174 s. An older one waits for free concurrency, or for an operator.
            1_800,
            "A request has been in the queue for half an hour. More requests arrive than the "
            "function processes, or it fails, or an operator stopped it.",
            missing=cloudwatch.TreatMissingData.IGNORE,  # as below
        ),
        AlarmRule(
            "dead-letters",
            dead_letters.metric_approximate_number_of_messages_visible(
                period=_SOON, statistic="Maximum"
            ),
            1,
            "The dead-letter queue has requests that were not sent. It keeps them for 14 days. "
            "Their attribute `reason` says why. Correct the cause, then run `make redrive`.",
            # SQS reports no data for a queue that was unused for hours, full or empty.
            missing=cloudwatch.TreatMissingData.IGNORE,
        ),
        AlarmRule(
            "schedules-not-delivered",
            # The first counts what was given up, whether or not the second queue got it.
            _total(
                dropped=schedules.metric("InvocationDroppedCount", period=_SOON),
                lost=schedules.metric("InvocationsFailedToBeSentToDeadLetterCount", period=_SOON),
            ),
            1,
            "EventBridge Scheduler tried for a day to send a request or to start a job at its "
            "time, and gave up. A request is in the dead-letter queue if that accepted it. Check "
            "the schedules' roles, the queue and the state machine.",
        ),
        *(() if http_api is None else _of_http(http_api)),
        *(() if devices is None else _of_devices(devices)),
        *(() if jobs is None else _of_jobs(jobs)),
    )


def _of_http(http_api: HttpApi) -> Sequence[AlarmRule]:
    return (
        AlarmRule(
            "http-errors",
            http_api.api.metric_server_error(period=_SOON, statistic="Sum"),
            # As for the function's errors: a single caller gets the error.
            5,
            "5 or more HTTP requests were answered 5xx in 5 minutes. The access log shows the "
            "status. 500: the function failed, or API Gateway may not invoke it. 502: the push "
            "service refused the calls. 503: the function was throttled or ran out of time, or "
            "the table or the queue cannot be reached.",
        ),
    )


def _of_devices(devices: Devices) -> Sequence[AlarmRule]:
    return (
        AlarmRule(
            "devices-errors",
            devices.function.metric_errors(period=_SOON, statistic="Sum"),
            # As for the other function.
            5,
            "5 or more invocations of the registry of devices failed in 5 minutes. Apps cannot "
            "register their devices, or dead tokens remain. Look in the function's log whether "
            "they are timeouts, crashes or a table that cannot be reached.",
        ),
        AlarmRule(
            "devices-throttles",
            devices.function.metric_throttles(period=_SOON, statistic="Sum"),
            1,
            "Lambda throttled the registry of devices. No concurrency is left in the account or "
            "for the function. Find out which, then raise the quota.",
        ),
        AlarmRule(
            "devices-dead-letters",
            devices.dead_letters.metric_approximate_number_of_messages_visible(
                period=_SOON, statistic="Maximum"
            ),
            1,
            "The registry of devices did not process updates of tokens. Correct the cause, then "
            "purge the queue. The next push to such a token reports it again.",
            missing=cloudwatch.TreatMissingData.IGNORE,  # as for the other queues
        ),
    )


def _of_jobs(jobs: Jobs) -> Sequence[AlarmRule]:
    return (
        AlarmRule(
            "job-failed",
            # Not ExecutionsAborted: an operator stopped that job.
            _total(
                failed=jobs.metric("ExecutionsFailed", period=_SOON),
                timed_out=jobs.metric("ExecutionsTimedOut", period=_SOON),
            ),
            1,
            "A job failed, and rows of its file may not be sent. Its report and its execution name "
            "the error. Correct the cause, then redrive the job: it sends no row twice.",
        ),
    )


def _total(**metrics: cloudwatch.IMetric) -> cloudwatch.MathExpression:
    """Add up metrics that may have no data."""
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({name}, 0)" for name in metrics),
        using_metrics=metrics,
        period=_SOON,
        label=", ".join(metrics),
    )


class Alarms(Construct):
    """The alarms, and the topic that sends them to people.

    Attributes
    ----------
    alarms
        In the order of the table.
    topic
        Where alarms are sent; ``None`` if the settings name neither an e-mail nor a topic.
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
        schedules: Schedules,
        http_api: HttpApi | None,
        devices: Devices | None,
        jobs: Jobs | None,
    ) -> None:
        super().__init__(scope, id)
        self.topic = self._topic(settings)
        self.alarms: Sequence[cloudwatch.Alarm] = [
            self._alarm(settings, rule)
            for rule in alarm_rules(
                settings,
                function,
                requests,
                dead_letters,
                event_bus,
                schedules,
                http_api,
                devices,
                jobs,
            )
        ]

    def _alarm(self, settings: Settings, rule: AlarmRule) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            rule.name,
            alarm_name=f"{settings.name}-{rule.name}",
            alarm_description=f"{rule.description} See {RUNBOOK}#{rule.name}.",
            metric=rule.metric,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=rule.threshold,
            evaluation_periods=1,
            treat_missing_data=rule.missing,
        )
        if self.topic is not None:
            notification = actions.SnsAction(self.topic)
            alarm.add_alarm_action(notification)
            alarm.add_ok_action(notification)
        return alarm

    def _topic(self, settings: Settings) -> sns.ITopic | None:
        if settings.alarm_topic_arn:
            return sns.Topic.from_topic_arn(self, "Topic", settings.alarm_topic_arn)
        if not settings.alarm_email:
            return None
        # By default not encrypted with a key: CloudWatch is not allowed to use alias/aws/sns, and
        # a key of our own costs a dollar a month. The messages contain only numbers.
        topic = sns.Topic(
            self,
            "Topic",
            display_name=settings.name,
            enforce_ssl=True,
            master_key=customer_key(self, "TopicKey", settings),
        )
        topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        # A topic with a policy loses the default one, which allows the account's alarms.
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
