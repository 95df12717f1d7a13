"""``make why`` and ``devices export``, against the sandbox."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operations.why import meanings
from push_sender.devices.registry import Change
from push_sender.outcomes.outcome import Outcome
from sandbox.running import running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.commands.test_operations import CREDENTIALS, Commands
from tests.support.deployed_function import OTHER_PROJECT, OTHERS, invoke, within
from tests.support.http_apis import Api
from tests.support.paths import REPOSITORY

REQUEST = "6f1f2d3c-0000-4000-8000-000000000001"

Log = Callable[..., None]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Deployment]:
    with running_sandbox(context=OTHERS) as running:
        yield running.deployment


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def log(sandbox: Deployment) -> Iterator[Log]:
    """Give a function that writes lines into the log of the function that sends."""
    logs, group = client("logs", sandbox.url), sandbox.outputs["LogGroupName"]
    logs.create_log_stream(logGroupName=group, logStreamName="written")

    def write(*results: dict[str, Any], message: str = "batch delivered", ago: float = 0) -> None:
        fields = {"message": message, "function_request_id": REQUEST, "results": list(results)}
        event = {"timestamp": int((time.time() - ago) * 1000), "message": json.dumps(fields)}
        logs.put_log_events(logGroupName=group, logStreamName="written", logEvents=[event])

    yield write
    logs.delete_log_stream(logGroupName=group, logStreamName="written")


def ask(sandbox: Deployment, method: str, path: str, body: Any = None) -> int:
    """Call a route of the registry, signed."""
    url = sandbox.outputs["ApiUrl"]
    api = Api(url.rpartition("/")[2], url, sandbox.stack_name)
    raw = b"" if body is None else json.dumps(body).encode()
    return api.ask(method, path, raw, {"Content-Type": "application/json"}).status


def register(sandbox: Deployment, device_id: str, token: str, **members: Any) -> None:
    body = {"token": token, "service": "GCM", **members}
    assert ask(sandbox, "PUT", f"/devices/{device_id}", body) in (200, 201)


def item_of(sandbox: Deployment, key: str) -> dict[str, Any]:
    """Read the value of an item of the registry."""
    item = client("dynamodb", sandbox.url).get_item(
        TableName=sandbox.outputs["DevicesTableName"], Key={"id": {"S": key}}
    )["Item"]
    value: dict[str, Any] = json.loads(item["value"]["S"])
    return value


def create_stack(sandbox: Deployment, outputs: Mapping[str, str]) -> str:
    """Create a stack with these outputs; return its name."""
    name = f"other-{uuid.uuid4().hex}"
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    client("cloudformation", sandbox.url).create_stack(
        StackName=name, TemplateBody=json.dumps(template)
    )
    return name


def refs(sandbox: Deployment, user_id: str, *device_ids: str) -> tuple[str, ...]:
    """Read the references of a user and of devices."""
    project = sandbox.application_id
    keys = [f"U#{project}#{user_id}", *(f"D#{project}#{device_id}" for device_id in device_ids)]
    return tuple(item_of(sandbox, key)["ref"] for key in keys)


def expire(sandbox: Deployment, device_id: str) -> None:
    """Let a device expire, with its entry in the user's item."""
    client("dynamodb", sandbox.url).update_item(
        TableName=sandbox.outputs["DevicesTableName"],
        Key={"id": {"S": f"D#{sandbox.application_id}#{device_id}"}},
        UpdateExpression="SET expiration = :then",
        ExpressionAttributeValues={":then": {"N": "1"}},
    )


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def result(outcome: str, user: str | None = None, device: str | None = None, **more: Any) -> Any:
    """Make an entry of a log line's results."""
    named = {"user_ref": user, "device_ref": device}
    given = {name: ref for name, ref in named.items() if ref}
    return (
        {"outcome": outcome, "status_code": 200 if outcome == "accepted" else None} | given | more
    )


