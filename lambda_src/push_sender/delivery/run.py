"""Batches out, verdicts in, under one deadline.

The caller's thread keeps all the state. Workers make the calls and judge the answers, so that
a call or an answer of any form concerns its own addresses alone. Retries are ours alone and
per address: the delivery retries throttled and temporarily failed addresses after a
full-jitter backoff, and whole calls that met a 429, a 5xx, a broken connection or a timeout.
A call that timed out may have been delivered, so its retry may notify twice: a lost push is
worse than a second one.

When the deadline comes, or the caller takes no more, what was not sent stays unsent and what
was sent ends unknown. No first byte goes out after that.
"""

from __future__ import annotations

import heapq
import random
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
from push_sender.delivery.provider import Provider, Writer
from push_sender.outcomes.outcome import NO_ANSWER, Outcome, Verdict
from push_sender.request.model import Recipient

DEADLINE: Final = Verdict(Outcome.UNSENT, reason="deadline")
EXPIRED: Final = Verdict(Outcome.UNSENT, reason="expired")

_GRACE_SECONDS: Final = 0.1
"""How much later than the delivery the transport ends a call, so that what the deadline means
for the call is decided in one place."""

_KNOWN: Final = frozenset(
    {
        Outcome.ACCEPTED,
        Outcome.DEAD_TOKEN,
        Outcome.DUPLICATE,
        Outcome.INVALID_TOKEN,
        Outcome.OPTED_OUT,
    }
)
"""What a retry's answer settles after a try that may have arrived. A refusal of the retry says
nothing about the first try, and sending the push again would double it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try.

    Attributes
    ----------
    attempts
        Calls that may name one address.
    backoff_seconds
        Upper bound of the first wait. It doubles with each try, and each wait is drawn
        evenly from nothing to the bound (full jitter).
    least_call_seconds
        With less than this left no call is started: its answer would come too late.
    """

    attempts: int = 4
    backoff_seconds: float = 0.25
    least_call_seconds: float = 0.25

    def wait_after(self, attempt: int) -> float:
        """Draw the seconds to wait after a try, counted from 1."""
        bound = self.backoff_seconds * 2.0 ** (attempt - 1)
        return random.uniform(0, bound)  # noqa: S311  jitter, not a secret


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a delivery needs to know of one request.

    Attributes
    ----------
    batches
        What to send.
    recipients
        Everyone, by position.
    writer
        Writes the calls.
    deadline
        On the delivery's clock: when the last verdict is in at the latest.
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
    """What became of a batch.

    Attributes
    ----------
    batch
        The batch.
    verdicts
        The last word on each of its positions.
    attempts
        Calls that named each of its positions.
    calls
        Calls made, the retries among them.
    call_seconds
        How long each call took that came to an end.
    """

    batch: Batch
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    call_seconds: list[float] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Try:
    """One call to make: some positions of a batch, for the nth time."""

    delivered: Delivered
    positions: Sequence[int]
    number: int = 1
    may_have_arrived: bool = False


class _Answer(NamedTuple):
    """What a call came to, by position."""

    seconds: float
    verdicts: Mapping[int, Verdict]
    is_lost: bool = False


