"""What a person sees of a smoke test: one line after each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.account import Account
from operations.deployed import Channels, DeployedStack
from operations.json_values import as_dict
from operations.redaction import one_line
from operations.smoke import contract
from operations.smoke.assumptions import Assumption
from operations.smoke.checks import Check
from operations.smoke.context import CheckResult, Finding
from operations.smoke.raw_answers import RawAnswer, RawAnswers

_VERDICT_STYLES = {"as assumed": "green", "not as assumed": "bold yellow"}
_SET_UP = {True: "set up", False: "not set up", None: "perhaps set up"}
_TOKEN_OUTCOMES = ("dead_token", "invalid_token")


class Page:
    """Writes to a console: a terminal, a pipe or a file."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def announce(self, stack_name: str) -> None:
        """Say what the test will do, before it does any of it."""
        self._line(
            "Smoke test: pushes to invented tokens only, registers invented devices and removes "
            f"them, runs a job of ten rows, may cause alarms of {one_line(stack_name, 128)}."
        )

    def begin(self, account: Account, stack: DeployedStack, channels: Channels) -> None:
        """Name the project and the region."""
        where = f"Project {stack.application_id} in {account.region}."
        self._line(one_line(where, 100), style="dim")
        if account.is_sandbox:
            self._line(
                f"A sandbox answers on {account.endpoint}: this says nothing about AWS.",
                style="yellow",
            )
        if channels.error:
            self._line(f"Its channels cannot be read: {channels.error}", style="yellow")
        self._title("The push service's own answers, for one invented token each")

    def show_raw(self, answer: RawAnswer, *, is_set_up: bool | None) -> None:
        """Show an answer of the push service."""
        self._line(f"{answer.device.service} · {_SET_UP[is_set_up]}")
        for line in _raw_lines(answer):
            self._indented(Text(line, style="dim"))

    def begin_checks(self, stack: DeployedStack) -> None:
        """Name the function."""
        self._title(f"The entry points of {one_line(stack.function_name, 140)}")

    def show_check(self, check: Check, result: CheckResult) -> None:
        """Show the answer of an entry point, and where it differs from the contract."""
        mark, style = ("!", "yellow") if result.warnings else ("✓", "green")
        if result.failures:
            mark, style = "✗", "red"
        if not result.is_deployed:
            mark, style = "-", "dim"
        self._line(Text.assemble((mark, style), f" {check.name}: {check.expected}"))
        self._indented(Text(result.message, style="dim"))
        for failure in result.failures:
            self._indented(Text(failure, style="red"))
        for warning in result.warnings:
            self._indented(Text(warning, style="yellow"))

    def show_results(
        self, results: Mapping[str, Mapping[str, Any]], raw: RawAnswers, channels: Channels
    ) -> None:
        """Show the direct report's result for each service, and what is unusual about it."""
        if not results:
            return
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in ("service", "outcome", "reason"):
            table.add_column(heading, overflow="fold")
        table.add_column("")
        for service, result in results.items():
            columns = [one_line(result.get(key) or "", 60) for key in ("outcome", "reason")]
            note = _remark(result, raw.get(service), channels.is_set_up(service))
            table.add_row(*map(Text, (one_line(service, 40), *columns, note)))
        self._console.print()
        self._console.print(table)

    def begin_assumptions(self, account: Account) -> None:
        """Say whose answers follow."""
        where = "the sandbox" if account.is_sandbox else "this account"
        self._title(f"Assumptions (M: one source, L: unconfirmed), and what {where} shows")
        self._line("None of this fails the test. not settled: the test cannot show it.", "dim")
        self._line("not asked: this account or its permissions do not let the test ask.", "dim")

    def show_assumption(self, assumption: Assumption, finding: Finding) -> None:
        """Show an assumption and what the account shows about it."""
        self._line(f"{assumption.confidence} {assumption.claim}")
        style = _VERDICT_STYLES.get(finding.verdict, "dim")
        self._indented(Text.assemble((finding.verdict, style), f" · {one_line(finding.message)}"))

    def conclude(self, results: Mapping[str, CheckResult], record: Path | None) -> None:
        """Show whether the test passed."""
        self._console.print()
        if record is not None:
            self._line(f"The full record is in {record}. It contains only invented tokens.")
        warned = [name for name, each in results.items() if each.warnings]
        if failed := [name for name, each in results.items() if each.failures]:
            counted = f"{len(failed)} of {len(results)} checks"
            self._line(f"FAILED: {counted}: {', '.join(failed)}.", style="bold red")
        elif warned:
            self._line(
                f"No check failed. Look at the warnings: {', '.join(warned)}.", style="bold yellow"
            )
        else:
            self._line("The stack answered as the contract says.", style="bold green")

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
    """Write an answer, with the StatusMessage unescaped on a line of its own."""
    if answer.error:
        yield str(answer.error)
        return
    rest = dict(as_dict(answer.result))
    message = rest.pop("StatusMessage", None)
    if not isinstance(message, str):
        yield one_line(answer.shown())
        return
    yield one_line(rest)
    yield f"StatusMessage: {one_line(message)}"


def _remark(result: Mapping[str, Any], answer: RawAnswer | None, is_set_up: bool | None) -> str:
    """Say what is unusual about a result, or why it was not compared."""
    outcome = result.get("outcome")
    if answer is None:
        return ""
    if not contract.is_comparable(answer):
        return "not compared with the raw answer"
    if not contract.matches(answer, result):
        return "differs from the raw answer"
    if outcome == "accepted":
        return "unusual for an invented token"
    if is_set_up and outcome not in _TOKEN_OUTCOMES:
        return "set up, but the outcome is not about the token"
    return ""
