"""The authorizers of an HTTP API: those that check tokens (JWT)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.apigatewayv2.exceptions import ApiNotFound
from moto.apigatewayv2.models import Authorizer as MotoAuthorizer

from sandbox.cloudformation.resource import Resource, ResourceFailedError
from sandbox.http_apis.deployed import IDENTITY_SOURCE
from sandbox.http_apis.issuer_keys import is_local
from sandbox.http_apis.resources import HttpApiResource, refuse_others

_JWT: Final = ("Audience", "Issuer")
_OF_LAMBDA: Final = (
    *("auth_creds_arn", "auth_payload_format_version", "auth_result_ttl"),
    *("authorizer_uri", "enable_simple_response", "identity_validation_expr"),
)
_HTTPS: Final = re.compile(r"https://[!-~]+")


class Authorizer(HttpApiResource):
    """What a token of the header ``Authorization`` must have."""

    type_name = "AWS::ApiGatewayV2::Authorizer"
    required = ("ApiId", "AuthorizerType", "IdentitySource", "JwtConfiguration", "Name")
    replaced_by = ("ApiId",)
    attribute_names = ("AuthorizerId",)
    implemented = ("ApiId", "IdentitySource", "JwtConfiguration", "Name")
    only = (("AuthorizerType", "JWT"),)

    _authorizer: MotoAuthorizer

    def check(self) -> None:
        """Refuse properties that are not implemented, and invalid values."""
        super().check()
        if self.properties["IdentitySource"] != IDENTITY_SOURCE:
            raise ResourceFailedError(f"The sandbox knows IdentitySource as {IDENTITY_SOURCE}.")
        wanted = self.properties["JwtConfiguration"]
        refuse_others(wanted, _JWT, "JwtConfiguration.")
        for name in _JWT:
            if not wanted.get(name):
                raise ResourceFailedError(f"JwtConfiguration needs {name}.")
        # API Gateway takes only HTTPS.
        if not _HTTPS.fullmatch(wanted["Issuer"]) and not is_local(wanted["Issuer"]):
            raise ResourceFailedError(
                "JwtConfiguration.Issuer must be an https address, or in the sandbox an http"
                " address of this machine."
            )

    def make(self) -> None:
        """Make it."""
        others: dict[str, Any] = dict.fromkeys(_OF_LAMBDA)
        self._authorizer = self.api.create_authorizer(
            authorizer_type="JWT", **others, **self._settings()
        )

    def set(self) -> None:
        """Set its name and what a token must have."""
        for name, value in self._settings().items():
            setattr(self._authorizer, name, value)

    def remove(self) -> None:
        """Remove it."""
        with suppress(ApiNotFound):
            self.api.delete_authorizer(self._authorizer.id)

    @property
    def physical_resource_id(self) -> str:
        """Its id."""
        return self._authorizer.id

    def attributes(self) -> Mapping[str, str]:
        """Return its id."""
        return {"AuthorizerId": self._authorizer.id}

    def _settings(self) -> dict[str, Any]:
        wanted = self.properties["JwtConfiguration"]
        return {
            "identity_source": self.properties["IdentitySource"],
            "jwt_config": {"audience": wanted["Audience"], "issuer": wanted["Issuer"]},
            "name": self.properties["Name"],
        }


RESOURCE_TYPES: Final[list[type[Resource]]] = [Authorizer]
