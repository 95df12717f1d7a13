"""The function's handler: it chooses the entry point by the event's shape.

Each invocation reads the environment. Clients, threads and loggers are slow to create, so
the next invocations use them again while the environment stays the same.
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
from push_sender.request.errors import Finding, InvalidRequest, TooManyDevices
from push_sender.send_messages.client import pinpoint_client
from push_sender.send_messages.push_service import SendMessages
from push_sender.sender import Sender
from push_sender.settings import ScheduleSettings, Settings
from push_sender.telemetry.log import shared_telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

    from push_sender.devices.registry import Registry
    from push_sender.entry_points.http import HttpEntryPoint
    from push_sender.entry_points.job import Jobs
    from push_sender.follow_up.destinations import FollowUp
    from push_sender.follow_up.queue_messages import Queue
    from push_sender.idempotency.claims import Idempotency
    from push_sender.jobs.progress import Progress
    from push_sender.schedules.group import ScheduleGroup

    Answer = Report | PartialItemFailureResponse | dict[str, Any] | None


@lru_cache(maxsize=1)
def _sender(settings: Settings) -> Sender:
    telemetry = shared_telemetry()  # first: the SDK would log how it creates the client
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
        registry=partial(_registry, settings) if settings.devices_table else None,
        schedules=partial(_schedules, settings),
    )


@lru_cache(maxsize=1)
def _registry(settings: Settings) -> Registry:
    """Create the registry of devices, for the first request with users."""
    from push_sender.clients.queue_and_bus import client
    from push_sender.devices.registry import Registry
    from push_sender.devices.table import Table

    # The number of days counts for registrations only.
    return Registry(
        Table(client("dynamodb", settings.region), settings.devices_table or ""), expiry_days=0
    )


def _schedules(settings: Settings) -> ScheduleGroup | None:
    """Return the group of schedules, for a request with ``send_at``; None if there is none."""
    of_schedules = ScheduleSettings.from_environment()
    if of_schedules is None or settings.queue_url is None:
        return None
    return _schedule_group(settings, of_schedules, settings.queue_url)


@lru_cache(maxsize=1)
def _schedule_group(
    settings: Settings, of_schedules: ScheduleSettings, queue: str
) -> ScheduleGroup:
    from push_sender.clients.queue_and_bus import client
    from push_sender.schedules.group import ScheduleGroup

    return ScheduleGroup.of_queues(
        client("scheduler", settings.region),
        of_schedules.group,
        role_arn=of_schedules.role_arn,
        region=settings.region,
        queue_url=queue,
        dead_letter_queue_url=settings.dead_letter_queue_url,
    )


@lru_cache(maxsize=1)
def _idempotency(settings: Settings) -> Idempotency:
    """Create the store of idempotency keys, for the first request that has a key."""
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
    from push_sender.clients.queue_and_bus import client

    return client("sqs", settings.region)


@lru_cache(maxsize=1)
def _follow_up(settings: Settings) -> FollowUp:
    """Create the follow-up, with a client for each queue and bus that is configured."""
    from push_sender.clients.queue_and_bus import client
    from push_sender.follow_up.destinations import FollowUp
    from push_sender.follow_up.events import EventBus

    queue, dead_letters = (
        _queue(settings, url) if url else None
        for url in (settings.queue_url, settings.dead_letter_queue_url)
    )
    bus = None
    if settings.event_bus_name:
        bus = EventBus(client("events", settings.region), settings.event_bus_name)
    return FollowUp(queue=queue, dead_letters=dead_letters, bus=bus, telemetry=shared_telemetry())


@lru_cache(maxsize=1)
def _http_entry_point(settings: Settings) -> HttpEntryPoint:
    """Create the HTTP entry point, for the first HTTP request."""
    from push_sender.entry_points.http import HttpEntryPoint

    return HttpEntryPoint(
        _sender(settings),
        follow_up=partial(_follow_up, settings),
        queue=partial(_queue, settings, settings.queue_url) if settings.queue_url else None,
        schedules=partial(_schedules, settings),
        has_registry=settings.devices_table is not None,
        telemetry=shared_telemetry(),
    )


@lru_cache(maxsize=1)
def _jobs(settings: Settings) -> Jobs:
    """Create what the steps of jobs need, for the first of them."""
    from push_sender.clients.s3 import s3_client
    from push_sender.entry_points.job import Jobs
    from push_sender.jobs.objects import Objects

    if settings.idempotency_table is None:
        error = Finding("job", "this function has no table of keys (IDEMPOTENCY_TABLE)")
        raise InvalidRequest([error])
    return Jobs(
        _sender(settings),
        _follow_up(settings),
        objects=Objects(s3_client(settings.region)),
        progress=_progress(settings),
        telemetry=shared_telemetry(),
        application_ids=settings.application_ids,
        has_registry=settings.devices_table is not None,
    )


def _report_job(settings: Settings, *message: Any) -> None:
    from push_sender.entry_points import job_report

    job_report.report(
        *message,
        follow_up=_follow_up(settings),
        progress=_progress(settings),
        telemetry=shared_telemetry(),
    )


@lru_cache(maxsize=1)
def _progress(settings: Settings) -> Progress:
    from push_sender.clients.queue_and_bus import client
    from push_sender.jobs.progress import Progress

    return Progress(client("dynamodb", settings.region), settings.idempotency_table or "")


def handler(event: object, context: LambdaContext) -> Answer:
    """Handle one invocation.

    Parameters
    ----------
    event
        A request, SQS messages that hold requests, an EventBridge event that holds a request,
        API Gateway's event for an HTTP request, or a step of a job.
    context
        Lambda's context; its remaining time sets the deadline of the delivery.

    Returns
    -------
    dict or None
        For a request, its report. For SQS messages, those that failed. For an EventBridge
        event, its report, or None if nothing was sent. For HTTP, a response with its status.
        For a step of a job, what its state machine needs next.

    Raises
    ------
    InvalidRequest
        If the request has validation errors. Nothing was sent.
    IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
        If the idempotency key does not allow a send now. Nothing was sent.
    RegistryUnavailable
        If the devices of users could not be read. Nothing was sent.
    SchedulerUnavailable
        If the schedule of a request with ``send_at`` is not known to be made.
    SourceChanged, SourceUnavailable, JobConflict, JobStoreUnavailable, MostlyRefused, OutOfTime
        If a step of a job failed. To repeat it is harmless.
    QueueUnavailable
        If rows of a job could not be queued. To repeat the step is harmless.
    """
    telemetry = shared_telemetry()
    telemetry.invoked(context.aws_request_id)
    try:
        return _dispatch(event, context)
    except TooManyDevices as error:  # callers match on the name of the error
        raise InvalidRequest(error.errors) from None
    finally:
        telemetry.flush()


def _dispatch(event: Any, context: LambdaContext) -> Answer:
    """Call the entry point for the event's shape. The others than direct are imported here."""
    settings = Settings.from_environment()
    sender = _sender(settings)
    has_registry = settings.devices_table is not None
    match event:
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            from push_sender.entry_points import queue

            return queue.push(
                event,
                context,
                sender,
                _follow_up(settings),
                shared_telemetry(),
                settings.message_key,
                partial(_report_job, settings) if settings.idempotency_table else None,
            )
        case {"version": "2.0", "requestContext": {"http": _}}:
            return _http_entry_point(settings).answer(event, context)
        case {"detail-type": _, "detail": _}:
            from push_sender.entry_points import event_bridge

            return event_bridge.push(
                event, context, sender, _follow_up(settings), shared_telemetry()
            )
        case {"version": _, "request_id": _} | {"version": _, "job": _} if _is_own_event(event):
            _follow_up(settings).ignore_own_event(context.aws_request_id)
            return None
        case {"job_step": _}:
            return _jobs(settings).step(event, context)
        case {"requeue": True}:
            from push_sender.entry_points import direct_requeue

            return direct_requeue.push(
                event, context, sender, _follow_up(settings), has_registry=has_registry
            )
        case _:
            registry = partial(_follow_up, settings) if has_registry else None
            return direct.push(event, context, sender, registry)


def _is_own_event(event: object) -> bool:
    from push_sender.entry_points.event_bridge import is_own_event

    return is_own_event(event)


if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Lambda's init phase has a full CPU, whatever the memory: create everything there.
    _sender(Settings.from_environment())
    gc.freeze()  # all of it stays in use, so the collector need not search it
