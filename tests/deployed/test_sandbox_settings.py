"""Sandboxes of their own: other settings, a changed source, a bad setting.

Apart from the others, because moto's state is the process's: one sandbox at a time.
"""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import SOURCE, build
from infra.bundle.wheels import this_machine
from sandbox.__main__ import main
from sandbox.running import running_sandbox
from sandbox.stack.account import client, sandbox_context
from sandbox.stack.deployment import Deployment, publish
from sandbox.stack.synthesis import synthesize
from tests.support.deployed_function import invoke, push, within
from tests.support.http_apis import Api
from tests.support.service_sandbox import ADMINISTRATOR


def test_an_unconfigured_channel_answers_as_the_real_api() -> None:
    with running_sandbox(context={"fcm_secret": "my/fcm"}) as sandbox:
        configured = push(sandbox.deployment, "GCM")
        missing = push(sandbox.deployment, "APNS")

    assert configured["outcome"] == "accepted"
    assert missing["outcome"] == "misconfigured"
    assert missing["status_message"].startswith("No channel of type APNS is enabled")


def test_pushes_go_through_an_existing_project_and_the_extra_ones() -> None:
    existing, extra = "1" * 32, "2" * 32
    context = {"application_id": existing, "extra_application_ids": extra}

    with running_sandbox(context=context) as sandbox:
        deployment = sandbox.deployment
        recipient = {"token": "any-device", "service": "ADM"}
        reports = [
            invoke(deployment, {"recipient": recipient, "message": "m", **project})
            for project in ({}, {"application_id": extra})
        ]

    assert deployment.application_id == existing
    assert [report["application_id"] for report in reports] == [existing, extra]
    assert all(report["summary"]["accepted"] == 1 for report in reports)


def test_a_changed_source_is_deployed_while_the_sandbox_runs(tmp_path: Path) -> None:
    source = tmp_path / "lambda_src"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    report = source / "push_sender" / "report.py"
    output: list[str] = []

    with running_sandbox(source=source, watch=True, on_progress=output.append) as sandbox:
        assert push(sandbox.deployment)["outcome"] == "accepted"

        report.write_text(f"{report.read_text()}\nraise RuntimeError('a change')\n")
        assert within(60, lambda: "the change in lambda_src is deployed" in output)
        assert invoke(sandbox.deployment, {})["errorMessage"] == "a change"

        devices = client("lambda", sandbox.deployment.url).invoke(
            FunctionName=sandbox.deployment.outputs["DevicesFunctionName"], Payload=b"{}"
        )
        assert json.loads(devices["Payload"].read())["errorMessage"] == "a change"

        report.write_text("def broken(:\n")
        assert within(60, lambda: "push_sender/report.py, line 1," in output[-1])
        assert invoke(sandbox.deployment, {})["errorMessage"] == "a change"

    assert output[-1].startswith("the change is not deployed")


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("retain=false", "retain: unknown; did you mean retain_data?"),
        ("memory_mb=lots", "memory_mb: must be a whole number"),
    ],
)
def test_a_bad_setting_gives_one_clear_message(
    setting: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "--port", "0", "-c", setting]) == 1

    assert fault in capsys.readouterr().err


def test_a_taken_port_gives_one_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["up", "--port", str(port)]) == 1

    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"Port {port} on 127.0.0.1 is taken")
    assert len(errors.splitlines()) == 1


def test_a_stack_without_devices_deploys_over_one_with_devices_and_back() -> None:
    with running_sandbox() as running:
        first = running.deployment
        table = first.outputs["DevicesTableName"]

        without = update(first, {"devices": False})

        assert not [name for name in without.outputs if name.startswith("Devices")]
        assert push(without)["outcome"] == "accepted"
        tables = client("dynamodb", first.url).list_tables()["TableNames"]
        assert table in tables  # retain_data

        again = update(without, {})

        assert again.outputs["DevicesTableName"] != table  # a new one, which starts empty
        url = again.outputs["ApiUrl"]
        api = Api(url.rpartition("/")[2], url, again.stack_name)
        body = json.dumps({"token": "t", "service": "GCM"}).encode()
        headers = {"Content-Type": "application/json"}
        answer = api.ask("PUT", "/devices/phone", body, headers, caller=ADMINISTRATOR)
        assert answer.status == 201


def update(deployment: Deployment, context: dict[str, Any]) -> Deployment:
    """Deploy the stack with other settings over the one that there is."""
    assembly = synthesize(sandbox_context(context), build(this_machine()))
    cloudformation = client("cloudformation", deployment.url)
    cloudformation.update_stack(
        StackName=deployment.stack_name,
        TemplateURL=publish(deployment.url, assembly),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (stack,) = cloudformation.describe_stacks(StackName=deployment.stack_name)["Stacks"]
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return Deployment(deployment.url, deployment.stack_name, outputs)
