"""What is known when an unsure fact is looked at, and what may come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from operations.account import Account
from operations.deployed import Channels, DeployedStack
from operations.raw_answers import RawAnswers

Verdict = Literal["as assumed", "otherwise", "not settled", "not asked"]


class FactAnswer(NamedTuple):
    """What this account says to a fact."""

    verdict: Verdict
    said: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known so far, and where to ask for more.

    Attributes
    ----------
    account, stack
        Where to ask.
    channels
        The project's.
    raw
        The service's own answers.
    results
        The function's result for each service, where it gave one.
    """

    account: Account
    stack: DeployedStack
    channels: Channels
    raw: RawAnswers
    results: Mapping[str, Mapping[str, Any]]

    def services(self, *, set_up: bool) -> list[str]:
        """List the services that have a channel, or those that have none."""
        return [service for service in self.raw if self.channels.is_set_up(service) is set_up]


def not_asked(why: str) -> FactAnswer:
    """Say why nobody knows any more than before."""
    return FactAnswer("not asked", why)
