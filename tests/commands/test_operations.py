"""The operator's commands, against the sandbox."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from operations import redaction
from operations.__main__ import main
from operations.account import Account, FailedCall
from operations.deployed import Channels, DeployedStack
from operations.smoke import assumptions, contract
from operations.smoke import raw_answers as raw
from operations.smoke.checks import CHECKS
from operations.smoke.context import CheckContext, Evidence, Finding
from operations.smoke.nonexistent_devices import SERVICES, nonexistent_devices
from operations.smoke.raw_answers import RawAnswer
from sandbox.pinpoint.projects import enable_channel
from sandbox.running import running_sandbox
from sandbox.stack.account import ACCOUNT_ID, client
from sandbox.stack.deployment import Deployment
from tests.support.loopback import Reply
from tests.support.paths import REPOSITORY
from tests.support.provider import Provider, refused

PROJECT = "project"
DEVICES = nonexistent_devices(in_sandbox=False)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
SHORT_WAIT = ("--wait", 0.5)
"""For a function that never writes the log line that is waited for."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Deployment]:
    with running_sandbox() as running:
        yield running.deployment


class Commands:
    """Runs a command with its own environment."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def run(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this process: to start one takes longer than most commands."""
        output, errors = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, self._environment(**variables), clear=True),
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            try:
                status = main(list(map(str, arguments)))
            except SystemExit as ended:  # of argparse
                status = int(ended.code or 0)
        return subprocess.CompletedProcess(
            list(map(str, arguments)), status, output.getvalue(), errors.getvalue()
        )

    def smoke(
        self, deployment: Deployment, *arguments: object, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return self.at(deployment, "smoke", "--wait", 60, *arguments, **variables)

    def at(
        self, deployment: Deployment, *arguments: object, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command against a sandbox."""
        return self.run(*arguments, **{**_place(deployment), **variables})

    def started(self, deployment: Deployment, *arguments: object) -> subprocess.Popen[str]:
        """Start a command against a sandbox."""
        return subprocess.Popen(
            self._command(*arguments),
            cwd=REPOSITORY,
            env=self._environment(**_place(deployment)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def _command(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "operations", *map(str, arguments)]

    def _environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        }


def _place(deployment: Deployment) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": deployment.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        **CREDENTIALS,
    }


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


# --- smoke: a correct stack


class Smoked(NamedTuple):
    """A smoke test of a correct stack: its result, its record, and the pushes that devices got."""

    result: subprocess.CompletedProcess[str]
    record: Path
    messages: list[dict[str, str]]


@pytest.fixture(scope="module")
def smoked(sandbox: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Smoked:
    """Run it in the region of other SDKs' variable, which counts before that of the CLI."""
    home = tmp_path_factory.mktemp("smoked")
    address = f"{sandbox.url}/sandbox/messages"
    urllib.request.urlopen(urllib.request.Request(address, method="DELETE"))  # noqa: S310  loopback
    result = Commands(home).smoke(
        sandbox,
        *("--json", home / "smoke.json"),
        AWS_DEFAULT_REGION="eu-west-1",
        AWS_REGION="us-east-1",
    )
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return Smoked(result, home / "smoke.json", json.loads(answer.read())["messages"])


def test_a_correct_stack_passes_and_everything_is_shown(smoked: Smoked) -> None:
    result = smoked.result

    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Smoke test: pushes to invented tokens only")
    assert "The stack answered as the contract says." in lines
    assert "FAILED" not in result.stdout
    assert [line for line in lines if len(line) > 100 and str(smoked.record) not in line] == []
    shown = " ".join(result.stdout.split())
    for service in SERVICES:
        assert f"{service} · set up" in shown
    assert "The registration token is not a valid FCM registration token" in shown
    assert [line[0] for line in lines if line[:2] in ("✓ ", "✗ ")] == ["✓"] * 11
    for assumption in assumptions.ASSUMPTIONS:
        assert re.search(rf"{re.escape(assumption.claim)} (as assumed|not [a-z ]+) · \S", shown)
    assert "None of this fails the test." in shown
    assert "this says nothing about AWS" in shown


def test_only_invented_tokens_get_a_push(smoked: Smoked) -> None:
    expected = {(service, f"sandbox-bad-token-{service}") for service in SERVICES}
    # The rows of the job have their own.
    assert {
        (message["service"], re.sub(r"-[23]$", "", message["token"])) for message in smoked.messages
    } == expected
    assert len({message["token"] for message in smoked.messages}) == len(SERVICES) + 10


def test_the_record_contains_everything_but_no_account_id(smoked: Smoked) -> None:
    assert f"{smoked.record}" in smoked.result.stdout.replace("\n", "")
    text = smoked.record.read_text()
    record = json.loads(text)
    assert record["passed"] is True
    assert list(record["raw"]) == list(SERVICES)
    assert record["raw"]["APNS"]["answer"]["Result"]["sandbox-bad-token-APNS"]["StatusCode"] == 410
    assert record["doors"]["direct"]["answer"]["summary"]["recipients"] == 7
    assert record["doors"]["asynchronous"]["answer"] == {"StatusCode": 202}
    http = record["doors"]["HTTP"]["answer"]
    assert (http["status"], http["content_type"], http["unsigned"]) == (
        200,
        "application/json",
        403,
    )
    assert http["body"] == record["doors"]["direct"]["answer"]
    assert list(record["facts"]) == [assumption.name for assumption in assumptions.ASSUMPTIONS]
    assert ACCOUNT_ID not in text


def test_an_unwritable_record_gives_one_clear_line(
    sandbox: Deployment, commands: Commands, tmp_path: Path
) -> None:
    result = commands.smoke(sandbox, "--json", tmp_path)

    assert result.returncode == 1
    assert result.stderr == f"{tmp_path} cannot be written: Is a directory\n"


def test_a_missing_channel_is_no_failure_and_settles_an_assumption(
    sandbox: Deployment, commands: Commands
) -> None:
    for channel in ("ADM", "APNS", "APNS_SANDBOX"):
        enable_channel(sandbox.application_id, channel, enabled=False)
    try:
        result = commands.smoke(sandbox)
    finally:
        for channel in ("ADM", "APNS", "APNS_SANDBOX"):
            enable_channel(sandbox.application_id, channel)

    assert result.returncode == 0
    shown = " ".join(result.stdout.split())
    assert "ADM · not set up" in shown
    assert "No channel of type ADM is enabled" in shown
    assert "as assumed · APNS, APNS_SANDBOX, ADM: PERMANENT_FAILURE 400 on the address" in shown
    assert "not asked · neither APNS nor APNS_SANDBOX is known to be set up" in shown


def test_the_regions_variable_of_other_sdks_is_read(smoked: Smoked) -> None:
    assert "in us-east-1." in smoked.result.stdout


# --- smoke: a broken stack


@contextmanager
def another_function(sandbox: Deployment, handler: str) -> Iterator[None]:
    """Point the aliases to a version with another handler."""
    functions = client("lambda", sandbox.url)
    name, _, alias = sandbox.function_name.partition(":")
    before = functions.get_alias(FunctionName=name, Name=alias)["FunctionVersion"]

    def point_to(version: str) -> None:
        for each in (alias, "jobs"):
            functions.update_alias(FunctionName=name, Name=each, FunctionVersion=version)

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("push_sender/handler.py", handler)
    functions.update_function_code(FunctionName=name, ZipFile=archive.getvalue())
    point_to(functions.publish_version(FunctionName=name)["Version"])
    try:
        yield
    finally:
        point_to(before)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (
            "def handler(event, context): raise RuntimeError(context.invoked_function_arn)",
            "the function failed: RuntimeError: arn:aws:lambda:us-east-1:(account):function:",
        ),
        ("def handler(event, context): return 'fine'", "it returned no report: fine"),
        ("def handler(event, context): return event", "application_id is null"),
    ],
)
def test_another_function_fails_the_test_with_a_reason(
    sandbox: Deployment, commands: Commands, tmp_path: Path, handler: str, expected: str
) -> None:
    record = tmp_path / "smoke.json"
    with another_function(sandbox, handler):
        result = commands.smoke(sandbox, *SHORT_WAIT, "--json", record)

    assert (result.returncode, result.stderr) == (1, "")
    assert expected in " ".join(result.stdout.split())
    assert "FAILED: 8 of 11 checks" in result.stdout
    assert "M Event streams" in result.stdout, "the assumptions are examined all the same"
    assert json.loads(record.read_text())["passed"] is False
    assert ACCOUNT_ID not in record.read_text()


