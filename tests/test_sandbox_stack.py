"""The synthesized stack as the sandbox deploys it: its parts, its permissions, its changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.deployed import invoke, push, within
from tests.stack import LAMBDA_ITSELF

REPOSITORY = Path(__file__).parent.parent
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.json"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def deployment(sandbox: Sandbox) -> Deployment:
    return sandbox.deployment


def dead_letters(deployment: Deployment) -> list[dict[str, Any]]:
    """Take what lies in the dead-letter queue."""
    queue = {"QueueUrl": deployment.outputs["DeadLetterQueueUrl"]}
    sqs = client("sqs", deployment.url)
    messages: list[dict[str, Any]] = sqs.receive_message(
        **queue, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    ).get("Messages", [])
    for message in messages:
        sqs.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
    return messages


def fail_later(deployment: Deployment) -> list[dict[str, Any]]:
    """Invoke the function with an event that it refuses, and give what is dead then."""
    client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name,
        InvocationType="Event",
        Payload=json.dumps({"recipients": [], "message": "kept as it was"}),
    )
    found: list[dict[str, Any]] = []

    def arrived() -> bool:
        found.extend(dead_letters(deployment))
        return bool(found)

    within(5, arrived)
    return found


def statements(deployment: Deployment) -> list[dict[str, Any]]:
    """Read what the function's role may do, from IAM."""
    _, policy = _role_policy(deployment)
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    for statement in found:
        for part in ("Action", "Resource"):
            if isinstance(statement[part], str):
                statement[part] = [statement[part]]
    return found


@contextmanager
def changed_policy(
    deployment: Deployment, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> Iterator[None]:
    """Change what the function's role may do, inside a ``with`` block."""
    iam = client("iam", deployment.url)
    names, policy = _role_policy(deployment)
    document = policy["PolicyDocument"]
    changed = {**document, "Statement": change(statements(deployment))}
    iam.put_role_policy(**names, PolicyDocument=json.dumps(changed))
    try:
        yield
    finally:
        iam.put_role_policy(**names, PolicyDocument=json.dumps(document))


def _role_policy(deployment: Deployment) -> tuple[dict[str, str], Any]:
    iam = client("iam", deployment.url)
    role = _configuration(deployment)["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    names = {"RoleName": role, "PolicyName": name}
    return names, iam.get_role_policy(**names)


def _configuration(deployment: Deployment) -> Any:
    return client("lambda", deployment.url).get_function_configuration(
        FunctionName=deployment.function_name
    )


def test_the_outputs_are_what_cloudformation_describes(deployment: Deployment) -> None:
    (stack,) = client("cloudformation", deployment.url).describe_stacks(StackName="push-sender")[
        "Stacks"
    ]

    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert outputs == dict(deployment.outputs)
    assert outputs["FunctionName"] == "push-sender:live"
    assert outputs["FunctionArn"].endswith(":function:push-sender:live")


def test_the_function_that_runs_is_the_one_deployed(deployment: Deployment) -> None:
    configuration = _configuration(deployment)

    assert configuration["Timeout"] == 29
    assert configuration["Handler"] == "push_sender.handler.handler"
    assert configuration["LoggingConfig"]["LogGroup"] == deployment.outputs["LogGroupName"]
    assert configuration["TracingConfig"] == {"Mode": "Active"}
    assert configuration["Environment"]["Variables"] == {
        "APPLICATION_IDS": deployment.application_id,
        "POWERTOOLS_SERVICE_NAME": "push-sender",
        "SEND_CONCURRENCY": "16",
    }
    assert push(deployment)["outcome"] == "accepted"
    log = client("logs", deployment.url).filter_log_events(
        logGroupName=deployment.outputs["LogGroupName"]
    )
    assert "batch delivered" in "".join(event["message"] for event in log["events"])


def test_a_failed_asynchronous_event_lies_among_the_dead_letters_as_it_was(
    deployment: Deployment,
) -> None:
    (letter,) = fail_later(deployment)

    assert json.loads(letter["Body"]) == {"recipients": [], "message": "kept as it was"}
    assert "recipients: " in letter["MessageAttributes"]["ErrorMessage"]["StringValue"]


def test_the_role_may_do_what_the_code_does_and_nothing_else(sandbox: Sandbox) -> None:
    deployment = sandbox.deployment
    sandbox.permissions.forget_calls()

    for example in EXAMPLES:
        invoke(deployment, json.loads(example.read_text()))
    assert fail_later(deployment)

    role = _configuration(deployment)["Role"]
    made = {(call.role_arn, call.action, call.resource) for call in sandbox.permissions.calls()}
    allowed = {
        (role, action, resource)
        for statement in statements(deployment)
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert made <= allowed
    assert {action for _, action, _ in allowed - made} <= LAMBDA_ITSELF.keys()
    assert all(call.allowed for call in sandbox.permissions.calls())


def test_an_action_that_is_taken_out_is_denied(deployment: Deployment) -> None:
    works: dict[str, Callable[[], bool]] = {
        "mobiletargeting:SendMessages": lambda: push(deployment)["outcome"] == "accepted",
        "sqs:SendMessage": lambda: bool(fail_later(deployment)),
    }
    actions = {action for statement in statements(deployment) for action in statement["Action"]}
    assert works.keys() >= actions - LAMBDA_ITSELF.keys()

    for action, works_still in works.items():

        def without(all_: list[dict[str, Any]], gone: str = action) -> list[dict[str, Any]]:
            return [each for each in all_ if gone not in each["Action"]]

        assert works_still(), action
        with changed_policy(deployment, without):
            assert not works_still(), action
        assert works_still(), action


def test_a_push_that_the_role_may_not_send_ends_as_misconfigured(deployment: Deployment) -> None:
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


def test_the_value_of_a_secret_is_nowhere_in_the_stack(deployment: Deployment) -> None:
    secrets = client("secretsmanager", deployment.url)
    value = secrets.get_secret_value(SecretId="sandbox/apns")["SecretString"]
    cloudformation = client("cloudformation", deployment.url)
    canary = json.loads(value)["token_key"]

    told = json.dumps(
        [
            cloudformation.get_template(StackName="push-sender"),
            cloudformation.describe_stacks(StackName="push-sender"),
            cloudformation.describe_stack_resources(StackName="push-sender"),
        ],
        default=str,
    )
    files = [path for path in (REPOSITORY / ".build").glob("stack-*/**/*") if path.is_file()]

    assert "{{resolve:secretsmanager:sandbox/apns:SecretString:token_key::}}" in told
    assert canary not in told
    assert files
    assert not [path for path in files if canary.encode() in path.read_bytes()]
