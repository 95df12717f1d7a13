"""The smoke test's check of ``send_at``, in a sandbox that is right and in one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from operations.account import Account
from operations.deployed import DeployedStack
from operations.smoke.context import CheckContext
from operations.smoke.nonexistent_devices import nonexistent_devices
from operations.smoke.schedule_check import check_schedule
from sandbox.running import running_sandbox
from sandbox.stack.account import REGION, client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import changed_policy


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Deployment]:
    with running_sandbox() as running:
        yield running.deployment


@pytest.fixture
def context(sandbox: Deployment, monkeypatch: pytest.MonkeyPatch) -> CheckContext:
    for name, value in {
        "AWS_ENDPOINT_URL": sandbox.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
    }.items():
        monkeypatch.setenv(name, value)
    stack = DeployedStack(sandbox.stack_name, dict(sandbox.outputs))
    return CheckContext(Account(), stack, nonexistent_devices(in_sandbox=True), {}, 1.0)


def pending(sandbox: Deployment) -> int:
    group = sandbox.outputs["ScheduleGroupName"]
    return len(client("scheduler", sandbox.url).list_schedules(GroupName=group)["Schedules"])


def without(context: CheckContext, output: str) -> CheckContext:
    outputs = {name: value for name, value in context.stack.outputs.items() if name != output}
    return replace(context, stack=replace(context.stack, outputs=outputs))


@contextmanager
def denied(sandbox: Deployment, action: str) -> Iterator[None]:
    """Take a permission from the function."""

    def change(all_: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in all_ if action not in each["Action"]]

    with changed_policy(sandbox, change):
        yield


@pytest.mark.parametrize("missing", ["", "ApiUrl"])
def test_a_schedule_is_made_shown_and_cancelled(
    missing: str, context: CheckContext, sandbox: Deployment
) -> None:
    result = check_schedule(without(context, missing))

    assert result.failures == ()
    assert result.message.startswith("made (1 scheduled), shown: at(")
    assert result.message.endswith(", cancelled")
    assert pending(sandbox) == 0


def test_a_stack_of_a_version_before_has_no_such_check(context: CheckContext) -> None:
    assert not check_schedule(without(context, "ScheduleGroupName")).is_deployed


def test_a_function_that_may_not_schedule_fails_the_check(
    context: CheckContext, sandbox: Deployment
) -> None:
    with denied(sandbox, "scheduler:CreateSchedule"):
        (failure,) = check_schedule(context).failures

    assert "SchedulerUnavailable" in failure


def test_a_schedule_that_cannot_be_cancelled_fails_the_check_and_is_deleted(
    context: CheckContext, sandbox: Deployment
) -> None:
    def change(all_: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**each, "Action": [one for one in each["Action"] if one != "scheduler:DeleteSchedule"]}
            for each in all_
        ]

    with changed_policy(sandbox, change):
        (failure,) = check_schedule(context).failures

    assert failure.startswith("it is not cancelled: ")
    assert "AccessDeniedException" in failure
    assert pending(sandbox) == 0
