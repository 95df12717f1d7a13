"""The statements that the policy of ``kms_key_arn`` needs.

They follow from names that are known before the first deployment, when the key needs them: without
the one of the logs, no log group can be made. CloudFormation chooses the names of queues, logs and
roles. They begin with the stack's name, so an update that adds some needs no change of the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from operations.account import OperationsError

_KEY: Final = re.compile(r"arn:(aws[a-z-]*):kms:([a-z0-9-]+):([0-9]{12}):key/[A-Za-z0-9-]{1,128}")
_QUEUE: Final = re.compile(r"arn:(aws[a-z-]*):sqs:([a-z0-9-]+):([0-9]{12}):[A-Za-z0-9_-]+")

# CloudFormation API Reference, CreateStack, StackName.
_STACK: Final = re.compile("[a-zA-Z][a-zA-Z0-9-]{0,127}")
_PLAIN: Final = re.compile("[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
"""Names that can be read back from their words: push-sender from PushSender."""

_SHORTENED_TO: Final = 24
"""CloudFormation shortens the stack's name in names that would be too long, of roles to 25."""

_USE: Final = ("kms:Decrypt", "kms:GenerateDataKey")
# Of all roles together: infra/customer_key.py has those of each.
_OF_ROLES: Final = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey")
# What DynamoDB and CloudWatch Logs document with wildcards, without the pairs of asymmetric keys.
_ENCRYPT: Final = (
    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
    *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
)

LOG_ARN: Final = "kms:EncryptionContext:aws:logs:arn"
QUEUE_ARN: Final = "kms:EncryptionContext:aws:sqs:arn"
ALARM_ARN: Final = "aws:SourceArn"
ROLE_ARN: Final = "aws:PrincipalArn"

Conditions = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Of each operator, the keys with their values."""


class Place(NamedTuple):
    """Where a stack is and what its names begin with.

    Attributes
    ----------
    stack
        Its name in CloudFormation.
    name
        That of the setting ``stage``, such as ``push-sender-prod``, with which the names begin
        that CloudFormation does not choose.
    is_key_foreign
        Whether the key is in another account.
    """

    partition: str
    region: str
    account: str
    stack: str
    name: str
    is_key_foreign: bool = False

    @classmethod
    def of_key(cls, arn: str, account: str | None, stack: str, name: str | None) -> Place:
        """Assume a stack in the region of a key.

        Raises
        ------
        OperationsError
            If this is no ARN of a key, no account, or no name of a stack.
        """
        if not (key := _KEY.fullmatch(arn)):
            raise OperationsError(
                "KEY= (--key) is not the ARN of a key: arn:aws:kms:region:account:key/id"
            )
        if account is not None and not re.fullmatch("[0-9]{12}", account):
            raise OperationsError("ACCOUNT= (--account) is not the 12 digits of an account.")
        if not _STACK.fullmatch(stack):
            raise OperationsError("STACK= (--stack) is not the name of a stack.")
        own = account or key[3]
        return cls(key[1], key[2], own, stack, name or stack, own != key[3])

    @classmethod
    def of_outputs(cls, stack: str, outputs: Mapping[str, str]) -> Place:
        """Read where a deployed stack is.

        Raises
        ------
        OperationsError
            If its queue has no ARN.
        """
        if not (queue := _QUEUE.fullmatch(outputs.get("QueueArn", ""))):
            raise OperationsError("The stack's output QueueArn is not the ARN of a queue.")
        key = _KEY.fullmatch(outputs.get("KmsKeyArn", ""))
        name = outputs["FunctionName"].split(":")[0]
        is_foreign = key is not None and key[3] != queue[3]
        return cls(queue[1], queue[2], queue[3], stack, name, is_foreign)

    @property
    def begin(self) -> str:
        """What the names begin with that CloudFormation chooses."""
        return f"{self.stack[:_SHORTENED_TO]}{'-' if len(self.stack) <= _SHORTENED_TO else ''}"

    @property
    def sid(self) -> str:
        """What the names of its statements begin with: no other stack that uses the key has it.

        A name of a statement has only letters and digits.
        """
        account = [self.account] if self.is_key_foreign else []
        name = [self.name] if self.name != self.stack else []
        whole = ":".join([*account, self.stack, *name])
        words = "".join(each[0].upper() + each[1:] for each in re.findall("[A-Za-z0-9]+", whole))
        digest = sha256(whole.encode(errors="replace")).hexdigest()[:12]
        return words if _PLAIN.fullmatch(whole) else words + digest

    def arn(self, service: str, resource: str) -> str:
        """Write an ARN in the stack's account; roles have no region."""
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"


