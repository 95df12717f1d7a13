"""The errors of a request, which repeat nothing of it.

A validation error names the field, the kind of its value and the cure, never the value: tokens
and texts must not reach a log through an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

MESSAGE_CHARACTERS: Final = 1_000_000
"""Where the message of an ``InvalidRequest`` is cut: an answer of Lambda has 6 MB at most."""

MAX_RESULTS: Final = 5_000
"""Maximum number of results in a report."""

_SHOWABLE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")

ID_RULE: Final = "must be 1 to 128 of letters, digits and ._:@|~+=-"

_RULES: Final = {
    "user_id": ID_RULE,
    "device_id": ID_RULE,
    "token": "must be 1 to 2,048 printable ASCII characters without spaces",
    "idempotency_key": "must be 1 to 256 printable characters",
    "color": "must be a color as #rrggbb",
    "event_time": "must be a time as 2026-12-24T18:00:00Z",
    "send_at": "must be a time with an offset, in whole seconds, as 2026-12-24T18:00:00+01:00",
    "vibrate_timings": "must be seconds as text, such as 0.5s",
    "light_on_duration": "must be seconds as text, such as 0.5s",
    "light_off_duration": "must be seconds as text, such as 0.5s",
    "analytics_label": "must be 1 to 50 of letters, digits and -_.~%",
}
_NULL_CHARACTER: Final = "must not hold a null character"

_MESSAGES: Final = {
    "missing": "is missing",
    "string_type": "must be text, not {kind}",
    "string_unicode": "must be valid Unicode; it holds half of a surrogate pair",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
    "int_type": "must be a whole number, not {kind}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "float_type": "must be a number, not {kind}",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false, not {kind}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list, not {kind}",
    "dict_type": "must be an object, not {kind}",
    "model_type": "must be an object, not {kind}",
    "too_short": "must not be empty",
    "too_long": "must hold at most {max_length}",
}


class Finding(NamedTuple):
    """A validation error or a warning. ``Remark`` is the same as JSON, for other programs."""

    path: str
    message: str

    def as_json(self) -> Remark:
        """Write it as a member of a report or of a problem."""
        return {"path": self.path, "message": self.message}

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class UnlistedFindings(Finding):
    """The last of a list of errors: stands for those that were counted and are not listed."""

    number: int

    def __new__(cls, number: int) -> Self:
        """Stand for so many."""
        self = super().__new__(cls, "request", f"… and {number:,} more")
        self.number = number
        return self


class Remark(TypedDict):
    """A validation error or a warning: the path of a field, what is wrong, and the cure."""

    path: str
    message: str


class InvalidRequest(Exception):  # noqa: N818  the contract's name; callers match on it
    """A request that cannot be sent as it stands. Nothing was sent.

    Its text is one error a line, ``path: what is wrong and the cure``.
    """

    def __init__(self, errors: Sequence[Finding]) -> None:
        self.errors = tuple(errors)
        super().__init__(_lines(self.errors))


class IdempotencyConflict(Exception):  # noqa: N818  the contract's name; callers match on it
    """The key stands for another request already. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key: the key stands for another request, one of the last 24 hours or one "
            "that is scheduled; give this request a key of its own"
        )


def as_invalid(error: InvalidRequest | IdempotencyConflict) -> InvalidRequest:
    """Give a refusal that no repetition changes as validation errors."""
    if isinstance(error, InvalidRequest):
        return error
    path, _, message = str(error).partition(": ")
    return InvalidRequest([Finding(path, message)])


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


class RegistryUnavailable(Exception):  # noqa: N818  named like IdempotencyStoreUnavailable
    """The registry of devices failed, or other writers changed the same devices for too long.

    A send has sent nothing. A change of the registry may have taken effect.

    Attributes
    ----------
    reason
        DynamoDB's code or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"recipients: the registry of devices is out of reach ({reason}); repeat the request"
        )


class SchedulerUnavailable(Exception):  # noqa: N818  named like IdempotencyStoreUnavailable
    """A schedule is not known to be made or deleted. Nothing was sent now.

    Attributes
    ----------
    reason
        The code of EventBridge Scheduler or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"send_at: the schedule is not known to be made, Scheduler is out of reach ({reason}); "
            "repeat the request with the same key"
        )


