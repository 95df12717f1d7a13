"""The seam: what the delivery needs from a way to send, and nothing of any one API.

Another way than SendMessages is another implementation of these two protocols, in a room of
its own beside ``send_messages``, and one line in ``handler``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from push_sender.outcomes.outcome import Verdict
from push_sender.request.model import Contents, PushRequest, Recipient
from push_sender.request.services import Service


class Writer(Protocol):
    """Writes the calls of one request, as JSON, which a dry run shows."""

    def ttl(self, service: Service) -> int | None:
        """Give the time to live of a service's pushes in seconds; None if there is none."""

    def call(self, service: Service, recipients: Iterable[Recipient], age_seconds: int = 0) -> Any:
        """Write one call to recipients of one service, at most ``batches.ADDRESSES``.

        Parameters
        ----------
        service
            The service of all the recipients.
        recipients
            Each token once.
        age_seconds
            For how long the time to live has been running.
        """

    def address(self, service: Service, recipient: Recipient) -> Any:
        """Write the part of a call that one recipient adds, to measure it."""


class Provider(Protocol):
    """A way to send: writes calls, makes them and classifies their answers."""

    def writer(self, request: PushRequest, contents: Contents, application_id: str) -> Writer:
        """Give what writes the calls of a checked request.

        Parameters
        ----------
        request
            The request.
        contents
            The fields of each message shape that its recipients use.
        application_id
            The project to send through.
        """

    def send(self, call: Any) -> Mapping[str, Verdict]:
        """Make a call, and classify its answer: a verdict for each token of the call.

        Whatever it raises, ``clients.calls.perform`` makes a ``CallError`` of it. Used by many
        threads at once.
        """
