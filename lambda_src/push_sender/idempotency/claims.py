"""Claim idempotency keys: a request with a key is sent once in a day, even if a run is killed.

``memory`` says for how long, and what of it does not stand for a later run.

One conditional write claims the key before the first call, with the time by which this
invocation must have ended. Each batch that is done gets a record of its outcomes, so that a
later run that continues a killed one sends only the rest. Outcomes without a batch record when
the send ends (of a single batch, the last one, or one that could not be written) go into the
request's own record, which is then marked as done: two writes for up to 100 recipients.

Other threads write the batch records during the delivery, so that a slow table delays neither
calls nor retries. Before the send every error is safe: without a claim nothing is sent. After
it no error is raised: a report whose outcomes could not be stored has a warning.

Only a request with a key imports this module.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from push_sender.delivery.batches import Batch
from push_sender.delivery.run import Delivered, Delivery, Order
from push_sender.idempotency.memory import A_DAY, Memory
from push_sender.idempotency.records import Remembered, UnknownFormatError, pack, unpack
from push_sender.idempotency.store import CONNECTIONS, RequestRecord, Store, StoreError
from push_sender.idempotency.targets import Targets
from push_sender.outcomes.classification import refusal_of
from push_sender.outcomes.outcome import NO_ANSWER, AddressResult, Outcome, Refusal
from push_sender.request.errors import (
    Finding,
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
)

MARGIN_SECONDS: Final = 2.0
"""The time from a delivery's deadline until its invocation has surely ended: the reserve of the
entry point, plus the difference between the clocks of two machines."""

_FINISH_SECONDS: Final = 0.5
_FINISH_SHARE: Final = 0.1
"""Time kept after the delivery to mark the record as done; at most a share of its time."""

_LAST_SECONDS: Final = 0.1

_COMPLETE: Final = (Outcome.ACCEPTED, Outcome.NO_DEVICE, Outcome.DUPLICATE)
"""Outcomes whose results have no status message of the provider that would be missing."""

_CLAIM_SHARE: Final = 0.5
"""The claim may take at most this share of the time, so that enough is left for the send."""

_T = TypeVar("_T")


class Users(Protocol):
    """The recipients of a request that are users, and the devices chosen for them."""

    @property
    def without_call(self) -> Mapping[int, AddressResult]:
        """The results of the positions that nothing is sent to."""

    def targets(self, batches: Sequence[Batch]) -> Targets:
        """Return the chosen devices and the first positions of the batches."""

    def order_for(self, stored: Targets) -> Order:
        """Choose the devices of an earlier run again, and return the order for them."""


class Idempotency:
    """Claims idempotency keys.

    Parameters
    ----------
    store
        Stores the records.
    clock
        The delivery's clock.
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

    def claim(
        self,
        record_id: str,
        fingerprint: str,
        order: Order,
        users: Users | None = None,
        memory: Memory | None = None,
    ) -> Claim:
        """Claim a key for a request, and read what was already sent.

        Parameters
        ----------
        record_id, fingerprint
            The id of the key's record, and what the request is.
        order
            What to send.
        users
            The recipients of the request that are users; None if there are none.
        memory
            How the outcomes are kept; None for a day, all of them final.

        Raises
        ------
        IdempotencyConflict
            If the key was used for another request.
        IdempotencyInProgress
            If another invocation holds the key.
        IdempotencyStoreUnavailable
            If the store fails. If the claim was written nevertheless, it times out.
        """
        wall, memory = self._wall_clock(), memory or A_DAY
        left = max(order.deadline - self._clock(), 0)
        name, lapses_at = os.urandom(8).hex(), _lapses_at(wall, left)
        new = RequestRecord(
            id=record_id,
            fingerprint=fingerprint,
            run=name,
            holder=name,
            lapses_at=lapses_at,
            expiration=int(wall) + memory.seconds,
            targets=users.targets(order.batches).pack() if users is not None else None,
        )
        try:
            record, parts, planned = self._threads.call(
                lambda: self._take(new, wall, order, users), left * _CLAIM_SHARE
            )
            tools = _Tools(self._store, self._threads, self._clock, self._wall_clock, memory)
            return Claim(tools, planned, record, parts, users)
        except StoreError as error:
            raise IdempotencyStoreUnavailable(error.reason) from error
        except UnknownFormatError as error:
            raise IdempotencyStoreUnavailable("UnknownFormat") from error

    def chosen(self, record_id: str, seconds: float) -> Targets | None:
        """Return the devices that an earlier run of a request chose, or None.

        Parameters
        ----------
        record_id
            The id of the key's record.
        seconds
            The time for it.

        Raises
        ------
        IdempotencyStoreUnavailable
            If the store fails.
        """
        try:
            record = self._threads.call(
                lambda: self._store.request(record_id, self._wall_clock()), seconds
            )
            packed = record.targets if record is not None else None
            return Targets.unpack(packed) if packed is not None else None
        except StoreError as error:
            raise IdempotencyStoreUnavailable(error.reason) from error
        except UnknownFormatError as error:
            raise IdempotencyStoreUnavailable("UnknownFormat") from error

    def _take(
        self, new: RequestRecord, wall: float, order: Order, users: Users | None
    ) -> tuple[RequestRecord, dict[int, bytes], Order]:
        """Write a new record or take an existing one.

        Returns
        -------
        tuple
            The record, the outcomes of its batches, and the order for its devices.
        """
        existing = self._store.put_new(new, wall)
        # If the answer to the first try was lost, its retry finds the own record.
        if existing is None or existing.holder == new.holder:
            return new, {}, order
        if existing.fingerprint != new.fingerprint:
            raise IdempotencyConflict
        if not existing.done and existing.lapses_at > wall * 1_000:
            raise IdempotencyInProgress(existing.lapses_at / 1_000 - wall)
        targets = None
        if users is not None and existing.targets is not None:
            targets = Targets.unpack(existing.targets)
            if existing.targets != new.targets:
                order = users.order_for(targets)
        if existing.done:
            return existing, self._store.parts(existing, existing.parts), order
        # Read before taking the key: if reading fails, no other invocation has to wait.
        own = _own_outcomes(existing)
        planned = (
            targets.parts
            if targets is not None
            else _first_positions(_remaining(order.batches, own))
        )
        parts = self._store.parts(existing, planned)
        taken = replace(existing, holder=new.holder, lapses_at=new.lapses_at)
        if targets is not None:
            # The batches that are left may begin elsewhere. The next run must find them too.
            left = _remaining(order.batches, own | _remembered(parts.values()))
            every = sorted({*targets.parts, *_first_positions(left)})
            taken = replace(taken, targets=targets._replace(parts=every).pack())
        if not self._store.put_over(taken, existing.holder):  # another invocation was faster
            raise IdempotencyInProgress(new.lapses_at / 1_000 - wall)
        return taken, parts, order


