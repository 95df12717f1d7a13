"""The HTTP API of the stack: whom it lets in, what it writes down, and that it can be left out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.synthesized_stack import FULL, Synthesis, new_app, read, stub_bundle, synthesize

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk.aws_apigatewayv2_integrations import HttpUrlIntegration

from infra.push_sender import PushSender
from infra.settings import Settings
from tests.support.invocation import Invocation, Push, log_lines

API = "AWS::ApiGatewayV2::"

ROUTES = ("POST /messages", "GET /openapi.json")

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html:
# what an HTTP API with IAM knows of a request that is neither its path, its headers nor its body.
WRITABLE = {
    "$context.authorizer.error",
    "$context.error.message",
    "$context.httpMethod",
    "$context.identity.sourceIp",
    "$context.identity.userArn",
    "$context.integration.integrationStatus",
    "$context.integration.requestId",
    "$context.integrationErrorMessage",
    "$context.integrationLatency",
    "$context.requestId",
    "$context.requestTime",
    "$context.responseLatency",
    "$context.responseLength",
    "$context.routeKey",
    "$context.status",
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is."""
    return synthesize(tmp_path_factory.mktemp("full"), FULL)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Limits of its own, and nothing that stays."""
    settings = {
        "stage": "dev",
        "http_requests_per_second": "7",
        "http_burst": "11",
        "log_retention_days": "731",
        "retain_data": "false",
    }
    return synthesize(tmp_path_factory.mktemp("limited"), settings)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """All but the API."""
    return synthesize(tmp_path_factory.mktemp("without"), {**FULL, "http_api": "false"})


def the_id(of: Synthesis, type_: str) -> str:
    (found,) = of.of_type(type_)
    return found


def properties(of: Synthesis, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = of.only(type_)["Properties"]
    return found


def route_arn(of: Synthesis, route: str) -> dict[str, Any]:
    """Give the ARN by which IAM and Lambda know a route."""
    parts: list[Any] = ["arn:", {"Ref": "AWS::Partition"}, ":execute-api:", {"Ref": "AWS::Region"}]
    parts += [":", {"Ref": "AWS::AccountId"}, ":", {"Ref": the_id(of, f"{API}Api")}]
    return {"Fn::Join": ["", [*parts, "/*/" + route.replace(" /", "/")]]}


def open_routes(of: Synthesis) -> list[str]:
    """Find the routes that somebody may call without being let in by IAM."""
    return [
        made["Properties"]["RouteKey"]
        for made in of.of_type(f"{API}Route").values()
        if made["Properties"].get("AuthorizationType") != "AWS_IAM"
    ]


def app_with_a_sender(folder: Path, **settings: Any) -> tuple[cdk.App, cdk.Stack, PushSender]:
    """Begin an app in which another team's stack has the construct."""
    app = new_app(folder)
    stack = cdk.Stack(app, "Orders")
    sender = PushSender(
        stack,
        "PushSender",
        settings=Settings.from_context({"stage": "orders", **settings}),
        bundle=stub_bundle(folder),
    )
    return app, stack, sender


def granted(of: Synthesis, role: str) -> list[dict[str, Any]]:
    (policy,) = (
        made["Properties"]["PolicyDocument"]["Statement"]
        for id_, made in of.of_type("AWS::IAM::Policy").items()
        if id_.startswith(role)
    )
    found: list[dict[str, Any]] = policy
    return found


# ------------------------------------------------------------------ who is let in


