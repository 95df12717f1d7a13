"""Read the parameters of a request, and check them against botocore's model of the API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from moto.core.utils import get_service_model
from moto.scheduler.exceptions import ValidationException
from moto.scheduler.responses import EventBridgeSchedulerResponse

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # JSON can have one, SQS cannot
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "timestamp": (int, float),
    "boolean": bool,
    "structure": dict,
    "list": list,
    "map": dict,
}


def parameters_of(handler: EventBridgeSchedulerResponse, operation: str) -> dict[str, Any]:
    """Return the parameters of a request, without those that it leaves out.

    Raises
    ------
    ValidationException
        If they do not fit the model.
    """
    shape = get_service_model("scheduler").operation_model(operation).input_shape
    body = _object(handler.body)
    found: dict[str, Any] = {}
    value: Any
    for name, member in shape.members.items():
        match member.serialization.get("location"):
            case "uri":
                # Not decoded: no valid name has an escape.
                value = handler.uri.partition("?")[0].rpartition("/")[2]
            case "querystring":
                value = _from_query(handler, member)
            case _:
                value = body.get(name)
        if value is not None:
            found[name] = value
    problems = list(_problems(found, shape, ""))
    if problems:
        errors = "error" if len(problems) == 1 else "errors"
        raise ValidationException(
            f"{len(problems)} validation {errors} detected: {'; '.join(problems)}"
        )
    return found


def _object(body: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValidationException("The body of the request is no JSON object.")
    return value


def _from_query(handler: EventBridgeSchedulerResponse, member: Any) -> Any:
    (text,) = handler.querystring.get(member.serialization["name"], [None])[:1]
    if member.type_name == "integer" and text is not None and text.isascii() and text.isdigit():
        return int(text)
    return text


def _problems(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Name what does not fit, in the words of the API and without the value."""
    kind: str = shape.type_name
    fits = isinstance(value, _TYPES[kind])
    if not fits or (isinstance(value, bool) and kind != "boolean"):
        yield f"Value at '{path}' is no {kind}"
        return
    for constraint in _broken(value, shape):
        yield f"Value at '{path}' failed to satisfy constraint: Member must {constraint}"
    if kind == "list":
        for each in value:
            yield from _problems(each, shape.member, f"{path}.member")
    if kind == "structure":
        for name, member in shape.members.items():
            inner = f"{path}.{name}" if path else name
            if value.get(name) is not None:
                yield from _problems(value[name], member, inner)
            elif name in shape.required_members:
                yield f"Value at '{inner}' failed to satisfy constraint: Member must not be null"


def _broken(value: Any, shape: Any) -> Iterator[str]:
    rules = shape.metadata
    if shape.type_name == "string":
        if _LONE_SURROGATE.search(value):
            yield "be Unicode text"
        if rules.get("enum") and value not in rules["enum"]:
            yield f"satisfy enum value set: [{', '.join(rules['enum'])}]"
        if "pattern" in rules and not re.fullmatch(rules["pattern"], value, re.ASCII):
            yield f"satisfy regular expression pattern: {rules['pattern']}"
    if shape.type_name == "integer":
        size, what = value, "value"
    elif shape.type_name in ("string", "list", "map"):
        size, what = len(value), "length"
    else:
        return
    if size < rules.get("min", size):
        yield f"have {what} greater than or equal to {rules['min']}"
    if size > rules.get("max", size):
        yield f"have {what} less than or equal to {rules['max']}"
