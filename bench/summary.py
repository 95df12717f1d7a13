"""The output of a run: tables for people, and JSON for programs and for the chart."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.client_list import (
    BARE_BOTO3,
    BOTO3_THREADS,
    KEYED,
    NO_BYTECODE,
    OURS,
    OURS_16_CALLS,
    REQUEST,
)
from bench.flood import MESSAGES, WORKERS
from bench.job_run import JobRun, slope
from bench.processes import Cost
from bench.results import (
    MB,
    MS,
    ROWS_A_CHILD,
    US,
    Figure,
    Goal,
    Measured,
    Results,
    cpu,
    peak,
    rate,
    wall,
)
from bench.samples import Samples


def machine() -> dict[str, Any]:
    """Describe the machine as far as it matters for the figures."""
    return {
        "cores": cpu_count(),
        "cpu": _cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def show(results: Results) -> None:
    """Print the tables, and what they do not show."""
    facts = machine()
    console = Console(width=160, highlight=False, file=sys.stdout)
    print(f"{facts['cores']} cores, {facts['cpu']}, {facts['system']}, Python {facts['python']}")
    for name, ceiling in results.ceilings.items():
        answer = Samples([seconds * MS for seconds in ceiling.answer_seconds.values])
        print(
            f"The simulated service alone, {name}: {ceiling.calls_a_second:,.0f} calls of 100 "
            f"tokens a second; an answer takes {_spread(answer)} ms."
        )
    for title, table in tables(results):
        print(f"\n{title}")
        console.print(table)
    middle, last = results.queue.thirds()
    zipped = results.zipped
    print(
        f"\nThe bundle, zipped: {zipped.bundle * MB:.1f} MB; with sources instead of bytecode "
        f"{zipped.source * MB:.1f} MB; "
        f"the same packages with all their files {zipped.whole * MB:.1f} MB.\n\n"
        f"{results.queue.recipients:,} recipients through the sandbox's queue in "
        f"{results.queue.seconds:.0f} s; memory of the function's largest process: "
        f"{middle * MB:.1f} MB in the middle third, {last * MB:.1f} MB in the last.\n\n"
        f"{_job(results.job)}\n\n"
        "Each figure is the median (lowest..highest) of n rounds. A ratio compares the same\n"
        "round; best/best compares the best rounds, which other load disturbs least. Tokens are\n"
        "those that SendMessages or FCM accepted from this process. Behind SendMessages,\n"
        "Pinpoint distributes the pushes. So the figures show the client's cost of an accepted\n"
        "token, not how fast a push reaches a phone."
    )


def tables(results: Results) -> list[tuple[str, Table]]:
    """Make the tables, which are also Markdown."""
    return [
        ("Figures with goals", _figures(results.figures())),
        ("Cold start to the first report", _cold(results.cold)),
        ("One push, warm", _warm(results.warm, results.warm_pushes)),
        ("Other libraries, 50 ms for each call", _peers(results)),
        ("One request, many recipients: tokens a second, and CPU a token in µs", _many(results)),
        ("CPU time of a request by recipients, no latency", _growth(results)),
        ("The beginning of a process over TLS, 50 ms for each call", _tls(results.tls)),
        (
            "With a key, 5 ms for each call of the table, 50 ms for each call of the service",
            _keyed(results),
        ),
        ("Keys and users", _figures(results.own_figures(), "compared with", "with")),
        ("The rows of a job, and direct requests to 1,000 recipients", _rows_table(results)),
        ("A job", _figures(results.job_figures(), "compared with", "job")),
    ]


def as_json(results: Results) -> dict[str, Any]:
    """Return every measurement of a run."""
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
            for figure in (*results.figures(), *results.own_figures())
        ],
        "cold_start": _measured(results.cold),
        "warm_push": {"pushes": results.warm_pushes, "sides": _measured(results.warm)},
        "many": [
            {**case._asdict(), "sides": _measured(measured)}
            for case, measured in results.many.items()
        ],
        "peers": {
            name: {"tokens": peer.tokens, "rounds": _rounds(peer.costs)}
            for name, peer in results.peers.items()
        },
        "tls": {moment: _measured(measured) for moment, measured in results.tls.items()},
        "keyed": [
            {"recipients": size, "sides": _measured(measured)}
            for size, measured in results.keyed.items()
        ],
        "queue": {
            "recipients": results.queue.recipients,
            "seconds": round(results.queue.seconds, 1),
            "memory": [each._asdict() for each in results.queue.memory],
        },
        "rows": {"rows": results.children * ROWS_A_CHILD, "sides": _measured(results.rows)},
        "job": {
            **asdict(results.job),
            "idle_pushes": _samples(results.job.idle_pushes),
            "flood_pushes": _samples(results.job.flood_pushes),
            "pushes": _samples(results.job.pushes),
        },
        "zipped": results.zipped._asdict(),
    }


def _figures(figures: Iterable[Figure], bare: str = "boto3", ours: str = "push sender") -> Table:
    table = _table("figure", "n", bare, ours, "ratio", "best/best", "goal", "reached")
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


def _cold(measured: Measured) -> Table:
    table = _table("client", "n", "wall, ms", "CPU, ms", "peak memory, MB", "wall over boto3's")
    for name, costs in measured.items():
        bare = measured[BARE_BOTO3 + (NO_BYTECODE if name.endswith(NO_BYTECODE) else "")]
        table.add_row(
            name,
            str(len(costs)),
            _spread(wall(costs, MS)),
            _spread(cpu(costs, MS)),
            _spread(peak(costs)),
            _spread(wall(costs, MS).over(wall(bare, MS)), digits=2),
        )
    return table


def _warm(measured: Measured, pushes: int) -> Table:
    table = _table("client", "n", "CPU, µs", "over boto3's")
    for name, costs in measured.items():
        table.add_row(
            name,
            str(len(costs)),
            _spread(cpu(costs, US / pushes)),
            _spread(cpu(costs, 1).over(cpu(measured[BARE_BOTO3], 1)), digits=2),
        )
    return table


def _peers(results: Results) -> Table:
    table = _table("library", "n", "tokens a round", "tokens a second", "CPU a token, µs")
    for name, peer in results.peers.items():
        table.add_row(
            name,
            str(len(peer.costs)),
            f"{peer.tokens:,}",
            _spread(rate(peer.costs, peer.tokens)),
            _spread(cpu(peer.costs, US / peer.tokens)),
        )
    return table


def _many(results: Results) -> Table:
    names = (BOTO3_THREADS, OURS, OURS_16_CALLS)
    table = _table("latency", "recipients", "n", *names, *(f"CPU: {name}" for name in names))
    for case, measured in results.many.items():
        table.add_row(
            f"{case.latency * MS:.0f} ms",
            f"{case.recipients:,}",
            str(len(measured[OURS])),
            *(f"{rate(measured[name], case.recipients).median:,.0f}" for name in names),
            *(f"{cpu(measured[name], US / case.recipients).median:,.1f}" for name in names),
        )
    return table


def _growth(results: Results) -> Table:
    table = _table("client", "one recipient, ms", "each token from 100 to 5,000, µs", "exponent")
    for name in (BOTO3_THREADS, OURS, OURS_16_CALLS):
        growth = results.growth(name, 0.0)
        table.add_row(
            name,
            f"{growth.one * MS:.2f}",
            f"{growth.token * US:.1f}",
            f"{growth.exponent:.2f}",
        )
    return table


def _tls(moments: Mapping[str, Measured]) -> Table:
    table = _table("", "n", "wall, ms", "boto3's", "CPU, ms", "boto3's ", "wall over boto3's")
    for moment, measured in moments.items():
        ours, bare = measured[OURS], measured[BOTO3_THREADS]
        table.add_row(
            moment,
            str(len(ours)),
            *(_spread(wall(costs, MS)) for costs in (ours, bare)),
            *(_spread(cpu(costs, MS)) for costs in (ours, bare)),
            _spread(wall(ours, MS).over(wall(bare, MS)), digits=2),
        )
    return table


def _keyed(results: Results) -> Table:
    table = _table("recipients", "n", "wall, ms", "with a key", "CPU, ms", "with a key ")
    for size, measured in results.keyed.items():
        table.add_row(
            f"{size:,}",
            str(len(measured[OURS])),
            *(_spread(wall(measured[name], MS)) for name in (OURS, KEYED)),
            *(_spread(cpu(measured[name], MS)) for name in (OURS, KEYED)),
        )
    return table


def _rows_table(results: Results) -> Table:
    table = _table("", "n", "CPU a token, µs", "over the request's", "peak memory, MB")
    rows = results.children * ROWS_A_CHILD
    for name, costs in results.rows.items():
        table.add_row(
            name,
            str(len(costs)),
            _spread(cpu(costs, US / rows)),
            _spread(cpu(costs, 1).over(cpu(results.rows[REQUEST], 1)), digits=2),
            _spread(peak(costs)),
        )
    return table


def _job(job: JobRun) -> str:
    """Describe the run of a job in a sentence or two."""
    largest = {
        name: max((each.resident_bytes for each in memory), default=0) * MB
        for name, memory in (("function", job.memory), ("sandbox", job.sandbox_memory))
    }
    grown = slope(job.memory) * 100_000 * MB
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in job.stages.items())
    return (
        f"A job of {job.rows:,} rows ({job.file_bytes * MB:.1f} MB) in the sandbox: {stages}; the "
        f"index step read {job.index_rate() * MB:.0f} MB a second. Memory: the function's largest "
        f"process {largest['function']:.1f} MB, and {grown:+.2f} MB for each further 100,000 rows "
        f"after the first third; the sandbox {largest['sandbox']:.0f} MB. CPU of its "
        "processes, with the pushes beside the job: "
        f"{job.cpu_seconds / job.rows * US:.1f} µs a row.\n"
        f"The flood of the queue: {MESSAGES:,} messages of another caller to one recipient each. "
        f"{WORKERS} invocations at a time work them off, half a second for each push, so that "
        "the sandbox's services leave CPU to the direct pushes."
    )


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.MARKDOWN)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _measured(measured: Measured) -> dict[str, Any]:
    return {name: _rounds(costs) for name, costs in measured.items()}


def _rounds(costs: Sequence[Cost]) -> Mapping[str, Sequence[float]]:
    return {
        "wall_seconds": [round(each.wall, 6) for each in costs],
        "cpu_seconds": [round(each.cpu, 6) for each in costs],
        "peak_bytes": [each.peak_bytes for each in costs],
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
    """Name the processor; without Linux's /proc/cpuinfo only its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    name = facts.get("model name", platform.machine()).strip()
    family = facts.get("cpu family", "").strip()
    return f"{name} (family {family})" if family else name