def test_a_function_without_permission_differs_from_the_direct_calls(
    sandbox: Deployment, commands: Commands
) -> None:
    name = sandbox.function_name.partition(":")[0]
    role = client("lambda", sandbox.url).get_function_configuration(FunctionName=name)["Role"]
    role = role.rpartition("/")[2]
    iam = client("iam", sandbox.url)
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=policy)
    try:
        result = commands.smoke(sandbox, *SHORT_WAIT)
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    assert result.returncode == 1
    assert (
        "APNS: the service answered PERMANENT_FAILURE 410, the function reports 403, "
        "misconfigured (AccessDeniedException)"
    ) in " ".join(result.stdout.split())
    assert "it answered 502: The push service refuses this service: " in result.stdout
    # The job succeeds, perhaps within the time: that a service refuses is no error of a job.
    assert re.match(
        r"FAILED: [56] of 11 checks: direct, HTTP, queue, event bus",
        result.stdout.splitlines()[-1],
    )


def test_a_missing_function_fails_every_check_of_it(
    sandbox: Deployment, commands: Commands
) -> None:
    functions = client("lambda", sandbox.url)
    name, _, alias = sandbox.function_name.partition(":")
    version = functions.get_alias(FunctionName=name, Name=alias)["FunctionVersion"]
    for each in (alias, "jobs"):
        functions.delete_alias(FunctionName=name, Name=each)
    try:
        result = commands.smoke(sandbox, *SHORT_WAIT)
    finally:
        for each in (alias, "jobs"):
            functions.create_alias(FunctionName=name, Name=each, FunctionVersion=version)

    assert result.returncode == 1
    assert "it cannot be called: ResourceNotFoundException" in " ".join(result.stdout.split())
    assert "API Gateway answered 500: Internal Server Error" in result.stdout
    assert "FAILED: 9 of 11 checks" in result.stdout


