"""Convert a request to the function's event: payload format 2.0."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from sandbox.http_apis.deployed import STAGE, Route
from sandbox.http_apis.exchange import Exchange
from sandbox.http_apis.requests import Request
from sandbox.iam.callers import Caller

TIME_FORMAT: Final = "%d/%b/%Y:%H:%M:%S +0000"

_TRACE: Final = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;[A-Za-z]+=[\w-]+)*", re.ASCII)
_TEXT: Final = re.compile(
    r"text/.+|application/(json|javascript|xml)|[^/]+/[^/]+\+(json|xml)", re.IGNORECASE
)
_CONNECTION: Final = (
    *("connection", "keep-alive", "proxy-connection"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
)
"""Headers of the connection, which are not passed on."""


def trace_id(request: Request) -> str:
    """Return the client's X-Ray header if it is valid, or a new one."""
    given = request.headers.get("x-amzn-trace-id", "")
    if _TRACE.fullmatch(given):
        return given
    return f"Root=1-{int(request.received_at):08x}-{secrets.token_hex(12)}"


def event_of(exchange: Exchange, route: Route, trace: str) -> dict[str, Any]:
    """Make the event.

    Parameters
    ----------
    exchange
        The request, and who sent it if the route checks that.
    route
        The request's.
    trace
        The X-Ray header.
    """
    request = exchange.request
    cookies = [each.strip() for each in request.headers.get("cookie", "").split(";")]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": exchange.path,
        "rawQueryString": request.query,
        "cookies": list(filter(None, cookies)),
        "headers": _headers(request, trace),
        "queryStringParameters": _parameters(request.query),
        "requestContext": _context(exchange, route),
        "pathParameters": dict(route.parameters),
        "isBase64Encoded": False,
    }
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request)
    for name in ("cookies", "pathParameters", "queryStringParameters"):
        if not event[name]:
            del event[name]
    return event


def as_json(event: Mapping[str, Any]) -> bytes:
    """Write an event as UTF-8, as it is sent."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _headers(request: Request, trace: str) -> dict[str, str]:
    left_out = (*_CONNECTION, "cookie")
    headers = {name: value for name, value in request.headers.items() if name not in left_out}
    before = headers.get("x-forwarded-for")
    return {
        **headers,
        "x-amzn-trace-id": trace,
        "x-forwarded-for": f"{before}, {request.source_ip}" if before else request.source_ip,
        # The sandbox's own values; in AWS, 443 and https.
        "x-forwarded-port": request.port,
        "x-forwarded-proto": "http",
    }


def _parameters(query: str) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    return {name: ",".join(each) for name, each in values.items()}


def _context(exchange: Exchange, route: Route) -> dict[str, Any]:
    request, api = exchange.request, exchange.api
    time = datetime.fromtimestamp(request.received_at, UTC)
    context: dict[str, Any] = {
        "accountId": api.account_id,
        "apiId": api.api_id,
        # As in AWS; in the sandbox an API has no host name.
        "domainName": f"{api.api_id}.execute-api.{api.region}.amazonaws.com",
        "domainPrefix": api.api_id,
        "http": {
            "method": request.method,
            "path": exchange.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": request.user_agent,
        },
        "requestId": request.request_id,
        "routeKey": route.key,
        "stage": STAGE,
        "time": time.strftime(TIME_FORMAT),
        "timeEpoch": int(request.received_at * 1000),
    }
    if exchange.caller is not None:
        context["authorizer"] = {"iam": _identity(exchange.caller)}
    if (token := exchange.token) is not None:
        context["authorizer"] = {"jwt": {"claims": token.claims, "scopes": token.scopes}}
    return context


def _identity(caller: Caller) -> dict[str, str | None]:
    return {
        "accessKey": caller.access_key_id,
        "accountId": caller.account_id,
        "callerId": caller.principal_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": caller.arn,
        "userId": caller.principal_id,
    }


def _body(request: Request) -> tuple[str, bool]:
    """Return the body as text, and whether the text is base64."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if _TEXT.fullmatch(kind):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True
