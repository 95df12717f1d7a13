"""The interface between the delivery and an API that sends pushes.

To send through another API than SendMessages, implement these two protocols in a folder beside
``send_messages``, and change one line in ``handler``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from push_sender.outcomes.outcome import AddressResult
from push_sender.recipients.audience import Group
from push_sender.request.model import Contents, PushRequest, Recipient
from push_sender.request.services import Service


class Writer(Protocol):
    """Writes the calls of one request as JSON, which a dry run shows."""

    def ttl(self, service: Service) -> int | None:
        """Return the time to live of a service's pushes in seconds; None if there is none."""

    def call(self, group: Group, recipients: Iterable[Recipient], age_seconds: int = 0) -> Any:
        """Write one call to recipients of one group, at most ``batches.ADDRESSES``.

        Parameters
        ----------
        group
            The group of all the recipients.
        recipients
            The recipients; each token only once.
        age_seconds
            How long the time to live has been running.
        """

    def address(self, group: Group, recipient: Recipient) -> Any:
        """Write the part of a call that one recipient adds, to measure it."""


class PushService(Protocol):
    """An API that sends pushes: writes calls, makes them and classifies their answers."""

    def writer(self, request: PushRequest, contents: Contents, application_id: str) -> Writer:
        """Create the writer of a checked request's calls.

        Parameters
        ----------
        request
            The request.
        contents
            The fields of each message that its recipients get.
        application_id
            The project to send through.
        """

    def send(self, call: Any) -> Mapping[str, AddressResult]:
        """Make a call, and classify its answer: a result for each token of the call.

        ``clients.calls.perform`` turns any exception into a ``CallError``. Many threads call
        this method at once.
        """