def test_a_caller_without_permission_for_http_sees_which_one_is_missing(
    sandbox: Deployment, commands: Commands
) -> None:
    iam = client("iam", sandbox.url)
    iam.create_user(UserName="operator")
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="operator", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="operator")["AccessKey"]

    result = commands.smoke(
        sandbox,
        AWS_ACCESS_KEY_ID=key["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"],
    )

    assert result.returncode == 1
    assert (
        "API Gateway answered 403: Forbidden; these credentials lack execute-api:Invoke on "
        "POST /messages"
    ) in " ".join(result.stdout.split())
    assert "execute-api:Invoke on PUT /devices/{device_id}" in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-1] == "FAILED: 4 of 11 checks: HTTP, later, devices, upkeep."


def test_a_stack_without_http_skips_the_checks_that_need_it(
    sandbox: Deployment, commands: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "smoke.json"
    expected = {key: {"Value": value} for key, value in sandbox.outputs.items() if key != "ApiUrl"}
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}, "Outputs": expected}
    client("cloudformation", sandbox.url).create_stack(
        StackName="without-http", TemplateBody=json.dumps(template)
    )

    result = commands.smoke(sandbox, "--stack", "without-http", "--json", file)

    assert (result.returncode, result.stderr) == (0, "")
    assert (
        "not deployed: there is no output ApiUrl, as with the setting http_api false"
        in result.stdout
    )
    marks = [line[0] for line in result.stdout.splitlines() if line[:2] in ("✓ ", "✗ ", "- ")]
    assert sorted(marks) == [*["-"] * 4, *["✓"] * 8]
    doors = json.loads(file.read_text())["doors"]
    assert [doors[name]["faults"] for name in ("HTTP", "devices", "upkeep")] == [[]] * 3


# --- smoke: the stack cannot be tested


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["--stack", "nonesuch"], {}, "There is no stack nonesuch in us-east-1."),
        ([], {"AWS_DEFAULT_REGION": "eu-west-1"}, "There is no stack push-sender in eu-west-1."),
        ([], {"AWS_ACCESS_KEY_ID": ""}, "NoCredentialsError"),
        ([], {"AWS_DEFAULT_REGION": ""}, "Set AWS_DEFAULT_REGION"),
        ([], {"AWS_PROFILE": "nobody"}, "ProfileNotFound"),
        ([], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "EndpointConnectionError"),
        ([], {"AWS_ENDPOINT_URL": "nonsense"}, "The AWS settings cannot be used"),
        (["--stack", ""], {}, "The stack needs a name"),
    ],
)
def test_an_expected_error_is_a_clear_line_and_no_traceback(
    sandbox: Deployment,
    commands: Commands,
    arguments: list[str],
    variables: dict[str, str],
    expected: str,
) -> None:
    result = commands.smoke(sandbox, *arguments, **variables)

    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    assert len(result.stdout.splitlines()) <= 2, "only what it was about to do"


