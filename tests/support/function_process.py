"""The function in a process of its own, driven by a test's program."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.invocation import PROJECT
from tests.support.paths import LAMBDA_SOURCE

CONTEXT = """
class Context:
    aws_request_id = "request"
    def get_remaining_time_in_millis(self):
        return 20_000
"""
"""What the programs of tests call the handler with."""


def function_environment(**more: str) -> dict[str, str]:
    """Give the environment of a process that can import the function."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(LAMBDA_SOURCE),
        "APPLICATION_IDS": PROJECT,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        **more,
    }


def run_program(
    program: str, *arguments: str, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program with the function importable; fail if it fails."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=stdin,
        env=function_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
