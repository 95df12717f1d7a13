"""Requests with ``send_at`` through the deployed stack: they fire when the clock has moved."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.clock import moved_ahead
from sandbox.running import Sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import dead_letters, denials, invoke, within
from tests.support.signing import SignedBySandbox

HOUR = 3_600  # less than a key is kept, by the clock that moves


@pytest.fixture
def deployment(sandbox: Sandbox) -> Iterator[Deployment]:
    dead_letters(sandbox.deployment)
    sandbox.permissions.forget_calls()
    yield sandbox.deployment
    assert denials(sandbox) == set()


def request(token: str, seconds: float = HOUR, **more: Any) -> dict[str, Any]:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    recipient = {"token": token, "service": "ADM"}
    return {"recipient": recipient, "message": "m", "send_at": f"{moment:%FT%TZ}", **more}


def arrived(deployment: Deployment, token: str) -> int:
    """Count the pushes that a device got."""
    with urllib.request.urlopen(f"{deployment.url}/sandbox/messages") as answer:  # noqa: S310  loopback
        messages = json.loads(answer.read())["messages"]
    return sum(
        message["token"] == token and message["answer"]["DeliveryStatus"] == "SUCCESSFUL"
        for message in messages
    )


def schedule(deployment: Deployment, id_: str) -> dict[str, str]:
    return {"GroupName": deployment.outputs["ScheduleGroupName"], "Name": id_}


def pending(deployment: Deployment) -> list[str]:
    listed = client("scheduler", deployment.url).list_schedules(
        GroupName=deployment.outputs["ScheduleGroupName"]
    )
    return [each["Name"] for each in listed["Schedules"]]


def handled(deployment: Deployment, id_: str) -> list[dict[str, Any]]:
    """Read the summaries that the log has of a request."""
    events = client("logs", deployment.url).filter_log_events(
        logGroupName=deployment.outputs["LogGroupName"], filterPattern=f'"{id_}"'
    )["events"]
    lines = [json.loads(event["message"]) for event in events]
    return [
        line["summary"] for line in lines if line.get("request_id") == id_ and "summary" in line
    ]


def test_what_fires_is_sent_once_though_it_is_delivered_twice(deployment: Deployment) -> None:
    report = invoke(deployment, request("later", ttl=60))
    id_ = report["schedule_id"]
    scheduler = client("scheduler", deployment.url)
    text = scheduler.get_schedule(**schedule(deployment, id_))["Target"]["Input"]
    assert arrived(deployment, "later") == 0

    with moved_ahead(HOUR + 1):
        assert within(15, lambda: arrived(deployment, "later") == 1)
        assert within(15, lambda: not pending(deployment))
        # Scheduler delivers at least once.
        client("sqs", deployment.url).send_message(
            QueueUrl=deployment.outputs["QueueUrl"], MessageBody=text
        )
        assert within(15, lambda: len(handled(deployment, id_)) == 2)

    assert arrived(deployment, "later") == 1
    assert handled(deployment, id_) == [{"recipients": 1, "accepted": 1}] * 2


def test_the_time_to_live_begins_when_the_schedule_fires(deployment: Deployment) -> None:
    began = time.time()
    invoke(deployment, request("short-lived", 4, ttl=2))

    assert within(15, lambda: arrived(deployment, "short-lived") == 1)
    assert time.time() - began > 2, "it was sent before its time"


def test_a_queued_request_is_scheduled_and_sent(deployment: Deployment) -> None:
    client("sqs", deployment.url).send_message(
        QueueUrl=deployment.outputs["QueueUrl"], MessageBody=json.dumps(request("queued"))
    )
    assert within(15, lambda: len(pending(deployment)) == 1)

    with moved_ahead(HOUR + 1):
        assert within(15, lambda: arrived(deployment, "queued") == 1)


def test_a_cancelled_request_is_not_sent(deployment: Deployment) -> None:
    by_http, by_command, stays = (
        invoke(deployment, request(token))["schedule_id"]
        for token in ("cancelled-1", "cancelled-2", "not-cancelled")
    )
    url = f"{deployment.outputs['ApiUrl']}/schedules/{by_http}"
    answers = [requests.delete(url, auth=SignedBySandbox(), timeout=30) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 404]
    client("scheduler", deployment.url).delete_schedule(**schedule(deployment, by_command))
    assert pending(deployment) == [stays]

    with moved_ahead(HOUR + 1):
        assert within(15, lambda: arrived(deployment, "not-cancelled") == 1)

    assert arrived(deployment, "cancelled-1") == arrived(deployment, "cancelled-2") == 0


@contextmanager
def without_permission(deployment: Deployment, queue: str) -> Iterator[None]:
    """Take from Scheduler's role the permission to send to a queue."""
    iam = client("iam", deployment.url)
    (role,) = (
        role["RoleName"]
        for role in iam.list_roles()["Roles"]
        if "puts requests on the queue" in role.get("Description", "")
    )
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    names = {"RoleName": role, "PolicyName": name}
    document = json.dumps(iam.get_role_policy(**names)["PolicyDocument"])
    assert queue in document
    iam.put_role_policy(**names, PolicyDocument=document.replace(queue, f"{queue}-other"))
    try:
        yield
    finally:
        iam.put_role_policy(**names, PolicyDocument=document)


def test_what_scheduler_cannot_deliver_for_a_day_is_a_dead_letter_that_can_be_redriven(
    sandbox: Sandbox, deployment: Deployment
) -> None:
    id_ = invoke(deployment, request("undelivered"))["schedule_id"]
    found: list[dict[str, Any]] = []

    def any_there() -> bool:
        found.extend(dead_letters(deployment))
        return bool(found)

    with without_permission(deployment, deployment.outputs["QueueArn"]), moved_ahead(HOUR + 1):
        assert within(15, lambda: "sqs:SendMessage" in denials(sandbox))
        with moved_ahead(86_400):
            assert within(30, any_there)
    sandbox.permissions.forget_calls()

    (message,) = found
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "AccessDenied"
    assert json.loads(message["Body"])["id"] == id_
    client("sqs", deployment.url).send_message(
        QueueUrl=deployment.outputs["QueueUrl"],
        MessageBody=message["Body"],
        MessageAttributes=message["MessageAttributes"],
    )
    assert within(15, lambda: arrived(deployment, "undelivered") == 1)
