"""Resource types of the sandbox: state machines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.service_sandbox import ServiceSandbox, assumed, client, eventually, refusal
from tests.support.templates import (
    ACCOUNT,
    REGION,
    Template,
    joined,
    output,
    outputs,
    resource,
)

NAMED = "arn:aws:iam::123456789012:role/machine"


def definition(value: str) -> str:
    return json.dumps(
        {"StartAt": "Only", "States": {"Only": {"Type": "Pass", "Result": value, "End": True}}}
    )


def machine(**properties: Any) -> Template:
    own = {"RoleArn": NAMED, "StateMachineName": "jobs", **properties}
    return {"Machine": resource("StepFunctions::StateMachine", **own)}


OUTPUTS = output(
    Ref={"Ref": "Machine"},
    Arn={"Fn::GetAtt": ["Machine", "Arn"]},
    Name={"Fn::GetAtt": ["Machine", "Name"]},
)


def result_of(sandbox: ServiceSandbox, arn: str) -> Any:
    """Run a machine; give its output."""
    machines = sandbox.client("stepfunctions")
    execution = machines.start_execution(stateMachineArn=arn)["executionArn"]

    def output_of() -> Any:
        return machines.describe_execution(executionArn=execution).get("output")

    return json.loads(eventually(output_of))


def test_a_machine_of_the_cdk_runs_and_has_its_settings(sandbox: ServiceSandbox) -> None:
    group = resource("Logs::LogGroup", LogGroupName="jobs")
    destination = {"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["Group", "Arn"]}}}
    resources = machine(
        DefinitionString=joined(definition("a")[:-1], "}"),
        LoggingConfiguration={"Destinations": [destination], "Level": "ERROR"},
        TracingConfiguration={"Enabled": True},
        Tags=[{"Key": "team", "Value": "push"}],
    )

    made = outputs(sandbox.create({**resources, "Group": group}, Outputs=OUTPUTS))

    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:jobs"
    assert made == {"Ref": arn, "Arn": arn, "Name": "jobs"}
    machines = sandbox.client("stepfunctions")
    described = machines.describe_state_machine(stateMachineArn=arn)
    assert (described["type"], described["roleArn"]) == ("STANDARD", NAMED)
    assert described["loggingConfiguration"]["level"] == "ERROR"
    assert described["tracingConfiguration"] == {"enabled": True}
    tags = machines.list_tags_for_resource(resourceArn=arn)["tags"]
    assert tags == [{"key": "team", "value": "push"}]
    assert result_of(sandbox, arn) == "a"


def test_a_definition_may_be_an_object_with_substitutions(sandbox: ServiceSandbox) -> None:
    written = json.loads(definition("${Greeting} ${Unknown}"))
    resources = machine(Definition=written, DefinitionSubstitutions={"Greeting": 'say "hello"\n'})

    made = outputs(sandbox.create(resources, Outputs=OUTPUTS))

    assert result_of(sandbox, made["Arn"]) == 'say "hello"\n ${Unknown}'


def test_an_update_changes_the_definition_in_place(sandbox: ServiceSandbox) -> None:
    made = outputs(sandbox.create(machine(DefinitionString=definition("a")), Outputs=OUTPUTS))

    sandbox.update(machine(DefinitionString=definition("b")), Outputs=OUTPUTS)

    assert result_of(sandbox, made["Arn"]) == "b"


def test_another_name_replaces_the_machine(sandbox: ServiceSandbox) -> None:
    sandbox.create(machine(DefinitionString=definition("a")))

    sandbox.update(machine(DefinitionString=definition("a"), StateMachineName="others"))

    listed = sandbox.client("stepfunctions").list_state_machines()["stateMachines"]
    assert [each["name"] for each in listed] == ["others"]


def test_a_deleted_stack_deletes_the_machine(sandbox: ServiceSandbox) -> None:
    sandbox.create(machine(DefinitionString=definition("a")))

    sandbox.delete()

    assert sandbox.client("stepfunctions").list_state_machines()["stateMachines"] == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"DefinitionS3Location": {}}, "The sandbox does not support DefinitionS3Location."),
        (
            {"DefinitionString": definition("a"), "StateMachineType": "EXPRESS"},
            "The sandbox does not support StateMachineType EXPRESS.",
        ),
        ({}, "needs DefinitionString or Definition"),
        (
            {"DefinitionString": definition("a").replace("Pass", "Parallel")},
            "The sandbox does not support a state of type Parallel (Only).",
        ),
    ],
)
def test_what_is_not_supported_fails_the_stack(
    sandbox: ServiceSandbox, properties: dict[str, Any], reason: str
) -> None:
    stack = sandbox.create(machine(**properties))

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in stack["StackStatusReason"]


def test_a_caller_needs_the_permission_for_each_operation(sandbox: ServiceSandbox) -> None:
    made = outputs(sandbox.create(machine(DefinitionString=definition("a")), Outputs=OUTPUTS))
    roles = sandbox.client("iam")
    role = roles.create_role(RoleName="caller", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": made["Arn"]}
    roles.put_role_policy(
        RoleName="caller",
        PolicyName="starts",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    caller = client("stepfunctions", sandbox.url, assumed(role))

    execution = caller.start_execution(stateMachineArn=made["Arn"])["executionArn"]

    for denied in ("describe_execution", "stop_execution", "redrive_execution", "list_map_runs"):
        error = refusal(getattr(caller, denied), executionArn=execution)
        assert f"on resource: {execution}" in error
