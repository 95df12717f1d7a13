"""What EventBridge does with an event that fits a rule: it hands it to queues and functions.

moto's own hands a queue an event without its account, mangles text such as ``<id>`` in it,
knows no functions, and asks neither whether a rule is enabled nor how large an event is. Its
other targets stay moto's, and so does its comparison with a rule's pattern.
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
from moto.events.utils import EventTemplateParser
from moto.sqs.exceptions import SQSException

from sandbox.doors import EVENTBRIDGE
from sandbox.queues.in_moto import put, queue_of

REQUEST_LIMIT: Final = 1024 * 1024
"""The entries of one PutEvents call, in bytes."""

_TIME_BYTES: Final = 14  # what AWS counts for an entry's Time

_PARTS: Final = (
    *("version", "id", "detail-type", "source", "account"),
    *("time", "region", "resources", "detail"),
)

InvokeLater = Callable[[str, bytes], object]
"""Takes the ARN of a function and an event for it, or raises a LambdaClientError."""

_logger = logging.getLogger(__name__)


class _UndeliverableError(Exception):
    """An event cannot be handed to a target; the code is EventBridge's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def corrections(invoke_later: InvokeLater) -> list[tuple[type, str, Any]]:
    """Make the methods that put this right: the class of moto's, the name, the new one."""
    return [
        (Rule, "send_to_targets", _sending(Rule.send_to_targets, invoke_later)),
        (EventsBackend, "put_events", _within_limit(EventsBackend.put_events)),
    ]


def as_aws_tells_it(event: Mapping[str, Any]) -> dict[str, Any]:
    """Make the event that a target gets of what moto passes around."""
    told = {part: event[part] for part in _PARTS}
    time = event["time"]
    if not isinstance(time, str):
        time = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**told, "time": time}


def _sending(motos: Any, invoke_later: InvokeLater) -> Any:
    def send_to_targets(
        self: Rule, original_event: Mapping[str, Any], transform_input: bool = True
    ) -> None:
        event = as_aws_tells_it(original_event)
        # A rule without a pattern is a schedule, for which moto takes every event.
        if self.state != "ENABLED" or not self.event_pattern.get_pattern():
            return
        if not self.event_pattern.matches_event(event):  # type: ignore[arg-type]  # it is one
            return
        others = copy.copy(self)
        others.targets = []
        for target in list(self.targets):
            service = target["Arn"].split(":")[2]
            if service == "sqs":
                _deliver(self, target, event, _to_queue)
            elif service == "lambda":
                _deliver(self, target, event, _to_function(invoke_later))
            else:
                others.targets.append(target)
        if others.targets:
            motos(others, original_event, transform_input)

    return send_to_targets


def _deliver(
    rule: Rule,
    target: Mapping[str, Any],
    event: Mapping[str, Any],
    hand_over: Callable[[Mapping[str, Any], str], None],
) -> None:
    try:
        hand_over(target, _input(target, event))
    except _UndeliverableError as failure:
        _bury(rule, target, event, failure)


def _input(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Give what the target asks for of an event: all of it, a part, or something else."""
    if "Input" in target:
        return str(target["Input"])
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        # moto's own, which reads nothing but JSON.
        return _json(
            EventTemplateParser.parse(
                transformer["InputTemplate"],
                transformer.get("InputPathsMap", {}),
                {**event, "ingestion-time": event["time"]},  # type: ignore[typeddict-item]  # it is one
            )
        )
    part: Any = event
    for key in target.get("InputPath", "$").split(".")[1:]:
        part = part.get(key) if isinstance(part, Mapping) else None
    return _json(part)


def _to_queue(target: Mapping[str, Any], body: str) -> None:
    queue = queue_of(target["Arn"])
    if queue is None:
        raise _UndeliverableError("NO_RESOURCE", "The specified queue does not exist.")
    group = target.get("SqsParameters", {}).get("MessageGroupId")
    try:
        put(queue, body, door=EVENTBRIDGE, group_id=group)
    except SQSException as error:
        raise _UndeliverableError("INVALID_PARAMETER", error.message) from None


def _to_function(invoke_later: InvokeLater) -> Callable[[Mapping[str, Any], str], None]:
    def hand_over(target: Mapping[str, Any], payload: str) -> None:
        try:
            invoke_later(target["Arn"], payload.encode())
        except LambdaClientError as error:
            code = "NO_RESOURCE" if "NotFound" in error.error_type else "ERROR_FROM_TARGET"
            raise _UndeliverableError(code, error.message) from None

    return hand_over


def _bury(
    rule: Rule, target: Mapping[str, Any], event: Mapping[str, Any], failure: _UndeliverableError
) -> None:
    """Put an event into the target's dead-letter queue, as it came."""
    arn = target.get("DeadLetterConfig", {}).get("Arn", "")
    queue = queue_of(arn)
    if queue is None:
        _logger.warning(
            "event %s is lost: %s (%s), and no dead-letter queue",
            *(event["id"], failure, failure.code),
        )
        return
    told = {
        "RULE_ARN": rule.arn,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": str(failure),
    }
    attributes = {
        name: {"DataType": "String", "StringValue": value} for name, value in told.items()
    }
    put(queue, _json(event), door=EVENTBRIDGE, message_attributes=attributes)


def _within_limit(motos: Any) -> Any:
    def put_events(self: EventsBackend, events: list[dict[str, Any]]) -> Any:
        if sum(map(_size, events)) > REQUEST_LIMIT:
            raise ValidationException("Total size of the entries in the request is over the limit.")
        return motos(self, events)

    return put_events


def _size(entry: Mapping[str, Any]) -> int:
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")]
    texts += entry.get("Resources") or []
    return sum(len(str(text).encode()) for text in texts) + _TIME_BYTES * ("Time" in entry)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
