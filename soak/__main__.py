"""The command line: ``python -m soak``, which ``make soak`` calls."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Final

from infra.bundle.wheels import BundleError
from sandbox.environment import isolate
from soak.callers import UnexpectedError
from soak.faults import Faults
from soak.job_plan import plan_jobs
from soak.plan import plan
from soak.run import TimeIsUpError, later, run
from soak.seeded_random import SeededRandom
from soak.summary import Progress, as_json, show

_DESCRIPTION: Final = """\
Send to many recipients through every entry point of a sandbox with failures, and find each of
them in exactly one of the places of docs/reference/outcomes.md. Nothing leaves this machine.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run once; the exit status is 0 if every promise was kept."""
    isolate()
    parser = argparse.ArgumentParser(prog="python -m soak", description=_DESCRIPTION)
    parser.add_argument(
        "--recipients",
        type=int,
        default=100_000,
        metavar="N",
        help="of requests; jobs have a seventh as many rows beside them",
    )
    parser.add_argument("--seed", type=int, help="the seed of an earlier run, to repeat it")
    parser.add_argument("--minutes", type=float, default=30.0, help="time limit (default: 30)")
    parser.add_argument("--no-cut", action="store_true", help="cut off no answer")
    parser.add_argument("--no-kill", action="store_true", help="kill no process")
    parser.add_argument("--source", type=Path, help="the folder of another function")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    options = parser.parse_args(arguments)
    random = SeededRandom(secrets.randbelow(10**6) if options.seed is None else options.seed)
    faults = Faults(random, cut_off=not options.no_cut, killed=not options.no_kill)
    requests = list(plan(options.recipients, random, later=later()))
    requests += plan_jobs(options.recipients, len(requests), random)
    progress = Progress()
    recipients = sum(len(planned.recipients) for planned in requests)
    progress(f"seed {random.seed}: {recipients:,} recipients, {len(requests):,} requests")
    given = {} if options.source is None else {"source": options.source}
    try:
        outcome = run(requests, faults, minutes=options.minutes, on_progress=progress, **given)
    except (BundleError, TimeIsUpError, UnexpectedError) as error:
        progress.done()
        sys.stderr.write(f"{type(error).__name__}: {error} (seed {random.seed})\n")
        return 1
    progress.done()
    show(outcome.verdict, outcome.ledger, {request.number: request for request in requests})
    kept = not outcome.verdict.breaches
    sys.stdout.write(
        f"\nSeed {random.seed}, {outcome.seconds:.0f} s: "
        f"{'every promise was kept' if kept else 'PROMISES WERE BROKEN'}.\n"
    )
    if options.json:
        facts = {"seed": random.seed, "seconds": round(outcome.seconds), "kept": kept}
        figures = as_json(outcome.verdict, outcome.ledger, facts)
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
