"""The table that remembers for a day what was sent under which key."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from infra.acknowledgement import acknowledge


class IdempotencyTable(Construct):
    """A table of keys and outcomes, which holds no token and no text.

    Encrypted with DynamoDB's own key, as every table is: one in KMS would cost a dollar a
    month and a call now and then, to hide digests and outcomes. Names of key and expiry are
    those that the function writes.

    Attributes
    ----------
    table
        Its name is CloudFormation's.
    """

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002  the CDK's name
        super().__init__(scope, id)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            # Nobody knows how many keys will come, and most hours there are none.
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expiration",
            # A day's memory: when it leaves the stack, so does whatever would ask for it.
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.table,
            "Nothing in it lives longer than a day, and a memory from an hour ago, put back, "
            "would be wrong: it would let be sent again what has been sent since.",
            "AwsSolutions-DDB3",
        )
