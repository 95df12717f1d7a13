"""What the API of schedules keeps, refuses, and asks permission for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from sandbox import clock
from tests.support.schedules import DAY, GROUP, ROLE, ScheduleSandbox, at, queue_arn
from tests.support.service_sandbox import assumed, client, refusal
from tests.support.templates import ACCOUNT, REGION

SCHEDULES = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{GROUP}/*"
PASSED = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
SEND_ONCE = "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
START = "arn:aws:scheduler:::aws-sdk:sfn:startExecution"


def test_a_schedule_is_kept_as_it_was_made(sandbox: ScheduleSandbox) -> None:
    schedules = sandbox.client("scheduler")
    wanted = sandbox.schedule(
        Description="d",
        ScheduleExpressionTimezone="Europe/Berlin",
        ActionAfterCompletion="DELETE",
        StartDate=datetime(2026, 1, 1, tzinfo=UTC),
    )

    arn = sandbox.client("scheduler").create_schedule(**wanted)["ScheduleArn"]

    assert arn == SCHEDULES.replace("*", "one")
    kept = schedules.get_schedule(Name="one", GroupName=GROUP)
    assert kept["Target"].pop("RetryPolicy") == {
        "MaximumEventAgeInSeconds": 86_400,
        "MaximumRetryAttempts": 185,
    }
    assert {name: kept[name] for name in wanted} == wanted
    assert (kept["Arn"], kept["State"]) == (arn, "ENABLED")


def test_an_update_replaces_everything(sandbox: ScheduleSandbox) -> None:
    schedules = sandbox.client("scheduler")
    sandbox.make(Description="d", ActionAfterCompletion="DELETE", State="DISABLED")
    before = schedules.get_schedule(Name="one", GroupName=GROUP)

    schedules.update_schedule(**sandbox.schedule(target={"Input": "new"}))

    kept = schedules.get_schedule(Name="one", GroupName=GROUP)
    assert kept.get("Description") is None
    assert (kept["Target"]["Input"], kept["State"]) == ("new", "ENABLED")
    assert kept["ActionAfterCompletion"] == "NONE"
    assert kept["CreationDate"] == before["CreationDate"]


def test_schedules_are_listed_by_group_state_and_name(sandbox: ScheduleSandbox) -> None:
    schedules = sandbox.client("scheduler")
    sandbox.make("a-1")
    sandbox.make("a-2", State="DISABLED")
    sandbox.make("b-1")
    schedules.create_schedule(**{**sandbox.schedule("a-3"), "GroupName": "default"})

    def names(**filters: Any) -> list[str]:
        pages = schedules.get_paginator("list_schedules").paginate(**filters)
        return sorted(each["Name"] for page in pages for each in page["Schedules"])

    assert names() == ["a-1", "a-2", "a-3", "b-1"]
    assert names(GroupName=GROUP, NamePrefix="a", MaxResults=1) == ["a-1", "a-2"]
    assert names(State="DISABLED") == ["a-2"]


def test_a_name_is_taken_only_within_its_group(sandbox: ScheduleSandbox) -> None:
    create = sandbox.client("scheduler").create_schedule
    sandbox.make()

    assert "ConflictException" in refusal(create, **sandbox.schedule())
    create(**{**sandbox.schedule(), "GroupName": "default"})
    create_group = sandbox.client("scheduler").create_schedule_group
    assert "ConflictException" in refusal(create_group, Name=GROUP)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("create_schedule", {"GroupName": "absent"}),
        ("update_schedule", {}),
        ("update_schedule", {"GroupName": "absent"}),
        ("get_schedule", {}),
        ("get_schedule", {"GroupName": "absent"}),
        ("delete_schedule", {}),
        ("delete_schedule", {"GroupName": "absent"}),
        ("list_schedules", {"GroupName": "absent"}),
        ("get_schedule_group", {"Name": "absent"}),
        ("delete_schedule_group", {"Name": "absent"}),
    ],
)
def test_what_does_not_exist_is_not_found(
    sandbox: ScheduleSandbox, operation: str, parameters: dict[str, str]
) -> None:
    own = {"Name": "absent"} if operation != "list_schedules" else {}
    if operation.split("_")[0] in ("create", "update"):
        own = sandbox.schedule("absent")
    call = getattr(sandbox.client("scheduler"), operation)

    assert "ResourceNotFoundException" in refusal(call, **{**own, **parameters})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Name": "a b"}, "'Name' failed to satisfy constraint"),
        ({"Name": "a" * 65}, "have length less than or equal to 64"),
        ({"Name": "é"}, "'Name' failed"),
        ({"GroupName": "a/b"}, "'GroupName' failed"),
        ({"FlexibleTimeWindow": None}, "'FlexibleTimeWindow' failed"),
        ({"FlexibleTimeWindow": {}}, "'FlexibleTimeWindow.Mode' failed"),
        ({"FlexibleTimeWindow": {"Mode": "ON"}}, "enum value set: [OFF, FLEXIBLE]"),
        (
            {"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1}},
            "The sandbox supports only FlexibleTimeWindow",
        ),
        ({"ScheduleExpression": None}, "'ScheduleExpression' failed"),
        ({"ScheduleExpression": "rate(5 minutes)"}, "no rate expressions"),
        ({"ScheduleExpression": "cron(0 8 * * ? *)"}, "no cron expressions"),
        ({"ScheduleExpression": "at(2027-02-30T00:00:00)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "at(2027-02-28T00:00:00Z)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "at(2027-02-28)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "tomorrow"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": at(-120)}, "in the past"),
        ({"ScheduleExpressionTimezone": "Europe/Nowhere"}, "Invalid ScheduleExpressionTimezone"),
        ({"ScheduleExpressionTimezone": "../../etc/passwd"}, "Invalid ScheduleExpressionTimezone"),
        ({"ScheduleExpressionTimezone": "Europe"}, "Invalid ScheduleExpressionTimezone"),
        ({"State": "ON"}, "'State' failed"),
        ({"ActionAfterCompletion": "DROP"}, "'ActionAfterCompletion' failed"),
        ({"ClientToken": "a b"}, "'ClientToken' failed"),
        ({"Target": None}, "'Target' failed"),
        ({"Target": []}, "'Target' is no structure"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    sandbox: ScheduleSandbox, changes: dict[str, Any], reason: str
) -> None:
    check_refusal(sandbox, {**sandbox.schedule(), **changes}, reason)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"Arn": None}, "'Target.Arn' failed"),
        ({"Arn": "queue"}, "Provided Arn is not in correct format."),
        ({"Arn": SEND_ONCE}, "The sandbox supports as targets only"),
        ({"Arn": "arn:aws:lambda:us-east-1:1:function:f"}, "The sandbox supports as targets only"),
        ({"RoleArn": "role"}, "'Target.RoleArn' failed"),
        ({"RoleArn": ROLE + "-absent"}, "must allow AWS EventBridge Scheduler to assume the role"),
        ({"Input": None}, "without Input"),
        ({"Input": 1}, "'Target.Input' is no string"),
        ({"Input": "\ud800"}, "Member must be Unicode text"),
        ({"Input": "é" * 131_072 + "a"}, "longer than 262144 bytes"),
        ({"RetryPolicy": {"MaximumRetryAttempts": 186}}, "less than or equal to 185"),
        ({"RetryPolicy": {"MaximumRetryAttempts": True}}, "is no integer"),
        ({"RetryPolicy": {"MaximumEventAgeInSeconds": 59}}, "greater than or equal to 60"),
        ({"DeadLetterConfig": {"Arn": "queue"}}, "'Target.DeadLetterConfig.Arn' failed"),
        ({"KinesisParameters": {"PartitionKey": "a"}}, "not support KinesisParameters"),
        ({"Arn": START, "Input": "{"}, "no JSON object"),
        ({"Arn": START, "Input": "{}"}, "missing the following field(s): StateMachineArn"),
        ({"Arn": START, "Input": '{"stateMachineArn": "a"}'}, "missing the following field(s)"),
        ({"Arn": START, "Input": '{"StateMachineArn": 1}'}, "A field is no text"),
        ({"Arn": START, "Input": '{"StateMachineArn": "a", "Other": "b"}'}, "only the fields"),
        (
            {"Arn": START, "Input": '{"StateMachineArn": "a"}', "SqsParameters": {}},
            "does not support SqsParameters",
        ),
    ],
)
def test_a_target_that_does_not_fit_is_refused(
    sandbox: ScheduleSandbox, target: dict[str, Any], reason: str
) -> None:
    check_refusal(sandbox, sandbox.schedule(target=target), reason)


def check_refusal(sandbox: ScheduleSandbox, wanted: dict[str, Any], reason: str) -> None:
    """See that a request is refused as it is, by its own check and not by the client's."""
    name = wanted["Name"].encode("ascii", "backslashreplace").decode().replace(" ", "%20")
    body = {key: value for key, value in wanted.items() if value is not None and key != "Name"}
    status, answer = post(sandbox, f"/schedules/{name}", json.dumps(body).encode())

    assert (status, answer["__type"]) == (400, "ValidationException")
    assert reason in answer["message"]
    assert sandbox.names() == []


