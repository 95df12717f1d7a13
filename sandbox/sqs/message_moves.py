"""Move messages out of a dead-letter queue: StartMessageMoveTask and its related operations.

A move is kept on moto's own object for the dead-letter queue, so moto's reset removes it. A move
without a rate ends when it is started. A move with a rate advances with each call of `advance_all`
and with each request, and needs no thread.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, cast

from moto.core.base_backend import backend_lock
from moto.core.responses import ActionResult
from moto.sqs.exceptions import InvalidParameterValue, SQSException
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends
from moto.sqs.responses import SQSResponse

from sandbox.sqs.queues import LOCK, entry_point_of, put, queue_of, source_of

MOST_PER_SECOND: Final = 500
KEPT: Final = 10
"""How many of a queue's latest moves ListMessageMoveTasks can return."""

NO_SOURCE: Final = "CouldNotDetermineMessageSource"
NO_QUEUE: Final = "AWS.SimpleQueueService.NonExistentQueue"

_ATTRIBUTE: Final = "push_sandbox_moves"


@dataclass(slots=True)
class Move:
    """A move of the messages that were in a dead-letter queue when it started.

    Attributes
    ----------
    per_second
        The highest rate; None for all at once.
    to_move
        The number of messages at the start.
    failure
        Why it failed.
    """

    source_arn: str
    destination_arn: str | None
    per_second: int | None
    to_move: int
    status: str = "RUNNING"
    moved: int = 0
    failure: str | None = None
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    handle: str = ""
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        named = {"taskId": str(uuid.uuid4()), "sourceArn": self.source_arn}
        self.handle = base64.b64encode(json.dumps(named).encode()).decode()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status == "RUNNING"

    def due(self) -> int:
        """Return how many messages should have been moved by now."""
        if self.per_second is None:
            return self.to_move
        seconds = time.monotonic() - self._began
        return min(self.to_move, 1 + int(seconds * self.per_second))

    def described(self) -> dict[str, Any]:
        """Describe it as ListMessageMoveTasks does; only a running one has a handle."""
        members = {
            "TaskHandle": self.handle if self.running else None,
            "Status": self.status,
            "SourceArn": self.source_arn,
            "DestinationArn": self.destination_arn,
            "MaxNumberOfMessagesPerSecond": self.per_second,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started,
        }
        return {name: value for name, value in members.items() if value is not None}


def advance_all() -> None:
    """Advance every move with a rate to where it should be by now."""
    with backend_lock:
        backends = [backend for _, _, backend in sqs_backends.iter_backends()]
    for backend in backends:
        # While moto resets a backend, its vars are empty for a moment.
        for queue in list(vars(backend).get("queues", {}).values()):
            if _moves_of(queue):
                _advance(queue)


# The operations. moto's SQS calls them as methods.


def start_message_move_task(self: SQSResponse) -> ActionResult:
    """StartMessageMoveTask."""
    source_arn = self._get_param("SourceArn")
    destination_arn = self._get_param("DestinationArn")
    per_second = self._get_param("MaxNumberOfMessagesPerSecond")
    with LOCK:
        source = _queue(self, source_arn, "SourceArn")
        if not any(
            (other.redrive_policy or {}).get("deadLetterTargetArn") == source_arn
            for other in self.sqs_backend.queues.values()
        ):
            raise InvalidParameterValue("Source queue must be configured as a Dead Letter Queue.")
        if destination_arn is not None:
            _check_destination(source, _queue(self, destination_arn, "DestinationArn"))
        _check_range(per_second, "MaxNumberOfMessagesPerSecond", MOST_PER_SECOND)
        _advance(source)
        moves = _moves_of(source)
        if any(move.running for move in moves):
            raise SQSException(
                "AWS.SimpleQueueService.UnsupportedOperation",
                "There is already a task running. Only one active task is allowed for a source"
                " queue arn at a given time.",
            )
        move = Move(source_arn, destination_arn, per_second, len(source.messages))
        vars(source)[_ATTRIBUTE] = [move, *moves][:KEPT]
        _advance(source)
    return ActionResult({"TaskHandle": move.handle})


