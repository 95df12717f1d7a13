"""The function's handler: it chooses the entry point by the event's shape.

The environment is read at each invocation. What costs time to make - client, workers,
loggers - is kept for the next one as long as the environment stays the same.
"""

from __future__ import annotations

import gc
import os
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.delivery.run import Delivery
from push_sender.entry_points import direct
from push_sender.report import Report
from push_sender.send_messages.client import pinpoint_client
from push_sender.send_messages.provider import SendMessages
from push_sender.sender import Sender
from push_sender.settings import Settings
from push_sender.telemetry.log import Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from push_sender.entry_points.http import HttpEntryPoint
    from push_sender.follow_up.endings import FollowUp
    from push_sender.follow_up.queue_messages import Queue
    from push_sender.idempotency.claims import Idempotency

    Answer = Report | PartialItemFailureResponse | dict[str, Any] | None


@lru_cache(maxsize=1)
def _telemetry() -> Telemetry:
    return Telemetry()


@lru_cache(maxsize=1)
def _sender(settings: Settings) -> Sender:
    telemetry = _telemetry()  # first: it quiets the SDK, which would log its way to the client
    delivery = Delivery(
        SendMessages(pinpoint_client(settings.region, settings.send_concurrency)),
        concurrency=settings.send_concurrency,
        clock=time.monotonic,
    )
    return Sender(
        delivery,
        application_ids=settings.application_ids,
        clock=time.monotonic,
        observer=telemetry,
        idempotency=partial(_idempotency, settings) if settings.idempotency_table else None,
    )


@lru_cache(maxsize=1)
def _idempotency(settings: Settings) -> Idempotency:
    """Make what remembers keys, for the first request that has one."""
    from push_sender.idempotency.claims import Idempotency
    from push_sender.idempotency.store import Store, dynamodb_client

    store = Store(partial(dynamodb_client, settings.region), settings.idempotency_table or "")
    return Idempotency(store, clock=time.monotonic)


@lru_cache(maxsize=2)  # requests and dead-letter messages
def _queue(settings: Settings, url: str) -> Queue:
    from push_sender.follow_up.queue_messages import Queue

    return Queue(_sqs(settings), url, settings.message_key)


@lru_cache(maxsize=1)
def _sqs(settings: Settings) -> Any:
    from push_sender.clients.retries import client

    return client("sqs", settings.region)


@lru_cache(maxsize=1)
def _follow_up(settings: Settings) -> FollowUp:
    """Make what follows a send that nobody waits for, with a client for what there is."""
    from push_sender.clients.retries import client
    from push_sender.follow_up.endings import FollowUp
    from push_sender.follow_up.events import EventBus

    queue, dead_letters = (
        _queue(settings, url) if url else None
        for url in (settings.queue_url, settings.dead_letter_queue_url)
    )
    bus = None
    if settings.event_bus_name:
        bus = EventBus(client("events", settings.region), settings.event_bus_name)
    return FollowUp(queue=queue, dead_letters=dead_letters, bus=bus, telemetry=_telemetry())


@lru_cache(maxsize=1)
def _http_entry_point(settings: Settings) -> HttpEntryPoint:
    """Make what answers HTTP, for the first request that comes that way."""
    from push_sender.entry_points.http import HttpEntryPoint

    return HttpEntryPoint(
        _sender(settings),
        follow_up=partial(_follow_up, settings),
        queue=partial(_queue, settings, settings.queue_url) if settings.queue_url else None,
        telemetry=_telemetry(),
    )


def handler(event: object, context: LambdaContext) -> Answer:
    """Answer one invocation.

    Parameters
    ----------
    event
        A request, messages of a queue that hold requests, an EventBridge event that holds
        one, or what API Gateway makes of an HTTP request.
    context
        Lambda's; its remaining time is the deadline of the delivery.

    Returns
    -------
    dict or None
        For a request its report; for messages those that failed; for an event its report,
        or nothing where none was sent; for HTTP an answer, with its status.

    Raises
    ------
    InvalidRequest
        If the request cannot be sent as it stands. Nothing was sent.
    IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
        If its key keeps it from being sent. Nothing was sent.
    """
    telemetry = _telemetry()
    telemetry.invoked(context.aws_request_id)
    try:
        return _dispatch(event, context)
    finally:
        telemetry.flush()


def _dispatch(event: Any, context: LambdaContext) -> Answer:
    """Choose an entry point by the event's shape. Only the direct one is there from the start."""
    settings = Settings.from_environment()
    sender = _sender(settings)
    match event:
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            from push_sender.entry_points import queue

            return queue.push(
                event, context, sender, _follow_up(settings), _telemetry(), settings.message_key
            )
        case {"version": "2.0", "requestContext": {"http": _}}:
            return _http_entry_point(settings).answer(event, context)
        case {"detail-type": _, "detail": _}:
            from push_sender.entry_points import event_bridge

            return event_bridge.push(event, context, sender, _follow_up(settings))
        case {"version": _, "request_id": _} if _is_our_own(event):
            _follow_up(settings).pass_over(context.aws_request_id)
            return None
        case {"requeue": True}:
            from push_sender.entry_points import direct_requeue as requeueing

            return requeueing.push(event, context, sender, _follow_up(settings))
        case _:
            return direct.push(event, context, sender)


def _is_our_own(event: object) -> bool:
    from push_sender.entry_points.event_bridge import is_our_own

    return is_our_own(event)


if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Lambda's init phase has a full CPU whatever the memory: make everything there.
    _sender(Settings.from_environment())
    gc.freeze()  # it is all here to stay, and need not be looked through for garbage
