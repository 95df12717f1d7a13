"""The direct entry point: the request in, the report out.

``aws lambda invoke``, EventBridge Scheduler and Step Functions hand in the request as it
is. A request that cannot be sent raises ``InvalidRequest``, so the invocation carries a
function error that names every fault.
"""

from __future__ import annotations

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.remaining_time import end_of
from push_sender.report import Report
from push_sender.sender import Sender


def push(event: object, context: LambdaContext, sender: Sender) -> Report:
    """Send the request that an invocation holds, in the time that it has left.

    Raises
    ------
    InvalidRequest
        With every fault. Nothing was sent.
    IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
        As ``Sender.send``. Nothing was sent.
    """
    return sender.send(event, deadline=end_of(context))
