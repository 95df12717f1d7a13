"""The places where moto's queues are changed, so that no message is lost or given out twice.

moto's queues are lists that several requests change at a time: of two receivers both can get
a message, and a delete drops what is sent meanwhile. Here one request at a time touches them,
in all queues together, because a redrive touches two. Each message also remembers where it
lay before and which door it came by; moto forgets both.
"""

from __future__ import annotations

import time
from threading import RLock
from typing import Any, Final, cast

from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends

ONE_AT_A_TIME: Final = RLock()
"""To be held by whoever reads or changes a queue's messages."""

_LIES_IN: Final = "push_sandbox_lies_in"
_CAME_FROM: Final = "push_sandbox_came_from"
_DOOR: Final = "push_sandbox_door"

# Nothing tells a long poll that a hidden message is visible again, so it looks this often.
_LONG_POLL_SECONDS: Final = 0.1


def install() -> None:
    """Change moto's queues; twice does no more than once."""
    if getattr(SQSBackend, "push_sandbox_installed", False):
        return
    vars_of_class: Any = SQSBackend
    vars_of_class.push_sandbox_installed = True
    for owner, name, changed in (
        (Queue, "add_message", _adding(Queue.add_message)),
        (Queue, "delete_message", _alone(Queue.delete_message)),
        (SQSBackend, "change_message_visibility", _alone(SQSBackend.change_message_visibility)),
        (SQSBackend, "purge_queue", _alone(SQSBackend.purge_queue)),
        (SQSBackend, "receive_message", _receiving(SQSBackend.receive_message)),
    ):
        setattr(owner, name, changed)


def queue_of(arn: str) -> Queue | None:
    """Find a queue by its ARN; nothing if there is none, or the ARN is none of a queue."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "sqs":
        return None
    # moto makes the backend of any account, and of regions that there are.
    backends = sqs_backends[parts[4]]
    if parts[3] not in backends:
        return None
    # The vars of a backend that is being reset are empty for a moment.
    queue: Queue | None = vars(backends[parts[3]]).get("queues", {}).get(parts[5])
    return queue


def backend_of(queue: Queue) -> SQSBackend:
    """Give the backend with a queue in it."""
    backend: SQSBackend = sqs_backends[queue.account_id][queue.region]
    return backend


def source_of(message: Message) -> str | None:
    """Name the queue out of which a message was redriven into the one where it lies."""
    return cast("str | None", vars(message).get(_CAME_FROM))


def door_of(message: Message) -> str | None:
    """Name the door by which a message came into its queue, if another service put it there."""
    return cast("str | None", vars(message).get(_DOOR))


def put(queue: Queue, body: str, *, door: str | None, **others: Any) -> Message:
    """Send a message in the name of another service.

    Parameters
    ----------
    queue
        Where to.
    body
        The message.
    door
        Which ``door_of`` is to tell.
    others
        What moto's ``send_message`` takes besides.

    Raises
    ------
    SQSException
        If the queue does not take it.
    """
    with ONE_AT_A_TIME:
        message = backend_of(queue).send_message(queue.name, body, **others)
        if door is not None:
            vars(message)[_DOOR] = door
    return message


def _adding(motos: Any) -> Any:
    def add(self: Queue, message: Message) -> None:
        with ONE_AT_A_TIME:
            own = vars(message)
            own[_CAME_FROM] = own.get(_LIES_IN)
            own[_LIES_IN] = self.queue_arn
            motos(self, message)

    return add


def _alone(motos: Any) -> Any:
    def alone(*arguments: Any, **named: Any) -> Any:
        with ONE_AT_A_TIME:
            return motos(*arguments, **named)

    return alone


def _receiving(motos: Any) -> Any:
    def receive(
        self: SQSBackend,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Message]:
        end = time.monotonic() + wait_seconds_timeout
        while True:
            with ONE_AT_A_TIME:
                found: list[Message] = motos(
                    self, queue_name, count, 0, visibility_timeout, message_attribute_names
                )
            left = end - time.monotonic()
            if found or left <= 0:
                return found
            self.get_queue(queue_name).wait_for_messages(min(left, _LONG_POLL_SECONDS))  # type: ignore[arg-type]  # seconds, of which a part will do

    return receive
