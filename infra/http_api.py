"""The HTTP entry point: an API in front of the aliases. Every request is authorized and logged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.log_group import log_group
from infra.settings import Settings

Routes = Sequence[tuple[apigateway.HttpMethod, str]]
"""Each route's method and path; a path may have parameters, such as ``{device_id}``."""

ROUTES: Final[Routes] = (
    (apigateway.HttpMethod.POST, "/messages"),
    (apigateway.HttpMethod.DELETE, "/schedules/{schedule_id}"),
    (apigateway.HttpMethod.GET, "/openapi.json"),
)

# A route has one authorizer, so POST /messages itself cannot take signatures and JWTs.
JWT_ROUTES: Final[Routes] = ((apigateway.HttpMethod.POST, "/jwt/messages"),)

SCOPE: Final = "push:send"
"""What a JWT must allow for ``JWT_ROUTES``."""

FREE_TEXTS: Final[Mapping[str, str]] = {
    "integration_error": "$context.integrationErrorMessage",
    "error": "$context.error.message",
    # The reason of a 403, which the caller does not see.
    "authorizer_error": "$context.authorizer.error",
    # The app, as RFC 9068 names it in an access token; never the user (sub). RFC 6749 allows
    # quotes and backslashes in it.
    "jwt_client": "$context.authorizer.claims.client_id",
}
"""The fields of a line of the access log whose values may have any characters.

AWS does not document that API Gateway escapes a value. They stand first: of two members of one
name readers take the last, so a value cannot replace one of ``FIXED_FORMS``.
"""

FIXED_FORMS: Final[Mapping[str, str]] = {
    # Also in the caller's header apigw-requestid and in the function's log.
    "api_request_id": "$context.requestId",
    "function_request_id": "$context.integration.requestId",
    "time": "$context.requestTime",
    # An ARN. A session's name, its end, has letters, digits and _+=,.@- only.
    "caller": "$context.identity.userArn",
    "source_ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    # The route and not the path, which a caller chooses.
    "route": "$context.routeKey",
    "status": "$context.status",
    "response_length": "$context.responseLength",
    "response_latency": "$context.responseLatency",
    "integration_latency": "$context.integrationLatency",
    # Lambda's status: 429 if it throttled the invocation.
    "lambda_status": "$context.integration.integrationStatus",
}
"""The other fields: the caller and the result, never the content. No value has a quote."""

_OF_A_JWT: Final = "jwt_client"

_STAGE: Final = "$default"  # its name is not part of the URL

# SAM and the CDK name routes in this way, so every deployment of theirs shows that AWS matches it.
# There is only one stage.
_ANY_STAGE: Final = "*"

_INTEGRATION: Final = "Function"


def access_log(*, has_jwt: bool) -> dict[str, str]:
    """Return the fields of a line, each with its variable, in their order."""
    return {
        **{name: text for name, text in FREE_TEXTS.items() if has_jwt or name != _OF_A_JWT},
        **FIXED_FORMS,
    }


