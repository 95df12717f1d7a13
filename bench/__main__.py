"""The command: ``python -m bench``, which ``make bench`` calls."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from bench import figures, summary
from bench.ceiling import Ceiling, measure_ceiling
from bench.client_list import Clients, install_clients
from bench.job_run import ROWS, job_run
from bench.packages import BENCH, zipped
from bench.processes import BenchError, draw, simulated_service
from bench.queue_run import queue_run
from bench.results import Results
from infra.bundle.wheels import BundleError
from sandbox.environment import isolate

_DESCRIPTION = """\
Compare the cost of the function with boto3 and other libraries on this machine: cold start, one
warm push, many recipients at several latencies, the table, the queue, jobs, and the bundle's size.
The services are simulated on loopback. Nothing passes or fails: read the tables.
docs/performance.md explains them.
"""


class Rounds(NamedTuple):
    """The number of rounds of each measurement."""

    cold_start: int
    warm_push: int
    many: int
    peers: int
    tls: int
    keyed: int
    users: int
    rows: int
    ceiling_seconds: float


_FULL = Rounds(
    cold_start=15,
    warm_push=40,
    many=11,
    peers=7,
    tls=9,
    keyed=11,
    users=11,
    rows=11,
    ceiling_seconds=1.0,
)
_QUICK = Rounds(
    cold_start=5,
    warm_push=12,
    many=3,
    peers=3,
    tls=3,
    keyed=3,
    users=3,
    rows=3,
    ceiling_seconds=0.5,
)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the exit status only says whether this was possible."""
    isolate()
    parser = argparse.ArgumentParser(prog="python -m bench", description=_DESCRIPTION)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first impression")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=BENCH / "run.json",
        help="the file for every measurement (default: %(default)s)",
    )
    parser.add_argument(
        "--chart",
        type=Path,
        metavar="FILE",
        default=BENCH / "run.svg",
        help="the file for the chart, as SVG (default: %(default)s)",
    )
    parser.add_argument(
        "--job-rows",
        type=int,
        metavar="N",
        default=ROWS,
        help="the rows of the job's file, such as 1000000 (default: %(default)s)",
    )
    chosen = parser.parse_args(arguments)
    try:
        _print_line("building the bundle and installing the other libraries")
        clients = install_clients()
        results = measure(clients, _QUICK if chosen.quick else _FULL, chosen.job_rows)
        summary.show(results)
        run = summary.as_json(results)
        chosen.json.write_text(json.dumps(run, indent=1) + "\n")
        draw(run, clients.peers, chosen.chart)
        print(f"\nEvery measurement: {chosen.json}\nThe chart: {chosen.chart}")
    except (BenchError, BundleError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def measure(clients: Clients, rounds: Rounds, job_rows: int) -> Results:
    """Measure everything."""
    sizes = zipped()
    _print_line("the simulated service alone")
    return Results(
        ceilings=_ceilings(rounds.ceiling_seconds),
        cold=figures.cold_start(clients, rounds.cold_start, _progress("cold start")),
        warm=figures.warm_push(clients, rounds.warm_push, _progress("one push, warm")),
        many=figures.many(clients, rounds.many, _progress("many recipients")),
        peers=figures.peers(clients, rounds.peers, _progress("other libraries")),
        tls=figures.over_tls(clients, rounds.tls, _progress("over TLS")),
        keyed=figures.keyed(clients, rounds.keyed, _progress("with a key and without")),
        users=figures.users(clients, rounds.users, _progress("users")),
        queue=queue_run(_progress("the queue", "recipient")),
        rows=figures.rows(clients, rounds.rows, _progress("rows of a job")),
        job=job_run(job_rows, _progress("a job", "row")),
        zipped=sizes,
        warm_pushes=figures.PUSHES,
        children=figures.CHILDREN,
    )


def _ceilings(seconds: float) -> dict[str, Ceiling]:
    ceilings = {}
    for latency, connections in ((0.0, 8), (0.05, 50)):
        with simulated_service(latency) as port:
            name = f"{latency * 1_000:.0f} ms, {connections} connections"
            ceilings[name] = measure_ceiling(port, connections=connections, seconds=seconds)
    return ceilings


def _progress(name: str, what: str = "round") -> figures.Progress:
    """Show progress in one line, overwritten in a terminal."""
    if not sys.stderr.isatty():
        _print_line(name)
        return lambda done, of: None

    def show(done: int, of: int) -> None:
        end = "\n" if done >= of else ""
        sys.stderr.write(f"\r{name}: {what} {done:,} of {of:,}{end}")
        sys.stderr.flush()

    return show


def _print_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
