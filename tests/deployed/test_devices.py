"""The deployed registry of devices: its routes, its permissions, its upkeep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.credentials import Credentials

from sandbox.issuer.client import fetch_token
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import FAST, denials, happens, invoke, within
from tests.support.http_apis import FORBIDDEN, Answer, Api, document
from tests.support.service_sandbox import ADMINISTRATOR
from tests.support.synthesized_stack import LAMBDA_ITSELF

JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    # Without jobs, whose permissions ``test_jobs.py`` tests.
    with running_sandbox(context=FAST) as running:
        yield running


@pytest.fixture
def api(deployment: Deployment) -> Api:
    url = deployment.outputs["ApiUrl"]
    return Api(url.rpartition("/")[2], url, deployment.stack_name)


def device(token: str, **more: Any) -> dict[str, Any]:
    return {"token": token, "service": "GCM", **more}


def ask(
    api: Api,
    method: str,
    path: str,
    body: Any = None,
    *,
    caller: Credentials | None = ADMINISTRATOR,
    jwt: str | None = None,
) -> Answer:
    """Call a route, signed, or with a JWT."""
    headers = dict(JSON_TYPE)
    if jwt is not None:
        headers["Authorization"] = f"Bearer {jwt}"
    raw = b"" if body is None else json.dumps(body).encode()
    return api.ask(method, path, raw, headers, caller=None if jwt is not None else caller)


def jwt_of(deployment: Deployment, **order: Any) -> str:
    """Get a token of the sandbox's issuer."""
    return fetch_token(int(deployment.url.rpartition(":")[2]), order)


def devices_of(api: Api, user_id: str) -> list[dict[str, Any]]:
    answer = ask(api, "GET", f"/users/{user_id}/devices")
    assert answer.status == 200
    found: list[dict[str, Any]] = json.loads(answer.body)["devices"]
    return found


def test_a_device_is_registered_read_and_deleted(api: Api, sandbox: Sandbox) -> None:
    path = "/devices/auth0%7Cphone"
    assert ask(api, "PUT", path, device("first", user_id="u-1")).status == 201
    assert ask(api, "PUT", path, device("first", language="de")).status == 200

    read = json.loads(ask(api, "GET", path).body)
    assert (read["device_id"], read["user_id"], read["language"]) == ("auth0|phone", "u-1", "de")
    assert [each["device_id"] for each in devices_of(api, "u-1")] == ["auth0|phone"]

    assert ask(api, "DELETE", path).status == 204
    assert ask(api, "DELETE", path).status == 404
    assert denials(sandbox) == set()


def test_an_erased_user_has_no_devices(api: Api) -> None:
    ask(api, "PUT", "/devices/erased", device("erased", user_id="u-2"))

    assert ask(api, "DELETE", "/users/u-2").status == 204
    assert devices_of(api, "u-2") == []