def test_a_caller_without_permission_sees_an_error_without_their_name(
    sandbox: Deployment, commands: Commands
) -> None:
    iam, sts = client("iam", sandbox.url), client("sts", sandbox.url)
    role = iam.create_role(RoleName="intern", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    assumed = sts.assume_role(RoleArn=role, RoleSessionName="ann@example.com")["Credentials"]

    result = commands.smoke(
        sandbox,
        AWS_ACCESS_KEY_ID=assumed["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=assumed["SecretAccessKey"],
        AWS_SESSION_TOKEN=assumed["SessionToken"],
    )

    assert result.returncode == 1
    assert "AccessDenied" in result.stderr
    assert "for this permission" in result.stderr
    assert "ann@example.com" not in result.stderr + result.stdout
    assert ACCOUNT_ID not in result.stderr + result.stdout


def create_stack(sandbox: Deployment, name: str, outputs: Mapping[str, str]) -> None:
    """Create a user's own stack with these outputs."""
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    client("cloudformation", sandbox.url).create_stack(
        StackName=name, TemplateBody=json.dumps(template)
    )


def keyed(outputs: Mapping[str, str], sender: str, digest: str = "0A1B2C3D") -> dict[str, str]:
    """Rename outputs as the CDK names those of a construct."""
    return {f"{sender}{name}{digest}": value for name, value in outputs.items()}


@pytest.mark.parametrize("command", ["smoke", "redrive"])
def test_an_error_about_missing_outputs_says_how_to_add_them(
    sandbox: Deployment, commands: Commands, command: str
) -> None:
    missing = {
        "smoke": "ApplicationId and no FunctionName and no EventBusName and no LogGroupName",
        "redrive": "DeadLetterQueueArn and no QueueArn",
    }[command]
    stack = f"other-{command}"
    create_stack(sandbox, stack, {"QueueUrl": "u", "ApiUrl": "u", "Other": "o"})

    result = commands.at(sandbox, command, "--stack", stack)

    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert f"The stack {stack} (CREATE_COMPLETE) has no output {missing}.\n" in result.stderr
    assert "add its outputs, sender.add_outputs()," in result.stderr


def test_a_sender_in_a_users_own_stack_is_found_and_several_must_be_named(
    sandbox: Deployment, commands: Commands
) -> None:
    gone = {**sandbox.outputs, "DeadLetterQueueArn": "arn:aws:sqs:us-east-1:123456789012:none"}
    create_stack(sandbox, "mine", {"ApiUrl": "mine", **keyed(sandbox.outputs, "MyPushSender")})
    several = {**keyed(sandbox.outputs, "Orders"), **keyed(gone, "Returns", "")}
    create_stack(sandbox, "several", several)
    # A part of its keys can be read as another output: DevicesFunctionName of a sender My.
    create_stack(sandbox, "devices", keyed(sandbox.outputs, "MyDevices"))

    alone = commands.at(sandbox, "redrive", "--stack", "mine")
    one = commands.at(sandbox, "redrive", "--stack", "several", "--sender", "Orders")
    other = commands.at(sandbox, "redrive", "--stack", "several", "--sender", "Returns")
    none = commands.at(sandbox, "redrive", "--stack", "several", "--sender", "None")
    unsaid = commands.at(sandbox, "redrive", "--stack", "several")
    smoke = commands.smoke(sandbox, "--stack", "devices")

    assert [alone.returncode, one.returncode] == [0, 0], alone.stderr + one.stderr
    assert smoke.stdout.splitlines()[-1] == "The stack answered as the contract says."
    assert "The dead-letter messages cannot be moved" in other.stderr
    assert "has no output DeadLetterQueueArn and no QueueArn" in none.stderr
    assert "Name one: --sender Orders or --sender Returns" in unsaid.stderr


def test_a_web_page_in_place_of_aws_is_a_clear_error(
    sandbox: Deployment, commands: Commands
) -> None:
    result = commands.smoke(sandbox, AWS_ENDPOINT_URL=f"{sandbox.url}/sandbox/tokens")

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "AWS_ENDPOINT_URL" in result.stderr


# --- the contract, as a smoke test sees it


def answer_of(device: Any, status: Any = "PERMANENT_FAILURE", code: Any = 410) -> RawAnswer:
    result = {"DeliveryStatus": status, "StatusCode": code, "StatusMessage": "no"}
    return RawAnswer(device, body={"Result": {device.token: result}})


RAW = {device.service: answer_of(device) for device in DEVICES}


def sound_report() -> dict[str, Any]:
    return {
        "application_id": PROJECT,
        "idempotency_key": None,
        "replayed": False,
        "dry_run": False,
        "summary": {"recipients": 7, "invalid_token": 7},
        "results": [
            {
                "token": device.token,
                "service": device.service,
                "outcome": "invalid_token",
                "delivery_status": "PERMANENT_FAILURE",
                "status_code": 410,
                "reason": None,
            }
            for device in DEVICES
        ],
        "warnings": [],
    }


def all_errors(report: Any, raw_answers: Mapping[str, RawAnswer] = RAW) -> list[str]:
    return [
        *contract.report_errors(report, DEVICES, PROJECT),
        *contract.differences(report, raw_answers),
    ]


def test_a_correct_report_has_no_error() -> None:
    assert all_errors(sound_report()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"application_id": "another"}, "application_id is another"),
        ({"replayed": True}, "replayed is true"),
        ({"dry_run": True}, "dry_run is true"),
        ({"results": sound_report()["results"][:6]}, "not one for each recipient"),
        ({"results": sound_report()["results"][::-1]}, "not one for each recipient"),
        ({"results": None}, "not one for each recipient"),
        ({"summary": {"recipients": 7, "invalid_token": 6}}, "does not count its results"),
    ],
)
def test_an_error_within_a_report_is_found(change: Any, expected: str) -> None:
    assert expected in "\n".join(all_errors({**sound_report(), **change}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"outcome": "vanished"}, "the contract does not have: vanished"),
        ({"status_code": 400}, "GCM: the service answered PERMANENT_FAILURE 410, the function "),
        ({"delivery_status": "THROTTLED"}, "reports THROTTLED 410"),
        ({"outcome": "accepted"}, "PERMANENT_FAILURE 410 is reported as accepted"),
    ],
)
def test_a_result_that_differs_from_the_raw_answer_is_found(change: Any, expected: str) -> None:
    report = sound_report()
    report["results"][0] |= change

    assert expected in "\n".join(all_errors(report))


