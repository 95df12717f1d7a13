"""The places where moto's Lambda is changed: its Invoke, and what it forgets.

Everything that runs a function in moto ends here, be it the HTTP API or another
service of moto's. How it is run is the Lambda service's business.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from moto.awslambda import urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.responses import LambdaResponse

from sandbox.entry_points import EVENTBRIDGE
from sandbox.events import delivery
from sandbox.functions import (
    configuration,
    event_invoke_configs,
    event_source_mappings,
    subscribers,
)

if TYPE_CHECKING:
    from sandbox.functions.service import InvocationResult, LambdaService

_HttpAnswer = tuple[int, dict[str, str], bytes | str]


def logging_config(function: LambdaFunction) -> Mapping[str, str]:
    """Give a function's LoggingConfig, which moto itself would have forgotten."""
    return dict(configuration.kept(function).get("LoggingConfig") or {})


def replace(service: LambdaService, may: event_source_mappings.May) -> Callable[[], None]:
    """Put the service in the place of moto's own Invoke; the result undoes it."""
    door = _invoke_door(service)
    paths = {path: old for path, old in urls.url_paths.items() if "/invocations" in path}
    urls.url_paths.update(dict.fromkeys(paths, door))
    methods = [
        (owner, name, vars(owner)[name], new)
        for owner, name, new in (
            *_internal_doors(service),
            *configuration.corrections(),
            *event_invoke_configs.corrections(),
            *event_source_mappings.corrections(may),
            *delivery.corrections(_event_door(service)),
            *subscribers.corrections(),
        )
    ]
    for owner, name, _, new in methods:
        setattr(owner, name, new)

    def undo() -> None:
        urls.url_paths.update(paths)
        for owner, name, old, _ in methods:
            setattr(owner, name, old)

    return undo


def _invoke_door(service: LambdaService) -> Callable[[Any, str, Any], _HttpAnswer]:
    """Make the HTTP side of Invoke.

    Not as a method of moto's LambdaResponse, which gives each answer a request
    id of its own, and reads a body that is not text as a fault of the server.
    """

    def invocations(request: Any, full_url: str, headers: Any) -> _HttpAnswer:
        caller = LambdaResponse()
        caller.setup_class(request, full_url, headers, use_raw_body=True)
        try:
            return _answer(service, request, caller)
        except LambdaClientError as error:
            return int(error.code), dict(error.get_headers()), error.get_body()

    return invocations


def _answer(service: LambdaService, request: Any, caller: LambdaResponse) -> _HttpAnswer:
    match = re.search(r"/functions/(.+)/invocations/?$", request.path)
    if match is None:
        raise InvalidParameterValueException("The path names no function.")
    name = match[1]
    qualifier = request.args.get("Qualifier")
    backend = caller.backend
    how: dict[str, Any] = {
        "qualifier": qualifier,
        "account_id": backend.account_id,
        "region": backend.region_name,
        "client_context": _client_context(request.headers.get("X-Amz-Client-Context")),
        "trace_id": request.headers.get("X-Amzn-Trace-Id"),
    }
    payload = caller.raw_body or b""
    match request.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
        case "RequestResponse":
            result = service.invoke(name, payload, **how)
            wants_log = request.headers.get("X-Amz-Log-Type") == "Tail"
            return 200, _result_headers(result, wants_log=wants_log), result.payload
        case "Event":
            request_id = service.invoke_later(name, payload, **how)
            return 202, {"x-amzn-RequestId": request_id}, b""
        case "DryRun":
            backend.get_function(name, qualifier)
            return 204, {}, b""
        case other:
            raise InvalidParameterValueException(f"{other} is no invocation type.")


def _result_headers(result: InvocationResult, *, wants_log: bool) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "x-amzn-RequestId": result.request_id,
        "X-Amz-Executed-Version": result.executed_version,
    }
    if result.failed:
        headers["X-Amz-Function-Error"] = "Unhandled"
    if wants_log:
        headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail).decode()
    return headers


def _client_context(header: str | None) -> str | None:
    if header is None:
        return None
    try:
        # Written anew in ASCII, because it becomes a header again.
        return json.dumps(json.loads(base64.b64decode(header, validate=True)))
    except (binascii.Error, ValueError):
        raise LambdaClientError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ) from None


def _event_door(service: LambdaService) -> delivery.InvokeLater:
    """Make what hands an event of EventBridge to a function."""

    def invoke_later(arn: str, event: bytes) -> str:
        _, _, _, region, account_id, *_ = arn.split(":")
        return service.invoke_later(
            arn, event, account_id=account_id, region=region, door=EVENTBRIDGE
        )

    return invoke_later


def _internal_doors(service: LambdaService) -> list[tuple[type, str, Any]]:
    """Make what moto's other services call."""

    def of_backend(
        self: LambdaBackend,
        function_name: str,
        qualifier: str | None,
        body: str | bytes | None,
        headers: Any,
        response_headers: Any,
    ) -> bytes:
        # Secrets Manager, which goes on with the next step when this one is done.
        result = service.invoke(
            function_name,
            _bytes(body),
            qualifier=qualifier,
            account_id=self.account_id,
            region=self.region_name,
        )
        if result.failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return result.payload

    def of_function(
        self: LambdaFunction, body: str | bytes | None, headers: Any, response_headers: Any
    ) -> bytes:
        # SNS, S3 and log groups, which invoke asynchronously: nobody waits for the function.
        service.invoke_later(
            self.function_name,
            _bytes(body),
            qualifier=str(self.version),
            account_id=self.account_id,
            region=self.region,
        )
        return b""

    return [(LambdaBackend, "invoke", of_backend), (LambdaFunction, "invoke", of_function)]


def _bytes(body: str | bytes | None) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""
