"""The push service by itself, as a team knows it that tests a program of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from botocore.exceptions import ClientError

from sandbox.patches import applied
from sandbox.pinpoint.devices import CHANNELS
from sandbox.pinpoint.patches import PATCHES
from sandbox.pinpoint_only import running_pinpoint
from sandbox.server import Server
from tests.support.paths import REPOSITORY

PROGRAM = '''
"""In the shape of AWS's own example: no argument, no endpoint, an application id in the text."""
import json

import boto3
from botocore.exceptions import ClientError

region = "us-east-1"
application_id = "ce796be37f32f178af652b26eexample"
recipient = {
    "token": "a0b1c2d3e4f5g6h7i8j9k0l1m2n3o4p5q6r7s8t9u0v1w2x3y4z5a6b7c8d8e9f0",
    "service": "GCM",
}


def create_message_request():
    return {
        "Addresses": {recipient["token"]: {"ChannelType": recipient["service"]}},
        "MessageConfiguration": {
            "GCMMessage": {
                "Action": "URL",
                "Body": "A sample message.",
                "Priority": "normal",
                "SilentPush": False,
                "Title": "A test message.",
                "TimeToLive": 30,
                "Url": "https://www.example.com",
            }
        },
    }


client = boto3.client("pinpoint", region_name=region)
try:
    response = client.send_messages(
        ApplicationId=application_id, MessageRequest=create_message_request()
    )
except ClientError as e:
    print(e.response["Error"]["Message"])
else:
    print(response["MessageResponse"]["Result"][recipient["token"]]["DeliveryStatus"])
'''


@contextmanager
def running_command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; give its process and what it said of where the inbox is."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "--pinpoint-only", "--port", "0", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def environment(url: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **others,
        "AWS_ENDPOINT_URL_PINPOINT": url,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
    }


def messages(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/sandbox/messages?since=0") as answer:  # noqa: S310  loopback
        found: list[dict[str, Any]] = json.load(answer)["messages"]
    return found


def client(url: str, region: str = "us-east-1") -> Any:
    return boto3.client(
        "pinpoint",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
    )


def request(token: str, channel: str) -> dict[str, Any]:
    return {
        "Addresses": {token: {"ChannelType": channel}},
        "MessageConfiguration": {CHANNELS[channel].message: {"Body": "m"}},
    }


def test_a_program_like_awss_own_example_shows_its_push_in_the_inbox(tmp_path: Path) -> None:
    program = tmp_path / "send_push.py"
    program.write_text(PROGRAM)

    with running_command() as (process, first_line):
        found = re.fullmatch(r"The inbox is at (http://127\.0\.0\.1:\d+)/sandbox/\n", first_line)
        assert found is not None
        result = subprocess.run(
            [sys.executable, str(program)],
            env=environment(found[1]),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (result.stdout, result.stderr) == ("SUCCESSFUL\n", "")
        (message,) = messages(found[1])
        assert message["application_id"] == "ce796be37f32f178af652b26eexample"
        assert message["card"]["title"] == "A test message."
        assert message["card"]["link"] == "https://www.example.com"

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_any_application_id_works_with_every_channel_in_every_region() -> None:
    with running_pinpoint() as server:
        for region in ("us-east-1", "eu-central-1"):
            for channel in CHANNELS:
                answer = client(server.url, region).send_messages(
                    ApplicationId=f"app-{channel}", MessageRequest=request("t", channel)
                )
                result = answer["MessageResponse"]["Result"]["t"]
                assert result["DeliveryStatus"] == "SUCCESSFUL"
        assert len(messages(server.url)) == 2 * len(CHANNELS)


def test_a_project_created_with_the_api_keeps_its_channels() -> None:
    with running_pinpoint() as server:
        pinpoint = client(server.url)
        made = pinpoint.create_app(CreateApplicationRequest={"Name": "mine"})
        answer = pinpoint.send_messages(
            ApplicationId=made["ApplicationResponse"]["Id"], MessageRequest=request("t", "GCM")
        )
    assert answer["MessageResponse"]["Result"]["t"]["DeliveryStatus"] == "PERMANENT_FAILURE"


def test_with_the_full_sandbox_an_unknown_application_id_is_not_found() -> None:
    with running_pinpoint():
        pass
    with (
        applied(PATCHES),
        Server() as server,
        pytest.raises(ClientError, match="NotFoundException"),
    ):
        client(server.url).send_messages(ApplicationId="a", MessageRequest=request("t", "GCM"))


def test_neither_the_stack_nor_the_function_nor_the_cdk_is_loaded() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sandbox.pinpoint_only, sys; print(*sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "sandbox.pinpoint.service" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"aws_cdk", "infra", "jsii"}
    assert not [name for name in loaded if name.startswith(("sandbox.stack", "sandbox.functions"))]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_help_mentions_the_inbox_and_programs_of_other_teams() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "/sandbox/" in result.stdout
    assert "up --pinpoint-only" in result.stdout
    assert "AWS_ENDPOINT_URL_PINPOINT" in result.stdout


def test_settings_of_the_stack_are_refused_without_a_stack() -> None:
    result = run("up", "--pinpoint-only", "-c", "stage=x")
    assert result.returncode == 2
    assert "not allowed with" in result.stderr


def test_a_taken_port_gives_one_clear_message() -> None:
    with Server() as server:
        result = run("up", "--pinpoint-only", "--port", str(server.port))
        taken = f"Port {server.port}"
    assert (result.returncode, result.stdout) == (1, "")
    assert taken in result.stderr
    assert "Traceback" not in result.stderr
