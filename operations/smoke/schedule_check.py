"""The check of ``send_at``: a schedule is made, shown and cancelled, and nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError

from operations.account import FailedCall, call
from operations.json_values import as_dict, read_json
from operations.redaction import one_line
from operations.smoke.context import CheckContext, CheckResult, outcome_counts, result_of
from operations.smoke.http_answers import describe
from operations.smoke.nonexistent_devices import request

_ROUTE: Final = "DELETE /schedules/{schedule_id}"

_AHEAD: Final = timedelta(days=1)
"""Time enough to cancel by hand, if the check cannot do it."""


def check_schedule(context: CheckContext) -> CheckResult:
    """Schedule a push to an invented device, read the schedule, and cancel it."""
    group = context.stack.outputs.get("ScheduleGroupName")
    if not group:
        return CheckResult("not deployed: there is no output ScheduleGroupName", is_deployed=False)
    send_at = (datetime.now(UTC) + _AHEAD).isoformat(timespec="seconds")
    report = _report(context, request(context.devices[0], send_at=send_at))
    if isinstance(report, FailedCall):
        return result_of(report)
    id_ = as_dict(report).get("schedule_id")
    if not isinstance(id_, str):
        failure = f"it returned no schedule_id: {one_line(report, 200)}"
        return CheckResult("no schedule", (failure,), report)
    named = {"GroupName": group, "Name": id_}
    found = call(context.account.client("scheduler"), "get_schedule", **named)
    cancelled = _cancel(context, named)
    failures = [*_of_report(report), *_of_schedule(found), *cancelled]
    return CheckResult(
        f"made ({outcome_counts(report)}), {_shown(found)}{'' if cancelled else ', cancelled'}",
        tuple(failures),
        {"report": report, "schedule": id_},
    )


def _report(context: CheckContext, event: dict[str, Any]) -> Any:
    answer = call(
        context.account.client("lambda"),
        "invoke",
        FunctionName=context.stack.function_name,
        Payload=json.dumps(event),
    )
    if isinstance(answer, FailedCall):
        return answer
    try:
        return read_json(answer["Payload"].read())
    except BotoCoreError as error:
        return FailedCall.of(error)


def _of_report(report: object) -> Iterator[str]:
    if as_dict(report).get("summary") != {"recipients": 1, "scheduled": 1}:
        yield f"its summary is {one_line(as_dict(report).get('summary'), 200)}"


def _of_schedule(found: dict[str, Any] | FailedCall) -> Iterator[str]:
    if isinstance(found, FailedCall):
        if not found.is_permission:
            yield f"the schedule cannot be read: {found}"
        return
    if found.get("ActionAfterCompletion") != "DELETE":
        yield "the schedule does not delete itself after its time"


def _shown(found: dict[str, Any] | FailedCall) -> str:
    if isinstance(found, FailedCall):
        return f"not shown: {found.code}"
    return f"shown: {one_line(found.get('ScheduleExpression'), 40)}"


def _cancel(context: CheckContext, named: dict[str, str]) -> list[str]:
    """Cancel over HTTP. If that is not possible, delete the schedule with Scheduler's own call."""
    failures = []
    if api_url := context.stack.outputs.get("ApiUrl"):
        answer = context.account.ask("DELETE", f"{api_url}/schedules/{named['Name']}")
        if isinstance(answer, FailedCall):
            failures.append(f"it is not cancelled: {answer}")
        elif answer.status == 204:
            return []
        else:
            shown = describe(answer, read_json(answer.body), _ROUTE)
            failures.append(f"it is not cancelled: {shown}")
    deleted = call(context.account.client("scheduler"), "delete_schedule", **named)
    if isinstance(deleted, FailedCall):
        failures.append(f"it is not deleted: {deleted}")
    return failures