def test_the_api_has_two_routes_to_the_alias(full: Synthesis) -> None:
    routes = [made["Properties"] for made in full.of_type(f"{API}Route").values()]
    assert sorted(route["RouteKey"] for route in routes) == sorted(ROUTES)
    integration = the_id(full, f"{API}Integration")
    for route in routes:
        assert route["ApiId"] == {"Ref": the_id(full, f"{API}Api")}
        assert route["Target"] == {"Fn::Join": ["", ["integrations/", {"Ref": integration}]]}
    # No timeout of its own: API Gateway's 30 s are longer than the function's 29.
    assert properties(full, f"{API}Integration") == {
        "ApiId": {"Ref": the_id(full, f"{API}Api")},
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": {"Ref": the_id(full, "AWS::Lambda::Alias")},
        "PayloadFormatVersion": "2.0",
    }
    assert properties(full, "AWS::Lambda::Function")["Timeout"] < 30


def test_no_route_is_open(full: Synthesis) -> None:
    assert open_routes(full) == []


def test_a_route_that_is_added_later_needs_iam_too(tmp_path: Path) -> None:
    app, _, sender = app_with_a_sender(tmp_path)
    assert sender.http_api is not None
    elsewhere = HttpUrlIntegration("Elsewhere", "https://example.com")
    sender.http_api.api.add_routes(
        path="/health", methods=[apigateway.HttpMethod.GET], integration=elsewhere
    )
    app.synth()
    made = read(tmp_path / "cdk.out", "Orders")
    assert len(made.of_type(f"{API}Route")) == len(ROUTES) + 1
    assert open_routes(made) == []


def test_a_route_without_authorization_is_detected(tmp_path: Path) -> None:
    app, _, sender = app_with_a_sender(tmp_path)
    assert sender.http_api is not None
    sender.http_api.api.add_routes(
        path="/health",
        methods=[apigateway.HttpMethod.GET],
        integration=HttpUrlIntegration("Elsewhere", "https://example.com"),
        authorizer=apigateway.HttpNoneAuthorizer(),
    )
    app.synth()
    assert open_routes(read(tmp_path / "cdk.out", "Orders")) == ["GET /health"]


def test_the_api_has_no_cors_and_no_other_route(full: Synthesis, limited: Synthesis) -> None:
    for made, name in ((full, "push-sender"), (limited, "push-sender-dev")):
        api = properties(made, f"{API}Api")
        assert api.keys() == {"Name", "Description", "ProtocolType"}
        assert (api["Name"], api["ProtocolType"]) == (name, "HTTP")
        types = [found["Type"] for found in made.of_type(API).values()]
        assert sorted(types) == [
            f"{API}{part}" for part in ("Api", "Integration", *["Route"] * 2)
        ] + [f"{API}Stage"]


def test_among_services_only_the_api_with_its_routes_can_invoke_the_alias(
    full: Synthesis,
) -> None:
    permissions = [made["Properties"] for made in full.of_type("AWS::Lambda::Permission").values()]
    expected = [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": the_id(full, "AWS::Lambda::Alias")},
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": route_arn(full, route),
        }
        for route in ROUTES
    ]
    assert sorted(permissions, key=json.dumps) == sorted(expected, key=json.dumps)


def test_access_to_the_api_can_be_granted_alone(tmp_path: Path) -> None:
    app, stack, sender = app_with_a_sender(tmp_path)
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    sender.grant_post_messages(caller)
    app.synth()
    made = read(tmp_path / "cdk.out", "Orders")
    assert granted(made, "Caller") == [
        {
            "Effect": "Allow",
            "Action": "execute-api:Invoke",
            "Resource": [route_arn(made, route) for route in sorted(ROUTES)],
        }
    ]


# ------------------------------------------------------------------ how much, and how it is run


def test_the_stage_is_throttled_as_configured_and_deploys_changes(
    full: Synthesis, limited: Synthesis
) -> None:
    for made, rate, burst in ((full, 100, 200), (limited, 7, 11)):
        stage = properties(made, f"{API}Stage")
        assert stage["DefaultRouteSettings"] == {
            "ThrottlingRateLimit": rate,
            "ThrottlingBurstLimit": burst,
        }
        assert "RouteSettings" not in stage
        assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)


