"""The function that sends: its environment and its permissions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.bundle import Bundle
from infra.customer_key import QUEUES, TABLES
from infra.live_function import LiveFunction
from infra.settings import Settings

_TABLE_ACTIONS: Final = ("dynamodb:BatchGetItem", "dynamodb:PutItem")

_QUEUE_ACTIONS: Final = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
"""What Lambda does with the function's role to pass it the queue's messages."""


class SenderFunction(LiveFunction):
    """The function ``push_sender``, with exactly the permissions that it uses.

    It has the stack's name, so that a command line needs no look-up.
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
        devices: dynamodb.ITable | None,
    ) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            bundle=bundle,
            name=settings.name,
            description="Sends push notifications and reports a result for every recipient",
            handler="push_sender.handler.handler",
            # 5,000 recipients need less than 100 MB; the rest buys a share of a CPU.
            memory_mb=settings.memory_mb,
            environment={
                "APPLICATION_IDS": ",".join(application_ids),
                "DEAD_LETTER_QUEUE_URL": dead_letters.queue_url,
                "EVENT_BUS_NAME": event_bus.event_bus_name,
                "IDEMPOTENCY_TABLE": idempotency.table_name,
                # Proves which messages the function wrote. It ends in a UUID that callers without
                # other permissions do not know, and stays the same while the stack exists.
                "MESSAGE_KEY": cdk.Aws.STACK_ID,
                "QUEUE_URL": requests.queue_url,
            },
            dead_letters=dead_letters,
            # A retry by Lambda would repeat the pushes that were sent before the error.
            retry_attempts=0,
            reserved_concurrency=settings.reserved_concurrency,
        )
        if devices is not None:
            self.function.add_environment("DEVICES_TABLE", devices.table_name)
            self.allow(("dynamodb:BatchGetItem",), devices.table_arn)
        if settings.send_concurrency is not None:
            self.function.add_environment("SEND_CONCURRENCY", str(settings.send_concurrency))
        stack = cdk.Stack.of(self)
        self.allow(
            ("mobiletargeting:SendMessages",),
            *(
                stack.format_arn(
                    service="mobiletargeting", resource="apps", resource_name=f"{id_}/messages"
                )
                for id_ in application_ids
            ),
        )
        # Only the actions that are used; the CDK's grants for these parts allow more.
        self.allow(_TABLE_ACTIONS, idempotency.table_arn)
        self.allow(("sqs:SendMessage",), requests.queue_arn, dead_letters.queue_arn)
        self.allow(_QUEUE_ACTIONS, requests.queue_arn)
        self.allow(("events:PutEvents",), event_bus.event_bus_arn)
        # Lambda itself receives from the first and puts failed events on the second.
        self.use_key(QUEUES, requests.queue_arn, dead_letters.queue_arn)
        tables = [idempotency, *([] if devices is None else [devices])]
        self.use_key(TABLES, *(table.table_name for table in tables))
