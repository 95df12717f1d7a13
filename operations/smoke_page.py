"""What a person sees of a smoke test, line by line as it happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations import contract
from operations.account import Account
from operations.check import DoorAnswer
from operations.deployed import Channels, DeployedStack
from operations.entry_points import Door
from operations.evidence import FactAnswer
from operations.facts import Fact
from operations.raw_answers import RawAnswer, RawAnswers
from operations.redaction import members, one_line

_VERDICT_STYLES = {"as assumed": "green", "otherwise": "bold yellow"}
_SET_UP = {True: "set up", False: "not set up", None: "set up? nobody tells"}
_OF_THE_TOKEN = ("dead_token", "invalid_token")


class Page:
    """Writes to a console, wherever it leads."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def announce(self, stack_name: str) -> None:
        """Say what will be done, before any of it is."""
        self._line(
            "Smoke test: pushes to made-up tokens only, reads the rest, may set off the alarms of "
            f"{one_line(stack_name, 128)}."
        )

    def begin(self, account: Account, stack: DeployedStack, channels: Channels) -> None:
        """Say where it is done."""
        where = f"Project {stack.application_id} in {account.region}."
        self._line(one_line(where, 100), style="dim")
        if account.is_sandbox:
            self._line(
                f"A sandbox answers on {account.endpoint}: nothing here tells about AWS.",
                style="yellow",
            )
        if channels.refusal:
            self._line(f"Its channels cannot be read: {channels.refusal}", style="yellow")
        self._title("What the service itself answers, for one made-up token each")

    def show_raw(self, answer: RawAnswer, *, is_set_up: bool | None) -> None:
        """Show an answer as it came."""
        self._line(f"{answer.device.service} · {_SET_UP[is_set_up]}")
        for line in _raw_lines(answer):
            self._indented(Text(line, style="dim"))

    def begin_doors(self, stack: DeployedStack) -> None:
        """Say whose doors."""
        self._title(f"The doors of {one_line(stack.function_name, 140)}")

    def show_door(self, door: Door, answer: DoorAnswer) -> None:
        """Show what a door answered, and what is wrong with it."""
        mark, style = ("✗", "red") if answer.faults else ("✓", "green")
        if not answer.is_there:
            mark, style = "-", "dim"
        self._line(Text.assemble((mark, style), f" {door.name}: {door.expected}"))
        self._indented(Text(answer.said, style="dim"))
        for fault in answer.faults:
            self._indented(Text(fault, style="red"))

    def show_results(
        self, results: Mapping[str, Mapping[str, Any]], raw: RawAnswers, channels: Channels
    ) -> None:
        """Show what the direct door reports of each service, and what of it is odd."""
        if not results:
            return
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in ("service", "outcome", "reason"):
            table.add_column(heading, overflow="fold")
        table.add_column("")
        for service, result in results.items():
            told = [one_line(result.get(key) or "", 60) for key in ("outcome", "reason")]
            note = _note(result, raw.get(service), channels.is_set_up(service))
            table.add_row(*map(Text, (one_line(service, 40), *told, note)))
        self._console.print()
        self._console.print(table)

    def begin_facts(self, account: Account) -> None:
        """Say what follows."""
        who = "the sandbox" if account.is_sandbox else "this account"
        self._title(f"What was not sure (M: one source, L: unconfirmed), and what {who} answered")

    def show_fact(self, fact: Fact, answer: FactAnswer) -> None:
        """Show a fact and its answer."""
        self._line(f"{fact.sure} {fact.claim}")
        style = _VERDICT_STYLES.get(answer.verdict, "dim")
        self._indented(Text.assemble((answer.verdict, style), f" · {one_line(answer.said)}"))

    def conclude(self, faults: Mapping[str, tuple[str, ...]], record: Path | None) -> None:
        """Give the verdict."""
        self._console.print()
        if record is not None:
            self._line(f"Everything is in {record}; it holds no token but the made-up ones.")
        if failed := [name for name, each in faults.items() if each]:
            told = f"{len(failed)} of {len(faults)} doors are not as the contract says"
            self._line(f"FAILED: {told}: {', '.join(failed)}.", style="bold red")
        else:
            self._line("Every door answered as the contract says.", style="bold green")

    def _title(self, text: str) -> None:
        self._console.print()
        self._line(text, style="bold")
        self._console.print()

    def _line(self, text: str | Text, style: str = "") -> None:
        self._console.print(Text(text) if isinstance(text, str) else text, style=style)

    def _indented(self, text: Text) -> None:
        for line in text.wrap(self._console, self._console.width - 2):
            line.rstrip()
            self._console.print(Text("  ") + line)


def _raw_lines(answer: RawAnswer) -> Iterator[str]:
    """Write an answer as it came, but for the escapes that JSON puts into a StatusMessage."""
    if answer.refusal:
        yield str(answer.refusal)
        return
    rest = dict(members(answer.result))
    message = rest.pop("StatusMessage", None)
    if not isinstance(message, str):
        yield one_line(answer.shown())
        return
    yield one_line(rest)
    yield f"StatusMessage: {one_line(message)}"


def _note(result: Mapping[str, Any], answer: RawAnswer | None, is_set_up: bool | None) -> str:
    """Say what is odd about a result, or why it was not compared."""
    outcome = result.get("outcome")
    if answer is None:
        return ""
    if not contract.is_comparable(answer):
        return "not compared with the raw answer"
    if not contract.agree(answer, result):
        return "differs from the raw answer"
    if outcome == "accepted":
        return "odd, for a token that is made up"
    if is_set_up and outcome not in _OF_THE_TOKEN:
        return "set up, but no word on the token"
    return ""
