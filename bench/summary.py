"""How a run is told: tables for people, and JSON for programs and for the chart."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.lineup import BARE, GOOD, KEYED, OURS, SIXTEEN, UNCOMPILED
from bench.processes import Spent
from bench.results import MB, MS, US, Figure, Goal, Results, Taken, cpu, peak, rate, wall
from bench.samples import Samples


def machine() -> dict[str, Any]:
    """Describe the machine as far as it matters to the figures, and no further."""
    return {
        "cores": cpu_count(),
        "cpu": _cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def show(results: Results) -> None:
    """Print the tables, as wide as they need to be, and what they are not."""
    facts = machine()
    console = Console(width=160, highlight=False, file=sys.stdout)
    print(f"{facts['cores']} cores, {facts['cpu']}, {facts['system']}, Python {facts['python']}")
    for name, ceiling in results.ceilings.items():
        answer = Samples([seconds * MS for seconds in ceiling.answer_seconds.values])
        print(
            f"The service alone, {name}: {ceiling.calls_a_second:,.0f} calls of 100 tokens a "
            f"second; an answer takes {_spread(answer)} ms."
        )
    for title, table in tables(results):
        print(f"\n{title}")
        console.print(table)
    middle, last = results.queue.thirds()
    zipped = results.zipped
    print(
        f"\nThe bundle, zipped: {zipped.bundle * MB:.1f} MB; with sources in place of bytecode "
        f"{zipped.source * MB:.1f} MB; the same packages whole {zipped.whole * MB:.1f} MB.\n\n"
        f"{results.queue.recipients:,} recipients through the sandbox's queue in "
        f"{results.queue.seconds:.0f} s; memory of the function's largest process: "
        f"{middle * MB:.1f} MB in the middle third, {last * MB:.1f} MB in the last.\n\n"
        "Median (least..greatest) of n rounds; a ratio is that of the same round, and best/best\n"
        "that of each side's best round, which others on the machine disturb least. Tokens are\n"
        "those that SendMessages, FCM or APNs accepted from this client: Pinpoint does the\n"
        "fan-out behind SendMessages, so this is the client's cost of an accepted token, not the\n"
        "time until a phone rings."
    )


def tables(results: Results) -> list[tuple[str, Table]]:
    """Lay everything out. The tables are Markdown, too."""
    return [
        ("The figures of the design", _figures(results.figures())),
        ("Cold start to the first report", _cold(results.cold)),
        ("One push, warm", _warm(results.warm, results.warm_pushes)),
        ("Other libraries, 50 ms for each call", _peers(results)),
        ("One request: tokens a second, and CPU a token in µs", _many(results)),
        ("CPU of a request as it grows, no latency", _growth(results)),
        ("The beginning of a process over TLS, 50 ms for each call", _tls(results.tls)),
        ("With a key that the table remembers (5 ms a call), 50 ms for each call", _keyed(results)),
    ]


def as_json(results: Results) -> dict[str, Any]:
    """Give the whole run, every measurement of it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "service_alone": {
            name: {
                "calls_a_second": round(ceiling.calls_a_second, 1),
                "answer_seconds_median": round(ceiling.answer_seconds.median, 6),
            }
            for name, ceiling in results.ceilings.items()
        },
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "boto3": _samples(figure.bare),
                "push_sender": _samples(figure.ours),
                "ratio": _samples(figure.ratio),
                "best_over_best": figure.best,
                "goal": figure.goal._asdict(),
                "reached": figure.reached,
            }
            for figure in results.figures()
        ],
        "cold_start": _taken(results.cold),
        "warm_push": {"pushes": results.warm_pushes, "sides": _taken(results.warm)},
        "many": [
            {**case._asdict(), "sides": _taken(taken)} for case, taken in results.many.items()
        ],
        "peers": {
            name: {"tokens": peer.tokens, "rounds": _rounds(peer.spent)}
            for name, peer in results.peers.items()
        },
        "tls": {moment: _taken(taken) for moment, taken in results.tls.items()},
        "keyed": [
            {"recipients": size, "sides": _taken(taken)} for size, taken in results.keyed.items()
        ],
        "queue": {
            "recipients": results.queue.recipients,
            "seconds": round(results.queue.seconds, 1),
            "memory": [each._asdict() for each in results.queue.memory],
        },
        "zipped": results.zipped._asdict(),
    }


