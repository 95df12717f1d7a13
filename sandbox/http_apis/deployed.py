"""The deployed APIs, read from moto's API Gateway again for every request.

An API that was not made by a template can have features that the sandbox lacks. A call to such an
API is refused, and never passes with fewer checks than the API has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from moto.apigatewayv2.models import Api, Authorizer, Integration, apigatewayv2_backends
from moto.apigatewayv2.models import Route as MotoRoute
from moto.utilities.utils import get_partition

from sandbox.http_apis.route_keys import best_match
from sandbox.http_apis.throttling import ACCOUNT_LIMIT, Limit

STAGE: Final = "$default"
LONGEST_SECONDS: Final = 30.0
AUTHORIZATIONS: Final = ("AWS_IAM", "JWT", "NONE")
IDENTITY_SOURCE: Final = ["$request.header.Authorization"]

FUNCTION_ARN: Final = re.compile(
    r"arn:[\w-]+:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+(:[\w$-]+)?", re.ASCII
)
LOG_GROUP_ARN: Final = re.compile(
    r"arn:[\w-]+:logs:[a-z0-9-]+:\d{12}:log-group:(?P<name>[\w./#-]+)(:\*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class JwtAuthorizer:
    """What a token must have.

    Attributes
    ----------
    issuer
        Its ``iss``.
    audiences
        One of them must be in its ``aud``, or be its ``client_id``.
    scopes
        The route's; the token must have one of them, if there are any.
    """

    issuer: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a request, and its integration.

    Attributes
    ----------
    parameters
        The values of the parameters in its path.
    asks_iam
        Whether IAM must allow the caller.
    jwt
        What the caller's token must have, if the route asks for a token.
    function_arn
        With its qualifier, if it has one.
    seconds
        The timeout of the function's answer.
    """

    route_id: str
    key: str
    parameters: Mapping[str, str]
    asks_iam: bool
    jwt: JwtAuthorizer | None
    function_arn: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DeployedApi:
    """An API with its only stage.

    Attributes
    ----------
    limit
        The limit of each route without one of its own.
    route_limits
        The limits of single routes, by key.
    log_group, log_format
        The access log's; empty without an access log.
    """

    api_id: str
    account_id: str
    region: str
    limit: Limit
    route_limits: Mapping[str, Limit]
    log_group: str
    log_format: str
    _api: Api

    def route(self, method: str, path: str) -> Route | None:
        """Find the route for a request; the default route comes last.

        Raises
        ------
        NotImplementedError
            If the route or its integration is of a kind that the sandbox does not have.
        """
        routes = {route.route_key: route for route in self._api.get_routes()}
        match = best_match(routes, method, path)
        return _route(self._api, routes[match.key], match.parameters) if match else None

    def limit_of(self, route: Route) -> Limit:
        """Return the limit of a route."""
        return self.route_limits.get(route.key, self.limit)

    def arn(self, method: str, path: str) -> str:
        """Return the resource that a caller needs permission for."""
        return self._arn(f"{method}{path}")

    def source_arn(self, route: Route) -> str:
        """Return the source ARN that a function's policy must allow.

        It has the route's path, not the request's: the CDK's ``HttpLambdaIntegration`` allows
        ``*/*/devices/{device_id}``.
        """
        return self._arn(route.key.replace(" ", "", 1))

    def _arn(self, resource: str) -> str:
        place = f"{get_partition(self.region)}:execute-api:{self.region}:{self.account_id}"
        return f"arn:{place}:{self.api_id}/{STAGE}/{resource}"


def find_api(api_id: str) -> DeployedApi | None:
    """Find an API with its stage, in any account and region."""
    # Copies, because a deployment can add to them at the same time.
    for account_id, regions in list(apigatewayv2_backends.items()):
        for region, backend in list(regions.items()):
            api = backend.apis.get(api_id)
            if api is None or api.protocol_type != "HTTP" or STAGE not in api.stages:
                continue
            return _deployed(api, account_id, region)
    return None


def find_authorizers() -> list[JwtAuthorizer]:
    """Find the JWT authorizers of all APIs."""
    return [
        _jwt_authorizer(authorizer)
        for regions in list(apigatewayv2_backends.values())
        for backend in list(regions.values())
        for api in list(backend.apis.values())
        for authorizer in list(api.authorizers.values())
        if _is_supported(authorizer)
    ]


def _deployed(api: Api, account_id: str, region: str) -> DeployedApi:
    stage = api.stages[STAGE]
    log: dict[str, str] = stage.access_log_settings or {}
    group = LOG_GROUP_ARN.fullmatch(log.get("destinationArn", ""))
    return DeployedApi(
        api_id=api.api_id,
        account_id=account_id,
        region=region,
        limit=_limit(stage.default_route_settings),
        route_limits={key: _limit(own) for key, own in stage.route_settings.items()},
        log_group=group["name"] if group else "",
        log_format=log.get("format", ""),
        _api=api,
    )


def _limit(settings: Mapping[str, Any]) -> Limit:
    # A setting that a route leaves out is the account's, not the stage's default
    # (terraform-aws-modules/terraform-aws-apigateway-v2#78).
    return Limit(
        float(settings.get("throttlingRateLimit", ACCOUNT_LIMIT.rate)),
        float(settings.get("throttlingBurstLimit", ACCOUNT_LIMIT.burst)),
    )


def _route(api: Api, route: MotoRoute, parameters: Mapping[str, str]) -> Route:
    authorization = route.authorization_type or "NONE"
    if authorization not in AUTHORIZATIONS:
        raise NotImplementedError(f"routes with {authorization} authorization")
    integration = api.integrations.get(route.target.removeprefix("integrations/"))
    if integration is None or not _is_usable(integration):
        raise NotImplementedError("routes to anything but a function, by payload format 2.0")
    return Route(
        route_id=route.route_id,
        key=route.route_key,
        parameters=parameters,
        asks_iam=authorization == "AWS_IAM",
        jwt=_asked_token(api, route) if authorization == "JWT" else None,
        function_arn=integration.integration_uri,
        seconds=min(LONGEST_SECONDS, int(integration.timeout_in_millis or 0) / 1000),
    )


def _asked_token(api: Api, route: MotoRoute) -> JwtAuthorizer:
    authorizer = api.authorizers.get(route.authorizer_id or "")
    if authorizer is None or not _is_supported(authorizer):
        raise NotImplementedError("routes with JWT authorization without a JWT authorizer")
    return _jwt_authorizer(authorizer, tuple(route.authorization_scopes or ()))


def _is_supported(authorizer: Authorizer) -> bool:
    source: Any = authorizer.identity_source
    return authorizer.authorizer_type == "JWT" and source == IDENTITY_SOURCE


def _jwt_authorizer(authorizer: Authorizer, scopes: tuple[str, ...] = ()) -> JwtAuthorizer:
    wanted: Any = authorizer.jwt_config
    return JwtAuthorizer(wanted["issuer"], tuple(wanted["audience"]), scopes)


def _is_usable(integration: Integration) -> bool:
    return (
        integration.integration_type == "AWS_PROXY"
        and integration.payload_format_version == "2.0"
        and FUNCTION_ARN.fullmatch(integration.integration_uri or "") is not None
    )
