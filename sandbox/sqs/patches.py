"""The patches of moto's SQS."""

from __future__ import annotations

from typing import Final

from moto.sqs.models import Queue, SQSBackend
from moto.sqs.responses import SQSResponse

from sandbox.patches import Patch, serialized
from sandbox.sqs import message_moves, queues

PATCHES: Final = (
    Patch(Queue, "add_message", queues.add_message),
    Patch(Queue, "messages", property(queues.messages)),
    Patch(Queue, "delete_message", serialized(Queue.delete_message, queues.LOCK)),
    *(
        Patch(SQSBackend, name, serialized(getattr(SQSBackend, name), queues.LOCK))
        for name in ("change_message_visibility", "purge_queue")
    ),
    Patch(SQSBackend, "receive_message", queues.receive_message),
    Patch(SQSBackend, "_validate_message", queues.validate_message),
    *(
        Patch(SQSResponse, name, queues.naming_sender(getattr(SQSResponse, name)))
        for name in ("send_message", "send_message_batch")
    ),
    *(Patch(SQSResponse, each.__name__, each) for each in message_moves.OPERATIONS),
    # moto keeps a queue's RedriveAllowPolicy and does not show it. It reads each of these names
    # as an attribute, so queues without a policy need a default.
    Patch(Queue, "BASE_ATTRIBUTES", [*Queue.BASE_ATTRIBUTES, "RedriveAllowPolicy"]),
    Patch(Queue, "redrive_allow_policy", None),
)
