"""Handing a request to a function, and what API Gateway makes of how that ends.

No answer here holds anything of a function's error: it may hold what was in the request.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

from moto.awslambda.exceptions import LambdaClientError

from sandbox.entry_points import HTTP
from sandbox.functions.function_policies import allows_service
from sandbox.http_apis.deployed import Route
from sandbox.http_apis.events import as_json, event_of, trace_id
from sandbox.http_apis.exchange import Exchange
from sandbox.http_apis.responses import (
    RefusedError,
    Response,
    UnusableAnswerError,
    response_of,
)

PRINCIPAL: Final = "apigateway.amazonaws.com"

_ANSWERS: Final = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""What Lambda's refusals become; all others are an Internal Server Error."""


class Result(Protocol):
    """What Invoke answers."""

    @property
    def request_id(self) -> str:
        """Lambda's."""

    @property
    def payload(self) -> bytes:
        """JSON: what the function has returned, or its error."""

    @property
    def failed(self) -> bool:
        """Whether it is an error."""


class Invoke(Protocol):
    """Runs a function and waits for its answer, or raises a LambdaClientError."""

    def __call__(
        self,
        function_name: str,
        payload: bytes,
        *,
        account_id: str,
        region: str,
        trace_id: str,
        entry_point: str,
    ) -> Result:
        """Run it."""


def answer(
    exchange: Exchange, route: Route, invoke: Invoke, clock: Callable[[], float]
) -> Response:
    """Let the route's function answer.

    Parameters
    ----------
    exchange
        The request; is told what Lambda and the function said.
    route
        That it came to.
    invoke
        Runs a function.
    clock
        Tells the seconds.

    Raises
    ------
    RefusedError
        If there is no response of the function.
    """
    said = exchange.integration
    arn = route.function_arn
    if not allows_service(arn, PRINCIPAL, exchange.api.source_arn(route)):
        said.error = "The function's policy does not let API Gateway in."
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR)
    began = clock()
    try:
        result = _within(route.seconds, _call(exchange, route, invoke))
    except TimeoutError:
        said.error = "The function did not answer in time."
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE) from None
    except LambdaClientError as refused:
        said.lambda_status = int(refused.code)
        said.error = f"Lambda refused the invocation: {refused.error_type}."
        status = _ANSWERS.get(HTTPStatus(refused.code), HTTPStatus.INTERNAL_SERVER_ERROR)
        raise RefusedError(status) from None
    finally:
        said.latency = clock() - began
    said.request_id, said.lambda_status = result.request_id, HTTPStatus.OK.value
    if result.failed:
        said.error = "The function ended with an error."
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR)
    try:
        response = response_of(result.payload)
    except UnusableAnswerError as unusable:
        said.error = f"What the function has returned is no response: {unusable}."
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR) from None
    said.status = response.status
    return response


def _call(exchange: Exchange, route: Route, invoke: Invoke) -> Callable[[], Result]:
    trace = trace_id(exchange.request)
    event = event_of(exchange.request, exchange.path, exchange.api, route, exchange.caller, trace)
    _, _, _, region, account_id, *_ = route.function_arn.split(":")
    return partial(
        invoke,
        route.function_arn,
        as_json(event),
        account_id=account_id,
        region=region,
        trace_id=trace,
        entry_point=HTTP,
    )


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Wait no longer than that. The function goes on, as in AWS, and nobody hears its answer."""
    waiter = ThreadPoolExecutor(1, thread_name_prefix="http-api")
    try:
        return waiter.submit(call).result(seconds)
    finally:
        waiter.shutdown(wait=False)
