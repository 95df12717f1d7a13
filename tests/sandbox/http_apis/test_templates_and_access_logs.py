"""HTTP APIs in the sandbox: their templates, and their access log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.http_apis.access_log import _VARIABLES
from sandbox.http_apis.gateway import Gateway
from tests.support.http_apis import (
    ALIAS_ARN,
    FAILED,
    FORBIDDEN,
    FUNCTION_ARN,
    NOT_FOUND,
    Api,
    HttpApiSandbox,
    api,
    changed,
)
from tests.support.templates import ACCOUNT, REGION, Template, outputs

# Templates.


def test_an_apis_endpoint_is_in_the_stack_and_in_api_gateway(sandbox: HttpApiSandbox) -> None:
    made = sandbox.api(Description="takes requests", Tags={"team": "push"})

    assert made.url == f"{sandbox.url}/execute-api/{made.api_id}"
    gateway = sandbox.client("apigatewayv2")
    (listed,) = [each for each in gateway.get_apis()["Items"] if each["ApiId"] == made.api_id]
    assert listed["ApiEndpoint"] == made.url
    assert (listed["Name"], listed["ProtocolType"]) == ("api", "HTTP")
    assert (listed["Description"], listed["Tags"]) == ("takes requests", {"team": "push"})
    by_hand = gateway.create_api(Name="by hand", ProtocolType="HTTP")
    assert by_hand["ApiEndpoint"] == f"{sandbox.url}/execute-api/{by_hand['ApiId']}"


def test_an_apis_endpoint_is_that_of_the_open_front_door(sandbox: HttpApiSandbox) -> None:
    made = sandbox.api()
    gateway = sandbox.client("apigatewayv2")
    elsewhere = "http://127.0.0.1:1"

    with Gateway(lambda *_: None).serving(elsewhere, sandbox.functions.invoke):
        inside = gateway.get_api(ApiId=made.api_id)["ApiEndpoint"]

    assert inside == f"{elsewhere}/execute-api/{made.api_id}"
    assert gateway.get_api(ApiId=made.api_id)["ApiEndpoint"] == made.url


def test_api_gateway_shows_the_templates_settings(sandbox: HttpApiSandbox) -> None:
    limits = {"ThrottlingBurstLimit": 200, "ThrottlingRateLimit": 100.5}
    own_limits = {"POST /messages": {"ThrottlingBurstLimit": 2, "ThrottlingRateLimit": 1}}
    made = sandbox.api(
        integration={"TimeoutInMillis": 5_000, "Description": "the function"},
        stage={
            "DefaultRouteSettings": limits,
            "Description": "the stage",
            "RouteSettings": own_limits,
            "Tags": {"a": "b"},
        },
    )

    gateway = sandbox.client("apigatewayv2")
    (route,) = gateway.get_routes(ApiId=made.api_id)["Items"]
    (integration,) = gateway.get_integrations(ApiId=made.api_id)["Items"]
    stage = gateway.get_stage(ApiId=made.api_id, StageName="$default")
    assert (route["RouteKey"], route["AuthorizationType"]) == ("POST /messages", "AWS_IAM")
    assert route["Target"] == f"integrations/{integration['IntegrationId']}"
    assert integration["IntegrationUri"] == ALIAS_ARN
    assert (integration["IntegrationType"], integration["TimeoutInMillis"]) == ("AWS_PROXY", 5_000)
    assert integration["PayloadFormatVersion"] == "2.0"
    assert (stage["DefaultRouteSettings"], stage["RouteSettings"]) == (limits, own_limits)
    assert (stage["AutoDeploy"], stage["Tags"]) == (True, {"a": "b"})
    assert stage["AccessLogSettings"]["Format"].startswith('{"id": ')
    resources = sandbox.client("cloudformation").describe_stack_resources(StackName=made.stack)
    ids = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in resources["StackResources"]
    }
    assert ids["Api"] == made.api_id
    assert ids["Route0"] == route["RouteId"]
    assert ids["Integration"] == integration["IntegrationId"]
    assert ids["Stage"] == "$default"


def test_an_api_is_updated_and_deleted_with_its_stack(sandbox: HttpApiSandbox) -> None:
    made = sandbox.api()
    assert made.ask().status == 200
    wanted = api(routes={"GET /x": "NONE"})
    wanted = changed(wanted, "Api", Name="renamed", Description="new")
    wanted = changed(wanted, "Integration", TimeoutInMillis=100)
    wanted = changed(
        wanted, "Stage", DefaultRouteSettings={"ThrottlingBurstLimit": 0}, AccessLogSettings=None
    )

    actual = outputs(sandbox.deploy(wanted, made.stack, "update"))

    assert actual["Id"] == made.api_id
    gateway = sandbox.client("apigatewayv2")
    assert gateway.get_api(ApiId=made.api_id)["Name"] == "renamed"
    assert [each["RouteKey"] for each in gateway.get_routes(ApiId=made.api_id)["Items"]] == [
        "GET /x"
    ]
    assert made.ask().result == NOT_FOUND
    assert made.ask("GET", "/x", caller=None).status == 429
    assert len(sandbox.log(made)) == 1

    sandbox.client("cloudformation").delete_stack(StackName=made.stack)
    assert made.api_id not in [each["ApiId"] for each in gateway.get_apis()["Items"]]
    policy = sandbox.client("lambda").get_policy(FunctionName="answers")["Policy"]
    assert made.api_id not in policy


def test_a_failed_change_is_rolled_back(sandbox: HttpApiSandbox) -> None:
    made = sandbox.api()
    wanted = changed(api(routes={"GET /x": "NONE"}), "Stage", StageName="prod")

    stack = sandbox.deploy(wanted, made.stack, "update")

    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert made.ask().status == 200
    assert made.ask("GET", "/x", caller=None).result == NOT_FOUND


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("Api", {"ProtocolType": "WEBSOCKET"}, "ProtocolType"),
    ("Api", {"CorsConfiguration": {"AllowOrigins": ["*"]}}, "CorsConfiguration"),
    ("Api", {"DisableExecuteApiEndpoint": True}, "DisableExecuteApiEndpoint"),
    ("Api", {"Body": {}}, "Body"),
    ("Api", {"Name": None}, "Name"),
    ("Integration", {"IntegrationType": "HTTP_PROXY"}, "IntegrationType"),
    ("Integration", {"IntegrationUri": "https://example.com"}, "IntegrationUri"),
    ("Integration", {"PayloadFormatVersion": "1.0"}, "PayloadFormatVersion"),
    ("Integration", {"PayloadFormatVersion": None}, "PayloadFormatVersion"),
    ("Integration", {"TimeoutInMillis": 30_001}, "TimeoutInMillis"),
    ("Integration", {"TimeoutInMillis": 49}, "TimeoutInMillis"),
    ("Integration", {"RequestParameters": {"a": "b"}}, "RequestParameters"),
    ("Integration", {"CredentialsArn": "arn:aws:iam::1:role/r"}, "CredentialsArn"),
    ("Integration", {"ConnectionType": "VPC_LINK"}, "ConnectionType"),
    ("Route0", {"AuthorizationType": "JWT"}, "AuthorizationType"),
    ("Route0", {"AuthorizationType": "CUSTOM"}, "AuthorizationType"),
    ("Route0", {"AuthorizerId": "abc"}, "AuthorizerId"),
    ("Route0", {"AuthorizationScopes": ["a"]}, "AuthorizationScopes"),
    ("Route0", {"ApiKeyRequired": True}, "ApiKeyRequired"),
    ("Route0", {"RouteKey": "POST /{proxy+}"}, "RouteKey has a greedy parameter"),
    ("Route0", {"RouteKey": "POST /messages/{a}/{a}"}, "RouteKey has a parameter twice"),
    ("Route0", {"RouteKey": "POST /messages/{id}.json"}, "a parameter is a whole segment"),
    ("Route0", {"RouteKey": "POST /messages/{}"}, "a parameter is a whole segment"),
    ("Route0", {"RouteKey": "ANY /messages"}, "RouteKey"),
    ("Route0", {"RouteKey": "POST messages"}, "RouteKey"),
    ("Route0", {"RouteKey": "$connect"}, "RouteKey"),
    ("Route0", {"Target": "integrations/none"}, "Target"),
    ("Route0", {"Target": None}, "Target"),
    ("Route1", {"RouteKey": "POST /messages"}, "RouteKey"),
    ("Stage", {"StageName": "prod"}, "StageName"),
    ("Stage", {"AutoDeploy": False}, "AutoDeploy"),
    ("Stage", {"AutoDeploy": None}, "AutoDeploy"),
    (
        "Stage",
        {"RouteSettings": {"GET /none": {"ThrottlingBurstLimit": 1}}},
        "RouteSettings names a route that the API does not have",
    ),
    (
        "Stage",
        {"RouteSettings": {"POST /messages": {"LoggingLevel": "INFO"}}},
        "RouteSettings.LoggingLevel",
    ),
    (
        "Stage",
        {"RouteSettings": {"POST /messages": {"ThrottlingBurstLimit": -1}}},
        "RouteSettings.ThrottlingBurstLimit",
    ),
    ("Stage", {"StageVariables": {"a": "b"}}, "StageVariables"),
    (
        "Stage",
        {"DefaultRouteSettings": {"DetailedMetricsEnabled": True}},
        "DefaultRouteSettings.DetailedMetricsEnabled",
    ),
    (
        "Stage",
        {"DefaultRouteSettings": {"ThrottlingRateLimit": -1}},
        "DefaultRouteSettings.ThrottlingRateLimit",
    ),
    ("Permission", {"PrincipalOrgID": "o-0123456789"}, "PrincipalOrgID"),
    ("Permission", {"EventSourceToken": "token"}, "EventSourceToken"),
    ("Permission", {"FunctionUrlAuthType": "NONE"}, "FunctionUrlAuthType"),
    ("Permission", {"Principal": None}, "Principal"),
    ("Permission", {"FunctionName": "none"}, "Function not found"),
    ("Permission", {"FunctionName": f"{FUNCTION_ARN}:none"}, "Function not found"),
]


@pytest.mark.parametrize(("name", "properties", "named"), REFUSED)
def test_an_unsupported_property_fails_the_stack_and_is_named(
    sandbox: HttpApiSandbox, name: str, properties: dict[str, Any], named: str
) -> None:
    routes = {"POST /messages": "AWS_IAM", "GET /openapi.json": "AWS_IAM"}
    resources = changed(api(routes=routes), name, **properties)

    stack = sandbox.deploy(resources)

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert named in stack["StackStatusReason"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"Format": None}, "AccessLogSettings needs Format"),
        ({"DestinationArn": None}, "AccessLogSettings needs DestinationArn"),
        ({"Format": "$context.status"}, "AccessLogSettings.Format must hold $context.requestId"),
        ({"Format": "$context.requestId\n-"}, "AccessLogSettings.Format must be a single line"),
        (
            {"Format": "$context.requestId $context.authorizer.principalId"},
            "AccessLogSettings.Format asks for $context.authorizer.principalId",
        ),
        (
            {"DestinationArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:none"},
            "AccessLogSettings.DestinationArn",
        ),
        (
            {"DestinationArn": f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/amazon-apigw"},
            "AccessLogSettings.DestinationArn",
        ),
        ({"Other": "x"}, "AccessLogSettings.Other"),
    ],
)
def test_an_invalid_access_log_fails_the_stack(
    sandbox: HttpApiSandbox, settings: dict[str, Any], reason: str
) -> None:
    resources = api()
    log = {**resources["Stage"]["Properties"]["AccessLogSettings"], **settings}
    log = {name: value for name, value in log.items() if value is not None}

    stack = sandbox.deploy(changed(resources, "Stage", AccessLogSettings=log))

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in stack["StackStatusReason"]


def test_a_second_stage_fails_the_stack(sandbox: HttpApiSandbox) -> None:
    resources = api()

    stack = sandbox.deploy({**resources, "Other": resources["Stage"]})

    assert "StageName" in stack["StackStatusReason"]


def permissions(sandbox: HttpApiSandbox, made: Api) -> list[dict[str, Any]]:
    """Give the statements of the function's policy for an API."""
    policy = json.loads(sandbox.client("lambda").get_policy(FunctionName="answers")["Policy"])
    return [each for each in policy["Statement"] if made.api_id in json.dumps(each)]


