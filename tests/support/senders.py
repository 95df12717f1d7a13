"""Senders as a door has them, for tests that know more of a request than its text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from push_sender.delivery.run import Delivered, Delivery
from push_sender.idempotency.claims import Idempotency
from push_sender.idempotency.store import Store, dynamodb_client
from push_sender.request.model import Recipient
from push_sender.send_messages.client import pinpoint_client
from push_sender.send_messages.push_service import SendMessages
from push_sender.sender import Observer, Sender
from tests.support.dynamodb import Table
from tests.support.invocation import PROJECT

REGION = "us-east-1"


class Nobody:
    """Watches nothing."""

    def delivered(self, delivered: Delivered, recipients: Sequence[Recipient]) -> None: ...

    def not_remembered(self, reason: str) -> None: ...


@dataclass
class Clock:
    """The clock of the process, which a test may put forward or stop.

    Attributes
    ----------
    ahead
        By how many seconds.
    stops_at
        From then on it stands still. Who waits a minute for a later moment fails.
    """

    ahead: float = 0.0
    stops_at: float = math.inf

    def __call__(self) -> float:
        now = time.monotonic() + self.ahead
        assert now < self.stops_at + 60, "this moment is waited for and never comes"
        return min(now, self.stops_at)


def sender(
    *,
    clock: Callable[[], float] = time.monotonic,
    concurrency: int = 2,
    observer: Observer | None = None,
    idempotency: Callable[[], Idempotency] | None = None,
) -> Sender:
    """Make a sender that goes by a clock."""
    return Sender(
        Delivery(
            SendMessages(pinpoint_client(REGION, concurrency)), concurrency=concurrency, clock=clock
        ),
        application_ids=[PROJECT],
        clock=clock,
        observer=observer or Nobody(),
        idempotency=idempotency,
    )


def sender_with(
    table: Table,
    *,
    clock: Callable[[], float] = time.monotonic,
    concurrency: int = 2,
    observer: Observer | None = None,
) -> Sender:
    """Make what another execution environment of the function would have, and is warm."""
    client = dynamodb_client(REGION)
    idempotency = Idempotency(Store(lambda: client, table.name), clock=clock)
    return sender(
        clock=clock, concurrency=concurrency, observer=observer, idempotency=lambda: idempotency
    )
