"""Distributed Maps: their items, children, limits and results."""

from __future__ import annotations

import gc
from threading import Thread
from typing import Any

import pytest
from moto.stepfunctions.parser.asl.eval.environment import Environment

from tests.support.service_sandbox import eventually
from tests.support.state_machines import (
    MACHINE,
    STATES,
    WRITER,
    MachineSandbox,
    machine,
    output_of,
    row_map,
    task,
)

PASS = {"Type": "Pass", "End": True}


def run(sandbox: MachineSandbox, state: dict[str, Any], *rows: Any, **others: Any) -> Any:
    """Run a machine that is one Map; give the description of its execution."""
    return sandbox.run(machine(Only=state), {**sandbox.index(*rows), **others})


def test_each_item_gets_a_child_and_the_outputs_keep_their_order(sandbox: MachineSandbox) -> None:
    execution = run(sandbox, row_map(), {"n": 1}, {"n": 2}, {"n": 3})

    assert output_of(execution) == [1, 2, 3]
    assert sorted(call["n"] for call in sandbox.calls()) == [1, 2, 3]
    assert sandbox.counts(execution["executionArn"]) == {"succeeded": 3, "total": 3}


def test_an_item_selector_builds_the_input_of_each_child(sandbox: MachineSandbox) -> None:
    selector = {
        "item.$": "$$.Map.Item.Value",
        "index.$": "$$.Map.Item.Index",
        "job.$": "$$.Execution.Name",
        "key.$": "$.key",
        "fixed": [1],
    }

    execution = run(sandbox, row_map(PASS, ItemSelector=selector), "a", {"b": None})

    same = {"job": "one", "key": "index.json", "fixed": [1]}
    assert output_of(execution) == [
        {"item": "a", "index": 0, **same},
        {"item": {"b": None}, "index": 1, **same},
    ]


def test_a_child_has_an_execution_of_its_own(sandbox: MachineSandbox) -> None:
    child = {**PASS, "Parameters": {"id.$": "$$.Execution.Id", "input.$": "$$.Execution.Input"}}

    first, second = output_of(run(sandbox, row_map(child), 1, 2))

    assert first["id"].startswith(f"{STATES}:express:jobs/Rows:")
    assert first["id"] != second["id"]
    assert (first["input"], second["input"]) == (1, 2)


def test_items_may_come_from_the_input(sandbox: MachineSandbox) -> None:
    state = row_map(PASS, ItemsPath="$.items")
    del state["ItemReader"]

    assert output_of(sandbox.run(machine(Only=state), {"items": ["a", "b"]})) == ["a", "b"]


def test_a_map_without_items_succeeds(sandbox: MachineSandbox) -> None:
    assert output_of(run(sandbox, row_map())) == []


def test_the_result_of_a_map_goes_through_its_paths(sandbox: MachineSandbox) -> None:
    state = row_map(PASS, ResultSelector={"first.$": "$[0]"}, ResultPath="$.rows")

    assert output_of(run(sandbox, state, 7, 8)) == {"key": "index.json", "rows": {"first": 7}}


def test_a_thousand_items_run_fifty_at_a_time(sandbox: MachineSandbox) -> None:
    state = row_map({**PASS, "OutputPath": "$.n"}, ResultPath=None, MaxConcurrencyPath="$.children")
    del state["MaxConcurrency"]

    execution = run(sandbox, state, *[{"n": number} for number in range(1_000)], children=50)

    assert output_of(execution) == {"key": "index.json", "children": 50}
    assert sandbox.counts(execution["executionArn"]) == {"succeeded": 1_000, "total": 1_000}
    assert sandbox.map_run(execution["executionArn"])["maxConcurrency"] == 50
    kept = [each for each in gc.get_objects() if isinstance(each, (Environment, Thread))]
    assert len(kept) < 100  # 50 children had more at a time, and there were 1,000


def test_no_more_children_run_than_the_limit_and_an_update_counts_at_once(
    sandbox: MachineSandbox,
) -> None:
    sandbox.create_machine(machine(Only=row_map()))
    execution = sandbox.start(sandbox.index(*[{"do": "wait", "n": n} for n in range(6)]))
    eventually(lambda: len(sandbox.calls()) == 2)
    assert sandbox.counts(execution) == {"pending": 4, "running": 2, "total": 6}

    sandbox.client("stepfunctions").update_map_run(
        mapRunArn=sandbox.map_run(execution)["mapRunArn"], maxConcurrency=3
    )

    eventually(lambda: len(sandbox.calls()) == 3)
    assert sandbox.counts(execution) == {"pending": 3, "running": 3, "total": 6}
    sandbox.let_through()
    assert output_of(sandbox.ended(execution)) == list(range(6))


@pytest.mark.parametrize(
    ("tolerance", "fails"),
    [
        ({}, True),
        ({"ToleratedFailurePercentage": 24}, True),
        ({"ToleratedFailurePercentage": 25}, False),
        ({"ToleratedFailurePercentage": 25.0}, False),
        ({"ToleratedFailurePercentagePath": "$.tolerated"}, False),
        ({"ToleratedFailureCount": 0, "ToleratedFailurePercentage": 99}, True),
        ({"ToleratedFailureCount": 1}, False),
    ],
)
def test_a_map_fails_past_its_tolerance(
    sandbox: MachineSandbox, tolerance: dict[str, Any], fails: bool
) -> None:
    child = {"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": 2, "Next": "Bad"}]}
    state = row_map({**child, "Default": "Good"}, **tolerance)
    state["ItemProcessor"]["States"] |= {"Bad": {"Type": "Fail"}, "Good": {"Type": "Succeed"}}

    execution = run(sandbox, state, 1, 2, 3, 4, tolerated=25)

    if fails:
        assert execution["error"] == "States.ExceedToleratedFailureThreshold"
        assert sandbox.map_run(execution["executionArn"])["status"] == "FAILED"
    else:
        assert output_of(execution) == [1, None, 3, 4]
        assert sandbox.counts(execution["executionArn"]) == {
            "succeeded": 3,
            "failed": 1,
            "total": 4,
        }


