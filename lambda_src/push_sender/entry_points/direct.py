"""The direct entry point: it takes a request and returns its report.

``aws lambda invoke``, EventBridge Scheduler and Step Functions pass the request itself as the
event. A request that is not valid raises ``InvalidRequest``, so that the invocation has a
function error that lists every validation error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.remaining_time import end_of
from push_sender.report import Report, changes_tokens
from push_sender.sender import Sender

if TYPE_CHECKING:
    from push_sender.follow_up.destinations import FollowUp


def push(
    event: object, context: LambdaContext, sender: Sender, registry: Callable[[], FollowUp] | None
) -> Report:
    """Send the request of an invocation, within its remaining time.

    Parameters
    ----------
    event, context, sender
        The request, Lambda's context, and what sends it.
    registry
        Returns the follow-up that sends events about tokens to the registry of devices; called
        only for a report with such tokens. None if there is no registry.

    Raises
    ------
    InvalidRequest
        With every validation error. Nothing was sent.
    IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable, SchedulerUnavailable
        As ``Sender.send``. Nothing was sent.
    """
    end = end_of(context)
    if registry is None:
        return sender.send(event, deadline=end)
    accepted_at = time.time()
    report = sender.send(event, deadline=end)
    if changes_tokens(report):
        from push_sender.clients.queue_and_bus import CALL_SECONDS
        from push_sender.follow_up.submission import Submission

        submission = Submission(event, context.aws_request_id, round(accepted_at * 1_000))
        registry().update_tokens(submission, report, last_start=end - CALL_SECONDS)
    return report
