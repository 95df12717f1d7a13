"""The EventBridge entry point: a request in the detail of an event.

The stack's rule puts events on the queue, whose entry point reads them. A rule of the account's
may target the function itself; nobody waits for that answer either, so it ends as at the
queue, with one difference: what cannot be put away safely fails the invocation, and Lambda
puts the event into the dead-letter queue.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeGuard

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.timing import Timing
from push_sender.follow_up.endings import FollowUp
from push_sender.follow_up.events import SOURCE, is_own_detail
from push_sender.follow_up.queue_messages import message_body
from push_sender.follow_up.steering import usable_id
from push_sender.follow_up.submission import Submission
from push_sender.report import Report
from push_sender.request.errors import IdempotencyConflict, InvalidRequest, as_invalid
from push_sender.request.model import PushRequest
from push_sender.sender import Sender

_FIELDS: Final = PushRequest.model_fields.keys() - {"data"}  # as CloudEvents call the content


def is_event(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell an event from a request, which has no such fields."""
    return isinstance(value, dict) and "detail-type" in value and "detail" in value


def is_own_event(value: object, depth: int = 5) -> bool:
    """Tell whether an event of this function came back, by a rule that is too wide.

    An answer to it would be a further event, and so on without end. It may have come
    without its envelope, in another one, or as text in one, as SNS passes it on. What has a
    field of a request is not opened: it is a request.

    Parameters
    ----------
    value
        What came: parsed JSON of any kind.
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


def submission_in(event: Mapping[str, Any], request_id: str, accepted_at: int) -> Submission:
    """Open an event. What it says of itself comes before what its carrier says.

    Parameters
    ----------
    event
        The event.
    request_id, accepted_at
        Its carrier's id, and when that was sent, in milliseconds of the epoch.
    """
    return Submission(
        event["detail"],
        usable_id(event.get("id")) or request_id,
        _milliseconds(event.get("time")) or accepted_at,
    )


def push(
    event: Mapping[str, Any], context: LambdaContext, sender: Sender, follow_up: FollowUp
) -> Report | None:
    """Send the request in an event. There is no report of what was put away or passed over.

    Raises
    ------
    InvalidRequest
        With every fault, where there is no dead-letter queue to keep the event.
    IdempotencyInProgress, IdempotencyStoreUnavailable
        As ``Sender.send``. Nothing was sent.
    QueueUnavailable, BusUnavailable
        If what could not be sent did not reach its queue, or there was no time to tell.
    """
    timing = Timing.of(context)
    now = round(time.time() * 1_000)
    submission = submission_in(event, context.aws_request_id, now)
    if is_own_event(event):
        follow_up.ignore_own_event(submission.request_id)
        return None
    try:
        report = sender.send(
            submission.request,
            deadline=timing.deadline,
            default_key=submission.request_id,
            age=max(now - submission.accepted_at, 0) / 1_000,
        )
    except (InvalidRequest, IdempotencyConflict) as error:
        follow_up.refuse(
            submission, message_body(event), as_invalid(error), last_start=timing.last_start
        )
        return None
    follow_up.settle(submission, report, last_start=timing.last_start)
    return report


def _milliseconds(value: object) -> int | None:
    try:
        return round(datetime.fromisoformat(str(value)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
