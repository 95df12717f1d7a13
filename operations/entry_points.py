"""The ways into the function, each asked as its callers do, and held against the contract.

A new door is a function of a ``Visit`` and a row of ``DOORS``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError

from operations import contract
from operations.account import Refusal, call
from operations.check import DoorAnswer, Visit, summary, unasked
from operations.http_entry_point import http
from operations.nonexistent_devices import request
from operations.raw_answers import read_json
from operations.redaction import items, members, one_line

_NO_SERVICE: Final = "PIGEON"

_LOOK_SECONDS: Final = 1.0


class Door(NamedTuple):
    """A way in.

    Attributes
    ----------
    name
        What it is called.
    expected
        What the contract has it answer, in a line.
    ask
        Asks it.
    """

    name: str
    expected: str
    ask: Callable[[Visit], DoorAnswer]


class _Invocation(NamedTuple):
    status: object
    error: str | None
    payload: Any


def _direct(visit: Visit) -> DoorAnswer:
    invoked = _invoke(visit, request(*visit.devices))
    if isinstance(invoked, DoorAnswer):
        return invoked
    report = invoked.payload
    faults = [
        *contract.report_faults(report, visit.devices, visit.stack.application_id),
        *contract.differences(report, visit.raw),
    ]
    return DoorAnswer(f"a report: {summary(report)}", tuple(faults), report)


def _dry_run(visit: Visit) -> DoorAnswer:
    invoked = _invoke(visit, request(*visit.devices, dry_run=True))
    if isinstance(invoked, DoorAnswer):
        return invoked
    report, application_id = invoked.payload, visit.stack.application_id
    faults = list(contract.report_faults(report, visit.devices, application_id, dry_run=True))
    if any(
        (result.get("outcome"), result.get("reason")) != ("unsent", "dry_run")
        for result in contract.results_by_service(report).values()
    ):
        faults.append("not every outcome is unsent, by reason of dry_run")
    calls = items(members(report).get("requests"))
    # They are the calls that were sent raw: what was compared there was the same push.
    if sorted(map(_text, calls)) != sorted(
        _text(device.call(application_id)) for device in visit.devices
    ):
        faults.append("the calls that it shows are not those that the request asks for")
    return DoorAnswer(f"{len(calls)} calls shown: {summary(report)}", tuple(faults), report)


def _refusal(visit: Visit) -> DoorAnswer:
    recipient = {"token": visit.devices[0].token, "service": _NO_SERVICE}
    event = request(recipients=[recipient], ttl="30")
    invoked = _invoke(visit, event, error_expected=True)
    if isinstance(invoked, DoorAnswer):
        return invoked
    error = members(invoked.payload)
    message = str(error.get("errorMessage"))
    faults = []
    if invoked.error is None:
        faults.append("the invocation carries no function error")
    if error.get("errorType") != "InvalidRequest":
        faults.append(f"the error is {one_line(error.get('errorType'), 60)}, not InvalidRequest")
    for path in ("recipients[0].service", "ttl"):
        if not any(line.startswith(f"{path}: ") for line in message.splitlines()):
            faults.append(f"the fault at {path} is not named")
    if _NO_SERVICE in message or visit.devices[0].token in message:
        faults.append("the message repeats what the request held")
    said = f"{error.get('errorType')}: {'; '.join(message.splitlines())}"
    return DoorAnswer(one_line(said, 400), tuple(faults), invoked.payload)


def _asynchronous(visit: Visit) -> DoorAnswer:
    invoked = _invoke(visit, request(visit.devices[0]), kind="Event")
    if isinstance(invoked, DoorAnswer):
        return invoked
    faults = () if invoked.status == 202 else (f"Lambda answered {one_line(invoked.status, 60)}",)
    return DoorAnswer(
        f"{one_line(invoked.status, 60)}: taken; what fails later lies in the dead-letter queue",
        faults,
        {"StatusCode": invoked.status},
    )


def _queue(visit: Visit) -> DoorAnswer:
    answer = call(
        visit.account.client("sqs"),
        "send_message",
        QueueUrl=visit.stack.outputs.get("QueueUrl"),
        MessageBody=json.dumps(request(visit.devices[0])),
    )
    if isinstance(answer, Refusal):
        return unasked(answer)
    return _worked_off(visit, str(answer.get("MessageId")))


def _event_bus(visit: Visit) -> DoorAnswer:
    entry = {
        "EventBusName": visit.stack.outputs.get("EventBusName"),
        "Source": "smoke-test",
        "DetailType": "Push Notification Requested",
        "Detail": json.dumps(request(visit.devices[0])),
    }
    answer = call(visit.account.client("events"), "put_events", Entries=[entry])
    if isinstance(answer, Refusal):
        return unasked(answer)
    taken = members(next(iter(items(answer.get("Entries"))), None))
    if not (event_id := taken.get("EventId")):
        return DoorAnswer("no answer", (f"the bus refused: {one_line(taken, 200)}",), answer)
    return _worked_off(visit, str(event_id))


def _worked_off(visit: Visit, request_id: str) -> DoorAnswer:
    """Wait for the function's word on a request that was handed in, in its log."""
    logs = visit.account.client("logs")
    until = time.monotonic() + visit.wait_seconds
    while True:
        found = call(
            logs,
            "filter_log_events",
            logGroupName=visit.stack.outputs.get("LogGroupName"),
            filterPattern=f'"{request_id}"',
        )
        if isinstance(found, Refusal):
            said = f"taken; what became of it cannot be seen: {found.code}"
            return DoorAnswer(said, (), {"id": request_id})
        lines = (
            read_json(str(members(event).get("message")).encode())
            for event in items(found.get("events"))
        )
        for line in map(members, lines):
            if line.get("request_id") == request_id:
                return DoorAnswer(f"taken, and worked off: {summary(line)}", (), line)
        if time.monotonic() > until:
            fault = f"not worked off within {visit.wait_seconds:g} s, as far as the log tells"
            return DoorAnswer("taken", (fault,), {"id": request_id})
        time.sleep(_LOOK_SECONDS)


