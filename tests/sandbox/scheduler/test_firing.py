"""Schedules that fire, and what their targets get."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import Any

import pytest

from sandbox.clock import moved_ahead
from sandbox.scheduler.expressions import due_time
from sandbox.scheduler.firing import firing_schedules
from tests.support.schedules import DAY, GROUP, MACHINE, ScheduleSandbox, queue_arn
from tests.support.service_sandbox import eventually, refusal
from tests.support.templates import ACCOUNT, REGION

ARN = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{GROUP}/one"
ONE_CALL = {"RetryPolicy": {"MaximumRetryAttempts": 0}}
ABSENT = {"Arn": queue_arn("absent")}


def test_a_schedule_a_year_ahead_fires_when_the_clock_moves(sandbox: ScheduleSandbox) -> None:
    sandbox.make(seconds=364 * DAY)

    with moved_ahead(365 * DAY):
        assert sandbox.bodies() == ["one"]


def test_a_schedule_fires_at_its_time_without_a_moved_clock(sandbox: ScheduleSandbox) -> None:
    sandbox.make(seconds=1)

    assert sandbox.bodies() == ["one"]


@pytest.mark.parametrize(
    "others",
    [
        {"State": "DISABLED"},
        {"seconds": 3 * DAY},
        {
            "ScheduleExpression": "at(2026-03-29T02:30:00)",
            "ScheduleExpressionTimezone": "Europe/Berlin",
        },
    ],
)
def test_what_is_not_due_does_not_fire(sandbox: ScheduleSandbox, others: dict[str, Any]) -> None:
    sandbox.make("never", **others)
    sandbox.make("now")  # fires after the others that are due

    with moved_ahead(2 * DAY):
        assert sandbox.bodies() == ["now"]
    assert sandbox.counts() == (0, 1)


def test_a_deleted_schedule_and_those_of_a_deleted_group_do_not_fire(
    sandbox: ScheduleSandbox,
) -> None:
    schedules = sandbox.client("scheduler")
    schedules.create_schedule_group(Name="others")
    sandbox.make("deleted")
    sandbox.make("of-group", GroupName="others")
    schedules.delete_schedule(Name="deleted", GroupName=GROUP)
    schedules.delete_schedule_group(Name="others")
    sandbox.make("now")

    with moved_ahead(2 * DAY):
        assert sandbox.bodies() == ["now"]


def test_a_completed_schedule_is_deleted_if_it_asks_for_it(sandbox: ScheduleSandbox) -> None:
    sandbox.make("deleted", ActionAfterCompletion="DELETE")
    sandbox.make("kept")

    with moved_ahead(2 * DAY):
        assert sandbox.bodies(2) == ["deleted", "kept"]
        eventually(lambda: sandbox.names() == ["kept"])

    get = sandbox.client("scheduler").get_schedule
    assert "ResourceNotFoundException" in refusal(get, Name="deleted", GroupName=GROUP)


def test_a_kept_schedule_fires_once_until_it_gets_another_time(sandbox: ScheduleSandbox) -> None:
    sandbox.make(seconds=DAY)
    with moved_ahead(2 * DAY):
        sandbox.arrived()
    sandbox.make("marker", seconds=3 * DAY)
    with moved_ahead(4 * DAY):
        assert sandbox.bodies() == ["marker"]

    update = sandbox.client("scheduler").update_schedule
    update(**sandbox.schedule(seconds=5 * DAY, target={"Input": "changed"}))

    with moved_ahead(6 * DAY):
        assert sandbox.bodies() == ["changed"]


def test_a_disabled_schedule_fires_late_when_it_is_enabled(sandbox: ScheduleSandbox) -> None:
    wanted = sandbox.schedule(State="DISABLED")
    schedules = sandbox.client("scheduler")
    schedules.create_schedule(**wanted)

    with moved_ahead(2 * DAY):
        schedules.update_schedule(**{**wanted, "State": "ENABLED"})
        assert sandbox.bodies() == ["one"]


def test_a_schedule_starts_an_execution(sandbox: ScheduleSandbox) -> None:
    create_machine(sandbox)
    sandbox.start()

    with moved_ahead(2 * DAY):
        executions = sandbox.client("stepfunctions")
        arn = MACHINE.replace("stateMachine", "execution") + ":run"
        eventually(lambda: executions.list_executions(stateMachineArn=MACHINE)["executions"])
    assert json.loads(executions.describe_execution(executionArn=arn)["input"]) == {"n": 1}


def test_the_keywords_of_an_input_are_replaced(sandbox: ScheduleSandbox) -> None:
    names = ("schedule-arn", "scheduled-time", "execution-id", "attempt-number", "other")
    text = " ".join(f"<aws.scheduler.{name}>" for name in names)
    sandbox.make(
        ScheduleExpression="at(2100-01-01T00:00:00)",
        ScheduleExpressionTimezone="Asia/Tokyo",
        target={"Input": text},
    )

    with moved_ahead(80 * 366 * DAY):
        (body,) = sandbox.bodies()
    arn, time, execution, attempt, other = body.split()
    assert (arn, time) == (ARN, "2099-12-31T15:00:00Z")
    assert (len(execution), attempt, other) == (16, "1", "<aws.scheduler.other>")


def test_an_input_of_256_kb_reaches_the_queue_unchanged(sandbox: ScheduleSandbox) -> None:
    text = "é" * (128 * 1024)
    sandbox.make(target={"Input": text})

    with moved_ahead(2 * DAY):
        assert sandbox.bodies() == [text]


def test_a_failed_call_is_repeated_until_it_succeeds(sandbox: ScheduleSandbox) -> None:
    sandbox.make(target={**ABSENT, "Input": "<aws.scheduler.attempt-number>"})

    with moved_ahead(2 * DAY):
        sandbox.tried(queue_arn("absent"), 2)
        sandbox.queue("absent")
        (message,) = sandbox.arrived("absent")
    assert int(message["Body"]) > 2
    assert sandbox.counts("dead") == (0, 0)


def test_a_schedule_that_is_deleted_between_two_calls_is_not_called_again(
    sandbox: ScheduleSandbox,
) -> None:
    sandbox.make(target=ABSENT)
    with moved_ahead(2 * DAY):
        sandbox.tried(queue_arn("absent"))
        sandbox.client("scheduler").delete_schedule(Name="one", GroupName=GROUP)
        sandbox.queue("absent")
        for marker in ("first", "second"):  # longer than the wait between two calls
            sandbox.make(marker, seconds=DAY)
            sandbox.arrived()

    assert sandbox.counts("absent") == (0, 0)


def test_after_its_last_attempt_the_input_is_a_dead_letter(sandbox: ScheduleSandbox) -> None:
    policy = {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3_600}
    arn = sandbox.make(
        target={**ABSENT, "RetryPolicy": policy, "Input": '{"a": "é"}'},
        ActionAfterCompletion="DELETE",
    )
    expression = sandbox.client("scheduler").get_schedule(Name="one", GroupName=GROUP)

    with moved_ahead(2 * DAY):
        body, attributes = sandbox.dead_letter()

    assert body == '{"a": "é"}'
    assert len(attributes.pop("EXECUTION_ID")) == 16
    assert attributes == {
        "ERROR_CODE": "AWS.SimpleQueueService.NonExistentQueue",
        "ERROR_MESSAGE": "The specified queue does not exist.",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": "2",
        "SCHEDULED_TIME": expression["ScheduleExpression"][3:-1] + "Z",
        "SCHEDULE_ARN": arn,
        "TARGET_ARN": queue_arn("absent"),
    }
    eventually(lambda: sandbox.names() == [])


def test_an_event_that_is_too_old_is_a_dead_letter(sandbox: ScheduleSandbox) -> None:
    sandbox.make(target={**ABSENT, "RetryPolicy": {"MaximumEventAgeInSeconds": 60}})

    with moved_ahead(365 * DAY):
        sandbox.tried(queue_arn("absent"))
        with moved_ahead(61):
            _, attributes = sandbox.dead_letter()

    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"


@pytest.mark.parametrize(
    ("machine", "allowed", "code"),
    [
        (None, MACHINE, "AccessDenied"),
        (MACHINE, MACHINE + "-2", "AccessDeniedException"),
        (MACHINE, MACHINE, "StateMachineDoesNotExist"),
        (MACHINE.replace(REGION, "mars-1"), "*", "InvalidArn"),
        ("nonsense", "*", "InvalidArn"),
    ],
)
def test_the_dead_letter_names_the_error_of_the_target(
    sandbox: ScheduleSandbox, machine: str | None, allowed: str, code: str
) -> None:
    dead_only = {"sqs:SendMessage": queue_arn("dead"), "states:StartExecution": allowed}
    sandbox.permit(**dead_only)
    if machine is None:
        sandbox.make(target=ONE_CALL)
    else:
        sandbox.start(request={"StateMachineArn": machine}, target=ONE_CALL)

    with moved_ahead(2 * DAY):
        _, attributes = sandbox.dead_letter()

    assert attributes["ERROR_CODE"] == code
    assert (attributes["RETRY_ATTEMPTS"], sandbox.counts()) == ("0", (0, 0))


def test_the_name_of_an_execution_with_another_input_is_an_error(sandbox: ScheduleSandbox) -> None:
    create_machine(sandbox)
    sandbox.client("stepfunctions").start_execution(stateMachineArn=MACHINE, name="run", input="{}")
    sandbox.start(target=ONE_CALL)

    with moved_ahead(2 * DAY):
        _, attributes = sandbox.dead_letter()

    assert attributes["ERROR_CODE"] == "ExecutionAlreadyExists"


def test_without_permission_for_the_dead_letter_queue_the_event_is_lost(
    sandbox: ScheduleSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.permit(**{"sqs:SendMessage": [queue_arn("absent")]})
    sandbox.make(target={**ABSENT, **ONE_CALL, "Input": "secret"}, ActionAfterCompletion="DELETE")

    with moved_ahead(2 * DAY):
        eventually(lambda: sandbox.names() == [])

    assert "its dead-letter queue failed: AccessDenied" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("time", "zone", "utc"),
    [
        ("2026-12-24T18:00:00", "UTC", "2026-12-24T18:00:00"),
        ("2026-12-24T18:00:00", "Europe/Berlin", "2026-12-24T17:00:00"),
        ("2026-07-01T18:00:00", "Europe/Berlin", "2026-07-01T16:00:00"),
        ("2026-03-29T01:59:59", "Europe/Berlin", "2026-03-29T00:59:59"),
        ("2026-03-29T02:00:00", "Europe/Berlin", None),
        ("2026-03-29T03:00:00", "Europe/Berlin", "2026-03-29T01:00:00"),
        ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00"),
        ("2026-10-25T03:00:00", "Europe/Berlin", "2026-10-25T02:00:00"),
        ("2026-10-04T02:10:00", "Australia/Lord_Howe", None),
        ("2026-06-01T00:00:00", "Asia/Kathmandu", "2026-05-31T18:15:00"),
    ],
)
def test_a_time_is_read_in_its_time_zone(time: str, zone: str, utc: str | None) -> None:
    due = due_time(f"at({time})", zone)

    assert due == (datetime.fromisoformat(f"{utc}+00:00").timestamp() if utc else None)


def test_the_thread_ends_with_the_sandbox() -> None:
    def threads() -> int:
        return [thread.name for thread in threading.enumerate()].count("scheduler")

    before = threads()
    with firing_schedules(lambda *_: True):
        assert threads() == before + 1
    assert threads() == before


def create_machine(sandbox: ScheduleSandbox) -> None:
    definition = {"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}}
    sandbox.client("stepfunctions").create_state_machine(
        name="jobs",
        definition=json.dumps(definition),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine",
    )
