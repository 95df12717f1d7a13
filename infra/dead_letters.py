"""The queue of requests that could not be sent and wait for somebody to act."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.removal import removal_policy
from infra.settings import Settings


class DeadLetters(Construct):
    """A queue that keeps requests for 14 days, encrypted, for TLS only.

    What comes here: from the function, requests with a `reason` (transient, misconfigured,
    invalid); from Lambda, asynchronous events that failed; from SQS, messages received too
    often; from EventBridge, events that it could not put on the queue. Each is a request, or
    an event that holds one, so that a redrive into the queue sends it.

    Attributes
    ----------
    queue
        Its name is CloudFormation's: a queue that was retained cannot stand in the way of
        the next deployment.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:  # noqa: A002  the CDK's name
        super().__init__(scope, id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),  # the most there is
            removal_policy=removal_policy(settings),
        )