def test_a_caller_reaches_only_the_routes_of_its_policy(api: Api, deployment: Deployment) -> None:
    iam = client("iam", deployment.url)
    iam.create_user(UserName="reader")
    allowed = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": f"arn:aws:execute-api:*:*:{api.api_id}/*/GET/devices/*",
    }
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document(allowed))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    assert ask(api, "GET", "/devices/none", caller=reader).status == 404
    for method, path in (("PUT", "/devices/none"), ("DELETE", "/users/u")):
        answer = ask(api, method, path, device("t"), caller=reader)
        assert (answer.status, json.loads(answer.body)) == FORBIDDEN


def test_an_app_registers_itself_with_a_jwt(api: Api, deployment: Deployment) -> None:
    mine = jwt_of(deployment, sub="u-3")
    path = "/my/devices/5b0c2c4e-6f5c-4a3b-9c55-d1a5a0e4d7aa"

    answer = ask(api, "PUT", path, device("app"), jwt=mine)

    assert (answer.status, json.loads(answer.body)["user_id"]) == (201, "u-3")
    assert ask(api, "DELETE", path, jwt=jwt_of(deployment, sub="u-4")).status == 404
    assert ask(api, "DELETE", path, jwt=mine).status == 204
    assert ask(api, "PUT", path, device("app"), jwt="not.a.token").status == 401
    # A JWT opens none of the routes of a backend.
    assert ask(api, "GET", "/users/u-3/devices", jwt=mine).status == 403


def test_a_message_is_posted_with_a_jwt_of_the_scope(api: Api, deployment: Deployment) -> None:
    request = {"recipient": device("jwt"), "message": "m"}

    sent = ask(
        api, "POST", "/jwt/messages", request, jwt=jwt_of(deployment, sub="b", scope="push:send")
    )
    assert (sent.status, json.loads(sent.body)["summary"]["accepted"]) == (200, 1)

    refused = ask(api, "POST", "/jwt/messages", request, jwt=jwt_of(deployment, sub="b"))
    assert refused.status == 403


@pytest.mark.parametrize("entry_point", ["direct", "http", "queue"])
def test_the_device_of_a_dead_token_leaves_after_a_push(
    api: Api, sandbox: Sandbox, deployment: Deployment, entry_point: str
) -> None:
    path = f"/devices/{entry_point}"
    ask(api, "PUT", path, device(f"sandbox-unregistered-{entry_point}", user_id="u-5"))
    request = {"recipient": device(f"sandbox-unregistered-{entry_point}"), "message": "m"}

    if entry_point == "direct":
        assert invoke(deployment, request)["summary"]["dead_token"] == 1
    elif entry_point == "http":
        assert ask(api, "POST", "/messages", request).status == 200
    else:
        client("sqs", deployment.url).send_message(
            QueueUrl=deployment.outputs["QueueUrl"], MessageBody=json.dumps(request)
        )

    assert happens(sandbox, lambda: ask(api, "GET", path).status == 404)
    assert devices_of(api, "u-5") == []


def test_the_role_allows_exactly_the_calls_of_the_code(
    api: Api, sandbox: Sandbox, deployment: Deployment
) -> None:
    sandbox.permissions.forget_calls()
    old, new = "sandbox-replaced-role", "sandbox-replacement-for-sandbox-replaced-role"
    ask(api, "PUT", "/devices/before", device(old, user_id="u-6"))
    ask(api, "PUT", "/devices/after", device(new, user_id="u-6"))
    # The replacement has a device already, so the transaction only checks that item.
    invoke(deployment, {"recipient": device(old), "message": "m"})
    assert happens(sandbox, lambda: ask(api, "GET", "/devices/before").status == 404)

    function = client("lambda", deployment.url).get_function_configuration(
        FunctionName=deployment.outputs["DevicesFunctionName"]
    )
    role = function["Role"]
    calls = [call for call in sandbox.permissions.calls() if call.role_arn == role]
    iam = client("iam", deployment.url)
    name = role.rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    allowed = {
        action for statement in document["Statement"] for action in _list(statement["Action"])
    }
    # Lambda itself sends dead-letter messages with the role.
    assert {call.action for call in calls} == allowed - LAMBDA_ITSELF.keys() - {"sqs:SendMessage"}
    assert all(call.allowed for call in calls)
    assert {call.resource.rpartition("/")[2] for call in calls} == {
        deployment.outputs["DevicesTableName"]
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_token_update_that_cannot_be_applied_is_dead_lettered(
    deployment: Deployment,
) -> None:
    entry = {"Source": "push-sender", "DetailType": "Push Token Update", "Detail": "{}"}
    client("events", deployment.url).put_events(Entries=[entry])

    queue = deployment.outputs["DevicesDeadLetterQueueUrl"]
    received: list[Any] = []

    def is_dead_lettered() -> bool:
        answer = client("sqs", deployment.url).receive_message(QueueUrl=queue, WaitTimeSeconds=1)
        received.extend(answer.get("Messages", ()))
        return bool(received)

    assert within(60, is_dead_lettered)
    assert json.loads(received[0]["Body"])["detail-type"] == "Push Token Update"


def test_tokens_and_ids_reach_no_log(api: Api, deployment: Deployment) -> None:
    path = "/devices/CANARY-device"
    ask(
        api,
        "PUT",
        path,
        device("sandbox-unregistered-CANARY", user_id="CANARY-user", tags=["CANARY"]),
    )
    ask(api, "PUT", path, {"token": "CANARY \n", "user_id": "/"})
    ask(api, "PUT", "/my/devices/CANARY", device("CANARY-2"), jwt=jwt_of(deployment, sub="CANARY"))
    invoke(deployment, {"recipient": device("sandbox-unregistered-CANARY"), "message": "m"})
    assert within(60, lambda: ask(api, "GET", path).status == 404)
    ask(api, "DELETE", "/users/CANARY-user")

    logs = client("logs", deployment.url)
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    written = [
        event["message"]
        for group in groups
        for event in logs.filter_log_events(logGroupName=group)["events"]
    ]
    assert any("DeadDeviceRemoved" in line for line in written)
    assert not [line for line in written if "CANARY" in line]
