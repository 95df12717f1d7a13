"""The handler of the function ``push-sender-devices``: the registry's routes and its upkeep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.queue_and_bus import client
from push_sender.devices.registry import Registry
from push_sender.devices.table import Table
from push_sender.entry_points import token_updates
from push_sender.entry_points.device_routes import DeviceRoutes
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
    expiry_days
        Days after which a device that was not registered again is gone.
        ``DEVICE_EXPIRY_DAYS``.
    region
        ``AWS_REGION``, which Lambda sets, or else ``AWS_DEFAULT_REGION``.
    endpoint
        The variable with which the SDK finds another DynamoDB. Listed so that a change creates
        a new client.
    """

    application_ids: tuple[str, ...]
    table: str
    expiry_days: int
    region: str | None
    endpoint: str | None

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
        )


@lru_cache(maxsize=1)
def _registry(settings: DeviceSettings) -> Registry:
    shared_telemetry()  # first: the SDK would log how it creates the client
    table = Table(client("dynamodb", settings.region), settings.table)
    return Registry(table, expiry_days=settings.expiry_days)


def handler(event: Any, context: LambdaContext) -> dict[str, Any] | None:
    """Handle one invocation.

    Parameters
    ----------
    event
        API Gateway's event for an HTTP request, or an event ``Push Token Update``.
    context
        Lambda's context; its remaining time sets the deadline.

    Returns
    -------
    dict or None
        For HTTP, a response with its status.

    Raises
    ------
    InvalidRequest
        If the event is neither of the two.
    RegistryUnavailable
        If an event ``Push Token Update`` could not be applied.
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
        raise InvalidRequest(
            [Finding("request", "must be an HTTP request or an event Push Token Update")]
        )
    finally:
        telemetry.flush()


if "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ:
    # Lambda's init phase has a full CPU, whatever the memory: create everything there.
    _registry(DeviceSettings.from_environment())
