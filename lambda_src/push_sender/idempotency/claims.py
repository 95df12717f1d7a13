"""Same key, same effect: a request is sent once within a day, whatever happens to a run.

A key is claimed before the first call, by one conditional write, and with it a time by which
the invocation that took it must have ended. Each batch that is done leaves its outcomes, so
that a run which goes on where another was ended sends only what that one was about to
send. What no batch record holds when all is done - a single batch, the last one, those
that could not be written - goes into the request's own record along with the word that it
is done: two writes for up to 100 recipients.

Batch records are written beside the delivery, in threads of their own, so that a slow
table delays neither calls nor retries. Before a send everything fails safe: no claim, no
send. After it nothing fails: a report whose outcomes could not be kept says so.

Loaded only by a request with a key.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from typing import Final, TypeVar

from push_sender.delivery.batches import Batch
from push_sender.delivery.run import Delivered, Delivery, Order
from push_sender.idempotency.records import Remembered, UnknownFormatError, pack, unpack
from push_sender.idempotency.store import CONNECTIONS, RequestRecord, Store, StoreError
from push_sender.outcomes.classification import refusal_of
from push_sender.outcomes.outcome import NO_ANSWER, Outcome, Refusal, Verdict
from push_sender.request.errors import (
    Finding,
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
)

MEMORY_SECONDS: Final = 24 * 3_600

MARGIN_SECONDS: Final = 2.0
"""From a delivery's deadline to when its invocation is surely gone: the reserve that an entry
point keeps back, and what the clocks of two machines may differ."""

_FINISH_SECONDS: Final = 0.5
_FINISH_SHARE: Final = 0.1
"""Kept back from the delivery to write down that all is done; at most a share of its time."""

_LAST_SECONDS: Final = 0.1

_CLAIM_SHARE: Final = 0.5
"""The claim may take this share of the time: a send that begins too late sends little."""

_T = TypeVar("_T")


class Idempotency:
    """Claims keys.

    Parameters
    ----------
    store
        Remembers them.
    clock
        The delivery's.
    wall_clock
        Unix time, the same on all machines.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._threads = _Threads()

    def claim(self, record_id: str, fingerprint: str, order: Order) -> Claim:
        """Claim a key for a request, and find out what of it was sent already.

        Raises
        ------
        IdempotencyConflict
            If the key stands for another request.
        IdempotencyInProgress
            If another invocation holds it.
        IdempotencyStoreUnavailable
            If the store fails. Should the claim have reached it all the same, it lapses.
        """
        now, wall = self._clock(), self._wall_clock()
        left = max(order.deadline - now, 0)
        name = os.urandom(8).hex()
        mine = RequestRecord(
            id=record_id,
            fingerprint=fingerprint,
            run=name,
            holder=name,
            lapses_at=math.ceil((wall + left + MARGIN_SECONDS) * 1_000),
            expiration=int(wall) + MEMORY_SECONDS,
        )
        try:
            record, parts = self._threads.call(
                lambda: self._take(mine, wall, order.batches), left * _CLAIM_SHARE
            )
            return Claim(self._store, self._threads, self._clock, order, record, parts)
        except StoreError as error:
            raise IdempotencyStoreUnavailable(error.reason) from error
        except UnknownFormatError as error:
            raise IdempotencyStoreUnavailable("UnknownFormat") from error

    def _take(
        self, mine: RequestRecord, wall: float, planned: Sequence[Batch]
    ) -> tuple[RequestRecord, dict[int, bytes]]:
        """Write a record, or find what is there: the record that holds, and its batches'."""
        there = self._store.put_new(mine, wall)
        # A put whose answer was lost, and that was tried again, finds its own record.
        if there is None or there.holder == mine.holder:
            return mine, {}
        if there.fingerprint != mine.fingerprint:
            raise IdempotencyConflict
        if there.done:
            return there, self._store.parts(there, there.parts)
        if there.lapses_at > wall * 1_000:
            raise IdempotencyInProgress(there.lapses_at / 1_000 - wall)
        # Read before it is taken: should the reading fail, nobody has to wait for us.
        parts = self._store.parts(there, (batch.positions[0] for batch in planned))
        taken = replace(there, holder=mine.holder, lapses_at=mine.lapses_at)
        if not self._store.put_over(taken, there.holder):  # a twin was quicker
            raise IdempotencyInProgress(mine.lapses_at / 1_000 - wall)
        return taken, parts