@pytest.mark.parametrize(
    "answer",
    [
        answer_of(DEVICES[0], "THROTTLED", 429),
        answer_of(DEVICES[0], "TEMPORARY_FAILURE", 503),
        RawAnswer(DEVICES[0], error=FailedCall("AccessDeniedException", "you may not", 403)),
        RawAnswer(DEVICES[0], error=FailedCall("TooManyRequestsException", "later", 429)),
        RawAnswer(DEVICES[0], error=FailedCall("ReadTimeoutError", "nothing came")),
    ],
)
def test_an_answer_that_cannot_be_compared_is_no_error(answer: RawAnswer) -> None:
    assert all_errors(sound_report(), {**RAW, "GCM": answer}) == []


def test_a_refused_call_and_an_address_left_out_are_compared_too() -> None:
    report = sound_report()
    report["results"][0] |= {"delivery_status": None, "status_code": 400}
    report["results"][1] |= {"delivery_status": None, "status_code": None}
    received = {
        **RAW,
        "GCM": RawAnswer(DEVICES[0], error=FailedCall("BadRequestException", "no", 400)),
        "APNS": RawAnswer(DEVICES[1], body={"Result": {}}),
    }

    assert all_errors(report, received) == []
    assert len(all_errors(sound_report(), received)) == 2


# --- the checks


class FakeAccount(Account):
    """An account with given answers."""

    def __init__(self, answers: Any, *, in_sandbox: bool = False) -> None:
        self._answers = answers
        self.region = "eu-west-1"
        self.endpoint = "http://127.0.0.1" if in_sandbox else "https://pinpoint.eu-west-1"

    def client(self, service: str) -> Any:
        return _FakeClient(self._answers)


class _FakeClient:
    meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_: None))

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        def operate(**_: Any) -> Any:
            answer = self._answers(operation)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return operate


def error(code: str, status: int, *reasons: str) -> ClientError:
    expected: Any = {"Error": {"Code": code, "Message": "because"}}
    expected["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    expected["ResponseMetadata"] = {"HTTPStatusCode": status}
    return ClientError(expected, "Anything")


def run_check(name: str, payload: Any, *, failed: bool = False, status: int = 200) -> str:
    """Run a check against a function with this answer; return its failures."""
    answer: dict[str, Any] = {
        "StatusCode": status,
        "Payload": io.BytesIO(json.dumps(payload).encode()),
        **({"FunctionError": "Unhandled"} if failed else {}),
    }
    stack = DeployedStack("s", {"ApplicationId": PROJECT, "FunctionName": "f:live"})
    (check,) = (check for check in CHECKS if check.name == name)
    context = CheckContext(FakeAccount(lambda _: answer), stack, DEVICES, RAW, 0)
    return "\n".join(check.run(context).failures)


def sound_dry_run() -> dict[str, Any]:
    report = sound_report()
    for result in report["results"]:
        result |= {"outcome": "unsent", "reason": "dry_run"}
    calls = [device.call(PROJECT) for device in DEVICES]
    summary = {"recipients": 7, "unsent": 7}
    return {**report, "dry_run": True, "summary": summary, "requests": calls}


SOUND_REFUSAL = {
    "errorType": "InvalidRequest",
    "errorMessage": "ttl: must be a number\nrecipients[0].service: must be another",
}


def test_a_correct_answer_passes_the_check() -> None:
    assert run_check("direct", sound_report()) == ""
    assert run_check("dry run", sound_dry_run()) == ""
    assert run_check("bad request", SOUND_REFUSAL, failed=True) == ""
    assert run_check("asynchronous", "", status=202) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"requests": []}, "the calls that it shows are not those of the request"),
        ({"requests": [DEVICES[0].call(PROJECT)] * 7}, "the calls that it shows are not those"),
        ({"requests": None}, "the calls that it shows are not those"),
        ({"results": sound_report()["results"]}, "not every outcome is unsent"),
        ({"dry_run": False}, "dry_run is false"),
    ],
)
def test_a_wrong_dry_run_fails_the_check(change: Any, expected: str) -> None:
    assert expected in run_check("dry run", {**sound_dry_run(), **change})


@pytest.mark.parametrize(
    ("change", "failed", "expected"),
    [
        ({}, False, "carries no function error"),
        ({"errorType": "RuntimeError"}, True, "the error is RuntimeError, not InvalidRequest"),
        ({"errorMessage": "ttl: no"}, True, "the error at recipients[0].service is missing"),
        ({"errorMessage": "recipients[0].service: no"}, True, "the error at ttl is missing"),
        ({"errorMessage": "ttl: no\nrecipients[0].service: PIGEON"}, True, "repeats a value"),
        ({"errorMessage": f"ttl: no {DEVICES[0].token}"}, True, "repeats a value"),
        ({"errorMessage": None}, True, "the error at ttl is missing"),
    ],
)
def test_a_wrong_refusal_fails_the_check(change: Any, failed: bool, expected: str) -> None:
    assert expected in run_check("bad request", {**SOUND_REFUSAL, **change}, failed=failed)


