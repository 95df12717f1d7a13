"""The front door of the sandbox's HTTP APIs: who may come in, and in which order that is asked.

It stands in front of the check of permissions that everything else is behind, because here a
signature is really verified. All state is moto's, but for the buckets of the throttling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import responses as phrases
from typing import TYPE_CHECKING, Final

from sandbox.http_apis import integration
from sandbox.http_apis.access_log import AccessLog
from sandbox.http_apis.deployed import Route, find_api
from sandbox.http_apis.exchange import Exchange, Integration
from sandbox.http_apis.integration import Invoke
from sandbox.http_apis.patches import patches
from sandbox.http_apis.requests import request_of
from sandbox.http_apis.responses import RefusedError, Response, refusal
from sandbox.http_apis.signatures import SignatureError, signer_of
from sandbox.http_apis.throttling import Throttle
from sandbox.iam.callers import Caller
from sandbox.patches import applied

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY_LIMIT: Final = 10 * 1024 * 1024
ACTION: Final = "execute-api:Invoke"

RefusalReason = Callable[[Caller, str, str], str | None]
"""Says why a caller may not do an action on a resource; nothing if it may."""


class Gateway:
    """Answers for the APIs that are deployed, while it is open.

    Parameters
    ----------
    refusal_reason
        Is asked of callers whose signature was verified.
    clock
        Tells the seconds since 1970.
    on_denied
        Is told of each request that is answered 403 which check it failed.

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
        on_denied: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._refusal_reason = refusal_reason
        self._clock = clock
        self._on_denied = on_denied
        self._throttle = Throttle()
        self._access_log = AccessLog()
        self._invoke: Invoke | None = None

    @contextmanager
    def serving(self, url: str, invoke: Invoke) -> Iterator[None]:
        """Answer, and let moto's APIs tell where, inside a ``with`` block.

        Parameters
        ----------
        url
            The server's, which is known only now.
        invoke
            Runs a function.
        """
        self._invoke = invoke
        try:
            with applied(patches(url)):
                yield
        finally:
            self._invoke = None

    def application(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request (WSGI), to whatever API it is."""
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
                self._on_denied(exchange.denial)
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
        """Find the route of a request that may come in.

        Raises
        ------
        RefusedError
            If there is none, or it may not.
        """
        request, api = exchange.request, exchange.api
        route = api.route(request.method, exchange.path)
        if route is None:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        exchange.route_key = route.key
        bucket = f"{api.api_id}/{route.route_id}"
        if not self._throttle.lets_through(bucket, api.limit, request.received_at):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS)
        if len(request.body) > BODY_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if route.asks_iam:
            exchange.denial = self._denial(exchange)
            if exchange.denial is not None:
                raise RefusedError(HTTPStatus.FORBIDDEN)
        return route

    def _denial(self, exchange: Exchange) -> str | None:
        """Say which check a caller fails; nothing if it may come in."""
        request, api = exchange.request, exchange.api
        try:
            caller = signer_of(request, region=api.region, now=request.received_at)
        except SignatureError as error:
            return str(error)
        exchange.caller = caller
        resource = api.arn(request.method, exchange.path)
        if caller.account_id != api.account_id:
            # An HTTP API has no policy of its own that could let another account in.
            reason: str | None = "because the caller is of another account than the API"
        else:
            reason = self._refusal_reason(caller, ACTION, resource)
        return reason and f"no permission: {ACTION} on {resource} {reason}"
