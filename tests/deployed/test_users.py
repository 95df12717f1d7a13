"""Users as recipients at every entry point of the deployed stack."""

from __future__ import annotations

import json
import urllib.request
import uuid
from typing import Any

import pytest

from sandbox.running import Sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import denials, happens, invoke, within
from tests.support.http_apis import Api
from tests.support.service_sandbox import ADMINISTRATOR

JSON_TYPE = {"Content-Type": "application/json"}
Json = dict[str, Any]


def ask(deployment: Deployment, method: str, path: str, body: Any = None) -> Any:
    """Call a signed route; return the JSON of its answer."""
    url = deployment.outputs["ApiUrl"]
    api = Api(url.rpartition("/")[2], url, deployment.stack_name)
    raw = b"" if body is None else json.dumps(body).encode()
    answer = api.ask(method, path, raw, JSON_TYPE, caller=ADMINISTRATOR)
    assert answer.status in (200, 201, 204), answer
    return json.loads(answer.body) if answer.body else None


@pytest.fixture
def user(deployment: Deployment) -> str:
    """Register two devices of a new user."""
    user_id = f"u-{uuid.uuid4().hex}"
    for name, service in (("a", "GCM"), ("b", "APNS")):
        register(deployment, user_id, f"{name}-{user_id}", service)
    return user_id


def register(deployment: Deployment, user_id: str, token: str, service: str = "GCM") -> None:
    body = {"token": token, "service": service, "user_id": user_id}
    ask(deployment, "PUT", f"/devices/d-{token}", body)


def to(user_id: str, **more: Any) -> Json:
    return {"recipients": [{"user_id": user_id}], "message": "m", **more}


def pushed(deployment: Deployment, token: str) -> int:
    """Count the pushes that a device got."""
    address = f"{deployment.url}/sandbox/messages?token={token}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return len(json.loads(answer.read())["messages"])


def post(deployment: Deployment, queue: str, body: Any) -> None:
    client("sqs", deployment.url).send_message(
        QueueUrl=deployment.outputs[queue], MessageBody=json.dumps(body)
    )


@pytest.mark.parametrize("entry_point", ["direct", "http", "queue", "event"])
def test_each_device_of_the_user_gets_one_push(
    sandbox: Sandbox, deployment: Deployment, user: str, entry_point: str
) -> None:
    match entry_point:
        case "direct":
            report = invoke(deployment, to(user))
            assert report["summary"] == {"recipients": 2, "accepted": 2}
        case "http":
            report = ask(deployment, "POST", "/messages", to(user))
            assert [each["device_id"] for each in report["results"]] == [
                f"d-a-{user}",
                f"d-b-{user}",
            ]
        case "queue":
            post(deployment, "QueueUrl", to(user))
        case _:
            entry = {
                "Source": "orders",
                "DetailType": "Push Notification Requested",
                "Detail": json.dumps(to(user)),
                "EventBusName": deployment.outputs["EventBusName"],
            }
            client("events", deployment.url).put_events(Entries=[entry])

    tokens = [f"{name}-{user}" for name in "ab"]
    assert happens(sandbox, lambda: all(pushed(deployment, token) for token in tokens))
    assert [pushed(deployment, token) for token in tokens] == [1, 1]
    assert denials(sandbox) == set()


def test_a_dead_letter_message_names_user_and_device_and_is_resolved_anew(
    sandbox: Sandbox, deployment: Deployment, user: str
) -> None:
    token = f"sandbox-wrong-topic-{user}"
    register(deployment, user, token)
    post(deployment, "QueueUrl", to(user, device_filter={"services": ["GCM"]}))
    sqs, received = client("sqs", deployment.url), []

    def is_dead_lettered() -> bool:
        answer = sqs.receive_message(
            QueueUrl=deployment.outputs["DeadLetterQueueUrl"],
            MessageAttributeNames=["All"],
            WaitTimeSeconds=1,
        )
        received.extend(answer.get("Messages", ()))
        return bool(received)

    assert within(60, is_dead_lettered)
    request = json.loads(received[0]["Body"])
    assert request["recipients"] == [{"user_id": user, "device_id": f"d-{token}"}]
    assert token not in json.dumps({**request, "recipients": []})

    # The phone moved to another person meanwhile.
    register(deployment, f"other-{user}", token)
    report = invoke(deployment, {**request, "idempotency_key": uuid.uuid4().hex})
    assert [(each["outcome"], each["reason"]) for each in report["results"]] == [
        ("no_device", "moved")
    ]


def test_the_logs_hold_neither_user_nor_token(deployment: Deployment) -> None:
    user_id = f"CANARY-{uuid.uuid4().hex}"
    register(deployment, user_id, f"sandbox-unregistered-{user_id}")
    invoke(deployment, to(user_id))
    invoke(deployment, to(user_id, dry_run=True))
    post(deployment, "QueueUrl", to(user_id))
    assert within(60, lambda: not ask(deployment, "GET", f"/users/{user_id}/devices")["devices"])

    logs = client("logs", deployment.url)
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    written = [
        event["message"]
        for group in groups
        for event in logs.filter_log_events(logGroupName=group)["events"]
    ]
    assert any("user_ref" in line for line in written)
    assert not [line for line in written if "CANARY" in line]
