"""What the states of an execution need from the rest of the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

if TYPE_CHECKING:
    from sandbox.step_functions.map_runs import MapRuns

EXPRESS_SECONDS: Final = 300
"""How long a child of type EXPRESS may run (developer guide, "Quotas")."""


class Invocation(NamedTuple):
    """What Lambda answered a task."""

    payload: bytes
    executed_version: str
    request_id: str
    failed: bool


class Surroundings(NamedTuple):
    """What the states of machines need from the rest of the sandbox.

    Attributes
    ----------
    invoke
        Runs a function by its ARN, account and region with a payload, or raises a
        LambdaClientError.
    is_allowed
        Returns whether a role is allowed an action on a resource.
    express_seconds
        How long a child may run.
    """

    invoke: Callable[[str, bytes, str, str], Invocation]
    is_allowed: Callable[[str, str, str], bool]
    express_seconds: int = EXPRESS_SECONDS


class RunDetails(AWSExecutionDetails):
    """moto's details of an execution, which all its environments share, and the sandbox's."""

    def __init__(
        self,
        account: str,
        region: str,
        role_arn: str,
        surroundings: Surroundings,
        map_runs: MapRuns,
    ) -> None:
        super().__init__(account, region, role_arn)
        self.surroundings = surroundings
        self.map_runs = map_runs

    def permitted(self, env: Environment, action: str, resource: str) -> None:
        """Fail the state if the machine's role is not allowed an action.

        Raises
        ------
        FailureEventException
            ``States.Permissions``.
        """
        if not self.surroundings.is_allowed(self.role_arn, action, resource):
            raise failure(
                env, "States.Permissions", not_authorized(self.role_arn, action, resource)
            )


def details_of(env: Environment) -> RunDetails:
    """Return the details of an environment."""
    details: Any = env.aws_execution_details
    if not isinstance(details, RunDetails):
        raise TypeError(type(details))
    return details


def not_authorized(role_arn: str, action: str, resource: str) -> str:
    """Write IAM's words for a missing permission."""
    return f"User: {role_arn} is not authorized to perform: {action} on resource: {resource}"


def failure(env: Environment, error: str, cause: str) -> FailureEventException:
    """Make the failure of a state."""
    details = TaskFailedEventDetails(error=error, cause=cause)
    of_states = error.startswith("States.")
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=StatesErrorName.from_name(error) if of_states else CustomErrorName(error),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),  # type: ignore[typeddict-item]
        )
    )
