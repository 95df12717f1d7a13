"""The queue entry point: handle SQS messages, each a request or an event that holds a request.

Lambda deletes the messages that did not fail. A failed message becomes visible again after its
visibility timeout. A message fails only for a reason on our side: the store of keys, the registry
of devices, Scheduler or a queue is out of reach, another invocation is sending the request, or the
time is too short. A request that can never be sent does not fail. Recipients that could not be sent
now are requeued in a new message. A request whose users have too many devices is split into two.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.event_bridge import (
    is_end_of_job,
    is_event,
    is_own_event,
    submission_in,
)
from push_sender.entry_points.remaining_time import end_of
from push_sender.entry_points.timing import Timing
from push_sender.follow_up.destinations import FollowUp
from push_sender.follow_up.events import BusUnavailable
from push_sender.follow_up.queue_messages import QueueUnavailable
from push_sender.follow_up.requeue import has_derived_key, is_own_part
from push_sender.follow_up.signed_attributes import proven, unproven, usable_id
from push_sender.follow_up.submission import Submission
from push_sender.jobs.errors import JobStoreUnavailable
from push_sender.request.errors import (
    Finding,
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
    InvalidRequest,
    RegistryUnavailable,
    SchedulerUnavailable,
    TooManyDevices,
    as_invalid,
)
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.base import FailureResponse
    from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from push_sender.idempotency.memory import Memory

SHARE_SECONDS: Final = 13.0
"""The least time for a message. A call may take 10 s: with less time the function would stop
waiting, and its pushes would end ``unknown``, which is never retried. So one invocation has time
for two messages for which the service hangs, or for any number of normal ones."""

_NOT_JSON: Final = object()

_GROUP_CHARACTERS: Final = 128


EndOfJob = Callable[[Mapping[str, Any], Submission, str, float], None]
"""Handles the event in a message, until ``last_start``."""


class _NotStartedError(Exception):
    """A message was not started, because its time would be too short."""


def push(
    event: Mapping[str, Any],
    context: LambdaContext,
    sender: Sender,
    follow_up: FollowUp,
    telemetry: Telemetry,
    key: bytes,
    end_of_job: EndOfJob | None = None,
) -> PartialItemFailureResponse:
    """Handle the messages of an invocation in order, and return those that failed.

    A failed message does not affect the others, and raises nothing. The message attributes
    count only if the function signed them with its key. ``end_of_job`` handles an event of Step
    Functions, as ``job_report.report`` does.
    """
    records = event["Records"]
    share = _shares(end_of(context), len(records))
    messages = _Messages(telemetry)

    def handle(record: SQSRecord) -> None:
        request = _request(record)
        submission = _submission(record, request, key, context)
        telemetry.sent_by(submission.sent_by)
        _handle(submission, request, record.body, share(), sender, follow_up, end_of_job)

    with messages(records=records, handler=handle):
        messages.process()
    return messages.response()


class _Messages(BatchProcessor):
    """Powertools' batch processor, with a log record for each failed message."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(EventType.SQS, raise_on_entire_batch_failure=False)
        self._telemetry = telemetry

    def failure_handler(self, record: SQSRecord, exception: ExceptionInfo) -> FailureResponse:
        """Log the failure of a message and add it to the failed ones."""
        self._telemetry.count("MessagesReturned", 1)
        self._telemetry.warn(
            "message returned to the queue",
            message_id=record.message_id,
            **_error_fields(exception[1]),
        )
        return super().failure_handler(record, exception)


def _shares(end: float, messages: int) -> Callable[[], Timing]:
    """Divide the time until ``end`` evenly; the later messages get what one does not use.

    A message with too little time is not started, except the first.
    """
    waiting = messages

    def share() -> Timing:
        nonlocal waiting
        left = end - time.monotonic()
        if left < SHARE_SECONDS and waiting < messages:
            raise _NotStartedError
        even = left / waiting
        waiting -= 1
        return Timing.until(time.monotonic() + min(max(even, SHARE_SECONDS), left))

    return share


