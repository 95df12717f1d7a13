"""The deployed function in the sandbox: its bundle in AWS's runtime client."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from push_sender.telemetry.log import token_digest
from sandbox.pinpoint import devices
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.support.invocation import log_lines, metric_lines
from tests.support.paths import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.json"))
SERVICES = ["GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "ADM"]


@pytest.fixture
def reconfigurable(deployment: Deployment) -> Deployment:
    """Name the function itself, which can be changed, in place of the version behind the alias."""
    return replace(deployment, outputs={**deployment.outputs, "FunctionName": "push-sender"})


@pytest.fixture(autouse=True)
def _empty_inbox(request: pytest.FixtureRequest) -> None:
    if "deployment" in request.fixturenames:
        deployment = request.getfixturevalue("deployment")
        inbox(deployment, method="DELETE")


def inbox(deployment: Deployment, method: str = "GET") -> Any:
    """List or clear the pushes that the sandbox's devices got."""
    request = urllib.request.Request(f"{deployment.url}/sandbox/messages", method=method)  # noqa: S310  loopback
    with urllib.request.urlopen(request) as response:  # noqa: S310  loopback
        return json.loads(response.read() or b"null")


def invoke(deployment: Deployment, event: Any) -> tuple[Any, str | None, str]:
    """Invoke the function; give its payload, its function error and the end of its log."""
    answer = client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name, Payload=json.dumps(event), LogType="Tail"
    )
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.loads(answer["Payload"].read()), answer.get("FunctionError"), log