def post(sandbox: ScheduleSandbox, path: str, body: bytes) -> tuple[int, Any]:
    scope = f"20260101/{REGION}/scheduler/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=sandbox/{scope}, Signature=0",
        "Content-Type": "application/json",
    }
    request = Request(sandbox.url + path, data=body, headers=headers)  # noqa: S310  loopback
    try:
        with urlopen(request) as answer:  # noqa: S310  loopback
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(sandbox: ScheduleSandbox, body: bytes) -> None:
    status, answer = post(sandbox, "/schedules/one", body)

    assert (status, answer["__type"]) == (400, "ValidationException")


def test_tags_that_do_not_fit_are_refused(sandbox: ScheduleSandbox) -> None:
    status, answer = post(sandbox, "/schedule-groups/tagged", b'{"Tags": [{"Key": "a"}, 1]}')

    assert (status, answer["__type"]) == (400, "ValidationException")
    assert "'Tags.member.Value' failed" in answer["message"]
    assert "'Tags.member' is no structure" in answer["message"]


def test_the_default_group_stays(sandbox: ScheduleSandbox) -> None:
    delete = sandbox.client("scheduler").delete_schedule_group

    assert "ValidationException" in refusal(delete, Name="default")


def caller(sandbox: ScheduleSandbox, *statements: dict[str, Any]) -> Any:
    """Give a client of a role with these statements."""
    roles = sandbox.client("iam")
    role = roles.create_role(RoleName="caller", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    allowed = [{"Effect": "Allow", **statement} for statement in statements]
    roles.put_role_policy(
        RoleName="caller",
        PolicyName="schedules",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allowed}),
    )
    return client("scheduler", sandbox.url, assumed(role))


