"""The smoke test's checks of the registry: in the sandbox, and against one that answers wrongly."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operations.account import Account
from operations.deployed import DeployedStack
from operations.redaction import redact
from operations.smoke.context import CheckContext, CheckResult
from operations.smoke.registry_checks import check_registry, check_upkeep
from sandbox.running import running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.commands.test_operations import ANY_JSON, PROJECT, SHORT_WAIT, Commands
from tests.support.loopback import LoopbackHandler, Reply, serving

JSON_TYPE = {"Content-Type": "application/json"}


# --- in the sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Deployment]:
    with running_sandbox() as running:
        yield running.deployment


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def without_rule(sandbox: Deployment) -> Iterator[None]:
    """Disable the rule that tells the registry about tokens."""
    events = client("events", sandbox.url)
    rule = {
        "Name": f"{sandbox.stack_name}-devices",
        "EventBusName": sandbox.outputs["EventBusName"],
    }
    events.disable_rule(**rule)
    yield
    events.enable_rule(**rule)


def items(sandbox: Deployment) -> list[Any]:
    table = sandbox.outputs["DevicesTableName"]
    found: list[Any] = client("dynamodb", sandbox.url).scan(TableName=table)["Items"]
    return found


def test_a_correct_registry_passes_and_is_empty_afterwards(
    sandbox: Deployment, commands: Commands
) -> None:
    result = commands.smoke(sandbox)

    assert result.returncode == 0, result.stdout
    assert "registered, read, listed, deleted and erased; unsigned, 403" in result.stdout
    assert "the device of a dead token deleted; one registered after" in result.stdout
    assert "dead-letter queue:" not in result.stdout
    assert items(sandbox) == []


@pytest.mark.usefixtures("without_rule")
def test_a_registry_without_upkeep_fails_and_is_empty_afterwards(
    sandbox: Deployment, commands: Commands
) -> None:
    result = commands.smoke(sandbox, *SHORT_WAIT)

    assert result.returncode == 1
    assert "the device of a dead token is still registered after 0.5 s" in result.stdout
    # The job may need more than the short time.
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"FAILED: [12] of 11 checks: upkeep(, job)?\.", last)
    assert items(sandbox) == []


@pytest.mark.usefixtures("without_rule")
def test_ctrl_c_leaves_no_device_behind(sandbox: Deployment, commands: Commands) -> None:
    with commands.started(sandbox, "smoke", "--wait", 600) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                if "devices: " in line:  # the check before; the next one waits for the rule
                    break
            while len(items(sandbox)) < 5:  # two devices, two tokens and their user
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()

    assert (process.returncode, errors) == (130, "")
    assert items(sandbox) == []


def test_permission_for_ids_of_the_smoke_test_suffices(
    sandbox: Deployment, commands: Commands
) -> None:
    api_id = sandbox.outputs["ApiUrl"].rpartition("/")[2]
    arn = f"arn:aws:execute-api:*:*:{api_id}/*/"
    paths = (
        *("POST/messages", "DELETE/schedules/*", "*/devices/smoke-test*"),
        *("GET/users/smoke-test*/devices", "DELETE/users/smoke-test*"),
    )
    statements = [
        {"Effect": "Allow", "NotAction": "execute-api:Invoke", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "execute-api:Invoke",
            "Resource": [arn + path for path in paths],
        },
    ]
    iam = client("iam", sandbox.url)
    iam.create_user(UserName="smoke")
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="smoke", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="smoke")["AccessKey"]

    result = commands.smoke(
        sandbox,
        AWS_ACCESS_KEY_ID=key["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"],
    )

    assert result.returncode == 0, result.stdout


def test_a_dead_letter_message_is_a_warning(sandbox: Deployment, commands: Commands) -> None:
    queues, url = client("sqs", sandbox.url), sandbox.outputs["DevicesDeadLetterQueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="{}")
    try:
        result = commands.smoke(sandbox)
    finally:
        queues.purge_queue(QueueUrl=url)

    assert result.returncode == 0
    assert "messages in its dead-letter queue: 1 (docs/runbook.md" in result.stdout


# --- a registry that answers wrongly


class Registry:
    """A registry, bus and queue in memory. A replaced answer has no effect."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.devices: dict[str, dict[str, Any]] = {}
        self.replaced: dict[str, Reply] = {}
        self.ignores_time = False
        self.dead_letters = "0"

    def take(self, method: str, path: str, headers: Any, body: bytes) -> Reply:
        id_ = ""
        if target := headers.get("X-Amz-Target"):
            name = target.partition(".")[2]
        else:
            id_ = path.split("/")[3]
            name = f"{method} {path.removeprefix('/api').replace(id_, 'ID')}"
            name += "" if "Authorization" in headers else " unsigned"
        self.asked.append(name)
        if name in self.replaced:
            return self.replaced[name]
        return self.rest(name, unquote(id_), body) if id_ else self.aws(name, json.loads(body))

    def rest(self, name: str, id_: str, body: bytes) -> Reply:
        match name:
            case "PUT /devices/ID":
                self.devices[id_] = {**json.loads(body), "device_id": id_}
                return reply(self.devices[id_], 201)
            case "GET /devices/ID" if id_ in self.devices:
                return reply(self.devices[id_])
            case "GET /users/ID/devices":
                return reply({"devices": self.of_user(id_)})
            case "DELETE /devices/ID" if self.devices.pop(id_, None):
                return Reply(204, b"")
            case "DELETE /users/ID":
                for device in self.of_user(id_):
                    del self.devices[device["device_id"]]
                return Reply(204, b"")
            case "GET /devices/ID unsigned":
                return reply({"message": "Forbidden"}, 403)
        return reply({"title": "There is no such device", "detail": "It left"}, 404)

    def of_user(self, user_id: str) -> list[dict[str, Any]]:
        return [device for device in self.devices.values() if device["user_id"] == user_id]

    def aws(self, operation: str, request: Any) -> Reply:
        if operation == "GetQueueAttributes":
            return reply({"Attributes": {"ApproximateNumberOfMessages": self.dead_letters}})
        for entry in request["Entries"]:
            dead = {each["token"] for each in json.loads(entry["Detail"])["tokens"]}
            if "Time" not in entry or self.ignores_time:
                kept = {k: each for k, each in self.devices.items() if each["token"] not in dead}
                self.devices = kept
        return reply({"FailedEntryCount": 0, "Entries": [{"EventId": "e"}] * 2})


def reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), JSON_TYPE)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    registry = Registry()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            return registry.take(self.command, self.path, self.headers, body)

        do_PUT = do_DELETE = LoopbackHandler.do_POST  # noqa: N815  http.server's names

    with serving(Handler) as url:
        registry.url = url
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "caller",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        yield registry


def run(
    check: Callable[[CheckContext], CheckResult], registry: Registry, **outputs: str
) -> CheckResult:
    expected = {
        "ApplicationId": PROJECT,
        "ApiUrl": f"{registry.url}/api",
        "DevicesFunctionName": "d:live",
        "DevicesDeadLetterQueueUrl": f"{registry.url}/q",
        "EventBusName": "bus",
    }
    stack = DeployedStack("s", {**expected, **outputs})
    return check(CheckContext(Account(), stack, [], {}, 0))


@pytest.mark.parametrize("check", [check_registry, check_upkeep])
def test_a_correct_registry_passes_each_check(registry: Registry, check: Any) -> None:
    result = run(check, registry)

    assert (result.failures, result.warnings) == ((), ())
    assert registry.devices == {}


def test_each_device_is_a_new_one_of_a_new_user(registry: Registry) -> None:
    bodies = [
        each["body"]
        for _ in range(2)
        for each in run(check_upkeep, registry).answer
        if each["request"] == "PUT /devices/{device_id}"
    ]

    for member, number in {"device_id": 4, "token": 4, "user_id": 2}.items():
        assert len({body[member] for body in bodies}) == number


@pytest.mark.parametrize("output", ["DevicesFunctionName", "ApiUrl"])
@pytest.mark.parametrize("check", [check_registry, check_upkeep])
def test_a_stack_without_registry_or_http_api_is_left_alone(
    registry: Registry, check: Any, output: str
) -> None:
    result = run(check, registry, **{output: ""})

    assert (result.is_deployed, result.failures, registry.asked) == (False, (), [])
    assert f"there is no output {output}" in result.message


