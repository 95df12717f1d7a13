"""The stack as it is deployed: its outputs, and the channels of its project."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from operations.account import Account, OperationsError, Refusal, call
from operations.redaction import items, members, one_line

OUTPUTS: Final = (
    *("ApplicationId", "FunctionName", "QueueUrl", "QueueArn", "EventBusName", "LogGroupName"),
    *("DeadLetterQueueUrl", "DeadLetterQueueArn", "ApiUrl", "ApiLogGroupName"),
)
"""What is looked for among a stack's outputs."""

# In a stack of somebody's own the CDK puts the construct's id in front, and a digest behind.
_KEY: Final = re.compile(rf"(?P<sender>.*?)(?P<name>{'|'.join(OUTPUTS)})(?:[0-9A-F]{{8}})?")
_HOW_TO_ADD: Final = (
    "Is it a stack of your own with a PushSender in it? Then add its outputs, "
    "sender.add_outputs(), and deploy it: docs/deploy.md, In a stack of your own."
)


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack by what it tells of itself.

    Attributes
    ----------
    name
        CloudFormation's.
    outputs
        By their names, without what another stack puts in front and behind.
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
        Where to look.
    name
        The stack's.
    needed
        The outputs that it must have.
    sender
        How their keys begin, where a stack has several push senders.

    Raises
    ------
    OperationsError
        If there is no such stack, it has no such outputs or several of each, or nobody tells.
    """
    if not name:  # which CloudFormation takes for all of them
        raise OperationsError("The stack needs a name: --stack NAME.")
    answer = call(account.client("cloudformation"), "describe_stacks", StackName=name)
    if isinstance(answer, Refusal):
        if answer.code == "ValidationError" and "does not exist" in answer.message:
            raise OperationsError(
                f"There is no stack {name} in {account.region}.\n"
                "Deploy it (make deploy), or name the stack or region that there is: "
                "--stack, AWS_DEFAULT_REGION."
            )
        raise OperationsError(f"The stack {name} cannot be read: {answer.told}")
    stack = members(next(iter(items(answer.get("Stacks"))), None))
    senders = _senders(stack)
    if sender is not None:
        senders = {sender: senders.get(sender, {})}
    whole = [prefix for prefix, outputs in senders.items() if not set(needed) - set(outputs)]
    if len(whole) == 1:
        return DeployedStack(name, senders[whole[0]])
    if whole:
        raise OperationsError(
            f"The stack {name} has the outputs of several push senders. Name one: "
            + " or ".join(
                f"--sender {one_line(prefix, 60) or repr('')}" for prefix in sorted(whole)
            )
        )
    nearest = max(senders.values(), key=lambda outputs: len(set(needed) & set(outputs)), default={})
    missing = " and no ".join(key for key in needed if key not in nearest)
    status = one_line(stack.get("StackStatus", "of no status"), 60)
    raise OperationsError(f"The stack {name} ({status}) has no output {missing}.\n{_HOW_TO_ADD}")


def _senders(stack: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Give the outputs of a stack by their names, for each beginning of their keys."""
    senders: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for output in map(members, items(stack.get("Outputs"))):
        key = _KEY.fullmatch(str(output.get("OutputKey")))
        if key and output.get("OutputValue"):
            senders[key["sender"]][key["name"]] = str(output["OutputValue"])
    return senders


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of a project.

    Attributes
    ----------
    enabled
        Each that was ever set up, and whether it is enabled.
    refusal
        Why nobody knows, in their place.
    """

    enabled: Mapping[str, bool]
    refusal: Refusal | None = None

    def is_set_up(self, service: str) -> bool | None:
        """Tell whether a service has a channel; None if nobody knows."""
        return None if self.refusal else self.enabled.get(service, False)


def find_channels(account: Account, application_id: str) -> Channels:
    """Read the channels of a project."""
    answer = call(account.client("pinpoint"), "get_channels", ApplicationId=application_id)
    if isinstance(answer, Refusal):
        return Channels({}, answer)
    channels = members(members(answer.get("ChannelsResponse")).get("Channels"))
    return Channels(
        {
            name.upper(): members(channel).get("Enabled") is True
            for name, channel in channels.items()
        }
    )