def test_a_role_with_the_permissions_uses_the_schedules_of_its_group(
    sandbox: ScheduleSandbox,
) -> None:
    operations = ("CreateSchedule", "GetSchedule", "UpdateSchedule", "DeleteSchedule")
    schedules = caller(
        sandbox,
        {"Action": [f"scheduler:{name}" for name in operations], "Resource": SCHEDULES},
        {"Action": "iam:PassRole", "Resource": ROLE, "Condition": PASSED},
    )
    other = {**sandbox.schedule(), "GroupName": "default"}

    schedules.create_schedule(**sandbox.schedule())
    schedules.update_schedule(**sandbox.schedule())
    schedules.get_schedule(Name="one", GroupName=GROUP)
    schedules.delete_schedule(Name="one", GroupName=GROUP)

    denied = f"on resource: {SCHEDULES.replace(GROUP, 'default').replace('*', 'one')}"
    assert denied in refusal(schedules.create_schedule, **other)
    assert denied in refusal(schedules.delete_schedule, Name="one")
    assert "AccessDeniedException" in refusal(schedules.list_schedules)


@pytest.mark.parametrize(
    ("passing", "reason"),
    [
        ({"Resource": ROLE + "s"}, ""),
        ({"Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}}, ""),
        ({"Condition": {"StringLike": {"iam:PassedToService": "*"}}}, "understand Condition"),
    ],
)
def test_a_role_without_the_permission_to_pass_the_execution_role_makes_no_schedule(
    sandbox: ScheduleSandbox, passing: dict[str, Any], reason: str
) -> None:
    schedules = caller(
        sandbox,
        {"Action": "scheduler:*", "Resource": SCHEDULES},
        {"Action": "iam:PassRole", "Resource": ROLE, **passing},
    )

    error = refusal(schedules.create_schedule, **sandbox.schedule())

    assert f"not authorized to perform: iam:PassRole on resource: {ROLE}" in error
    assert reason in error
    assert sandbox.names() == []


def test_people_move_the_clock_over_http(sandbox: ScheduleSandbox) -> None:
    def move(body: Any, media_type: str = "application/json") -> tuple[int, Any]:
        data = json.dumps(body).encode()
        headers = {"Content-Type": media_type}
        request = Request(f"{sandbox.url}/sandbox/clock", data, headers)  # noqa: S310  loopback
        try:
            with urlopen(request) as answer:  # noqa: S310  loopback
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    wrong_bodies: list[Any] = [{}, {"ahead_seconds": -1}, {"ahead_seconds": "1"}, [], 10**9]
    sandbox.make()
    with clock.moved_ahead(0):  # its end moves the clock back
        assert move({"ahead_seconds": 2 * DAY})[1]["ahead_seconds"] == 2 * DAY
        assert sandbox.bodies() == ["one"]
        for wrong in wrong_bodies:
            assert move(wrong)[0] == 400
        assert move({"ahead_seconds": 0}, "text/plain")[0] == 415
        with urlopen(f"{sandbox.url}/sandbox/clock") as answer:  # noqa: S310  loopback
            assert json.load(answer)["ahead_seconds"] == 2 * DAY


def test_a_fifo_queue_gets_the_group_of_its_message(sandbox: ScheduleSandbox) -> None:
    sandbox.queue("queue.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    sandbox.permit(**{"sqs:SendMessage": [queue_arn("queue.fifo")]})
    parameters = {"MessageGroupId": "g"}
    sandbox.make(target={"Arn": queue_arn("queue.fifo"), "SqsParameters": parameters})

    with clock.moved_ahead(2 * DAY):
        (message,) = sandbox.arrived("queue.fifo")

    assert message["Attributes"]["MessageGroupId"] == "g"