EMPTY = Reply(204, b"")
FORBIDDEN = reply({"message": "Forbidden"}, 403)
OTHER = reply({"device_id": "other", "devices": []})


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("PUT /devices/ID", OTHER, "PUT /devices/{device_id}: it answered 200, application/json"),
        ("PUT /devices/ID", reply({}, 201), "token is not the one that was registered"),
        ("PUT /devices/ID", FORBIDDEN, "lack execute-api:Invoke on PUT /devices/{device_id}"),
        ("PUT /devices/ID", Reply(cut_off=True), "it cannot be called: ConnectionClosedError"),
        ("GET /devices/ID", OTHER, "GET /devices/{device_id}: not the device that was registered"),
        ("GET /devices/ID unsigned", OTHER, "GET /devices/{device_id}, unsigned: it answered 200"),
        ("GET /users/ID/devices", OTHER, "not the 1 devices that the user has"),
        ("DELETE /devices/ID", EMPTY, "GET /devices/{device_id}: it answered 200"),
        ("DELETE /devices/ID", reply({}, 404), "DELETE /devices/{device_id}: it answered 404"),
        ("DELETE /users/ID", EMPTY, "not the 0 devices that the user has"),
    ],
)
def test_a_wrong_answer_is_one_clear_line(
    registry: Registry, name: str, answer: Reply, expected: str
) -> None:
    registry.replaced[name] = answer

    (failure,) = run(check_registry, registry).failures

    assert expected in failure
    assert "\n" not in failure
    assert registry.asked[-1] == "DELETE /users/ID"


def test_a_user_that_cannot_be_erased_is_reported(registry: Registry) -> None:
    registry.replaced["DELETE /users/ID"] = reply({"message": "Internal Server Error"}, 500)

    first, last = run(check_registry, registry).failures

    assert first.startswith("DELETE /users/{user_id}: API Gateway answered 500")
    assert last.startswith("its invented user was not erased: DELETE /users/{user_id}: API Gateway")


def test_a_device_that_a_dead_token_leaves_registered_fails_the_check(registry: Registry) -> None:
    registry.replaced["PutEvents"] = reply({"Entries": [{"EventId": "e"}] * 2})

    (failure,) = run(check_upkeep, registry).failures

    assert failure == "the device of a dead token is still registered after 0 s"
    assert registry.devices == {}


def test_a_newer_device_that_an_old_event_deletes_fails_the_check(registry: Registry) -> None:
    registry.ignores_time = True

    (failure,) = run(check_upkeep, registry).failures

    assert failure.startswith("a device that was registered after the push should be kept: GET ")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"__type": "AccessDeniedException"}, 400), "the bus cannot be called: AccessDenied"),
        (reply({"Entries": [{"ErrorCode": "InternalFailure"}]}), "the bus refused: "),
    ],
)
def test_a_bus_that_refuses_fails_the_check(
    registry: Registry, answer: Reply, expected: str
) -> None:
    registry.replaced["PutEvents"] = answer

    (failure,) = run(check_upkeep, registry).failures

    assert failure.startswith(expected)
    assert registry.devices == {}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply({"Attributes": {"ApproximateNumberOfMessages": "3"}}), r"queue: 3 \(docs/runbook"),
        (reply({"__type": "AccessDeniedException"}, 403), "cannot be read: AccessDenied"),
        (reply({}), "queue: None"),
    ],
)
def test_a_dead_letter_queue_with_messages_or_without_answer_is_a_warning(
    registry: Registry, answer: Reply, expected: str
) -> None:
    registry.replaced["GetQueueAttributes"] = answer

    result = run(check_upkeep, registry)

    assert result.failures == ()
    (warning,) = result.warnings
    assert re.search(expected, warning)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    body=ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(),
    status=st.sampled_from([200, 201, 204, 400, 403, 503]),
    name=st.sampled_from(["PUT /devices/ID", "GET /devices/ID", "PutEvents", "GetQueueAttributes"]),
)
def test_an_answer_of_any_shape_is_handled(
    registry: Registry, body: bytes, status: int, name: str
) -> None:
    registry.replaced = {name: Reply(status, b"" if status == 204 else body, JSON_TYPE)}

    for check in (check_registry, check_upkeep):
        result = run(check, registry)

        assert [line for line in (*result.failures, *result.warnings) if "\n" in line] == []
        json.dumps(redact(result.answer))
        assert registry.devices == {}
