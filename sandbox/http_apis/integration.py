"""Invoke a route's function, and convert the result to API Gateway's response.

No response contains a function's error, which can contain parts of the request.
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
"""The statuses for Lambda's refusals; all others are an Internal Server Error."""


class Result(Protocol):
    """The response of Invoke."""

    @property
    def request_id(self) -> str:
        """Lambda's."""

    @property
    def payload(self) -> bytes:
        """The function's result or its error, as JSON."""

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
    """Let a route's function answer.

    Parameters
    ----------
    exchange
        The request; gets the results of Lambda and the function.
    route
        The request's route.
    invoke
        Runs a function.
    clock
        Returns the seconds.

    Raises
    ------
    RefusedError
        If the function gives no response.
    """
    outcome = exchange.integration
    arn = route.function_arn
    if not allows_service(arn, PRINCIPAL, exchange.api.source_arn(route)):
        outcome.error = "The function's policy does not let API Gateway in."
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR)
    began = clock()
    try:
        result = _within(route.seconds, _call(exchange, route, invoke))
    except TimeoutError:
        outcome.error = "The function did not answer in time."
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE) from None
    except LambdaClientError as refused:
        outcome.lambda_status = int(refused.code)
        outcome.error = f"Lambda refused the invocation: {refused.error_type}."
        status = _ANSWERS.get(HTTPStatus(refused.code), HTTPStatus.INTERNAL_SERVER_ERROR)
        raise RefusedError(status) from None
    finally:
        outcome.latency = clock() - began
    outcome.request_id, outcome.lambda_status = result.request_id, HTTPStatus.OK.value
    if result.failed:
        outcome.error = "The function ended with an error."
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR)
    try:
        response = response_of(result.payload)
    except UnusableAnswerError as unusable:
        outcome.error = f"What the function has returned is no response: {unusable}."
        raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR) from None
    outcome.status = response.status
    return response


def _call(exchange: Exchange, route: Route, invoke: Invoke) -> Callable[[], Result]:
    trace = trace_id(exchange.request)
    event = event_of(exchange, route, trace)
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
    """Wait for a limited time. As in AWS, the function continues, and its answer is lost."""
    waiter = ThreadPoolExecutor(1, thread_name_prefix="http-api")
    try:
        return waiter.submit(call).result(seconds)
    finally:
        waiter.shutdown(wait=False)
