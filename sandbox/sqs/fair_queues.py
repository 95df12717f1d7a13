"""Fair queues: a queue that is full of one group's messages delivers the others first.

Amazon SQS Developer Guide, "How Amazon SQS fair queues work": a group (a tenant) is noisy if more
than 10% of the messages in flight are its own, and at least 30; or if more than 10% of the recent
time of processing was its own. A receiver gets messages of quiet groups first, then those of the
noisy group that has the fewest in flight. A message without a group is a tenant of its own. A
group whose backlog is over is no longer noisy. AWS calls the numbers approximate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, cast

from moto.core.utils import unix_time_millis
from moto.sqs.models import Message, Queue

NOISY_SHARE: Final = 0.1
NOISY_IN_FLIGHT: Final = 30

_ATTRIBUTE: Final = "push_sandbox_work"


@dataclass(slots=True)
class _Work:
    """The processing of a queue's messages.

    Attributes
    ----------
    begun
        The group of each message in flight, and when it was received, by the message's id.
    taken
        The milliseconds that each group took since its backlog began. (AWS does not say how far
        back it looks.)
    """

    begun: dict[str, tuple[str | None, float]] = field(default_factory=dict)
    taken: dict[str | None, float] = field(default_factory=dict)

    def advance(
        self, in_flight: Iterable[Message], waiting: Collection[str | None], now: float
    ) -> None:
        """Add the time of messages that are no longer in flight; forget groups without backlog."""
        for id_ in self.begun.keys() - {message.id for message in in_flight}:
            group, since = self.begun.pop(id_)
            self.taken[group] = self.taken.get(group, 0) + now - since
        self.taken = {group: time for group, time in self.taken.items() if group in waiting}

    def shares(self, now: float) -> dict[str | None, float]:
        """Return each group's share of the time of processing."""
        times = dict(self.taken)
        for group, since in self.begun.values():
            times[group] = times.get(group, 0) + now - since
        total = sum(times.values()) or 1
        return {group: time / total for group, time in times.items()}


def put_quiet_groups_first(queue: Queue) -> None:
    """Order the messages of a queue for its next receiver."""
    if queue.fifo_queue:
        return
    now = unix_time_millis()
    waiting = {message.group_id for message in queue.messages}
    work = _work_of(queue)
    flying = [message for message in queue.pending_messages if message.visible_at >= now]
    work.advance(flying, waiting, now)
    if len(waiting) < 2:  # nobody to be fair to
        return
    in_flight = Counter(message.group_id for message in flying)
    shares = work.shares(now)
    noisy: dict[str | None, int] = {
        group: in_flight[group]
        for group in waiting
        if group is not None
        and (
            (in_flight[group] >= NOISY_IN_FLIGHT and in_flight[group] > NOISY_SHARE * len(flying))
            or shares.get(group, 0) > NOISY_SHARE
        )
    }
    queue._messages.sort(
        key=lambda message: (noisy.get(message.group_id, -1), message.sent_timestamp)
    )


def begin(queue: Queue, received: Iterable[Message]) -> None:
    """Note the messages that a receiver got."""
    now, work = unix_time_millis(), _work_of(queue)
    for message in received:
        work.begun[message.id] = message.group_id, now


def _work_of(queue: Queue) -> _Work:
    """Return what is kept on moto's own object, so that moto's reset removes it."""
    return cast("_Work", vars(queue).setdefault(_ATTRIBUTE, _Work()))
