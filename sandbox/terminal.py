"""What the terminal of a running sandbox shows: a line for each push and each 403 over HTTP.

The function's whole log is shown where VERBOSE asks for it; without that, its lines that warn or
report an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from typing import Final

from rich.console import Console

from sandbox.inbox import cards as drawing
from sandbox.inbox.listing import NO_ENTRY_POINT
from sandbox.pinpoint.outcomes import outcome_in_report, outcome_of_refusal
from sandbox.pinpoint.pushes import Push, Refusal

HINT: Final = "Each push is one line here. VERBOSE=1 shows the function's whole log."

_SERIOUS: Final = frozenset({"WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"})
_TOKEN: Final = 28
_TEXT: Final = 60


def arrivals(console: Console) -> Callable[[Push | Refusal], None]:
    """Make what prints a line for each push, and for each call that was refused whole."""

    def show(arrived: Push | Refusal) -> None:
        console.print(line_of(arrived), markup=False, highlight=False, soft_wrap=True)

    return show


def denials(console: Console) -> Callable[[str], None]:
    """Make what prints why the HTTP API answered 403, which its client is not told."""

    def show(denial: str) -> None:
        line = f"{datetime.now().astimezone():%H:%M:%S}  {'http':<12} 403 Forbidden: {denial}"
        console.print(_printable(line), markup=False, highlight=False, soft_wrap=True)

    return show


def function_log(console: Console) -> Callable[[str, str], None]:
    """Make what prints a line of a function's log, if it is to be shown."""
    whole = is_verbose()

    def show(_function: str, line: str) -> None:
        if whole or _is_serious(line):
            console.print(line, style="dim", markup=False, soft_wrap=True)

    return show


def is_verbose() -> bool:
    """Tell whether the environment's VERBOSE asks for everything."""
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
        f"{time}  {entry_point:<12} {_short(service, 17):<17} {outcome:<13} "
        f"{_short(token, _TOKEN):<{_TOKEN}} {_short(text, _TEXT)}"
    ).rstrip()


def _short(text: str, most: int) -> str:
    shown = _printable(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _printable(text: str) -> str:
    # What a push or a path says must not steer the terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _is_serious(line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and str(record.get("level", "")).upper() in _SERIOUS
