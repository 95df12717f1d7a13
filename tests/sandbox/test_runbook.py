"""The commands of the runbook: which alarms are on, stop all sending, start it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY
from tests.support.service_sandbox import ServiceSandbox
from tests.support.templates import REGION, Template, cdk_template, output, resource

PAGE = (REPOSITORY / "docs" / "runbook.md").read_text()


def block_with(text: str) -> str:
    """Give the block of commands that has this text."""
    (block,) = (
        found for found in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if text in found
    )
    return str(block)


STOP = block_with("--reserved-concurrent-executions 0")
START = block_with("RESERVED=")
DROP = block_with("drop() {")
OUTPUT = re.search(r"^output\(\) \{\n.*?^\}\n", PAGE, re.DOTALL | re.MULTILINE)


def run(sandbox: ServiceSandbox, commands: str) -> str:
    assert OUTPUT is not None
    finished = subprocess.run(
        [
            *("bash", "-euc"),
            f'aws() {{ command aws --endpoint-url "{sandbox.url}" "$@"; }}\n{OUTPUT[0]}{commands}',
        ],
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_PAGER": "",
            "STACK": "stack",
            "FUNCTION": "push-sender:live",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("configured", [None, 12])
def test_a_start_after_a_stop_restores_the_configured_concurrency(
    sandbox: ServiceSandbox, configured: int | None
) -> None:
    def reserved() -> Any:
        return (
            sandbox.client("lambda")
            .get_function_concurrency(FunctionName="push-sender")
            .get("ReservedConcurrentExecutions")
        )

    sandbox.client("s3").create_bucket(Bucket="code")
    sandbox.put_code("first.zip", answer="first")
    own: dict[str, Any] = {} if configured is None else {"ReservedConcurrentExecutions": configured}
    outputs = {} if configured is None else {"ReservedConcurrency": str(configured)}
    sandbox.create(cdk_template(**own), Outputs=output(Any="a", **outputs))

    run(sandbox, STOP)
    stopped = reserved()
    printed = run(sandbox, START)

    assert (stopped, reserved()) == (0, configured)
    assert configured is None or str(configured) in printed


def test_drop_deletes_the_message_that_is_named_and_no_other(sandbox: ServiceSandbox) -> None:
    queue = sandbox.client("sqs").create_queue(QueueName="dead-letters")["QueueUrl"]
    sent = [
        sandbox.client("sqs").send_message(QueueUrl=queue, MessageBody=body)["MessageId"]
        for body in "ab"
    ]
    setup = f'DEAD_LETTERS="{queue}"\n' + DROP.replace("--wait-time-seconds 5", "").replace(
        "--visibility-timeout 5", "--visibility-timeout 0"
    )

    unknown = run(sandbox, f"{setup}drop unknown 2>&1 || echo failed")
    run(sandbox, f"{setup}drop {sent[0]}")

    assert "The message unknown was not received." in unknown
    assert "failed" in unknown
    left = sandbox.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    assert [each["Body"] for each in left["Messages"]] == ["b"]


def test_the_first_command_lists_the_alarms_of_the_stack_that_are_on(
    sandbox: ServiceSandbox,
) -> None:
    def alarm(name: str) -> Template:
        return resource(
            "CloudWatch::Alarm",
            AlarmName=name,
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            MetricName="m",
            Namespace="n",
            Period=60,
            Statistic="Sum",
            Threshold=1,
        )

    for stack in ("stack", "stack-staging"):
        names = {"On": f"{stack}-on", "Off": f"{stack}-off"}
        sandbox.create({each: alarm(name) for each, name in names.items()}, stack)
        sandbox.client("cloudwatch").set_alarm_state(
            AlarmName=names["On"], StateValue="ALARM", StateReason="too much"
        )

    (line,) = run(sandbox, block_with("--state-value ALARM --alarm-names")).splitlines()

    name, _, reason = line.split("\t")
    assert (name, reason) == ("stack-on", "too much")
