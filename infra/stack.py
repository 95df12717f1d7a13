"""The stack: a home for the push service, with the outputs that a person needs."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from infra.bundle import Bundle
from infra.project import Project
from infra.push_sender import PushSender
from infra.settings import Settings


class PushSenderStack(cdk.Stack):
    """Deploys the push service of one stage.

    Parameters
    ----------
    scope, id
        As of every stack.
    settings
        What is deployed.
    bundle
        The function's archive; left out, it is built for ``settings.architecture``.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        bundle: Bundle | None = None,
    ) -> None:
        super().__init__(scope, id, description="Push Sender: transactional push notifications")
        sender = PushSender(self, "PushSender", settings=settings, bundle=bundle)
        function = sender.function
        outputs = {
            "ApplicationId": (sender.project.application_ids[0], "the push project"),
            "Channels": (_channels(sender.project), "what it can push to"),
            "FunctionName": (
                f"{function.function.function_name}:{function.alias.alias_name}",
                "for aws lambda invoke --function-name",
            ),
            "FunctionArn": (function.alias.function_arn, "for rules, schedules and policies"),
            "QueueUrl": (sender.requests.queue.queue_url, "for aws sqs send-message"),
            "QueueArn": (
                sender.requests.queue.queue_arn,
                "for policies, and where dead letters are sent again",
            ),
            "EventBusName": (
                sender.event_bus.bus.event_bus_name,
                "where requests are listened for, and reports told",
            ),
            "TableName": (sender.idempotency.table.table_name, "which keys were used today"),
            "LogGroupName": (function.log_group.log_group_name, "the function's log"),
            "DeadLetterQueueUrl": (
                sender.dead_letters.queue.queue_url,
                "requests that wait for somebody to act",
            ),
            "DeadLetterQueueArn": (
                sender.dead_letters.queue.queue_arn,
                "to send them again",
            ),
            "DashboardName": (
                sender.dashboard.dashboard.dashboard_name,
                "what to look at in CloudWatch",
            ),
        }
        if sender.http_api is not None:
            outputs["ApiUrl"] = (sender.http_api.url, "for POST /messages, signed")
            outputs["ApiLogGroupName"] = (
                sender.http_api.log_group.log_group_name,
                "who called the HTTP API, and what was answered",
            )
        if settings.alarm_email and sender.alarms.topic is not None:
            outputs["AlarmTopicArn"] = (sender.alarms.topic.topic_arn, "who is told of alarms")
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(self, name, value=value, description=description)


def _channels(project: Project) -> str:
    if project.services is None:
        return "those of the existing project"
    return ", ".join(project.services) or "none"
