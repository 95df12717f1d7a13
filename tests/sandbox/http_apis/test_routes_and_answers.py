"""HTTP APIs in the sandbox: the route of a request, and the answer to its client."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from sandbox.http_apis.throttling import Limit, Throttle
from tests.support.http_apis import (
    ALIAS_ARN,
    FAILED,
    FORBIDDEN,
    FUNCTION_ARN,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    UNAVAILABLE,
    Api,
    HttpApiSandbox,
    changed,
    invoking,
)
from tests.support.http_apis import api as api_template
from tests.support.templates import ACCOUNT, REGION

OPEN = {"$default": "NONE"}


# Routes.


@pytest.mark.parametrize(
    ("method", "path", "key", "expected"),
    [
        ("GET", "", "$default", "/"),
        ("GET", "/", "$default", "/"),
        ("GET", "/openapi.json", "GET /openapi.json", "/openapi.json"),
        ("GET", "/openapi%2Ejson?x=/messages", "GET /openapi.json", "/openapi.json"),
        ("GET", "/openapi.json/", "$default", "/openapi.json/"),
        ("GET", "/OPENAPI.JSON", "$default", "/OPENAPI.JSON"),
        ("POST", "/openapi.json", "$default", "/openapi.json"),
        ("BREW", "/%E2%98%95%20a%2Fb", "$default", "/☕ a/b"),
        ("GET", "//openapi.json", "$default", "//openapi.json"),
        ("GET", "/../other/openapi.json", "$default", "/../other/openapi.json"),
    ],
)
def test_a_request_takes_its_exact_route_or_the_default_route(
    sandbox: HttpApiSandbox, api: Api, method: str, path: str, key: str, expected: str
) -> None:
    assert api.ask(method, path, caller=None).status == 200

    event = sandbox.event()
    assert (event["routeKey"], event["rawPath"]) == (key, expected)
    http = event["requestContext"]["http"]
    assert (http["method"], http["path"]) == (method, expected)


DEVICE = "PUT /devices/{device_id}"
MINE = "PUT /devices/mine"
OF_A_USER = "PUT /users/{user_id}/devices"
OF_ANNA = "PUT /users/anna/{what}"


@pytest.fixture(scope="module")
def devices(_running: HttpApiSandbox) -> Api:
    keys = (OF_A_USER, OF_ANNA, DEVICE, MINE, "$default")
    return _running.api(routes=dict.fromkeys(keys, "NONE"))


@pytest.mark.parametrize(
    ("path", "key", "parameters"),
    [
        ("/devices/mine", MINE, None),
        ("/devices/Mine", DEVICE, {"device_id": "Mine"}),
        ("/devices/a", DEVICE, {"device_id": "a"}),
        ("/devices/a%7Cb%40c%3A+~=", DEVICE, {"device_id": "a|b@c:+~="}),
        ("/devices/%E4%B8%96%20%E7%95%8C", DEVICE, {"device_id": "世 界"}),
        ("/devices/%7Bdevice_id%7D", DEVICE, {"device_id": "{device_id}"}),
        ("/devices/a%0Ab", DEVICE, {"device_id": "a\nb"}),
        ("/devices/..", DEVICE, {"device_id": ".."}),
        ("/devices/a?device_id=b", DEVICE, {"device_id": "a"}),
        ("/devices/a%2Fb", "$default", None),
        ("/devices/", "$default", None),
        ("/devices", "$default", None),
        ("/devices/a/", "$default", None),
        ("/users/1/devices", OF_A_USER, {"user_id": "1"}),
        ("/users//devices", "$default", None),
        ("/users/anna/devices", OF_ANNA, {"what": "devices"}),
        ("/users/1/others", "$default", None),
    ],
)
def test_a_request_takes_the_route_that_names_its_path_best(
    sandbox: HttpApiSandbox, devices: Api, path: str, key: str, parameters: dict[str, str] | None
) -> None:
    assert devices.ask("PUT", path, caller=None).status == 200

    event = sandbox.event()
    assert (event["routeKey"], event["requestContext"]["routeKey"]) == (key, key)
    assert event.get("pathParameters") == parameters
    assert event["rawPath"] == unquote(path.partition("?")[0])


def test_another_method_does_not_take_a_route_with_parameters(
    sandbox: HttpApiSandbox, devices: Api
) -> None:
    devices.ask("GET", "/devices/a", caller=None)

    assert sandbox.event()["routeKey"] == "$default"


@pytest.mark.parametrize(
    ("lets_in", "status"),
    [
        ("/*/*/devices/{device_id}", 200),
        ("/*/PUT/devices/*", 200),
        ("/*/*/devices/a", 500),
        ("/*/*/users/*", 500),
    ],
)
def test_the_functions_policy_names_a_route_by_its_parameters(
    sandbox: HttpApiSandbox, lets_in: str, status: int
) -> None:
    api = sandbox.api(routes={DEVICE: "NONE"}, lets_in=lets_in)

    assert api.ask("PUT", "/devices/a", caller=None).status == status


@pytest.mark.parametrize(
    ("resource", "status"),
    [("PUT/devices/*", 200), ("PUT/devices/a", 200), ("PUT/devices/{device_id}", 403)],
)
def test_a_callers_policy_names_the_path_of_the_request(
    sandbox: HttpApiSandbox, resource: str, status: int
) -> None:
    api = sandbox.api(routes={DEVICE: "AWS_IAM"})
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.api_id}/*/{resource}"

    answer = api.ask("PUT", "/devices/a", caller=sandbox.user(invoking(arn)))

    assert answer.status == status


def test_routes_that_differ_in_the_name_of_a_parameter_are_one_route(
    sandbox: HttpApiSandbox,
) -> None:
    stack = sandbox.deploy(api_template(routes={DEVICE: "NONE", "PUT /devices/{id}": "NONE"}))

    assert "Another route of the API has this RouteKey" in stack["StackStatusReason"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/messages"), ("POST", "/"), ("POST", "/messages/1"), ("OPTIONS", "/messages")],
)
def test_a_request_without_a_route_is_not_found(
    sandbox: HttpApiSandbox, method: str, path: str
) -> None:
    api = sandbox.api()

    answer = api.ask(method, path)

    assert answer.result == NOT_FOUND
    assert answer.headers["apigw-requestid"]
    assert not sandbox.invocations()


def test_an_unknown_api_is_not_found(sandbox: HttpApiSandbox) -> None:
    api = sandbox.api()
    sandbox.client("cloudformation").delete_stack(StackName=api.stack)

    for gone in (api, Api("", api.url, ""), Api("../x", api.url, ""), Api("%2e", api.url, "")):
        assert gone.ask().result == NOT_FOUND
    assert not sandbox.invocations()


def test_unsupported_kinds_of_apis_are_never_invoked(
    sandbox: HttpApiSandbox,
) -> None:
    gateway = sandbox.client("apigatewayv2")
    api = sandbox.api()
    (route,) = gateway.get_routes(ApiId=api.api_id)["Items"]

    gateway.update_route(ApiId=api.api_id, RouteId=route["RouteId"], AuthorizationType="JWT")
    assert api.ask().status == 501
    gateway.update_route(ApiId=api.api_id, RouteId=route["RouteId"], AuthorizationType="NONE")
    (integration,) = gateway.get_integrations(ApiId=api.api_id)["Items"]
    gateway.update_integration(
        ApiId=api.api_id, IntegrationId=integration["IntegrationId"], PayloadFormatVersion="1.0"
    )
    assert api.ask().status == 501
    assert not sandbox.invocations()


# Answers.


@pytest.mark.parametrize(
    ("returned", "status", "kind", "body"),
    [
        ({"statusCode": 201, "body": "a"}, 201, "text/plain;charset=UTF-8", b"a"),
        ({"statusCode": 404}, 404, "text/plain;charset=UTF-8", b""),
        ({"statusCode": 200, "body": None, "headers": None}, 200, "text/plain;charset=UTF-8", b""),
        (
            {"statusCode": 200, "headers": {"content-type": "a/b"}, "body": "hä"},
            *(200, "a/b", "hä".encode()),
        ),
        (
            {"statusCode": 200, "body": "AAH/", "isBase64Encoded": True},
            *(200, "text/plain;charset=UTF-8", b"\x00\x01\xff"),
        ),
        ({"hello": "world"}, 200, "application/json", b'{"hello": "world"}'),
        ({"body": "a"}, 200, "application/json", b'{"body": "a"}'),
        ("text", 200, "application/json", b'"text"'),
        ([1, None], 200, "application/json", b"[1, null]"),
        (None, 200, "application/json", b"null"),
    ],
)
def test_the_functions_return_value_becomes_the_response(
    api: Api, returned: Any, status: int, kind: str, body: bytes
) -> None:
    answer = api.do(**{"return": returned})

    assert (answer.status, answer.headers["Content-Type"], answer.body) == (status, kind, body)
    assert answer.headers["apigw-requestid"]


def test_headers_and_cookies_of_a_function_reach_the_client(api: Api) -> None:
    headers = {
        "X-Text": "a, b",
        "x-number": 5,
        "X-Truth": True,
        "Content-Length": "1000",
        "Transfer-Encoding": "chunked",
        "Connection": "close",
        "Apigw-Requestid": "forged",
    }
    cookies = ["a=1; Path=/", "b=2"]

    answer = api.do(
        **{"return": {"statusCode": 200, "headers": headers, "cookies": cookies, "body": "x"}}
    )

    result = answer.headers
    assert (result["X-Text"], result["x-number"], result["X-Truth"]) == ("a, b", "5", "true")
    assert result.get_all("Set-Cookie") == cookies
    assert (result["Content-Length"], answer.body) == ("1", b"x")
    assert result.get_all("apigw-requestid") != ["forged"]
    assert len(result.get_all("apigw-requestid") or []) == 1
    assert "Transfer-Encoding" not in result


@pytest.mark.parametrize(
    "returned",
    [
        *({"statusCode": code} for code in ("200", 99, 199, 600, True, None, 200.0, [200])),
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"X-A": None}},
        {"statusCode": 200, "headers": {"X-A": {"b": 1}}},
        {"statusCode": 200, "headers": {"X-A": "a\r\nX-Split: yes"}},
        {"statusCode": 200, "headers": {"X-A": "a\nX-Split: yes"}},
        {"statusCode": 200, "headers": {"X-A\r\nX-Split": "yes"}},
        {"statusCode": 200, "headers": {"X-A:": "a"}},
        {"statusCode": 200, "headers": {"": "a"}},
        {"statusCode": 200, "headers": {"X-A": "€"}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": [1]},
        {"statusCode": 200, "cookies": ["a=1\r\nX-Split: yes"]},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": "ä", "isBase64Encoded": True},
    ],
)
def test_an_invalid_return_value_is_an_internal_server_error(api: Api, returned: Any) -> None:
    answer = api.do(**{"return": returned})

    assert answer.result == FAILED
    assert "X-Split" not in answer.headers


def test_an_error_of_the_function_gives_500_without_details(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    assert api.do(**{"raise": "canary"}).result == FAILED
    assert any("canary" in line for line in sandbox.functions.logs("answers"))


def test_a_function_that_exceeds_the_integration_timeout_gives_503(
    sandbox: HttpApiSandbox, tmp_path: Path
) -> None:
    api = sandbox.api(integration={"TimeoutInMillis": 50})

    assert api.do(wait=str(tmp_path / "answered")).result == UNAVAILABLE

    (tmp_path / "answered").touch()


def test_a_throttled_function_gives_503(sandbox: HttpApiSandbox, api: Api) -> None:
    own = sandbox.client("lambda")
    own.put_function_concurrency(FunctionName="answers", ReservedConcurrentExecutions=0)
    try:
        assert api.ask().result == UNAVAILABLE
    finally:
        own.delete_function_concurrency(FunctionName="answers")
    assert not sandbox.invocations()


def test_a_deleted_function_gives_500(sandbox: HttpApiSandbox) -> None:
    gone = f"{FUNCTION_ARN}:2"
    sandbox.client("lambda").create_alias(
        FunctionName="answers", Name="former", FunctionVersion="1"
    )
    api = sandbox.api(function=f"{FUNCTION_ARN}:former", let_in=f"{FUNCTION_ARN}:former")
    assert api.ask().status == 200

    sandbox.client("lambda").delete_alias(FunctionName="answers", Name="former")

    assert api.ask().result == FAILED
    assert sandbox.api(function=gone, let_in=ALIAS_ARN).ask().result == FAILED
    assert sandbox.api(function=f"{FUNCTION_ARN}-not").ask().result == FAILED


# The function's own policy.


@pytest.mark.parametrize(
    ("lets_in", "let_in", "function", "is_allowed"),
    [
        ("/*/*", ALIAS_ARN, ALIAS_ARN, True),
        ("/*/*/messages", ALIAS_ARN, ALIAS_ARN, True),
        ("/$default/POST/messages", ALIAS_ARN, ALIAS_ARN, True),
        ("/*/P?ST/messages", ALIAS_ARN, ALIAS_ARN, True),
        ("/*/*", FUNCTION_ARN, FUNCTION_ARN, True),
        ("/*/*", "answers:live", ALIAS_ARN, True),
        ("/*/*", f"{ACCOUNT}:function:answers:live", ALIAS_ARN, True),
        ("/*/*", FUNCTION_ARN, ALIAS_ARN, False),
        ("/*/*", ALIAS_ARN, FUNCTION_ARN, False),
        ("/*/GET/messages", ALIAS_ARN, ALIAS_ARN, False),
        ("/*/*/other", ALIAS_ARN, ALIAS_ARN, False),
        ("/prod/*", ALIAS_ARN, ALIAS_ARN, False),
        ("x/*/*", ALIAS_ARN, ALIAS_ARN, False),
        ("", ALIAS_ARN, ALIAS_ARN, False),
    ],
)
def test_a_function_is_invoked_only_if_its_policy_allows_the_api(
    sandbox: HttpApiSandbox, lets_in: str, let_in: str, function: str, is_allowed: bool
) -> None:
    api = sandbox.api(lets_in=lets_in, let_in=let_in, function=function)

    answer = api.ask()

    if is_allowed:
        assert (answer.status, sandbox.invocations()[0]["arn"]) == (200, function)
    else:
        assert (answer.result, sandbox.invocations()) == (FAILED, [])


def test_the_policy_names_the_default_route_as_such(sandbox: HttpApiSandbox) -> None:
    for lets_in, status in (("/*/$default", 200), ("/*/GET/x", 500)):
        assert sandbox.api(routes=OPEN, lets_in=lets_in).ask("GET", "/x").status == status


def test_a_permission_added_with_add_permission_counts(sandbox: HttpApiSandbox) -> None:
    api = sandbox.api(lets_in="/*/GET/none")
    own = sandbox.client("lambda")

    def add(number: int, **changes: Any) -> int:
        statement = {
            "FunctionName": "answers",
            "Qualifier": "live",
            "Action": "lambda:InvokeFunction",
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.api_id}/*",
            **changes,
        }
        statement = {name: value for name, value in statement.items() if value is not None}
        name = f"{api.api_id}-{number}"
        own.add_permission(StatementId=name, **statement)
        status = api.ask().status
        own.remove_permission(FunctionName="answers", StatementId=name)
        return status

    faults: list[dict[str, Any]] = [
        {"Qualifier": None},
        {"Action": "lambda:GetFunction"},
        {"Principal": "events.amazonaws.com"},
        {"SourceAccount": "999999999999"},
        {"PrincipalOrgID": "o-0123456789", "SourceArn": None},
        {"SourceArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:other/*"},
    ]
    assert [add(number, **fault) for number, fault in enumerate(faults)] == [500] * len(faults)
    assert add(100) == 200
    assert add(101, SourceAccount=ACCOUNT, SourceArn=None) == 200
    assert api.ask().result == FAILED


# Limits.


def test_a_body_over_10_mb_is_too_large_for_any_caller(sandbox: HttpApiSandbox, api: Api) -> None:
    limit = 10_485_760

    assert api.ask(body=b"x" * (limit + 1), caller=None).result == TOO_LARGE
    assert api.ask(body=b"x" * limit, caller=None).result == FORBIDDEN
    assert not sandbox.invocations()


def test_an_event_over_6_mb_is_too_large(sandbox: HttpApiSandbox, api: Api) -> None:
    text = [("Content-Type", "text/plain")]

    assert (
        api.ask("POST", "/x", b"x" * 6_000_000, caller=None).result == TOO_LARGE
    )  # in base64, 8 MB
    assert api.ask_with("POST", "/x", b"x" * 6_291_456, text).result == TOO_LARGE
    assert not sandbox.invocations()
    assert api.ask_with("POST", "/x", b"x" * 6_000_000, text).status == 200


def test_each_route_allows_a_burst_and_then_its_rate(
    sandbox: HttpApiSandbox,
) -> None:
    api = sandbox.api(
        routes={"POST /messages": "NONE", "GET /x": "NONE"},
        stage={"DefaultRouteSettings": {"ThrottlingBurstLimit": 2, "ThrottlingRateLimit": 0.5}},
    )
    sandbox.clock.stopped_at = 1_800_000_000.0

    assert [api.ask(caller=None).status for _ in range(3)] == [200, 200, 429]
    assert api.ask(caller=None).result == TOO_MANY
    assert api.ask("GET", "/x", caller=None).status == 200
    sandbox.clock.stopped_at += 2
    assert [api.ask(caller=None).status for _ in range(2)] == [200, 429]
    assert len(sandbox.invocations()) == 4


def test_the_settings_of_a_route_override_the_default_limits(sandbox: HttpApiSandbox) -> None:
    own = {
        "GET /one": {"ThrottlingBurstLimit": 1, "ThrottlingRateLimit": 0},
        "GET /three/{of}": {"ThrottlingBurstLimit": 3},
    }
    routes = dict.fromkeys((*own, "GET /two"), "NONE")
    default = {"ThrottlingBurstLimit": 2, "ThrottlingRateLimit": 1}
    resources = api_template(
        routes=routes, stage={"DefaultRouteSettings": default, "RouteSettings": own}
    )
    sandbox.clock.stopped_at = 1_800_000_000.0
    api = sandbox.api(resources)

    def passed() -> list[int]:
        paths = ("/one", "/two", "/three/a")
        return [
            [api.ask("GET", path, caller=None).status for _ in range(4)].count(200)
            for path in paths
        ]

    assert passed() == [1, 2, 3]
    sandbox.clock.stopped_at += 1
    assert passed() == [0, 1, 3], "a rate that a route leaves out is the account's"

    sandbox.deploy(changed(resources, "Stage", RouteSettings=None), api.stack, "update")
    sandbox.clock.stopped_at += 10
    assert passed() == [2, 2, 2]


def test_a_token_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    throttle, limit = Throttle(), Limit(rate=2, burst=3)

    def passed(now: float, tries: int = 10) -> int:
        return sum(throttle.allows("route", limit, now) for _ in range(tries))

    assert passed(100) == 3
    assert passed(100) == 0
    assert passed(100.25) == 0
    assert passed(100.5) == 1
    assert passed(101.5) == 2
    assert passed(1_000) == 3
    assert passed(999) == 0, "a clock that is set back"
    assert throttle.allows("another route", limit, 999)
    assert not Throttle().allows("route", Limit(rate=0, burst=0), 0)
