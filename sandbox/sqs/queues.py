"""moto's queues: how services find them and send to them, and what a message remembers.

A queue in moto is a list that several requests change at the same time. Without a lock two
receivers can get the same message, and a delete can drop a message that is sent meanwhile. Each
message also remembers the queue that it was in before, and its entry point. moto forgets both.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from threading import RLock
from typing import Any, Final, cast

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import unix_time_millis
from moto.sqs.exceptions import InvalidParameterValue
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends
from moto.sqs.responses import SQSResponse

from sandbox.iam.callers import find_caller
from sandbox.sqs import fair_queues

LOCK: Final = RLock()
"""Must be held to read or change a queue's messages. All queues share it: a redrive needs two."""

_CURRENT_QUEUE: Final = "push_sandbox_current_queue"
_PREVIOUS_QUEUE: Final = "push_sandbox_previous_queue"
_ENTRY_POINT: Final = "push_sandbox_entry_point"

# moto does not wake a long poll when a message becomes visible again, so it looks this often.
_LONG_POLL_SECONDS: Final = 0.1

# SQS API Reference, "SendMessage": up to 128 letters, digits and punctuation characters.
_GROUP: Final = re.compile(r"[!-~]{1,128}")

_sender_id: Final[ContextVar[str | None]] = ContextVar("_sender_id", default=None)

_ORIGINAL_ADD_MESSAGE: Final = Queue.add_message
_ORIGINAL_VALIDATE: Final = SQSBackend._validate_message
_ORIGINAL_RECEIVE_MESSAGE: Final = SQSBackend.receive_message


def queue_of(arn: str) -> Queue | None:
    """Find a queue by its ARN; None if it does not exist, or the ARN is not a queue's."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "sqs":
        return None
    # moto creates the backend of any account, but only of regions that exist.
    backends = sqs_backends[parts[4]]
    if parts[3] not in backends:
        return None
    # While moto resets a backend, its vars are empty for a moment.
    queue: Queue | None = vars(backends[parts[3]]).get("queues", {}).get(parts[5])
    return queue


def backend_of(queue: Queue) -> SQSBackend:
    """Return the backend that has a queue."""
    backend: SQSBackend = sqs_backends[queue.account_id][queue.region]
    return backend


def source_of(message: Message) -> str | None:
    """Return the ARN of the queue from which a message was moved into its current queue."""
    return cast("str | None", vars(message).get(_PREVIOUS_QUEUE))


def entry_point_of(message: Message) -> str | None:
    """Return a message's entry point, if another service put it on its queue."""
    return cast("str | None", vars(message).get(_ENTRY_POINT))


def put(
    queue: Queue,
    body: str,
    *,
    entry_point: str | None,
    sender_id: str | None = None,
    **others: Any,
) -> Message:
    """Send a message on behalf of another service.

    Parameters
    ----------
    queue
        The destination.
    body
        The text of the message.
    entry_point
        What ``entry_point_of`` returns for the message.
    sender_id
        Its attribute SenderId; by default that of a service.
    others
        Further arguments of moto's ``send_message``.

    Raises
    ------
    SQSException
        If the queue refuses the message.
    """
    with LOCK:
        message = backend_of(queue).send_message(queue.name, body, **others)
        if entry_point is not None:
            vars(message)[_ENTRY_POINT] = entry_point
        if sender_id is not None:
            message.sender_id = sender_id
    return message


def naming_sender(original: Callable[[SQSResponse], Any]) -> Any:
    """Let messages name who sent them: the id of a user, or of a role and its session."""

    @wraps(original)
    def send(self: SQSResponse) -> Any:
        # An unknown key counts as the administrator's, whose id is that of the account.
        caller = find_caller(self.get_access_key())
        token = _sender_id.set(caller.principal_id if caller else DEFAULT_ACCOUNT_ID)
        try:
            return original(self)
        finally:
            _sender_id.reset(token)

    return send


def validate_message(self: SQSBackend, queue: Queue, *arguments: Any, **named: Any) -> None:
    """Refuse a group that SQS refuses. moto checks none."""
    group = named.get("group_id", arguments[3] if len(arguments) > 3 else None)
    if group is not None and not _GROUP.fullmatch(group):
        raise InvalidParameterValue(
            "MessageGroupId can only include alphanumeric and punctuation characters."
            " 1 to 128 in length."
        )
    _ORIGINAL_VALIDATE(self, queue, *arguments, **named)


def messages(self: Queue) -> list[Message]:
    """List the messages that can be received, in place of moto's property.

    moto reads the clock twice for each message, which takes a core if a queue has thousands.
    """
    now = unix_time_millis()
    return [
        message
        for message in self._messages
        if message.visible_at < now and message.delayed_until <= now
    ]


def add_message(self: Queue, message: Message) -> None:
    """Add a message in place of moto's method, and remember the queue that it was in before."""
    with LOCK:
        attributes = vars(message)
        sender_id = _sender_id.get()
        if sender_id is not None and _CURRENT_QUEUE not in attributes:
            message.sender_id = sender_id
        attributes[_PREVIOUS_QUEUE] = attributes.get(_CURRENT_QUEUE)
        attributes[_CURRENT_QUEUE] = self.queue_arn
        _ORIGINAL_ADD_MESSAGE(self, message)


def receive_message(
    self: SQSBackend,
    queue_name: str,
    count: int,
    wait_seconds_timeout: int,
    visibility_timeout: int,
    message_attribute_names: list[str] | None = None,
) -> list[Message]:
    """Receive messages in place of moto's method, without the lock during a long poll."""
    end = time.monotonic() + wait_seconds_timeout
    while True:
        with LOCK:
            queue = self.get_queue(queue_name)
            fair_queues.put_quiet_groups_first(queue)
            found: list[Message] = _ORIGINAL_RECEIVE_MESSAGE(
                self, queue_name, count, 0, visibility_timeout, message_attribute_names
            )
            fair_queues.begin(queue, found)
        left = end - time.monotonic()
        if found or left <= 0:
            return found
        queue.wait_for_messages(min(left, _LONG_POLL_SECONDS))  # type: ignore[arg-type]  # seconds, a fraction is allowed