def why(commands: Commands, sandbox: Deployment, *arguments: str) -> str:
    """Run the command; return what it shows, in one line."""
    answer = commands.at(sandbox, "why", *arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [line for line in answer.stdout.splitlines() if len(line) > 100] == []
    return " ".join(answer.stdout.split())


def found(commands: Commands, sandbox: Deployment, *arguments: str) -> dict[str, Any]:
    """Run the command; return what it finds, as JSON."""
    answer = commands.at(sandbox, "why", "--format", "json", *arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    findings: dict[str, Any] = json.loads(answer.stdout)
    return findings


# --- why: a user


def test_a_user_has_a_summary_devices_and_pushes(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "phone", "phone-token-with-many-characters", user_id="u-1", language="de")
    register(sandbox, "tablet", "tablet-token", user_id="u-1", opted_out=True)
    user, phone = refs(sandbox, "u-1", "phone")
    stranger = result("accepted", "0" * 16, "1" * 16, token=digest("tablet-token"))
    log(result("accepted", user, phone, token=digest("phone-token-with-many-characters")), stranger)
    log(result("no_device", user, reason="opted_out"), message="results without a call")
    log(result("invalid_token", user, phone, reason="BadDeviceToken", status_code=400))

    shown = why(commands, sandbox, "--user", "u-1")

    assert shown.startswith("u-1 has 2 devices (1 opted out); 3 pushes since ")
    assert "UTC: 1 accepted, 1 no_device, 1 invalid_token. Devices" in shown
    long, short = digest("phone-token-with-many-characters"), digest("tablet-token")
    assert re.search(rf"phone GCM phone-… {long} de \d{{4}}-\d\d-\d\d gets pushes", shown)
    assert re.search(rf"tablet GCM … {short} - \d{{4}}-\d\d-\d\d opted out", shown)
    assert "phone-token" not in shown
    assert re.search(r":\d\d accepted · phone The provider accepted the push\.", shown)
    assert (
        "no_device · no device The user had opted out on every device that the push was for. "
        "(opted_out) request " + REQUEST in shown
    )
    assert "(BadDeviceToken, status 400)" in shown
    assert "DeviceCreated · phone The device was registered." in shown
    for output in ("DevicesTableName", "LogGroupName", "DevicesLogGroupName"):
        assert sandbox.outputs[output] in shown


def test_an_id_of_a_device_stays_on_its_line(sandbox: Deployment, commands: Commands) -> None:
    id_ = "3f2b8c1e-9d47-4a6b-8f10-5e6d7c8b9a01"
    token = "0123456789abcdef" * 4
    register(sandbox, id_, token, service="APNS_VOIP_SANDBOX", user_id="u-9", language="zh-Hant-TW")

    answer = commands.at(sandbox, "why", "--user", "u-9")

    assert any(line.startswith(f"{id_} ") for line in answer.stdout.splitlines())


def test_the_findings_are_json_for_programs(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "json", "json-token", user_id="u-json")
    user, device = refs(sandbox, "u-json", "json")
    log(result("unsent", user, device, token=digest("json-token"), reason="expired"))

    findings = found(commands, sandbox, "--user", "u-json")

    assert findings["is_known"] is True
    assert [(each["device_id"], each["token"]) for each in findings["devices"]] == [("json", "…")]
    (push,) = findings["pushes"]
    assert push == {
        "at": push["at"],
        "device_id": "json",
        "device_ref": device,
        "user_ref": user,
        "outcome": "unsent",
        "status_code": None,
        "reason": "expired",
        "path": None,
        "meaning": "Its ttl ended before it was sent. (expired)",
        "request_id": REQUEST,
    }
    assert [change["change"] for change in findings["changes"]] == ["DeviceCreated"]


def test_a_device_that_cannot_get_a_message_has_the_field_that_does_not_fit(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "fire", "fire-token", service="ADM", user_id="u-unfit")
    invoke(sandbox, {"recipient": {"user_id": "u-unfit"}, "message": "m", "ttl": 0})

    def is_logged() -> bool:
        return bool(found(commands, sandbox, "--user", "u-unfit")["pushes"])

    assert within(60, is_logged)
    (push,) = found(commands, sandbox, "--user", "u-unfit")["pushes"]
    assert (push["outcome"], push["reason"], push["path"]) == ("rejected", "unfit", "ttl")
    assert "did not send it. The caller's report says more. (unfit, ttl)" in why(
        commands, sandbox, "--user", "u-unfit"
    )


def test_a_push_that_named_the_token_counts_for_the_user(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "direct", "a-token-named", user_id="u-direct")
    invoke(sandbox, {"recipient": {"token": "a-token-named", "service": "GCM"}, "message": "m"})

    def is_logged() -> bool:
        return bool(found(commands, sandbox, "--user", "u-direct")["pushes"])

    assert within(60, is_logged)
    (push,) = found(commands, sandbox, "--user", "u-direct")["pushes"]
    assert (push["device_id"], push["outcome"]) == ("direct", "accepted")


def test_a_device_of_a_dead_token_is_shown_as_gone_with_its_change(
    sandbox: Deployment, commands: Commands
) -> None:
    token = "sandbox-unregistered-why"
    register(sandbox, "dying", token, user_id="u-dying")
    _, device = refs(sandbox, "u-dying", "dying")
    invoke(sandbox, {"recipient": {"token": token, "service": "GCM"}, "message": "m"})

    def is_gone() -> bool:
        return bool(found(commands, sandbox, "--user", "u-dying")["gone"])

    assert within(60, is_gone)
    (gone,) = found(commands, sandbox, "--user", "u-dying")["gone"]
    assert (gone["device_ref"], gone["change"]) == (device, "DeadDeviceRemoved")
    assert gone["at"] is not None
    shown = why(commands, sandbox, "--user", "u-dying")
    assert "The registry keeps the user, who has no device now." in shown
    assert f"DeadDeviceRemoved · gone: {device} A push showed" in shown


def test_a_device_that_another_user_took_is_gone_without_a_line(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "shared", "shared-token", user_id="u-first")
    _, before = refs(sandbox, "u-first", "shared")
    register(sandbox, "shared", "shared-token", user_id="u-second")

    first = found(commands, sandbox, "--user", "u-first")
    second = found(commands, sandbox, "--user", "u-second")

    assert first["gone"] == [
        {"device_ref": before, "at": None, "change": None, "meaning": meanings.GONE_WITHOUT_A_LINE}
    ]
    assert (second["gone"], [each["device_id"] for each in second["devices"]]) == ([], ["shared"])
    assert [(each["change"], each["meaning"]) for each in second["changes"]] == [
        ("DeviceMoved", "The device came to this user from another one.")
    ]


def test_a_device_that_stayed_without_a_user_left_its_user(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "signed-out", "signed-out-token", user_id="u-signed-out")
    register(sandbox, "signed-out", "signed-out-token", user_id=None)

    (change,) = found(commands, sandbox, "--device", "signed-out")["changes"]

    assert (change["change"], change["meaning"]) == (
        "DeviceMoved",
        "The device left its user, and no user is signed in on it.",
    )


def test_expired_devices_do_not_count(sandbox: Deployment, commands: Commands) -> None:
    register(sandbox, "old", "old-token", user_id="u-old")
    expire(sandbox, "old")

    shown = why(commands, sandbox, "--user", "u-old")

    assert shown.startswith("u-old has 1 device (1 expired); 0 pushes since ")
    assert "The log has no push." in shown


def test_an_earlier_push_needs_a_longer_time(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "late", "late-token", user_id="u-late")
    user, device = refs(sandbox, "u-late", "late")
    log(result("accepted", user, device), ago=36 * 3_600)

    assert found(commands, sandbox, "--user", "u-late")["pushes"] == []
    assert len(found(commands, sandbox, "--user", "u-late", "--since", "2d")["pushes"]) == 1


def test_many_lines_are_read_page_by_page(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "busy", "busy-token", user_id="u-busy")
    user, device = refs(sandbox, "u-busy", "busy")
    group = sandbox.outputs["LogGroupName"]
    other = [{"timestamp": int(time.time() * 1000), "message": "{}"}] * 10_001
    client("logs", sandbox.url).put_log_events(
        logGroupName=group, logStreamName="written", logEvents=other
    )
    log(result("accepted", user, device))

    assert len(found(commands, sandbox, "--user", "u-busy")["pushes"]) == 1


@pytest.mark.parametrize("erased", [True, False])
def test_an_unknown_user_gets_an_explanation(
    sandbox: Deployment, commands: Commands, *, erased: bool
) -> None:
    if erased:
        register(sandbox, "erased", "erased-token", user_id="u-unknown")
        assert ask(sandbox, "DELETE", "/users/u-unknown") == 204

    shown = why(commands, sandbox, "--user", "u-unknown")

    assert shown.startswith(
        "The registry does not know the user u-unknown, so pushes to the user are not known. "
    )
    findings = found(commands, sandbox, "--user", "u-unknown")
    assert (findings["pushes"], findings["changes"], findings["gone"]) == (None, None, None)
    assert "No device was registered for the user, or the user was erased" in shown
    assert "PROJECT=" in shown
    assert f"Read for project {sandbox.application_id}: the table " in shown
    assert sandbox.outputs["LogGroupName"] not in shown, "it was not read"


def test_another_project_has_other_users(sandbox: Deployment, commands: Commands) -> None:
    body = {"token": "other-project", "service": "GCM", "user_id": "u-other"}
    path = f"/devices/other?application_id={OTHER_PROJECT}"
    assert ask(sandbox, "PUT", path, body) == 201

    there = found(commands, sandbox, "--user", "u-other", "--application-id", OTHER_PROJECT)

    assert not found(commands, sandbox, "--user", "u-other")["is_known"]
    assert [each["device_id"] for each in there["devices"]] == ["other"]


# --- why: a device, a token


def test_a_device_leads_to_its_own_pushes(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "one", "one-token", user_id="u-two-devices")
    register(sandbox, "two", "two-token", user_id="u-two-devices")
    user, one, two = refs(sandbox, "u-two-devices", "one", "two")
    log(result("accepted", user, one), result("transient", user, two))

    assert [push["outcome"] for push in found(commands, sandbox, "--device", "two")["pushes"]] == [
        "transient"
    ]
    shown = why(commands, sandbox, "--device", "two")
    assert shown.startswith("The device two is registered; 1 push since ")
    assert "Its user is u-two-devices" in shown


def test_a_device_without_pushes_names_the_pushes_to_its_user(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "quiet", "quiet-token", user_id="u-quiet", opted_out=True)
    register(sandbox, "alone", "alone-token")
    reached_none = "In this time nobody sent one, or a push to its user did not choose the device,"

    assert reached_none in why(commands, sandbox, "--device", "quiet")
    assert reached_none in why(commands, sandbox, "--token", "quiet-token")
    for question in (("--device", "alone"), ("--user", "u-quiet")):
        shown = why(commands, sandbox, *question)
        assert "In this time nobody sent one, or the request was refused as a whole," in shown


def test_an_unknown_device_says_how_to_go_on(sandbox: Deployment, commands: Commands) -> None:
    shown = why(commands, sandbox, "--device", "nonesuch")

    assert "the device nonesuch, so pushes to the device are not known." in shown
    assert found(commands, sandbox, "--device", "nonesuch")["pushes"] is None
    assert "This project has no such device." in shown
    assert "ask for its user (USER=…) or its token (TOKEN=…)" in shown


def test_a_token_of_any_service_leads_to_its_device(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "voip", "voip-token", service="APNS_VOIP")

    findings = found(commands, sandbox, "--token", "voip-token")

    assert [each["device_id"] for each in findings["devices"]] == ["voip"]
    assert "It has no user" in why(commands, sandbox, "--token", "voip-token")


def test_a_token_without_a_device_is_searched_by_its_digest(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "left", "left-token", user_id="u-left")
    user, device = refs(sandbox, "u-left", "left")
    log(result("dead_token", user, device, token=digest("left-token"), reason="Unregistered"))
    log(result("accepted", token=digest("left-token")))
    assert ask(sandbox, "DELETE", "/devices/left") == 204

    findings = found(commands, sandbox, "--token", "left-token")

    assert (findings["is_known"], findings["devices"]) == (False, [])
    assert [push["outcome"] for push in findings["pushes"]] == ["dead_token", "accepted"]
    assert [(gone["device_ref"], gone["change"]) for gone in findings["gone"]] == [
        (device, "DeviceDeleted")
    ]
    assert "left-token" not in json.dumps(findings)
    assert "No device of this project has the token." in why(
        commands, sandbox, "--token", "left-token"
    )


def test_the_device_of_an_erased_user_went_with_the_user(
    sandbox: Deployment, commands: Commands, log: Log
) -> None:
    register(sandbox, "forgotten", "forgotten-token", user_id="u-forgotten")
    user, device = refs(sandbox, "u-forgotten", "forgotten")
    log(result("accepted", user, device, token=digest("forgotten-token")))
    assert ask(sandbox, "DELETE", "/users/u-forgotten") == 204

    findings = found(commands, sandbox, "--token", "forgotten-token")

    erased = "The user was erased, and this device with the user."
    assert [each["meaning"] for each in findings["gone"]] == [erased]
    assert [(each["change"], each["meaning"]) for each in findings["changes"]] == [
        ("DeviceCreated", "The device was registered."),
        ("DeviceDeleted", erased),
    ]


# --- why: requests for later


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("--user", "u-later"), {"user", "device", "token", "one"}),
        (("--user", "u-unregistered"), {"unregistered"}),
        (("--device", "later"), {"user", "device", "token", "one"}),
        (("--device", "later-2"), {"user", "one"}),
        (("--token", "later-token"), {"user", "device", "token", "one"}),
        (("--token", "a-token-of-nobody"), {"nobody"}),
        (("--user", "u-later", "--application-id", OTHER_PROJECT), {"other"}),
    ],
)
def test_requests_for_later_are_shown(
    sandbox: Deployment,
    commands: Commands,
    question: tuple[str, ...],
    expected: set[str],
) -> None:
    register(sandbox, "later", "later-token", user_id="u-later")
    register(sandbox, "later-2", "later-token-2", user_id="u-later")
    user = {"user_id": "u-later"}
    send_at = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"
    requests: dict[str, dict[str, Any]] = {
        "user": {"recipients": [user, {"user_id": "u-somebody"}]},
        "one": {"recipient": user},
        "device": {"recipient": {**user, "device_id": "later"}},
        "token": {"recipient": {"token": "later-token", "service": "GCM"}},
        "unregistered": {"recipient": {"user_id": "u-unregistered"}},
        "nobody": {"recipient": {"token": "a-token-of-nobody", "service": "GCM"}},
        "other": {"recipient": user, "application_id": OTHER_PROJECT},
    }
    names = {
        invoke(
            sandbox,
            {
                "message": "secret",
                "send_at": send_at,
                "idempotency_key": name,
                **request,
            },
        )["schedule_id"]: name
        for name, request in requests.items()
    }
    schedules, group = client("scheduler", sandbox.url), sandbox.outputs["ScheduleGroupName"]

    scheduled = found(commands, sandbox, *question)["scheduled"]
    shown = commands.at(sandbox, "why", *question).stdout
    for name in names:
        schedules.delete_schedule(GroupName=group, Name=name)

    assert {names[each["schedule_id"]] for each in scheduled} == expected
    assert {each["at"] for each in scheduled} == {send_at}
    assert {each["recipients"] for each in scheduled} == ({1, 2} if "user" in expected else {1})
    assert "Scheduled requests" in shown
    assert all(each["schedule_id"] in shown for each in scheduled)
    assert "secret" not in shown
    assert found(commands, sandbox, *question)["scheduled"] == []


