"""Send batches with many concurrent calls, retry them, and stop at the deadline.

The caller's thread keeps all the state. Worker threads make the calls and classify the answers,
so that an odd call or answer affects only its own addresses. The SDK's retries are off. The
delivery retries throttled and temporarily failed addresses after a full-jitter backoff, and
whole calls after a 429, a 5xx, a broken connection or a timeout. A call that timed out may have
been delivered, so its retry may notify twice: a lost push is worse than a second one.

At the deadline, or when the caller stops the iteration, pushes that were not sent get the
outcome ``unsent``, and pushes without an answer ``unknown``. No call starts after that.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Final, NamedTuple

from push_sender.clients.calls import CallError, TooLateError, perform, permitted
from push_sender.delivery.batches import Batch
from push_sender.delivery.push_service import PushService, Writer
from push_sender.delivery.retries import RetryPolicy
from push_sender.outcomes.outcome import NO_ANSWER, AddressResult, Outcome
from push_sender.request.model import Recipient

DEADLINE: Final = AddressResult(Outcome.UNSENT, reason="deadline")
EXPIRED: Final = AddressResult(Outcome.UNSENT, reason="expired")

_GRACE_SECONDS: Final = 0.1
"""How long after the delivery's deadline the transport ends a call, so that only the delivery
decides what the deadline means for it."""

_CONCLUSIVE: Final = frozenset(
    {
        Outcome.ACCEPTED,
        Outcome.DEAD_TOKEN,
        Outcome.DUPLICATE,
        Outcome.INVALID_TOKEN,
        Outcome.OPTED_OUT,
    }
)
"""Outcomes of a retry that replace ``unknown``. Any other, such as a refusal of the retry, says
nothing about the first try, and to send the push again later would double it."""


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a delivery needs to know about one request.

    Attributes
    ----------
    batches
        What to send.
    recipients
        All recipients, by position.
    writer
        Writes the calls.
    deadline
        On the delivery's clock: when the delivery must end.
    accepted_at
        On the same clock: when the time to live began to run.
    """

    batches: Sequence[Batch]
    recipients: Sequence[Recipient]
    writer: Writer
    deadline: float
    accepted_at: float


@dataclass(slots=True)
class Delivered:
    """A batch that is done.

    Attributes
    ----------
    batch
        The batch.
    results
        The final result for each position.
    attempts
        The number of calls for each position.
    calls
        The number of calls, including retries.
    call_seconds
        The duration of each call that ended.
    """

    batch: Batch
    results: dict[int, AddressResult] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    call_seconds: list[float] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Attempt:
    """One call for some positions of a batch, for the nth time."""

    delivered: Delivered
    positions: Sequence[int]
    number: int = 1
    may_have_arrived: bool = False


class _Answer(NamedTuple):
    """The result of a call, by position."""

    seconds: float
    results: Mapping[int, AddressResult]
    is_lost: bool = False


