"""The checks of the registry of devices: its routes, and its upkeep by what pushes show.

Each check registers devices with random ids and tokens for a user of its own, and erases that
user at the end, also after a failure and after Ctrl-C.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from operations.account import FailedCall, call
from operations.json_values import as_dict, as_list, read_json
from operations.redaction import one_line
from operations.smoke.context import CheckContext, CheckResult
from operations.smoke.http_answers import describe

_DEVICE: Final = "/devices/{device_id}"
_DEVICES: Final = "/users/{user_id}/devices"
_USER: Final = "/users/{user_id}"

_SERVICE: Final = "GCM"
_POLL_SECONDS: Final = 0.2
_BEFORE_THE_REGISTRATION: Final = timedelta(hours=1)
"""Longer than the clocks of this machine and of AWS differ."""


class _Difference(Exception):  # noqa: N818  ends a check, is no error of it
    """An answer differs from the contract; the message says how."""


class _Device(NamedTuple):
    """An invented device. Neither its id nor its token was ever used."""

    device_id: str
    token: str


class _Answer(NamedTuple):
    status: int
    body: object


class _Registry:
    """The registry over HTTP, for one invented user.

    Attributes
    ----------
    asked
        Each request with its answer, for the record.
    """

    def __init__(self, context: CheckContext) -> None:
        self.asked: list[dict[str, Any]] = []
        self._context = context
        self._user_id = _invented_id()

    def register(self, device: _Device) -> dict[str, Any]:
        """Register a new device of the user; return it as the registry answers with it."""
        members = {"token": device.token, "service": _SERVICE, "user_id": self._user_id}
        registered = as_dict(self.ask("PUT", _DEVICE, 201, device=device, members=members).body)
        for name, value in {**members, "device_id": device.device_id}.items():
            if registered.get(name) != value:
                raise _Difference(f"PUT {_DEVICE}: {name} is not the one that was registered")
        return registered

    def ask(
        self,
        method: str,
        path: str,
        *expected: int,
        device: _Device | None = None,
        members: object = None,
        signed: bool = True,
    ) -> _Answer:
        """Send a request.

        Raises
        ------
        _Difference
            If the answer does not have an expected status.
        """
        route = f"{method} {path}"
        name = route if signed else f"{route}, unsigned"
        # Encoded as one segment of the path: API Gateway decodes it.
        ids = {"device_id": device.device_id if device else "", "user_id": self._user_id}
        url = self._context.stack.outputs["ApiUrl"] + path.format(
            **{key: quote(id_, safe="") for key, id_ in ids.items()}
        )
        answer = self._context.account.ask(method, url, members, signed=signed)
        if isinstance(answer, FailedCall):
            self.asked.append({"request": name, "error": str(answer)})
            raise _Difference(f"{name}: it cannot be called: {answer}")
        body = read_json(answer.body)
        self.asked.append({"request": name, "status": answer.status, "body": body})
        if answer.status not in expected:
            raise _Difference(f"{name}: {describe(answer, body, route)}")
        return _Answer(answer.status, body)

    def erase(self) -> None:
        """Erase the user with all devices."""
        self.ask("DELETE", _USER, 204)


def check_registry(context: CheckContext) -> CheckResult:
    """Register, read, list, delete and erase."""
    return _run(context, _use_every_route)


def check_upkeep(context: CheckContext) -> CheckResult:
    """Put events about two devices on the bus, one of which must be deleted."""
    return _run(context, _report_a_dead_token, _dead_letters)


def _use_every_route(_: CheckContext, registry: _Registry) -> str:
    device = _invented_device()
    registered = registry.register(device)
    if registry.ask("GET", _DEVICE, 200, device=device).body != registered:
        raise _Difference(f"GET {_DEVICE}: not the device that was registered")
    registry.ask("GET", _DEVICE, 403, device=device, signed=False)
    _expect_devices(registry, [registered])
    registry.ask("DELETE", _DEVICE, 204, device=device)
    registry.ask("GET", _DEVICE, 404, device=device)
    registry.register(device)
    registry.erase()
    _expect_devices(registry, [])
    return "registered, read, listed, deleted and erased; unsigned, 403"


def _expect_devices(registry: _Registry, expected: list[dict[str, Any]]) -> None:
    if registry.ask("GET", _DEVICES, 200).body != {"devices": expected}:
        raise _Difference(f"GET {_DEVICES}: not the {len(expected)} devices that the user has")


def _report_a_dead_token(context: CheckContext, registry: _Registry) -> str:
    """Put the events on the bus that the function puts there after a push to a dead token.

    A push to an invented token cannot replace them: providers also call such a token invalid,
    and then the device stays. The other rules for these events get them as well, as they get
    those about the invented tokens of the other checks.
    """
    dead, newer = _invented_device(), _invented_device()
    registry.register(dead)
    registry.register(newer)
    pushed_before = {"Time": datetime.now(UTC) - _BEFORE_THE_REGISTRATION}
    # The event that has an effect is the last one, so that the other one had its time, too.
    entries = [_token_update(context, newer) | pushed_before, _token_update(context, dead)]
    answer = call(context.account.client("events"), "put_events", Entries=entries)
    if isinstance(answer, FailedCall):
        raise _Difference(f"the bus cannot be called: {answer}")
    for entry in map(as_dict, as_list(answer.get("Entries"))):
        if not entry.get("EventId"):
            raise _Difference(f"the bus refused: {one_line(entry, 200)}")
    end = time.monotonic() + context.wait_seconds
    while registry.ask("GET", _DEVICE, 200, 404, device=dead).status == 200:
        if time.monotonic() > end:
            raise _Difference(
                f"the device of a dead token is still registered after {context.wait_seconds:g} s"
            )
        time.sleep(_POLL_SECONDS)
    try:
        registry.ask("GET", _DEVICE, 200, device=newer)
    except _Difference as difference:
        raise _Difference(
            f"a device that was registered after the push should be kept: {difference}"
        ) from None
    return "the device of a dead token deleted; one registered after the push kept"


def _token_update(context: CheckContext, device: _Device) -> dict[str, Any]:
    """Write the event for a dead token, as docs/events/push-token-update.json describes it."""
    token = {"token": device.token, "service": _SERVICE, "status_code": 410, "reason": None}
    detail = {
        "version": 1,
        "request_id": _invented_id(),
        "idempotency_key": None,
        "application_id": context.stack.application_id,
        "change": "dead_token",
        "tokens": [token],
    }
    return {
        "EventBusName": context.stack.outputs.get("EventBusName"),
        "Source": "push-sender",
        "DetailType": "Push Token Update",
        "Detail": json.dumps(detail),
    }


def _dead_letters(context: CheckContext) -> Iterator[str]:
    """Warn if the registry's dead-letter queue has messages, or cannot be read."""
    name = "ApproximateNumberOfMessages"
    answer = call(
        context.account.client("sqs"),
        "get_queue_attributes",
        QueueUrl=context.stack.outputs.get("DevicesDeadLetterQueueUrl"),
        AttributeNames=[name],
    )
    if isinstance(answer, FailedCall):
        yield f"its dead-letter queue cannot be read: {answer.code}"
    elif (number := str(as_dict(answer.get("Attributes")).get(name))) != "0":
        yield (
            f"messages in its dead-letter queue: {one_line(number, 20)} "
            "(docs/runbook.md, devices-dead-letters)"
        )


def _run(
    context: CheckContext,
    check: Callable[[CheckContext, _Registry], str],
    warn: Callable[[CheckContext], Iterator[str]] = lambda _: iter(()),
) -> CheckResult:
    """Run a check for an invented user, and erase the user whatever happens."""
    for output, setting in {"DevicesFunctionName": "devices", "ApiUrl": "http_api"}.items():
        if not context.stack.outputs.get(output):
            message = f"left out: there is no output {output}, as with the setting {setting} false"
            return CheckResult(message, is_deployed=False)
    registry = _Registry(context)
    message, failures = "not as expected", []
    try:
        message = check(context, registry)
    except _Difference as difference:
        failures.append(str(difference))
    finally:
        try:
            registry.erase()
        except _Difference as difference:
            failures.append(f"its invented user was not erased: {difference}")
    return CheckResult(message, tuple(failures), registry.asked, warnings=tuple(warn(context)))


def _invented_device() -> _Device:
    return _Device(_invented_id(), f"push-sender-smoke-test-{uuid.uuid4()}")


def _invented_id() -> str:
    """Invent an id with a character that some identity providers use and a path must encode."""
    return f"smoke-test|{uuid.uuid4()}"