class TooManyDevices(InvalidRequest):
    """The users of a request have more devices than a report can hold. Nothing was sent.

    Attributes
    ----------
    number
        The number of results that the report would have.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        message = (
            f"the users have {number:,} devices, and a report holds at most {MAX_RESULTS:,} "
            "results, fewer with long tokens; split the request"
        )
        super().__init__([Finding("recipients", message)])


def that_fit(
    errors: Sequence[Finding], room: int, size: Callable[[Finding], int]
) -> tuple[list[Finding], int]:
    """Cut a list of errors so that it fits into an answer.

    Returns
    -------
    tuple
        The errors that fit, and the number of all the others.
    """
    *listed, last = errors
    more = last.number if isinstance(last, UnlistedFindings) else 0
    if not more:
        listed.append(last)
    for fitting, error in enumerate(listed):
        room -= size(error)
        if room < 0:
            return listed[:fitting], len(listed) - fitting + more
    return listed, more


def _lines(errors: Sequence[Finding]) -> str:
    fitting, more = that_fit(errors, MESSAGE_CHARACTERS, lambda error: len(str(error)) + 1)
    lines = [str(error) for error in fitting]
    if more:
        lines.append(f"… and {more:,} more")
    return "\n".join(lines)


def path_of(place: str, name: str) -> str:
    """Write the path of a member of an object, which itself stands at a place or at none.

    A name that could be content rather than a field's name is not shown.
    """
    shown = name if _SHOWABLE_NAME.fullmatch(name) else "(a name not shown)"
    return f"{place}.{shown}" if place else shown


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


def describe(error: ErrorDetails, field: str) -> str:
    """Tell one of pydantic's errors in words.

    Parameters
    ----------
    error
        As ``ValidationError.errors()`` gives it. Its input is looked at for its kind alone.
    field
        The name of the field that it is about.
    """
    match error["type"]:
        case "string_pattern_mismatch" | "string_too_short" | "string_too_long" as wrong:
            if field in _RULES:
                return _RULES[field]
            if wrong == "string_pattern_mismatch":
                return _NULL_CHARACTER
        case "int_type" if isinstance(error["input"], float):
            return "must be a whole number, without a fraction"
        case "request_rule":
            return error["msg"]
    message = _MESSAGES.get(error["type"], "is not valid")
    details: dict[str, Any] = {"kind": kind_of(error["input"]), **error.get("ctx", {})}
    return message.format_map(details)


_OF_THE_API: Final = frozenset({"messagerequest", "addresses", "messageconfiguration", "endpoints"})
"""Names of SendMessages and SendUsersMessages, which callers of Pinpoint know."""


def unknown_field(name: str, known: Mapping[str, Sequence[str]], place: str = "") -> str:
    """Tell that a field is unknown, and where a field of this name or nearly this name is.

    Parameters
    ----------
    name
        The name of the field.
    known
        The paths of each field that there is, by its name. Empty: no hint is looked for.
    place
        The path of the object that it stands in.
    """
    import difflib  # only for a request that is refused

    if not known:
        return "unknown field"
    if name.lower() in _OF_THE_API:
        return "unknown field; docs/leaving-pinpoint.md shows this call as a request"
    near = difflib.get_close_matches(name[:64].lower(), known, n=1)
    if not near:
        return "unknown field; leave it out"
    here = "recipients[]." if place.startswith("recipient") else f"{place}." if place else ""
    paths = known[near[0]]
    shown = near[0] if f"{here}{near[0]}" in paths else paths[0]
    return f"unknown field; did you mean {shown}?"
