"""A request and what became of it: what the access log may tell, gathered on the way."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.http_apis.deployed import DeployedApi
from sandbox.http_apis.requests import Request
from sandbox.iam.callers import Caller


@dataclass(slots=True)
class Integration:
    """What Lambda and the function said; nothing where they were not reached.

    Attributes
    ----------
    request_id
        Lambda's.
    lambda_status
        Of Lambda's own answer.
    status
        That the function has returned.
    error
        Why there is no response, in words that hold nothing of the function's.
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
        In the API.
    route_key
        Of the route that was found.
    caller
        Who has signed it, be it allowed or not.
    error
        What API Gateway itself answered.
    denial
        Which check a caller failed who was answered 403, which the caller is not told.
    status, length
        Of the answer.
    latency
        Until it was there, in seconds.
    """

    request: Request
    api: DeployedApi
    path: str
    integration: Integration
    route_key: str | None = None
    caller: Caller | None = None
    error: str | None = None
    denial: str | None = None
    status: int | None = None
    length: int | None = None
    latency: float | None = None
