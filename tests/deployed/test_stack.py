"""The synthesized stack as the sandbox deploys it: its parts, its permissions, its changes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import (
    FAST,
    changed_policy,
    configuration,
    dead_letters,
    denials,
    happens,
    invoke,
    push,
    statements,
)
from tests.support.paths import REPOSITORY
from tests.support.service_sandbox import eventually
from tests.support.signing import SignedBySandbox
from tests.support.synthesized_stack import LAMBDA_ITSELF


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Deploy the stack without jobs, whose permissions ``test_jobs.py`` tests."""
    with running_sandbox(context=FAST) as running:
        yield running


EXAMPLES = sorted((REPOSITORY / "examples").glob("*.json"))


def fail_later(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Invoke the function with an event that it refuses, and give what is dead then."""
    deployment = sandbox.deployment
    client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name,
        InvocationType="Event",
        Payload=json.dumps({"recipients": [], "message": "kept as it was"}),
    )
    found: list[dict[str, Any]] = []

    def arrived() -> bool:
        found.extend(dead_letters(deployment))
        return bool(found)

    happens(sandbox, arrived)
    return found


def send_twice_under_a_key(sandbox: Sandbox) -> bool:
    """Send to two services under a new key, twice; return whether the second is a replay.

    One of them is slow, so that the other's batch has its own record by then.
    """
    recipients = [
        {"token": "any-device", "service": "GCM"},
        {"token": "sandbox-slow-1", "service": "ADM"},
    ]
    event = {"recipients": recipients, "message": "m", "idempotency_key": uuid.uuid4().hex}
    invoke(sandbox.deployment, event)
    return bool(invoke(sandbox.deployment, event).get("replayed"))


def tell_of_a_dead_token(sandbox: Sandbox) -> bool:
    """Put a push to a dead token on the queue; return whether the bus gets its event."""
    deployment = sandbox.deployment
    sqs, bus = client("sqs", deployment.url), client("events", deployment.url)
    spy = sqs.create_queue(QueueName=f"spy-{uuid.uuid4().hex}")["QueueUrl"]
    named = {"QueueUrl": spy, "AttributeNames": ["QueueArn"]}
    arn = sqs.get_queue_attributes(**named)["Attributes"]["QueueArn"]
    rule = {"Name": spy.rpartition("/")[2], "EventBusName": deployment.outputs["EventBusName"]}
    pattern = {"source": ["push-sender"], "detail-type": ["Push Token Update"]}
    bus.put_rule(**rule, EventPattern=json.dumps(pattern))
    bus.put_targets(
        Rule=rule["Name"],
        EventBusName=rule["EventBusName"],
        Targets=[{"Id": "spy", "Arn": arn}],
    )
    recipient = {"token": "sandbox-unregistered", "service": "GCM"}
    sqs.send_message(
        QueueUrl=deployment.outputs["QueueUrl"],
        MessageBody=json.dumps({"recipient": recipient, "message": "m"}),
    )
    result = happens(sandbox, lambda: "Messages" in sqs.receive_message(QueueUrl=spy))
    bus.remove_targets(Rule=rule["Name"], EventBusName=rule["EventBusName"], Ids=["spy"])
    bus.delete_rule(**rule)
    return result


def requeue(deployment: Deployment) -> bool:
    """Send a throttled push with requeue; return whether it is in the queue then."""
    recipient = {"token": "sandbox-throttled", "service": "GCM"}
    report = invoke(deployment, {"recipient": recipient, "message": "m", "requeue": True})
    return bool(report["summary"].get("requeued"))


def schedule_and_cancel(sandbox: Sandbox) -> bool:
    """Schedule a push twice under a new key, and cancel it; return whether all of it works."""
    deployment = sandbox.deployment
    event = {
        "recipient": {"token": "any-device", "service": "GCM"},
        "message": "m",
        "send_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds"),
        "idempotency_key": uuid.uuid4().hex,
    }
    invoke(deployment, event)
    report = invoke(deployment, event)
    url = f"{deployment.outputs['ApiUrl']}/schedules/{report.get('schedule_id')}"
    cancelled = requests.delete(url, auth=SignedBySandbox(), timeout=30)
    return bool(report.get("replayed")) and cancelled.status_code == 204


def test_the_outputs_equal_those_of_cloudformation(deployment: Deployment) -> None:
    (stack,) = client("cloudformation", deployment.url).describe_stacks(StackName="push-sender")[
        "Stacks"
    ]

    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert outputs == dict(deployment.outputs)
    assert outputs["FunctionName"] == "push-sender:live"
    assert outputs["FunctionArn"].endswith(":function:push-sender:live")


def role_of_schedules(deployment: Deployment) -> Any:
    roles = client("iam", deployment.url).list_roles()["Roles"]
    (arn,) = (role["Arn"] for role in roles if "SchedulesRole" in role["RoleName"])
    return arn


def test_the_function_that_runs_is_the_one_deployed(deployment: Deployment) -> None:
    result = configuration(deployment)

    assert result["Timeout"] == 29
    assert result["Handler"] == "push_sender.handler.handler"
    assert result["LoggingConfig"]["LogGroup"] == deployment.outputs["LogGroupName"]
    assert result["TracingConfig"] == {"Mode": "Active"}
    (stack,) = client("cloudformation", deployment.url).describe_stacks()["Stacks"]
    assert result["Environment"]["Variables"] == {
        "APPLICATION_IDS": deployment.application_id,
        "DEAD_LETTER_QUEUE_URL": deployment.outputs["DeadLetterQueueUrl"],
        "DEVICES_TABLE": deployment.outputs["DevicesTableName"],
        "EVENT_BUS_NAME": deployment.outputs["EventBusName"],
        "IDEMPOTENCY_TABLE": deployment.outputs["TableName"],
        "MESSAGE_KEY": stack["StackId"],
        "POWERTOOLS_SERVICE_NAME": "push-sender",
        "QUEUE_URL": deployment.outputs["QueueUrl"],
        "SCHEDULE_GROUP": deployment.outputs["ScheduleGroupName"],
        "SCHEDULE_ROLE_ARN": role_of_schedules(deployment),
    }
    assert push(deployment)["outcome"] == "accepted"
    log = client("logs", deployment.url).filter_log_events(
        logGroupName=deployment.outputs["LogGroupName"]
    )
    assert "batch delivered" in "".join(event["message"] for event in log["events"])


def test_a_failed_asynchronous_event_is_dead_lettered_unchanged(
    sandbox: Sandbox,
) -> None:
    (dead_letter_message,) = fail_later(sandbox)

    assert json.loads(dead_letter_message["Body"]) == {
        "recipients": [],
        "message": "kept as it was",
    }
    assert "recipients: " in dead_letter_message["MessageAttributes"]["ErrorMessage"]["StringValue"]


def test_the_role_allows_exactly_the_calls_of_the_code(sandbox: Sandbox) -> None:
    deployment = sandbox.deployment
    sandbox.permissions.forget_calls()

    for example in EXAMPLES:
        invoke(deployment, json.loads(example.read_text()))
    assert fail_later(sandbox)
    assert send_twice_under_a_key(sandbox)
    assert tell_of_a_dead_token(sandbox)
    assert requeue(deployment)
    assert schedule_and_cancel(sandbox)

    role = configuration(deployment)["Role"]
    made = {
        (call.role_arn, call.action, re.sub(r"(:schedule/[^/]+/).*", r"\1*", call.resource))
        for call in sandbox.permissions.calls()
        if call.role_arn == role  # the registry's function has a role of its own
    }
    allowed = {
        (role, action, resource)
        for statement in statements(deployment)
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert made <= allowed
    assert {action for _, action, _ in allowed - made} <= LAMBDA_ITSELF.keys()
    assert all(call.allowed for call in sandbox.permissions.calls())


def test_a_removed_action_is_denied(sandbox: Sandbox) -> None:
    deployment = sandbox.deployment
    works: dict[str, Callable[[], bool]] = {
        "mobiletargeting:SendMessages": lambda: push(deployment)["outcome"] == "accepted",
        "dynamodb:PutItem": lambda: send_twice_under_a_key(sandbox),
        "dynamodb:BatchGetItem": lambda: send_twice_under_a_key(sandbox),
        "events:PutEvents": lambda: tell_of_a_dead_token(sandbox),
        "sqs:ReceiveMessage": lambda: tell_of_a_dead_token(sandbox),
        "sqs:SendMessage": lambda: bool(fail_later(sandbox)),
        "iam:PassRole": lambda: schedule_and_cancel(sandbox),
        **{
            f"scheduler:{verb}Schedule": lambda: schedule_and_cancel(sandbox)
            for verb in ("Create", "Delete", "Get")
        },
    }
    actions = {action for statement in statements(deployment) for action in statement["Action"]}
    assert works.keys() >= actions - LAMBDA_ITSELF.keys()

    for action, works_still in works.items():

        def without(all_: list[dict[str, Any]], gone: str = action) -> list[dict[str, Any]]:
            left = [
                {**each, "Action": [other for other in each["Action"] if other != gone]}
                for each in all_
            ]
            return [each for each in left if each["Action"]]

        sandbox.permissions.forget_calls()
        assert works_still(), action
        with changed_policy(deployment, without):
            if action == "sqs:ReceiveMessage":  # a receive that began before may take a message
                eventually(lambda: denials(sandbox))
            assert not works_still(), action
        assert denials(sandbox) == {action}
        sandbox.permissions.forget_calls()
        assert works_still(), action


def test_a_push_without_permission_ends_as_misconfigured(deployment: Deployment) -> None:
    def another_project(all_: list[dict[str, Any]]) -> list[dict[str, Any]]:
        text = json.dumps(all_)
        assert deployment.application_id in text
        changed: list[dict[str, Any]] = json.loads(
            text.replace(deployment.application_id, "0" * 32)
        )
        return changed

    with changed_policy(deployment, another_project):
        result = push(deployment)

    assert (result["outcome"], result["reason"]) == ("misconfigured", "AccessDeniedException")


def _contents(paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    for path in paths:
        with suppress(FileNotFoundError, IsADirectoryError):  # others tidy up meanwhile
            yield path, path.read_bytes()


def test_the_stack_shows_no_secret_value(deployment: Deployment) -> None:
    secrets = client("secretsmanager", deployment.url)
    value = secrets.get_secret_value(SecretId="sandbox/apns")["SecretString"]
    cloudformation = client("cloudformation", deployment.url)
    canary = json.loads(value)["token_key"]

    result = json.dumps(
        [
            cloudformation.get_template(StackName="push-sender"),
            cloudformation.describe_stacks(StackName="push-sender"),
            cloudformation.describe_stack_resources(StackName="push-sender"),
        ],
        default=str,
    )
    files = list(_contents((REPOSITORY / ".build").glob("stack-*/**/*")))

    assert "{{resolve:secretsmanager:sandbox/apns:SecretString:token_key::}}" in result
    assert canary not in result
    assert files
    assert not [path for path, content in files if canary.encode() in content]
