"""Lines in the terminal of a running sandbox: one for each push and each denied HTTP request.

A push to a user that reaches no device makes no call, so its line comes from the function's log.
The function's warnings and errors are shown, too, and its whole log if VERBOSE is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from rich.console import Console

from sandbox import entry_points
from sandbox.inbox import cards as drawing
from sandbox.inbox.listing import NO_ENTRY_POINT
from sandbox.pinpoint.outcomes import outcome_in_report, outcome_of_refusal
from sandbox.pinpoint.pushes import Push, Refusal

HINT: Final = "Each push is one line here. VERBOSE=1 shows the function's whole log."

_SERIOUS: Final = frozenset({"WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"})
_ENTRY_POINT: Final = max(map(len, entry_points.ALL))
_TOKEN: Final = 28
_TEXT: Final = 60


def arrivals(console: Console) -> Callable[[Push | Refusal], None]:
    """Make a function that prints a line for each push and each refused call."""

    def show(arrived: Push | Refusal) -> None:
        console.print(line_of(arrived), markup=False, highlight=False, soft_wrap=True)

    return show


def denials(console: Console) -> Callable[[int, str], None]:
    """Make a function that prints why the HTTP API answered 401 or 403."""

    def show(status: int, denial: str) -> None:
        answer = f"{status} {HTTPStatus(status).phrase}"
        line = (
            f"{datetime.now().astimezone():%H:%M:%S}  {'http':<{_ENTRY_POINT}} {answer}: {denial}"
        )
        console.print(_printable(line), markup=False, highlight=False, soft_wrap=True)

    return show


def function_log(console: Console) -> Callable[[str, str], None]:
    """Make a function that prints the lines of a function's log that are shown."""
    show_all = is_verbose()

    def show(_function: str, line: str) -> None:
        record = _record(line)
        if show_all or str(record.get("level", "")).upper() in _SERIOUS:
            console.print(line, style="dim", markup=False, soft_wrap=True)
        if record.get("message") == "results without a call":
            for result in record.get("results", ()):
                console.print(_without_call(result), markup=False, highlight=False, soft_wrap=True)

    return show


def is_verbose() -> bool:
    """Return whether the environment has VERBOSE."""
    return os.environ.get("VERBOSE", "") not in ("", "0")


def line_of(arrived: Push | Refusal) -> str:
    """Write the line of a push or a refused call."""
    time = datetime.fromisoformat(arrived.time).astimezone().strftime("%H:%M:%S")
    if isinstance(arrived, Push):
        card = drawing.card(arrived.service, arrived.message)
        service, token = arrived.service, arrived.token
        outcome = outcome_in_report(arrived.answer)
        text = "silent" if card.silent else card.title or card.text or ""
    else:
        token, service = next(iter(arrived.addresses), ("", ""))
        outcome = outcome_of_refusal(arrived.code, arrived.status, arrived.reason)
        text = f"the whole call: {arrived.status} {arrived.code}"
    entry_point = arrived.entry_point or NO_ENTRY_POINT
    return (
        f"{time}  {entry_point:<{_ENTRY_POINT}} {_short(service, 17):<17} {outcome:<13} "
        f"{_short(token, _TOKEN):<{_TOKEN}} {_short(text, _TEXT)}"
    ).rstrip()


def _short(text: str, most: int) -> str:
    shown = _printable(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _printable(text: str) -> str:
    # A push or a path must not send control characters to the terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _without_call(result: Mapping[str, Any]) -> str:
    reason = " ".join(filter(None, (result.get("reason"), result.get("path"))))
    time = f"{datetime.now().astimezone():%H:%M:%S}"
    return _printable(
        f"{time}  {'':<{_ENTRY_POINT}} {'no call':<17} {result['outcome']:<13} {reason}".rstrip()
    )


def _record(line: str) -> Mapping[str, Any]:
    """Read a line of a log that is JSON."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
