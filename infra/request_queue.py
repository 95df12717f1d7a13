"""The queue entry point: requests whose callers do not wait, and what processes them."""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.customer_key import QUEUES, customer_key, grant_use
from infra.live_function import TIMEOUT_SECONDS, LiveFunction
from infra.removal import removal_policy
from infra.settings import Settings

VISIBILITY_SECONDS: Final = 6 * TIMEOUT_SECONDS
"""How long a received message is hidden. AWS recommends six times the function's timeout, so that
Lambda can try again after a throttle."""

RECEIVES: Final = 5
"""How often a message is received before it becomes a dead-letter message.

The function itself requeues or gives up a message much earlier. This limit is for a killed
process, a table that is down and a throttled function. Five is the minimum that AWS recommends:
SQS then tries the message for 5 x 174 s, a quarter of an hour. With more, each killed process
would repeat its batches in flight once more, and an operator would only save a redrive.
"""

BATCH_SIZE: Final = 2
"""The maximum of messages in one invocation.

The function sends them one after the other within its 29 s. A call may take 10 s, so there is
time for two if a provider hangs. More would return unsent, which uses up one of their receives.
And a killed process affects only one other message.
"""


class RequestQueue(Construct):
    """A queue of requests, encrypted, for TLS only, with a dead-letter queue.

    Encrypted with SQS's own key unless the settings name one. A key in KMS costs a dollar a month
    and requires a further permission of every caller.

    Attributes
    ----------
    queue
        CloudFormation chooses its name, as for the dead-letter queue.
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
        self._settings = settings
        key = customer_key(self, "Key", settings)
        # The dead-letter queue does not name this queue as its only source (RedriveAllowPolicy),
        # because each would need the other first.
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            enforce_ssl=True,
            visibility_timeout=cdk.Duration.seconds(VISIBILITY_SECONDS),
            # The maximum, for the days when sending was stopped. SQS counts a dead-letter
            # message's 14 days from here, so less would not give it more time there.
            retention_period=cdk.Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=RECEIVES),
            removal_policy=removal_policy(settings),
        )

    def grant_send(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to put requests on the queue; the CDK's own grant allows more."""
        queue_arn = self.queue.queue_arn
        send = iam.Grant.add_to_principal(
            grantee=grantee, actions=["sqs:SendMessage"], resource_arns=[queue_arn]
        )
        return send.combine(grant_use(grantee, self._settings, QUEUES, queue_arn))

    def feed(self, function: LiveFunction, *, concurrency: int) -> None:
        """Let Lambda pass the messages to a function's alias.

        Parameters
        ----------
        function
            Its role may receive from the queue.
        concurrency
            The maximum of invocations at once. Other messages wait in the queue, so that
            concurrency is left for callers that wait for an answer.
        """
        mapping = lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=function.alias,
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCH_SIZE,
            # No batching window: a push must not wait for a full batch.
            report_batch_item_failures=True,
            max_concurrency=concurrency,
        )
        # Lambda checks the permissions when it makes the mapping.
        mapping.node.add_dependency(function.role)
