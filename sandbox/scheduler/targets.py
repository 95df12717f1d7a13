"""The targets of schedules: queues, and StartExecution of Step Functions.

A call is made with the permissions of the schedule's execution role.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from moto.core.exceptions import AWSError
from moto.scheduler.exceptions import ValidationException
from moto.sqs.exceptions import SQSException

from sandbox.entry_points import SCHEDULER
from sandbox.iam.sessions import find_role
from sandbox.sqs.queues import put, queue_of
from sandbox.step_functions.service import state_machines

_SESSION: Final = "scheduler"  # AWS does not document how Scheduler names its session

START_EXECUTION: Final = "arn:aws:scheduler:::aws-sdk:sfn:startExecution"
"""The universal target that calls StartExecution."""

LONGEST_INPUT: Final = 256 * 1024
"""In bytes (user guide, "Quotas")."""

IsAllowed = Callable[[str, str, str], bool]
"""Returns whether a role (its ARN) is allowed an action on a resource."""

_QUEUE: Final = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?")
_MACHINE: Final = re.compile(r"arn:aws[a-z-]*:states:([a-z0-9-]+):(\d{12}):stateMachine:\S+")
_SUPPORTED: Final = {"Arn", "RoleArn", "Input", "RetryPolicy", "DeadLetterConfig"}
_FIELDS: Final = {"StateMachineArn", "Name", "Input"}


class TargetError(Exception):
    """A call of a target failed; the code is that of the called service."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check(target: Mapping[str, Any]) -> None:
    """Refuse a target as Scheduler does, and one that the sandbox cannot call.

    Raises
    ------
    ValidationException
        The message says why.
    """
    arn = target["Arn"]
    supported = _SUPPORTED
    if _QUEUE.fullmatch(arn):
        supported = {*_SUPPORTED, "SqsParameters"}
    elif not arn.startswith("arn:"):
        raise ValidationException("Provided Arn is not in correct format.")
    elif arn != START_EXECUTION:
        raise ValidationException(
            f"The sandbox supports as targets only queues of SQS and {START_EXECUTION}."
        )
    others = sorted(name for name in target.keys() - supported if target[name] is not None)
    if others:
        raise ValidationException(
            f"The sandbox does not support {', '.join(others)} of this target."
        )
    text = target.get("Input")
    if text is None:
        raise ValidationException("The sandbox does not support a target without Input.")
    if len(text.encode()) > LONGEST_INPUT:
        raise ValidationException(f"Input of the target is longer than {LONGEST_INPUT} bytes.")
    if arn == START_EXECUTION:
        _check_request(text)
    if find_role(target["RoleArn"]) is None:
        raise ValidationException(
            "The execution role you provide must allow AWS EventBridge Scheduler"
            " to assume the role."
        )


def call(target: Mapping[str, Any], text: str, is_allowed: IsAllowed) -> None:
    """Call a target.

    Parameters
    ----------
    target
        One that was checked.
    text
        Its input, with all keywords replaced.
    is_allowed
        Judges the execution role.

    Raises
    ------
    TargetError
        If the call fails.
    """
    role = target["RoleArn"]
    if target["Arn"] == START_EXECUTION:
        _start_execution(json.loads(text), role, is_allowed)
    else:
        group = (target.get("SqsParameters") or {}).get("MessageGroupId")
        send(target["Arn"], text, role, is_allowed, group_id=group)


def send(queue_arn: str, body: str, role: str, is_allowed: IsAllowed, **others: Any) -> None:
    """Send a message with the permissions of a role.

    Raises
    ------
    TargetError
        If the role is not allowed it, or SQS refuses it.
    """
    if not is_allowed(role, "sqs:SendMessage", queue_arn):
        raise TargetError("AccessDenied", _denial(role, "sqs:SendMessage", queue_arn))
    queue = queue_of(queue_arn)
    if queue is None:
        raise TargetError(
            "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."
        )
    try:
        found = find_role(role)
        sender_id = f"{found.id}:{_SESSION}" if found else None
        put(queue, body, entry_point=SCHEDULER, sender_id=sender_id, **others)
    except SQSException as error:
        raise TargetError(error.code, error.message) from None


def _start_execution(request: Mapping[str, str], role: str, is_allowed: IsAllowed) -> None:
    arn = request["StateMachineArn"]
    if not is_allowed(role, "states:StartExecution", arn):
        raise TargetError("AccessDeniedException", _denial(role, "states:StartExecution", arn))
    match = _MACHINE.fullmatch(arn)
    backends = state_machines[match[2]] if match else {}
    if match is None or match[1] not in backends:
        raise TargetError("InvalidArn", "Invalid Arn")
    try:
        backends[match[1]].start_execution(arn, request.get("Name", ""), request.get("Input", "{}"))
    except AWSError as error:
        raise TargetError(str(error.error_type), error.message) from None


def _check_request(text: str) -> None:
    """Check the request of the universal target."""
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        reason = "Request payload is no JSON object."
    elif "StateMachineArn" not in request:
        reason = "Request payload is missing the following field(s): StateMachineArn."
    elif request.keys() - _FIELDS:
        reason = f"The sandbox supports only the fields {', '.join(sorted(_FIELDS))}."
    elif not all(isinstance(value, str) for value in request.values()):
        reason = "A field is no text."
    else:
        return
    raise ValidationException(f"Invalid RequestJson provided. Reason {reason}")


def _denial(role: str, action: str, resource: str) -> str:
    return f"User: {role} is not authorized to perform: {action} on resource: {resource}"
