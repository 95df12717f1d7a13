"""A sandbox in which tests run state machines, and the states that they are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.support.service_sandbox import ServiceSandbox, eventually, zipped
from tests.support.templates import ACCOUNT, REGION

FUNCTION = """
import json, os, time

def handler(event, context):
    with open(os.path.join(os.environ["PLACE"], "calls"), "a") as calls:
        calls.write(json.dumps(event) + "\\n")
    allowed = os.path.join(os.environ["PLACE"], "allowed")
    do = event.get("do")
    if do == "raise" and not os.path.exists(allowed):
        raise ValueError("reason")
    elif do == "exit":
        os._exit(1)
    elif do == "wait":
        while not os.path.exists(allowed):
            time.sleep(0.01)
    return event.get("answer", event.get("n"))
"""

STATES = f"arn:aws:states:{REGION}:{ACCOUNT}"
LIVE = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:live"
MACHINE = f"{STATES}:stateMachine:jobs"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"

ALLOWED = {
    "lambda:InvokeFunction": LIVE,
    "s3:GetObject": "arn:aws:s3:::jobs-bucket/index.json",
    "s3:PutObject": "arn:aws:s3:::jobs-bucket/results/*",
    "states:StartExecution": MACHINE,
    "states:RedriveExecution": f"{STATES}:execution:jobs/Rows:*",
}
"""What a machine with a Distributed Map needs, by exact ARNs."""


def task(**others: Any) -> dict[str, Any]:
    """Make a task that invokes the function with the state's input."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": LIVE, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        **({} if "Next" in others else {"End": True}),
        **others,
    }


def machine(first: str = "Only", **states: Any) -> dict[str, Any]:
    return {"StartAt": first, "States": states}


def row_map(child: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Make a Map over the rows of `index.json`."""
    return {
        "Type": "Map",
        "Label": "Rows",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": "jobs-bucket", "Key.$": "$.key"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            **machine("Row", Row=child or task()),
        },
        "MaxConcurrency": 2,
        "End": True,
        **others,
    }


WRITER = {
    "Resource": "arn:aws:states:::s3:putObject",
    "Parameters": {"Bucket": "jobs-bucket", "Prefix": "results"},
}


@dataclass
class MachineSandbox(ServiceSandbox):
    """A sandbox with a function that has an alias, a bucket, and a role for machines."""

    def prepared(self) -> MachineSandbox:
        """Make the function, the bucket and the role."""
        roles, functions = self.client("iam"), self.client("lambda")
        roles.create_role(RoleName="runs", AssumeRolePolicyDocument="{}")
        roles.create_role(RoleName="machine", AssumeRolePolicyDocument="{}")
        self.permit()
        functions.create_function(
            FunctionName="f",
            Role=f"arn:aws:iam::{ACCOUNT}:role/runs",
            Handler="app.handler",
            Runtime="python3.13",
            Code={"ZipFile": zipped(FUNCTION)},
            Environment={"Variables": {"PLACE": str(self.place)}},
            Timeout=20,
        )
        functions.publish_version(FunctionName="f")
        functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
        self.client("s3").create_bucket(Bucket="jobs-bucket")
        return self

    def permit(self, *without: str) -> None:
        """Allow the machine's role everything that it needs, without some actions."""
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in ALLOWED.items()
            if action not in without
        ]
        self.client("iam").put_role_policy(
            RoleName="machine",
            PolicyName="needs",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )

    def create_machine(self, definition: Any, name: str = "jobs") -> str:
        answer = self.client("stepfunctions").create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=ROLE
        )
        return str(answer["stateMachineArn"])

    def start(self, what: Any = None, name: str = "one", arn: str = MACHINE) -> str:
        """Start an execution; give its ARN."""
        answer = self.client("stepfunctions").start_execution(
            stateMachineArn=arn, name=name, input=json.dumps({} if what is None else what)
        )
        return str(answer["executionArn"])

    def describe(self, execution: str) -> dict[str, Any]:
        return dict(self.client("stepfunctions").describe_execution(executionArn=execution))

    def ended(self, execution: str) -> dict[str, Any]:
        """Wait for the end of an execution; give its description."""

        def description() -> dict[str, Any] | None:
            found = self.describe(execution)
            return None if found["status"] == "RUNNING" else found

        return dict(eventually(description))

    def run(self, definition: Any, what: Any = None) -> dict[str, Any]:
        """Make a machine, and run it once."""
        return self.ended(self.start(what, arn=self.create_machine(definition)))

    def index(self, *rows: Any) -> dict[str, Any]:
        """Write the rows of a Map; give the input of the machine."""
        body = json.dumps(rows).encode()
        self.client("s3").put_object(Bucket="jobs-bucket", Key="index.json", Body=body)
        return {"key": "index.json"}

    def map_run(self, execution: str) -> dict[str, Any]:
        """Describe the only run of a Map of an execution."""
        machines = self.client("stepfunctions")
        (run,) = machines.list_map_runs(executionArn=execution)["mapRuns"]
        return dict(machines.describe_map_run(mapRunArn=run["mapRunArn"]))

    def counts(self, execution: str) -> dict[str, int]:  # type: ignore[override]  # of items here
        """Give the counts of items that are not zero."""
        counts = self.map_run(execution)["itemCounts"]
        return {name: number for name, number in counts.items() if number}

    def calls(self) -> list[Any]:
        """List the events that the function got."""
        file = self.place / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def let_through(self) -> None:
        """Let calls succeed that failed or waited until now."""
        (self.place / "allowed").touch()

    def object(self, key: str) -> Any:
        answer = self.client("s3").get_object(Bucket="jobs-bucket", Key=key)
        return json.loads(answer["Body"].read())

    def history(self, execution: str) -> list[str]:
        """List the types of the events of an execution."""
        events = self.client("stepfunctions").get_execution_history(executionArn=execution)
        return [event["type"] for event in events["events"]]


def output_of(description: dict[str, Any]) -> Any:
    """Give the output of an execution, which must have succeeded."""
    assert description["status"] == "SUCCEEDED", (
        description.get("error"),
        description.get("cause"),
    )
    return json.loads(description["output"])
