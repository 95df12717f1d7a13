"""Poll queues, and invoke the functions that are mapped to them.

One thread checks all mappings twenty times a second, and reads them from moto each time. So a
mapping takes effect when it is created, changed, disabled or deleted, or removed by moto's reset.
Each batch is processed in its own thread.

Messages are received and deleted in moto directly and not through its server, but only if the
function's role is allowed to. The check is recorded like one of the role's own requests. It is done
only while the queue has messages.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any, Final

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import EventSourceMapping, LambdaBackend, lambda_backends
from moto.core.base_backend import backend_lock
from moto.sqs.exceptions import SQSException
from moto.sqs.models import Message, Queue

from sandbox.entry_points import QUEUE
from sandbox.functions import queue_batches
from sandbox.functions.event_source_mappings import IsAllowed, find_function
from sandbox.functions.invocations import REQUEST_LIMIT, InvocationResult
from sandbox.sqs import message_moves
from sandbox.sqs.queues import backend_of, entry_point_of, queue_of

_LOOK_SECONDS: Final = 0.05
_REST_SECONDS: Final = 1.0  # after an error that would repeat at once

Invoke = Callable[[EventSourceMapping, bytes, str], InvocationResult]
"""Runs a mapping's function with an event and its entry point, and waits for a free environment."""

_logger = logging.getLogger(__name__)