def test_an_event_that_is_not_accepted_fails_the_check() -> None:
    assert run_check("asynchronous", "", status=200) == "Lambda answered 200"


# --- the assumptions


def evidence(
    answer: Any = None,
    *,
    enabled: bool = True,
    raw_answers: Mapping[str, RawAnswer] = RAW,
    in_sandbox: bool = False,
) -> Evidence:
    return Evidence(
        account=FakeAccount(lambda _: answer, in_sandbox=in_sandbox),
        stack=DeployedStack(
            "push-sender",
            {"ApplicationId": PROJECT, "FunctionName": "f:live", "DevicesTableName": "t"},
        ),
        channels=Channels(dict.fromkeys(SERVICES, enabled)),
        raw=raw_answers,
        results=contract.results_by_service(sound_report()),
    )


def examine(name: str, known: Evidence) -> Finding:
    (assumption,) = (
        assumption for assumption in assumptions.ASSUMPTIONS if assumption.name == name
    )
    return assumption.examine(known)


def cancelled(*reasons: str) -> ClientError:
    return error("TransactionCanceledException", 400, *reasons)


REFUSED = {
    device.service: RawAnswer(device, error=FailedCall("BadRequestException", "No channel", 400))
    for device in DEVICES
}


DENIED = {
    device.service: RawAnswer(device, error=FailedCall("AccessDeniedException", "no", 403))
    for device in DEVICES
}


@pytest.mark.parametrize(
    ("name", "known", "verdict"),
    [
        ("missing-channel", evidence(enabled=False), "not as assumed"),
        ("missing-channel", evidence(enabled=False, raw_answers=REFUSED), "not as assumed"),
        ("missing-channel", evidence(enabled=False, raw_answers=DENIED), "not settled"),
        ("missing-channel", evidence(), "not asked"),
        ("providers-words", evidence(), "as assumed"),
        ("providers-words", evidence(raw_answers=REFUSED), "not settled"),
        ("providers-words", evidence(enabled=False), "not asked"),
        ("updated-token", evidence(), "not settled"),
        ("updated-token", evidence(enabled=False), "not asked"),
        ("live-activity", evidence(error("BadRequestException", 400)), "as assumed"),
        ("live-activity", evidence(error("AccessDeniedException", 403)), "not settled"),
        ("live-activity", evidence({}), "not settled"),
        ("live-activity", evidence(enabled=False), "not asked"),
        ("metrics", evidence({"Metrics": [{"MetricName": "Direct"}]}), "as assumed"),
        ("metrics", evidence({"Metrics": []}), "not settled"),
        ("metrics", evidence(error("AccessDenied", 403)), "not asked"),
        (
            "cloudtrail",
            evidence({"Events": [{"EventSource": "mobiletargeting.amazonaws.com"}]}),
            "not as assumed",
        ),
        ("cloudtrail", evidence({"Events": [{"EventSource": "else"}]}), "not settled"),
        ("cloudtrail", evidence(error("AccessDeniedException", 400)), "not asked"),
        ("templates", evidence({"TemplatesResponse": {}}), "not as assumed"),
        ("templates", evidence(error("MethodNotAllowedException", 405)), "as assumed"),
        ("templates", evidence(error("404", 404), in_sandbox=True), "not asked"),
        ("templates", evidence(error("InternalServerErrorException", 500)), "not settled"),
        ("templates", evidence(error("ForbiddenException", 403)), "not asked"),
        ("event-streams", evidence({"EventStream": {}}), "not as assumed"),
        ("event-streams", evidence(error("NotFoundException", 404)), "not settled"),
        ("event-streams", evidence(error("GoneException", 410)), "as assumed"),
        (
            "cancellation-reasons",
            evidence(cancelled("None", "ConditionalCheckFailed")),
            "as assumed",
        ),
        ("cancellation-reasons", evidence(cancelled("ConditionalCheckFailed")), "not as assumed"),
        ("cancellation-reasons", evidence(cancelled()), "not as assumed"),
        ("cancellation-reasons", evidence({}), "not as assumed"),
        ("cancellation-reasons", evidence(error("AccessDeniedException", 400)), "not asked"),
    ],
)
def test_a_finding_follows_from_what_the_account_answers(
    name: str, known: Evidence, verdict: str
) -> None:
    assert examine(name, known).verdict == verdict


def test_words_that_are_new_to_the_function_are_pointed_out() -> None:
    report = sound_report()
    report["results"][0]["outcome"] = "rejected"
    known = replace(evidence(), results=contract.results_by_service(report))

    verdict, message = examine("providers-words", known)

    assert verdict == "not as assumed"
    assert "GCM: “no” IS NEW TO US, taken for rejected" in message


