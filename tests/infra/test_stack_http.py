"""The HTTP API of the stack: whom it lets in, what it writes down, and that it can be left out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.synthesized_stack import FULL, Synthesis, new_app, read, stub_bundle, synthesize

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk.aws_apigatewayv2_integrations import HttpUrlIntegration

from infra.http_api import FIXED_FORMS, FREE_TEXTS
from infra.http_api import access_log as access_log_fields
from infra.push_sender import PushSender
from infra.settings import Settings
from tests.support.invocation import Invocation, Push, log_lines

API = "AWS::ApiGatewayV2::"

ROUTES = ("POST /messages", "DELETE /schedules/{schedule_id}", "GET /openapi.json")
DEVICE_ROUTES = (
    "PUT /devices/{device_id}",
    "GET /devices/{device_id}",
    "DELETE /devices/{device_id}",
    "GET /users/{user_id}/devices",
    "DELETE /users/{user_id}",
)
MY_DEVICE_ROUTES = ("PUT /my/devices/{device_id}", "DELETE /my/devices/{device_id}")
JWT_ROUTES = ("POST /jwt/messages",)

SENDER = (*ROUTES, *JWT_ROUTES)
"""The routes to the function that sends; the others lead to the registry of devices."""

SETTINGS_OF_JWTS = {"jwt_issuer": "https://id.example.com", "jwt_audience": "app"}

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html:
# what an HTTP API knows of a request that is neither its path, its headers nor its body; of a JWT
# only the app, never its user (sub).
WRITABLE = {
    "$context.authorizer.claims.client_id",
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
    """With its own limits and without retained data."""
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
    settings = {key: value for key, value in FULL.items() if "jwt" not in key}
    return synthesize(tmp_path_factory.mktemp("without"), {**settings, "http_api": "false"})


def the_id(of: Synthesis, type_: str) -> str:
    (found,) = of.of_type(type_)
    return found


def properties(of: Synthesis, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = of.only(type_)["Properties"]
    return found


def routes(of: Synthesis) -> dict[str, dict[str, Any]]:
    found = [made["Properties"] for made in of.of_type(f"{API}Route").values()]
    by_key = {route["RouteKey"]: route for route in found}
    assert len(by_key) == len(found)
    return by_key


def route_arn(of: Synthesis, route: str) -> dict[str, Any]:
    """Give the ARN by which IAM and Lambda know a route."""
    parts: list[Any] = ["arn:", {"Ref": "AWS::Partition"}, ":execute-api:", {"Ref": "AWS::Region"}]
    parts += [":", {"Ref": "AWS::AccountId"}, ":", {"Ref": the_id(of, f"{API}Api")}]
    path = re.sub(r"\{[a-z_]+\}", "*", route.replace(" /", "/"))
    return {"Fn::Join": ["", [*parts, f"/*/{path}"]]}


def unsigned_routes(of: Synthesis) -> list[str]:
    """Find the routes that can be called without IAM."""
    return [key for key, route in routes(of).items() if route["AuthorizationType"] != "AWS_IAM"]


def aliases(of: Synthesis) -> dict[str, str]:
    """Find the alias that a route must invoke, by its route."""
    live = {
        id_
        for id_, found in of.of_type("AWS::Lambda::Alias").items()
        if found["Properties"]["Name"] == "live"
    }
    (registry,) = (id_ for id_ in live if "Devices" in id_)
    (sender,) = live - {registry}
    return {route: sender if route in SENDER else registry for route in routes(of)}


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


def test_each_route_leads_to_the_alias_of_its_function(full: Synthesis) -> None:
    integrations = full.of_type(f"{API}Integration")
    found = routes(full)
    assert sorted(found) == sorted((*SENDER, *DEVICE_ROUTES, *MY_DEVICE_ROUTES))
    for key, route in found.items():
        assert route["ApiId"] == {"Ref": the_id(full, f"{API}Api")}
        (target,) = (part["Ref"] for part in route["Target"]["Fn::Join"][1][1:])
        # No own timeout: API Gateway's 30 s are longer than the functions' 29.
        assert integrations[target]["Properties"] == {
            "ApiId": {"Ref": the_id(full, f"{API}Api")},
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": {"Ref": aliases(full)[key]},
            "PayloadFormatVersion": "2.0",
        }
    assert len(integrations) == 2
    for function in full.of_type("AWS::Lambda::Function").values():
        assert function["Properties"]["Timeout"] < 30


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (*ROUTES, *DEVICE_ROUTES)),
        ({"devices": "false"}, ROUTES),
        (SETTINGS_OF_JWTS, (*ROUTES, *DEVICE_ROUTES, *MY_DEVICE_ROUTES)),
        ({**SETTINGS_OF_JWTS, "http_jwt": "true", "devices": "false"}, SENDER),
    ],
    ids=["default", "no devices", "JWTs for devices", "JWTs for messages"],
)
def test_the_settings_decide_which_routes_there_are(
    settings: dict[str, str], expected: tuple[str, ...], tmp_path: Path
) -> None:
    made = synthesize(tmp_path, settings)
    assert sorted(routes(made)) == sorted(expected)
    has_jwts = "jwt_issuer" in settings
    assert len(made.of_type(f"{API}Authorizer")) == has_jwts
    assert ("$context.authorizer.claims.client_id" in access_log(made)[1].values()) == has_jwts


def test_every_route_requires_a_signature_or_a_valid_jwt(full: Synthesis) -> None:
    assert sorted(unsigned_routes(full)) == sorted((*JWT_ROUTES, *MY_DEVICE_ROUTES))
    authorizer = the_id(full, f"{API}Authorizer")
    assert properties(full, f"{API}Authorizer") == {
        "ApiId": {"Ref": the_id(full, f"{API}Api")},
        "Name": "Jwt",
        "AuthorizerType": "JWT",
        "IdentitySource": ["$request.header.Authorization"],
        # As it was given: API Gateway compares it with the JWT's iss, also its last slash.
        "JwtConfiguration": {"Issuer": "https://id.example.com/", "Audience": ["app", "web"]},
    }
    for key in unsigned_routes(full):
        route = routes(full)[key]
        assert route["AuthorizationType"] == "JWT"
        assert route["AuthorizerId"] == {"Ref": authorizer}
        assert route.get("AuthorizationScopes") == (["push:send"] if key in JWT_ROUTES else None)


def test_a_route_that_is_added_later_needs_iam_too(tmp_path: Path) -> None:
    app, _, sender = app_with_a_sender(tmp_path)
    assert sender.http_api is not None
    elsewhere = HttpUrlIntegration("Elsewhere", "https://example.com")
    sender.http_api.api.add_routes(
        path="/health", methods=[apigateway.HttpMethod.GET], integration=elsewhere
    )
    app.synth()
    made = read(tmp_path / "cdk.out", "Orders")
    assert routes(made).keys() == {*ROUTES, *DEVICE_ROUTES, "GET /health"}
    assert unsigned_routes(made) == []


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
    assert unsigned_routes(read(tmp_path / "cdk.out", "Orders")) == ["GET /health"]


def test_the_api_has_no_cors_and_no_other_route(full: Synthesis, limited: Synthesis) -> None:
    for made, name in ((full, "push-sender"), (limited, "push-sender-dev")):
        api = properties(made, f"{API}Api")
        assert api.keys() == {"Name", "Description", "ProtocolType"}
        assert (api["Name"], api["ProtocolType"]) == (name, "HTTP")
    assert routes(limited).keys() == {*ROUTES, *DEVICE_ROUTES}
    assert types(limited, API) == {
        f"{API}Api": 1,
        f"{API}Integration": 2,
        f"{API}Route": 8,
        f"{API}Stage": 1,
    }


def test_the_api_may_invoke_an_alias_only_for_its_own_routes(full: Synthesis) -> None:
    permissions = [
        made["Properties"]
        for made in full.of_type("AWS::Lambda::Permission").values()
        if made["Properties"]["Principal"] != "events.amazonaws.com"
    ]
    expected = [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": alias},
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": route_arn(full, route),
        }
        for route, alias in aliases(full).items()
    ]
    assert sorted(permissions, key=json.dumps) == sorted(expected, key=json.dumps)


def test_access_to_the_api_can_be_granted_alone(tmp_path: Path) -> None:
    settings = {**SETTINGS_OF_JWTS, "http_jwt": "true"}
    app, stack, sender = app_with_a_sender(tmp_path, **settings)
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
        assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)


def test_each_route_is_throttled_by_itself(full: Synthesis, tmp_path: Path) -> None:
    other = {"http_requests_per_second": "7", "http_burst": "11"}
    other |= {"jwt_requests_per_second": "3", "jwt_burst": "5"}
    limited = synthesize(tmp_path, {**SETTINGS_OF_JWTS, **other})
    for made, signed, jwt in ((full, (100, 200), (50, 100)), (limited, (7, 11), (3, 5))):
        routes = made.of_type(f"{API}Route")
        keys = [found["Properties"]["RouteKey"] for found in routes.values()]
        limits = {key: jwt if key in unsigned_routes(made) else signed for key in keys}
        assert properties(made, f"{API}Stage")["RouteSettings"] == {
            key: {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}
            for key, (rate, burst) in limits.items()
        }
        # API Gateway refuses settings of a route that does not exist yet.
        assert set(made.only(f"{API}Stage")["DependsOn"]) >= routes.keys()


def test_the_outputs_name_the_base_url_and_the_access_log(full: Synthesis) -> None:
    outputs = full.template["Outputs"]
    # API Gateway's own attribute, in every partition; it ends without a slash.
    assert outputs["ApiUrl"]["Value"] == {"Fn::GetAtt": [the_id(full, f"{API}Api"), "ApiEndpoint"]}
    assert outputs["ApiUrl"]["Description"] == "for POST /messages, signed"
    assert outputs["ApiLogGroupName"]["Value"] == {"Ref": access_log(full)[0]}


# ------------------------------------------------------------------ the access log

FORGED = 'x", "caller": "arn:aws:iam::123456789012:role/other", "status": "200'


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


@given(texts=st.lists(st.text() | st.just(FORGED), min_size=4, max_size=4))
@example(texts=[FORGED] * 4)
def test_no_value_can_replace_another_field_of_an_access_log_line(texts: list[str]) -> None:
    # Given values with any characters where a field may have them, as AWS may write them: as is
    line = json.dumps(access_log_fields(has_jwt=True))
    for variable, text in zip(FREE_TEXTS.values(), texts, strict=True):
        line = line.replace(f'"{variable}"', f'"{text}"')
    # When the line is read
    try:
        read = json.loads(line)
    except ValueError:
        return
    # Then the other fields are what API Gateway wrote
    assert {name: read[name] for name in FIXED_FORMS} == FIXED_FORMS


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
        sender = made.without("Devices")
        groups = sender.of_type("AWS::Logs::LogGroup")
        function = properties(sender, "AWS::Lambda::Function")["LoggingConfig"]["LogGroup"]["Ref"]
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
            *["AWS::Lambda::Permission"] * len(routes(full)),
            "AWS::Logs::LogGroup",
            "AWS::CloudWatch::Alarm",
        ]
    )
    assert types(full) > types(without)


def types(of: Synthesis, prefix: str = "") -> Counter[str]:
    return Counter(made["Type"] for made in of.of_type(prefix).values())


def test_access_to_a_missing_api_cannot_be_granted(tmp_path: Path) -> None:
    _, stack, sender = app_with_a_sender(tmp_path, http_api="false")
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    assert sender.http_api is None
    with pytest.raises(ValueError, match=r"no HTTP API .* set http_api to true, or .*grant_invoke"):
        sender.grant_post_messages(caller)
