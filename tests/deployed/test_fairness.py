"""One caller's flood does not keep the others waiting, in the deployed stack."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.issuer.client import fetch_token
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import ACCOUNT_ID, client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import invoke, within
from tests.support.http_apis import TOO_MANY, Api

FLOOD = 100
WORKERS = 2
BURST = 3


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    settings = {"worker_concurrency": WORKERS, "http_requests_per_second": 1, "http_burst": BURST}
    with running_sandbox(context=settings) as running:
        yield running


def to(token: str) -> dict[str, Any]:
    return {"recipient": {"token": token, "service": "ADM"}, "message": "m"}


def send(deployment: Deployment, group: str, *tokens: str) -> None:
    """Put requests on the queue, ten in each call."""
    sqs: Any = client("sqs", deployment.url)
    entries = [
        {"Id": str(at), "MessageBody": json.dumps(to(token)), "MessageGroupId": group}
        for at, token in enumerate(tokens)
    ]
    for at in range(0, len(entries), 10):
        sqs.send_message_batch(
            QueueUrl=deployment.outputs["QueueUrl"], Entries=entries[at : at + 10]
        )


def waiting(deployment: Deployment) -> int:
    """Count the messages of the queue that are not in flight."""
    name = "ApproximateNumberOfMessages"
    attributes = client("sqs", deployment.url).get_queue_attributes(
        QueueUrl=deployment.outputs["QueueUrl"], AttributeNames=[name]
    )
    return int(attributes["Attributes"][name])


def pushes(deployment: Deployment, token: str) -> int:
    """Count the pushes to a device."""
    address = f"{deployment.url}/sandbox/messages?token={token}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return len(json.loads(answer.read())["messages"])


def is_logged(deployment: Deployment, message: str, sender: str) -> bool:
    """Return whether the function's log has a record that names a sender."""
    found = client("logs", deployment.url).filter_log_events(
        logGroupName=deployment.outputs["LogGroupName"], filterPattern=f'"{message}"'
    )
    lines = [json.loads(event["message"]) for event in found["events"]]
    return any(line.get("message") == message and line.get("sender") == sender for line in lines)


def test_during_a_flood_of_the_queue_others_are_sent(deployment: Deployment) -> None:
    # Each push takes a second, so the flood takes most of a minute.
    send(deployment, "flood", *["sandbox-slow-1"] * FLOOD)
    assert within(30, lambda: pushes(deployment, "sandbox-slow-1") >= WORKERS)

    report = invoke(deployment, to("direct"))
    assert report["summary"] == {"recipients": 1, "accepted": 1}
    assert waiting(deployment) > FLOOD / 2, "the flood is not over"

    send(deployment, "orders", "order")
    assert within(30, lambda: pushes(deployment, "order") == 1)
    assert waiting(deployment) > FLOOD / 2, "the flood is not over"

    assert within(30, lambda: is_logged(deployment, "request handled", ACCOUNT_ID))
    queue = deployment.outputs["QueueUrl"]
    client("sqs", deployment.url).purge_queue(QueueUrl=queue)


def test_a_flood_of_one_route_leaves_the_others_their_requests(deployment: Deployment) -> None:
    url = deployment.outputs["ApiUrl"]
    api = Api(url.rpartition("/")[2], url, deployment.stack_name)
    body = json.dumps({"token": "t", "service": "ADM"}).encode()
    port = int(deployment.url.rpartition(":")[2])
    bearer = {"Authorization": f"Bearer {fetch_token(port, {'sub': 'u-1'})}"}
    kind = {"Content-Type": "application/json"}

    assert within(30, lambda: api.ask("GET", "/openapi.json").result == TOO_MANY)

    assert api.ask("PUT", "/devices/d-1", body, kind).status == 201
    assert api.ask("GET", "/devices/d-1").status == 200
    assert api.ask("GET", "/users/u-1/devices").status == 200
    assert api.ask("DELETE", "/devices/d-1").status == 204
    assert api.ask("PUT", "/my/devices/d-2", body, {**kind, **bearer}, caller=None).status == 201
    assert api.ask("POST", "/messages", json.dumps(to("http")).encode(), kind).status == 200
    assert api.ask("DELETE", f"/schedules/{'0' * 64}").status == 404
    caller = f"arn:aws:iam::{ACCOUNT_ID}:root"
    assert within(30, lambda: is_logged(deployment, "batch delivered", caller))