def test_a_differing_report_settles_no_fact_about_providers() -> None:
    report = sound_report()
    for result in report["results"]:
        result |= {"delivery_status": None, "status_code": 403}
    known = replace(evidence(), results=contract.results_by_service(report))

    assert examine("providers-words", known).verdict == "not settled"


def test_an_updated_token_is_found_and_never_shown() -> None:
    result = {"DeliveryStatus": "SUCCESSFUL", "StatusCode": 200, "UpdatedToken": "somebody's"}
    body = {"Result": {DEVICES[0].token: result}}
    known = evidence(raw_answers={**RAW, "GCM": RawAnswer(DEVICES[0], body=body)})

    assert examine("updated-token", known).verdict == "not as assumed"
    assert "somebody's" not in redaction.one_line(body)
    assert redaction.redact(body)["Result"][DEVICES[0].token]["UpdatedToken"] == (
        "(a token of 10 characters)"
    )


def test_an_assumption_about_channels_is_not_asked_while_they_are_unknown() -> None:
    known = replace(
        evidence(), channels=Channels({}, FailedCall("AccessDeniedException", "no", 403))
    )

    assert examine("missing-channel", known) == (
        "not asked",
        "the channels are unknown: AccessDeniedException",
    )


# --- answers of any shape

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Result", "results", "Metrics", "Events", "StatusMessage", "summary"])
            | st.sampled_from([device.token for device in DEVICES])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(body=ANY_JSON, report=ANY_JSON, asked=ANY_JSON)
def test_an_answer_of_any_shape_is_handled(body: Any, report: Any, asked: Any) -> None:
    received = {device.service: RawAnswer(device, body=body) for device in DEVICES}
    known = replace(
        evidence(asked, raw_answers=received), results=contract.results_by_service(report)
    )

    lines = [*all_errors(report, received), redaction.one_line(body)]
    lines += [assumption.examine(known).message for assumption in assumptions.ASSUMPTIONS]

    assert [line for line in lines if "\n" in line] == []
    json.dumps(redaction.redact(body))


@pytest.fixture
def account(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", provider.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Account()


@pytest.mark.parametrize("status", [200, 202, 301, 400, 500])
def test_a_raw_answer_of_any_kind_is_kept(
    provider: Provider, account: Account, status: int
) -> None:
    replies = [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"<html>",
        b"\xff",
        b'{"Message": []}',
        b'{"__type": 4}',
    ]
    answers = []
    for body in replies:
        provider.answer = lambda _, body=body: Reply(status, body)  # type: ignore[misc]  # bound now
        answers.append(raw.push(account, DEVICES[0], PROJECT))

    assert [answer.delivery_status for answer in answers] == [None] * len(replies)
    assert {answer.error is None for answer in answers} == {status < 300}
    if status == 200:
        assert answers[1].shown() == []


def test_a_member_that_botocores_model_lacks_is_shown(provider: Provider, account: Account) -> None:
    provider.answer_each(lambda *_: {"DeliveryStatus": "NEW", "Later": [1]})

    assert raw.push(account, DEVICES[0], PROJECT).shown() == {"DeliveryStatus": "NEW", "Later": [1]}


def test_a_refusal_keeps_the_services_code_and_text(provider: Provider, account: Account) -> None:
    provider.answer = lambda _: refused(403, "ForbiddenException", "arn:aws:iam::1:user/ann no")

    answer = raw.push(account, DEVICES[0], PROJECT)

    assert answer.error == FailedCall("ForbiddenException", "(the caller) no", 403)
    assert not contract.is_comparable(answer)


def test_an_invented_token_is_valid_and_is_not_redacted() -> None:
    assert len({device.token for device in DEVICES}) == len(SERVICES)
    for device in DEVICES:
        assert re.fullmatch(r"[!-~]{1,2048}", device.token)
        assert redaction.redact(device.token) == device.token


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("arn:aws:sts::123456789012:assumed-role/r/ann@example.com is", "(the caller) is"),
        ("AROAABCDEFGHIJKLMNOPQ:ann@example.com is", "(the caller) is"),
        ("https://sqs/123456789012/queue", "https://sqs/(account)/queue"),
        ("key AKIAABCDEFGHIJKLMNOP is", "key (access key) is"),
        ("1234567890123 and a123456789012", "1234567890123 and a123456789012"),
        ("a\x1b[31mred\nline", "a?[31mred line"),
    ],
)
def test_what_identifies_a_person_or_an_account_is_removed(text: str, shown: str) -> None:
    assert redaction.one_line(text) == shown


# --- next steps

OUTPUTS = {
    "ApplicationId": "0123456789abcdef0123456789abcdef",
    "FunctionName": "push-sender:live",
    "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:push-sender:live",
    "LogGroupName": "push-sender-log",
    "DeadLetterQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
    "DashboardName": "push-sender",
    "Channels": "GCM, APNS",
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
}


