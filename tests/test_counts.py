"""Counts that make the function slow or dear when they grow, guarded without a clock.

The size of the archive is guarded where it is built, in the tests of the bundle.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.invocation import PROJECT, Push, log_lines, metric_lines
from tests.provider import Provider

MODULES = 440
"""Modules of a cold direct invocation, the standard library's included (bare boto3: 362)."""

COLD_START = """
import gc, json, sys
before = set(sys.modules)
from push_sender.handler import handler

class Context:
    aws_request_id = "request"
    def get_remaining_time_in_millis(self):
        return 5_000

handler({"recipient": {"token": "t", "service": "GCM"}, "message": "m"}, Context())
from botocore.client import BaseClient
clients = sum(isinstance(one, BaseClient) for one in gc.get_objects())
print(json.dumps({"modules": sorted(set(sys.modules) - before), "clients": clients}))
"""


def test_a_cold_direct_invocation_imports_little_and_makes_one_client(provider: Provider) -> None:
    process = subprocess.run(
        [sys.executable, "-c", COLD_START],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent.parent / "lambda_src"),
            "APPLICATION_IDS": PROJECT,
            "AWS_ENDPOINT_URL_PINPOINT": provider.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    counted = json.loads(process.stdout.splitlines()[-1])
    assert counted["clients"] == 1
    assert len(counted["modules"]) <= MODULES
    for needless in ("boto3", "aws_xray_sdk", "aws_lambda_powertools.event_handler", "difflib"):
        assert needless not in counted["modules"]


def test_5000_recipients_take_50_calls_50_log_records_and_one_metric_record(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    recipients = [{"token": f"t{n}", "service": "GCM"} for n in range(5_000)]

    push({"recipients": recipients, "message": "m"})

    output = capsys.readouterr().out
    assert len(provider.calls) == 50
    assert len(log_lines(output)) == 50
    assert len(metric_lines(output)) == 1
    assert len(output) < 5_000 * 100, "bytes of log a token"


def test_a_warm_invocation_makes_no_further_client(push: Push, provider: Provider) -> None:
    import gc

    from botocore.client import BaseClient

    event = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}
    push(event)
    before = {id(one) for one in gc.get_objects() if isinstance(one, BaseClient)}
    push(event)
    after = {id(one) for one in gc.get_objects() if isinstance(one, BaseClient)}

    assert after <= before
