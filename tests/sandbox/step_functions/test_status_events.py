"""Events about executions on the default bus."""

from __future__ import annotations

import json
from typing import Any

from tests.support.service_sandbox import eventually
from tests.support.state_machines import MACHINE, MachineSandbox, machine
from tests.support.templates import ACCOUNT, REGION


def rule(sandbox: MachineSandbox, **detail: Any) -> None:
    """Send the events of executions to a queue, as a template's rule would."""
    events = sandbox.client("events")
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [MACHINE], **detail},
    }
    events.put_rule(Name="ended", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="ended", Targets=[{"Id": "queue", "Arn": sandbox.queue()}])


def received(sandbox: MachineSandbox, number: int) -> list[Any]:
    found: list[Any] = []

    def enough() -> bool:
        found.extend(json.loads(each["Body"]) for each in sandbox.received())
        return len(found) >= number

    eventually(enough)
    return found


def test_an_execution_tells_its_start_and_its_end(sandbox: MachineSandbox) -> None:
    rule(sandbox)
    sandbox.create_machine(machine(Only={"Type": "Pass", "Result": 7, "End": True}))

    execution = sandbox.start({"a": 1})

    started, ended = received(sandbox, 2)
    described = sandbox.ended(execution)
    assert started["detail"]["status"] == "RUNNING"
    assert started["detail"]["stopDate"] is None
    stopped = int(described["stopDate"].timestamp() * 1000)
    assert abs(ended["detail"].pop("stopDate") - stopped) <= 1
    assert ended["detail"].pop("startDate") == started["detail"]["startDate"]
    assert ended["resources"] == [execution]
    assert [ended[name] for name in ("source", "account", "region")] == [
        "aws.states",
        ACCOUNT,
        REGION,
    ]
    assert ended["detail"] == {
        "executionArn": execution,
        "stateMachineArn": MACHINE,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": "one",
        "status": "SUCCEEDED",
        "input": '{"a": 1}',
        "inputDetails": {"included": True},
        "output": "7",
        "outputDetails": {"included": True},
        "error": None,
        "cause": None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
    }


def test_a_rule_may_choose_how_executions_ended(sandbox: MachineSandbox) -> None:
    rule(sandbox, status=["FAILED", "ABORTED", "TIMED_OUT"])
    sandbox.create_machine(machine(Only={"Type": "Fail", "Error": "Refused", "Cause": "why"}))

    sandbox.start()

    (failed,) = received(sandbox, 1)
    assert [failed["detail"][name] for name in ("status", "error", "cause")] == [
        "FAILED",
        "Refused",
        "why",
    ]
    assert failed["detail"]["redriveStatus"] == "REDRIVABLE"


def test_a_stopped_execution_tells_its_end_once(sandbox: MachineSandbox) -> None:
    sandbox.create_machine(machine(Only={"Type": "Wait", "Seconds": 600, "End": True}))
    rule(sandbox, status=["ABORTED"])
    execution = sandbox.start()

    for _ in range(2):
        sandbox.client("stepfunctions").stop_execution(executionArn=execution)

    assert len(received(sandbox, 1)) == 1
    assert sandbox.received() == []


def test_long_texts_are_left_out(sandbox: MachineSandbox) -> None:
    rule(sandbox, status=["SUCCEEDED"])
    sandbox.create_machine(machine(Only={"Type": "Pass", "End": True}))

    sandbox.start({"a": "x" * 200_000})

    (ended,) = received(sandbox, 1)
    assert ended["detail"]["input"] is None
    assert ended["detail"]["inputDetails"] == {"included": False}
    assert ended["detail"]["outputDetails"] == {"included": False}
