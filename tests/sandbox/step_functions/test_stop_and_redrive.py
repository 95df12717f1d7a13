"""Executions that are stopped or fail, and how they continue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.step_functions.executions import Execution
from sandbox.step_functions.service import state_machines
from tests.support.service_sandbox import eventually, refusal
from tests.support.state_machines import (
    MACHINE,
    WRITER,
    MachineSandbox,
    machine,
    output_of,
    row_map,
    task,
)
from tests.support.templates import ACCOUNT, REGION


def redrive(sandbox: MachineSandbox, execution: str) -> None:
    sandbox.client("stepfunctions").redrive_execution(executionArn=execution)


def stop(sandbox: MachineSandbox, execution: str) -> None:
    sandbox.client("stepfunctions").stop_execution(executionArn=execution)


def test_running_children_of_a_stopped_execution_finish_and_no_other_starts(
    sandbox: MachineSandbox,
) -> None:
    sandbox.create_machine(machine(Only=row_map()))
    execution = sandbox.start(sandbox.index(*[{"do": "wait", "n": n} for n in range(5)]))
    eventually(lambda: len(sandbox.calls()) == 2)

    stop(sandbox, execution)

    assert sandbox.describe(execution)["status"] == "ABORTED"
    sandbox.let_through()
    eventually(lambda: sandbox.map_run(execution)["status"] == "ABORTED")
    assert sandbox.counts(execution) == {"succeeded": 2, "pending": 3, "total": 5}
    assert len(sandbox.calls()) == 2


def test_a_stopped_execution_continues_with_the_items_that_did_not_start(
    sandbox: MachineSandbox,
) -> None:
    sandbox.create_machine(machine(Only=row_map()))
    execution = sandbox.start(sandbox.index(*[{"do": "wait", "n": n} for n in range(5)]))
    eventually(lambda: len(sandbox.calls()) == 2)
    stop(sandbox, execution)

    redrive(sandbox, execution)  # while children of the first attempt still run
    sandbox.let_through()

    assert output_of(sandbox.ended(execution)) == [0, 1, 2, 3, 4]
    assert sorted(call["n"] for call in sandbox.calls()) == [0, 1, 2, 3, 4]


def test_an_execution_may_be_stopped_and_redriven_at_once(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only=row_map()))
    execution = sandbox.start(sandbox.index({"do": "wait", "n": 0}))
    eventually(sandbox.calls)

    for _ in range(3):
        stop(sandbox, execution)
        redrive(sandbox, execution)
    sandbox.let_through()

    described = sandbox.ended(execution)
    assert (output_of(described), described["redriveCount"]) == ([0], 3)
    assert len(sandbox.calls()) == 1


def test_children_of_an_execution_that_timed_out_finish_before_its_redrive(
    sandbox: MachineSandbox,
) -> None:
    sandbox.create_machine({**machine(Only=row_map(MaxConcurrency=1)), "TimeoutSeconds": 1})
    execution = sandbox.start(sandbox.index({"do": "wait", "n": 0}, {"n": 1}))
    assert sandbox.ended(execution)["status"] == "TIMED_OUT"
    assert sandbox.calls() == [{"do": "wait", "n": 0}]

    sandbox.let_through()
    redrive(sandbox, execution)

    assert output_of(sandbox.ended(execution)) == [0, 1]
    assert [call["n"] for call in sandbox.calls()] == [0, 1]


def test_a_redrive_runs_only_children_that_did_not_succeed(sandbox: MachineSandbox) -> None:
    rows = [{"n": 0}, {"do": "raise", "n": 1}, {"n": 2}]
    states = machine("First", First=task(ResultPath=None, Next="Rows"), Rows=row_map())
    states["States"]["First"].pop("OutputPath")
    sandbox.create_machine(states)
    execution = sandbox.start(sandbox.index(*rows))
    assert sandbox.ended(execution)["status"] == "FAILED"
    before = sandbox.map_run(execution)
    started = len(sandbox.calls())

    sandbox.let_through()
    redrive(sandbox, execution)

    described = sandbox.ended(execution)
    assert output_of(described) == [0, 1, 2]
    assert described["redriveCount"] == 1
    assert "error" not in described
    after = sandbox.map_run(execution)
    assert after["mapRunArn"] == before["mapRunArn"]
    assert (before["redriveCount"], after["redriveCount"]) == (0, 1)
    # The first state and the first row ran once.
    assert [sandbox.calls().count(each) for each in ({"key": "index.json"}, rows[0])] == [1, 1]
    assert sandbox.calls()[started:].count(rows[1]) == 1
    assert "ExecutionRedriven" in sandbox.history(execution)


def test_a_redrive_that_fails_again_can_be_redriven(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only=task()))
    execution = sandbox.start({"do": "raise"})
    sandbox.ended(execution)

    redrive(sandbox, execution)
    assert sandbox.ended(execution)["status"] == "FAILED"
    sandbox.let_through()
    redrive(sandbox, execution)

    described = sandbox.ended(execution)
    assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 2)


def test_a_map_whose_results_could_not_be_written_writes_them_in_the_redrive(
    sandbox: MachineSandbox,
) -> None:
    sandbox.permit("s3:PutObject")
    sandbox.create_machine(machine(Only=row_map(ResultWriter=WRITER)))
    execution = sandbox.start(sandbox.index({"n": 1}))
    assert sandbox.ended(execution)["error"] == "States.Permissions"

    sandbox.permit()
    redrive(sandbox, execution)

    written = output_of(sandbox.ended(execution))["ResultWriterDetails"]
    assert len(sandbox.object(written["Key"])["ResultFiles"]["SUCCEEDED"]) == 1
    assert len(sandbox.calls()) == 1


def test_a_map_whose_items_could_not_be_read_reads_them_in_the_redrive(
    sandbox: MachineSandbox,
) -> None:
    sandbox.create_machine(machine(Only=row_map()))
    execution = sandbox.start({"key": "index.json"})
    assert sandbox.ended(execution)["error"] == "States.ItemReaderFailed"

    sandbox.index({"n": 1})
    redrive(sandbox, execution)

    assert output_of(sandbox.ended(execution)) == [1]


def test_a_redrive_of_a_map_needs_its_permission(sandbox: MachineSandbox) -> None:
    sandbox.permit("states:RedriveExecution")
    sandbox.create_machine(machine(Only=row_map()))
    execution = sandbox.start(sandbox.index({"do": "raise"}))
    sandbox.ended(execution)

    redrive(sandbox, execution)

    described = sandbox.ended(execution)
    assert described["error"] == "States.Permissions"
    assert "states:RedriveExecution on resource" in described["cause"]


def test_a_caught_map_is_not_run_again(sandbox: MachineSandbox) -> None:
    caught = row_map(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "End"}])
    sandbox.create_machine(machine("Rows", Rows=caught, End={"Type": "Fail"}))
    execution = sandbox.start(sandbox.index({"do": "raise"}))
    assert sandbox.ended(execution)["status"] == "FAILED"

    sandbox.let_through()
    redrive(sandbox, execution)

    assert sandbox.ended(execution)["status"] == "FAILED"
    assert len(sandbox.calls()) == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"do": "wait"}, "Execution is RUNNING and cannot be redriven"),
        ({}, "Execution is SUCCEEDED and cannot be redriven"),
    ],
)
def test_only_what_did_not_succeed_is_redriven(
    sandbox: MachineSandbox, event: dict[str, str], reason: str
) -> None:
    sandbox.create_machine(machine(Only=task()))
    execution = sandbox.start(event)
    if not event:
        sandbox.ended(execution)

    assert reason in refusal(redrive, sandbox, execution)
    described = sandbox.describe(execution)
    assert (described["redriveStatus"], described["redriveStatusReason"]) == (
        "NOT_REDRIVABLE",
        reason,
    )
    sandbox.let_through()
    sandbox.ended(execution)


@pytest.mark.parametrize(("days", "possible"), [(13, True), (15, False)])
def test_an_execution_is_redrivable_for_fourteen_days(
    sandbox: MachineSandbox, days: int, possible: bool
) -> None:
    sandbox.create_machine(machine(Only={"Type": "Fail"}))
    execution = sandbox.start()
    sandbox.ended(execution)
    kept_execution().stop_date = datetime.now(UTC) - timedelta(days=days)

    if possible:
        redrive(sandbox, execution)
        sandbox.ended(execution)
    else:
        assert "redrivable period exceeded" in refusal(redrive, sandbox, execution)


def test_an_update_of_the_tolerance_counts_while_the_map_runs(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only=row_map(MaxConcurrency=1)))
    execution = sandbox.start(sandbox.index({"do": "wait", "n": 1}, {"do": "exit"}))
    eventually(sandbox.calls)
    update = sandbox.client("stepfunctions").update_map_run

    update(mapRunArn=sandbox.map_run(execution)["mapRunArn"], toleratedFailurePercentage=50)

    assert sandbox.map_run(execution)["toleratedFailurePercentage"] == 50
    sandbox.let_through()
    assert output_of(sandbox.ended(execution)) == [1, None]


def test_a_deleted_machine_stops_its_executions(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only=row_map(MaxConcurrency=1)))
    sandbox.start(sandbox.index({"do": "wait"}, {"n": 2}))
    eventually(sandbox.calls)
    kept = kept_execution()

    sandbox.client("stepfunctions").delete_state_machine(stateMachineArn=MACHINE)
    sandbox.let_through()

    eventually(lambda: kept.map_runs.runs[0].status == "ABORTED")
    assert kept.status == "ABORTED"
    assert sandbox.calls() == [{"do": "wait"}]


def kept_execution() -> Execution:
    """Give the only execution as the sandbox keeps it."""
    (execution,) = state_machines[ACCOUNT][REGION].describe_state_machine(MACHINE).executions
    assert isinstance(execution, Execution)
    return execution