def _figures(figures: Iterable[Figure]) -> Table:
    table = _table("figure", "n", "boto3", "push sender", "ratio", "best/best", "goal", "reached")
    for figure in figures:
        table.add_row(
            f"{figure.name}, {figure.unit}",
            str(len(figure.ours.values)),
            _spread(figure.bare),
            _spread(figure.ours),
            _spread(figure.ratio, digits=2),
            f"{figure.best:.2f}",
            _goal(figure),
            "yes" if figure.reached else "no",
        )
    return table


def _cold(taken: Taken) -> Table:
    table = _table("side", "n", "wall, ms", "CPU, ms", "peak memory, MB", "wall over boto3's")
    for name, spent in taken.items():
        bare = taken[BARE + (UNCOMPILED if name.endswith(UNCOMPILED) else "")]
        table.add_row(
            name,
            str(len(spent)),
            _spread(wall(spent, MS)),
            _spread(cpu(spent, MS)),
            _spread(peak(spent)),
            _spread(wall(spent, MS).over(wall(bare, MS)), digits=2),
        )
    return table


def _warm(taken: Taken, pushes: int) -> Table:
    table = _table("side", "n", "CPU, µs", "over boto3's")
    for name, spent in taken.items():
        table.add_row(
            name,
            str(len(spent)),
            _spread(cpu(spent, US / pushes)),
            _spread(cpu(spent, 1).over(cpu(taken[BARE], 1)), digits=2),
        )
    return table


def _peers(results: Results) -> Table:
    table = _table("library", "n", "tokens a round", "tokens a second", "CPU a token, µs")
    for name, peer in results.peers.items():
        table.add_row(
            name,
            str(len(peer.spent)),
            f"{peer.tokens:,}",
            _spread(rate(peer.spent, peer.tokens)),
            _spread(cpu(peer.spent, US / peer.tokens)),
        )
    return table


def _many(results: Results) -> Table:
    names = (GOOD, OURS, SIXTEEN)
    table = _table("latency", "recipients", "n", *names, *(f"CPU: {name}" for name in names))
    for case, taken in results.many.items():
        table.add_row(
            f"{case.latency * MS:.0f} ms",
            f"{case.recipients:,}",
            str(len(taken[OURS])),
            *(f"{rate(taken[name], case.recipients).median:,.0f}" for name in names),
            *(f"{cpu(taken[name], US / case.recipients).median:,.1f}" for name in names),
        )
    return table


def _growth(results: Results) -> Table:
    table = _table(
        "side", "one recipient, ms", "each token from 100 to 5,000, µs", "exponent there"
    )
    for name in (GOOD, OURS, SIXTEEN):
        growth = results.growth(name, 0.0)
        table.add_row(
            name,
            f"{growth.one * MS:.2f}",
            f"{growth.token * US:.1f}",
            f"{growth.exponent:.2f}",
        )
    return table


def _tls(moments: Mapping[str, Taken]) -> Table:
    table = _table("", "n", "wall, ms", "boto3's", "CPU, ms", "boto3's ", "wall over boto3's")
    for moment, taken in moments.items():
        ours, bare = taken[OURS], taken[GOOD]
        table.add_row(
            moment,
            str(len(ours)),
            *(_spread(wall(spent, MS)) for spent in (ours, bare)),
            *(_spread(cpu(spent, MS)) for spent in (ours, bare)),
            _spread(wall(ours, MS).over(wall(bare, MS)), digits=2),
        )
    return table


def _keyed(results: Results) -> Table:
    table = _table("recipients", "n", "wall, ms", "with a key", "CPU, ms", "with a key ")
    for size, taken in results.keyed.items():
        table.add_row(
            f"{size:,}",
            str(len(taken[OURS])),
            *(_spread(wall(taken[name], MS)) for name in (OURS, KEYED)),
            *(_spread(cpu(taken[name], MS)) for name in (OURS, KEYED)),
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _taken(taken: Taken) -> dict[str, Any]:
    return {name: _rounds(spent) for name, spent in taken.items()}


def _rounds(spent: Sequence[Spent]) -> Mapping[str, Sequence[float]]:
    return {
        "wall_seconds": [round(each.wall, 6) for each in spent],
        "cpu_seconds": [round(each.cpu, 6) for each in spent],
        "peak_bytes": [each.peak_bytes for each in spent],
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
