"""The HTTP entry point: an API in front of the alias. Every request is signed and logged."""

from __future__ import annotations

import json
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

ROUTES: Final[Sequence[tuple[apigateway.HttpMethod, str]]] = (
    (apigateway.HttpMethod.POST, "/messages"),
    (apigateway.HttpMethod.GET, "/openapi.json"),
)

ACCESS_LOG: Final[Mapping[str, str]] = {
    # Also in the caller's header apigw-requestid and in the function's log.
    "api_request_id": "$context.requestId",
    "function_request_id": "$context.integration.requestId",
    "time": "$context.requestTime",
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
    "integration_error": "$context.integrationErrorMessage",
    "error": "$context.error.message",
    # The reason of a 403, which the caller does not see.
    "authorizer_error": "$context.authorizer.error",
}
"""The fields of a line of the access log: the caller and the result, never the content."""

_STAGE: Final = "$default"  # its name is not part of the URL

# SAM and the CDK name routes in this way, so every deployment of theirs shows that AWS matches it.
# There is only one stage.
_ANY_STAGE: Final = "*"

_INTEGRATION: Final = "Function"


class HttpApi(Construct):
    """An HTTP API with two routes, which require IAM authorization.

    API Gateway waits 30 s for an answer, longer than the function's timeout. There is no CORS,
    because a web page has no AWS credentials for the signature.

    Attributes
    ----------
    api
        It has the stack's name. Further routes require IAM, too.
    routes
        In the order of ``ROUTES``.
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
        authorizer = authorizers.HttpIamAuthorizer()
        self.api = apigateway.HttpApi(
            self,
            "Api",
            api_name=settings.name,
            description="Accepts requests for push notifications, signed with AWS credentials",
            default_authorizer=authorizer,
            create_default_stage=False,  # it would have no throttling and no log
        )
        self.url = self.api.api_endpoint
        integration = integrations.HttpLambdaIntegration(
            _INTEGRATION,
            alias,
            payload_format_version=apigateway.PayloadFormatVersion.VERSION_2_0,
        )
        self.routes: Sequence[apigateway.HttpRoute] = [
            route
            for method, path in ROUTES
            for route in self.api.add_routes(
                path=path, methods=[method], integration=integration, authorizer=authorizer
            )
        ]
        self._arns = [
            self.api.arn_for_execute_api(method.value, path, _ANY_STAGE) for method, path in ROUTES
        ]
        for route, arn in zip(self.routes, self._arns, strict=True):
            # The CDK's own permission would allow every method.
            permission = route.node.find_child(f"{_INTEGRATION}-Permission")
            cast(lambda_.CfnPermission, permission).source_arn = arn
        self.log_group = log_group(self, "Log", settings=settings)
        self.stage = self._stage(settings)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to call the two routes, and nothing else."""
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["execute-api:Invoke"], resource_arns=self._arns
        )

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
            format=json.dumps(ACCESS_LOG),
        )
        return stage