class Needed(NamedTuple):
    """A statement that the key's policy needs.

    Attributes
    ----------
    sid
        Its name.
    principal
        Who uses the key: ``AWS`` or ``Service``, and the value.
    actions, conditions
        What is allowed, and when.
    without
        What fails without it.
    output
        The output of a stack that needs it; empty if every stack does.
    """

    sid: str
    principal: tuple[str, str]
    actions: tuple[str, ...]
    conditions: Conditions
    without: str
    output: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as a part of a policy."""
        kind, value = self.principal
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Principal": {kind: value},
            "Action": [*self.actions],
            "Resource": "*",  # in a key's policy: this key
            "Condition": {
                operator: {
                    key: values[0] if len(values) == 1 else [*values]
                    for key, values in keys.items()
                }
                for operator, keys in self.conditions.items()
            },
        }


def needed(place: Place) -> tuple[Needed, ...]:
    """List the statements that the policy needs.

    A stack without a part, such as the alarms' topic, has them too: they allow nothing then, and
    the key needs no change when the part is added.
    """
    # The account stands for its roles as far as their own policies allow it.
    account = ("AWS", place.arn("iam", "root"))
    queues = [place.arn("sqs", f"{place.begin}*")]
    # The only queue whose name CloudFormation does not choose.
    if not (named := f"{place.name}-devices-dead-letters").startswith(place.begin):
        queues.append(place.arn("sqs", named))
    dynamodb = "dynamodb.*.amazonaws.com*"
    logs, *storage = (f"{each}.{place.region}.amazonaws.com*" for each in ("logs", "s3", "sqs"))
    domain = "amazonaws.com.cn" if place.partition == "aws-cn" else "amazonaws.com"
    return (
        # CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS KMS".
        Needed(
            f"{place.sid}Logs",
            ("Service", f"logs.{place.region}.{domain}"),
            _ENCRYPT,
            {"ArnLike": {LOG_ARN: (place.arn("logs", f"log-group:{place.begin}*"),)}},
            "CloudFormation cannot make a log group, and the logs get no lines",
        ),
        # SQS Developer Guide, "Amazon SQS Key management". Not aws:SourceArn or aws:SourceAccount:
        # AWS says that EventBridge does not support them for the key of a topic, and nothing about
        # queues. The policies of the queues name the rules.
        Needed(
            f"{place.sid}Events",
            ("Service", "events.amazonaws.com"),
            _USE,
            {"ArnLike": {QUEUE_ARN: tuple(queues)}},
            "requests by event, the reports of jobs and the registry's dead letters are lost",
        ),
        # SNS Developer Guide, "Managing Amazon SNS encryption keys and costs".
        Needed(
            f"{place.sid}Alarms",
            ("Service", "cloudwatch.amazonaws.com"),
            _USE,
            {
                "StringEquals": {"aws:SourceAccount": (place.account,)},
                "ArnLike": {ALARM_ARN: (place.arn("cloudwatch", f"alarm:{place.name}-*"),)},
            },
            "no alarm reaches its topic",
            output="AlarmTopicArn",
        ),
        Needed(
            f"{place.sid}Roles",
            account,
            _OF_ROLES,
            {
                "StringEquals": {"kms:CallerAccount": (place.account,)},
                "StringLike": {"kms:ViaService": (dynamodb, logs, *storage)},
                "ArnLike": {ROLE_ARN: (place.arn("iam", f"role/{place.begin}*"),)},
            },
            "the functions, the jobs and the schedules can neither read nor write",
        ),
        # DynamoDB Developer Guide, "DynamoDB encryption at rest usage notes", and as for the logs.
        Needed(
            f"{place.sid}Deployment",
            account,
            ("kms:CreateGrant", *_ENCRYPT),
            {
                "StringEquals": {"kms:CallerAccount": (place.account,)},
                "StringLike": {"kms:ViaService": (dynamodb, logs)},
            },
            "CloudFormation cannot make or change the tables and the logs",
        ),
    )


def existing(place: Place, outputs: Mapping[str, str]) -> dict[str, list[str]]:
    """List the ARNs of what a deployed stack has, by the key of the condition that names them."""
    log_groups = [name for key, name in outputs.items() if key.endswith("LogGroupName")]
    queues = [url.rpartition("/")[2] for key, url in outputs.items() if key.endswith("QueueUrl")]
    return {
        LOG_ARN: [place.arn("logs", f"log-group:{each}") for each in log_groups],
        QUEUE_ARN: [place.arn("sqs", each) for each in queues],
        ALARM_ARN: [place.arn("cloudwatch", f"alarm:{place.name}-function-errors")],
        ROLE_ARN: [outputs[key] for key in ("JobScheduleRoleArn",) if key in outputs],
    }
