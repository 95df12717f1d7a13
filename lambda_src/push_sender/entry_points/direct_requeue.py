"""The direct entry point for ``requeue``: recipients that cannot be sent now are sent later.

The report gives them the outcome ``requeued``. Later, events report their final outcomes, as
for every request from the queue.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.timing import Timing
from push_sender.follow_up.destinations import FollowUp
from push_sender.follow_up.submission import Submission
from push_sender.report import Report, changes_tokens
from push_sender.sender import Sender


def push(
    event: Mapping[str, Any],
    context: LambdaContext,
    sender: Sender,
    follow_up: FollowUp,
    *,
    has_registry: bool,
) -> Report:
    """Send a request, and put the recipients that could not be sent on the queue.

    With a registry of devices, it also sends the events about tokens.

    Raises
    ------
    InvalidRequest, IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
    SchedulerUnavailable
        As ``Sender.send``. Nothing was sent, and nothing is in the queue.
    """
    timing = Timing.of(context)
    submission = Submission(event, context.aws_request_id, round(time.time() * 1_000))
    report = sender.send(event, deadline=timing.deadline)
    follow_up.requeue(submission, report, last_start=timing.last_start)
    if has_registry and changes_tokens(report):
        follow_up.update_tokens(submission, report, last_start=timing.last_start)
    return report