class EventSources:
    """The pollers of all mappings.

    Parameters
    ----------
    invoke
        Runs a function.
    may
        Tells what a function's role may do.
    most
        How many batches of one mapping are worked off at a time, unless its
        MaximumConcurrency is less.
    """

    def __init__(self, invoke: Invoke, is_allowed: IsAllowed, max_batches: int) -> None:
        self._invoke = invoke
        self._is_role_allowed = is_allowed
        self._max_batches = max_batches
        self._lock = Lock()
        self._busy: Counter[str] = Counter()
        self._workers: set[Thread] = set()
        self._resting: dict[str, float] = {}
        self._gathering: dict[str, float] = {}
        self._stopping = Event()
        self._looking = Thread(target=self._look, name="event-sources", daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._looking.start()

    def stop(self) -> None:
        """Receive no more messages; running batches continue."""
        self._stopping.set()
        if self._looking.is_alive():
            self._looking.join()

    def join(self) -> None:
        """Wait for running batches: messages that are not deleted stay in their queue."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.join()

    def _look(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            message_moves.advance_all()
            for backend, mapping in _mappings():
                if mapping.enabled and not self._stopping.is_set():
                    try:
                        self._poll(backend, mapping)
                    except Exception as error:  # noqa: BLE001  the other mappings must be polled
                        self._rest(mapping, f"the sandbox failed with {type(error).__name__}")

    def _poll(self, backend: LambdaBackend, mapping: EventSourceMapping) -> None:
        queue = queue_of(mapping.event_source_arn)
        if queue is None or self._resting.get(mapping.uuid, 0.0) > time.monotonic():
            return
        while self._has_batch(mapping, queue) and self._has_capacity(mapping):
            messages = self._receive(backend, mapping, queue)
            if not messages:
                return
            self._begin(backend, mapping, queue, messages)

    def _has_batch(self, mapping: EventSourceMapping, queue: Queue) -> bool:
        """Return whether a batch is full, or its batching window is over."""
        waiting = len(queue.messages)
        if not waiting:
            self._gathering.pop(mapping.uuid, None)
            return False
        window = float(mapping.max_batch_window or 0)
        since = self._gathering.setdefault(mapping.uuid, time.monotonic())
        if waiting < mapping.batch_size and time.monotonic() - since < window:
            return False
        self._gathering.pop(mapping.uuid)
        return True

    def _has_capacity(self, mapping: EventSourceMapping) -> bool:
        concurrency = (mapping.scaling_config or {}).get("MaximumConcurrency", self._max_batches)
        with self._lock:
            return self._busy[mapping.uuid] < min(int(concurrency), self._max_batches)

    def _receive(
        self, backend: LambdaBackend, mapping: EventSourceMapping, queue: Queue
    ) -> list[Message]:
        if not self._is_allowed(backend, mapping, queue, "sqs:ReceiveMessage"):
            return []
        hidden: int = queue.visibility_timeout  # type: ignore[attr-defined]  # set where moto reads attributes
        with suppress(SQSException):  # the queue was just deleted
            # This also moves messages that were received too often to the dead-letter queue.
            return backend_of(queue).receive_message(
                queue.name, mapping.batch_size, 0, hidden, ["All"]
            )
        return []

    def _is_allowed(
        self, backend: LambdaBackend, mapping: EventSourceMapping, queue: Queue, action: str
    ) -> bool:
        try:
            role = find_function(backend, mapping.function_arn)[0].role
        except LambdaClientError:
            self._rest(mapping, f"the function {mapping.function_arn} does not exist")
            return False
        if not self._is_role_allowed(role, action, queue.queue_arn):
            self._rest(mapping, f"{role} is not allowed {action}")
            return False
        return True

    def _rest(self, mapping: EventSourceMapping, reason: str) -> None:
        if mapping.uuid not in self._resting:  # logged once
            _logger.warning("%s is not processed: %s", mapping.event_source_arn, reason)
        self._resting[mapping.uuid] = time.monotonic() + _REST_SECONDS

    def _begin(
        self,
        backend: LambdaBackend,
        mapping: EventSourceMapping,
        queue: Queue,
        messages: list[Message],
    ) -> None:
        worker = Thread(
            target=self._process,
            args=(backend, mapping, queue, messages),
            name="event-source-batch",
            daemon=True,
        )
        with self._lock:
            self._busy[mapping.uuid] += 1
            self._workers = {other for other in self._workers if other.is_alive()} | {worker}
            worker.start()

    def _process(
        self,
        backend: LambdaBackend,
        mapping: EventSourceMapping,
        queue: Queue,
        messages: list[Message],
    ) -> None:
        try:
            for entry_point, batch in _batches(messages, queue):
                finished = self._run(mapping, queue, batch, entry_point)
                if finished and self._is_allowed(backend, mapping, queue, "sqs:DeleteMessage"):
                    _delete(queue, finished)
        finally:
            with self._lock:
                self._busy[mapping.uuid] -= 1

    def _run(
        self, mapping: EventSourceMapping, queue: Queue, batch: list[Message], entry_point: str
    ) -> list[Message]:
        """Run the function with a batch, and return the messages that succeeded."""
        try:
            result = self._invoke(mapping, queue_batches.event(batch, queue), entry_point)
        except LambdaClientError as error:
            if not self._stopping.is_set():
                _logger.warning("a batch of %s was not run: %s", queue.name, error.error_type)
            return []
        if result.failed:
            _logger.warning("%s failed with a batch of %s", mapping.function_arn, queue.name)
            return []
        reports = "ReportBatchItemFailures" in (mapping.function_response_types or [])
        return queue_batches.succeeded(batch, result.payload, reports=reports)


def _mappings() -> Iterator[tuple[LambdaBackend, EventSourceMapping]]:
    with backend_lock:
        backends: list[Any] = [backend for _, _, backend in lambda_backends.iter_backends()]
    for backend in backends:
        # While moto resets a backend, its vars are empty for a moment.
        for mapping in list(vars(backend).get("_event_source_mappings", {}).values()):
            yield backend, mapping


def _batches(messages: list[Message], queue: Queue) -> Iterator[tuple[str, list[Message]]]:
    """Split messages into batches, each with one entry point, which its pushes then have."""
    of_entry_point: dict[str, list[Message]] = {}
    for message in messages:
        of_entry_point.setdefault(entry_point_of(message) or QUEUE, []).append(message)
    for entry_point, own in of_entry_point.items():
        for batch in queue_batches.events(own, queue, REQUEST_LIMIT):
            yield entry_point, batch


def _delete(queue: Queue, messages: list[Message]) -> None:
    for message in messages:
        with suppress(SQSException):  # the message or its queue was deleted
            backend_of(queue).delete_message(queue.name, str(message.receipt_handle))
