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
    # What the caller is told in the header apigw-requestid, and what the function's log has.
    "api_request_id": "$context.requestId",
    "function_request_id": "$context.integration.requestId",
    "time": "$context.requestTime",
    "caller": "$context.identity.userArn",
    "source_ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    # The route and not the path, which may be anything that a caller has put there.
    "route": "$context.routeKey",
    "status": "$context.status",
    "response_length": "$context.responseLength",
    "response_latency": "$context.responseLatency",
    "integration_latency": "$context.integrationLatency",
    # Lambda's own answer: 429 where it turned the invocation away.
    "lambda_status": "$context.integration.integrationStatus",
    "integration_error": "$context.integrationErrorMessage",
    "error": "$context.error.message",
    # Why a caller was answered 403, which the caller is not told.
    "authorizer_error": "$context.authorizer.error",
}
"""The fields of a line of the access log: who called and what became of it, never what was sent."""

_STAGE: Final = "$default"  # the one whose name is in no URL

# As SAM and the CDK name routes: that AWS matches this is seen in every deployment of theirs.
# There is but one stage.
_ANY_STAGE: Final = "*"

_INTEGRATION: Final = "Function"


class HttpApi(Construct):
    """An HTTP API that lets in whom IAM lets in, by two routes.

    An answer is waited for 30 s, API Gateway's own limit, which the function's timeout is
    below. No CORS: a web page has no credentials of an AWS account to sign with.

    Attributes
    ----------
    api
        Named like the stack. A route that is added to it is for IAM, too.
    routes
        In the order of ``ROUTES``.
    stage
        The one there is; what changes is deployed at once.
    log_group
        The access log.
    url
        What a path is put after; it has no slash at its end.
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
            description="Takes requests for push notifications, signed by AWS credentials",
            default_authorizer=authorizer,
            create_default_stage=False,  # it would have neither throttling nor a log
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
            # The CDK's own would be of every method.
            permission = route.node.find_child(f"{_INTEGRATION}-Permission")
            cast(lambda_.CfnPermission, permission).source_arn = arn
        self.log_group = log_group(self, "Log", settings=settings)
        self.stage = self._stage(settings)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody call the two routes, and nothing else."""
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
        # The CDK takes these as an object of a class that would have to be written for it.
        cast(
            apigateway.CfnStage, stage.node.default_child
        ).access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=self.log_group.log_group_arn,
            # All is text: what a request does not have is a hyphen, which is no JSON by itself.
            format=json.dumps(ACCESS_LOG),
        )
        return stage
