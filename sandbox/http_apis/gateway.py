"""The gateway of the sandbox's HTTP APIs: it checks each request and passes it to a function.

It is in front of the permission check of all other services, because only the gateway verifies
signatures and tokens. All state is moto's, except the throttling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.client import responses as phrases
from typing import TYPE_CHECKING, Final

from sandbox.http_apis import integration
from sandbox.http_apis.access_log import AccessLog
from sandbox.http_apis.deployed import JwtAuthorizer, Route, find_api
from sandbox.http_apis.exchange import Exchange, Integration
from sandbox.http_apis.integration import Invoke
from sandbox.http_apis.issuer_keys import OWN_ISSUER, keys_of
from sandbox.http_apis.patches import patches
from sandbox.http_apis.requests import request_of
from sandbox.http_apis.responses import RefusedError, Response, refusal
from sandbox.http_apis.signatures import SignatureError, signer_of
from sandbox.http_apis.throttling import Throttle
from sandbox.http_apis.tokens import TokenError, check_token
from sandbox.iam.callers import Caller
from sandbox.patches import applied

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY_LIMIT: Final = 10 * 1024 * 1024
ACTION: Final = "execute-api:Invoke"

RefusalReason = Callable[[Caller, str, str], str | None]
"""Returns why a caller is not allowed an action on a resource, or None if it is."""


class Gateway:
    """Answers requests to the deployed APIs, during its ``serving`` block.

    Parameters
    ----------
    refusal_reason
        Called for callers whose signature was verified.
    clock
        Returns the seconds since 1970.
    on_denied
        Called with the status and the failed check of each request that gets a 401 or 403.

    Examples
    --------
    >>> gateway = Gateway(permissions.caller_refusal_reason)
    >>> with Server(guard=permissions.guard, unguarded={PREFIX: gateway.application}) as server:
    ...     with running(LambdaService(runtime, server.url)) as functions:
    ...         with gateway.serving(server.url, functions.invoke):
    ...             ...
    """

    def __init__(
        self,
        refusal_reason: RefusalReason,
        *,
        clock: Callable[[], float] = time.time,
        on_denied: Callable[[int, str], None] = lambda *_: None,
    ) -> None:
        self._refusal_reason = refusal_reason
        self._clock = clock
        self._on_denied = on_denied
        self._throttle = Throttle()
        self._access_log = AccessLog()
        self._invoke: Invoke | None = None
        self._own_issuer = ""

    @contextmanager
    def serving(self, url: str, invoke: Invoke) -> Iterator[None]:
        """Answer requests, and give moto's APIs their address, inside a ``with`` block.

        Parameters
        ----------
        url
            The server's.
        invoke
            Runs a function.
        """
        self._invoke = invoke
        self._own_issuer = f"{url}{OWN_ISSUER}"
        try:
            with applied(patches(url)):
                yield
        finally:
            self._invoke = None

    def application(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request to any API (WSGI)."""
        request = request_of(environ, self._clock())
        api_id, path = request.address or ("", "")
        api = find_api(api_id)
        if api is None or self._invoke is None:
            response = refusal(RefusedError(HTTPStatus.NOT_FOUND))
        else:
            exchange = Exchange(request, api, path, Integration())
            response = self._answer(exchange, self._invoke)
            self._access_log.add(exchange)
            if exchange.denial is not None:
                self._on_denied(response.status, exchange.denial)
        status = f"{response.status:d} {phrases.get(response.status, '')}"
        start_response(status, [*response.headers, ("apigw-requestid", request.request_id)])
        return [response.body]

    def _answer(self, exchange: Exchange, invoke: Invoke) -> Response:
        try:
            route = self._admit(exchange)
            response = integration.answer(exchange, route, invoke, self._clock)
        except RefusedError as refused:
            exchange.error = refused.message
            response = refusal(refused)
        exchange.status, exchange.length = response.status, len(response.body)
        exchange.latency = self._clock() - exchange.request.received_at
        return response

    def _admit(self, exchange: Exchange) -> Route:
        """Check a request and find its route.

        Raises
        ------
        RefusedError
            If there is no route, or a check fails.
        """
        request, api = exchange.request, exchange.api
        route = api.route(request.method, exchange.path)
        if route is None:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        exchange.route_key = route.key
        bucket = f"{api.api_id}/{route.route_id}"
        if not self._throttle.allows(bucket, api.limit_of(route), request.received_at):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS)
        if len(request.body) > BODY_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if route.asks_iam:
            exchange.denial = self._denial(exchange)
            if exchange.denial is not None:
                raise RefusedError(HTTPStatus.FORBIDDEN)
        if route.jwt is not None:
            self._check_token(exchange, route.jwt)
        return route

    def _check_token(self, exchange: Exchange, authorizer: JwtAuthorizer) -> None:
        header = exchange.request.headers.get("authorization", "")
        keys = partial(keys_of, own=self._own_issuer)
        try:
            exchange.token = check_token(header, authorizer, keys, exchange.request.received_at)
        except TokenError as error:
            exchange.denial = str(error)
            raise RefusedError(error.status, error.challenge) from None

    def _denial(self, exchange: Exchange) -> str | None:
        """Return the check that a caller fails, or None if it is allowed."""
        request, api = exchange.request, exchange.api
        try:
            caller = signer_of(request, region=api.region, now=request.received_at)
        except SignatureError as error:
            return str(error)
        exchange.caller = caller
        resource = api.arn(request.method, exchange.path)
        if caller.account_id != api.account_id:
            # An HTTP API has no policy that could allow another account.
            reason: str | None = "because the caller is of another account than the API"
        else:
            reason = self._refusal_reason(caller, ACTION, resource)
        return reason and f"no permission: {ACTION} on {resource} {reason}"