def example(name: str) -> Any:
    return json.loads((REPOSITORY / "examples" / f"{name}.json").read_text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_gives_the_documented_result(deployment: Deployment, path: Path) -> None:
    event = json.loads(path.read_text())

    answer, error, _ = invoke(deployment, event)

    if path.stem == "invalid":
        assert error == "Unhandled"
        assert answer["errorType"] == "InvalidRequest"
        assert [line.split(":")[0] for line in answer["errorMessage"].splitlines()] == [
            "ttl",
            "recipients[0].token",
            "recipients[1].service",
            "titel",
            "url",
        ]
        assert inbox(deployment)["calls"] == {}
        return
    assert error is None
    asked = event.get("recipients") or [event["recipient"]]
    assert [result["token"] for result in answer["results"]] == [
        each.get("token") for each in asked
    ]
    if path.stem == "user":
        assert answer["summary"] == {"recipients": 1, "no_device": 1}
        assert answer["warnings"] == []
    elif path.stem == "dry-run":
        assert len(answer["requests"]) == 2
        assert inbox(deployment)["calls"] == {}
    elif path.stem == "every-outcome":
        assert answer["summary"] == {
            "recipients": 15,
            "accepted": 3,
            "dead_token": 1,
            "invalid_token": 3,
            "misconfigured": 2,
            "rejected": 1,
            "opted_out": 1,
            "duplicate": 1,
            "transient": 2,
            "unknown": 1,
        }
    else:
        assert answer["summary"] == {"recipients": len(asked), "accepted": len(asked)}
        assert answer["warnings"] == []


def test_the_example_of_aws_reaches_the_device_of_each_service(deployment: Deployment) -> None:
    event = example("first-push")

    invoke(deployment, event)

    messages = inbox(deployment)["messages"]
    assert sorted(message["service"] for message in messages) == ["ADM", "APNS", "BAIDU", "GCM"]
    for message in messages:
        assert message["message"]["Title"] == event["title"]
        assert message["message"]["Body"] == event["message"]
        assert message["message"]["Url"] == event["url"]


def test_a_firebase_app_gets_a_notification_it_can_show(deployment: Deployment) -> None:
    invoke(deployment, example("firebase-notification"))

    contents = [json.loads(m["message"]["RawContent"]) for m in inbox(deployment)["messages"]]
    titles = {content["fcmV1Message"]["message"]["notification"]["title"] for content in contents}
    assert titles == {"Your parcel is on its way", "Ann, your parcel is on its way"}


@pytest.mark.parametrize(
    "token",
    [
        device.token for device in devices.WELL_KNOWN if device.token != "sandbox-slow"
    ],  # by deadline
)
def test_each_known_token_ends_as_its_documented_outcome(
    deployment: Deployment, token: str
) -> None:
    page = (REPOSITORY / "docs" / "sandbox-tokens.md").read_text()
    row = re.search(rf"^\| `{token}` \|.*\| (.*) \|$", page, re.M)
    assert row, "the token is not in the table"

    recipients = [{"token": token, "service": service} for service in SERVICES]
    answer, _, _ = invoke(deployment, {"recipients": recipients, "message": "m"})

    outcomes = {result["outcome"] for result in answer["results"]}
    if token == "sandbox-broken":
        assert outcomes <= {"invalid_token", "rejected"}
    else:
        assert outcomes == set(re.findall(r"`([a-z_]+)`", row[1]))


def test_the_calls_received_equal_the_attempts_reported(deployment: Deployment) -> None:
    answer, _, _ = invoke(
        deployment,
        {"recipient": {"token": "sandbox-call-500", "service": "GCM"}, "message": "m"},
    )

    assert inbox(deployment)["calls"] == {"500": answer["results"][0]["attempts"]}


def test_the_report_is_returned_before_lambdas_timeout(reconfigurable: Deployment) -> None:
    functions = client("lambda", reconfigurable.url)
    functions.update_function_configuration(FunctionName=reconfigurable.function_name, Timeout=5)
    try:
        answer, error, _ = invoke(
            reconfigurable,
            {
                "recipients": [
                    {"token": f"sandbox-slow-60-{n}", "service": "GCM"} for n in range(1_700)
                ],
                "message": "m",
            },
        )
    finally:
        functions.update_function_configuration(
            FunctionName=reconfigurable.function_name, Timeout=29
        )

    assert error is None
    assert answer["summary"] == {"recipients": 1_700, "unknown": 1_600, "unsent": 100}


def test_logs_and_metrics_come_out_as_json_lines_without_a_token(deployment: Deployment) -> None:
    token = "a-token-that-nobody-may-see"

    _, _, log = invoke(
        deployment,
        {"recipient": {"token": token, "service": "GCM"}, "message": "a text like that"},
    )

    lines = [line for line in log_lines(log) if line.get("message") == "batch delivered"]
    assert [result["token"] for result in lines[0]["results"]] == [token_digest(token)]
    assert metric_lines(log)[0]["accepted"] == [1]
    assert token not in log
    assert "a text like that" not in log


def test_a_cold_start_logs_nothing_from_the_sdk(reconfigurable: Deployment) -> None:
    functions = client("lambda", reconfigurable.url)
    functions.update_function_configuration(
        FunctionName=reconfigurable.function_name, MemorySize=640
    )

    _, _, log = invoke(reconfigurable, example("silent-push"))

    result = [line.get("logger", line.get("service", line.get("type"))) for line in log_lines(log)]
    assert "initDurationMs" in log, "it was no cold start"
    assert not [name for name in map(str, result) if name.startswith(("botocore", "urllib3"))]


def test_at_debug_the_real_runtime_logs_no_token_and_no_text(reconfigurable: Deployment) -> None:
    functions = client("lambda", reconfigurable.url)
    config = functions.get_function_configuration(FunctionName=reconfigurable.function_name)
    before, logging = config["Environment"]["Variables"], config["LoggingConfig"]
    debug = {**before, "POWERTOOLS_LOG_LEVEL": "DEBUG", "POWERTOOLS_DEBUG": "true"}
    functions.update_function_configuration(
        FunctionName=reconfigurable.function_name,
        Environment={"Variables": debug},
        LoggingConfig={**logging, "ApplicationLogLevel": "DEBUG"},
    )
    secret = "KaNaRy"
    event = {"recipient": {"token": secret, "service": "GCM"}, "message": secret}
    try:
        report, _, _ = invoke(reconfigurable, event)
        refusal, _, _ = invoke(reconfigurable, {**event, "ttl": secret, "title": [secret]})
    finally:
        functions.update_function_configuration(
            FunctionName=reconfigurable.function_name,
            Environment={"Variables": before},
            LoggingConfig=logging,
        )

    assert report["summary"]["accepted"] == 1
    assert refusal["errorType"] == "InvalidRequest"
    group = reconfigurable.outputs["LogGroupName"]
    events = client("logs", reconfigurable.url).filter_log_events(logGroupName=group)["events"]
    log = "\n".join(event["message"] for event in events)
    assert token_digest(secret) in log
    assert "aws_lambda_powertools" in log, "nothing was logged at DEBUG"
    assert "InvalidRequest" in log
    assert secret not in log + json.dumps(refusal)


def test_the_aws_command_line_invokes_the_function(deployment: Deployment, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    aws = Path(sys.executable).with_name("aws")

    subprocess.run(
        [
            *(aws, "lambda", "invoke", "--function-name", deployment.function_name),
            *("--payload", "fileb://examples/first-push.json", output),
        ],
        cwd=REPOSITORY,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": deployment.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
        },
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert json.loads(output.read_text())["summary"] == {"recipients": 4, "accepted": 4}


def run_sandbox(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start the sandbox's command line in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(("ending", "verbose"), [(signal.SIGINT, "0"), (signal.SIGTERM, "1")])
def test_ctrl_c_ends_everything_and_leaves_nothing_behind(
    ending: signal.Signals, verbose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("VERBOSE", verbose)
    process = run_sandbox("up", "--port", "0")
    assert process.stdout
    url = None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            url = found[0]
            break
    assert url
    invoke(
        Deployment(url, "push-sender", {"FunctionName": "push-sender:live"}), example("first-push")
    )
    children = _descendants(process.pid)
    assert children, "the function has a process of its own"

    process.send_signal(ending)
    output, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    lines = [line for line in output.splitlines() if "Test message sent" in line]
    assert len([line for line in lines if "direct" in line and "accepted" in line]) == 4
    assert ("batch delivered" in output) == (verbose == "1"), "the function's log, if asked for"
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
    assert list(tmp_path.iterdir()) == []


def _descendants(process: int) -> set[int]:
    """List the processes that a process has started, and those that they have."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}
