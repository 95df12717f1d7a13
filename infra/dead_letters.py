"""The dead-letter queues: what could not be processed and waits for an operator."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.customer_key import customer_key
from infra.removal import removal_policy
from infra.settings import Settings


def dead_letter_queue(
    scope: Construct,
    id: str,  # noqa: A002  the CDK's name
    *,
    settings: Settings,
    removal_policy: cdk.RemovalPolicy,
    name: str | None = None,
) -> sqs.Queue:
    """Make a queue that keeps messages for 14 days, encrypted, for TLS only."""
    key = customer_key(scope, f"{id}Key", settings)
    return sqs.Queue(
        scope,
        id,
        queue_name=name,
        encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
        encryption_master_key=key,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),  # the maximum
        removal_policy=removal_policy,
    )


class DeadLetters(Construct):
    """The queue of requests that could not be sent.

    Five sources put messages here: the function, requests with a `reason` (transient,
    misconfigured, invalid); Lambda, asynchronous events that failed; SQS, messages that were
    received too often; EventBridge and its Scheduler, what they could not put on the queue. Each
    is a request, an event with one, or the event of a job's end, so a redrive to the queue
    processes it.

    Attributes
    ----------
    queue
        CloudFormation chooses its name, so that a retained queue does not block the next
        deployment.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:  # noqa: A002  the CDK's name
        super().__init__(scope, id)
        self.queue = dead_letter_queue(
            self, "Queue", settings=settings, removal_policy=removal_policy(settings)
        )
