"""An issuer of tokens on loopback, and an API that asks for its tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from joserfc import jwt
from joserfc.jwk import Key, RSAKey
from joserfc.jws import JWSRegistry

from tests.support.http_apis import api
from tests.support.loopback import LoopbackHandler, Reply, serving
from tests.support.templates import Template, resource

DISCOVERY = "/.well-known/openid-configuration"
AUDIENCE = "app"
ROUTE = "PUT /my/devices/{device_id}"
PATH = "/my/devices/d1"
USER = "user-canary"

_ANY = JWSRegistry(algorithms=list(JWSRegistry.algorithms), strict_check_header=False)


class Issuer:
    """An issuer whose pages and tokens a test can change."""

    def __init__(self, url: str, pages: dict[str, Reply]) -> None:
        self.url = url
        self.pages = pages
        self.key = RSAKey.generate_key(2048, auto_kid=True)
        self.publish(self.key)

    def publish(self, *keys: Key) -> None:
        """Answer with these keys, and with the address of them."""
        public = [key.as_dict(private=False) for key in keys]
        self.pages.clear()
        self.pages["/keys"] = Reply(body=json.dumps({"keys": public}).encode())
        self.pages[DISCOVERY] = Reply(body=json.dumps({"jwks_uri": f"{self.url}/keys"}).encode())

    def token(
        self, key: Key | None = None, header: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        """Sign a token; a usual claim or member of the header that is None is left out."""
        now = int(time.time())
        usual = {"iss": self.url, "sub": USER, "aud": AUDIENCE, "iat": now, "exp": now + 600}
        usual_header = {"alg": "RS256", "kid": self.key.kid}
        return jwt.encode(
            _changed(usual_header, header or {}),
            _changed(usual, claims),
            key or self.key,
            registry=_ANY,
        )


def _changed(usual: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    members = {**usual, **changes}
    left_out = {name for name in usual if members[name] is None}
    return {name: value for name, value in members.items() if name not in left_out}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Run an issuer."""
    pages: dict[str, Reply] = {}

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            return pages.get(self.path, Reply(404))

    with serving(Handler) as url:
        yield Issuer(url, pages)


def token_api(
    issuer: str, *, audience: tuple[str, ...] = (AUDIENCE, "other"), scopes: tuple[str, ...] = ()
) -> Template:
    """Make the resources of an API whose only route asks for a token."""
    resources = api(routes={ROUTE: "JWT"})
    own = {"AuthorizerId": {"Ref": "Authorizer"}, "AuthorizationScopes": list(scopes)}
    resources["Route0"]["Properties"] |= own
    resources["Authorizer"] = resource(
        "ApiGatewayV2::Authorizer",
        ApiId={"Ref": "Api"},
        Name="apps",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Audience": list(audience), "Issuer": issuer},
    )
    return resources
