"""Batches out, verdicts in, under one deadline.

The caller's thread keeps all the state. Workers only make calls; those of a single batch it
makes itself. Retries are ours alone and per address: what was throttled or failed for the
moment goes out again after a full-jitter backoff, and so does a whole call that met a 429, a
5xx, a broken connection or a timeout. A call that timed out may have been delivered, so its
retry may notify twice: a lost push is worse than a second one.

When the deadline comes, what is not on its way stays unsent and what is on its way ends
unknown. Nothing starts after that, so nothing runs on in the next invocation.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Unpack

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from push_sender.batches import Batch
from push_sender.judge import judge, judge_refusal
from push_sender.messages import MessageWriter
from push_sender.outcomes import NO_ANSWER, Outcome, Verdict
from push_sender.request import Recipient
from push_sender.time_limit import TimeIsUp, is_possible, within

if TYPE_CHECKING:
    from mypy_boto3_pinpoint.type_defs import (
        SendMessagesRequestTypeDef,
        SendMessagesResponseTypeDef,
    )

DEADLINE: Final = Verdict(Outcome.UNSENT, reason="deadline")
EXPIRED: Final = Verdict(Outcome.UNSENT, reason="expired")


class PushClient(Protocol):
    """What is needed of a Pinpoint client. Its own retries must be off."""

    def send_messages(
        self, **call: Unpack[SendMessagesRequestTypeDef]
    ) -> SendMessagesResponseTypeDef:
        """Make one SendMessages call."""


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
    writer: MessageWriter
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
    started: bool = False


class _Answer(NamedTuple):
    """What a call came to: a result by token, or one verdict for all its addresses."""

    seconds: float
    results: Mapping[str, Any] = {}
    refusal: Verdict | None = None
    repeat: bool = False


class Delivery:
    """Delivers orders, one after the other, each with many calls at once.

    Parameters
    ----------
    client
        Makes the calls; used by many threads at once.
    concurrency
        Calls under way at once, at most.
    clock
        Seconds that only go forward.
    patience
        How often and how long to try.
    """

    def __init__(
        self,
        client: PushClient,
        *,
        concurrency: int,
        clock: Callable[[], float],
        patience: Patience | None = None,
    ) -> None:
        self._client = client
        self._concurrency = concurrency
        self._clock = clock
        self._patience = patience or Patience()
        self._workers = ThreadPoolExecutor(concurrency)

    def deliver(self, order: Order) -> Iterator[Delivered]:
        """Send an order's batches, and yield each when nothing more is to be done for it.

        Botocore's errors become verdicts. Any other exception of the client is a fault
        of the code and is raised.
        """
        workers = None if len(order.batches) == 1 and is_possible() else self._workers
        run = _Run(order, self._client, workers, self._clock, self._patience)
        yield from run.deliver()
        if run.left_behind:
            # Their threads hold calls that hang. The next order gets workers of its own.
            self._workers.shutdown(wait=False, cancel_futures=True)
            self._workers = ThreadPoolExecutor(self._concurrency)


class _Run:
    """The delivery of one order."""

    def __init__(
        self,
        order: Order,
        client: PushClient,
        workers: ThreadPoolExecutor | None,
        clock: Callable[[], float],
        patience: Patience,
    ) -> None:
        self.left_behind = False
        self._order = order
        self._client = client
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

    def deliver(self) -> Iterator[Delivered]:
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
        future: Future[_Answer | Verdict]
        if self._workers is None:
            future = Future()
            future.set_result(self._call(attempt))
        else:
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
        with self._start:
            if self._closed or started_at >= self._last_start:
                return DEADLINE
            attempt.started = True
        recipients = (self._order.recipients[position] for position in attempt.positions)
        call = self._order.writer.call(service, recipients, int(age))
        try:
            response = self._send(call)
        except TimeIsUp:
            return _Answer(self._clock() - started_at, refusal=NO_ANSWER)
        except ClientError as error:
            return _refused(error, self._clock() - started_at)
        except BotoCoreError as error:
            return _failed(error, self._clock() - started_at)
        return _Answer(self._clock() - started_at, _results(response))

    def _send(self, call: SendMessagesRequestTypeDef) -> SendMessagesResponseTypeDef:
        """Make a call in a worker, which may be left behind; in our own thread it must end."""
        if self._workers is not None:
            return self._client.send_messages(**call)
        left = self._order.deadline - self._clock()
        return within(left, partial(self._client.send_messages, **call))

    def _settle(self, attempt: _Try, answer: _Answer | Verdict) -> bool:
        """Take in what a try came to, and tell whether its batch is done."""
        delivered = attempt.delivered
        if isinstance(answer, Verdict):
            self._keep_last_word(attempt, answer)
            return True
        delivered.calls += 1
        delivered.call_seconds.append(answer.seconds)
        again = []
        for position in attempt.positions:
            token = self._order.recipients[position].token
            verdict = answer.refusal or judge(answer.results.get(token))
            if answer.repeat or verdict.outcome is Outcome.TRANSIENT:
                again.append(position)
                earlier = delivered.verdicts.get(position)
                if earlier and earlier.outcome is Outcome.UNKNOWN:
                    # A try before this one may have arrived.
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

    def _give_up(self) -> Iterator[Delivered]:
        """End what the deadline found unfinished. No call starts from here on."""
        with self._start:
            self._closed = True
        for future, attempt in self._under_way.items():
            future.cancel()
            if attempt.started:
                self.left_behind = True
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


def _results(response: SendMessagesResponseTypeDef) -> Mapping[str, Any]:
    """Find the results in a response that may lack any part of its shape."""
    match response:
        case {"MessageResponse": {"Result": Mapping() as results}}:
            return results
    return {}


def _refused(error: ClientError, seconds: float) -> _Answer:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    told = error.response.get("Error", {})
    verdict = judge_refusal(str(told.get("Code")), status, told.get("Message"))
    return _Answer(seconds, refusal=verdict, repeat=verdict.outcome is Outcome.TRANSIENT)


def _failed(error: BotoCoreError, seconds: float) -> _Answer:
    verdict = judge_refusal(type(error).__name__, None, str(error))
    return _Answer(seconds, refusal=verdict, repeat=isinstance(error, HTTPClientError))
