"""The demonstration's part about the registry, and the commands that it ends with."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from sandbox import demo
from sandbox.running import running_sandbox
from sandbox.stack.deployment import Deployment
from tests.support.paths import REPOSITORY


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Deployment]:
    with running_sandbox() as running:
        yield running.deployment


def test_the_commands_to_try_next_work(sandbox: Deployment) -> None:
    bash = shutil.which("bash")
    assert bash
    commands = demo.next_steps(sandbox.url, sandbox)
    assert "aws lambda invoke --function-name push-sender:live" in commands

    result = subprocess.run(
        [bash, "-euc", commands],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "AWS_PAGER": "", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    for shown in (
        '{"device_id": "6f1f2d3c-0a4e-4d5f-9a43-1f0f6f5f3d52", "token": "a-device"',
        '"user_id": "u-123", "device_id": "6f1f2d3c-0a4e-4d5f-9a43-1f0f6f5f3d52"}]',
        "u-123 has 1 device;",
        "8 of 8 rows",
    ):
        assert shown in result.stdout
    assert re.search(r"^eyJ[\w-]+\.[\w-]+\.[\w-]+$", result.stdout, re.M), "a JWT"
    assert "curl -s --user" not in commands
    assert max(map(len, commands.splitlines())) <= 100


def test_the_demo_shows_both_reports_and_pushes_to_a_person(sandbox: Deployment) -> None:
    written = io.StringIO()

    assert demo.show(sandbox, Console(file=written, width=100))

    reports, _, registry = written.getvalue().partition("The registry of devices")
    assert "4 accepted" in reports
    assert "DeviceTokenNotForTopic" in reports
    assert max(map(len, written.getvalue().splitlines())) <= 100
    assert [line.split() for line in registry.splitlines()[-4:]] == [
        ["push", "to", '{"user_id":', '"ann"}'],
        ["new-phone", "accepted"],
        ["old-phone", "dead_token"],
        ["GET", "/users/ann/devices", "new-phone"],
    ]


@pytest.mark.parametrize("output", ["DevicesFunctionName", "ApiUrl"])
def test_without_registry_or_http_api_the_demo_leaves_the_registry_out(
    sandbox: Deployment, output: str
) -> None:
    outputs = {name: value for name, value in sandbox.outputs.items() if name != output}
    without = replace(sandbox, outputs=outputs)
    written = io.StringIO()

    assert demo.show(without, Console(file=written))
    text = written.getvalue() + demo.next_steps(sandbox.url, without)

    assert "4 accepted" in text
    assert re.findall(r"registry|devices\.sh|user\.json|make why|sandbox token", text) == []
