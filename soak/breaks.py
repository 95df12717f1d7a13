"""The test of the soak: breaks of the function that a run must detect.

    python -m soak.breaks

Each break changes a few words in a copy of ``lambda_src``. If a run with a break finds nothing,
this command fails. The unchanged function runs first, with the same seeds.
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

MANY: Final = 4_000
SEED: Final = 37
"""A seed with many requests that are delivered twice."""

FEW: Final = 250
"""Enough for a break of jobs: a run has no fewer jobs for that."""

SEED_OF_FEW: Final = 25
"""A seed with a job that is mostly refused."""

MINUTES: Final = 5.0


class Change(NamedTuple):
    """Words in a file of the function, and their replacement."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Break:
    """One way to break the function.

    Attributes
    ----------
    name
        What the function does wrong.
    changes
        The changed words.
    killed
        Whether only a killed process shows the break.
    seed
        A seed whose run shows the break.
    recipients
        How many recipients the run has.
    """

    name: str
    changes: tuple[Change, ...]
    killed: bool = False
    seed: int = SEED
    recipients: int = MANY


BREAKS: Final = (
    Break(
        "acknowledge before sending",
        (
            Change(
                "entry_points/queue.py",
                "        _handle(submission, ",
                "        queue = follow_up._queue\n"
                "        queue._client.delete_message(\n"
                "            QueueUrl=queue._url, ReceiptHandle=record.receipt_handle\n"
                "        )\n"
                "        _handle(submission, ",
            ),
        ),
        killed=True,
    ),
    Break(
        "lose an unsent recipient",
        (
            Change(
                "follow_up/destinations.py",
                '"deadline": _Destination.QUEUE',
                '"deadline": _Destination.LOG',
            ),
        ),
        seed=7,  # with a large request that runs out of time
    ),
    Break(
        "reuse the parent's key on requeue",
        (
            Change(
                "follow_up/requeue.py",
                "key = _derived_key(submission.key, parts)",
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
                "lambda: self._store.put_over(record, holder)",
                "lambda: self._store.put_new(record, 0.0) is None",
            ),
        ),
    ),
    Break(
        "swallow a store error",
        (
            Change(
                "idempotency/claims.py",
                "record, parts, users)\n"
                "        except StoreError as error:\n"
                "            raise IdempotencyStoreUnavailable(error.reason) from error\n",
                "record, parts, users)\n"
                "        except StoreError:\n"
                "            return Claim("
                "self._store, self._threads, self._clock, order, new, {}, users)\n",
            ),
        ),
    ),
    Break(
        "requeue an accepted push",
        (
            Change(
                "follow_up/destinations.py",
                "Outcome.ACCEPTED: _Destination.LOG",
                "Outcome.ACCEPTED: _Destination.QUEUE",
            ),
        ),
    ),
    Break(
        "requeue an unknown push",
        (
            Change(
                "follow_up/destinations.py",
                "Outcome.UNKNOWN: _Destination.FAILED",
                "Outcome.UNKNOWN: _Destination.QUEUE",
            ),
        ),
    ),
    Break(
        "send no event for a dead token",
        (
            Change(
                "follow_up/destinations.py",
                "Outcome.DEAD_TOKEN: _Destination.TOKEN_UPDATE",
                "Outcome.DEAD_TOKEN: _Destination.LOG",
            ),
        ),
    ),
    Break(
        "fail on an unusual answer",
        (
            Change(
                "clients/calls.py",
                "    except Exception as error:  # noqa",
                "    except BotoCoreError as error:  # noqa",
            ),
        ),
    ),
    Break(
        "let a refusal replace an unknown",
        (
            Change(
                "delivery/run.py",
                "                result = result._replace(outcome=Outcome.UNKNOWN)\n",
                "                pass\n",
            ),
        ),
        seed=38,  # with waiting callers, and calls that are refused after a lost answer
    ),
    Break(
        "release a key after a push",
        (
            Change(
                "idempotency/claims.py",
                "if self.untried and forget_untried:",
                "if forget_untried:",
            ),
        ),
    ),
    Break(
        "resolve by a stale read",
        (
            Change(
                "users.py",
                "        self._users = registry.users(application_id, user_ids(request), "
                "deadline=read_until)\n",
                "        new = [each for each in user_ids(request) if each not in _KEPT]\n"
                "        _KEPT.update(registry.users(application_id, new, deadline=read_until))\n"
                "        self._users = _KEPT\n",
            ),
            Change("users.py", "\n_LEFT_OUT: ", "\n_KEPT: dict[str, User] = {}\n_LEFT_OUT: "),
        ),
    ),
    Break(
        "requeue the token",
        (
            Change(
                "follow_up/requeue.py",
                'return {"user_id": user_id, "device_id": device_id, **personal}',
                'return {"token": result["token"], "service": result["service"], **personal}',
            ),
        ),
    ),
    Break(
        "count a child of a job anew",
        (
            Change(
                "jobs/progress.py",
                "name: counts.get(name, 0) - counted.get(name, 0)",
                "name: counts.get(name, 0)",
            ),
        ),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
    Break(
        "redrive accepted rows",
        (
            Change(
                "idempotency/claims.py",
                "if each.outcome not in self._memory.again\n",
                "if each.outcome is Outcome.REQUEUED\n",
            ),
        ),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
    Break(
        "forget the rows of a job after a day",
        (
            Change(
                "idempotency/memory.py",
                "PART_OF_JOB: Final = Memory(30 * _DAY_SECONDS, ",
                "PART_OF_JOB: Final = Memory(_DAY_SECONDS, ",
            ),
        ),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
    Break(
        "requeue rows under a new key",
        (
            Change(
                "jobs/rows_step.py",
                "submission = Submission(request, key, ",
                'submission = Submission(request, f"{key}{time.time_ns()}", ',
            ),
        ),
        killed=True,
    ),
    Break(
        "requeue no row of a job",
        (
            Change(
                "jobs/rows_step.py",
                "                    requeue=queue,\n",
                "",
            ),
        ),
    ),
    Break(
        "ignore If-Match",
        (
            Change("jobs/objects.py", '            call["IfMatch"] = etag\n', "            pass\n"),
            Change("jobs/objects.py", "if etag not in (None, found):", "if not found:"),
        ),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
    Break(
        "let a refused message succeed",
        (
            Change(
                "jobs/rows_step.py",
                "        if refused * 2 > sent_to and not replayed:\n",
                "        if refused > sent_to:\n",
            ),
        ),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
    Break(
        "send at once what is for later",
        (Change("sender.py", "            if left > 0:\n", "            if left > 86_400:\n"),),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
    Break(
        "make a schedule for each delivery",
        (
            Change(
                "schedules/scheduled_request.py",
                "id_ = secrets.token_hex(32) if key is None else record_id(application_id, key)",
                "id_ = secrets.token_hex(32)",
            ),
            Change(
                "schedules/scheduled_request.py",
                '"idempotency_key": key or id_',
                '"idempotency_key": id_',
            ),
        ),
        seed=SEED_OF_FEW,
        recipients=FEW,
    ),
)


class Attempt(NamedTuple):
    """The result of a run with or without a break.

    Attributes
    ----------
    name
        The break's; None for the unchanged function.
    kept
        Whether the run found every promise kept; None if it did not end.
    found
        The breaches that it found.
    seconds
        How long it took.
    """

    name: str | None
    kept: bool | None
    found: str
    seconds: float


_Try = tuple[Break | None, int, int, bool]
"""A break or none, the seed, the recipients, and whether processes are killed."""


def main(arguments: list[str] | None = None) -> int:
    """Try all breaks; the exit status is 0 if each was detected."""
    parser = argparse.ArgumentParser(prog="python -m soak.breaks", description=__doc__)
    parser.add_argument("--only", metavar="WORDS", help="breaks with these words in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table to a file")
    options = parser.parse_args(arguments)
    chosen = [each for each in BREAKS if not options.only or options.only in each.name]
    ways = sorted({(each.seed, each.recipients, each.killed) for each in chosen})
    tries: list[_Try] = [(None, *way) for way in ways]
    tries += [(each, each.seed, each.recipients, each.killed) for each in chosen]
    attempts: list[Attempt] = []
    for number, each in enumerate(tries, 1):
        name = each[0].name if each[0] else "the unchanged function"
        sys.stderr.write(f"{number} of {len(tries)}: {name} …\n")
        attempts.append(_try(*each))
        sys.stderr.write(f"  {attempts[-1].found}, {attempts[-1].seconds:.0f} s\n")
        if options.json:  # after each try, so that a run that is stopped leaves what it found
            written = [each._asdict() for each in attempts]
            options.json.write_text(json.dumps(written, indent=1) + "\n")
    Console(width=200, highlight=False).print(_table(attempts))
    detected = all(each.kept is (each.name is None) or _did_not_end(each) for each in attempts)
    sys.stdout.write(f"{'Every' if detected else 'NOT every'} break was detected.\n")
    return 0 if detected else 1


def _did_not_end(attempt: Attempt) -> bool:
    """Whether the run of a break did not end, which counts as detected."""
    return attempt.name is not None and attempt.kept is None


def _try(broken: Break | None, seed: int, recipients: int, killed: bool) -> Attempt:
    name = broken.name if broken else None
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "lambda_src"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
        for change in broken.changes if broken else ():
            _apply(change, source / "push_sender")
        figures = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", "soak", "--source", str(source), "--json", str(figures)]
        command += ["--recipients", str(recipients), "--seed", str(seed)]
        command += ["--minutes", str(MINUTES), *([] if killed else ["--no-kill"])]
        began = time.monotonic()
        process = subprocess.run(  # noqa: S603  our own command, no shell
            command, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        if not figures.exists():
            last_line = (process.stderr.strip().splitlines() or ["nothing"])[-1]
            return Attempt(name, None, f"it did not end ({last_line})", seconds)
        written = json.loads(figures.read_text())
    found = Counter(breach["what"] for breach in written["breaches"])
    if broken is None and found:
        sys.stderr.write(process.stdout)  # with the history of each breach
    what = ", ".join(f"{times:,} {what}" for what, times in sorted(found.items()))
    return Attempt(name, not found, what or "nothing", seconds)


def _apply(change: Change, package: Path) -> None:
    file = package / change.file
    text = file.read_text()
    if text.count(change.old) != 1:
        raise ValueError(f"{change.file} does not have exactly once: {change.old}")
    file.write_text(text.replace(change.old, change.new))


def _table(attempts: Sequence[Attempt]) -> Table:
    table = Table(box=box.MARKDOWN)
    for column in ("break of the function", "detected", "what the run found", "seconds"):
        table.add_column(column, no_wrap=True)
    for each in attempts:
        expected = each.name is None
        detected = "" if expected else "no" if each.kept else "yes"
        table.add_row(each.name or "none", detected, each.found, f"{each.seconds:.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