class Claim:
    """A key that this invocation holds, or one whose request is done.

    Attributes
    ----------
    verdicts, attempts
        What is remembered of an earlier run, by position.
    untried
        Once all is delivered: whether the service threw every call back, all for one reason.
    lost
        Once all is delivered: why that could not be written down, or None.
    """

    def __init__(
        self,
        store: Store,
        threads: _Threads,
        clock: Callable[[], float],
        order: Order,
        record: RequestRecord,
        parts: Mapping[int, bytes],
    ) -> None:
        remembered: dict[int, Remembered] = {}
        for packed in (*parts.values(), *([record.outcomes] if record.outcomes else [])):
            remembered |= unpack(packed)
        if record.done:  # what of it DynamoDB has deleted in this very moment, nobody knows
            for position in (position for batch in order.batches for position in batch.positions):
                remembered.setdefault(position, Remembered(NO_ANSWER, 1))
        self.verdicts = {position: one.verdict for position, one in remembered.items()}
        self.attempts = {position: one.attempts for position, one in remembered.items()}
        self.untried = False
        self.lost: str | None = None
        self._replaced = sum(one.replaced for one in remembered.values())
        self._store = store
        self._threads = threads
        self._clock = clock
        self._deadline = order.deadline
        self._record = record
        self._parts = list(parts)
        self._writes: list[tuple[Future[None], Delivered]] = []
        kept = max(order.deadline - clock(), 0) * _FINISH_SHARE
        self._order = replace(
            order,
            batches=_without(order.batches, remembered),
            deadline=order.deadline - min(_FINISH_SECONDS, kept),
        )

    @property
    def replays(self) -> bool:
        """Whether all was sent before, and nothing is sent now."""
        return not self._order.batches

    def deliver(
        self, delivery: Delivery, *, forget_untried: bool = False
    ) -> Generator[Delivered, None, None]:
        """Send what remains to be sent, and write down what becomes of it.

        If not all is taken from here, the claim stays as it is, and lapses.

        Parameters
        ----------
        delivery
            Sends it.
        forget_untried
            Whether the key is free again where nothing was tried.
        """
        if self._record.done:
            return
        carried: list[Delivered] = []
        left = len(self._order.batches)
        refusals: set[Refusal | None] = {None} if self.verdicts else set()
        with closing(delivery.deliver(self._order)) as deliveries:
            for delivered in deliveries:
                left -= 1
                if None not in refusals:
                    verdicts = delivered.verdicts.values()
                    refusals.update(refusal_of(*verdict[:4]) for verdict in verdicts)
                if left and delivered.calls and self._clock() < self._order.deadline:
                    self._write(delivered)
                else:
                    carried.append(delivered)
                yield delivered
        self.untried = None not in refusals and len(refusals) == 1
        if self.untried and forget_untried:
            self.forget()
        else:
            self._finish(carried)

    def forget(self) -> None:
        """Free the key: its record has expired since it was written, and counts for none."""
        written_at = self._record.expiration - MEMORY_SECONDS
        self._write_last(replace(self._record, expiration=written_at))

    def warnings(self) -> Iterator[Finding]:
        """Tell what the report lacks, and what will not be remembered."""
        failed = any(verdict.outcome is not Outcome.ACCEPTED for verdict in self.verdicts.values())
        if failed or self._replaced:
            tokens = f"; {self._replaced:,} had a replacement_token" if self._replaced else ""
            yield Finding(
                "idempotency_key",
                "results of an earlier invocation are without status_message and "
                f"replacement_token, which are not kept{tokens}",
            )
        if self.lost is not None:
            yield Finding(
                "idempotency_key",
                f"this report stands but could not be kept ({self.lost}): the same request is "
                "refused for half a minute, and after that sent again, in part or whole",
            )

    def _write(self, delivered: Delivered) -> None:
        part = delivered.batch.positions[0]
        outcomes = pack(delivered.verdicts, delivered.attempts)
        write = self._threads.submit(lambda: self._store.put_part(self._record, part, outcomes))
        self._writes.append((write, delivered))

    def _finish(self, carried: list[Delivered]) -> None:
        """Write that all is done, with every outcome that has no record of its own yet."""
        for write, delivered in self._writes:
            if write.done() and _succeeded(write):
                self._parts.append(delivered.batch.positions[0])
            else:
                write.cancel()
                carried.append(delivered)
        verdicts: dict[int, Verdict] = {}
        attempts: dict[int, int] = {}
        for delivered in carried:
            verdicts |= delivered.verdicts
            attempts |= delivered.attempts
        self._write_last(
            replace(
                self._record,
                done=True,
                parts=tuple(sorted(self._parts)),
                outcomes=pack(verdicts, attempts) if verdicts else None,
            )
        )

    def _write_last(self, record: RequestRecord) -> None:
        """Write the record for the last time, and wait for what is being written beside it."""
        try:
            finished = self._threads.call(
                lambda: self._store.put_over(record, record.holder), self._left
            )
            self.lost = None if finished else "TakenOver"
        except StoreError as error:
            self.lost = error.reason
        self._threads.settle([write for write, _ in self._writes], self._left)

    @property
    def _left(self) -> float:
        """The seconds for a last word: of a delivery that ended late, the entry point's reserve."""
        return max(self._deadline - self._clock(), _LAST_SECONDS)


class _Threads:
    """The threads that talk to the store, and the patience with them.

    Claims and last words have one of their own, and never queue behind records.
    """

    def __init__(self) -> None:
        self._for_words = ThreadPoolExecutor(1)
        self._for_records = ThreadPoolExecutor(CONNECTIONS - 1)

    def call(self, work: Callable[[], _T], seconds: float) -> _T:
        """Do something and wait for it, but not longer than so many seconds.

        Raises
        ------
        StoreError
            If it takes longer. Its thread is left behind.
        """
        future = self._for_words.submit(work)
        if wait([future], timeout=seconds).not_done:
            self._for_words.shutdown(wait=False)
            self._for_words = ThreadPoolExecutor(1)
            raise StoreError("Timeout")
        return future.result()

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Do something meanwhile."""
        return self._for_records.submit(work)

    def settle(self, futures: Sequence[Future[_T]], seconds: float) -> None:
        """Wait for what is under way; leave behind what takes longer, and its threads."""
        under_way = [future for future in futures if not future.cancelled()]
        if wait(under_way, timeout=seconds).not_done:
            self._for_records.shutdown(wait=False)
            self._for_records = ThreadPoolExecutor(CONNECTIONS - 1)


def _without(planned: Sequence[Batch], known: Mapping[int, Remembered]) -> list[Batch]:
    """Take out of the batches whoever is known already."""
    if not known:
        return list(planned)
    rest = (
        Batch(batch.service, [position for position in batch.positions if position not in known])
        for batch in planned
    )
    return [batch for batch in rest if batch.positions]


def _succeeded(write: Future[None]) -> bool:
    try:
        write.result()
    except StoreError:
        return False
    return True