class Delivery:
    """Delivers orders one after another, each with many concurrent calls.

    Parameters
    ----------
    push_service
        Makes the calls and classifies their answers, in many threads at once.
    concurrency
        Maximum number of concurrent calls.
    clock
        A monotonic clock, in seconds.
    retry_policy
        How often and how long to retry.
    """

    def __init__(
        self,
        push_service: PushService,
        *,
        concurrency: int,
        clock: Callable[[], float],
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        self.push_service = push_service
        self._concurrency = concurrency
        self._clock = clock
        self._retry_policy = retry_policy or RetryPolicy()
        self._workers = ThreadPoolExecutor(concurrency)

    def deliver(self, order: Order) -> Generator[Delivered, None, None]:
        """Send an order's batches, and yield each when it is done.

        An exception of a call becomes a result for its addresses. Closing the iterator ends
        the delivery like its deadline.
        """
        run = _Run(order, self.push_service, self._workers, self._clock, self._retry_policy)
        try:
            with closing(run.deliver()) as deliveries:
                yield from deliveries
        finally:
            if run.has_hanging_calls:
                # Their calls may hang in the threads, so the next order gets new ones.
                self._workers.shutdown(wait=False, cancel_futures=True)
                self._workers = ThreadPoolExecutor(self._concurrency)


class _Run:
    """The delivery of one order."""

    def __init__(
        self,
        order: Order,
        push_service: PushService,
        workers: ThreadPoolExecutor,
        clock: Callable[[], float],
        retry_policy: RetryPolicy,
    ) -> None:
        self.has_hanging_calls = False
        self._order = order
        self._push_service = push_service
        self._workers = workers
        self._clock = clock
        self._retry_policy = retry_policy
        self._last_start = order.deadline - retry_policy.least_call_seconds
        self._under_way: dict[Future[_Answer | AddressResult], _Attempt] = {}
        self._ended: SimpleQueue[Future[_Answer | AddressResult]] = SimpleQueue()
        self._waiting: list[tuple[float, int, _Attempt]] = []
        self._numbers = count()
        self._start = Lock()
        self._closed = False

    def deliver(self) -> Generator[Delivered, None, None]:
        try:
            for batch in self._order.batches:
                self._submit(_Attempt(Delivered(batch), batch.positions))
            while self._under_way or self._waiting:
                future = self._next_ended()
                if future is not None:
                    attempt = self._under_way.pop(future)
                    if self._record(attempt, future.result()):
                        yield attempt.delivered
                elif self._clock() >= self._order.deadline:
                    break  # all calls that have ended were recorded, however late it is
        finally:
            self._close()
        yield from self._unfinished()

    def _next_ended(self) -> Future[_Answer | AddressResult] | None:
        """Start the retries that are due, then wait until a call ends or a retry is due."""
        now = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            self._submit(heapq.heappop(self._waiting)[2])
        until = self._waiting[0][0] if self._waiting else self._order.deadline
        try:
            return self._ended.get(timeout=max(until - now, 0))
        except Empty:
            return None

    def _submit(self, attempt: _Attempt) -> None:
        future = self._workers.submit(self._call, attempt)
        self._under_way[future] = attempt
        future.add_done_callback(self._ended.put)

    def _call(self, attempt: _Attempt) -> _Answer | AddressResult:
        """Make a call and return its answer, or a result that says why it was not made."""
        service = attempt.delivered.batch.service
        started_at = self._clock()
        age = started_at - self._order.accepted_at
        ttl = self._order.writer.ttl(service)
        if ttl and age >= ttl:
            return EXPIRED
        permit = _Permit(self, attempt, self._order.deadline - started_at)
        try:
            permit.sending()  # also for a client that does not know permits
            with permitted(permit):
                results = perform(lambda: self._send(attempt, int(age)))
        except TooLateError:
            return DEADLINE
        except CallError as error:
            return _Answer(
                self._clock() - started_at,
                dict.fromkeys(attempt.positions, error.result),
                is_lost=error.is_lost,
            )
        return _Answer(self._clock() - started_at, results)

    def _send(self, attempt: _Attempt, age: int) -> Mapping[int, AddressResult]:
        """Make a call, and return the result for each position."""
        recipients = [self._order.recipients[at] for at in attempt.positions]
        call = self._order.writer.call(attempt.delivered.batch.group, recipients, age)
        results = self._push_service.send(call)
        return {
            at: results[recipient.token]
            for at, recipient in zip(attempt.positions, recipients, strict=True)
        }

    def begin_sending(self, attempt: _Attempt) -> bool:
        """Return whether a call may be sent now. If so, mark that it may have arrived."""
        with self._start:
            if self._closed or self._clock() >= self._last_start:
                return False
            attempt.may_have_arrived = True
            return True

    def _record(self, attempt: _Attempt, answer: _Answer | AddressResult) -> bool:
        """Record the result of a try, and return whether its batch is done."""
        delivered = attempt.delivered
        if isinstance(answer, AddressResult):
            self._fill_missing(attempt, answer)
            return True
        delivered.calls += 1
        delivered.call_seconds.append(answer.seconds)
        retryable = []
        for position, result in answer.results.items():
            if answer.is_lost or result.outcome is Outcome.TRANSIENT:
                retryable.append(position)
            earlier = delivered.results.get(position)
            if earlier and earlier.outcome is Outcome.UNKNOWN and result.outcome not in _CONCLUSIVE:
                result = result._replace(outcome=Outcome.UNKNOWN)
            delivered.results[position] = result
            delivered.attempts[position] = attempt.number
        return not (retryable and self._schedule_retry(attempt, retryable))

    def _schedule_retry(self, attempt: _Attempt, positions: Sequence[int]) -> bool:
        if attempt.number >= self._retry_policy.attempts:
            return False
        at = self._clock() + self._retry_policy.wait_after(attempt.number)
        if at >= self._last_start:
            return False
        retry = _Attempt(attempt.delivered, positions, attempt.number + 1)
        heapq.heappush(self._waiting, (at, next(self._numbers), retry))
        return True

    def _close(self) -> None:
        """End the run. No call starts after this."""
        with self._start:
            self._closed = True
        for future in self._under_way:
            self.has_hanging_calls |= not (future.cancel() or future.done())

    def _unfinished(self) -> Iterator[Delivered]:
        """Yield the batches that are not done at the deadline."""
        for attempt in self._under_way.values():
            if attempt.may_have_arrived:
                attempt.delivered.calls += 1
                for position in attempt.positions:
                    attempt.delivered.results[position] = NO_ANSWER
                    attempt.delivered.attempts[position] = attempt.number
            else:
                self._fill_missing(attempt, DEADLINE)
            yield attempt.delivered
        for _, _, attempt in self._waiting:
            yield attempt.delivered

    def _fill_missing(self, attempt: _Attempt, result: AddressResult) -> None:
        """Record this result for the positions that have none of an earlier try."""
        for position in attempt.positions:
            attempt.delivered.results.setdefault(position, result)
            attempt.delivered.attempts.setdefault(position, 0)


class _Permit:
    """The permit of one call, which the transport asks."""

    def __init__(self, run: _Run, attempt: _Attempt, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds + _GRACE_SECONDS
        self._run = run
        self._attempt = attempt

    def connecting(self) -> None:
        self._attempt.may_have_arrived = False

    def sending(self) -> None:
        if not self._run.begin_sending(self._attempt):
            raise TooLateError