def test_no_child_starts_after_too_many_failed(sandbox: MachineSandbox) -> None:
    execution = run(sandbox, row_map(MaxConcurrency=1), {"n": 1}, {"do": "exit"}, {"n": 3})

    assert execution["error"] == "States.ExceedToleratedFailureThreshold"
    counts = {"succeeded": 1, "failed": 1, "pending": 1, "total": 3}
    assert sandbox.counts(execution["executionArn"]) == counts


def test_results_are_written_with_a_manifest(sandbox: MachineSandbox) -> None:
    state = row_map(ResultWriter=WRITER, ToleratedFailurePercentage=100, MaxConcurrency=1)

    execution = run(sandbox, state, {"n": 1}, {"do": "raise"}, {"n": 3})

    written = output_of(execution)
    run_id = written["MapRunArn"].rpartition(":")[2]
    key = f"results/{run_id}/manifest.json"
    assert written["ResultWriterDetails"] == {"Bucket": "jobs-bucket", "Key": key}
    manifest = sandbox.object(key)
    assert manifest["DestinationBucket"] == "jobs-bucket"
    files = manifest["ResultFiles"]
    assert {status: len(found) for status, found in files.items()} == {
        "FAILED": 1,
        "PENDING": 0,
        "SUCCEEDED": 1,
    }
    assert files["FAILED"][0]["Key"] == f"results/{run_id}/FAILED_0.json"
    (failed,) = sandbox.object(files["FAILED"][0]["Key"])
    assert (failed["Status"], failed["Error"]) == ("FAILED", "ValueError")
    assert failed["Input"] == '{"do": "raise"}'
    succeeded = sandbox.object(files["SUCCEEDED"][0]["Key"])
    assert [each["Output"] for each in succeeded] == ["1", "3"]
    assert sandbox.counts(execution["executionArn"])["resultsWritten"] == 3


def test_a_child_ends_at_its_time_limit(sandbox: MachineSandbox) -> None:
    waiting = {"Type": "Wait", "Seconds": 600, "End": True}

    execution = run(sandbox, row_map(waiting), 1)

    assert sandbox.counts(execution["executionArn"]) == {"timedOut": 1, "total": 1}
    assert execution["error"] == "States.ExceedToleratedFailureThreshold"


def test_outputs_that_are_too_large_need_a_result_writer(sandbox: MachineSandbox) -> None:
    long = {**PASS, "Result": "x" * 100_000}

    execution = run(sandbox, row_map(long, ResultPath=None), 1, 2, 3)

    assert execution["error"] == "States.DataLimitExceeded"


def test_a_child_whose_input_is_too_large_fails(sandbox: MachineSandbox) -> None:
    execution = run(sandbox, row_map(PASS), "x" * 262_144)

    assert sandbox.counts(execution["executionArn"]) == {"failed": 1, "total": 1}


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("states:StartExecution", MACHINE),
        ("s3:GetObject", "arn:aws:s3:::jobs-bucket/index.json"),
        ("s3:PutObject", "arn:aws:s3:::jobs-bucket/results/"),
    ],
)
def test_a_map_needs_each_permission(sandbox: MachineSandbox, action: str, resource: str) -> None:
    sandbox.permit(action)

    execution = run(sandbox, row_map(PASS, ResultWriter=WRITER), 1)

    assert execution["error"] == "States.Permissions"
    assert f"not authorized to perform: {action} on resource: {resource}" in execution["cause"]


@pytest.mark.parametrize("content", [b"{}", b"no JSON", None])
def test_a_source_that_is_no_array_fails(sandbox: MachineSandbox, content: bytes | None) -> None:
    if content is not None:
        sandbox.client("s3").put_object(Bucket="jobs-bucket", Key="index.json", Body=content)

    execution = sandbox.run(machine(Only=row_map(PASS)), {"key": "index.json"})

    assert execution["error"] == "States.ItemReaderFailed"
    assert sandbox.map_run(execution["executionArn"])["status"] == "FAILED"


def test_a_bucket_for_results_that_does_not_exist_fails(sandbox: MachineSandbox) -> None:
    writer = {**WRITER, "Parameters": {"Bucket": "no-bucket", "Prefix": "results"}}
    sandbox.client("iam").put_role_policy(
        RoleName="machine",
        PolicyName="other",
        PolicyDocument=(
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:PutObject",'
            ' "Resource": "arn:aws:s3:::no-bucket/*"}]}'
        ),
    )

    execution = run(sandbox, row_map(PASS, ResultWriter=writer), 1)

    assert execution["error"] == "States.ResultWriterFailed"


def test_a_failed_map_can_be_caught(sandbox: MachineSandbox) -> None:
    state = row_map(task(), Catch=[{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Caught"}])
    states = machine("Rows", Rows=state, Caught={"Type": "Succeed"})

    caught = output_of(sandbox.run(states, {"key": "index.json"}))

    assert caught["Error"] == "States.ItemReaderFailed"
