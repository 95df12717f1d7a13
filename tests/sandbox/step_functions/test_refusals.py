"""What a definition may not have: the sandbox refuses it by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service_sandbox import refusal
from tests.support.state_machines import WRITER, MachineSandbox, machine, row_map, task

PASS = {"Type": "Pass", "End": True}


def processor(**config: str) -> dict[str, Any]:
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS", **config}
    return {"ProcessorConfig": config, **machine("Row", Row=PASS)}


def reader(**others: Any) -> dict[str, Any]:
    return {"ItemReader": {**row_map()["ItemReader"], **others}}


LIST = "arn:aws:states:::s3:listObjectsV2"

MAPS: list[tuple[str, dict[str, Any]]] = [
    *(
        (f"InputType {kind}", reader(ReaderConfig={"InputType": kind}))
        for kind in ("CSV", "JSONL", "PARQUET", "MANIFEST")
    ),
    ("MaxItems", reader(ReaderConfig={"InputType": "JSON", "MaxItems": 5})),
    (
        "Resource arn:aws:states:::s3:listObjectsV2",
        reader(Resource="arn:aws:states:::s3:listObjectsV2"),
    ),
    (
        "ExpectedBucketOwner",
        reader(Parameters={"Bucket": "b", "Key": "k", "ExpectedBucketOwner": "1"}),
    ),
    ("Mode INLINE", {"ItemProcessor": processor(Mode="INLINE")}),
    ("ExecutionType STANDARD", {"ItemProcessor": processor(ExecutionType="STANDARD")}),
    ("ItemProcessor without ProcessorConfig", {"ItemProcessor": machine("Row", Row=PASS)}),
    ("ItemBatcher", {"ItemBatcher": {"MaxItemsPerBatch": 10}}),
    ("Iterator", {"Iterator": machine("Row", Row=PASS)}),
    ("WriterConfig", {"ResultWriter": {**WRITER, "WriterConfig": {"Transformation": "COMPACT"}}}),
    (
        "a state of type Map in a Map",
        {"ItemProcessor": {**processor(), "States": {"Row": row_map()}}},
    ),
    ("a Map without ItemReader or ItemsPath, or with both", {"ItemsPath": "$.rows"}),
]

TASKS: list[tuple[str, dict[str, Any]]] = [
    ("Resource arn:aws:states:::sqs:sendMessage", {"Resource": "arn:aws:states:::sqs:sendMessage"}),
    (
        "Resource arn:aws:states:::lambda:invoke.waitForTaskToken",
        {"Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken"},
    ),
    ("HeartbeatSeconds", {"HeartbeatSeconds": 5}),
    ("Credentials", {"Credentials": {"RoleArn": "arn:aws:iam::123456789012:role/r"}}),
    ("Assign", {"Assign": {"a": 1}}),
    ("QueryLanguage", {"QueryLanguage": "JSONata"}),
    ("InvocationType", {"Parameters": {"FunctionName": "f", "InvocationType": "Event"}}),
    ("Unknown", {"Retry": [{"ErrorEquals": ["States.ALL"], "Unknown": 1}]}),
]


@pytest.fixture
def sandbox(_running: MachineSandbox) -> MachineSandbox:
    """Give a sandbox that is not emptied, since a refused machine leaves nothing."""
    return _running


@pytest.mark.parametrize(
    ("named", "state"),
    [
        *((named, row_map(PASS, **others)) for named, others in MAPS),
        *((named, task(**others)) for named, others in TASKS),
        ("a state of type Parallel", {"Type": "Parallel", "Branches": [], "End": True}),
        ("TimestampPath", {"Type": "Wait", "TimestampPath": "$.at", "End": True}),
    ],
)
def test_a_state_is_refused_by_name(
    sandbox: MachineSandbox, named: str, state: dict[str, Any]
) -> None:
    error = refusal(sandbox.create_machine, machine(Only=state))

    assert "InvalidDefinition" in error
    assert f"The sandbox does not support {named} (" in error


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({**machine(Only=PASS), "QueryLanguage": "JSONata"}, "QueryLanguage"),
        (machine("Gone", Only=PASS), "MISSING_TRANSITION_TARGET: Gone"),
        (machine(Only={"Type": "Pass", "Next": "Gone"}), "MISSING_TRANSITION_TARGET: Gone"),
        (
            machine(Only=task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Gone"}])),
            "MISSING_TRANSITION_TARGET: Gone",
        ),
        ({"StartAt": "Only"}, "Invalid State Machine Definition"),
        ([], "Invalid State Machine Definition"),
        (machine(Only={"Type": "Wait", "Seconds": "five", "End": True}), "Definition"),
    ],
)
def test_a_malformed_definition_is_refused(
    sandbox: MachineSandbox, definition: Any, expected: str
) -> None:
    error = refusal(sandbox.create_machine, definition)

    assert "InvalidDefinition" in error
    assert expected in error


def test_a_machine_of_type_express_is_refused(sandbox: MachineSandbox) -> None:
    create = sandbox.client("stepfunctions").create_state_machine
    role = "arn:aws:iam::123456789012:role/machine"

    error = refusal(create, name="jobs", definition="{}", roleArn=role, type="EXPRESS")

    assert "does not support state machines of type EXPRESS" in error


def test_an_update_is_checked_like_a_new_machine(sandbox: MachineSandbox) -> None:
    arn = sandbox.create_machine(machine(Only=PASS), "updated")
    update = sandbox.client("stepfunctions").update_state_machine

    assert "MISSING_TRANSITION_TARGET" in refusal(
        update, stateMachineArn=arn, definition='{"StartAt": "Gone", "States": {}}'
    )
