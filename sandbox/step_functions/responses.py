"""Operations of Step Functions that moto answers incompletely or not at all."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.responses import StepFunctionResponse

from sandbox.step_functions.service import StateMachines, state_machines


def backend_of(account: str, region: str) -> StateMachines:
    """Return the sandbox's backend in place of moto's two."""
    backend: StateMachines = state_machines[account][region]
    return backend


def describe_execution(self: StepFunctionResponse) -> ActionResult:
    """Answer DescribeExecution, with what concerns redrives."""
    execution = _backend(self)._own(self._get_param("executionArn"))
    reason = execution.not_redrivable_reason()
    shown = {
        "executionArn": execution.execution_arn,
        "stateMachineArn": execution.state_machine_arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.start_date,
        "stopDate": execution.stop_date,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        "output": execution.output,
        "outputDetails": execution.output_details if execution.output is not None else None,
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrive_count,
        "redriveDate": execution.redrive_date,
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
        "redriveStatusReason": reason,
    }
    return ActionResult({name: value for name, value in shown.items() if value is not None})


def redrive_execution(self: StepFunctionResponse) -> ActionResult:
    """Answer RedriveExecution."""
    execution = _backend(self).redrive_execution(self._get_param("executionArn"))
    return ActionResult({"redriveDate": execution.redrive_date})


def stop_execution(self: StepFunctionResponse) -> ActionResult:
    """Answer StopExecution."""
    arn, error, cause = map(self._get_param, ("executionArn", "error", "cause"))
    return ActionResult({"stopDate": _backend(self).stop(arn, error, cause).stop_date})


def refused(operation: str) -> Any:
    """Make a method that refuses an operation by name."""

    def refuse(self: StepFunctionResponse) -> EmptyResult:
        del self
        raise NotImplementedError(f"{operation} of Step Functions")

    return refuse


def _backend(response: StepFunctionResponse) -> StateMachines:
    return backend_of(response.current_account, response.region)