def test_the_outputs_name_the_base_url_and_the_access_log(full: Synthesis) -> None:
    outputs = full.template["Outputs"]
    # What API Gateway itself tells, in every partition; it ends without a slash.
    assert outputs["ApiUrl"]["Value"] == {"Fn::GetAtt": [the_id(full, f"{API}Api"), "ApiEndpoint"]}
    assert outputs["ApiUrl"]["Description"] == "for POST /messages, signed"
    assert outputs["ApiLogGroupName"]["Value"] == {"Ref": access_log(full)[0]}


# ------------------------------------------------------------------ the access log


def access_log(of: Synthesis) -> tuple[str, Mapping[str, str]]:
    """Give the access log's group and the fields of a line."""
    settings = properties(of, f"{API}Stage")["AccessLogSettings"]
    group, attribute = settings["DestinationArn"]["Fn::GetAtt"]
    assert attribute == "Arn"
    fields: dict[str, str] = json.loads(settings["Format"])
    return group, fields


def test_the_access_log_holds_no_content_of_requests(full: Synthesis) -> None:
    _, fields = access_log(full)
    assert set(fields.values()) <= WRITABLE
    assert {"$context.identity.userArn", "$context.routeKey", "$context.status"} <= set(
        fields.values()
    )


def test_an_access_log_line_is_json_for_any_request(full: Synthesis) -> None:
    format_ = properties(full, f"{API}Stage")["AccessLogSettings"]["Format"]
    assert "\n" not in format_
    # What a request does not have, API Gateway writes as a hyphen.
    line = json.loads(re.sub(r"\$context(\.\w+)+", "-", format_))
    assert set(line.values()) == {"-"}


def test_the_access_log_can_be_joined_with_the_functions_log(
    full: Synthesis, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given what the function names an invocation by
    push({"recipient": {"token": "t", "service": "GCM"}, "message": "m"})
    (joined,) = (
        name
        for line in log_lines(capsys.readouterr().out)
        for name, value in line.items()
        if value == Invocation(1).aws_request_id
    )
    # Then the access log has it under the same name
    assert access_log(full)[1][joined] == "$context.integration.requestId"


def test_the_access_log_has_its_own_group_with_the_functions_retention(
    full: Synthesis, limited: Synthesis
) -> None:
    for made, days in ((full, 30), (limited, 731)):
        group, _ = access_log(made)
        groups = made.of_type("AWS::Logs::LogGroup")
        function = properties(made, "AWS::Lambda::Function")["LoggingConfig"]["LogGroup"]["Ref"]
        assert groups.keys() == {group, function}
        assert groups[group] == groups[function]
        assert groups[group]["Properties"] == {"RetentionInDays": days}


# ------------------------------------------------------------------ without it


def test_without_the_api_none_of_its_resources_exist(full: Synthesis, without: Synthesis) -> None:
    assert "ApiGateway" not in json.dumps(without.template)
    assert "execute-api" not in json.dumps(without.template)
    assert full.template["Outputs"].keys() - without.template["Outputs"].keys() == {
        "ApiUrl",
        "ApiLogGroupName",
    }
    assert without.template["Outputs"].keys() < full.template["Outputs"].keys()
    assert types(full) - types(without) == Counter(
        [
            *(found["Type"] for found in full.of_type(API).values()),
            *["AWS::Lambda::Permission"] * len(ROUTES),
            "AWS::Logs::LogGroup",
            "AWS::CloudWatch::Alarm",
        ]
    )
    assert types(full) > types(without)


def types(of: Synthesis) -> Counter[str]:
    return Counter(made["Type"] for made in of.template["Resources"].values())


def test_access_to_a_missing_api_cannot_be_granted(tmp_path: Path) -> None:
    _, stack, sender = app_with_a_sender(tmp_path, http_api="false")
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    assert sender.http_api is None
    with pytest.raises(ValueError, match=r"no HTTP API .* set http_api to true, or .*grant_invoke"):
        sender.grant_post_messages(caller)
