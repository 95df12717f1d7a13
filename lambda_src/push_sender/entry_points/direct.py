"""The direct entry point: it takes a request and returns its report.

``aws lambda invoke``, EventBridge Scheduler and Step Functions pass the request itself as the
event. A request that is not valid raises ``InvalidRequest``, so that the invocation has a
function error that lists every validation error.
"""

from __future__ import annotations

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.remaining_time import end_of
from push_sender.report import Report
from push_sender.sender import Sender


def push(event: object, context: LambdaContext, sender: Sender) -> Report:
    """Send the request of an invocation, within its remaining time.

    Raises
    ------
    InvalidRequest
        With every validation error. Nothing was sent.
    IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
        As ``Sender.send``. Nothing was sent.
    """
    return sender.send(event, deadline=end_of(context))
