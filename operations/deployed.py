"""The stack as it is deployed: its outputs, and the channels of its project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from operations.account import Account, OperationsError, Refusal, call
from operations.foreign import items, members, one_line

_NEEDED: Final = ("ApplicationId", "FunctionName")


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack by what it tells of itself.

    Attributes
    ----------
    name
        CloudFormation's.
    outputs
        By their keys.
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


def find_stack(account: Account, name: str) -> DeployedStack:
    """Read a stack's outputs.

    Raises
    ------
    OperationsError
        If there is no such stack, it is not one of ours, or nobody tells.
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
    outputs = {
        str(output["OutputKey"]): str(output["OutputValue"])
        for output in map(members, items(stack.get("Outputs")))
        if "OutputKey" in output and "OutputValue" in output
    }
    if missing := [key for key in _NEEDED if not outputs.get(key)]:
        status = one_line(stack.get("StackStatus", "of no status"), 60)
        raise OperationsError(
            f"The stack {name} ({status}) has no output {' and no '.join(missing)}: "
            "it is not one of Push Sender's, or not deployed to its end."
        )
    return DeployedStack(name, outputs)


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
