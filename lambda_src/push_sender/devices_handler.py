"""The handler of the function ``push-sender-devices``: routes, upkeep and import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.queue_and_bus import client
from push_sender.clients.s3 import s3_client
from push_sender.devices.registry import Registry
from push_sender.devices.table import Table
from push_sender.entry_points import token_updates
from push_sender.entry_points.device_import import DeviceImport
from push_sender.entry_points.device_routes import DeviceRoutes
from push_sender.jobs.child import Stores
from push_sender.jobs.objects import Objects
from push_sender.jobs.progress import Progress
from push_sender.request.errors import Finding, InvalidRequest
from push_sender.telemetry.log import shared_telemetry


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """The settings of the function.

    Attributes
    ----------
    application_ids
        The projects that may be used; the first is the default. ``APPLICATION_IDS``,
        separated by commas.
    table
        The table of the registry. ``DEVICES_TABLE``.
    progress_table
        The table with the progress of jobs; None if there are no jobs. ``IDEMPOTENCY_TABLE``.
    expiry_days
        Days after which a device that was not registered again is gone.
        ``DEVICE_EXPIRY_DAYS``.
    region
        ``AWS_REGION``, which Lambda sets, or else ``AWS_DEFAULT_REGION``.
    endpoint
        The variable with which the SDK finds another DynamoDB. Listed so that a change creates
        a new client.
    s3_endpoint
        The same for S3.
    """

    application_ids: tuple[str, ...]
    table: str
    expiry_days: int
    region: str | None
    endpoint: str | None
    progress_table: str | None = None
    s3_endpoint: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings.

        Raises
        ------
        KeyError, ValueError
            If a variable is missing, or the number of days is not a number.
        """
        return cls(
            application_ids=tuple(environment["APPLICATION_IDS"].split(",")),
            table=environment["DEVICES_TABLE"],
            expiry_days=int(environment["DEVICE_EXPIRY_DAYS"]),
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            endpoint=environment.get("AWS_ENDPOINT_URL_DYNAMODB")
            or environment.get("AWS_ENDPOINT_URL"),
            progress_table=environment.get("IDEMPOTENCY_TABLE"),
            s3_endpoint=environment.get("AWS_ENDPOINT_URL_S3")
            or environment.get("AWS_ENDPOINT_URL"),
        )


@lru_cache(maxsize=1)
def _database(settings: DeviceSettings) -> Any:
    shared_telemetry()  # first: the SDK would log how it creates the client
    return client("dynamodb", settings.region)


@lru_cache(maxsize=1)
def _registry(settings: DeviceSettings) -> Registry:
    table = Table(_database(settings), settings.table)
    return Registry(table, expiry_days=settings.expiry_days)


@lru_cache(maxsize=1)
def _device_import(settings: DeviceSettings, bucket: str) -> DeviceImport:
    if settings.progress_table is None:
        raise InvalidRequest([Finding("request", "is a step of a job, and the stack has no jobs")])
    progress = Progress(_database(settings), settings.progress_table)
    return DeviceImport(
        _registry(settings),
        Stores(bucket, Objects(s3_client(settings.region)), progress),
        application_ids=settings.application_ids,
        telemetry=shared_telemetry(),
    )


def handler(event: Any, context: LambdaContext) -> dict[str, Any] | None:
    """Handle one invocation.

    Parameters
    ----------
    event
        API Gateway's event for an HTTP request, an event ``Push Token Update``, or a step of a job
        that imports devices.
    context
        Lambda's context; its remaining time sets the deadline.

    Returns
    -------
    dict or None
        For HTTP, a response with its status. For a job, the seconds that it shall wait.

    Raises
    ------
    InvalidRequest
        If the event is none of the three.
    RegistryUnavailable
        If an event ``Push Token Update`` or a row could not be applied.
    SourceChanged, SourceUnavailable, JobStoreUnavailable, OutOfTime
        If a step of a job failed. All but the first can be repeated.
    """
    telemetry = shared_telemetry()
    telemetry.invoked(context.aws_request_id)
    settings = DeviceSettings.from_environment()
    try:
        match event:
            case {"version": "2.0", "requestContext": {"http": _}}:
                routes = DeviceRoutes(
                    _registry(settings),
                    application_ids=settings.application_ids,
                    telemetry=telemetry,
                )
                return routes.answer(event, context)
            case _ if token_updates.is_token_update(event):
                token_updates.apply(
                    event,
                    context,
                    _registry(settings),
                    application_ids=settings.application_ids,
                    telemetry=telemetry,
                )
                return None
            case {"job_step": "rows", "bucket": str(bucket)}:
                return _device_import(settings, bucket).apply(event, context)
        raise InvalidRequest(
            [
                Finding(
                    "request", "must be an HTTP request, an event Push Token Update or a job's step"
                )
            ]
        )
    finally:
        telemetry.flush()


if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Lambda's init phase has a full CPU, whatever the memory: create everything there.
    _registry(DeviceSettings.from_environment())
