"""Sending through SendMessages, the API of AWS End User Messaging Push (once Pinpoint)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, Unpack

from push_sender.outcomes.classification import judge
from push_sender.outcomes.outcome import Verdict
from push_sender.request.model import Contents, PushRequest
from push_sender.send_messages.writer import MessageWriter

if TYPE_CHECKING:
    from mypy_boto3_pinpoint.type_defs import (
        SendMessagesRequestTypeDef,
        SendMessagesResponseTypeDef,
    )


class PushClient(Protocol):
    """The part of a Pinpoint client that is used. Its own retries must be off."""

    def send_messages(
        self, **call: Unpack[SendMessagesRequestTypeDef]
    ) -> SendMessagesResponseTypeDef:
        """Make one SendMessages call."""


class SendMessages:
    """Sends through SendMessages: a ``delivery.provider.Provider``.

    Parameters
    ----------
    client
        Makes the calls; used by many threads at once.
    """

    def __init__(self, client: PushClient) -> None:
        self._client = client

    def writer(
        self, request: PushRequest, contents: Contents, application_id: str
    ) -> MessageWriter:
        """Give what writes the calls of one request."""
        return MessageWriter(request, contents, application_id)

    def send(self, call: SendMessagesRequestTypeDef) -> Mapping[str, Verdict]:
        """Make a call, and classify the answer for each of its addresses.

        An address that the answer does not name is ``unknown``.
        """
        results = _results(self._client.send_messages(**call))
        addresses = call["MessageRequest"].get("Addresses", {})
        return {token: judge(results.get(token)) for token in addresses}


def _results(response: SendMessagesResponseTypeDef) -> Mapping[str, object]:
    """Find the results in a response that may lack any part of its shape."""
    match response:
        case {"MessageResponse": {"Result": Mapping() as results}}:
            return results
    return {}
