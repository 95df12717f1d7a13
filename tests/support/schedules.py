"""A sandbox with a group of schedules, an execution role, and queues."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.scheduler.targets import START_EXECUTION
from tests.support.service_sandbox import ServiceSandbox, eventually
from tests.support.templates import ACCOUNT, REGION

ROLE = f"arn:aws:iam::{ACCOUNT}:role/scheduler"
GROUP = "pushes"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:jobs"
DAY = 86_400

ALLOWED = {
    "sqs:SendMessage": [
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}" for name in ("queue", "absent", "dead")
    ],
    "states:StartExecution": [MACHINE],
}


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def at(seconds: float) -> str:
    """Write the expression of a time from now on, in UTC."""
    return f"at({datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S})"


@dataclass
class ScheduleSandbox(ServiceSandbox):
    """A sandbox with a group, a role, a queue and a dead-letter queue."""

    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = super().client(service)
        return self.clients[service]

    def prepared(self) -> ScheduleSandbox:
        """Make the group, the role and the queues."""
        self.client("iam").create_role(RoleName="scheduler", AssumeRolePolicyDocument="{}")
        self.permit(**ALLOWED)
        self.client("scheduler").create_schedule_group(Name=GROUP)
        self.queue("queue")
        self.queue("dead")
        return self

    def permit(self, **allowed: Any) -> None:
        """Allow the execution role these actions on these resources."""
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": resources}
            for action, resources in allowed.items()
        ]
        self.client("iam").put_role_policy(
            RoleName="scheduler",
            PolicyName="targets",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )

    def schedule(self, name: str = "one", seconds: float = DAY, **others: Any) -> dict[str, Any]:
        """Give the parameters of a schedule with the queue as its target."""
        target = {
            "Arn": queue_arn("queue"),
            "RoleArn": ROLE,
            "Input": name,
            "DeadLetterConfig": {"Arn": queue_arn("dead")},
        }
        target.update(others.pop("target", {}))
        return {
            "Name": name,
            "GroupName": GROUP,
            "ScheduleExpression": at(seconds),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {key: value for key, value in target.items() if value is not None},
            **others,
        }

    def make(self, name: str = "one", seconds: float = DAY, **others: Any) -> str:
        """Make a schedule; give its ARN."""
        wanted = self.schedule(name, seconds, **others)
        return str(self.client("scheduler").create_schedule(**wanted)["ScheduleArn"])

    def start(self, name: str = "one", seconds: float = DAY, **others: Any) -> str:
        """Make a schedule that starts an execution; give its ARN."""
        request = {"StateMachineArn": MACHINE, "Name": "run", "Input": '{"n": 1}'}
        request.update(others.pop("request", {}))
        target = {"Arn": START_EXECUTION, "Input": json.dumps(request), **others.pop("target", {})}
        return self.make(name, seconds, target=target, **others)

    def names(self) -> list[str]:
        """List the schedules of the group."""
        listed = self.client("scheduler").list_schedules(GroupName=GROUP)["Schedules"]
        return sorted(each["Name"] for each in listed)

    def arrived(self, queue: str = "queue", count: int = 1) -> list[dict[str, Any]]:
        """Wait for messages of a queue."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.received(queue))
            return len(found) >= count

        eventually(enough)
        return found

    def bodies(self, count: int = 1) -> list[str]:
        """Wait for messages of the queue; give their texts."""
        return sorted(message["Body"] for message in self.arrived(count=count))

    def dead_letter(self) -> tuple[str, dict[str, str]]:
        """Wait for the dead-letter message; give its text and attributes."""
        (message,) = self.arrived("dead")
        attributes = message["MessageAttributes"]
        return message["Body"], {name: attributes[name]["StringValue"] for name in attributes}

    def tried(self, resource: str, count: int = 1) -> None:
        """Wait until a resource was called."""
        eventually(
            lambda: (
                sum(
                    number
                    for call, number in self.permissions.calls().items()
                    if call.resource == resource
                )
                >= count
            )
        )
