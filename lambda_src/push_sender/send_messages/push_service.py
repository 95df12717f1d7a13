"""Send through SendMessages, the API of AWS End User Messaging Push (formerly Pinpoint)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, Unpack

from push_sender.outcomes.classification import classify
from push_sender.outcomes.outcome import AddressResult
from push_sender.request.model import Contents, PushRequest
from push_sender.send_messages.writer import MessageWriter

if TYPE_CHECKING:
    from mypy_boto3_pinpoint.type_defs import (
        SendMessagesRequestTypeDef,
        SendMessagesResponseTypeDef,
    )


class PushClient(Protocol):
    """The method of a Pinpoint client that is used. The client's own retries must be off."""

    def send_messages(
        self, **call: Unpack[SendMessagesRequestTypeDef]
    ) -> SendMessagesResponseTypeDef:
        """Make one SendMessages call."""


class SendMessages:
    """A ``delivery.push_service.PushService`` that sends through SendMessages.

    Parameters
    ----------
    client
        Makes the calls, in many threads at once.
    """

    def __init__(self, client: PushClient) -> None:
        self._client = client

    def writer(
        self, request: PushRequest, contents: Contents, application_id: str
    ) -> MessageWriter:
        """Create the writer of one request's calls."""
        return MessageWriter(request, contents, application_id)

    def send(self, call: SendMessagesRequestTypeDef) -> Mapping[str, AddressResult]:
        """Make a call, and classify the answer for each of its addresses.

        An address that the answer does not name is ``unknown``.
        """
        results = _results(self._client.send_messages(**call))
        addresses = call["MessageRequest"].get("Addresses", {})
        return {token: classify(results.get(token)) for token in addresses}


def _results(response: SendMessagesResponseTypeDef) -> Mapping[str, object]:
    """Find the results in a response, of which any part may be missing."""
    match response:
        case {"MessageResponse": {"Result": Mapping() as results}}:
            return results
    return {}
