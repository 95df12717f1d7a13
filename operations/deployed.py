"""Read the deployed stack: its outputs, and the channels of its project."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from operations.account import Account, FailedCall, OperationsError, call
from operations.json_values import as_dict, as_list
from operations.redaction import one_line

OUTPUTS: Final = (
    "DevicesLogGroupName",
    *("ApplicationId", "FunctionName", "QueueUrl", "QueueArn", "EventBusName", "LogGroupName"),
    *("DeadLetterQueueUrl", "DeadLetterQueueArn", "ApiUrl", "ApiLogGroupName"),
    *("DevicesFunctionName", "DevicesTableName", "DevicesDeadLetterQueueUrl"),
    *("TableName", "JobBucketName", "JobStateMachineArn"),
    *("ScheduleGroupName", "JobScheduleRoleArn", "KmsKeyArn", "AlarmTopicArn"),
)
"""The outputs that the commands use."""

# In a user's own stack, the CDK puts the construct's id before the name and a digest after it.
_KEYS: Final = {name: re.compile(rf"(?P<sender>.*){name}(?:[0-9A-F]{{8}})?") for name in OUTPUTS}
_HOW_TO_ADD: Final = (
    "Is it a stack of your own with a PushSender in it? Then add its outputs, "
    "sender.add_outputs(), and deploy it: docs/deploy.md, In a stack of your own."
)


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack and the outputs of one push sender in it.

    Attributes
    ----------
    name
        CloudFormation's.
    outputs
        By name, without the construct's id and the digest.
    """

    name: str
    outputs: Mapping[str, str]

    @property
    def application_id(self) -> str:
        """The project that it sends through."""
        return self.outputs["ApplicationId"]

    @property
    def function_name(self) -> str:
        """What to invoke: the function with its alias."""
        return self.outputs["FunctionName"]


def find_stack(
    account: Account, name: str, needed: Collection[str], sender: str | None = None
) -> DeployedStack:
    """Read the outputs of the push sender in a stack.

    Parameters
    ----------
    account
        The operator's.
    name
        The stack's.
    needed
        The outputs that it must have.
    sender
        The start of their keys, if a stack has several push senders.

    Raises
    ------
    OperationsError
        If the stack does not exist or cannot be read, if an output is missing, or if several
        push senders have them.
    """
    if not name:  # for CloudFormation this means all stacks
        raise OperationsError("The stack needs a name: STACK= (--stack).")
    answer = call(account.client("cloudformation"), "describe_stacks", StackName=name)
    if isinstance(answer, FailedCall):
        if answer.code == "ValidationError" and "does not exist" in answer.message:
            raise OperationsError(
                f"There is no stack {name} in {account.region}.\n"
                "Deploy it (make deploy), or name the stack or region that there is: "
                "STACK= (--stack), AWS_DEFAULT_REGION."
            )
        raise OperationsError(f"The stack {name} cannot be read: {answer.with_cure}")
    stack = as_dict(next(iter(as_list(answer.get("Stacks"))), None))
    senders = _senders(stack)
    if sender is not None:
        senders = {sender: senders.get(sender, {})}
    complete = [prefix for prefix, outputs in senders.items() if not set(needed) - set(outputs)]
    if len(complete) == 1:
        return DeployedStack(name, senders[complete[0]])
    if complete:
        raise OperationsError(
            f"The stack {name} has the outputs of several push senders. Name one: "
            + " or ".join(
                f"--sender {one_line(prefix, 60) or repr('')}" for prefix in sorted(complete)
            )
        )
    nearest = max(senders.values(), key=lambda outputs: len(set(needed) & set(outputs)), default={})
    missing = " and no ".join(key for key in needed if key not in nearest)
    status = one_line(stack.get("StackStatus", "of no status"), 60)
    raise OperationsError(f"The stack {name} ({status}) has no output {missing}.\n{_HOW_TO_ADD}")


def _senders(stack: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Group the outputs of a stack by the start of their keys.

    A key can be read in several ways: PhoneDevicesFunctionName is an output of the sender Phone or
    of PhoneDevices. Each sender gets it, and the one that does not exist lacks other outputs.
    """
    senders: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for output in map(as_dict, as_list(stack.get("Outputs"))):
        if not output.get("OutputValue"):
            continue
        for name, pattern in _KEYS.items():
            if key := pattern.fullmatch(str(output.get("OutputKey"))):
                senders[key["sender"]][name] = str(output["OutputValue"])
    return senders


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of a project.

    Attributes
    ----------
    enabled
        Whether a channel is enabled, for each that was ever set up.
    error
        Why the channels could not be read.
    """

    enabled: Mapping[str, bool]
    error: FailedCall | None = None

    def is_set_up(self, service: str) -> bool | None:
        """Whether a service has a channel; None if unknown."""
        return None if self.error else self.enabled.get(service, False)


def find_channels(account: Account, application_id: str) -> Channels:
    """Read the channels of a project."""
    answer = call(account.client("pinpoint"), "get_channels", ApplicationId=application_id)
    if isinstance(answer, FailedCall):
        return Channels({}, answer)
    channels = as_dict(as_dict(answer.get("ChannelsResponse")).get("Channels"))
    return Channels(
        {
            name.upper(): as_dict(channel).get("Enabled") is True
            for name, channel in channels.items()
        }
    )
