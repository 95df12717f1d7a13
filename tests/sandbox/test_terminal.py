"""What the terminal of a running sandbox shows of pushes, and of the function's log."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from sandbox import terminal
from sandbox.pinpoint.pushes import Push, Refusal
from tests.support.paths import REPOSITORY

ANSWER = {"DeliveryStatus": "SUCCESSFUL", "StatusCode": 200, "StatusMessage": ""}
GONE = {
    "DeliveryStatus": "PERMANENT_FAILURE",
    "StatusCode": 410,
    "StatusMessage": json.dumps({"pushProviderError": "Unregistered"}),
}


def push(**settings: Any) -> Push:
    usual: dict[str, Any] = {
        "time": "2026-11-27T12:00:00.000Z",
        "entry_point": None,
        "application_id": "p",
        "request_id": "r",
        "service": "APNS",
        "token": "phone",
        "message": {"Title": "Your parcel", "Body": "b"},
        "request": {},
        "answer": ANSWER,
    }
    return Push(**{**usual, **settings})


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, "none APNS accepted phone Your parcel"),
        ({"entry_point": "queue", "answer": GONE}, "queue APNS dead_token phone Your parcel"),
        ({"answer": None}, "none APNS unknown phone Your parcel"),
        ({"message": {"SilentPush": True}}, "none APNS accepted phone silent"),
        ({"message": {"Body": "text alone"}}, "none APNS accepted phone text alone"),
        ({"message": {}}, "none APNS accepted phone"),
        ({"token": "t" * 200}, f"none APNS accepted {'t' * 27}… Your parcel"),
        ({"message": {"Title": "\x1b[31mred\nline"}}, "none APNS accepted phone ?[31mred?line"),
    ],
)
def test_a_push_is_one_short_line(settings: dict[str, Any], shown: str) -> None:
    line = terminal.line_of(push(**settings))

    assert " ".join(line.split()[1:]) == shown
    assert len(line) < 150


def test_a_refused_call_is_a_line_too() -> None:
    refusal = Refusal(
        time="2026-11-27T12:00:00.000Z",
        entry_point="http",
        application_id="p",
        request_id="r",
        status=429,
        code="TooManyRequestsException",
        reason="",
        addresses=(("phone", "GCM"),),
    )

    assert " ".join(terminal.line_of(refusal).split()[1:]) == (
        "http GCM transient phone the whole call: 429 TooManyRequestsException"
    )


def test_a_denied_request_to_the_http_api_is_a_line_that_says_why() -> None:
    output = io.StringIO()

    terminal.denials(Console(file=output, width=40))(
        403, "no permission: on x:y/\x1b[31m" + "z" * 60
    )

    assert output.getvalue().split(maxsplit=1)[1] == (
        f"http         403 Forbidden: no permission: on x:y/?[31m{'z' * 60}\n"
    )


@pytest.mark.parametrize(
    ("line", "verbose", "shown"),
    [
        ('{"level":"INFO","message":"sent"}', None, False),
        ('{"level":"INFO","message":"sent"}', "0", False),
        ('{"level":"INFO","message":"sent"}', "1", True),
        ('{"level":"WARNING","message":"throttled"}', None, True),
        ('{"level":"ERROR","message":"failed"}', None, True),
        ('{"type":"platform.report"}', None, False),
        ("START RequestId: 1", None, False),
        ("START RequestId: 1", "1", True),
        ("[1]", None, False),
    ],
)
def test_the_functions_log_is_shown_for_warnings_or_with_verbose(
    monkeypatch: pytest.MonkeyPatch, line: str, verbose: str | None, shown: bool
) -> None:
    monkeypatch.delenv("VERBOSE", raising=False)
    if verbose is not None:
        monkeypatch.setenv("VERBOSE", verbose)
    output = io.StringIO()

    terminal.function_log(Console(file=output))("push-sender", line)

    assert (line in output.getvalue()) == shown


def test_a_result_without_a_call_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERBOSE", raising=False)
    results = [
        {"outcome": "no_device", "reason": "none_registered", "user_ref": None},
        {"outcome": "rejected", "reason": "unfit", "path": "ttl", "token": "0123456789ab"},
        {"outcome": "duplicate", "token": "0123456789ab"},
    ]
    line = {"level": "INFO", "message": "results without a call", "results": results}
    output = io.StringIO()

    terminal.function_log(Console(file=output, width=40))("push-sender", json.dumps(line))

    assert [" ".join(line.split()[1:]) for line in output.getvalue().splitlines()] == [
        "no call no_device none_registered",
        "no call rejected unfit ttl",
        "no call duplicate",
    ]


def test_the_command_prints_a_line_for_each_push_and_each_refused_call() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "--pinpoint-only", "--port", "0"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    ) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().split()[-1].removesuffix("/sandbox/")
            pinpoint: Any = boto3.client(
                "pinpoint",
                region_name="us-east-1",
                endpoint_url=url,
                aws_access_key_id="sandbox",
                aws_secret_access_key="sandbox",
            )
            request = {"MessageConfiguration": {"APNSMessage": {"Title": "Hello", "Body": "b"}}}
            for token in ("phone", "sandbox-call-403"):
                addresses = {"Addresses": {token: {"ChannelType": "APNS"}}}
                with suppress(ClientError):
                    pinpoint.send_messages(
                        ApplicationId="any", MessageRequest={**request, **addresses}
                    )
        finally:
            program.send_signal(signal.SIGINT)
            output, _ = program.communicate(timeout=20)

    lines = output.splitlines()
    assert any("accepted" in line and "phone" in line and "Hello" in line for line in lines)
    assert any("misconfigured" in line and "the whole call: 403" in line for line in lines)
