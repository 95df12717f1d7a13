"""What is wrong with a request, told without repeating any of it.

A fault names the field, the kind of what stands there and the cure, never the value:
tokens and texts must not reach a log through an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

MESSAGE_CHARACTERS: Final = 1_000_000
"""Where the message of an ``InvalidRequest`` is cut: an answer of Lambda has 6 MB at most."""

_HINTS: Final = 100
"""Unknown fields that get a near name suggested."""

_FREE_MAPS: Final = frozenset({"data", "context", "substitutions", "raw_content"})
_SHOWABLE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")

_RULES: Final = {
    "token": "must be 1 to 2,048 printable ASCII characters without spaces",
    "idempotency_key": "must be 1 to 256 printable characters",
}
_NULL_CHARACTER: Final = "must not hold a null character"

_MESSAGES: Final = {
    "missing": "is missing",
    "string_type": "must be text, not {kind}",
    "string_unicode": "must be valid Unicode; it holds half of a surrogate pair",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
    "int_type": "must be a whole number, not {kind}",
    "int_from_float": "must be a whole number, not a fraction",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false, not {kind}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list, not {kind}",
    "dict_type": "must be an object, not {kind}",
    "model_type": "must be an object, not {kind}",
    "too_short": "must not be empty",
    "too_long": "must hold at most {max_length}",
}


class Fault(NamedTuple):
    """One thing that is wrong: where, and what is wrong and the cure."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Remark(TypedDict):
    """What is to be said of a place in a request, as JSON: a fault, or a warning."""

    path: str
    message: str


class InvalidRequest(Exception):  # noqa: N818  the contract's name; callers match on it
    """A request that cannot be sent as it stands. Nothing was sent.

    Its text is one fault a line, ``path: what is wrong and the cure``.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(_lines(self.faults))


class IdempotencyConflict(Exception):  # noqa: N818  the contract's name; callers match on it
    """The key stands for another request already. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key: was used for another request within the last 24 hours; "
            "give this request a key of its own"
        )


class IdempotencyInProgress(Exception):  # noqa: N818  the contract's name; callers match on it
    """Another invocation is sending under the key. This one sent nothing.

    Attributes
    ----------
    seconds
        After so long the other has answered or was ended, and the request may be repeated.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            "idempotency_key: a request with this key is being sent right now; "
            f"repeat this one in {math.ceil(seconds)} seconds"
        )


class IdempotencyStoreUnavailable(Exception):  # noqa: N818  the contract's name; callers match on it
    """The key could not be taken, so nothing was sent.

    Attributes
    ----------
    reason
        The service's code or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"idempotency_key: nothing was sent, the table of keys is out of reach ({reason}); "
            "repeat the request with the same key"
        )


def _lines(faults: Sequence[Fault]) -> str:
    lines: list[str] = []
    room = MESSAGE_CHARACTERS
    for fault in faults:
        line = str(fault)
        room -= len(line) + 1
        if room < 0:
            lines.append(f"… and {len(faults) - len(lines):,} more")
            break
        lines.append(line)
    return "\n".join(lines)


def path_of(location: Iterable[int | str]) -> str:
    """Write a location as a path, ``("recipients", 3, "token")`` as ``recipients[3].token``.

    What lies in a map of the caller's own keys is told by the map alone, and a name
    that could be content rather than a field's name is not shown.
    """
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = part if _SHOWABLE_NAME.fullmatch(part) else "(a name not shown)"
            path += f".{name}" if path else name
            if part in _FREE_MAPS:
                break
    return path or "request"


def kind_of(value: object) -> str:
    """Name the JSON kind of a value: ``text``, ``a number``, ``a list``."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "something that is not JSON"


def describe(errors: Iterable[ErrorDetails], known_names: Sequence[str]) -> list[Fault]:
    """Tell pydantic's errors as faults, each once.

    Parameters
    ----------
    errors
        As ``ValidationError.errors()`` gives them. Their inputs are looked at for their
        kind alone.
    known_names
        The names to suggest for an unknown field that is nearly one of them.
    """
    faults: dict[Fault, None] = {}
    for error in errors:
        # Finding a near name takes 0.1 ms, so 6 MB of unknown fields get no such help.
        faults[_fault(error, known_names if len(faults) < _HINTS else ())] = None
    return list(faults)


def _fault(error: ErrorDetails, known_names: Sequence[str]) -> Fault:
    location = error["loc"]
    path = path_of(location)
    match error["type"]:
        case "extra_forbidden":
            return Fault(path, _unknown_field(str(location[-1]), known_names))
        case "string_pattern_mismatch" | "string_too_short" | "string_too_long" as wrong:
            field = str(location[-1])
            if field in _RULES:
                return Fault(path, _RULES[field])
            if wrong == "string_pattern_mismatch":
                return Fault(path, _NULL_CHARACTER)
        case "request_rule":
            return Fault(path, error["msg"])
    message = _MESSAGES.get(error["type"], "is not valid")
    details: dict[str, Any] = {"kind": kind_of(error["input"]), **error.get("ctx", {})}
    message = message.format_map(details)
    return Fault(path, f"a value {message}" if _inside_free_map(location) else message)


def _inside_free_map(location: Sequence[int | str]) -> bool:
    return any(part in _FREE_MAPS for part in location[:-1])


def _unknown_field(name: str, known_names: Sequence[str]) -> str:
    import difflib  # only for a request that is refused

    if not known_names:
        return "unknown field"
    near = difflib.get_close_matches(name[:64].lower(), known_names, n=1)
    return f"unknown field; did you mean {near[0]}?" if near else "unknown field; leave it out"
