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
    assert '{"devices": [{"device_id": "phone", "token": "sandbox-unregistered"' in result.stdout
    assert max(map(len, commands.splitlines())) <= 100


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
    assert re.findall(r"registry|/devices", text) == []