def list_message_move_tasks(self: SQSResponse) -> ActionResult:
    """ListMessageMoveTasks: the latest first, and only one unless the request wants more."""
    source = _queue(self, self._get_param("SourceArn"), "SourceArn")
    most = self._get_param("MaxResults")
    _check_range(most, "MaxResults", KEPT)
    _advance(source)
    return ActionResult({"Results": [move.described() for move in _moves_of(source)[: most or 1]]})


def cancel_message_move_task(self: SQSResponse) -> ActionResult:
    """CancelMessageMoveTask: messages that were moved stay there."""
    handle = self._get_param("TaskHandle")
    with LOCK:
        for queue in self.sqs_backend.queues.values():
            for move in _moves_of(queue):
                if move.handle == handle:
                    _advance(queue)
                    if not move.running:
                        raise SQSException(
                            "AWS.SimpleQueueService.UnsupportedOperation",
                            f"Only active tasks can be cancelled; this one is {move.status}.",
                        )
                    move.status = "CANCELLED"
                    return ActionResult({"ApproximateNumberOfMessagesMoved": move.moved})
    raise SQSException("ResourceNotFoundException", "Task does not exist.")


OPERATIONS: Final = (start_message_move_task, list_message_move_tasks, cancel_message_move_task)
"""New methods of moto's ``SQSResponse``, which calls them by their names."""


def _moves_of(queue: Queue) -> list[Move]:
    return cast("list[Move]", vars(queue).get(_ATTRIBUTE, []))


def _advance(source: Queue) -> None:
    with LOCK:
        for move in _moves_of(source):
            while move.running and move.moved < move.due():
                _take_step(source, move)
            if move.running and move.moved >= move.to_move:
                move.status = "COMPLETED"


def _take_step(source: Queue, move: Move) -> None:
    """Move one message, or end the move if there is none or it fails."""
    message = next(iter(source.messages), None)
    if message is None:  # another receiver got the rest
        move.status = "COMPLETED"
        return
    destination_arn = move.destination_arn or source_of(message)
    if destination_arn is None:
        move.status, move.failure = "FAILED", NO_SOURCE
        return
    destination = queue_of(destination_arn)
    if destination is None:
        move.status, move.failure = "FAILED", NO_QUEUE
        return
    try:
        _send_again(message, destination)
    except Exception as error:  # noqa: BLE001  the moves of other queues must continue
        move.status, move.failure = "FAILED", getattr(error, "code", type(error).__name__)
        return
    source._messages.remove(message)
    source.pending_messages.discard(message)
    move.moved += 1


def _send_again(message: Message, destination: Queue) -> None:
    """Send a message as a new one, with a new id and time and no receives."""
    put(
        destination,
        message.body,
        entry_point=entry_point_of(message),
        sender_id=message.sender_id,
        message_attributes=deepcopy(message.message_attributes),
        deduplication_id=message.deduplication_id,
        group_id=message.group_id,
        system_attributes=deepcopy(message.system_attributes),
    )


def _queue(response: SQSResponse, arn: Any, parameter: str) -> Queue:
    backend: SQSBackend = response.sqs_backend
    if not isinstance(arn, str) or len(arn.split(":")) != 6 or arn.split(":")[2] != "sqs":
        raise InvalidParameterValue(
            f"You must use this format to specify the {parameter}:"
            " arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
    for queue in backend.queues.values():
        if queue.queue_arn == arn:
            return queue
    raise SQSException(
        "ResourceNotFoundException",
        f"The resource that you specified for the {parameter} parameter doesn't exist.",
    )


def _check_destination(source: Queue, destination: Queue) -> None:
    if destination is source:
        raise InvalidParameterValue(
            "Source queue arn and destination queue arn cannot be the same."
        )
    if destination.fifo_queue != source.fifo_queue:
        raise InvalidParameterValue(
            "The source queue and destination queue must be of the same queue type."
        )


def _check_range(value: int | None, parameter: str, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise InvalidParameterValue(
            f"Value {value} for parameter {parameter} is invalid."
            f" Reason: Must be between 1 and {most}, if provided."
        )
