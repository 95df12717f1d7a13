"""The queue entry point: requests whose callers do not wait, and what processes them."""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.function import TIMEOUT_SECONDS, SenderFunction
from infra.removal import removal_policy
from infra.settings import Settings

VISIBILITY_SECONDS: Final = 6 * TIMEOUT_SECONDS
"""How long a message that was received is hidden. AWS asks for six times the function's
timeout, so that Lambda can try again where it was throttled."""

RECEIVES: Final = 5
"""How often a message is received before it is a dead letter.

What the function can judge never comes to that: it is requeued or buried at once. What is
left is a process that was killed, a store that is down and a throttled function. Five is the
least that AWS advises; the message is then tried for 5 x 174 s, a quarter of an hour. More
would repeat the batches that were in flight once more for each killed process, and spare an
operator no more than a redrive.
"""

BATCH_SIZE: Final = 2
"""The most messages of one invocation.

They are sent one after the other within its 29 s. A call may take 10 s to be answered, so
while a provider hangs there is time for two; more would go back unsent, and each time is one
of their receives. And a process that is killed takes but one other message along.
"""


class RequestQueue(Construct):
    """A queue of requests, encrypted, for TLS only; what fails for good is a dead letter.

    Encrypted with SQS's own key, and not with one in KMS: that would cost a dollar a month
    and every caller a further permission.

    Attributes
    ----------
    queue
        Its name is CloudFormation's, as the dead-letter queue's.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id)
        # The dead-letter queue does not name this one as its only source (RedriveAllowPolicy):
        # each would have to be made before the other.
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=cdk.Duration.seconds(VISIBILITY_SECONDS),
            # The most there is, for the days when sending was stopped. SQS counts a dead
            # letter's 14 days from here, so less would not lengthen its time there.
            retention_period=cdk.Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=RECEIVES),
            removal_policy=removal_policy(settings),
        )

    def grant_send(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody put requests on the queue; the CDK's own grant allows more."""
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["sqs:SendMessage"], resource_arns=[self.queue.queue_arn]
        )

    def feed(self, function: SenderFunction, *, concurrency: int) -> None:
        """Have Lambda hand the messages to a function's alias.

        Parameters
        ----------
        function
            Whose role may receive from the queue.
        concurrency
            How many copies of the function work at once, at most. The rest of the messages
            waits in the queue, and callers who wait for an answer find copies free.
        """
        mapping = lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=function.alias,
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCH_SIZE,
            # No waiting for a batch to fill up: a push is wanted now.
            report_batch_item_failures=True,
            max_concurrency=concurrency,
        )
        # Lambda looks at the permissions when the mapping is made.
        mapping.node.add_dependency(function.role)