class Delivery:
    """Delivers orders, one after the other, each with many calls at once.

    Parameters
    ----------
    provider
        Makes the calls and classifies their answers; used by many threads at once.
    concurrency
        Calls under way at once, at most.
    clock
        Seconds that only go forward.
    patience
        How often and how long to try.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        concurrency: int,
        clock: Callable[[], float],
        patience: Patience | None = None,
    ) -> None:
        self.provider = provider
        self._concurrency = concurrency
        self._clock = clock
        self._patience = patience or Patience()
        self._workers = ThreadPoolExecutor(concurrency)

    def deliver(self, order: Order) -> Generator[Delivered, None, None]:
        """Send an order's batches, and yield each when nothing more is to be done for it.

        Whatever a call raises becomes a verdict on its addresses. Closing the iterator ends
        the delivery as its deadline does.
        """
        run = _Run(order, self.provider, self._workers, self._clock, self._patience)
        try:
            with closing(run.deliver()) as deliveries:
                yield from deliveries
        finally:
            if run.left_behind:
                # Their threads hold calls that hang. The next order gets workers of its own.
                self._workers.shutdown(wait=False, cancel_futures=True)
                self._workers = ThreadPoolExecutor(self._concurrency)


class _Run:
    """The delivery of one order."""

    def __init__(
        self,
        order: Order,
        provider: Provider,
        workers: ThreadPoolExecutor,
        clock: Callable[[], float],
        patience: Patience,
    ) -> None:
        self.left_behind = False
        self._order = order
        self._provider = provider
        self._workers = workers
        self._clock = clock
        self._patience = patience
        self._last_start = order.deadline - patience.least_call_seconds
        self._under_way: dict[Future[_Answer | Verdict], _Try] = {}
        self._ended: SimpleQueue[Future[_Answer | Verdict]] = SimpleQueue()
        self._waiting: list[tuple[float, int, _Try]] = []
        self._numbers = count()
        self._start = Lock()
        self._closed = False

    def deliver(self) -> Generator[Delivered, None, None]:
        try:
            for batch in self._order.batches:
                self._submit(_Try(Delivered(batch), batch.positions))
            while self._under_way or self._waiting:
                future = self._next_ended()
                if future is not None:
                    attempt = self._under_way.pop(future)
                    if self._settle(attempt, future.result()):
                        yield attempt.delivered
                elif self._clock() >= self._order.deadline:
                    break  # and what has ended by now was taken in, however late we are
        finally:
            self._close()
        yield from self._give_up()

    def _next_ended(self) -> Future[_Answer | Verdict] | None:
        """Send what has waited long enough, then wait for a call to end or for the next."""
        now = self._clock()
        while self._waiting and self._waiting[0][0] <= now:
            self._submit(heapq.heappop(self._waiting)[2])
        until = self._waiting[0][0] if self._waiting else self._order.deadline
        try:
            return self._ended.get(timeout=max(until - now, 0))
        except Empty:
            return None

    def _submit(self, attempt: _Try) -> None:
        future = self._workers.submit(self._call, attempt)
        self._under_way[future] = attempt
        future.add_done_callback(self._ended.put)

    def _call(self, attempt: _Try) -> _Answer | Verdict:
        """Make a call. A verdict in place of an answer says why it was not made."""
        service = attempt.delivered.batch.service
        started_at = self._clock()
        age = started_at - self._order.accepted_at
        ttl = self._order.writer.ttl(service)
        if ttl and age >= ttl:
            return EXPIRED
        permit = _Permit(self, attempt, self._order.deadline - started_at)
        try:
            permit.sending()  # also for a client that knows no permits
            with permitted(permit):
                verdicts = perform(lambda: self._send(attempt, int(age)))
        except TooLateError:
            return DEADLINE
        except CallError as error:
            return _Answer(
                self._clock() - started_at,
                dict.fromkeys(attempt.positions, error.verdict),
                is_lost=error.is_lost,
            )
        return _Answer(self._clock() - started_at, verdicts)

    def _send(self, attempt: _Try, age: int) -> Mapping[int, Verdict]:
        """Make a call, and give the verdict on each position."""
        recipients = [self._order.recipients[at] for at in attempt.positions]
        call = self._order.writer.call(attempt.delivered.batch.service, recipients, age)
        verdicts = self._provider.send(call)
        return {
            at: verdicts[recipient.token]
            for at, recipient in zip(attempt.positions, recipients, strict=True)
        }

    def may_send(self, attempt: _Try) -> bool:
        """Tell whether a call's first byte may go out; from then on it may have arrived."""
        with self._start:
            if self._closed or self._clock() >= self._last_start:
                return False
            attempt.may_have_arrived = True
            return True

    def _settle(self, attempt: _Try, answer: _Answer | Verdict) -> bool:
        """Take in what a try came to, and tell whether its batch is done."""
        delivered = attempt.delivered
        if isinstance(answer, Verdict):
            self._keep_last_word(attempt, answer)
            return True
        delivered.calls += 1
        delivered.call_seconds.append(answer.seconds)
        again = []
        for position, verdict in answer.verdicts.items():
            if answer.is_lost or verdict.outcome is Outcome.TRANSIENT:
                again.append(position)
            earlier = delivered.verdicts.get(position)
            if earlier and earlier.outcome is Outcome.UNKNOWN and verdict.outcome not in _KNOWN:
                verdict = verdict._replace(outcome=Outcome.UNKNOWN)
            delivered.verdicts[position] = verdict
            delivered.attempts[position] = attempt.number
        return not (again and self._try_again(attempt, again))

    def _try_again(self, attempt: _Try, positions: Sequence[int]) -> bool:
        if attempt.number >= self._patience.attempts:
            return False
        at = self._clock() + self._patience.wait_after(attempt.number)
        if at >= self._last_start:
            return False
        following = _Try(attempt.delivered, positions, attempt.number + 1)
        heapq.heappush(self._waiting, (at, next(self._numbers), following))
        return True

    def _close(self) -> None:
        """End the run. No first byte goes out from here on."""
        with self._start:
            self._closed = True
        for future in self._under_way:
            self.left_behind |= not (future.cancel() or future.done())

    def _give_up(self) -> Iterator[Delivered]:
        """Give what the deadline found unfinished."""
        for attempt in self._under_way.values():
            if attempt.may_have_arrived:
                attempt.delivered.calls += 1
                for position in attempt.positions:
                    attempt.delivered.verdicts[position] = NO_ANSWER
                    attempt.delivered.attempts[position] = attempt.number
            else:
                self._keep_last_word(attempt, DEADLINE)
            yield attempt.delivered
        for _, _, attempt in self._waiting:
            yield attempt.delivered

    def _keep_last_word(self, attempt: _Try, verdict: Verdict) -> None:
        """Let stand what an earlier try came to; where there was none, this verdict."""
        for position in attempt.positions:
            attempt.delivered.verdicts.setdefault(position, verdict)
            attempt.delivered.attempts.setdefault(position, 0)


class _Permit:
    """What one call may do, as the transport asks for it."""

    def __init__(self, run: _Run, attempt: _Try, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds + _GRACE_SECONDS
        self._run = run
        self._attempt = attempt

    def connecting(self) -> None:
        self._attempt.may_have_arrived = False

    def sending(self) -> None:
        if not self._run.may_send(self._attempt):
            raise TooLateError