def _handle(
    submission: Submission,
    request: Any,
    body: str,
    timing: Timing,
    sender: Sender,
    follow_up: FollowUp,
    end_of_job: EndOfJob | None,
) -> None:
    if end_of_job is not None and is_end_of_job(request):
        end_of_job(request, submission, body, timing.last_start)
        return
    if is_own_event(request):
        follow_up.ignore_own_event(submission.request_id)
        return
    try:
        if request is _NOT_JSON:
            raise InvalidRequest([Finding("request", "must be an object in JSON")])
        report = sender.send(
            submission.request,
            deadline=timing.deadline,
            default_key=submission.request_id,
            age=max(time.time() - submission.accepted_at / 1_000, 0),
            memory=_memory_of(submission),
            may_be_late=True,
        )
    except (InvalidRequest, IdempotencyConflict) as error:
        if isinstance(error, IdempotencyConflict) and is_own_part(submission):
            follow_up.pass_over_part(submission)
            return
        last_start, too_many = timing.last_start, isinstance(error, TooManyDevices)
        if not (too_many and follow_up.split(submission, last_start=last_start)):
            follow_up.refuse(submission, body, as_invalid(error), last_start=last_start)
        return
    follow_up.handle(submission, report, last_start=timing.last_start)


def _memory_of(submission: Submission) -> Memory | None:
    if submission.job is None:
        return None
    from push_sender.idempotency.memory import PART_OF_JOB

    return PART_OF_JOB


def _request(record: SQSRecord) -> Any:
    try:
        return json.loads(record.body)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _submission(record: SQSRecord, request: Any, key: bytes, context: LambdaContext) -> Submission:
    """Read the request in a message, and the attributes that this function wrote."""
    own: Mapping[str, Any] = record.raw_event["attributes"]
    # The id of an IAM user, or of a role with the name of the session, which is not logged,
    # because it may be a person's.
    principal = usable_id(str(own.get("SenderId") or "").partition(":")[0])
    sent_at = int(record.attributes.sent_timestamp)
    submission = Submission(request, record.message_id, sent_at, sent_by=principal)
    if is_event(request):
        submission = submission_in(request, record.message_id, sent_at, principal)
    group = usable_id(own.get("MessageGroupId"))
    if group is not None and len(group) <= _GROUP_CHARACTERS:
        submission = replace(submission, message_group=group)
    attributes = record.raw_event.get("messageAttributes") or {}
    steering = proven(record.body, attributes, key)
    if steering is None and _is_of_the_version_before(record, attributes, request, context):
        steering = unproven(attributes, submission.steering())
    if steering is None:
        return submission
    return replace(submission, **steering._asdict(), is_signed=True)


def _is_of_the_version_before(
    record: SQSRecord, attributes: Mapping[str, Any], request: Any, context: LambdaContext
) -> bool:
    """Return whether a version of this function without signatures sent a message.

    That version wrote the two attributes on each message, and a derived key on each requeued
    one. It sent the others in its role's session, which Lambda gives the function's name, and
    SenderId ends with the session's name (API reference, ReceiveMessage). See ``unproven``.
    """
    return {"request_id", "accepted_at"} <= attributes.keys() and (
        has_derived_key(request)
        or str(record.raw_event["attributes"].get("SenderId")).endswith(f":{context.function_name}")
    )


_UNAVAILABLE: Final = (
    IdempotencyStoreUnavailable,
    RegistryUnavailable,
    SchedulerUnavailable,
    QueueUnavailable,
    BusUnavailable,
    JobStoreUnavailable,
)


def _error_fields(error: BaseException | None) -> dict[str, Any]:
    """Describe an error for the log by names and places: its text may hold a value."""
    if isinstance(error, _UNAVAILABLE):
        return {"error": type(error).__name__, "reason": error.reason}
    if isinstance(error, (_NotStartedError, IdempotencyInProgress, InvalidRequest)):
        return {"error": type(error).__name__}
    places = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__ if error else None)
    ]
    return {"error": type(error).__name__, "stack": places}
