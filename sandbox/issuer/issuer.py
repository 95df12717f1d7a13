"""The issuer of the sandbox: its keys, as OpenID Connect publishes them, and its tokens.

It stands in for the configured issuer (see ``sandbox.http_apis.issuer_keys``), so it signs tokens
in the name of each issuer that a deployed JWT authorizer names. Anyone on this machine can get a
token. That protects nothing, as the rest of the sandbox.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.wrappers import Request, Response

from sandbox.http_apis.deployed import JwtAuthorizer, find_authorizers
from sandbox.http_apis.issuer_keys import DISCOVERY, OWN_ISSUER, address_of
from sandbox.loopback import ADDRESS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TOKEN: Final = f"{OWN_ISSUER}/token"
KEYS: Final = f"{OWN_ISSUER}/.well-known/jwks.json"

_ALGORITHM: Final = "RS256"
_LONGEST_SECONDS: Final = 366 * 24 * 3600


class NotIssuedError(Exception):
    """No token can be issued; the message says why."""


class Order(BaseModel):
    """What a token shall have.

    Attributes
    ----------
    sub
        The user's id.
    scope
        Scopes, separated by spaces.
    audience
        Its ``aud``, by default the first that the authorizer accepts.
    issuer
        Its ``iss``, by default the only one that is deployed.
    expires_in
        In seconds; less than 1 gives an expired token.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    sub: str = Field(min_length=1)
    scope: str = ""
    audience: str | None = None
    issuer: str | None = None
    expires_in: int = Field(default=3600, ge=-_LONGEST_SECONDS, le=_LONGEST_SECONDS)


class Issuer:
    """Publishes its key, which is new at each start, and signs tokens with it."""

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(2048, auto_kid=True)

    def application(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a path under ``/sandbox/issuer`` (WSGI)."""
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        answers = {
            f"GET {OWN_ISSUER}{DISCOVERY}": self._discovery,
            f"GET {KEYS}": self._keys,
            f"POST {TOKEN}": self._token,
        }
        answer = answers.get(f"{request.method} {request.path}")
        if answer is None:
            return _refused(HTTPStatus.NOT_FOUND, f"There are: {', '.join(answers)}")
        # A form on a page of another site cannot send this content type.
        if request.method == "POST" and request.mimetype != "application/json":
            return _refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"POST {TOKEN} takes JSON")
        # Not from the request, which can name any host.
        own = f"http://{ADDRESS}:{request.environ['SERVER_PORT']}{OWN_ISSUER}"
        try:
            return _json(answer(request, own))
        except ValidationError as error:
            return _refused(HTTPStatus.BAD_REQUEST, _problems(error))
        except NotIssuedError as error:
            return _refused(HTTPStatus.CONFLICT, str(error))

    def _discovery(self, _: Request, own: str) -> dict[str, Any]:
        return {
            "issuer": own,
            "jwks_uri": own + KEYS.removeprefix(OWN_ISSUER),
            "id_token_signing_alg_values_supported": [_ALGORITHM],
        }

    def _keys(self, _: Request, _own: str) -> dict[str, Any]:
        return {"keys": [self._key.as_dict(private=False, alg=_ALGORITHM, use="sig")]}

    def _token(self, request: Request, own: str) -> dict[str, Any]:
        order = Order.model_validate_json(request.get_data())
        authorizer = _authorizer(order, own)
        now = int(time.time())
        claims = {
            "iss": authorizer.issuer,
            "sub": order.sub,
            "aud": order.audience or authorizer.audiences[0],
            "iat": now,
            "exp": now + order.expires_in,
        }
        if order.scope:
            claims["scope"] = order.scope
        header = {"alg": _ALGORITHM, "kid": self._key.kid}
        return {
            "access_token": jwt.encode(header, claims, self._key),
            "expires_in": order.expires_in,
            "token_type": "Bearer",
        }


def _authorizer(order: Order, own: str) -> JwtAuthorizer:
    """Find the authorizer that a token is for."""
    found = [each for each in find_authorizers() if address_of(each.issuer, own) == own]
    if not found:
        raise NotIssuedError(
            "No route asks for a token: no HTTP API has a JWT authorizer for which the sandbox "
            "issues tokens. The settings jwt_issuer and jwt_audience of the stack make one."
        )
    names = sorted({each.issuer for each in found})
    if order.issuer is None and len(names) > 1:
        raise NotIssuedError(f"Several issuers are deployed. Name one of them: {', '.join(names)}")
    fitting = [each for each in found if order.issuer in (None, each.issuer)]
    if not fitting:
        raise NotIssuedError(f"No JWT authorizer has this issuer. There are: {', '.join(names)}")
    return fitting[0]


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}"
        for each in error.errors(include_input=False)
    )


def _refused(status: HTTPStatus, message: str) -> Response:
    return _json({"message": message}, status)


def _json(body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(json.dumps(body), status, headers, content_type="application/json")
