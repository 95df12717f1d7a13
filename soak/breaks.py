"""The proof of the proof: breaks of the function that a run must catch, tried on a copy.

    python -m soak.breaks

Each break is a few words changed in a copy of ``lambda_src``; a run that keeps its promises
in spite of it fails this command. The unbroken function runs first, with the same seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from infra.bundle import SOURCE

RECIPIENTS: Final = 4_000
SEED: Final = 37
"""With many requests that come twice."""

MINUTES: Final = 3.0


class Change(NamedTuple):
    """Words in a file of the function, and those in their place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Break:
    """One way to break the function.

    Attributes
    ----------
    name
        What it does wrong.
    changes
        How.
    killed
        Whether it takes a killed process to notice.
    seed
        Of the run: one in which what it takes to notice happens.
    """

    name: str
    changes: tuple[Change, ...]
    killed: bool = False
    seed: int = SEED


BREAKS: Final = (
    Break(
        "acknowledge before sending",
        (
            Change(
                "entry_points/queue.py",
                "        _handle(record, share(), key, context, sender, follow_up)\n",
                "        queue = follow_up._queue\n"
                "        queue._client.delete_message(\n"
                "            QueueUrl=queue._url, ReceiptHandle=record.receipt_handle\n"
                "        )\n"
                "        _handle(record, share(), key, context, sender, follow_up)\n",
            ),
        ),
        killed=True,
    ),
    Break(
        "forget an unsent",
        (Change("follow_up/endings.py", '"deadline": _Ending.QUEUE', '"deadline": _Ending.LOG'),),
        seed=7,  # with a large request that runs out of time
    ),
    Break(
        "reuse the parent's key on requeue",
        (
            Change(
                "follow_up/requeue.py",
                "key = derived_key(submission.key, recipients)",
                "key = submission.key",
            ),
        ),
    ),
    Break(
        "store the record after the answer",
        (
            Change(
                "idempotency/claims.py",
                "existing = self._store.put_new(new, wall)",
                "existing = None",
            ),
            Change(
                "idempotency/claims.py",
                "lambda: self._store.put_over(record, record.holder)",
                "lambda: self._store.put_new(record, 0.0) is None",
            ),
        ),
    ),
    Break(
        "swallow a store error",
        (
            Change(
                "idempotency/claims.py",
                "            raise IdempotencyStoreUnavailable(error.reason) from error\n",
                "            return Claim(self._store, self._threads, self._clock, order, new, {})"
                "\n",
            ),
        ),
    ),
    Break(
        "requeue an accepted",
        (
            Change(
                "follow_up/endings.py",
                "Outcome.ACCEPTED: _Ending.LOG",
                "Outcome.ACCEPTED: _Ending.QUEUE",
            ),
        ),
    ),
    Break(
        "requeue an unknown",
        (
            Change(
                "follow_up/endings.py",
                "Outcome.UNKNOWN: _Ending.FAILED",
                "Outcome.UNKNOWN: _Ending.QUEUE",
            ),
        ),
    ),
    Break(
        "tell nobody of a dead token",
        (
            Change(
                "follow_up/endings.py",
                "Outcome.DEAD_TOKEN: _Ending.TOKEN_UPDATE",
                "Outcome.DEAD_TOKEN: _Ending.LOG",
            ),
        ),
    ),
    Break(
        "an odd answer ends the run",
        (
            Change(
                "clients/calls.py",
                "    except Exception as error:  # noqa",
                "    except BotoCoreError as error:  # noqa",
            ),
        ),
    ),
    Break(
        "a refusal overrides an unknown",
        (
            Change(
                "delivery/run.py",
                "                result = result._replace(outcome=Outcome.UNKNOWN)\n",
                "                pass\n",
            ),
        ),
        seed=38,  # with callers who wait, and calls that are refused after a lost answer
    ),
    Break(
        "free a key though something was sent",
        (
            Change(
                "idempotency/claims.py",
                "if self.untried and forget_untried:",
                "if forget_untried:",
            ),
        ),
    ),
)


class Caught(NamedTuple):
    """What a run said of the function.

    Attributes
    ----------
    name
        Of the break; None for the unbroken function.
    kept
        Whether the run found every promise kept; None where it did not come to its end.
    found
        What it found instead.
    seconds
        How long it took.
    """

    name: str | None
    kept: bool | None
    found: str
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Try all breaks; the exit status is 0 where each was caught."""
    parser = argparse.ArgumentParser(prog="python -m soak.breaks", description=__doc__)
    parser.add_argument("--only", metavar="WORDS", help="breaks with these words in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args(arguments)
    chosen = [each for each in BREAKS if not options.only or options.only in each.name]
    ways = sorted({(each.seed, each.killed) for each in chosen})
    caught = [_tried(None, seed, killed=killed) for seed, killed in ways]
    caught += [_tried(each, each.seed, killed=each.killed) for each in chosen]
    Console(width=200, highlight=False).print(_table(caught))
    if options.json:
        options.json.write_text(json.dumps([each._asdict() for each in caught], indent=1) + "\n")
    proved = all(each.kept is (each.name is None) or _ran_on(each) for each in caught)
    sys.stdout.write("Every break was caught.\n" if proved else "NOT every break was caught.\n")
    return 0 if proved else 1


def _ran_on(caught: Caught) -> bool:
    """Tell whether a broken function never came to its end, which is caught as well."""
    return caught.name is not None and caught.kept is None


def _tried(broken: Break | None, seed: int, *, killed: bool) -> Caught:
    name = broken.name if broken else None
    sys.stderr.write(f"{name or 'the function as it is'} …\n")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "lambda_src"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        for change in broken.changes if broken else ():
            _apply(change, source / "push_sender")
        figures = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", "soak", "--source", str(source), "--json", str(figures)]
        command += ["--recipients", str(RECIPIENTS), "--seed", str(seed)]
        command += ["--minutes", str(MINUTES), *([] if killed else ["--no-kill"])]
        began = time.monotonic()
        process = subprocess.run(  # noqa: S603  our own command, no shell
            command, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        if not figures.exists():
            said = (process.stderr.strip().splitlines() or ["nothing"])[-1]
            return Caught(name, None, f"it came to no end ({said})", seconds)
        told = json.loads(figures.read_text())
    found = Counter(breach["what"] for breach in told["breaches"])
    what = ", ".join(f"{times:,} {what}" for what, times in sorted(found.items()))
    return Caught(name, not found, what or "nothing", seconds)


def _apply(change: Change, package: Path) -> None:
    file = package / change.file
    text = file.read_text()
    if text.count(change.old) != 1:
        raise ValueError(f"{change.file} has not once: {change.old}")
    file.write_text(text.replace(change.old, change.new))


def _table(caught: Sequence[Caught]) -> Table:
    table = Table(box=box.MARKDOWN)
    for column in ("the function", "caught", "what the run found", "seconds"):
        table.add_column(column, no_wrap=True)
    for each in caught:
        expected = each.name is None
        told = "" if expected else "no" if each.kept else "yes"
        table.add_row(each.name or "as it is", told, each.found, f"{each.seconds:.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
