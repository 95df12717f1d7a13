"""The EventBridge entry point: a request in the detail of an event.

The stack's rule puts events on the queue, and the queue entry point reads them. Another rule in
the account may target the function directly. No caller waits for that report either, so the
follow-up is the same as for the queue, except that a failure to read or store something fails
the invocation, and Lambda puts the event into the dead-letter queue.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeGuard

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.timing import Timing
from push_sender.follow_up.destinations import FollowUp
from push_sender.follow_up.events import SOURCE, is_own_detail
from push_sender.follow_up.queue_messages import message_body
from push_sender.follow_up.signed_attributes import usable_id
from push_sender.follow_up.submission import Submission
from push_sender.report import Report
from push_sender.request.errors import (
    IdempotencyConflict,
    InvalidRequest,
    TooManyDevices,
    as_invalid,
)
from push_sender.request.model import PushRequest
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry

_FIELDS: Final = PushRequest.model_fields.keys() - {
    "data"
}  # CloudEvents use this name for their content


_END_OF_JOB: Final = "Step Functions Execution Status Change"
_ENDED: Final = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")
_EXECUTION: Final = re.compile(r"arn:[a-z-]+:states:[a-z0-9-]+:[0-9]{12}:execution:[^:]{1,80}:(.*)")
_NAME_CHARACTERS: Final = 80
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_NO_PRINCIPAL: Final = "event"
_LATEST: Final = 10**14
"""Milliseconds of the epoch, in the year 5138."""


def is_event(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a value is an event and not a request, which has no such fields."""
    return isinstance(value, dict) and "detail-type" in value and "detail" in value


def is_own_event(value: object, depth: int = 5) -> bool:
    """Return whether a value is an event of this function, brought back by a rule too wide.

    To handle it would send another event, and so on without end. The event may be without its
    envelope, in another envelope, or text in an envelope, as SNS forwards it. A value with a
    field of a request is a request, and is not searched.

    Parameters
    ----------
    value
        Parsed JSON of any kind.
    depth
        How many envelopes are opened.
    """
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    if is_own_detail(value) or (is_event(value) and value.get("source") == SOURCE):
        return True
    if isinstance(value, dict) and not value.keys() & _FIELDS:
        value = list(value.values())
    return (
        isinstance(value, list)
        and depth > 0
        and any(is_own_event(each, depth - 1) for each in value)
    )


def is_end_of_job(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether an event reports that an execution has ended.

    Only AWS can put an event of this source on a bus, but a producer of requests can write the same
    into a message. So only values that Step Functions can give count.
    """
    match value:
        case {
            "source": "aws.states",
            "detail-type": type_,
            "detail": {
                "name": str(name),
                "status": status,
                "executionArn": str(arn),
                "stopDate": int(stopped_at),
            },
        } if type_ == _END_OF_JOB and status in _ENDED:
            execution = _EXECUTION.fullmatch(arn)
            return (
                execution is not None
                and execution[1] == name
                and 1 <= len(name) <= _NAME_CHARACTERS
                and name.isprintable()
                and 0 <= stopped_at < _LATEST
            )
    return False


def submission_in(
    event: Mapping[str, Any], request_id: str, accepted_at: int, principal: str | None = None
) -> Submission:
    """Read the request in an event. The event's own id and time come first.

    Parameters
    ----------
    event
        The event.
    request_id, accepted_at
        Used if the event has no usable id or time: the id of the message or invocation that
        carries it, and when it was sent, in milliseconds of the epoch.
    principal
        Who put the event on the queue. It stands before the account and the source, because a
        program that may write to the queue can write any event.
    """
    account = str(event.get("account"))
    names = (
        principal or _NO_PRINCIPAL,
        account if _ACCOUNT.fullmatch(account) else "-",
        usable_id(event.get("source")) or "-",
    )
    return Submission(
        event["detail"],
        usable_id(event.get("id")) or request_id,
        _milliseconds(event.get("time")) or accepted_at,
        sent_by=usable_id("/".join(names)) or principal,
    )


def push(
    event: Mapping[str, Any],
    context: LambdaContext,
    sender: Sender,
    follow_up: FollowUp,
    telemetry: Telemetry,
) -> Report | None:
    """Send the request in an event. Return None if it was refused, split or ignored.

    Raises
    ------
    InvalidRequest
        With every validation error, if there is no dead-letter queue to keep the event.
    IdempotencyInProgress, IdempotencyStoreUnavailable, RegistryUnavailable, SchedulerUnavailable
        As ``Sender.send``. Nothing was sent.
    QueueUnavailable, BusUnavailable
        If recipients could not be put on their queue, or there was no time for the events.
    """
    timing = Timing.of(context)
    now = round(time.time() * 1_000)
    submission = submission_in(event, context.aws_request_id, now)
    telemetry.sent_by(submission.sent_by)
    if is_own_event(event):
        follow_up.ignore_own_event(submission.request_id)
        return None
    try:
        report = sender.send(
            submission.request,
            deadline=timing.deadline,
            default_key=submission.request_id,
            age=max(now - submission.accepted_at, 0) / 1_000,
            may_be_late=True,
        )
    except (InvalidRequest, IdempotencyConflict) as error:
        last_start, too_many = timing.last_start, isinstance(error, TooManyDevices)
        if not (too_many and follow_up.split(submission, last_start=last_start)):
            body = message_body(event)
            follow_up.refuse(submission, body, as_invalid(error), last_start=last_start)
        return None
    follow_up.handle(submission, report, last_start=timing.last_start)
    return report


def _milliseconds(value: object) -> int | None:
    try:
        return round(datetime.fromisoformat(str(value)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