DOORS: Final = (
    Door("direct", "a report that agrees with the raw answers", _direct),
    Door("dry run", "directly: the exact calls, and nothing sent", _dry_run),
    Door("bad request", "directly: a function error that names every fault", _refusal),
    Door("asynchronous", "202", _asynchronous),
    Door("HTTP", "200, a report that agrees with the raw answers; unsigned, 403", http),
    Door("queue", "taken, and worked off", _queue),
    Door("event bus", "taken, and worked off", _event_bus),
)
"""Every door; the first one's report is what the rest of a smoke test looks at."""


def _invoke(
    visit: Visit,
    event: Mapping[str, Any],
    *,
    kind: str = "RequestResponse",
    error_expected: bool = False,
) -> _Invocation | DoorAnswer:
    """Invoke the function; where that fails, or the function does, give that as the answer."""
    answer = call(
        visit.account.client("lambda"),
        "invoke",
        FunctionName=visit.stack.function_name,
        InvocationType=kind,
        Payload=json.dumps(event),
    )
    if isinstance(answer, Refusal):
        return unasked(answer)
    try:
        payload = read_json(answer["Payload"].read())
    except BotoCoreError as error:
        return unasked(Refusal.of(error))
    invocation = _Invocation(answer.get("StatusCode"), answer.get("FunctionError"), payload)
    if invocation.error is None or error_expected:
        return invocation
    told = members(payload)
    fault = f"the function failed: {told.get('errorType')}: {told.get('errorMessage')}"
    return DoorAnswer("a function error", (one_line(fault, 600),), payload)


def _text(call: object) -> str:
    return json.dumps(call, sort_keys=True)
