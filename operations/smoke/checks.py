"""The table of checks, and those of every entry point but HTTP.

A check calls an entry point as a caller does and compares the answer with the contract. A new
one is a function of the ``CheckContext`` and a row of ``CHECKS``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError

from operations.account import FailedCall, call
from operations.json_values import as_dict, as_list, read_json
from operations.redaction import one_line
from operations.smoke import contract
from operations.smoke.context import CheckContext, CheckResult, outcome_counts, result_of
from operations.smoke.http_check import check_http
from operations.smoke.job_check import check_job
from operations.smoke.key_check import check_key
from operations.smoke.nonexistent_devices import request
from operations.smoke.registry_checks import check_registry, check_upkeep
from operations.smoke.schedule_check import check_schedule

_UNKNOWN_SERVICE: Final = "PIGEON"

_POLL_SECONDS: Final = 1.0


class Check(NamedTuple):
    """A check of one entry point, or of a part behind several.

    Attributes
    ----------
    name
        In the output and in the record.
    expected
        The answer that the contract requires, in one line.
    run
        Calls the entry point and compares.
    """

    name: str
    expected: str
    run: Callable[[CheckContext], CheckResult]


class _Invocation(NamedTuple):
    status: object
    error: str | None
    payload: Any


def _direct(context: CheckContext) -> CheckResult:
    invoked = _invoke(context, request(*context.devices))
    if isinstance(invoked, CheckResult):
        return invoked
    report = invoked.payload
    failures = [
        *contract.report_errors(report, context.devices, context.stack.application_id),
        *contract.differences(report, context.raw),
    ]
    return CheckResult(f"a report: {outcome_counts(report)}", tuple(failures), report)


def _dry_run(context: CheckContext) -> CheckResult:
    invoked = _invoke(context, request(*context.devices, dry_run=True))
    if isinstance(invoked, CheckResult):
        return invoked
    report, application_id = invoked.payload, context.stack.application_id
    failures = list(contract.report_errors(report, context.devices, application_id, dry_run=True))
    if any(
        (result.get("outcome"), result.get("reason")) != ("unsent", "dry_run")
        for result in contract.results_by_service(report).values()
    ):
        failures.append("not every outcome is unsent with the reason dry_run")
    calls = as_list(as_dict(report).get("requests"))
    # They are the calls of the raw answers, so both sides compared there got the same push.
    if sorted(map(_text, calls)) != sorted(
        _text(device.call(application_id)) for device in context.devices
    ):
        failures.append("the calls that it shows are not those of the request")
    return CheckResult(
        f"{len(calls)} calls shown: {outcome_counts(report)}", tuple(failures), report
    )


def _refusal(context: CheckContext) -> CheckResult:
    recipient = {"token": context.devices[0].token, "service": _UNKNOWN_SERVICE}
    event = request(recipients=[recipient], ttl="30")
    invoked = _invoke(context, event, error_expected=True)
    if isinstance(invoked, CheckResult):
        return invoked
    error = as_dict(invoked.payload)
    message = str(error.get("errorMessage"))
    failures = []
    if invoked.error is None:
        failures.append("the invocation carries no function error")
    if error.get("errorType") != "InvalidRequest":
        failures.append(f"the error is {one_line(error.get('errorType'), 60)}, not InvalidRequest")
    for path in ("recipients[0].service", "ttl"):
        if not any(line.startswith(f"{path}: ") for line in message.splitlines()):
            failures.append(f"the error at {path} is missing")
    if _UNKNOWN_SERVICE in message or context.devices[0].token in message:
        failures.append("the message repeats a value of the request")
    shown = f"{error.get('errorType')}: {'; '.join(message.splitlines())}"
    return CheckResult(one_line(shown, 400), tuple(failures), invoked.payload)


def _asynchronous(context: CheckContext) -> CheckResult:
    invoked = _invoke(context, request(context.devices[0]), kind="Event")
    if isinstance(invoked, CheckResult):
        return invoked
    failures = () if invoked.status == 202 else (f"Lambda answered {one_line(invoked.status, 60)}",)
    return CheckResult(
        f"{one_line(invoked.status, 60)}: accepted; a later failure is in the dead-letter queue",
        failures,
        {"StatusCode": invoked.status},
    )


def _queue(context: CheckContext) -> CheckResult:
    answer = call(
        context.account.client("sqs"),
        "send_message",
        QueueUrl=context.stack.outputs.get("QueueUrl"),
        MessageBody=json.dumps(request(context.devices[0])),
    )
    if isinstance(answer, FailedCall):
        return result_of(answer)
    return _await_log_line(context, str(answer.get("MessageId")))


def _event_bus(context: CheckContext) -> CheckResult:
    entry = {
        "EventBusName": context.stack.outputs.get("EventBusName"),
        "Source": "smoke-test",
        "DetailType": "Push Notification Requested",
        "Detail": json.dumps(request(context.devices[0])),
    }
    answer = call(context.account.client("events"), "put_events", Entries=[entry])
    if isinstance(answer, FailedCall):
        return result_of(answer)
    accepted = as_dict(next(iter(as_list(answer.get("Entries"))), None))
    if not (event_id := accepted.get("EventId")):
        return CheckResult("no answer", (f"the bus refused: {one_line(accepted, 200)}",), answer)
    return _await_log_line(context, str(event_id))


def _await_log_line(context: CheckContext, request_id: str) -> CheckResult:
    """Wait until the function's log has the result of a queued request."""
    logs = context.account.client("logs")
    end = time.monotonic() + context.wait_seconds
    while True:
        found = call(
            logs,
            "filter_log_events",
            logGroupName=context.stack.outputs.get("LogGroupName"),
            filterPattern=f'"{request_id}"',
        )
        if isinstance(found, FailedCall):
            message = f"accepted; the log cannot be read: {found.code}"
            return CheckResult(message, (), {"id": request_id})
        lines = (
            read_json(str(as_dict(event).get("message")).encode())
            for event in as_list(found.get("events"))
        )
        for line in map(as_dict, lines):
            if line.get("request_id") == request_id:
                return CheckResult(f"accepted and processed: {outcome_counts(line)}", (), line)
        if time.monotonic() > end:
            failure = f"not in the log within {context.wait_seconds:g} s"
            return CheckResult("accepted", (failure,), {"id": request_id})
        time.sleep(_POLL_SECONDS)


