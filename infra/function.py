"""The function: its code, its role, its log and the alias that callers use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.acknowledgement import acknowledge, acknowledge_lint
from infra.bundle import Bundle
from infra.log_group import log_group
from infra.settings import Settings

TIMEOUT_SECONDS: Final = 29
"""Less than API Gateway's 30 s and the clients' 60 s. Work that takes longer is requeued."""

ALIAS: Final = "live"

_TABLE_ACTIONS: Final = ("dynamodb:BatchGetItem", "dynamodb:PutItem")

_QUEUE_ACTIONS: Final = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
"""What Lambda does with the function's role to pass it the queue's messages."""

_ARCHITECTURES: Final = {
    "arm64": lambda_.Architecture.ARM_64,
    "x86_64": lambda_.Architecture.X86_64,
}


class SenderFunction(Construct):
    """The function ``push_sender``, with exactly the permissions that it uses.

    Attributes
    ----------
    function
        It has the stack's name, so that a command line needs no look-up.
    role
        Its permissions.
    alias
        ``live``, which callers use. A deployment moves it to the new version when that is
        ready. Earlier versions remain, for a rollback.
    log_group
        The log of Lambda and the function.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        bundle: Bundle,
        application_ids: Sequence[str],
        idempotency: dynamodb.ITable,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
        event_bus: events.IEventBus,
    ) -> None:
        super().__init__(scope, id)
        self.log_group = log_group(self, "Log", settings=settings)
        self.role = self._role(application_ids)
        # Only the actions that are used; the CDK's grants for these parts allow more.
        self._allow(_TABLE_ACTIONS, idempotency.table_arn)
        self._allow(("sqs:SendMessage",), requests.queue_arn, dead_letters.queue_arn)
        self._allow(_QUEUE_ACTIONS, requests.queue_arn)
        self._allow(("events:PutEvents",), event_bus.event_bus_arn)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=settings.name,
            description="Sends push notifications and reports a result for every recipient",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=_ARCHITECTURES[settings.architecture],
            code=lambda_.Code.from_asset(str(bundle.path)),
            handler="push_sender.handler.handler",
            timeout=cdk.Duration.seconds(TIMEOUT_SECONDS),
            # 5,000 recipients need less than 100 MB; the rest buys a share of a CPU.
            memory_size=settings.memory_mb,
            role=self.role,
            environment={
                "APPLICATION_IDS": ",".join(application_ids),
                "DEAD_LETTER_QUEUE_URL": dead_letters.queue_url,
                "EVENT_BUS_NAME": event_bus.event_bus_name,
                "IDEMPOTENCY_TABLE": idempotency.table_name,
                # Proves which messages the function wrote. It ends in a UUID that callers without
                # other permissions do not know, and stays the same while the stack exists.
                "MESSAGE_KEY": cdk.Aws.STACK_ID,
                "POWERTOOLS_SERVICE_NAME": settings.name,
                "QUEUE_URL": requests.queue_url,
            },
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel[settings.log_level],
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=dead_letters,
            retry_attempts=0,
            current_version_options=lambda_.VersionOptions(removal_policy=cdk.RemovalPolicy.RETAIN),
        )
        if settings.send_concurrency is not None:
            self.function.add_environment("SEND_CONCURRENCY", str(settings.send_concurrency))
        acknowledge(
            self.function,
            "The bundle's bytecode and compiled wheels are made for Python 3.13.",
            "AwsSolutions-L1",
        )
        acknowledge_lint(
            cast(lambda_.CfnFunction, self.function.node.default_child),
            "The CDK waits for the role's policy, and names the role itself along with it.",
            "W3005",
        )
        # A retry by Lambda would repeat the pushes that were sent before the error.
        self.alias = lambda_.Alias(
            self, "Alias", alias_name=ALIAS, version=self.function.current_version, retry_attempts=0
        )
        self.log_group.grant_write(self.role)

    def _role(self, application_ids: Sequence[str]) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            description="The permissions of the push sender's function",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        stack = cdk.Stack.of(self)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["mobiletargeting:SendMessages"],
                resources=[
                    stack.format_arn(
                        service="mobiletargeting", resource="apps", resource_name=f"{id_}/messages"
                    )
                    for id_ in application_ids
                ],
            )
        )
        acknowledge(
            role,
            "The tracing that Lambda does by itself: X-Ray's actions know no resources.",
            "AwsSolutions-IAM5[Resource::*]",
        )
        return role

    def _allow(self, actions: Sequence[str], *resources: str) -> None:
        self.role.add_to_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(resources))
        )
