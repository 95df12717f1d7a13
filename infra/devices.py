"""The registry of devices: its table, its function, and the rule that keeps it up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.bundle import Bundle
from infra.customer_key import QUEUES, TABLES, customer_key
from infra.dead_letters import dead_letter_queue
from infra.event_bus import SOURCE, accept_events
from infra.grants import grant_by_policy
from infra.http_api import HttpApi, Routes
from infra.live_function import LiveFunction
from infra.removal import removal_policy
from infra.settings import Settings

REGISTER: Final[Routes] = (
    (apigateway.HttpMethod.PUT, "/devices/{device_id}"),
    (apigateway.HttpMethod.DELETE, "/devices/{device_id}"),
)
READ: Final[Routes] = (
    (apigateway.HttpMethod.GET, "/devices/{device_id}"),
    (apigateway.HttpMethod.GET, "/users/{user_id}/devices"),
)
ERASE: Final[Routes] = ((apigateway.HttpMethod.DELETE, "/users/{user_id}"),)

MY_DEVICE: Final[Routes] = (
    (apigateway.HttpMethod.PUT, "/my/devices/{device_id}"),
    (apigateway.HttpMethod.DELETE, "/my/devices/{device_id}"),
)
"""The routes for the app itself, with a JWT of its user."""

DETAIL_TYPE: Final = "Push Token Update"

# Not memory_mb: the work is a few calls of DynamoDB, and the memory buys a share of a CPU for
# the start.
_MEMORY_MB: Final = 512

# What TransactWriteItems needs is the permission of each of its parts.
_TABLE_ACTIONS: Final = (
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
)


class Devices(Construct):
    """Which devices there are and whose they are.

    Attributes
    ----------
    table
        CloudFormation chooses its name, so that a retained table does not block the next
        deployment. It is encrypted as the table of idempotency keys is.
    live
        The function with its role.
    function
        The only one that writes to the table.
    alias
        ``live``, as of every function here.
    log_group
        The function's log.
    dead_letters
        Events that EventBridge could not deliver and events with which the function failed. The
        next push to the same token reports it again, so the queue is removed with the stack.
    rule
        Invokes the function when a push shows that a token is dead, invalid or replaced.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        bundle: Bundle,
        application_ids: Sequence[str],
        event_bus: events.IEventBus,
    ) -> None:
        super().__init__(scope, id)
        name = f"{settings.name}-devices"
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption_key=customer_key(self, "Key", settings),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expiration",
            removal_policy=removal_policy(settings),
            deletion_protection=settings.deletion_protection,
        )
        self.dead_letters = dead_letter_queue(
            self,
            "DeadLetters",
            settings=settings,
            removal_policy=cdk.RemovalPolicy.DESTROY,
            name=f"{name}-dead-letters",
        )
        self.live = LiveFunction(
            self,
            "Registry",
            settings=settings,
            bundle=bundle,
            name=name,
            description="Keeps the registry of devices and their users",
            handler="push_sender.devices_handler.handler",
            memory_mb=_MEMORY_MB,
            environment={
                "APPLICATION_IDS": ",".join(application_ids),
                "DEVICES_TABLE": self.table.table_name,
                "DEVICE_EXPIRY_DAYS": str(settings.device_expiry_days),
            },
            dead_letters=self.dead_letters,
            # An update of a token can be repeated without harm.
            retry_attempts=2,
        )
        self.live.allow(_TABLE_ACTIONS, self.table.table_arn)
        self.live.use_key(TABLES, self.table.table_name)
        self.live.use_key(QUEUES, self.dead_letters.queue_arn)
        self.function, self.alias = self.live.function, self.live.alias
        self.log_group = self.live.log_group
        self.rule = self._rule(name, event_bus)
        self._http_api: HttpApi | None = None

    def add_routes_to(self, http_api: HttpApi) -> None:
        """Let callers reach the function over HTTP."""
        http_api.add_routes(self.alias, signed=(*REGISTER, *READ, *ERASE), jwt=MY_DEVICE)
        self._http_api = http_api

    def grant_register(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to register and remove devices, and nothing else.

        Raises
        ------
        GrantError
            If the grant would have no effect. The other grants raise it, too.
        ValueError
            If the settings exclude the HTTP API; the other grants as well.
        """
        return self._grant(grantee, REGISTER)

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to read devices and those of a user, and nothing else."""
        return self._grant(grantee, READ)

    def grant_erase(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to erase users, and nothing else."""
        return self._grant(grantee, ERASE)

    def _grant(self, grantee: iam.IGrantable, routes: Routes) -> iam.Grant:
        http_api = self._http_api
        if http_api is None:
            raise ValueError(
                "there is no HTTP API, over which devices are reached: set http_api to true"
            )
        return grant_by_policy(
            grantee, self, lambda to: http_api.grant_invoke(to, routes), "execute-api:Invoke"
        )

    def _rule(self, name: str, event_bus: events.IEventBus) -> events.CfnRule:
        rule = events.CfnRule(
            self,
            "Rule",
            name=name,
            description="Tells the registry of devices what a push shows about a token",
            event_bus_name=event_bus.event_bus_name,
            event_pattern={"source": [SOURCE], "detail-type": [DETAIL_TYPE]},
            targets=[
                events.CfnRule.TargetProperty(
                    id="Devices",
                    arn=self.alias.function_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(
                        arn=self.dead_letters.queue_arn
                    ),
                )
            ],
        )
        accept_events(self.dead_letters, rule)
        lambda_.CfnPermission(
            self,
            "Permission",
            action="lambda:InvokeFunction",
            function_name=self.alias.function_arn,
            principal="events.amazonaws.com",
            source_arn=rule.attr_arn,
        )
        return rule
