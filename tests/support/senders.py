"""Senders as entry points have them, for tests that need more than a request's text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from push_sender.delivery.run import Delivered, Delivery
from push_sender.idempotency.claims import Idempotency
from push_sender.idempotency.store import Store, dynamodb_client
from push_sender.send_messages.client import pinpoint_client
from push_sender.send_messages.push_service import SendMessages
from push_sender.sender import Observer, Sender
from tests.support.dynamodb import Table
from tests.support.invocation import PROJECT

REGION = "us-east-1"


class IgnoringObserver:
    """An observer that ignores everything."""

    def delivered(self, delivered: Delivered, *_: object) -> None: ...

    def without_call(self, *_: object) -> None: ...

    def scheduled(self, *_: object) -> None: ...

    def not_remembered(self, reason: str) -> None: ...


@dataclass
class Clock:
    """The clock of the process, which a test can put forward or stop.

    Attributes
    ----------
    ahead
        Seconds by which it is ahead.
    stops_at
        The time at which it stops. Code that waits a minute for a later time fails.
    """

    ahead: float = 0.0
    stops_at: float = math.inf

    def __call__(self) -> float:
        now = time.monotonic() + self.ahead
        assert now < self.stops_at + 60, "this waits for a time that never comes"
        return min(now, self.stops_at)


def sender(
    *,
    clock: Callable[[], float] = time.monotonic,
    concurrency: int = 2,
    observer: Observer | None = None,
    idempotency: Callable[[], Idempotency] | None = None,
) -> Sender:
    """Make a sender with a clock."""
    return Sender(
        Delivery(
            SendMessages(pinpoint_client(REGION, concurrency)), concurrency=concurrency, clock=clock
        ),
        application_ids=[PROJECT],
        clock=clock,
        observer=observer or IgnoringObserver(),
        idempotency=idempotency,
    )


def sender_with(
    table: Table,
    *,
    clock: Callable[[], float] = time.monotonic,
    concurrency: int = 2,
    observer: Observer | None = None,
) -> Sender:
    """Make the sender of another, warm execution environment."""
    client = dynamodb_client(REGION)
    idempotency = Idempotency(Store(lambda: client, table.name), clock=clock)
    return sender(
        clock=clock, concurrency=concurrency, observer=observer, idempotency=lambda: idempotency
    )