# --- why: errors, make, meanings


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--user", "u", "--since", "yesterday"],
            "SINCE= (--since) must be a number and m, h or d",
        ),
        (["--user", "u", "--since", "0d"], "such as 90m, 12h or 2d"),
        (["--user", "u", "--stack", "none"], "There is no stack none in us-east-1."),
        (["--user", "u", "--stack", "none"], "STACK= (--stack)"),
        (["--user", "u", "--stack", ""], "STACK= (--stack)"),
        *(
            (arguments, "Give one of USER=, DEVICE= and TOKEN= (--user, --device, --token).")
            for arguments in (
                [],
                ["--user", ""],
                ["--device", ""],
                ["--token", ""],
                ["--user", "u", "--token", "t"],
                ["--user", "u", "--token", ""],
            )
        ),
        (["--user", "u", "--application-id", ""], "PROJECT= (--application-id) is empty."),
    ],
)
def test_a_wrong_question_is_a_clear_line(
    sandbox: Deployment, commands: Commands, arguments: list[str], expected: str
) -> None:
    answer = commands.at(sandbox, "why", *arguments)

    assert answer.returncode in (1, 2)
    assert expected in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_stack_without_a_registry_is_a_clear_line(
    sandbox: Deployment, commands: Commands
) -> None:
    stack = create_stack(
        sandbox, {key: value for key, value in sandbox.outputs.items() if "Devices" not in key}
    )

    answer = commands.at(sandbox, "why", "--user", "u", "--stack", stack)

    assert answer.returncode == 1
    assert "as with the setting devices false" in answer.stderr


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("DevicesTableName", "The registry, table gone, cannot be read: ResourceNotFoundException"),
        ("LogGroupName", "The log gone cannot be read: ResourceNotFoundException"),
        ("DevicesLogGroupName", "The log gone cannot be read: ResourceNotFoundException"),
    ],
)
def test_a_part_that_cannot_be_read_is_a_clear_line(
    sandbox: Deployment, commands: Commands, output: str, expected: str
) -> None:
    register(sandbox, "any", "any-token", user_id="u-any")
    stack = create_stack(sandbox, {**sandbox.outputs, output: "gone"})

    answer = commands.at(sandbox, "why", "--user", "u-any", "--stack", stack)

    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith(expected)


