"""The states of a machine, and the functions that its tasks invoke."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.service_sandbox import refusal
from tests.support.state_machines import (
    LIVE,
    MACHINE,
    STATES,
    MachineSandbox,
    machine,
    output_of,
    task,
)

CHOICE = {
    "Type": "Choice",
    "Choices": [{"Variable": "$.value", "NumericGreaterThanEquals": 20, "Next": "Large"}],
    "Default": "Small",
}


def test_a_task_invokes_an_alias_and_gives_lambdas_answer(sandbox: MachineSandbox) -> None:
    execution = sandbox.run(machine(Only=task(OutputPath="$")), {"answer": {"a": [1, None]}})

    answer = output_of(execution)
    assert answer["Payload"] == {"a": [1, None]}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "1")
    assert sandbox.calls() == [{"answer": {"a": [1, None]}}]


def test_a_payload_is_built_from_the_input_and_the_context(sandbox: MachineSandbox) -> None:
    parameters = {
        "FunctionName": LIVE,
        "Payload": {"n.$": "$.deep[1]", "same": 1, "job.$": "$$.Execution.Name"},
    }
    states = machine(Only=task(Parameters=parameters, ResultPath="$.result", OutputPath="$"))

    output = output_of(sandbox.run(states, {"deep": [5, 6]}))

    assert output["deep"] == [5, 6]
    assert output["result"]["Payload"] == 6
    assert sandbox.calls() == [{"n": 6, "same": 1, "job": "one"}]


@pytest.mark.parametrize(("value", "expected"), [(19, "small"), (20, "large")])
def test_choice_pass_and_wait(sandbox: MachineSandbox, value: int, expected: str) -> None:
    states = machine(
        "Choose",
        Choose=CHOICE,
        Small={"Type": "Pass", "Result": "small", "ResultPath": "$.size", "Next": "Wait"},
        Large={"Type": "Pass", "Result": "large", "ResultPath": "$.size", "Next": "Wait"},
        Wait={"Type": "Wait", "SecondsPath": "$.wait", "Next": "Done"},
        Done={"Type": "Succeed", "OutputPath": "$.size"},
    )

    assert output_of(sandbox.run(states, {"value": value, "wait": 0})) == expected


def test_a_fail_state_ends_with_its_error_and_cause(sandbox: MachineSandbox) -> None:
    execution = sandbox.run(
        machine(Only={"Type": "Fail", "Error": "MostlyRefused", "CausePath": "$.why"}),
        {"why": "over half"},
    )

    assert [execution[name] for name in ("status", "error", "cause")] == [
        "FAILED",
        "MostlyRefused",
        "over half",
    ]
    assert "output" not in execution


def test_an_error_of_the_function_is_retried_and_then_caught(sandbox: MachineSandbox) -> None:
    retry = {
        "ErrorEquals": ["ValueError"],
        "IntervalSeconds": 1,
        "BackoffRate": 1,
        "MaxAttempts": 2,
        "MaxDelaySeconds": 1,
        "JitterStrategy": "FULL",
    }
    catch = {"ErrorEquals": ["ValueError"], "ResultPath": "$.failed", "Next": "Caught"}
    states = machine("First", First=task(Retry=[retry], Catch=[catch]), Caught={"Type": "Succeed"})

    output = output_of(sandbox.run(states, {"do": "raise"}))

    assert output["do"] == "raise"
    assert output["failed"]["Error"] == "ValueError"
    assert json.loads(output["failed"]["Cause"])["errorMessage"] == "reason"
    assert len(sandbox.calls()) == 3


def test_a_killed_function_fails_with_lambdas_error(sandbox: MachineSandbox) -> None:
    execution = sandbox.run(machine(Only=task()), {"do": "exit"})

    assert (execution["status"], execution["error"]) == ("FAILED", "Runtime.ExitError")


def test_a_function_that_does_not_exist_fails_with_lambdas_error(sandbox: MachineSandbox) -> None:
    sandbox.client("lambda").delete_alias(FunctionName="f", Name="live")

    execution = sandbox.run(machine(Only=task()))

    assert execution["error"] == "Lambda.ResourceNotFoundException"


def test_a_role_without_the_permission_invokes_nothing(sandbox: MachineSandbox) -> None:
    sandbox.permit("lambda:InvokeFunction")

    execution = sandbox.run(machine(Only=task()))

    assert execution["error"] == "Lambda.AWSLambdaException"
    assert (
        f"not authorized to perform: lambda:InvokeFunction on resource: {LIVE}"
        in (execution["cause"])
    )
    assert sandbox.calls() == []


def test_the_permission_for_the_alias_is_none_for_the_function(sandbox: MachineSandbox) -> None:
    function = {"FunctionName": LIVE.removesuffix(":live")}

    execution = sandbox.run(machine(Only=task(Parameters=function)))

    assert execution["error"] == "Lambda.AWSLambdaException"


def test_states_all_does_not_catch_what_is_too_large(sandbox: MachineSandbox) -> None:
    catch = {"ErrorEquals": ["States.ALL"], "Next": "Caught"}
    states = machine("First", First=task(Catch=[catch]), Caught={"Type": "Succeed"})

    # The result has Lambda's answer around it.
    execution = sandbox.run(states, {"answer": "x" * 262_100})

    assert execution["error"] == "States.DataLimitExceeded"


def test_the_limit_counts_bytes_of_utf_8_without_blanks(sandbox: MachineSandbox) -> None:
    states = machine(Only={"Type": "Pass", "End": True})
    sandbox.create_machine(states)
    longest = {"a": "ü" * ((262_144 - 8) // 2)}
    text = json.dumps(longest, ensure_ascii=False, separators=(",", ":"))
    start = sandbox.client("stepfunctions").start_execution

    fits = start(stateMachineArn=MACHINE, input=text)["executionArn"]

    assert output_of(sandbox.ended(fits)) == longest
    assert "ValidationException" in refusal(start, stateMachineArn=MACHINE, input=f"{text} ")


def test_a_machine_with_a_timeout_times_out(sandbox: MachineSandbox) -> None:
    states = {**machine(Only={"Type": "Wait", "Seconds": 600, "End": True}), "TimeoutSeconds": 1}

    execution = sandbox.run(states)

    assert (execution["status"], execution["error"]) == ("TIMED_OUT", "States.Timeout")


def test_a_task_with_a_timeout_times_out(sandbox: MachineSandbox) -> None:
    execution = sandbox.run(machine(Only=task(TimeoutSeconds=1)), {"do": "wait"})

    assert (execution["status"], execution["error"]) == ("FAILED", "States.Timeout")
    sandbox.let_through()


@pytest.mark.parametrize(
    ("same_input", "ended", "expected"),
    [(True, False, "same"), (False, False, "exists"), (True, True, "exists")],
)
def test_a_second_start_with_the_same_name(
    sandbox: MachineSandbox, same_input: bool, ended: bool, expected: str
) -> None:
    sandbox.create_machine(machine(Only=task()))
    first = sandbox.start({"do": "wait"})
    if ended:
        sandbox.let_through()
        sandbox.ended(first)

    again = {"do": "wait"} if same_input else {"do": "other"}
    if expected == "same":
        assert sandbox.start(again) == first
    else:
        assert "ExecutionAlreadyExists" in refusal(sandbox.start, again)
    sandbox.let_through()
    sandbox.ended(first)
    assert len(sandbox.calls()) == 1


def test_an_execution_has_the_definition_and_role_of_its_start(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine("First", First=task(Next="Last"), Last=task()))
    execution = sandbox.start({"do": "wait", "answer": {"answer": "old"}})

    sandbox.client("stepfunctions").update_state_machine(
        stateMachineArn=MACHINE,
        definition=json.dumps(machine(Only={"Type": "Fail"})),
        roleArn="arn:aws:iam::123456789012:role/none",
    )
    sandbox.let_through()

    assert output_of(sandbox.ended(execution)) == "old"
    assert sandbox.ended(sandbox.start(name="two"))["status"] == "FAILED"


def test_an_execution_without_a_name_gets_one(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only={"Type": "Succeed"}))
    start = sandbox.client("stepfunctions").start_execution

    arns = {start(stateMachineArn=MACHINE)["executionArn"] for _ in range(2)}

    assert len(arns) == 2
    assert all(arn.startswith(f"{STATES}:execution:jobs:") for arn in arns)


def test_the_history_shows_the_states(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only=task()))
    execution = sandbox.start()
    sandbox.ended(execution)

    assert sandbox.history(execution) == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]


def test_nothing_waits_for_ever_on_a_stopped_execution(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only={"Type": "Wait", "Seconds": 600, "End": True}))
    execution = sandbox.start()

    sandbox.client("stepfunctions").stop_execution(
        executionArn=execution, error="Enough", cause="said so"
    )

    stopped = sandbox.describe(execution)
    assert [stopped[name] for name in ("status", "error", "cause")] == [
        "ABORTED",
        "Enough",
        "said so",
    ]


@pytest.mark.parametrize(
    ("operation", "how"),
    [
        ("create_activity", {"name": "a"}),
        ("send_task_success", {"taskToken": "t", "output": "{}"}),
    ],
)
def test_other_operations_are_refused(
    sandbox: MachineSandbox, operation: str, how: dict[str, Any]
) -> None:
    client = sandbox.client("stepfunctions")

    with pytest.raises(client.exceptions.ClientError) as error:
        getattr(client, operation)(**how)

    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
