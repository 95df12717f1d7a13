"""How a run is told: a table for people, and JSON for programs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.ceiling import Ceiling
from bench.figures import Figure, Goal
from bench.samples import Samples


def machine() -> dict[str, Any]:
    """Describe the machine as far as it matters to the figures, and no further."""
    return {
        "cores": cpu_count(),
        "cpu": _cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def table(figures: Sequence[Figure]) -> Table:
    """Lay the figures out, each with the count and the spread of its measurements.

    It is Markdown, too, so that it goes into the documentation as it stands.
    """
    columns = Table(box=box.MARKDOWN)
    columns.add_column("figure", no_wrap=True)
    columns.add_column("n", justify="right")
    for name in ("bare boto3", "push sender", "ratio", "goal"):
        columns.add_column(name, justify="right", no_wrap=True)
    columns.add_column("reached")
    for figure in figures:
        columns.add_row(
            f"{figure.name}, {figure.unit}",
            str(len(figure.ours.values)),
            _spread(figure.bare),
            _spread(figure.ours),
            _spread(figure.ratio, digits=2),
            _goal(figure),
            {True: "yes", False: "no", None: ""}[figure.reached],
        )
    return columns


def show(figures: Sequence[Figure]) -> None:
    """Print the table, as wide as it needs to be."""
    facts = machine()
    print(f"{facts['cores']} cores, {facts['cpu']}, {facts['system']}, Python {facts['python']}")
    Console(width=160, highlight=False, file=sys.stdout).print(table(figures))
    print(
        "median (min..max) of n rounds; a ratio is push sender over bare boto3 in the same round.\n"
        "For the bundle, bare boto3 stands for the same packages with nothing left out."
    )


def show_ceiling(name: str, ceiling: Ceiling) -> None:
    """Say what the service did when nothing was measured but itself."""
    answer = Samples([seconds * 1e3 for seconds in ceiling.answer_seconds.values])
    print(
        f"the service alone, {name}: {ceiling.calls_a_second:,.0f} calls of 100 tokens a second; "
        f"an answer takes {_spread(answer)} ms, n = {len(answer.values):,}"
    )


def as_json(figures: Sequence[Figure], ceilings: Mapping[str, Ceiling]) -> dict[str, Any]:
    """Give the whole run, every measurement of it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "service_alone": {
            name: {
                "calls_a_second": round(ceiling.calls_a_second, 1),
                "answer_seconds_median": round(ceiling.answer_seconds.median, 6),
            }
            for name, ceiling in ceilings.items()
        },
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "boto3": _samples(figure.bare),
                "push_sender": _samples(figure.ours),
                "ratio": _samples(figure.ratio),
                "goal": figure.goal._asdict() if figure.goal else None,
                "reached": figure.reached,
            }
            for figure in figures
        ],
    }


def _samples(samples: Samples) -> dict[str, Any]:
    return {"median": samples.median, "values": list(samples.values)}


def _spread(samples: Samples, digits: int | None = None) -> str:
    if digits is None:
        digits = 0 if samples.median >= 100 else 1
    middle, *ends = (
        f"{value:,.{digits}f}"
        for value in (samples.median, min(samples.values), max(samples.values))
    )
    return f"{middle} ({'..'.join(ends)})" if len(samples.values) > 1 else middle


def _goal(figure: Figure) -> str:
    match figure.goal:
        case None:
            return ""
        case Goal(limit, bound, "ratio"):
            return f"{bound} {limit:g}"
        case Goal(limit, bound, _):
            return f"{bound} {limit:g} {figure.unit}"


def _cpu_name() -> str:
    """Name the processor. Linux tells it in a file; elsewhere its kind must do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    name = facts.get("model name", platform.machine()).strip()
    family = facts.get("cpu family", "").strip()
    return f"{name} (family {family})" if family else name
