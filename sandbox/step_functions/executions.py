"""An execution of a state machine, its end, and its redrives."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import RLock, Thread
from typing import Any, Final

from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.api import HistoryEventType, StateMachineType
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramEnded,
    ProgramError,
    ProgramTimedOut,
)
from moto.stepfunctions.parser.asl.eval.states import (
    ContextObjectData,
    ExecutionData,
    StateMachineData,
)

from sandbox.step_functions.definition import program
from sandbox.step_functions.errors import NotRedrivableError
from sandbox.step_functions.map_runs import MapRuns
from sandbox.step_functions.run_details import RunDetails, Surroundings

REDRIVABLE_FOR: Final = timedelta(days=14)

_COMPACT: Final = (",", ":")


class Execution:
    """An execution, with the attributes that moto's own has.

    Attributes
    ----------
    execution_arn, name, start_date, stop_date, status, execution_input
        As the API shows them.
    output
        JSON text; None until it succeeds.
    error, cause
        Why it failed or was stopped.
    redrive_count, redrive_date
        Of its redrives.
    map_runs
        The runs of its Maps.
    """

    output_details: Final = {"included": True}

    def __init__(
        self,
        machine: StateMachine,
        name: str,
        text: str,
        surroundings: Surroundings,
        on_change: Callable[[Execution], None],
    ) -> None:
        prefix = machine.arn.replace(":stateMachine:", ":execution:")
        self.execution_arn = f"{prefix}:{name}"
        self.state_machine_arn = machine.arn
        self.name = name
        self.execution_input = text
        self.start_date = datetime.now(UTC)
        self.stop_date: datetime | None = None
        self.status = "RUNNING"
        self.output: str | None = None
        self.error: str | None = None
        self.cause: str | None = None
        self.redrive_count = 0
        self.redrive_date: datetime | None = None
        self.map_runs = MapRuns()
        # Of the start: an update of the machine does not change its executions.
        self._program = program(machine.definition)
        self._machine_name = machine.name
        _, _, _, region, account, *_ = machine.arn.split(":")
        self._details = RunDetails(account, region, machine.roleArn, surroundings, self.map_runs)
        self._on_change = on_change
        self._lock = RLock()
        self._env = self._environment()
        self._attempt: Thread | None = None

    def start(self) -> None:
        """Run it in the background."""
        started = {"input": self.execution_input, "roleArn": self._details.role_arn}
        self._add_event(HistoryEventType.ExecutionStarted, executionStartedEventDetails=started)
        self._enter(self._program.start_at.start_at_name, self.execution_input)

    def stop(self, error: str | None, cause: str | None) -> None:
        """End it as ABORTED; running children of its Maps end by themselves."""
        with self._lock:
            if self.status != "RUNNING":
                return
            self._env.set_stop(stop_date=datetime.now(UTC), error=error, cause=cause)
            self._end("ABORTED", error=error, cause=cause)

    def discard(self) -> None:
        """End it without a trace, because its account does not exist any more."""
        with self._lock:
            self._on_change = lambda _: None
            self.stop(None, None)

    def redrive(self) -> None:
        """Continue it with the state that did not succeed.

        Raises
        ------
        NotRedrivableError
            If it runs, succeeded or ended more than 14 days ago.
        """
        with self._lock:
            reason = self.not_redrivable_reason()
            if reason is not None:
                raise NotRedrivableError(reason)
            name, text = self._last_entered()
            self._env = self._environment(self._env)
            self._add_event(
                HistoryEventType.ExecutionRedriven,
                executionRedrivenEventDetails={"redriveCount": self.redrive_count + 1},
            )
            self.redrive_count += 1
            self.redrive_date = datetime.now(UTC)
            self.status, self.stop_date, self.error, self.cause = "RUNNING", None, None, None
            self.map_runs.redrive(name)
            self._enter(name, text)

    def not_redrivable_reason(self) -> str | None:
        """Return why it cannot be redriven, in the words of DescribeExecution."""
        if self.status in ("RUNNING", "SUCCEEDED"):
            return f"Execution is {self.status} and cannot be redriven"
        if self.stop_date and datetime.now(UTC) - self.stop_date > REDRIVABLE_FOR:
            return "Execution redrivable period exceeded"
        return None

    def history(self) -> list[dict[str, Any]]:
        """Return its events."""
        return [dict(event) for event in self._env.event_manager.get_event_history()]

    def _enter(self, state_name: str, text: str) -> None:
        """Run from a state on, in the background."""
        # A stop that comes before the first state counts, too.
        self._env.next_state_name = state_name
        self._env.states.reset(json.loads(text))
        before, env = self._attempt, self._env
        self._attempt = Thread(target=self._run, args=(env, before), daemon=True)
        self._attempt.start()

    def _run(self, env: Environment, before: Thread | None) -> None:
        with self._lock:
            if self.status == "RUNNING":
                self._on_change(self)
        if before is not None:
            before.join()  # its children may still run
        # Program.eval would always begin with the first state.
        worker = Thread(target=EvalComponent.eval, args=(self._program, env), daemon=True)
        worker.start()
        timeout = self._program.timeout_seconds
        worker.join(timeout.timeout_seconds if timeout else None)
        if worker.is_alive():
            env.set_timed_out()
        state = env.program_state()
        with self._lock:
            if isinstance(state, ProgramEnded):
                self._end("SUCCEEDED", output=_text(env.states.get_input()))
            elif isinstance(state, ProgramError):
                failed = state.error or {}
                self._end("FAILED", error=failed.get("error"), cause=failed.get("cause"))
            elif isinstance(state, ProgramTimedOut):
                self._end("TIMED_OUT", error="States.Timeout")
        worker.join()

    def _end(
        self,
        status: str,
        *,
        output: str | None = None,
        error: str | None = None,
        cause: str | None = None,
    ) -> None:
        if self.status != "RUNNING":
            return
        self.status, self.stop_date = status, datetime.now(UTC)
        self.output, self.error, self.cause = output, error, cause
        for run in self.map_runs.runs:
            run.wake()
        self._on_change(self)

    def _last_entered(self) -> tuple[str, str]:
        """Return the state in which it ended, and the state's input."""
        entered = [event for event in self.history() if "stateEnteredEventDetails" in event]
        if not entered:
            return self._program.start_at.start_at_name, self.execution_input
        details = entered[-1]["stateEnteredEventDetails"]
        return details["name"], details["input"]

    def _environment(self, before: Environment | None = None) -> Environment:
        env = Environment(
            aws_execution_details=self._details,
            execution_type=StateMachineType.STANDARD,
            context=ContextObjectData(  # type: ignore[typeddict-item]  # no task and no item
                Execution=ExecutionData(
                    Id=self.execution_arn,
                    Input=json.loads(self.execution_input),
                    Name=self.name,
                    RoleArn=self._details.role_arn,
                    StartTime=self.start_date.isoformat(timespec="milliseconds"),
                ),
                State=None,
                StateMachine=StateMachineData(Id=self.state_machine_arn, Name=self._machine_name),
            ),
            event_history_context=EventHistoryContext.of_program_start(),
            cloud_watch_logging_session=None,
            activity_store={},
        )
        if before is not None:
            env.event_manager = before.event_manager
        return env

    def _add_event(self, kind: HistoryEventType, **details: Any) -> None:
        self._env.event_manager.add_event(
            context=self._env.event_history_context,
            event_type=kind,
            event_details=EventDetails(**details),  # type: ignore[typeddict-item]
        )


def _text(value: Any) -> str:
    return json.dumps(value, separators=_COMPACT)
