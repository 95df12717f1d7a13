"""The key of the setting ``kms_key_arn``: the permissions to use it for what it encrypts.

The stack cannot change the key's policy. ``make key-policy`` prints the statements that it needs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.settings import Settings


class Use(NamedTuple):
    """How a service uses the key for a caller.

    Attributes
    ----------
    service
        The service in ``kms:ViaService``, which ends in the region and the partition's domain.
    context
        The name in the encryption context whose value is the resource; empty for an action that
        has no context.
    actions
        What the service calls with the caller's permissions.
    """

    service: str
    context: str
    actions: tuple[str, ...]


# A producer needs both (SQS Developer Guide, "Amazon SQS Key management"), and each caller here
# is one, if only for dead letters.
QUEUES: Final = Use(f"sqs.{cdk.Aws.REGION}", "aws:sqs:arn", ("kms:Decrypt", "kms:GenerateDataKey"))
# With a bucket key the context is the bucket, not the object (S3 User Guide, "Reducing the cost of
# SSE-KMS with Amazon S3 Bucket Keys"). A multipart upload also needs kms:Decrypt.
BUCKET: Final = Use(f"s3.{cdk.Aws.REGION}", "aws:s3:arn", ("kms:Decrypt", "kms:GenerateDataKey"))
# What AWS documents for a Distributed Map (Step Functions Developer Guide, "IAM permissions for AWS
# KMS key encrypted Amazon S3 bucket").
MAP_RESULTS: Final = BUCKET._replace(actions=("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"))
# Who calls CloudWatch Logs needs the key, too (its guide, "Encrypt log data in CloudWatch Logs
# using AWS KMS"). These are the actions of AWS's policy CloudWatchLogsAPIKeyAccess for writing.
LOG: Final = Use(f"logs.{cdk.Aws.REGION}", "aws:logs:arn", ("kms:Decrypt", "kms:GenerateDataKey"))
LOG_KEY: Final = Use(LOG.service, "", ("kms:DescribeKey",))
# DynamoDB decrypts the table's key for each caller, also from other regions. For its own work it
# has a grant, which the deployer makes (its guide, "DynamoDB encryption at rest usage notes").
TABLES: Final = Use("dynamodb.*", "aws:dynamodb:tableName", ("kms:Decrypt",))


def customer_key(scope: Construct, id: str, settings: Settings) -> kms.IKey | None:  # noqa: A002  the CDK's name
    """Return the key for a construct that it encrypts; None without the setting."""
    if settings.kms_key_arn is None:
        return None
    return kms.Key.from_key_arn(scope, id, settings.kms_key_arn)


def grant_use(grantee: iam.IGrantable, settings: Settings, use: Use, *resources: str) -> iam.Grant:
    """Allow a grantee the key for what it does with these resources; nothing without the setting.

    Parameters
    ----------
    grantee
        Gets the permission in its own policy.
    settings
        The stack's settings.
    use
        How the service uses the key.
    resources
        The values of the encryption context: names of tables, ARNs of all others.
    """
    if settings.kms_key_arn is None:
        return iam.Grant.drop(grantee, "the stack has no key of its own")
    return iam.Grant.add_to_principal(
        grantee=grantee,
        actions=[*use.actions],
        resource_arns=[settings.kms_key_arn],
        conditions={
            # AWS documents only names that end in amazonaws.com; China's hosts end in .cn.
            "StringLike": {"kms:ViaService": f"{use.service}.amazonaws.com*"},
            **(
                {"StringEquals": {f"kms:EncryptionContext:{use.context}": [*resources]}}
                if use.context
                else {}
            ),
        },
    )
