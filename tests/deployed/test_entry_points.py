"""Every door of the deployed stack, from a stock client to the device and to the dead letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from sandbox.running import Sandbox
from sandbox.stack.account import REGION, client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import changed_policy, dead_letters, invoke, within
from tests.support.paths import REPOSITORY


@pytest.fixture
def deployment(sandbox: Sandbox) -> Deployment:
    dead_letters(sandbox.deployment)
    return sandbox.deployment


def request(token: str, **more: Any) -> dict[str, Any]:
    return {"recipient": {"token": token, "service": "ADM"}, "message": "m", **more}


def arrived(deployment: Deployment, token: str) -> int:
    """Count the pushes that a device got."""
    address = f"{deployment.url}/sandbox/messages"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        messages = json.loads(answer.read())["messages"]
    return sum(
        message["token"] == token and message["answer"]["DeliveryStatus"] == "SUCCESSFUL"
        for message in messages
    )


def send(deployment: Deployment, body: str) -> None:
    queue = deployment.outputs["QueueUrl"]
    client("sqs", deployment.url).send_message(QueueUrl=queue, MessageBody=body)


def put_event(deployment: Deployment, detail: Any, **entry: str) -> None:
    usual = {"Source": "orders", "DetailType": "Push Notification Requested"}
    entry = {**usual, "EventBusName": deployment.outputs["EventBusName"], **entry}
    client("events", deployment.url).put_events(Entries=[{**entry, "Detail": json.dumps(detail)}])


def buried(deployment: Deployment) -> list[dict[str, Any]]:
    """Wait for dead letters, and take them."""
    found: list[dict[str, Any]] = []

    def any_there() -> bool:
        found.extend(dead_letters(deployment))
        return bool(found)

    assert within(15, any_there)
    return found


def bury_again(deployment: Deployment, letters: list[dict[str, Any]]) -> None:
    """Put dead letters back where they were taken from."""
    sqs = client("sqs", deployment.url)
    for letter in letters:
        sqs.send_message(
            QueueUrl=deployment.outputs["DeadLetterQueueUrl"],
            MessageBody=letter["Body"],
            MessageAttributes=letter.get("MessageAttributes", {}),
        )


def redrive(deployment: Deployment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations", "redrive", "--stack", deployment.stack_name],
        cwd=REPOSITORY,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": deployment.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_message_in_the_queue_is_sent(deployment: Deployment) -> None:
    send(deployment, json.dumps(request("by-queue")))

    assert within(15, lambda: arrived(deployment, "by-queue") == 1)


def test_an_event_on_the_bus_is_sent_through_the_queue(deployment: Deployment) -> None:
    put_event(deployment, request("by-event"))

    assert within(15, lambda: arrived(deployment, "by-event") == 1)


def test_other_events_on_the_bus_are_ignored(deployment: Deployment) -> None:
    put_event(deployment, request("not-asked-for"), DetailType="Order Placed")
    put_event(deployment, request("our-own"), Source="push-sender")
    put_event(deployment, request("asked-for"))

    assert within(15, lambda: arrived(deployment, "asked-for") == 1)
    assert arrived(deployment, "not-asked-for") == arrived(deployment, "our-own") == 0


def test_an_invalid_request_is_dead_lettered_immediately(deployment: Deployment) -> None:
    send(deployment, "not JSON")
    send(deployment, json.dumps(request("beside-the-poison")))

    (letter,) = buried(deployment)

    assert letter["Body"] == "not JSON"
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "invalid"
    assert "must be an object" in letter["MessageAttributes"]["fault"]["StringValue"]
    assert within(15, lambda: arrived(deployment, "beside-the-poison") == 1)


def test_misconfigured_pushes_are_sent_once_after_the_fix_and_a_redrive(
    deployment: Deployment,
) -> None:
    pinpoint = client("pinpoint", deployment.url)
    channel = {"ApplicationId": deployment.application_id}
    pinpoint.update_adm_channel(
        **channel, ADMChannelRequest={"ClientId": "-", "ClientSecret": "-", "Enabled": False}
    )
    send(deployment, json.dumps(request("waits-for-the-fix")))
    letters = buried(deployment)
    pinpoint.update_adm_channel(
        **channel, ADMChannelRequest={"ClientId": "-", "ClientSecret": "-", "Enabled": True}
    )
    bury_again(deployment, letters * 2)  # as SQS may, which delivers at least once

    moved = redrive(deployment)

    assert (moved.returncode, moved.stderr) == (0, "")
    assert [each["MessageAttributes"]["reason"]["StringValue"] for each in letters] == [
        "misconfigured"
    ]
    assert within(15, lambda: arrived(deployment, "waits-for-the-fix") == 1)
    assert not within(2, lambda: arrived(deployment, "waits-for-the-fix") > 1)


def test_a_redrive_sends_a_failed_asynchronous_request(deployment: Deployment) -> None:
    def without_the_table(all_: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in all_ if "dynamodb:PutItem" not in each["Action"]]

    event = request("asynchronous", idempotency_key="asynchronous-1")
    with changed_policy(deployment, without_the_table):
        client("lambda", deployment.url).invoke(
            FunctionName=deployment.function_name,
            InvocationType="Event",
            Payload=json.dumps(event),
        )
        letters = buried(deployment)
    assert [json.loads(letter["Body"]) for letter in letters] == [event]
    assert arrived(deployment, "asynchronous") == 0
    bury_again(deployment, letters)

    redrive(deployment)

    assert within(15, lambda: arrived(deployment, "asynchronous") == 1)


def test_the_same_key_gives_the_same_report_and_sends_once(deployment: Deployment) -> None:
    event = request("once", idempotency_key="order-1")

    first, second = invoke(deployment, event), invoke(deployment, event)
    conflict = invoke(deployment, {**event, "message": "another"})

    assert (first["replayed"], second["replayed"]) == (False, True)
    for result in (*first["results"], *second["results"]):
        del result["status_message"]  # which may repeat a text, and so is not kept
    assert first["results"] == second["results"]
    assert conflict["errorType"] == "IdempotencyConflict"
    assert arrived(deployment, "once") == 1
