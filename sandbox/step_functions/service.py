"""The Step Functions service: moto's machines, with executions of the sandbox's own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from moto.core.base_backend import BackendDict
from moto.stepfunctions.exceptions import (
    InvalidExecutionInput,
    ResourceNotFound,
    ValidationException,
)
from moto.stepfunctions.models import StateMachine, StepFunctionBackend

from sandbox.step_functions import status_events
from sandbox.step_functions.definition import check
from sandbox.step_functions.executions import Execution
from sandbox.step_functions.map_runs import MapRun
from sandbox.step_functions.quotas import LIMIT
from sandbox.step_functions.run_details import Surroundings

_starting: Final = Lock()
"""Two starts with one name must not both find that there is none."""


class StateMachines(StepFunctionBackend):
    """moto's backend, which runs machines.

    ``surroundings`` is set while the sandbox runs functions.
    """

    surroundings: Surroundings | None = None

    def reset(self) -> None:
        """Forget everything, and end what runs."""
        self.discard_executions()
        super().reset()

    def discard_executions(self) -> None:
        """End what runs, without an event."""
        for execution in self._executions():
            execution.discard()

    def create_state_machine(
        self,
        name: str,
        definition: str,
        *arguments: Any,
        sm_type: str | None = None,
        **others: Any,
    ) -> StateMachine:
        """Check and make a machine."""
        if sm_type not in (None, "STANDARD"):
            raise ValidationException(
                "The sandbox does not support state machines of type EXPRESS."
            )
        check(definition)
        return super().create_state_machine(name, definition, *arguments, **others)

    def update_state_machine(
        self, arn: str, definition: str | None = None, *arguments: Any, **others: Any
    ) -> StateMachine:
        """Check and change a machine; executions that run keep their definition and role."""
        if definition is not None:
            check(definition)
        return super().update_state_machine(arn, definition, *arguments, **others)

    def delete_state_machine(self, arn: str) -> None:
        """Delete a machine, and stop what runs."""
        for machine in self.state_machines:
            if machine.arn == arn:
                for execution in _executions_of(machine):
                    execution.stop(None, None)
        super().delete_state_machine(arn)

    def start_execution(self, state_machine_arn: str, name: str, execution_input: str) -> Any:
        """Start an execution, or return the running one with this name and input."""
        if self.surroundings is None:
            raise NotImplementedError("executions need the functions of the sandbox")
        machine = self.describe_state_machine(state_machine_arn)
        if name:
            self._validate_name(name)
        if len(execution_input.encode()) > LIMIT:
            raise ValidationException(f"The input is longer than {LIMIT} bytes.")
        try:
            json.loads(execution_input)
        except (ValueError, RecursionError) as error:
            raise InvalidExecutionInput(
                f"Invalid State Machine Execution Input: '{error}'"
            ) from None
        name = name or str(uuid.uuid4())
        with _starting:
            existing = machine._handle_name_input_idempotency(name, execution_input)
            if existing is not None:
                return existing
            execution = Execution(
                machine, name, execution_input, self.surroundings, status_events.publish
            )
            machine.executions.append(execution)  # type: ignore[arg-type]  # it has moto's attributes
        execution.start()
        return execution

    def redrive_execution(self, execution_arn: str) -> Execution:
        """Continue an execution that did not succeed."""
        execution = self._own(execution_arn)
        execution.redrive()
        return execution

    def stop(self, execution_arn: str, error: str | None, cause: str | None) -> Execution:
        """Stop an execution."""
        execution = self._own(execution_arn)
        execution.stop(error, cause)
        return execution

    def get_execution_history(self, execution_arn: str) -> dict[str, Any]:
        """Return the events of an execution."""
        return {"events": self._own(execution_arn).history()}

    def list_map_runs(self, execution_arn: str) -> dict[str, Any]:
        """List the runs of an execution's Maps."""
        return {"mapRuns": [run.listed() for run in self._own(execution_arn).map_runs.runs]}

    def describe_map_run(self, map_run_arn: str) -> dict[str, Any]:
        """Describe a run of a Map."""
        return self._map_run(map_run_arn).describe()

    def update_map_run(
        self,
        map_run_arn: str,
        max_concurrency: int | None,
        tolerated_failure_count: Any,
        tolerated_failure_percentage: Any,
    ) -> None:
        """Change those limits of a run that are not None."""
        run = self._map_run(map_run_arn)
        wanted = {
            "concurrency": max_concurrency,
            "failures": tolerated_failure_count,
            "failure_percentage": tolerated_failure_percentage,
        }
        changed = {name: value for name, value in wanted.items() if value is not None}
        run.update(run.limits._replace(**changed))

    def _own(self, execution_arn: str) -> Execution:
        execution: Any = self.describe_execution(execution_arn)
        return execution  # type: ignore[no-any-return]  # start_execution makes only these

    def _executions(self) -> Iterator[Execution]:
        for machine in self.state_machines:
            yield from _executions_of(machine)

    def _map_run(self, arn: str) -> MapRun:
        for execution in self._executions():
            for run in execution.map_runs.runs:
                if run.arn == arn:
                    return run
        raise ResourceNotFound(arn)


def _executions_of(machine: StateMachine) -> list[Execution]:
    return list(machine.executions)  # type: ignore[arg-type]  # start_execution makes only these


state_machines = BackendDict(StateMachines, "stepfunctions")


@contextmanager
def ending_executions() -> Iterator[None]:
    """At the end of the block, end what runs: the functions of the sandbox end, too."""
    try:
        yield
    finally:
        for regions in state_machines.values():
            for backend in regions.values():
                backend.discard_executions()
