"""The function's entry: it looks at the event's shape and shows it to its door.

The environment is read at each invocation. What costs time to make - client, workers,
loggers - is kept for the next one as long as the environment stays the same.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.delivery import Delivery
from push_sender.doors import direct
from push_sender.pinpoint import pinpoint_client
from push_sender.report import Report
from push_sender.sender import Sender
from push_sender.settings import Settings
from push_sender.telemetry import Telemetry


@lru_cache(maxsize=1)
def _telemetry() -> Telemetry:
    return Telemetry()


@lru_cache(maxsize=1)
def _sender(settings: Settings) -> Sender:
    telemetry = _telemetry()  # first: it quiets the SDK, which would log its way to the client
    delivery = Delivery(
        pinpoint_client(settings.region, settings.send_concurrency),
        concurrency=settings.send_concurrency,
        clock=time.monotonic,
    )
    return Sender(
        delivery,
        application_ids=settings.application_ids,
        clock=time.monotonic,
        observer=telemetry,
    )


def handler(event: object, context: LambdaContext) -> Report:
    """Answer one invocation.

    Parameters
    ----------
    event
        A request.
    context
        Lambda's; its remaining time is the deadline of the delivery.

    Raises
    ------
    InvalidRequest
        If the request cannot be sent as it stands. Nothing was sent.
    """
    telemetry = _telemetry()
    telemetry.invoked(context.aws_request_id)
    try:
        return direct.push(event, context, _sender(Settings.from_environment()))
    finally:
        telemetry.flush()


if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Lambda's init phase has a full CPU whatever the memory: make everything there.
    _sender(Settings.from_environment())