class HttpApi(Construct):
    """An HTTP API whose routes require IAM authorization, or a JWT if they say so.

    API Gateway waits 30 s for an answer, longer than the functions' timeout. There is no CORS,
    because a web page has no AWS credentials for the signature.

    Attributes
    ----------
    api
        It has the stack's name. Further routes require IAM, too.
    stage
        The only stage. Changes are deployed at once.
    log_group
        The access log.
    url
        The start of every URL, without a slash at its end.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        alias: lambda_.Alias,
    ) -> None:
        super().__init__(scope, id)
        self._settings = settings
        self._signature = authorizers.HttpIamAuthorizer()
        self._jwt = (
            authorizers.HttpJwtAuthorizer(
                "Jwt", settings.jwt_issuer, jwt_audience=list(settings.jwt_audience)
            )
            if settings.jwt_issuer and settings.jwt_audience
            else None
        )
        self.api = apigateway.HttpApi(
            self,
            "Api",
            api_name=settings.name,
            description="Accepts requests for push notifications, signed with AWS credentials",
            default_authorizer=self._signature,
            create_default_stage=False,  # it would have no throttling and no log
        )
        self.url = self.api.api_endpoint
        self.log_group = log_group(self, "Log", settings=settings)
        self.stage = self._stage(settings)
        self._route_settings: dict[str, Mapping[str, int]] = {}
        self.add_routes(
            alias, signed=ROUTES, jwt=JWT_ROUTES if settings.http_jwt else (), scopes=(SCOPE,)
        )

    def add_routes(
        self,
        alias: lambda_.Alias,
        *,
        signed: Routes,
        jwt: Routes,
        scopes: Sequence[str] = (),
    ) -> None:
        """Add routes to a function.

        Parameters
        ----------
        alias
            What the routes invoke. API Gateway may invoke it for these routes only.
        signed
            Routes that require IAM authorization. Each route has a throttle of its own.
        jwt
            Routes that require a JWT. They are left out if the settings name no issuer.
        scopes
            Of which a JWT must have one; empty if it needs none.
        """
        integration = integrations.HttpLambdaIntegration(
            _INTEGRATION,
            alias,
            payload_format_version=apigateway.PayloadFormatVersion.VERSION_2_0,
        )
        given = self._settings
        for method, path in signed:
            route = self._add_route(method, path, integration, self._signature)
            limits = given.http_requests_per_second, given.http_burst
            self._throttle(f"{method.value} {path}", route, *limits)
        if self._jwt is None:
            return
        for method, path in jwt:
            route = self._add_route(method, path, integration, self._jwt, scopes)
            limits = given.jwt_requests_per_second, given.jwt_burst
            self._throttle(f"{method.value} {path}", route, *limits)

    def grant_invoke(self, grantee: iam.IGrantable, routes: Routes = ROUTES) -> iam.Grant:
        """Allow a grantee to call these routes, and nothing else."""
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["execute-api:Invoke"],
            resource_arns=[self._arn(method, path) for method, path in routes],
        )

    def _add_route(
        self,
        method: apigateway.HttpMethod,
        path: str,
        integration: apigateway.HttpRouteIntegration,
        authorizer: apigateway.IHttpRouteAuthorizer,
        scopes: Sequence[str] = (),
    ) -> apigateway.HttpRoute:
        (route,) = self.api.add_routes(
            path=path,
            methods=[method],
            integration=integration,
            authorizer=authorizer,
            authorization_scopes=list(scopes) or None,
        )
        # The CDK's own permission would allow every method.
        permission = route.node.find_child(f"{_INTEGRATION}-Permission")
        cast(lambda_.CfnPermission, permission).source_arn = self._arn(method, path)
        return route

    def _arn(self, method: apigateway.HttpMethod, path: str) -> str:
        """Name a route as IAM and Lambda know it; a parameter stands for any value."""
        any_value = re.sub(r"\{\w+\}", "*", path)
        return self.api.arn_for_execute_api(method.value, any_value, _ANY_STAGE)

    def _throttle(self, key: str, route: apigateway.HttpRoute, rate: int, burst: int) -> None:
        """Limit a route by itself, so that the callers of the other routes keep their share.

        AWS documents limits of a stage and of a route, and not whether the routes without limits
        of their own share those of the stage.
        """
        self._route_settings[key] = {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}
        cast(
            apigateway.CfnStage, self.stage.node.default_child
        ).route_settings = self._route_settings
        # API Gateway refuses settings of a route that does not exist yet.
        self.stage.node.add_dependency(route)

    def _stage(self, settings: Settings) -> apigateway.HttpStage:
        stage = apigateway.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name=_STAGE,
            auto_deploy=True,
            throttle=apigateway.ThrottleSettings(
                rate_limit=settings.http_requests_per_second, burst_limit=settings.http_burst
            ),
        )
        # The CDK's own property would need a class of ours.
        cast(
            apigateway.CfnStage, stage.node.default_child
        ).access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=self.log_group.log_group_arn,
            # Every value is text, because a missing value is a hyphen, which is not JSON.
            format=json.dumps(access_log(has_jwt=self._jwt is not None)),
        )
        return stage
