"""Lambda's Invoke in place of moto's: for HTTP clients, and for moto's other services.

Everything in moto that runs a function calls this module, which calls the Lambda service.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

from moto.awslambda import urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.responses import LambdaResponse

from sandbox.functions.invocations import InvocationResult
from sandbox.functions.service import LambdaService
from sandbox.patches import Patch

_HttpAnswer = tuple[int, dict[str, str], bytes | str]


def patches(service: LambdaService) -> list[Patch]:
    """List the patches with which a service answers each Invoke."""
    endpoint = _http_endpoint(service)
    invocations = {path: endpoint for path in urls.url_paths if "/invocations" in path}
    return [
        Patch(urls, "url_paths", {**urls.url_paths, **invocations}),
        Patch(LambdaBackend, "invoke", _invoke_of_backend(service)),
        Patch(LambdaFunction, "invoke", _invoke_of_function(service)),
    ]


def _http_endpoint(service: LambdaService) -> Callable[[Any, str, Any], _HttpAnswer]:
    """Make the HTTP endpoint of Invoke.

    It is no method of moto's LambdaResponse, which gives each response another request id, and
    treats a body that is not text as an error of the server.
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
    options: dict[str, Any] = {
        "qualifier": qualifier,
        "account_id": backend.account_id,
        "region": backend.region_name,
        "client_context": _client_context(request.headers.get("X-Amz-Client-Context")),
        "trace_id": request.headers.get("X-Amzn-Trace-Id"),
    }
    payload = caller.raw_body or b""
    match request.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
        case "RequestResponse":
            result = service.invoke(name, payload, **options)
            wants_log = request.headers.get("X-Amz-Log-Type") == "Tail"
            return 200, _result_headers(result, wants_log=wants_log), result.payload
        case "Event":
            request_id = service.invoke_later(name, payload, **options)
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
        # As ASCII, because it becomes a header again.
        return json.dumps(json.loads(base64.b64decode(header, validate=True)))
    except (binascii.Error, ValueError):
        raise LambdaClientError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ) from None


def _invoke_of_backend(service: LambdaService) -> Any:
    def invoke(
        self: LambdaBackend,
        function_name: str,
        qualifier: str | None,
        body: str | bytes | None,
        headers: Any,
        response_headers: Any,
    ) -> bytes:
        # For Secrets Manager, which continues with the next step when this one is done.
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

    return invoke


def _invoke_of_function(service: LambdaService) -> Any:
    def invoke(
        self: LambdaFunction, body: str | bytes | None, headers: Any, response_headers: Any
    ) -> bytes:
        # For SNS, S3 and log groups, which invoke asynchronously: they do not wait.
        service.invoke_later(
            self.function_name,
            _bytes(body),
            qualifier=str(self.version),
            account_id=self.account_id,
            region=self.region,
        )
        return b""

    return invoke


def _bytes(body: str | bytes | None) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""
