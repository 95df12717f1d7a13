"""The access log of a stage: one line for each request, in the stage's format.

Values are escaped as in JSON, so that no header can break a line or add to it. AWS does not
document this; people saw it (https://github.com/DataBiosphere/azul/issues/4348). As in AWS, keys,
signatures and tokens have no variable. The claims of a token have one each.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Final

from moto.logs.models import logs_backends

from sandbox.http_apis.deployed import STAGE
from sandbox.http_apis.events import TIME_FORMAT
from sandbox.http_apis.exchange import Exchange

_NOTHING: Final = "-"
_VARIABLE: Final = re.compile(r"\$context\.([A-Za-z0-9]+(?:\.[A-Za-z0-9_]+)*)")
_CLAIM: Final = "authorizer.claims."
_IDS: Final = ("$context.requestId", "$context.extendedRequestId")

_logger = logging.getLogger(__name__)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _time(exchange: Exchange) -> str:
    return datetime.fromtimestamp(exchange.request.received_at, UTC).strftime(TIME_FORMAT)


_VARIABLES: Final[Mapping[str, Callable[[Exchange], object]]] = {
    "accountId": lambda x: x.api.account_id,
    "apiId": lambda x: x.api.api_id,
    "authorizer.error": lambda x: x.denial,
    "awsEndpointRequestId": lambda x: x.integration.request_id,
    "error.message": lambda x: x.error,
    "extendedRequestId": lambda x: x.request.request_id,
    "httpMethod": lambda x: x.request.method,
    "identity.accountId": lambda x: x.caller and x.caller.account_id,
    "identity.caller": lambda x: x.caller and x.caller.principal_id,
    "identity.sourceIp": lambda x: x.request.source_ip,
    "identity.user": lambda x: x.caller and x.caller.principal_id,
    "identity.userAgent": lambda x: x.request.user_agent,
    "identity.userArn": lambda x: x.caller and x.caller.arn,
    "integration.error": lambda x: x.integration.error,
    "integration.integrationStatus": lambda x: x.integration.lambda_status,
    "integration.latency": lambda x: _milliseconds(x.integration.latency),
    "integration.requestId": lambda x: x.integration.request_id,
    "integration.status": lambda x: x.integration.status,
    "integrationErrorMessage": lambda x: x.integration.error,
    "integrationLatency": lambda x: _milliseconds(x.integration.latency),
    "integrationStatus": lambda x: x.integration.lambda_status,
    "path": lambda x: x.path,
    "protocol": lambda x: x.request.protocol,
    "requestId": lambda x: x.request.request_id,
    "requestTime": _time,
    "requestTimeEpoch": lambda x: _milliseconds(x.request.received_at),
    "responseLatency": lambda x: _milliseconds(x.latency),
    "responseLength": lambda x: x.length,
    "routeKey": lambda x: x.route_key,
    "stage": lambda _: STAGE,
    "status": lambda x: x.status,
}
"""The variables of API Gateway's HTTP APIs that the sandbox has, besides those of claims."""


def problem_of(log_format: str) -> str | None:
    """Return why a format cannot be used, or None if it can."""
    if "\n" in log_format.rstrip("\n"):
        return "must be a single line"
    if not any(name in log_format for name in _IDS):
        return f"must hold {_IDS[0]}"
    unknown = [name for name in _VARIABLE.findall(log_format) if _variable(name) is None]
    return f"asks for $context.{unknown[0]}, which the sandbox does not know" if unknown else None


def line_of(log_format: str, exchange: Exchange) -> str:
    """Fill in a format; a missing value is a hyphen."""

    def value(match: re.Match[str]) -> str:
        variable = _variable(match[1])
        text = variable(exchange) if variable else None
        return _NOTHING if text in (None, "") else json.dumps(str(text))[1:-1]

    return _VARIABLE.sub(value, log_format.rstrip("\n"))


def _variable(name: str) -> Callable[[Exchange], object] | None:
    if not name.startswith(_CLAIM):
        return _VARIABLES.get(name)
    claim = name.removeprefix(_CLAIM)
    return lambda x: x.token and x.token.claims.get(claim)


class AccessLog:
    """Writes to the log group of a stage in moto's CloudWatch Logs."""

    def __init__(self) -> None:
        self._lock = Lock()

    def add(self, exchange: Exchange) -> None:
        """Add a line, if the log group still exists."""
        api = exchange.api
        if not api.log_group:
            return
        cloudwatch = logs_backends[api.account_id][api.region]
        event = {
            "timestamp": int(exchange.request.received_at * 1000),
            "message": line_of(api.log_format, exchange),
        }
        with self._lock:
            if api.log_group not in cloudwatch.groups:
                _logger.warning("the log group of the API %s does not exist", api.api_id)
                return
            cloudwatch.ensure_log_stream(api.log_group, api.api_id)
            cloudwatch.put_log_events(api.log_group, api.api_id, [event])
