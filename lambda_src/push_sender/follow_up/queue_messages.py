"""Messages for a queue: their content, their size, and how they are sent.

The body of a message is the request itself. Everything else is in the message's attributes, which
an operator can read without the body. The attributes that steer delivery are signed when the
message is sent. ``destinations`` chooses the reason of a dead-letter message.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from push_sender.clients.calls import CallError
from push_sender.clients.queue_and_bus import call_with_retries
from push_sender.follow_up.signed_attributes import Steering
from push_sender.request.json_text import compact_json

MESSAGE_BYTES: Final = 1_048_576
"""SQS's limit for a message with its attributes: 1 MiB."""

MAX_DELAY_SECONDS: Final = 900

_REFUSED_BY_SQS: Final = {
    character: f"\\u{character:04x}" for character in (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
}
"""Characters that JSON allows and SQS does not, because XML does not. They are escaped."""


class QueueUnavailable(Exception):  # noqa: N818  named like IdempotencyStoreUnavailable
    """A message could not be put on its queue, or not in time.

    Attributes
    ----------
    reason
        The service's code or the exception's name, for logs.
    may_be_queued
        Whether the message may be on the queue nevertheless: a try had no answer, or a 5xx.
    """

    def __init__(self, reason: str, *, may_be_queued: bool = False) -> None:
        self.reason = reason
        self.may_be_queued = may_be_queued
        super().__init__(f"a message could not be put on its queue ({reason})")


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message to put on a queue.

    Attributes
    ----------
    body
        A request as JSON, or the text that was received instead.
    attributes
        Attributes for operators. Text is sent as String, a whole number as Number.
    delay_seconds
        How long the message stays hidden.
    steering
        Attributes for this function, when it receives the message.
    group
        The message group: a queue that is full of one group delivers the others first.
    """

    body: str
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    delay_seconds: int = 0
    steering: Steering | None = None
    group: str | None = None

    def all_attributes(self, key: bytes) -> dict[str, str | int]:
        """Return all attributes of the message, signed with a key."""
        steering = self.steering.attributes(self.body, key) if self.steering else {}
        return {**self.attributes, **steering}

    @property
    def size(self) -> int:
        """The bytes that count against ``MESSAGE_BYTES``."""
        return len(self.body.encode()) + attribute_bytes(self.attributes, self.steering)


class Queue:
    """An SQS queue to send messages to.

    Parameters
    ----------
    client
        An SQS client.
    url
        The queue's URL.
    key
        The key that signs the attributes that steer delivery.
    """

    def __init__(self, client: Any, url: str, key: bytes) -> None:
        self._client = client
        self._url = url
        self._key = key

    def post(self, message: QueueMessage, *, last_start: float) -> None:
        """Put a message on the queue, maybe twice if an answer was lost.

        Parameters
        ----------
        message
            The message.
        last_start
            On ``time.monotonic``: no call begins after that.

        Raises
        ------
        QueueUnavailable
            If it is not certain that the message is on the queue.
        """
        if time.monotonic() > last_start:
            raise QueueUnavailable("deadline")
        call = {
            "QueueUrl": self._url,
            "MessageBody": message.body,
            "DelaySeconds": message.delay_seconds,
            "MessageAttributes": {
                name: {"DataType": _data_type(value), "StringValue": str(value)}
                for name, value in message.all_attributes(self._key).items()
            },
        }
        if message.group is not None:
            call["MessageGroupId"] = message.group
        try:
            call_with_retries(lambda: self._client.send_message(**call), last_start=last_start)
        except CallError as error:
            if not error.has_success_status:
                raise QueueUnavailable(error.code, may_be_queued=error.may_have_arrived) from None


def message_body(request: Mapping[str, Any]) -> str:
    """Write a request as the body of a message."""
    return compact_json(request).translate(_REFUSED_BY_SQS)


def attribute_bytes(attributes: Mapping[str, str | int], steering: Steering | None) -> int:
    """Count the bytes of attributes in a message: their names, types and values."""
    signed = steering.attributes("", b"") if steering else {}  # the same size for every body
    return sum(
        len(name.encode()) + len(_data_type(value)) + len(str(value).encode())
        for name, value in {**attributes, **signed}.items()
    )


def _data_type(value: str | int) -> str:
    return "Number" if isinstance(value, int) else "String"
