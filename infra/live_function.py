"""A function of the archive: its code, its role, its log and the alias that callers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.acknowledgement import acknowledge, acknowledge_lint
from infra.bundle import Bundle
from infra.customer_key import LOG, LOG_KEY, Use, grant_use
from infra.log_group import log_group
from infra.settings import Settings

TIMEOUT_SECONDS: Final = 29
"""Less than API Gateway's 30 s and the clients' 60 s. Work that takes longer is requeued."""

ALIAS: Final = "live"

_ARCHITECTURES: Final = {
    "arm64": lambda_.Architecture.ARM_64,
    "x86_64": lambda_.Architecture.X86_64,
}


class LiveFunction(Construct):
    """A function with a role of its own, which allows only the log and tracing at first.

    Parameters
    ----------
    scope, id
        As for every construct.
    settings
        The stack's settings.
    bundle
        The archive.
    name
        The function's name, also in its metrics and its log.
    description, handler, memory_mb
        As Lambda knows them.
    environment
        Its variables, besides the name.
    dead_letters
        Where Lambda puts asynchronous events that failed.
    retry_attempts
        How often Lambda repeats an asynchronous event that failed, 0 to 2.
    reserved_concurrency
        Kept for this function, and its maximum; ``None`` means that it shares the account's.

    Attributes
    ----------
    function
        The function.
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
        name: str,
        description: str,
        handler: str,
        memory_mb: int,
        environment: Mapping[str, str],
        dead_letters: sqs.IQueue,
        retry_attempts: int,
        reserved_concurrency: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._settings = settings
        self.log_group = log_group(self, "Log", settings=settings)
        self.role = iam.Role(
            self,
            "Role",
            description=f"The permissions of the function {name}",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        acknowledge(
            self.role,
            "The tracing that Lambda does by itself: X-Ray's actions know no resources.",
            "AwsSolutions-IAM5[Resource::*]",
        )
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=_ARCHITECTURES[settings.architecture],
            code=lambda_.Code.from_asset(str(bundle.path)),
            handler=handler,
            timeout=cdk.Duration.seconds(TIMEOUT_SECONDS),
            memory_size=memory_mb,
            role=self.role,
            environment={**environment, "POWERTOOLS_SERVICE_NAME": name},
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel[settings.log_level],
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=dead_letters,
            retry_attempts=retry_attempts,
            reserved_concurrent_executions=reserved_concurrency,
            current_version_options=lambda_.VersionOptions(removal_policy=cdk.RemovalPolicy.RETAIN),
        )
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
        self.alias = lambda_.Alias(
            self,
            "Alias",
            alias_name=ALIAS,
            version=self.function.current_version,
            retry_attempts=retry_attempts,
        )
        self.log_group.grant_write(self.role)
        # Without the streams, which the attribute of CloudFormation includes.
        log_arn = cdk.Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            resource_name=self.log_group.log_group_name,
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        self.use_key(LOG, log_arn)
        self.use_key(LOG_KEY)

    def allow(self, actions: Sequence[str], *resources: str) -> None:
        """Let the function call actions on exactly these resources."""
        self.role.add_to_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(resources))
        )

    def use_key(self, use: Use, *resources: str) -> None:
        """Let the function use the customer's key, if there is one, for these resources."""
        grant_use(self.role, self._settings, use, *resources)
