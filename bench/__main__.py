"""The command: ``python -m bench``, which ``make bench`` calls."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from bench import telling
from bench.ceiling import Ceiling, measure_ceiling
from bench.figures import (
    LATENCY_SECONDS,
    Figure,
    Packages,
    Progress,
    cold_start,
    throughput,
    warm_push,
    zipped,
)
from bench.packages import bare_boto3, unpacked_bundle, zipped_bytes
from bench.processes import BenchError, service
from infra.wheels import BundleError

_DESCRIPTION = """\
Measure what the function costs beside bare boto3, side by side on this machine: cold start,
one warm push, throughput and CPU with 5,000 recipients a request, and the bundle's size.
The service is a stand-in on loopback. Nothing passes or fails: read the table.
"""


class Rounds(NamedTuple):
    """How often each figure is taken."""

    cold_start: int
    warm_push: int
    throughput: int
    ceiling_seconds: float


_FULL = Rounds(cold_start=30, warm_push=60, throughput=30, ceiling_seconds=1.0)
_QUICK = Rounds(cold_start=9, warm_push=20, throughput=9, ceiling_seconds=0.5)


def main(arguments: list[str] | None = None) -> int:
    """Measure and tell; the exit status says only whether it could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=_DESCRIPTION)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first impression")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every measurement there, too"
    )
    chosen = parser.parse_args(arguments)
    try:
        figures, ceilings = measure(_QUICK if chosen.quick else _FULL)
    except (BenchError, BundleError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    for name, ceiling in ceilings.items():
        telling.show_ceiling(name, ceiling)
    telling.show(figures)
    if chosen.json:
        chosen.json.write_text(json.dumps(telling.as_json(figures, ceilings), indent=1) + "\n")
    return 0


def measure(rounds: Rounds) -> tuple[list[Figure], dict[str, Ceiling]]:
    """Take all figures, and the service's own."""
    _say("building the bundle, and laying out bare boto3 beside it")
    packages = Packages(ours=unpacked_bundle(), bare=bare_boto3())
    sizes = zipped_bytes()

    _say("the service alone")
    ceilings = {}
    for name, latency, connections in (
        ("no latency", 0.0, 8),
        ("50 ms latency", LATENCY_SECONDS, 32),
    ):
        with service(latency) as port:
            ceilings[f"{name}, {connections} connections"] = measure_ceiling(
                port, connections=connections, seconds=rounds.ceiling_seconds
            )

    figures = [
        *cold_start(packages, rounds.cold_start, _progress("cold start")),
        *warm_push(packages, rounds.warm_push, _progress("one push, warm")),
        *throughput(packages, rounds.throughput, _progress("throughput, 50 ms latency")),
        zipped(*sizes),
    ]
    return figures, ceilings


def _progress(name: str) -> Progress:
    """Show progress in one line that is written over where a person looks on."""
    if not sys.stderr.isatty():
        _say(name)
        return lambda done, of: None

    def tell(done: int, of: int) -> None:
        end = "\n" if done == of else ""
        sys.stderr.write(f"\r{name}: round {done} of {of}{end}")
        sys.stderr.flush()

    return tell


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
