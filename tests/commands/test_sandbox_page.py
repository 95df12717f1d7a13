"""A running sandbox as a person meets it: what it prints, and the commands of docs/sandbox.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.support.paths import REPOSITORY
from tests.support.service_sandbox import eventually


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run the sandbox; give the file with what it prints, which has only ASCII."""
    printed = tmp_path_factory.mktemp("terminal") / "printed"
    with (
        printed.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "sandbox", "up", "--port", "0"],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            stdout=file,
        ) as running,
    ):
        try:
            eventually(lambda: "Ready" in printed.read_text() or running.poll() is not None)
            yield printed
        finally:
            running.send_signal(signal.SIGINT)


@pytest.fixture
def before(terminal: Path) -> str:
    """Give what is printed until it is ready."""
    return terminal.read_text().partition("Ready")[0]


def test_a_character_that_the_terminal_lacks_is_replaced(before: str) -> None:
    assert before.startswith("? fetching AWS's Lambda runtime client")


def test_the_inbox_is_printed_first_and_its_buttons_send_through_the_stacks_project(
    before: str,
) -> None:
    (page,) = re.findall(r"http://\S+", before)
    assert page.endswith("/sandbox/")
    body = json.dumps({"token": "sandbox-accepted", "service": "GCM"}).encode()
    asked = Request(f"{page}send", body, {"Content-Type": "application/json"})  # noqa: S310  loopback
    with urlopen(asked) as answer:  # noqa: S310  loopback
        result = json.load(answer)["answer"]["Result"]["sandbox-accepted"]

    assert result["DeliveryStatus"] == "SUCCESSFUL"


def test_the_commands_to_try_by_hand_work_as_printed_into_a_file_too(
    terminal: Path, before: str, tmp_path: Path
) -> None:
    page = (REPOSITORY / "docs" / "sandbox.md").read_text()
    section = page.partition("\n## Try it by hand\n")[2].partition("\n## ")[0]
    (commands,) = re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S)
    commands += 'curl -s --request POST "$API_URL/messages"\n'  # unsigned
    environment = {name: value for name, value in os.environ.items() if "AWS_" not in name}
    output = tmp_path / "output"
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", before)
    assert "127.0.0.1:4580" in commands

    with output.open("wb") as file:
        subprocess.run(
            [
                shutil.which("bash") or "bash",
                *("-e", "-o", "pipefail", "-c", commands.replace("4580", port)),
            ],
            cwd=REPOSITORY,
            env={**environment, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"},
            stdout=file,
            timeout=120,
            check=True,
        )

    written = output.read_text()
    for example in ("first-push", "every-outcome"):
        request = json.loads((REPOSITORY / f"examples/{example}.json").read_text())
        assert f'"summary": {{"recipients": {len(request["recipients"])}, ' in written
    assert written.count('"summary": {"recipients": 4, "accepted": 4}') == 2
    assert '"FailedEntryCount": 0' in written
    assert "OutputKey" in written
    assert {"direct", "http"} <= set(re.findall(r'"entry_point": "([a-z_-]+)"', written))
    assert written.endswith('{"message":"Forbidden"}')
    eventually(lambda: "403 Forbidden: missing signature" in terminal.read_text())
