"""What a door is asked with, and what may come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from operations.account import Account, Refusal
from operations.deployed import DeployedStack
from operations.nonexistent_devices import Device
from operations.raw_answers import RawAnswers
from operations.redaction import members, one_line


@dataclass(frozen=True, slots=True)
class Visit:
    """What a door is asked with.

    Attributes
    ----------
    account, stack
        Whose function.
    devices
        Who is pushed to.
    raw
        What the service itself answered for them.
    wait_seconds
        How long the function's word on a queued request may take to be found in its log.
    """

    account: Account
    stack: DeployedStack
    devices: Sequence[Device]
    raw: RawAnswers
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class DoorAnswer:
    """What came of asking a door.

    Attributes
    ----------
    said
        What it answered, in a line.
    faults
        What is not as the contract has it; none if all is well.
    answer
        The whole of it, as JSON.
    is_there
        Whether the stack was deployed with this door.
    """

    said: str
    faults: tuple[str, ...] = ()
    answer: Any = None
    is_there: bool = True


def unasked(refusal: Refusal) -> DoorAnswer:
    """Say why a door gave no answer."""
    return DoorAnswer("no answer", (f"it cannot be asked: {refusal}",), {"error": str(refusal)})


def summary(report: object) -> str:
    """Write how many ended how, in a line."""
    counts = members(members(report).get("summary"))
    told = [f"{count} {outcome}" for outcome, count in counts.items() if outcome != "recipients"]
    return one_line(", ".join(told) or "nothing that can be counted", 200)
