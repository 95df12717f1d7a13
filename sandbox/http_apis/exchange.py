"""A request and its response, collected for the access log."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.http_apis.deployed import DeployedApi
from sandbox.http_apis.requests import Request
from sandbox.http_apis.tokens import Token
from sandbox.iam.callers import Caller


@dataclass(slots=True)
class Integration:
    """The answer of Lambda and the function; empty if they were not called.

    Attributes
    ----------
    request_id
        Lambda's.
    lambda_status
        The status of Lambda itself.
    status
        The status that the function returned.
    error
        Why there is no response, without text of the function.
    latency
        In seconds.
    """

    request_id: str | None = None
    lambda_status: int | None = None
    status: int | None = None
    error: str | None = None
    latency: float | None = None


@dataclass(slots=True)
class Exchange:
    """A request to an API.

    Attributes
    ----------
    path
        The path in the API.
    route_key
        The key of the route.
    caller
        The signer, allowed or not.
    token
        The valid token.
    error
        The error of API Gateway itself.
    denial
        The failed check behind a 401 or 403.
    status, length
        The response's.
    latency
        The time until the response, in seconds.
    """

    request: Request
    api: DeployedApi
    path: str
    integration: Integration
    route_key: str | None = None
    caller: Caller | None = None
    token: Token | None = None
    error: str | None = None
    denial: str | None = None
    status: int | None = None
    length: int | None = None
    latency: float | None = None
