"""The Map state in distributed mode: moto's, with a run of the sandbox's own."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from moto.stepfunctions.parser.api import (
    HistoryEventType,
    StateMachineType,
)
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSeconds
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap
from moto.stepfunctions.parser.asl.component.state.exec.state_map.tolerated_failure import (
    ToleratedFailureCountDecl,
    ToleratedFailurePercentageDecl,
)
from moto.stepfunctions.parser.asl.component.state.state_props import StateProps
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramEnded,
    ProgramError,
    ProgramTimedOut,
)
from moto.stepfunctions.parser.asl.eval.states import (
    ContextObjectData,
    ExecutionData,
    ItemData,
    MapData,
)

from sandbox.step_functions.map_runs import (
    ABORTED,
    FAILED,
    SUCCEEDED,
    TIMED_OUT,
    Child,
    Ended,
    Limits,
    MapRun,
)
from sandbox.step_functions.objects import read_items, write_results
from sandbox.step_functions.quotas import within_limit
from sandbox.step_functions.run_details import details_of, failure


class DistributedMap(StateMap):
    """A Map whose children are executions of type EXPRESS."""

    def from_state_props(self, state_props: StateProps) -> None:
        """Take the fields, and remember which tolerance the Map has."""
        super().from_state_props(state_props)
        self._failures = state_props.get(ToleratedFailureCountDecl)
        self._failure_percentage = state_props.get(ToleratedFailurePercentageDecl)

    def _eval_execution(self, env: Environment) -> None:
        details = details_of(env)
        context = env.states.context_object.context_object_data
        machine, execution = context["StateMachine"]["Id"], context["Execution"]["Id"]
        label = self.label.label if self.label else None
        run = details.map_runs.started(self.name, label, machine, execution, self._limits(env))
        _add(env, HistoryEventType.MapStateStarted, mapStateStartedEventDetails={"length": 0})
        try:
            details.permitted(env, "states:StartExecution", machine)
            if run.redrive_count:
                redriven = run.arn.replace(":mapRun:", ":execution:")
                details.permitted(env, "states:RedriveExecution", redriven)
            if run.children is None:
                run.children = [Child(item) for item in self._items(env)]
            output = self._output_of(env, run)
        except Exception:
            run.end(FAILED if env.is_running() else ABORTED)
            _add(env, HistoryEventType.MapRunFailed, mapRunFailedEventDetails={})
            raise
        if env.is_running():
            run.end(SUCCEEDED)
            _add(env, HistoryEventType.MapRunSucceeded)
            _add(env, HistoryEventType.MapStateSucceeded)
        else:
            run.end(ABORTED)
        env.stack.append(output)

    def _limits(self, env: Environment) -> Limits:
        return Limits(
            _evaluated(self.max_concurrency_decl, env),
            self._failures and _evaluated(self._failures, env),
            self._failure_percentage and _evaluated(self._failure_percentage, env),
        )

    def _items(self, env: Environment) -> list[Any]:
        if self.item_reader:
            return read_items(env, _evaluated(self.item_reader.parargs, env))
        items = _evaluated(self.items_path, env)
        if not isinstance(items, list):
            raise failure(env, "States.Runtime", "The value of ItemsPath is no array.")
        return items

    def _output_of(self, env: Environment, run: MapRun) -> Any:
        """Run the children that have not succeeded, and return the output of the state."""
        writer = self.result_writer and _evaluated(self.result_writer.parargs, env)
        _add(env, HistoryEventType.MapRunStarted, mapRunStartedEventDetails={"mapRunArn": run.arn})
        enough = run.run(
            lambda index, child: self._prepare(env, run, index, child),
            lambda child: self._run_child(env, child),
            lambda: not env.is_running(),
        )
        written = write_results(env, run, writer) if writer else None
        if not enough:
            raise failure(
                env,
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )
        if written:
            return written
        outputs = [child.ended and child.ended.output for child in run.children or []]
        if not within_limit(outputs):
            raise failure(
                env,
                "States.DataLimitExceeded",
                f"The state/task '{self.name}' returned a result with a size exceeding the maximum"
                " number of bytes service limit.",
            )
        return outputs

    def _prepare(self, env: Environment, run: MapRun, index: int, child: Child) -> None:
        """Write the input and the name of a child."""
        child.input = child.item
        if self.item_selector:
            frame = env.open_inner_frame()
            try:
                item = MapData(Item=ItemData(Index=index, Value=child.item))
                frame.states.context_object.context_object_data["Map"] = item
                frame.states.reset(env.states.get_input())
                frame.stack.append(frame.states.get_input())
                child.input = _evaluated(self.item_selector, frame)
            finally:
                env.delete_frame(frame)
        machine = run.arn.replace(":mapRun:", ":express:")
        child.execution_arn = f"{machine}:{uuid.uuid4()}"

    def _run_child(self, parent: Environment, child: Child) -> Ended:
        if not within_limit(child.input):
            return Ended(FAILED, error="States.DataLimitExceeded", cause="The input is too large.")
        details = details_of(parent)
        iteration = self.iteration_component
        program = Program(
            query_language=iteration._query_language,
            start_at=iteration._start_at,
            states=iteration._states,
            timeout_seconds=TimeoutSeconds(details.surroundings.express_seconds),
        )
        env = Environment(
            aws_execution_details=details,
            execution_type=StateMachineType.EXPRESS,
            context=ContextObjectData(  # type: ignore[typeddict-item]  # no task and no item
                Execution=ExecutionData(
                    Id=child.execution_arn,
                    Input=child.input,
                    Name=child.execution_arn.rpartition(":")[2],
                    RoleArn=details.role_arn,
                    StartTime=datetime.now(UTC).isoformat(),
                ),
                State=None,
                StateMachine=parent.states.context_object.context_object_data["StateMachine"],
            ),
            event_history_context=EventHistoryContext.of_program_start(),
            cloud_watch_logging_session=None,
            activity_store={},
        )
        env.event_manager = _NoHistory()
        env.states.reset(child.input)
        program.eval(env)
        if not self.result_writer:
            child.input = None  # only the files of results have it
        return _ended(env)


class _NoHistory(EventManager):
    """Executions of type EXPRESS have no history."""

    def add_event(self, *_: Any, **_named: Any) -> int:
        """Drop an event."""
        return 0


def _ended(env: Environment) -> Ended:
    state = env.program_state()
    if isinstance(state, ProgramEnded):
        return Ended(SUCCEEDED, env.states.get_input())
    if isinstance(state, ProgramTimedOut):
        return Ended(TIMED_OUT, error="States.Timeout")
    error = (isinstance(state, ProgramError) and state.error) or {}
    return Ended(FAILED, error=error.get("error"), cause=error.get("cause"))


def _evaluated(component: Any, env: Environment) -> Any:
    component.eval(env)
    return env.stack.pop()


def _add(env: Environment, kind: HistoryEventType, **details: Any) -> None:
    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=kind,
        event_details=EventDetails(**details) if details else None,  # type: ignore[typeddict-item]
    )