class _Tools(NamedTuple):
    """What a claim works with."""

    store: Store
    threads: _Threads
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    memory: Memory


class Claim:
    """A key that this invocation holds, or one whose request is done.

    Attributes
    ----------
    results, attempts
        The stored results and attempts of an earlier run, by position.
    replays
        Whether an earlier run sent everything, so that this one sends nothing.
    untried
        After the delivery: whether the service refused every call for the same reason.
    write_error
        After the delivery: why its outcomes could not be stored, or None.
    """

    def __init__(
        self,
        tools: _Tools,
        order: Order,
        record: RequestRecord,
        parts: Mapping[int, bytes],
        users: Users | None,
    ) -> None:
        self._own = _own_outcomes(record)
        remembered = _remembered(parts.values()) | self._own
        if record.done:  # a record may have expired just now: its outcomes are unknown
            for position in (position for batch in order.batches for position in batch.positions):
                remembered.setdefault(position, Remembered(NO_ANSWER, 1))
        self.results = {position: each.result for position, each in remembered.items()}
        self.attempts = {position: each.attempts for position, each in remembered.items()}
        self.untried = False
        self.write_error: str | None = None
        self._replaced = sum(each.replaced for each in remembered.values())
        self._tools = tools
        self._store, self._threads, self._clock, *_, self._memory = tools
        self._deadline = order.deadline
        self._record = record
        self._users = users
        self._parts = list(parts)
        self._writes: list[tuple[Future[None], Delivered]] = []
        kept = max(order.deadline - self._clock(), 0) * _FINISH_SHARE
        self._planned = order
        self._order = replace(
            order,
            batches=_remaining(order.batches, remembered),
            deadline=order.deadline - min(_FINISH_SECONDS, kept),
        )
        is_first = not record.done and record.holder == record.run
        self.replays = not is_first and not self._order.batches

    def deliver(
        self, delivery: Delivery, *, forget_untried: bool = False
    ) -> Generator[Delivered, None, None]:
        """Send the remaining batches, and store their outcomes.

        If the caller stops the iteration early, the claim is not finished and times out.

        Parameters
        ----------
        delivery
            Sends the batches.
        forget_untried
            Whether to free the key if nothing was tried.
        """
        if self._record.done:
            return
        unwritten: list[Delivered] = []
        batches_left = len(self._order.batches)
        refusals: set[Refusal | None] = {None} if self.results else set()
        with closing(delivery.deliver(self._order)) as deliveries:
            for delivered in deliveries:
                batches_left -= 1
                if None not in refusals:
                    results = delivered.results.values()
                    refusals.update(refusal_of(*result[:4]) for result in results)
                if batches_left and delivered.calls and self._clock() < self._order.deadline:
                    self._write(delivered)
                else:
                    unwritten.append(delivered)
                yield delivered
        self.untried = None not in refusals and len(refusals) == 1
        if self.untried and forget_untried:
            self.forget()
        else:
            self._finish(unwritten)

    def again(self, results: Sequence[Mapping[str, Any]]) -> Claim | None:
        """Keep which recipients were requeued. Take the key to send again what does not stand.

        Only a run that sent nothing, because an earlier one sent everything, sends again. It
        takes the key on condition that nothing has changed since it read the outcomes. Those
        that stand go into the new record, and the batch records of earlier runs do not count.

        Parameters
        ----------
        results
            The results of the report, after what can be requeued is on the queue.

        Returns
        -------
        Claim or None
            The claim of the second send; None if there is nothing to send again.

        Raises
        ------
        IdempotencyInProgress, IdempotencyStoreUnavailable
            If the key could not be taken. Nothing was sent again.
        """
        if not self._record.done:  # the outcomes could not be stored
            return None
        outcomes = [_stored(result) for result in results]
        standing = {
            at: each for at, each in enumerate(outcomes) if each.outcome not in self._memory.again
        }
        attempts = {at: result["attempts"] for at, result in enumerate(results)}
        if self.replays and len(standing) < len(outcomes):
            return self._taken(self._pack(standing, attempts), standing)
        if any(
            each.outcome is Outcome.REQUEUED and self.results.get(at, NO_ANSWER)[0] != each.outcome
            for at, each in standing.items()
        ):
            packed = self._pack(dict(enumerate(outcomes)), attempts)
            self._write_last(replace(self._record, outcomes=packed, parts=()))
        return None

    def _taken(self, outcomes: bytes, standing: Mapping[int, AddressResult]) -> Claim:
        wall, name = self._tools.wall_clock(), os.urandom(8).hex()
        targets = self._record.targets
        if targets is not None:
            parts = _first_positions(_remaining(self._planned.batches, standing))
            targets = Targets.unpack(targets)._replace(parts=parts).pack()
        record = replace(
            self._record,
            run=name,
            holder=name,
            lapses_at=_lapses_at(wall, max(self._deadline - self._clock(), 0)),
            expiration=int(wall) + self._memory.seconds,
            done=False,
            outcomes=outcomes,
            parts=(),
            targets=targets,
        )
        try:
            if not self._put_over(record):
                raise IdempotencyInProgress(record.lapses_at / 1_000 - wall)
        except StoreError as error:
            raise IdempotencyStoreUnavailable(error.reason) from error
        return Claim(self._tools, self._planned, record, {}, self._users)

    def forget(self) -> None:
        """Free the key: write its record as already expired, so that it no longer counts."""
        written_at = self._record.expiration - self._memory.seconds
        self._write_last(replace(self._record, expiration=written_at))

    def warnings(self) -> Iterator[Finding]:
        """Warn about fields that the report lacks, and about outcomes that are not stored."""
        failed = any(result.outcome not in _COMPLETE for result in self.results.values())
        if failed or self._replaced:
            tokens = f"; {self._replaced:,} had a replacement_token" if self._replaced else ""
            yield Finding(
                "idempotency_key",
                "results of an earlier invocation are without status_message and "
                f"replacement_token, which are not kept{tokens}",
            )
        if self.write_error is not None:
            yield Finding(
                "idempotency_key",
                f"this report stands but could not be kept ({self.write_error}): the same request "
                "is refused for half a minute, and after that sent again, in part or whole",
            )

    def _write(self, delivered: Delivered) -> None:
        part = delivered.batch.positions[0]
        outcomes = self._pack(delivered.results, delivered.attempts)
        write = self._threads.submit(lambda: self._store.put_part(self._record, part, outcomes))
        self._writes.append((write, delivered))

    def _finish(self, unwritten: list[Delivered]) -> None:
        """Mark the record as done, with all outcomes that have no batch record."""
        for write, delivered in self._writes:
            if write.done() and _succeeded(write):
                self._parts.append(delivered.batch.positions[0])
            else:
                write.cancel()
                unwritten.append(delivered)
        results: dict[int, AddressResult] = {}
        if self._users is not None:  # a repetition may find other devices fitting
            results.update(self._users.without_call)
            for position in self.results:
                results.pop(position, None)
        attempts = dict.fromkeys(results, 0)
        for position, each in self._own.items():
            results[position], attempts[position] = each.result, each.attempts
        for delivered in unwritten:
            results |= delivered.results
            attempts |= delivered.attempts
        self._write_last(
            replace(
                self._record,
                done=True,
                parts=tuple(sorted(self._parts)),
                outcomes=self._pack(results, attempts) if results else None,
            )
        )

    def _pack(self, results: Mapping[int, AddressResult], attempts: Mapping[int, int]) -> bytes:
        return pack(results, attempts, has_message_ids=self._memory.has_message_ids)

    def _write_last(self, record: RequestRecord) -> None:
        """Write the record for the last time, and wait for the batch records under way."""
        try:
            if self._put_over(record):
                self.write_error, self._record = None, record
            else:
                self.write_error = "TakenOver"
        except StoreError as error:
            self.write_error = error.reason
        self._threads.wait_for_batches([write for write, _ in self._writes], self._left)

    def _put_over(self, record: RequestRecord) -> bool:
        """Write the record, unless another invocation took the key since it was read."""
        holder = self._record.holder
        return self._threads.call(lambda: self._store.put_over(record, holder), self._left)

    @property
    def _left(self) -> float:
        """The seconds for the last write; after a late delivery they come from the reserve."""
        return max(self._deadline - self._clock(), _LAST_SECONDS)


