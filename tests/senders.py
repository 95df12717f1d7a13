"""Senders as a door has them, for tests that know more of a request than its text."""

from __future__ import annotations

import time
from collections.abc import Sequence

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


def sender_with(table: Table) -> Sender:
    """Make what another execution environment of the function would have."""
    store = Store(lambda: dynamodb_client(REGION), table.name)
    idempotency = Idempotency(store, clock=time.monotonic)
    return Sender(
        Delivery(pinpoint_client(REGION, 2), concurrency=2, clock=time.monotonic),
        application_ids=[PROJECT],
        clock=time.monotonic,
        observer=_Nobody(),
        idempotency=lambda: idempotency,
    )
