"""Make the input of a rule's target: the event, a part of it, or a filled template.

AWS does not document two cases. The sandbox assumes: a path that finds nothing gives an empty text,
and a JSON template that is no JSON with its values cannot be delivered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

RESERVED: Final = frozenset(
    {
        "aws.events.rule-arn",
        "aws.events.rule-name",
        "aws.events.event",
        "aws.events.event.json",
        "aws.events.event.ingestion-time",
    }
)
"""The variables that every template can use."""

_PLACEHOLDER: Final = re.compile(r"<([\w.-]+)>", re.ASCII)
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]+|\*)\]|\['([^']*)'\]")
_MISSING: Final = object()


class NoJsonError(ValueError):
    """A JSON template gives no JSON for this event."""


def target_input(
    target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str, ingestion_time: str
) -> str:
    """Return the input of a target.

    Parameters
    ----------
    target
        As in PutTargets.
    event
        As AWS sends it.
    rule_arn, ingestion_time
        For the variables of a template.

    Raises
    ------
    NoJsonError
        If the target's template gives no JSON for this event.
    """
    if "Input" in target:
        return str(target["Input"])
    if "InputTransformer" not in target:
        found = _at(target.get("InputPath", "$"), event)
        return as_json(None if found is _MISSING else found)
    transformer = target["InputTransformer"]
    paths = transformer.get("InputPathsMap") or {}
    values = {name: _at(path, event) for name, path in paths.items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event": {name: part for name, part in event.items() if name != "detail"},
        "aws.events.event.json": dict(event),
        "aws.events.event.ingestion-time": ingestion_time,
    }
    return _filled(transformer["InputTemplate"], values)


def message_group(target: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
    """Return the group of a queue's message: a text, or what a path in its place finds.

    User guide of EventBridge, "Event bus targets", "Dynamic path parameters".
    """
    group: str | None = (target.get("SqsParameters") or {}).get("MessageGroupId")
    if group is None or not group.startswith("$."):
        return group
    return _text(_at(group, event))


def undefined_variables(transformer: Mapping[str, Any]) -> list[str]:
    """Return the variables of a template that no path and no reserved name defines."""
    defined = RESERVED | (transformer.get("InputPathsMap") or {}).keys()
    return sorted({*_PLACEHOLDER.findall(transformer.get("InputTemplate", ""))} - defined)


def as_json(value: object) -> str:
    """Write JSON as the sandbox's EventBridge does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _filled(template: str, values: Mapping[str, Any]) -> str:
    if not _is_json(_substituted(template, lambda _: "null", lambda _: "")):
        # Plain text, as "<instance> is in state <state>".
        return _PLACEHOLDER.sub(lambda match: _text(values[match[1]]), template)
    filled = _substituted(
        template, lambda name: _value(values[name]), lambda name: _text(values[name])
    )
    if not _is_json(filled):
        raise NoJsonError("The InputTemplate gives no JSON for this event.")
    return filled


def _substituted(
    template: str, as_value: Callable[[str], str], within_text: Callable[[str], str]
) -> str:
    """Replace the placeholders of a JSON template; within texts, another function does it."""
    parts = []
    end = 0
    for text in _JSON_STRING.finditer(template):
        before = template[end : text.start()]
        parts.append(_PLACEHOLDER.sub(lambda match: as_value(match[1]), before))
        parts.append(_PLACEHOLDER.sub(lambda match: within_text(match[1]), text[0]))
        end = text.end()
    parts.append(_PLACEHOLDER.sub(lambda match: as_value(match[1]), template[end:]))
    return "".join(parts)


def _is_json(text: str) -> bool:
    """Return whether this is JSON, or JSON in each line, which AWS also accepts."""
    if _parses(text):
        return True
    lines = list(filter(str.strip, text.split("\n")))
    return bool(lines) and all(map(_parses, lines))


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _value(value: Any) -> str:
    return '""' if value is _MISSING else as_json(value)


def _text(value: Any) -> str:
    """Write a value within a text; EventBridge escapes nothing and drops the quotes of objects."""
    if value is _MISSING:
        return ""
    return value if isinstance(value, str) else as_json(value).replace('"', "")


def _at(path: str, event: Any) -> Any:
    """Return what a path finds; a list if the path has a wildcard."""
    steps = list(_STEP.finditer(path))
    if "$" + "".join(step[0] for step in steps) != path:
        return _MISSING
    found = [event]
    for step in steps:
        key = step[1] if step[3] is None else step[3]
        found = [each for inner in found for each in _inside(inner, key, step[2])]
    if "*" in (step[1] or step[2] for step in steps):
        return found
    return found[0] if found else _MISSING


def _inside(value: Any, key: str | None, index: str | None) -> list[Any]:
    if "*" in (key, index):
        if isinstance(value, dict):
            return list(value.values())
        return value if isinstance(value, list) else []
    if key is not None:
        return [value[key]] if isinstance(value, dict) and key in value else []
    number = int(index or 0)
    return [value[number]] if isinstance(value, list) and number < len(value) else []
