"""API Gateway's HTTP APIs: an API, its integrations and its routes.

Properties that ``sandbox.http_apis`` does not implement are refused by name. To ignore one could
remove a check that keeps a caller out.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

from moto.apigatewayv2.exceptions import ApiNotFound
from moto.apigatewayv2.models import Api as MotoApi
from moto.apigatewayv2.models import ApiGatewayV2Backend, apigatewayv2_backends
from moto.apigatewayv2.models import Integration as MotoIntegration
from moto.apigatewayv2.models import Route as MotoRoute

from sandbox.cloudformation.resource import Resource, ResourceFailedError
from sandbox.http_apis.deployed import AUTHORIZATIONS, FUNCTION_ARN, LONGEST_SECONDS
from sandbox.http_apis.route_keys import problem_of, same_requests

_FOR_TOKENS: Final = ("AuthorizationScopes", "AuthorizerId")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_TIMEOUTS: Final = range(50, int(LONGEST_SECONDS * 1000) + 1)
_API_DEFAULTS: Final = (
    *("api_key_selection_expression", "cors_configuration", "description"),
    *("disable_schema_validation", "disable_execute_api_endpoint"),
    *("route_selection_expression", "version"),
)


class HttpApiResource(Resource):
    """An HTTP API, or a part of one.

    Attributes
    ----------
    implemented
        The properties that a template can have.
    only
        Properties that can have only these values.
    """

    implemented: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[tuple[tuple[str, str], ...]] = ()

    def create(self) -> None:
        """Make it."""
        self.check()
        self.make()
        self.set()

    def change(self, before: Mapping[str, Any]) -> None:
        """Set its present properties."""
        self.check()
        self.set()

    def check(self) -> None:
        """Refuse properties that are not implemented, and invalid values."""
        only = dict(self.only)
        refuse_others(self.properties, (*self.implemented, *only))
        for name in only.keys() & self.properties.keys():
            # In YAML, 2.0 is a number and false a boolean.
            given = str(self.properties[name])
            values = [value for other, value in self.only if other == name]
            if (given.lower() if given in ("True", "False") else given) not in values:
                raise ResourceFailedError(f"The sandbox knows {name} as {' or '.join(values)}.")

    @abstractmethod
    def make(self) -> None:
        """Make it, with the properties that cannot change."""

    @abstractmethod
    def set(self) -> None:
        """Set the properties that can change."""

    @property
    def backend(self) -> ApiGatewayV2Backend:
        """The backend of moto that has it."""
        backend: ApiGatewayV2Backend = apigatewayv2_backends[self.account_id][self.region]
        return backend

    @property
    def api(self) -> MotoApi:
        """Its API."""
        return self.backend.get_api(self.properties["ApiId"])


class Api(HttpApiResource):
    """An API."""

    type_name = "AWS::ApiGatewayV2::Api"
    required = ("Name", "ProtocolType")
    replaced_by = ("ProtocolType",)
    attribute_names = ("ApiEndpoint", "ApiId")
    implemented = ("Name", "Description", "Tags")
    only = (("ProtocolType", "HTTP"), ("DisableExecuteApiEndpoint", "false"))

    _api: MotoApi

    def make(self) -> None:
        """Make it."""
        defaults: dict[str, Any] = dict.fromkeys(_API_DEFAULTS)
        name = self.properties["Name"]
        self._api = self.backend.create_api(name=name, protocol_type="HTTP", tags={}, **defaults)

    def set(self) -> None:
        """Set name, description and tags."""
        self._api.name = self.properties["Name"]
        self._api.description = self.properties.get("Description", "")
        self.backend.tagger.delete_all_tags_for_resource(self._api.arn)
        self.backend.tag_resource(self._api.arn, self.tags)

    def remove(self) -> None:
        """Remove it with all its parts."""
        self.backend.delete_api(self._api.api_id)

    @property
    def physical_resource_id(self) -> str:
        """Its id."""
        return self._api.api_id

    def attributes(self) -> Mapping[str, str]:
        """Return its id, and its address, which moto has while the gateway runs."""
        return {"ApiEndpoint": self._api.api_endpoint, "ApiId": self._api.api_id}


class Integration(HttpApiResource):
    """The target of a route: a function, or a version or an alias of it."""

    type_name = "AWS::ApiGatewayV2::Integration"
    required = ("ApiId", "IntegrationType", "IntegrationUri", "PayloadFormatVersion")
    replaced_by = ("ApiId",)
    attribute_names = ("IntegrationId",)
    implemented = ("ApiId", "Description", "IntegrationUri", "TimeoutInMillis")
    only = (
        ("ConnectionType", "INTERNET"),
        ("IntegrationMethod", "POST"),
        ("IntegrationType", "AWS_PROXY"),
        ("PayloadFormatVersion", "2.0"),
    )

    _integration: MotoIntegration

    def check(self) -> None:
        """Refuse properties that are not implemented, and invalid values."""
        super().check()
        if not FUNCTION_ARN.fullmatch(self.properties["IntegrationUri"]):
            raise ResourceFailedError("The sandbox knows IntegrationUri as a function's ARN.")
        if self._timeout not in _TIMEOUTS:
            raise ResourceFailedError(f"TimeoutInMillis is from {_TIMEOUTS[0]} to {_TIMEOUTS[-1]}.")

    def make(self) -> None:
        """Make it."""
        self._integration = self.api.create_integration(
            connection_type="INTERNET",
            description="",
            integration_method="POST",
            integration_type="AWS_PROXY",
            integration_uri=self.properties["IntegrationUri"],
            payload_format_version="2.0",
        )

    def set(self) -> None:
        """Set the function and the timeout."""
        self._integration.description = self.properties.get("Description", "")
        self._integration.integration_uri = self.properties["IntegrationUri"]
        self._integration.timeout_in_millis = self._timeout

    def remove(self) -> None:
        """Remove it."""
        with suppress(ApiNotFound):
            self.api.delete_integration(self._integration.id)

    @property
    def physical_resource_id(self) -> str:
        """Its id."""
        return self._integration.id

    def attributes(self) -> Mapping[str, str]:
        """Return its id."""
        return {"IntegrationId": self._integration.id}

    @property
    def _timeout(self) -> int:
        return int(self.properties.get("TimeoutInMillis", _TIMEOUTS[-1]))


class Route(HttpApiResource):
    """A method and path, or the default for all others, and its integration."""

    type_name = "AWS::ApiGatewayV2::Route"
    required = ("ApiId", "RouteKey", "Target")
    replaced_by = ("ApiId",)
    attribute_names = ("RouteId",)
    implemented = ("ApiId", *_FOR_TOKENS, "RouteKey", "Target")
    only = (
        ("ApiKeyRequired", "false"),
        *(("AuthorizationType", name) for name in AUTHORIZATIONS),
    )

    _route: MotoRoute | None = None

    def check(self) -> None:
        """Refuse properties that are not implemented, and invalid values."""
        super().check()
        key = self.properties["RouteKey"]
        if problem := problem_of(key):
            raise ResourceFailedError(f"RouteKey {problem}.")
        kind, _, integration_id = self.properties["Target"].partition("/")
        if kind != "integrations" or integration_id not in self.api.integrations:
            raise ResourceFailedError("Target names no integration of the API.")
        others = [route for route in self.api.get_routes() if route is not self._route]
        if any(same_requests(key, route.route_key) for route in others):
            raise ResourceFailedError("Another route of the API has this RouteKey.")
        self._check_authorization()

    def make(self) -> None:
        """Make it."""
        self._route = self.api.create_route(api_key_required=False, **self._settings())

    def set(self) -> None:
        """Set its requests, its authorization and its integration."""
        route = self.api.get_route(self.physical_resource_id)
        for name, value in self._settings().items():
            setattr(route, name, value)

    def remove(self) -> None:
        """Remove it."""
        with suppress(ApiNotFound):
            self.api.delete_route(self.physical_resource_id)

    @property
    def physical_resource_id(self) -> str:
        """Its id."""
        return self._route.route_id if self._route else ""

    def attributes(self) -> Mapping[str, str]:
        """Return its id."""
        return {"RouteId": self.physical_resource_id}

    def _check_authorization(self) -> None:
        if self._authorization != "JWT":
            for name in _FOR_TOKENS:
                if self.properties.get(name):
                    raise ResourceFailedError(f"{name} needs the AuthorizationType JWT.")
            return
        if self.properties.get("AuthorizerId") not in self.api.authorizers:
            raise ResourceFailedError(
                "AuthorizerId names no authorizer of the API, which AuthorizationType JWT needs."
            )
        scopes = self.properties.get("AuthorizationScopes", [])
        if not all(_SCOPE.fullmatch(scope) for scope in scopes):
            raise ResourceFailedError("AuthorizationScopes has what is no scope of RFC 6749.")

    @property
    def _authorization(self) -> str:
        return str(self.properties.get("AuthorizationType", "NONE"))

    def _settings(self) -> dict[str, Any]:
        return {
            "authorization_scopes": self.properties.get("AuthorizationScopes", []),
            "authorization_type": self._authorization,
            "authorizer_id": self.properties.get("AuthorizerId"),
            "route_key": self.properties["RouteKey"],
            "target": self.properties["Target"],
        }


RESOURCE_TYPES: Final[list[type[Resource]]] = [Api, Integration, Route]


def refuse_others(properties: Mapping[str, Any], known: Collection[str], within: str = "") -> None:
    """Refuse unknown properties; ``within`` names the object that has them."""
    others = sorted(properties.keys() - set(known))
    if others:
        raise ResourceFailedError(f"The sandbox does not have {within}{others[0]}.")