def test_a_permission_for_an_alias_remains_when_the_alias_moves(
    sandbox: HttpApiSandbox,
) -> None:
    made = sandbox.api()
    (permission,) = permissions(sandbox, made)
    assert permission == {
        "Sid": sandbox.client("cloudformation").describe_stack_resource(
            StackName=made.stack, LogicalResourceId="Permission"
        )["StackResourceDetail"]["PhysicalResourceId"],
        "Effect": "Allow",
        "Principal": {"Service": "apigateway.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": ALIAS_ARN,
        "Condition": {
            "ArnLike": {
                "AWS:SourceArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{made.api_id}/*/*"
            }
        },
    }
    own = sandbox.client("lambda")
    own.update_function_configuration(FunctionName="answers", Description="changed")
    version = own.publish_version(FunctionName="answers")["Version"]

    own.update_alias(FunctionName="answers", Name="live", FunctionVersion=version)

    assert version != "1"
    assert made.ask().status == 200


def test_a_changed_permission_replaces_the_old_one(
    sandbox: HttpApiSandbox,
) -> None:
    made = sandbox.api()
    (before,) = permissions(sandbox, made)

    sandbox.deploy(api(lets_in="/*/GET/*"), made.stack, "update")

    (after,) = permissions(sandbox, made)
    assert after["Sid"] != before["Sid"]
    assert after["Condition"]["ArnLike"]["AWS:SourceArn"].endswith("/*/GET/*")
    assert made.ask().result == FAILED


# The access log.

EVERY_VARIABLE = json.dumps({name: f"$context.{name}" for name in _VARIABLES})


def logging(log_format: str, **parts: Any) -> Template:
    resources = api(**parts)
    log = {"DestinationArn": {"Fn::GetAtt": ["Log", "Arn"]}, "Format": log_format}
    return changed(resources, "Stage", AccessLogSettings=log)


def line(sandbox: HttpApiSandbox, made: Api) -> dict[str, str]:
    """Give the one line that there is."""
    (result,) = sandbox.log(made)
    return dict(json.loads(result))


def test_an_access_log_line_has_the_caller_and_the_result(sandbox: HttpApiSandbox) -> None:
    made = sandbox.api(logging(EVERY_VARIABLE))
    user = sandbox.user({"Effect": "Allow", "Action": "execute-api:*", "Resource": "*"})

    answer = made.ask("POST", "/messages?a=1", b"abc", {"User-Agent": "test/1"}, caller=user)

    result = line(sandbox, made)
    (invocation,) = sandbox.invocations()
    context = invocation["event"]["requestContext"]
    iam = context["authorizer"]["iam"]
    for latency in ("responseLatency", "integrationLatency", "integration.latency"):
        assert result.pop(latency).isdecimal()
    assert result == {
        "accountId": ACCOUNT,
        "apiId": made.api_id,
        "authorizer.error": "-",
        "awsEndpointRequestId": invocation["request_id"],
        "error.message": "-",
        "extendedRequestId": answer.headers["apigw-requestid"],
        "httpMethod": "POST",
        "identity.accountId": ACCOUNT,
        "identity.caller": iam["callerId"],
        "identity.sourceIp": "127.0.0.1",
        "identity.user": iam["userId"],
        "identity.userAgent": "test/1",
        "identity.userArn": iam["userArn"],
        "integration.error": "-",
        "integration.integrationStatus": "200",
        "integration.requestId": invocation["request_id"],
        "integration.status": "200",
        "integrationErrorMessage": "-",
        "integrationStatus": "200",
        "path": "/messages",
        "protocol": "HTTP/1.1",
        "requestId": answer.headers["apigw-requestid"],
        "requestTime": context["time"],
        "requestTimeEpoch": str(context["timeEpoch"]),
        "responseLength": "8",
        "routeKey": "POST /messages",
        "stage": "$default",
        "status": "200",
    }
    assert user.access_key not in sandbox.log(made)[0]


def test_an_access_log_line_has_the_time_of_arrival(sandbox: HttpApiSandbox) -> None:
    made = sandbox.api(
        logging("$context.requestId [$context.requestTime] $context.responseLatency\n")
    )
    # CloudWatch Logs takes no time that is long ago.
    now = datetime.now(UTC)
    sandbox.clock.stopped_at = now.timestamp()

    made.ask(caller=None)

    (result,) = sandbox.log(made)
    assert result[16:] == f" [{now:%d/%b/%Y:%H:%M:%S} +0000] 0"


def test_each_request_to_the_api_has_an_access_log_line(
    sandbox: HttpApiSandbox, tmp_path: Path
) -> None:
    named = (
        *("status", "routeKey", "error.message", "identity.userArn", "responseLength"),
        *("integration.status", "integration.integrationStatus", "integrationErrorMessage"),
    )
    log_format = " | ".join(["$context.requestId", *(f"$context.{name}" for name in named)])
    made = sandbox.api(
        logging(
            log_format,
            integration={"TimeoutInMillis": 5_000},
            stage={"DefaultRouteSettings": {"ThrottlingBurstLimit": 6, "ThrottlingRateLimit": 0}},
        )
    )
    root = f"arn:aws:iam::{ACCOUNT}:root"
    name = sandbox.user()
    made.do(**{"return": {"statusCode": 422, "body": "no"}})
    made.do(**{"raise": "canary"})
    made.do(**{"return": {"statusCode": "canary"}})
    made.ask(caller=None)
    made.ask(caller=name)
    sandbox.client("lambda").put_function_concurrency(
        FunctionName="answers", ReservedConcurrentExecutions=0
    )
    made.ask()
    sandbox.client("lambda").delete_function_concurrency(FunctionName="answers")
    made.ask()
    made.ask("GET", "/none", caller=None)

    lines = [result.partition(" | ")[2].split(" | ") for result in sandbox.log(made)]

    lines[4][3] = "user"
    failure, key = "Internal Server Error", "POST /messages"
    assert lines == [
        ["422", key, "-", root, "2", "422", "200", "-"],
        ["500", key, failure, root, "35", "-", "200", "The function ended with an error."],
        [
            *("500", key, failure, root, "35", "-", "200"),
            "What the function has returned is no response: statusCode.",
        ],
        ["403", key, "Forbidden", "-", "23", "-", "-", "-"],
        ["403", key, "Forbidden", "user", "23", "-", "-", "-"],
        [
            *("503", key, "Service Unavailable", root, "33", "-", "429"),
            "Lambda refused the invocation: TooManyRequestsException.",
        ],
        ["429", key, "Too Many Requests", "-", "31", "-", "-", "-"],
        ["404", "-", "Not Found", "-", "23", "-", "-", "-"],
    ]


def test_an_access_log_line_says_why_the_function_was_not_reached_or_timed_out(
    sandbox: HttpApiSandbox, tmp_path: Path
) -> None:
    log_format = "$context.requestId $context.status $context.integrationErrorMessage"
    closed = sandbox.api(logging(log_format, lets_in="/none"))
    hasty = sandbox.api(logging(log_format, integration={"TimeoutInMillis": 50}))

    closed.ask()
    hasty.do(wait=str(tmp_path / "answered"))

    (tmp_path / "answered").touch()
    result = [sandbox.log(made)[0].partition(" ")[2] for made in (closed, hasty)]
    assert result == [
        "500 The function's policy does not let API Gateway in.",
        "503 The function did not answer in time.",
    ]


@pytest.mark.parametrize(
    "agent",
    [
        '", "status": "200", "x": "',
        "back\\slash\\",
        "$context.status",
        "tab\there",
        "\xc2\x85next\xe2\x80\xa8line",
        "\xff\xfe",
    ],
)
def test_no_client_can_break_or_extend_an_access_log_line(
    sandbox: HttpApiSandbox, agent: str
) -> None:
    made = sandbox.api(
        logging(
            '{"agent": "$context.identity.userAgent", "id": "$context.requestId",'
            ' "path": "$context.path", "status": "$context.status"}'
        )
    )

    made.ask_with("GET", '/%0A%22%5C,%20"status":"200"', b"", [("User-Agent", agent)])

    (result,) = sandbox.log(made)
    assert result.isascii()
    assert result.isprintable()
    read = json.loads(result)
    assert read["agent"].encode() in (agent.encode("latin-1"), agent.encode())
    assert (read["path"], read["status"]) == ('/\n"\\, "status":"200"', "404")


def test_an_api_works_without_an_access_log_or_with_a_deleted_one(sandbox: HttpApiSandbox) -> None:
    silent = sandbox.api(changed(api(), "Stage", AccessLogSettings=None))
    made = sandbox.api()
    (group,) = {
        each["logGroupName"]
        for each in sandbox.client("logs").describe_log_groups()["logGroups"]
        if made.stack in each["logGroupName"]
    }
    sandbox.client("logs").delete_log_group(logGroupName=group)

    assert [silent.ask().status, made.ask().status, made.ask(caller=None).result] == [
        *(200, 200, FORBIDDEN)
    ]
    assert sandbox.log(silent) == []
