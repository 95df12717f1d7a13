"""Whoever calls the HTTP API: the programs in examples/, a client made from the document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.stack.account import REGION
from sandbox.stack.deployment import Deployment
from tests.support.paths import REPOSITORY

BIN = Path(sys.executable).parent

CLIENT = '''
"""Sends a push with the client that was generated, as docs/http.md tells it."""
import os, sys
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
import botocore.session
from push_sender_client import Client
from push_sender_client.api.default import get_openapi, send_messages
from push_sender_client.models import GatewayError, Problem, PushRequest, Recipient
from push_sender_client.models import RecipientService, Report

class SigV4(httpx.Auth):
    requires_request_body = True

    def auth_flow(self, request):
        signed = AWSRequest(request.method, str(request.url),
                            {"Content-Type": "application/json"}, request.content)
        credentials = botocore.session.Session().get_credentials()
        SigV4Auth(credentials, "execute-api", os.environ["AWS_REGION"]).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request

client = Client(base_url=os.environ["API_URL"], httpx_args={"auth": SigV4()}, timeout=35)
device = Recipient(token="generated", service=RecipientService.ADM)
body = PushRequest(message="m", recipients=[device])
report = send_messages.sync(client=client, body=body, idempotency_key="generated-1")
assert isinstance(report, Report), report
assert report.results[0].outcome == "accepted", report
assert send_messages.sync(client=client, body=body, idempotency_key="generated-1").replayed

accepted = send_messages.sync(client=client, body=body, prefer="respond-async")
assert accepted.id == accepted.idempotency_key

bad = send_messages.sync(client=client, body=PushRequest(message="m", ttl=-1, recipients=[device]))
assert isinstance(bad, Problem), bad
assert [fault.path for fault in bad.faults] == ["ttl"], bad

stranger = Client(base_url=os.environ["API_URL"], timeout=35)
refused = send_messages.sync(client=stranger, body=body)
assert isinstance(refused, GatewayError), refused
assert refused.message == "Forbidden"

assert get_openapi.sync(client=client)["openapi"] == "3.1.0"
'''


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(deployment: Deployment, tmp_path: Path) -> Run:
    """Give a function that runs a program as somebody who may call the API."""

    def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.run(
            list(map(str, command)),
            cwd=REPOSITORY,
            env={
                **others,
                "API_URL": deployment.outputs["ApiUrl"],
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_CONFIG_FILE": str(tmp_path / "none"),
                "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def doors(deployment: Deployment, token: str) -> list[str]:
    """Tell by which door each push to a device came."""
    address = f"{deployment.url}/sandbox/messages?token={token}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return [message["door"] for message in json.loads(answer.read())["messages"]]


EXAMPLES = pytest.mark.parametrize(
    "program",
    [
        ("sh", "examples/http/send.sh"),
        (sys.executable, "examples/http/send.py"),
        (str(BIN / "node"), "examples/http/send.mjs"),
    ],
    ids=["curl", "Python", "JavaScript"],
)


@EXAMPLES
@pytest.mark.usefixtures("node_modules")
def test_each_example_sends_a_request_once_and_fails_without_permission(
    run: Run, deployment: Deployment, tmp_path: Path, program: tuple[str, str]
) -> None:
    token = f"by-{program[1].rpartition('.')[2]}"
    request = tmp_path / "request.json"
    event: dict[str, Any] = {"recipient": {"token": token, "service": "ADM"}, "message": "é"}
    request.write_text(json.dumps(event, ensure_ascii=False))
    invalid = tmp_path / "invalid.json"
    invalid.write_text(json.dumps({**event, "ttl": "soon"}))

    first, again = (run(*program, request, f"key-{token}") for _ in range(2))
    without_key = run(*program, request)
    bad = run(*program, invalid)
    stranger = run(*program, request, AWS_SECRET_ACCESS_KEY="wrong")

    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout)["summary"] == {"recipients": 1, "accepted": 1}
    assert json.loads(again.stdout)["replayed"] is True
    assert json.loads(without_key.stdout)["replayed"] is False
    assert bad.returncode != 0
    assert json.loads(bad.stdout)["faults"] == [
        {"path": "ttl", "message": "must be a whole number, not text"}
    ]
    assert stranger.returncode != 0
    assert json.loads(stranger.stdout) == {"message": "Forbidden"}
    assert doors(deployment, token) == ["http", "http"]


@EXAMPLES
@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        ((), {}, "usage: send."),
        (("examples/first-push.json",), {"API_URL": ""}, "API_URL"),
        (("examples/nowhere.json",), {}, "examples/nowhere.json"),
        (("examples/first-push.json",), {"API_URL": "http://127.0.0.1:1"}, ""),
        (("examples/first-push.json",), {"AWS_SECRET_ACCESS_KEY": ""}, ""),
    ],
    ids=["no argument", "no address", "no file", "no connection", "no credentials"],
)
@pytest.mark.usefixtures("node_modules")
def test_an_example_reports_missing_settings_in_one_line(
    run: Run,
    program: tuple[str, str],
    arguments: tuple[str, ...],
    variables: dict[str, str],
    told: str,
) -> None:
    lacking = run(*program, *arguments, **variables)

    (line,) = lacking.stderr.split("\n")[:-1]
    assert lacking.returncode != 0
    assert told in line


def test_a_client_generated_from_the_document_sends_a_push(
    run: Run, deployment: Deployment, tmp_path: Path
) -> None:
    client = tmp_path / "push_sender_client"
    generated = run(
        BIN / "openapi-python-client",
        *("generate", "--path", "docs/openapi.json", "--output-path", client, "--meta", "none"),
        PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it formats with ruff
    )
    assert (generated.returncode, "WARNING" in generated.stdout) == (0, False), generated.stdout

    sent = run(sys.executable, "-c", CLIENT, PYTHONPATH=str(tmp_path))

    assert (sent.returncode, sent.stderr) == (0, "")
    assert doors(deployment, "generated")[0] == "http"
