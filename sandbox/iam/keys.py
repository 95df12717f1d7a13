"""What a call needs on the customer's key of a queue, a table or a bucket.

AWS calls KMS with the caller's permissions when it needs a data key, which it then keeps for
minutes. The check asks at each call. Policies of keys are not read, as those of other resources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from sandbox.iam.policy import CONTEXT, VIA_SERVICE

_DECRYPT: Final = "kms:Decrypt"
_GENERATE: Final = "kms:GenerateDataKey"
_ON_THE_KEY: Final[Mapping[str, tuple[str, ...]]] = {
    "sqs:SendMessage": (_DECRYPT, _GENERATE),
    "sqs:ReceiveMessage": (_DECRYPT,),
    "s3:PutObject": (_DECRYPT, _GENERATE),
    "s3:GetObject": (_DECRYPT,),
    **dict.fromkeys(
        (
            *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
            *("dynamodb:DeleteItem", "dynamodb:ConditionCheckItem", "dynamodb:Query"),
            *("dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"),
        ),
        (_DECRYPT,),
    ),
}
"""The actions of KMS behind an action of a service: those of ``infra/customer_key.py``."""


class KeyUse(NamedTuple):
    """An action on a key, and the values of its condition keys."""

    action: str
    key_arn: str
    facts: Mapping[str, str]


def key_uses(action: str, resource: str) -> Iterator[KeyUse]:
    """Find what an action on a resource needs on its key: nothing without a key of the customer."""
    actions = _ON_THE_KEY.get(action)
    if actions is None:
        return
    service = action.partition(":")[0]
    key, context = _keys[service](resource)
    # Keys of AWS are named by an alias and need no permission.
    if not str(key).startswith("arn:"):
        return
    region = str(key).split(":")[3]
    facts = {VIA_SERVICE: f"{service}.{region}.amazonaws.com", **context}
    for each in actions:
        yield KeyUse(each, str(key), facts)


def _of_queue(arn: str) -> tuple[object, Mapping[str, str]]:
    _, _, _, region, account, name = arn.split(":", 5)
    queue = sqs_backends[account][region].queues.get(name)
    return getattr(queue, "kms_master_key_id", None), {f"{CONTEXT}aws:sqs:arn": arn}


def _of_table(arn: str) -> tuple[object, Mapping[str, str]]:
    _, _, _, region, account, path = arn.split(":", 5)
    name = path.split("/")[1]
    table = dynamodb_backends[account][region].tables.get(name)
    specification = getattr(table, "sse_specification", None) or {}
    return specification.get("KMSMasterKeyId"), {f"{CONTEXT}aws:dynamodb:tableName": name}


def _of_object(arn: str) -> tuple[object, Mapping[str, str]]:
    """Find the key of a bucket, which has a bucket key: its context is the bucket."""
    bucket_arn = arn.partition("/")[0]
    name = bucket_arn.rpartition(":")[2]
    partition, account = s3_backends.bucket_accounts.get(name, ("", ""))
    bucket = s3_backends[account][partition].buckets.get(name) if account else None
    rule = (getattr(bucket, "encryption", None) or {}).get("Rule", {})
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    return default.get("KMSMasterKeyID"), {f"{CONTEXT}aws:s3:arn": bucket_arn}


_keys: Final = {"sqs": _of_queue, "dynamodb": _of_table, "s3": _of_object}
