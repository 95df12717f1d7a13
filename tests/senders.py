"""Senders as a door has them, for tests that know more of a request than its text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from push_sender.delivery import Delivered, Delivery
from push_sender.idempotency import Idempotency
from push_sender.pinpoint import pinpoint_client
from push_sender.request import Recipient
from push_sender.sender import Sender
from push_sender.store import Store, dynamodb_client
from tests.invocation import PROJECT
from tests.table import Table

REGION = "us-east-1"


class _Nobody:
    """Watches nothing."""

    def delivered(self, delivered: Delivered, recipients: Sequence[Recipient]) -> None: ...

    def not_remembered(self, reason: str) -> None: ...


@dataclass
class Clock:
    """The clock of the process, which a test may put forward.

    Attributes
    ----------
    ahead
        By how many seconds.
    """

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def sender(
    *,
    clock: Callable[[], float] = time.monotonic,
    concurrency: int = 2,
    idempotency: Callable[[], Idempotency] | None = None,
) -> Sender:
    """Make a sender that goes by a clock."""
    return Sender(
        Delivery(pinpoint_client(REGION, concurrency), concurrency=concurrency, clock=clock),
        application_ids=[PROJECT],
        clock=clock,
        observer=_Nobody(),
        idempotency=idempotency,
    )


def sender_with(table: Table) -> Sender:
    """Make what another execution environment of the function would have, and is warm."""
    client = dynamodb_client(REGION)
    idempotency = Idempotency(Store(lambda: client, table.name), clock=time.monotonic)
    return sender(idempotency=lambda: idempotency)
