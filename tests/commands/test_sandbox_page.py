"""The commands to try by hand in docs/sandbox.md, run as they are printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from tests.support.paths import REPOSITORY


def test_the_commands_to_try_by_hand_work_as_printed_into_a_file_too(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "sandbox.md").read_text()
    section = page.partition("\n## Try it by hand\n")[2].partition("\n## ")[0]
    (commands,) = re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S)
    commands += 'curl -s --request POST "$API_URL/messages"\n'  # unsigned
    environment = {name: value for name, value in os.environ.items() if "AWS_" not in name}
    output = tmp_path / "output"
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "--port", "0"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as sandbox:
        try:
            assert sandbox.stdout is not None
            before = "".join(takewhile(lambda line: "Ready" not in line, sandbox.stdout))
            (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", before)
            assert "127.0.0.1:4580" in commands
            with output.open("wb") as file:
                subprocess.run(
                    [
                        shutil.which("bash") or "bash",
                        "-e",
                        "-o",
                        "pipefail",
                        "-c",
                        commands.replace("4580", port),
                    ],
                    cwd=REPOSITORY,
                    env={**environment, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"},
                    stdout=file,
                    timeout=120,
                    check=True,
                )
        finally:
            sandbox.send_signal(signal.SIGINT)
            terminal, _ = sandbox.communicate(timeout=30)

    written = output.read_text()
    for example in ("first-push", "every-outcome"):
        request = json.loads((REPOSITORY / f"examples/{example}.json").read_text())
        assert f'"summary": {{"recipients": {len(request["recipients"])}, ' in written
    assert written.count('"summary": {"recipients": 4, "accepted": 4}') == 2
    assert '"FailedEntryCount": 0' in written
    assert "OutputKey" in written
    assert {"direct", "http"} <= set(re.findall(r'"door": "([a-z_-]+)"', written))
    assert written.endswith('{"message":"Forbidden"}')
    assert "403 Forbidden: missing signature" in terminal