CHECKS: Final = (
    Check("direct", "a report that matches the raw answers", _direct),
    Check("dry run", "directly: the exact calls, and nothing sent", _dry_run),
    Check("bad request", "directly: a function error that names every validation error", _refusal),
    Check("asynchronous", "202", _asynchronous),
    Check("HTTP", "200, a report that matches the raw answers; unsigned, 403", check_http),
    Check("queue", "accepted and processed", _queue),
    Check("event bus", "accepted and processed", _event_bus),
    Check("later", "a request with send_at is scheduled, shown and cancelled", check_schedule),
    Check(
        "devices", "an invented one is registered, read and erased; unsigned, 403", check_registry
    ),
    Check("upkeep", "the device of a dead token is deleted, a newer one is kept", check_upkeep),
    Check("job", "each of ten rows has an outcome, and is listed unless accepted", check_job),
    Check("key", "enabled, and nothing is missing from its policy", check_key),
)
"""The checks in their order. The assumptions use the report of the first one."""


def _invoke(
    context: CheckContext,
    event: Mapping[str, Any],
    *,
    kind: str = "RequestResponse",
    error_expected: bool = False,
) -> _Invocation | CheckResult:
    """Invoke the function; if that or the function fails, return the result of the check."""
    answer = call(
        context.account.client("lambda"),
        "invoke",
        FunctionName=context.stack.function_name,
        InvocationType=kind,
        Payload=json.dumps(event),
    )
    if isinstance(answer, FailedCall):
        return result_of(answer)
    try:
        payload = read_json(answer["Payload"].read())
    except BotoCoreError as error:
        return result_of(FailedCall.of(error))
    invocation = _Invocation(answer.get("StatusCode"), answer.get("FunctionError"), payload)
    if invocation.error is None or error_expected:
        return invocation
    raised = as_dict(payload)
    failure = f"the function failed: {raised.get('errorType')}: {raised.get('errorMessage')}"
    return CheckResult("a function error", (one_line(failure, 600),), payload)


def _text(call: object) -> str:
    return json.dumps(call, sort_keys=True)
