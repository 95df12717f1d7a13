"""Schedules that start jobs, in EventBridge Scheduler: each starts one execution, at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from operations.account import Account, FailedCall, OperationsError, call
from operations.deployed import DeployedStack
from operations.json_values import as_dict, as_list, read_json

OUTPUTS: Final = ("ScheduleGroupName", "JobScheduleRoleArn")
"""Outputs that a stack with schedules of jobs has."""

LONGEST_NAME: Final = 60
"""Of a job that starts later: the name of a schedule has at most 64 characters (quotas)."""

INPUT_BYTES: Final = 262_144
"""Maximum size of what a target gets: 256 KB (Scheduler User Guide, "Quotas")."""

_PREFIX: Final = "job-"
_EXPRESSION: Final = "at(%Y-%m-%dT%H:%M:%S)"
_RETRIES: Final = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
"""Scheduler's own defaults, which are its maxima."""


class Waiting(NamedTuple):
    """A job that has not started.

    Attributes
    ----------
    name
        The job's.
    at
        When it starts; None if the schedule has another form than ours.
    input
        What it is started with.
    """

    name: str
    at: datetime | None
    input: Mapping[str, Any]


class JobSchedules:
    """The schedules that start the jobs of one push sender.

    Every method raises ``OperationsError`` if AWS does not answer as it should.

    Parameters
    ----------
    account
        The operator's.
    stack
        One that has the outputs of jobs and of schedules.
    """

    def __init__(self, account: Account, stack: DeployedStack) -> None:
        self._client = account.client("scheduler")
        self._group: str = stack.outputs["ScheduleGroupName"]
        self._role: str = stack.outputs["JobScheduleRoleArn"]
        self._machine: str = stack.outputs["JobStateMachineArn"]

    def make(self, name: str, at: datetime, document: Mapping[str, Any]) -> bool:
        """Let a job start at a moment; return whether its name was free."""
        answer = call(
            self._client,
            "create_schedule",
            GroupName=self._group,
            Name=_PREFIX + name,
            ScheduleExpression=at.astimezone(UTC).strftime(_EXPRESSION),
            ScheduleExpressionTimezone="UTC",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                # "Using universal targets" in the user guide.
                "Arn": f"arn:{self._machine.split(':')[1]}:scheduler:::aws-sdk:sfn:startExecution",
                "RoleArn": self._role,
                "Input": self.target_input(name, document),
                "RetryPolicy": _RETRIES,
            },
        )
        if isinstance(answer, FailedCall) and answer.code == "ConflictException":
            # A try whose answer was lost may have made it.
            return self.find(name) == Waiting(name, at, document)
        self._answered(answer, f"The job {name} cannot be scheduled")
        return True

    def target_input(self, name: str, document: Mapping[str, Any]) -> str:
        """Write the call of StartExecution.

        Raises
        ------
        OperationsError
            If it is larger than a schedule can hold.
        """
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        # Scheduler replaces keywords such as <aws.scheduler.execution-id> anywhere in it.
        request = {
            "StateMachineArn": self._machine,
            "Name": name,
            "Input": text.replace("<", "\\u003c"),
        }
        written = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        if len(written.encode()) > INPUT_BYTES:
            raise OperationsError(
                "The request is too large for a job that starts later: with its escapes it has "
                f"more than {INPUT_BYTES:,} bytes. Shorten it, or put texts into columns."
            )
        return written

    def find(self, name: str) -> Waiting | None:
        """Describe a job that has not started; None if there is none of this name."""
        if len(name) > LONGEST_NAME:
            return None
        answer = call(self._client, "get_schedule", GroupName=self._group, Name=_PREFIX + name)
        if isinstance(answer, FailedCall) and answer.code == "ResourceNotFoundException":
            return None
        answer = self._answered(answer, f"The schedule of the job {name} cannot be read")
        request = as_dict(read_json(str(as_dict(answer.get("Target")).get("Input")).encode()))
        document = as_dict(read_json(str(request.get("Input")).encode()))
        return Waiting(name, _moment(str(answer.get("ScheduleExpression"))), document)

    def delete(self, name: str) -> bool:
        """Let a job not start; return whether it had not."""
        answer = call(self._client, "delete_schedule", GroupName=self._group, Name=_PREFIX + name)
        if isinstance(answer, FailedCall) and answer.code == "ResourceNotFoundException":
            return False
        self._answered(answer, f"The schedule of the job {name} cannot be deleted")
        return True

    def names(self, number: int) -> list[str]:
        """List jobs that have not started."""
        answer = call(
            self._client,
            "list_schedules",
            GroupName=self._group,
            NamePrefix=_PREFIX,
            MaxResults=number,
        )
        answer = self._answered(answer, "The schedules cannot be listed")
        listed = map(as_dict, as_list(answer.get("Schedules")))
        return [str(each.get("Name")).removeprefix(_PREFIX) for each in listed]

    @staticmethod
    def _answered(answer: dict[str, Any] | FailedCall, failed: str) -> dict[str, Any]:
        if isinstance(answer, FailedCall):
            raise OperationsError(f"{failed}: {answer.with_cure}")
        return answer


def _moment(expression: str) -> datetime | None:
    try:
        return datetime.strptime(expression, _EXPRESSION).replace(tzinfo=UTC)
    except ValueError:
        return None
