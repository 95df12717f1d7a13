"""The step of a child: it sends its rows, once, and counts them.

The order loses nothing if the process is killed, and sends nothing twice. The outcomes are stored
under the key of the rows, then those to send later are queued under derived keys, which is stored
too. Only then are the rows counted, in place of what an earlier run counted. A child that runs
again begins at the first of these steps that is not done. If all is done, it sends again what may
succeed now: see ``idempotency.memory.ROWS_OF_JOB``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from push_sender.follow_up.destinations import FollowUp
from push_sender.follow_up.submission import Submission, job_sender
from push_sender.idempotency.memory import ROWS_OF_JOB
from push_sender.jobs.child import Stores, Tally, finish, read_rows
from push_sender.jobs.columns import Recipients
from push_sender.jobs.errors import MostlyRefused, OutOfTime
from push_sender.jobs.plan import Plan, RowRange, wait_after
from push_sender.jobs.recipients import (
    Numbered,
    add_results,
    leaving_out_refused,
    parts_of,
    request_for,
    without_repeated,
)
from push_sender.outcomes.outcome import Outcome
from push_sender.report import Report, changes_tokens
from push_sender.request.errors import IdempotencyInProgress, InvalidRequest
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry

_FINISH_SECONDS: Final = 6.0
_QUEUE_SECONDS: Final = 2.0
_SEND_SECONDS: Final = 4.0
"""Time kept to count and to list the rows, before that to queue some, and the least to send."""

_REFUSED: Final = (Outcome.REJECTED, Outcome.MISCONFIGURED)
_NOT_SENT_TO: Final = (Outcome.DUPLICATE, Outcome.NO_DEVICE, Outcome.UNSENT)


class _Moments(NamedTuple):
    """When each part of the step must end, on ``time.monotonic``."""

    send: float
    queue: float
    finish: float

    @classmethod
    def until(cls, end: float) -> _Moments:
        finish = end - _FINISH_SECONDS
        return cls(finish - _QUEUE_SECONDS, finish, end)


@dataclass(frozen=True, slots=True)
class RowsStep:
    """Sends the rows of children.

    Attributes
    ----------
    sender
        Sends requests.
    follow_up
        Queues what is sent later, and tells the registry about tokens.
    stores
        Where the job keeps things.
    telemetry
        Logs and counts.
    """

    sender: Sender
    follow_up: FollowUp
    stores: Stores
    telemetry: Telemetry

    def run(self, plan: Plan, rows: RowRange, *, end: float) -> dict[str, int]:
        """Send the rows of a child, and return how long it waits after that.

        Parameters
        ----------
        plan, rows
            The job, and the part of its file.
        end
            When everything must be done, on ``time.monotonic``.

        Raises
        ------
        SourceChanged, SourceUnavailable
            If the rows could not be read.
        InvalidRequest
            If the request cannot be sent to any of them.
        IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
            As ``Sender.send``.
        RegistryUnavailable
            As ``Sender.send``.
        QueueUnavailable, JobStoreUnavailable, OutOfTime
            If the step must be repeated.
        MostlyRefused
            If this run sent something, and the message or the channel is wrong. A child for
            which an earlier run did all that can be done does not raise it, so that a redrive
            ends.
        """
        started_at, moments = time.monotonic(), _Moments.until(end)
        self.telemetry.sent_by(job_sender(plan.job))
        tally = Tally()
        made = tally.take(
            read_rows(plan, rows, self.stores, last_start=moments.send - _SEND_SECONDS),
            Recipients(plan.request or {}, ignore_opt_out=plan.ignore_opt_out).of,
        )
        parts = list(parts_of(without_repeated(made, tally)))
        replayed = True
        for number, part in enumerate(parts, 1):
            key = f"job/{plan.job}/{rows.first_row}" + (f".{number}" if len(parts) > 1 else "")
            send = partial(self._preview if plan.dry_run else self._send, plan, key, moments)
            report, sent = leaving_out_refused(part, send, tally, check=partial(self._check, plan))
            if report is not None:
                add_results(sent, report["results"], tally)
                replayed &= report["replayed"]
        counts = finish(plan, rows, tally, self.stores, last_start=end - _FINISH_SECONDS / 2)
        self.telemetry.info(
            "job rows handled",
            job=plan.job,
            first_row=rows.first_row,
            counts=counts,
            replayed=replayed,
        )
        refused = sum(counts.get(outcome, 0) for outcome in _REFUSED)
        sent_to = sum(counts.get(outcome, 0) for outcome in Outcome if outcome not in _NOT_SENT_TO)
        if refused * 2 > sent_to and not replayed:
            raise MostlyRefused(refused, sent_to)
        seconds = time.monotonic() - started_at
        wait = wait_after(tally.rows, plan.tokens_per_second, waited=rows.wait, seconds=seconds)
        return {"wait": wait}

    def _send(self, plan: Plan, key: str, moments: _Moments, rows: Sequence[Numbered]) -> Report:
        """Send some rows, or return what an earlier run sent; queue what is sent later."""
        request = request_for(plan.request or {}, plan.application_id, rows)
        now, sent_by = round(time.time() * 1_000), job_sender(plan.job)
        submission = Submission(request, key, now, sent_by=sent_by, is_signed=True)

        def queue(report: Report) -> bool:
            last_start = moments.queue
            if changes_tokens(report):  # first: replacements are not stored
                self.follow_up.update_tokens(submission, report, last_start=last_start, is_job=True)
            return self.follow_up.requeue(submission, report, last_start=last_start, is_job=True)

        while True:
            left = moments.send - _SEND_SECONDS - time.monotonic()
            if left < 0:
                raise OutOfTime
            try:
                return self.sender.send(
                    request,
                    deadline=moments.send,
                    default_key=f"\0{key}",  # no caller's key has this character
                    requeue=queue,
                    memory=ROWS_OF_JOB,
                )
            except IdempotencyInProgress as error:  # another run, which may have been killed
                if left < error.seconds:
                    raise
                time.sleep(error.seconds)

    def _check(self, plan: Plan, rows: Sequence[Numbered]) -> None:
        self.sender.check(request_for(plan.request or {}, plan.application_id, rows))

    def _preview(self, plan: Plan, key: str, moments: _Moments, rows: Sequence[Numbered]) -> Report:
        """Check some rows and send nothing, in parts whose calls an answer would have room for."""
        request = request_for(plan.request or {}, plan.application_id, rows)
        try:
            return self.sender.send({**request, "dry_run": True}, deadline=moments.send)
        except InvalidRequest as error:
            if {each.path for each in error.errors} != {"dry_run"}:
                raise
        middle = len(rows) // 2
        first, second = (
            self._preview(plan, key, moments, half) for half in (rows[:middle], rows[middle:])
        )
        return {**first, "results": [*first["results"], *second["results"]]}
