"""What the checks and the assumptions of a smoke test get, and what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from operations.account import Account, FailedCall
from operations.deployed import Channels, DeployedStack
from operations.json_values import as_dict
from operations.redaction import one_line
from operations.smoke.nonexistent_devices import Device
from operations.smoke.raw_answers import RawAnswers


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check gets.

    Attributes
    ----------
    account, stack
        Where the function is.
    devices
        The recipients.
    raw
        The push service's own answers for them.
    wait_seconds
        How long the log line of a queued request may take.
    """

    account: Account
    stack: DeployedStack
    devices: Sequence[Device]
    raw: RawAnswers
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes
    ----------
    message
        The answer, in one line.
    failures
        Where the answer differs from the contract; empty if the check passed.
    answer
        The whole answer, as JSON.
    is_deployed
        Whether the stack has what is checked.
    warnings
        What an operator should look at, and what does not fail the check.
    """

    message: str
    failures: tuple[str, ...] = ()
    answer: Any = None
    is_deployed: bool = True
    warnings: tuple[str, ...] = ()


def result_of(error: FailedCall) -> CheckResult:
    """Make the result of a check whose entry point could not be called."""
    return CheckResult("no answer", (f"it cannot be called: {error}",), {"error": str(error)})


def outcome_counts(report: object) -> str:
    """Write how many results have which outcome, in one line."""
    counts = as_dict(as_dict(report).get("summary"))
    written = [f"{count} {outcome}" for outcome, count in counts.items() if outcome != "recipients"]
    return one_line(", ".join(written) or "no counts", 200)


Verdict = Literal["as assumed", "not as assumed", "not settled", "not asked"]


class Finding(NamedTuple):
    """What this account showed about an assumption."""

    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known so far about an account, and where to ask for more.

    Attributes
    ----------
    account, stack
        Where to ask.
    channels
        Of the project.
    raw
        The push service's own answers.
    results
        The function's result for each service, if it returned one.
    """

    account: Account
    stack: DeployedStack
    channels: Channels
    raw: RawAnswers
    results: Mapping[str, Mapping[str, Any]]

    def services(self, *, set_up: bool) -> list[str]:
        """List the services that have a channel, or those that have none."""
        return [service for service in self.raw if self.channels.is_set_up(service) is set_up]


def not_asked(why: str) -> Finding:
    """Make the finding of an assumption that this account cannot settle."""
    return Finding("not asked", why)
