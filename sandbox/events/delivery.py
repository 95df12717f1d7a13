"""Deliver an event that matches a rule to queues and functions.

moto itself sends events without an account to queues, damages text such as ``<id>`` in them, has no
functions as targets, and checks neither whether a rule is enabled nor the size of an event. moto
still serves the other targets, and matches patterns.

PutEvents succeeds once EventBridge has the events. A later failure concerns one rule or one target,
and must not make a client send all events again.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from moto.awslambda.exceptions import LambdaClientError
from moto.events.exceptions import ValidationException
from moto.events.models import EventsBackend, Rule
from moto.sqs.exceptions import SQSException

from sandbox.entry_points import EVENTBRIDGE
from sandbox.events.target_input import (
    NoJsonError,
    as_json,
    message_group,
    target_input,
    undefined_variables,
)
from sandbox.sqs.queues import put, queue_of

REQUEST_LIMIT: Final = 1024 * 1024
"""The limit for all entries of a PutEvents call, in bytes."""

_TIME_BYTES: Final = 14  # what AWS counts for an entry's Time

_PARTS: Final = (
    *("version", "id", "detail-type", "source", "account"),
    *("time", "region", "resources", "detail"),
)

_CODES_OF_LAMBDA: Final = {
    "ResourceNotFoundException": "NO_RESOURCE",
    "AccessDeniedException": "NO_PERMISSIONS",
}

InvokeLater = Callable[[str, bytes, str], object]
"""Takes the ARN of a function, an event for it, and the ARN of the rule.

It raises a LambdaClientError, also if the function's policy does not allow the rule.
"""

_ORIGINAL_SEND: Final[Any] = Rule.send_to_targets
_ORIGINAL_PUT_TARGETS: Final = EventsBackend.put_targets
_ORIGINAL_PUT_EVENTS: Final = EventsBackend.put_events

_logger = logging.getLogger(__name__)


class _UndeliverableError(Exception):
    """An event cannot be delivered to a target; the code is EventBridge's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def as_aws_sends_it(event: Mapping[str, Any]) -> dict[str, Any]:
    """Convert moto's event to the event that a target gets."""
    sent = {part: event[part] for part in _PARTS}
    return {**sent, "time": _iso_8601(event["time"])}


