"""Calling the function that is deployed in a sandbox."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sandbox.running import Sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment

ISSUER, AUDIENCE = "https://issuer.example.com", "app"

FAST: Mapping[str, Any] = {
    "jwt_issuer": ISSUER,
    "jwt_audience": AUDIENCE,
    "http_jwt": True,
    "jobs": False,
    **dict.fromkeys(("http_requests_per_second", "jwt_requests_per_second"), 10_000),
    **dict.fromkeys(("http_burst", "jwt_burst"), 5_000),
}
"""Settings for tests without jobs: a rate that no laptop reaches, so that no answer is API
Gateway's 429. Files that share them share the synthesized stack."""

OTHER_BUCKET, OTHER_PROJECT = "exports", "0123456789abcdef0123456789abcdef"

OTHERS: Mapping[str, Any] = {
    "extra_application_ids": [OTHER_PROJECT],
    "job_bucket_arns": f"arn:aws:s3:::{OTHER_BUCKET}",
}
"""Settings with another project and another bucket for files."""


def invoke(deployment: Deployment, event: Any) -> Any:
    answer = client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name, Payload=json.dumps(event)
    )
    return json.loads(answer["Payload"].read())


def push(deployment: Deployment, service: str = "GCM") -> dict[str, Any]:
    """Push to a device of a service, and give the result."""
    recipient = {"token": "any-device", "service": service}
    report = invoke(deployment, {"recipient": recipient, "message": "m"})
    result: dict[str, Any] = report["results"][0]
    return result


def within(seconds: float, done: Callable[[], bool]) -> bool:
    """Wait for something that happens in the background; return whether it happened."""
    end = time.monotonic() + seconds
    pause = 0.01
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return True


def happens(sandbox: Sandbox, done: Callable[[], bool]) -> bool:
    """Wait until something happens or the role is denied an action; return whether it happened."""
    denied = False

    def ended() -> bool:
        nonlocal denied
        denied = bool(denials(sandbox))
        return done() or denied

    assert within(60, ended), "it neither happened nor was denied"
    return not denied


def denials(sandbox: Sandbox) -> set[str]:
    """Give the actions that a role was denied."""
    return {call.action for call in sandbox.permissions.calls() if not call.allowed}


def dead_letters(deployment: Deployment) -> list[dict[str, Any]]:
    """Receive and delete the messages of the dead-letter queue."""
    queue = {"QueueUrl": deployment.outputs["DeadLetterQueueUrl"]}
    sqs = client("sqs", deployment.url)
    messages: list[dict[str, Any]] = sqs.receive_message(
        **queue, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    ).get("Messages", [])
    for message in messages:
        sqs.delete_message(**queue, ReceiptHandle=message["ReceiptHandle"])
    return messages


def statements(deployment: Deployment) -> list[dict[str, Any]]:
    """Read the statements of the function's role from IAM."""
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
    """Change the policy of the function's role inside a ``with`` block."""
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
    role = configuration(deployment)["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    names = {"RoleName": role, "PolicyName": name}
    return names, iam.get_role_policy(**names)


def configuration(deployment: Deployment) -> Any:
    """Describe the function as it is deployed."""
    return client("lambda", deployment.url).get_function_configuration(
        FunctionName=deployment.function_name
    )
