"""The table that stores what was sent under which idempotency key, and the counts of jobs."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from infra.acknowledgement import acknowledge
from infra.customer_key import customer_key
from infra.settings import Settings


class IdempotencyTable(Construct):
    """A table of keys, outcomes and the counts of jobs, without tokens and texts.

    A record of a request lives for a day, a record of a job for 30 days: as long as its rows can
    be sent again by a redrive, and as long as its files.

    Encrypted with DynamoDB's own key, as every table is, unless the settings name a key. A key in
    KMS costs a dollar a month and some calls, to protect digests and outcomes. The function writes
    the attributes ``id`` and ``expiration``.

    Attributes
    ----------
    table
        CloudFormation chooses its name.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:  # noqa: A002  the CDK's name
        super().__init__(scope, id)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            # The load is unknown, and in most hours there is none.
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption_key=customer_key(self, "Key", settings),
            time_to_live_attribute="expiration",
            # Records live for a day or 30, and without the stack nothing reads them.
            removal_policy=cdk.RemovalPolicy.DESTROY,
            # Without it, a repeated request and a redriven job would send again.
            deletion_protection=settings.deletion_protection,
        )
        acknowledge(
            self.table,
            "A backup from an hour ago would be wrong: the function would send again what was sent "
            "since, and count again what jobs counted. No record lives longer than 30 days.",
            "AwsSolutions-DDB3",
        )