def _iso_8601(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unix_seconds(time: Any) -> float:
    """Read an entry's Time: the number that SDKs send, or a text as in RFC 3339.

    Raises
    ------
    ValidationException
        If it is neither, or in no year that an event can show.
    """
    try:
        if isinstance(time, str):
            read = datetime.fromisoformat(time)
            time = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        _iso_8601(time)
    except (OverflowError, OSError, TypeError, ValueError):
        raise ValidationException("Time of an entry is not usable.") from None
    return float(time)


def sending(invoke_later: InvokeLater) -> Any:
    """Make the method that delivers an event to the targets of a rule."""
    targets = {"sqs": _to_queue, "lambda": _to_function(invoke_later)}

    def send_to_targets(
        self: Rule, original_event: Mapping[str, Any], transform_input: bool = True
    ) -> None:
        event = as_aws_sends_it(original_event)
        if not _matches(self, event):
            return
        ingestion_time = _iso_8601(original_event.get("ingestion-time", original_event["time"]))
        for target in list(self.targets):
            deliver = targets.get(target["Arn"].split(":")[2])
            try:
                if deliver is not None:
                    body = target_input(target, event, self.arn, ingestion_time)
                    deliver(self, target, event, body)
                else:
                    others = copy.copy(self)
                    others.targets = [target]
                    _ORIGINAL_SEND(others, copy.deepcopy(original_event), transform_input)
            except Exception as failure:  # noqa: BLE001  any failure concerns only this target
                _keep_in_dead_letter_queue(self, target, event, failure)

    return send_to_targets


def _matches(rule: Rule, event: Mapping[str, Any]) -> bool:
    # A rule without a pattern is a schedule. moto would match every event.
    if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():
        return False
    try:
        return bool(rule.event_pattern.matches_event(event))  # type: ignore[arg-type]  # it has all members
    except Exception:  # moto fails on some patterns, which must not stop other rules
        _logger.exception("event %s: the pattern of %s failed", event["id"], rule.arn)
        return False


def _to_queue(_: Rule, target: Mapping[str, Any], event: Mapping[str, Any], body: str) -> None:
    queue = queue_of(target["Arn"])
    if queue is None:
        raise _UndeliverableError("NO_RESOURCE", "The specified queue does not exist.")
    group = message_group(target, event)
    try:
        put(queue, body, entry_point=EVENTBRIDGE, group_id=group)
    except SQSException as error:
        raise _UndeliverableError("INVALID_PARAMETER", error.message) from None


def _to_function(invoke_later: InvokeLater) -> Callable[..., None]:
    def deliver(rule: Rule, target: Mapping[str, Any], _: Mapping[str, Any], payload: str) -> None:
        try:
            invoke_later(target["Arn"], payload.encode(), rule.arn)
        except LambdaClientError as error:
            code = _CODES_OF_LAMBDA.get(error.error_type, "ERROR_FROM_TARGET")
            raise _UndeliverableError(code, error.message) from None

    return deliver


def _keep_in_dead_letter_queue(
    rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any], failure: Exception
) -> None:
    """Put an event into the target's dead-letter queue, unchanged."""
    code, message = _code_and_message(failure)
    texts = {
        "RULE_ARN": rule.arn,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
    }
    try:
        queue = queue_of(target.get("DeadLetterConfig", {}).get("Arn", ""))
        if queue is None:
            lost = "no dead-letter queue"
        else:
            attributes = {
                name: {"DataType": "String", "StringValue": value} for name, value in texts.items()
            }
            put(queue, as_json(event), entry_point=EVENTBRIDGE, message_attributes=attributes)
            return
    except Exception as refused:  # noqa: BLE001  any failure means that the event is lost
        lost = f"the dead-letter queue failed: {type(refused).__name__}"
    _logger.warning("event %s is lost: %s (%s), and %s", event["id"], message, code, lost)


def _code_and_message(failure: Exception) -> tuple[str, str]:
    """Return EventBridge's code for a failure, and a message without parts of the event."""
    if isinstance(failure, _UndeliverableError):
        return failure.code, str(failure)
    if isinstance(failure, NoJsonError):
        return "INVALID_PARAMETER", str(failure)
    if isinstance(failure, NotImplementedError):
        return "INVALID_PARAMETER", "The sandbox does not have targets of this kind."
    return "ERROR_FROM_TARGET", f"The target failed with {type(failure).__name__}."


def put_targets(
    self: EventsBackend, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]
) -> Any:
    """Refuse templates with undefined variables, as EventBridge does."""
    for target in targets:
        undefined = undefined_variables(target.get("InputTransformer") or {})
        if undefined:
            raise ValidationException(
                f"InputTemplate for target {target['Id']} has variables that InputPathsMap"
                f" does not define: {', '.join(undefined)}."
            )
    return _ORIGINAL_PUT_TARGETS(self, name, event_bus_arn, targets)


def put_events(self: EventsBackend, events: list[dict[str, Any]]) -> Any:
    """Check all entries before moto delivers the first one."""
    if sum(map(_size, events)) > REQUEST_LIMIT:
        raise ValidationException("Total size of the entries in the request is over the limit.")
    entries = []
    for event in events:
        entry = {name: value for name, value in event.items() if value is not None}
        self.describe_event_bus(self._normalize_event_bus_arn(entry.get("EventBusName")))
        if "Time" in entry:
            entry["Time"] = _unix_seconds(entry["Time"])
        try:
            json.loads(entry.get("Detail") or "{}")
        except (TypeError, RecursionError):
            raise ValidationException("Detail of an entry is not usable.") from None
        except ValueError:  # moto reports it, for this entry only
            pass
        entries.append(entry)
    return _ORIGINAL_PUT_EVENTS(self, entries)


def _size(entry: Mapping[str, Any]) -> int:
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")]
    texts += entry.get("Resources") or []
    return sum(len(str(text).encode()) for text in texts) + _TIME_BYTES * ("Time" in entry)