class _Threads:
    """The threads that call the store, with time limits.

    Request records have their own thread, so that they never wait for batch records.
    """

    def __init__(self) -> None:
        self._for_requests = ThreadPoolExecutor(1)
        self._for_batches = ThreadPoolExecutor(CONNECTIONS - 1)

    def call(self, work: Callable[[], _T], seconds: float) -> _T:
        """Run a function in a thread and wait for its result, with a time limit.

        Raises
        ------
        StoreError
            If it takes longer than ``seconds``. Its thread is abandoned.
        """
        future = self._for_requests.submit(work)
        if wait([future], timeout=seconds).not_done:
            self._for_requests.shutdown(wait=False)
            self._for_requests = ThreadPoolExecutor(1)
            raise StoreError("Timeout")
        return future.result()

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Run a function in a thread without waiting for it."""
        return self._for_batches.submit(work)

    def wait_for_batches(self, futures: Sequence[Future[_T]], seconds: float) -> None:
        """Wait for running writes; abandon those that take longer, with their threads."""
        under_way = [future for future in futures if not future.cancelled()]
        if wait(under_way, timeout=seconds).not_done:
            self._for_batches.shutdown(wait=False)
            self._for_batches = ThreadPoolExecutor(CONNECTIONS - 1)


def _lapses_at(wall: float, seconds: float) -> int:
    """Return when an invocation with so many seconds left has surely ended."""
    return math.ceil((wall + seconds + MARGIN_SECONDS) * 1_000)


def _own_outcomes(record: RequestRecord) -> dict[int, Remembered]:
    """Read the outcomes that stand in a request's own record."""
    return unpack(record.outcomes) if record.outcomes else {}


def _stored(result: Mapping[str, Any]) -> AddressResult:
    """Return a result of a report as far as it is kept."""
    return AddressResult(
        Outcome(result["outcome"]),
        result["delivery_status"],
        result["status_code"],
        result["reason"],
        message_id=result["message_id"],
    )


def _first_positions(batches: Iterable[Batch]) -> list[int]:
    return [batch.positions[0] for batch in batches]


def _remembered(packed: Iterable[bytes]) -> dict[int, Remembered]:
    """Read the outcomes of several records, by position."""
    return {position: each for some in packed for position, each in unpack(some).items()}


def _remaining(planned: Sequence[Batch], known: Collection[int]) -> list[Batch]:
    """Return the batches without the recipients whose results are known."""
    if not known:
        return list(planned)
    rest = (
        Batch(batch.group, [position for position in batch.positions if position not in known])
        for batch in planned
    )
    return [batch for batch in rest if batch.positions]


def _succeeded(write: Future[None]) -> bool:
    try:
        write.result()
    except StoreError:
        return False
    return True