def test_make_reads_only_the_user_of_the_command_line(sandbox: Deployment, tmp_path: Path) -> None:
    register(sandbox, "made", "made'token$(x)`y`", user_id="u-made")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "USER": "the-operator",
        "AWS_ENDPOINT_URL": sandbox.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        **CREDENTIALS,
    }
    command = ("make", "--no-print-directory", "why", "FORMAT=json", "SINCE=12h")

    answer = subprocess.run(
        [*command, "TOKEN=made'token$(x)`y`"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert [each["device_id"] for each in json.loads(answer.stdout)["devices"]] == ["made"]


def test_each_outcome_and_each_change_has_a_meaning() -> None:
    assert {outcome.value for outcome in Outcome} <= meanings.OUTCOMES.keys()
    assert meanings.CHANGES.keys() == set(Change.__args__)  # type: ignore[attr-defined]  # of a Literal


# --- devices export


def exported(text: str) -> dict[str, dict[str, Any]]:
    devices = [json.loads(line) for line in text.splitlines()]
    return {device["device_id"]: device for device in devices}


def test_an_export_has_each_device_as_the_http_api_shows_it(
    sandbox: Deployment, commands: Commands
) -> None:
    register(sandbox, "export-1", "export-token-1", user_id="u-e", tags=["beta"])
    register(sandbox, "export-2", "export-token-2", attributes={"größe": "groß"})
    register(sandbox, "export-old", "export-token-3")
    expire(sandbox, "export-old")
    url = sandbox.outputs["ApiUrl"]
    api = Api(url.rpartition("/")[2], url, sandbox.stack_name)

    answer = commands.at(sandbox, "devices", "export")

    assert answer.returncode == 0, answer.stderr
    devices = exported(answer.stdout)
    for device_id in ("export-1", "export-2"):
        assert devices[device_id] == api.ask("GET", f"/devices/{device_id}").result[1]
    assert "export-old" not in devices
    assert answer.stderr == (
        f"The export is complete: {len(devices):,} devices of project {sandbox.application_id}.\n"
    )


def test_an_export_of_another_project_has_only_its_devices(
    sandbox: Deployment, commands: Commands
) -> None:
    path = f"/devices/there?application_id={OTHER_PROJECT}"
    assert ask(sandbox, "PUT", path, {"token": "there", "service": "GCM"}) in (200, 201)
    register(sandbox, "here", "here")

    answer = commands.at(sandbox, "devices", "export", "--application-id", OTHER_PROJECT)

    assert "there" in exported(answer.stdout)
    assert "here" not in exported(answer.stdout)


def test_an_export_into_a_file_is_for_its_owner_and_replaces_nothing(
    sandbox: Deployment, commands: Commands, tmp_path: Path
) -> None:
    register(sandbox, "file", "file-token")
    file = tmp_path / "devices.jsonl"

    first = commands.at(sandbox, "devices", "export", "--output", file)
    content = file.read_text()
    second = commands.at(sandbox, "devices", "export", "--output", file)

    assert (first.returncode, first.stdout) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "file" in exported(content)
    assert second.returncode == 1
    assert second.stderr == f"{file} exists already. Name a new file.\n"
    assert file.read_text() == content


def test_a_failed_export_leaves_no_file(
    sandbox: Deployment, commands: Commands, tmp_path: Path
) -> None:
    stack = create_stack(sandbox, {**sandbox.outputs, "DevicesTableName": "gone"})
    file = tmp_path / "devices.jsonl"

    answer = commands.at(sandbox, "devices", "export", "--stack", stack, "--output", file)

    assert answer.returncode == 1
    assert answer.stderr.startswith("The registry, table gone, cannot be read: ")
    assert not file.exists()


def test_a_reader_that_has_enough_ends_the_export_quietly(
    sandbox: Deployment, tmp_path: Path
) -> None:
    register(sandbox, "pipe", "pipe-token")
    read, write = os.pipe()
    os.close(read)
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "operations", "devices", "export"],
            cwd=REPOSITORY,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "AWS_ENDPOINT_URL": sandbox.url,
                "AWS_DEFAULT_REGION": "us-east-1",
                **CREDENTIALS,
            },
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(write)

    assert (answer.returncode, answer.stderr) == (141, "")
