"""The queue entry point: messages in, each a request or an event that holds one; failures out.

Lambda deletes what is not named as failed, and SQS shows the rest again when its visibility
timeout is over. A message fails only for a fault of ours: the store of keys or a queue is
out of reach, a twin is sending, time was short. What can never be sent does not fail, and
what could not be sent now goes back as a new message.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.event_bridge import is_event, is_own_event, submission_in
from push_sender.entry_points.remaining_time import end_of
from push_sender.entry_points.timing import Timing
from push_sender.follow_up.endings import FollowUp
from push_sender.follow_up.events import BusUnavailable
from push_sender.follow_up.queue_messages import QueueUnavailable
from push_sender.follow_up.requeue import has_derived_key
from push_sender.follow_up.steering import proven, unproven
from push_sender.follow_up.submission import Submission
from push_sender.request.errors import (
    Finding,
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
    InvalidRequest,
    as_invalid,
)
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.base import FailureResponse
    from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

SHARE_SECONDS: Final = 13.0
"""The least time that a message gets. A call may take 10 s to be answered: begun with less,
it would be cut off by us and end ``unknown``, which is never tried again. So two messages
for which the service hangs fit into one invocation, and any number of those that go well."""

_NO_JSON: Final = object()


class _NotBegunError(Exception):
    """A message was not begun: it would have been cut off."""


def push(
    event: Mapping[str, Any],
    context: LambdaContext,
    sender: Sender,
    follow_up: FollowUp,
    telemetry: Telemetry,
    key: bytes,
) -> PartialItemFailureResponse:
    """Handle the messages of an invocation in order, and name those that failed.

    A message that fails takes no other with it, and nothing is raised for one. Attributes
    count only on messages that the function signed under its key.
    """
    records = event["Records"]
    share = _shares(end_of(context), len(records))
    messages = _Messages(telemetry)

    def handle(record: SQSRecord) -> None:
        _handle(record, share(), key, context, sender, follow_up)

    with messages(records=records, handler=handle):
        messages.process()
    return messages.response()


class _Messages(BatchProcessor):
    """Powertools' processor, which says of each message that fails why it did."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(EventType.SQS, raise_on_entire_batch_failure=False)
        self._telemetry = telemetry

    def failure_handler(self, record: SQSRecord, exception: ExceptionInfo) -> FailureResponse:
        """Log a failure and take note of the message."""
        self._telemetry.count("MessagesReturned", 1)
        self._telemetry.warn(
            "message returned to the queue", message_id=record.message_id, **_why(exception[1])
        )
        return super().failure_handler(record, exception)


def _shares(end: float, messages: int) -> Callable[[], Timing]:
    """Share out the time to an end evenly, what one message leaves going to the next.

    A message that has too little left is not begun, except the first.
    """
    waiting = messages

    def share() -> Timing:
        nonlocal waiting
        left = end - time.monotonic()
        if left < SHARE_SECONDS and waiting < messages:
            raise _NotBegunError
        even = left / waiting
        waiting -= 1
        return Timing.until(time.monotonic() + min(max(even, SHARE_SECONDS), left))

    return share


def _handle(
    record: SQSRecord,
    timing: Timing,
    key: bytes,
    context: LambdaContext,
    sender: Sender,
    follow_up: FollowUp,
) -> None:
    try:
        request = json.loads(record.body)
    except (ValueError, RecursionError):
        request = _NO_JSON
    submission = _submission(record, request, key, context)
    if is_own_event(request):
        follow_up.ignore_own_event(submission.request_id)
        return
    try:
        if request is _NO_JSON:
            raise InvalidRequest([Finding("request", "must be an object in JSON")])
        report = sender.send(
            submission.request,
            deadline=timing.deadline,
            default_key=submission.request_id,
            age=max(time.time() - submission.accepted_at / 1_000, 0),
        )
    except (InvalidRequest, IdempotencyConflict) as error:
        follow_up.refuse(submission, record.body, as_invalid(error), last_start=timing.last_start)
        return
    follow_up.settle(submission, report, last_start=timing.last_start)


def _submission(record: SQSRecord, request: Any, key: bytes, context: LambdaContext) -> Submission:
    """Read what a message is, and what this function wrote beside it."""
    opened = Submission(request, record.message_id, int(record.attributes.sent_timestamp))
    if is_event(request):
        opened = submission_in(request, opened.request_id, opened.accepted_at)
    attributes = record.raw_event.get("messageAttributes") or {}
    steering = proven(record.body, attributes, key)
    if steering is None and _is_of_the_version_before(record, attributes, request, context):
        steering = unproven(attributes, opened.steering())
    return opened if steering is None else Submission(opened.request, *steering)


def _is_of_the_version_before(
    record: SQSRecord, attributes: Mapping[str, Any], request: Any, context: LambdaContext
) -> bool:
    """Tell whether this function sent a message before it signed them (see ``unproven``).

    It wrote the two attributes on each, and on what it requeued a key that it derived. Any
    other it sent in its role's session, which Lambda calls like the function, and SenderId
    ends with the session's name (API reference, ReceiveMessage).
    """
    return {"request_id", "accepted_at"} <= attributes.keys() and (
        has_derived_key(request)
        or str(record.raw_event["attributes"].get("SenderId")).endswith(f":{context.function_name}")
    )


_ERRORS_OF_OURS: Final = (IdempotencyStoreUnavailable, QueueUnavailable, BusUnavailable)


def _why(error: BaseException | None) -> dict[str, Any]:
    """Tell why a message failed, in names and places: an error's text may hold a value."""
    if isinstance(error, _ERRORS_OF_OURS):
        return {"error": type(error).__name__, "reason": error.reason}
    if isinstance(error, (_NotBegunError, IdempotencyInProgress, InvalidRequest)):
        return {"error": type(error).__name__}
    places = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__ if error else None)
    ]
    return {"error": type(error).__name__, "stack": places}
