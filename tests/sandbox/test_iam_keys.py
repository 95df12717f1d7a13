"""What the sandbox asks of a role for a queue, a table or a bucket with a customer's key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sandbox.iam.service import Permissions
from tests.support.templates import ACCOUNT, REGION

KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-90ab-cdef-1234-567890abcdef"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sender"
BOTH = ("kms:Decrypt", "kms:GenerateDataKey")
RESOURCES = {
    "sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
    "dynamodb": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "s3": "arn:aws:s3:::files/uploads/a.csv",
}
CONTEXTS = {
    "sqs": {"kms:EncryptionContext:aws:sqs:arn": [RESOURCES["sqs"]]},
    "dynamodb": {"kms:EncryptionContext:aws:dynamodb:tableName": ["others", "sends"]},
    "s3": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::files"},
}
CALLS = [
    ("sqs:SendMessage", BOTH),
    ("sqs:ReceiveMessage", BOTH[:1]),
    ("dynamodb:BatchGetItem", BOTH[:1]),
    ("dynamodb:PutItem", BOTH[:1]),
    ("s3:GetObject", BOTH[:1]),
    ("s3:PutObject", BOTH),
]


@pytest.fixture
def permissions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Permissions]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "sandbox")
    with mock_aws():
        client("iam").create_role(RoleName="sender", AssumeRolePolicyDocument="{}")
        make_resources(KEY)
        yield Permissions()


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]  # by name


def make_resources(key: str) -> None:
    client("sqs").create_queue(QueueName="requests", Attributes={"KmsMasterKeyId": key})
    client("dynamodb").create_table(
        TableName="sends",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    client("s3").create_bucket(Bucket="files")
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    client("s3").put_bucket_encryption(
        Bucket="files",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )


def on_key(service: str, actions: tuple[str, ...] = BOTH, **changes: Any) -> dict[str, Any]:
    """Return the statement of a role for the key."""
    conditions = {
        "StringLike": {"kms:ViaService": f"{service}.*.amazonaws.com*"},
        "StringEquals": CONTEXTS[service],
    }
    own = {"Effect": "Allow", "Action": [*actions], "Resource": KEY, "Condition": conditions}
    return {**own, **changes}


def is_allowed(permissions: Permissions, action: str, *on_the_key: dict[str, Any]) -> bool:
    """Allow the role an action and some statements for the key, and ask for the action."""
    resource = RESOURCES[action.split(":")[0]]
    statements = [{"Effect": "Allow", "Action": action, "Resource": resource}, *on_the_key]
    policy = {"Version": "2012-10-17", "Statement": statements}
    client("iam").put_role_policy(
        RoleName="sender", PolicyName="p", PolicyDocument=json.dumps(policy)
    )
    return permissions.allow(ROLE, action, resource)


@pytest.mark.parametrize(("action", "on_the_key"), CALLS)
def test_a_call_of_encrypted_data_needs_the_key(
    permissions: Permissions, action: str, on_the_key: tuple[str, ...]
) -> None:
    service = action.split(":")[0]

    assert is_allowed(permissions, action, on_key(service, on_the_key))
    assert not is_allowed(permissions, action)
    for missing in on_the_key:
        rest = tuple(each for each in on_the_key if each != missing)
        assert not is_allowed(permissions, action, *([on_key(service, rest)] if rest else []))


@pytest.mark.parametrize(
    "changes",
    [
        {"Resource": f"{KEY[:-1]}0"},
        {"Condition": {"StringLike": {"kms:ViaService": "s3.*"}}},
        {"Condition": {"StringEquals": {"kms:EncryptionContext:aws:sqs:arn": "*"}}},
        {"Condition": {"StringEquals": {"kms:EncryptionContext:aws:s3:arn": RESOURCES["sqs"]}}},
        {"Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}},
        {"Effect": "Deny"},
    ],
    ids=["key", "service", "queue", "context", "unknown", "deny"],
)
def test_a_statement_for_something_else_does_not_count(
    permissions: Permissions, changes: dict[str, Any]
) -> None:
    assert not is_allowed(permissions, "sqs:SendMessage", on_key("sqs", **changes))


def test_a_call_that_reads_no_data_needs_no_key(permissions: Permissions) -> None:
    assert is_allowed(permissions, "sqs:DeleteMessage")


@pytest.mark.parametrize("action", [action for action, _ in CALLS])
def test_a_key_of_aws_needs_no_permission(permissions: Permissions, action: str) -> None:
    client("sqs").delete_queue(
        QueueUrl=client("sqs").get_queue_url(QueueName="requests")["QueueUrl"]
    )
    client("dynamodb").delete_table(TableName="sends")
    client("s3").delete_bucket(Bucket="files")
    # A resource that does not exist has no key either.
    assert is_allowed(permissions, action)

    make_resources(f"alias/aws/{action.split(':')[0]}")

    assert is_allowed(permissions, action)