class NextSteps:
    """Prints the next steps for a file of outputs."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._file = folder / "outputs.json"
        self._capsys = capsys

    def after(self, written: Any) -> str:
        self._file.write_text(json.dumps(written))
        assert main(["next-steps", str(self._file)]) == 0
        output, errors = self._capsys.readouterr()
        assert errors == ""
        return output

    def refused(self, content: bytes) -> str:
        self._file.write_bytes(content)
        assert main(["next-steps", str(self._file)]) == 1
        output, errors = self._capsys.readouterr()
        assert output == ""
        return errors.replace(str(self._file), "FILE")


@pytest.fixture
def steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> NextSteps:
    return NextSteps(tmp_path, capsys)


def run_commands(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the printed commands of the first push in a folder like the repository."""
    (folder / ".build").mkdir(exist_ok=True)
    script = "\n".join(re.findall(r"^(?:cat|\.venv)(?:.*\n)+?(?=\n|\Z)", text, re.M))
    bash = shutil.which("bash")
    assert bash
    return subprocess.run(
        [bash, "-euc", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_next_steps_fit_on_a_screen_and_name_everything(steps: NextSteps) -> None:
    text = steps.after({"push-sender": OUTPUTS})

    for name, value in OUTPUTS.items():
        assert re.search(rf"^  {name} +{re.escape(value)}$", text, re.M)
    assert "AWS_DEFAULT_REGION=eu-west-1 make smoke STACK=push-sender\n" in text
    assert "home?region=eu-west-1#dashboards:name=push-sender" in text
    assert "must first confirm the e-mail" in text
    assert "misconfigured" not in text
    assert len(text.splitlines()) <= 45
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("channels", ["GCM", "GCM, APNS", "ADM"])
def test_the_printed_first_push_works(
    sandbox: Deployment, steps: NextSteps, tmp_path: Path, channels: str
) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    text = steps.after({"push-sender": {**sandbox.outputs, "Channels": channels}})

    result = run_commands(text, tmp_path, AWS_ENDPOINT_URL=sandbox.url, AWS_PAGER="", **CREDENTIALS)

    assert result.returncode == 0, result.stderr
    report, _ = json.JSONDecoder().raw_decode(result.stdout)
    assert report["summary"] == {"recipients": 1, "accepted": 1}
    assert report["warnings"] == []
    assert report["results"][0]["service"] == channels.split(", ")[-1]
    assert ('"format": "fcm_v1"' in text) == ("GCM" in channels)


def test_without_a_channel_it_says_that_every_push_is_misconfigured(steps: NextSteps) -> None:
    text = steps.after({"push-sender": {**OUTPUTS, "Channels": "none"}})

    assert "No channel is set up. Until one is, every push is misconfigured" in text
    assert "docs/settings.md" in text


def test_missing_outputs_leave_out_what_needs_them(steps: NextSteps) -> None:
    text = steps.after({"push-sender": {"FunctionName": "push-sender:live"}})

    assert "aws lambda invoke --function-name push-sender:live" in text
    assert "\nmake smoke STACK=push-sender\n" in text
    assert '"service": "GCM"' in text
    assert '"service": "APNS"' in text
    for absent in ("dashboard", "misconfigured", "e-mail", "--region"):
        assert absent not in text


@pytest.mark.parametrize("outputs", [{}, None, [], "text", {"Other": "value", "Number": 3}])
def test_a_stack_without_a_sender_is_only_listed(steps: NextSteps, outputs: Any) -> None:
    text = steps.after({"other": outputs, "push-sender": OUTPUTS})

    assert "this stack cannot push" in text
    assert "make smoke STACK=other" not in text
    assert "make smoke STACK=push-sender" in text
    assert not isinstance(outputs, dict) or all(key in text for key in outputs)


def test_malicious_outputs_are_shown_as_text(steps: NextSteps, tmp_path: Path) -> None:
    hostile = "$(touch pwned); touch pwned '[red]' \x1b[31m\n touch pwned #"
    outputs = {**dict.fromkeys(OUTPUTS, hostile), "[bold]": hostile, "Channels": "GCM"}
    aws = tmp_path / ".venv" / "bin" / "aws"
    aws.parent.mkdir(parents=True)
    aws.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    aws.chmod(0o755)

    text = steps.after({f"$(shell touch pwned) {hostile}": outputs})

    assert "\x1b" not in text
    assert "[bold]" in text
    assert re.search(r"^make smoke$", text, re.M)
    result = run_commands(text, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[3] == hostile.replace("\x1b", "?").replace("\n", "?")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"no JSON", b"\xff", b"[" * 100_000])
def test_a_file_of_another_kind_is_one_clear_line(steps: NextSteps, content: bytes) -> None:
    assert steps.refused(content) == "FILE is not what cdk deploy --outputs-file writes.\n"


def test_a_missing_file_is_one_clear_line(commands: Commands, tmp_path: Path) -> None:
    result = commands.run("next-steps", tmp_path / "none.json")

    assert result.returncode == 1
    assert result.stderr.endswith("none.json cannot be read: No such file or directory\n")
