"""Text and JSON that others wrote, made fit to be shown to a person or sent with a bug report."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_CALLER: Final = re.compile(
    r"(?:arn:[\w-]+:(?:iam|sts)::|\bA(?:IDA|ROA)[A-Z0-9]{12,}\b)[^\s\"'\\]*"
)
"""A user or a session, which often bears a person's name or e-mail address."""

_ACCESS_KEY: Final = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_ACCOUNT: Final = re.compile(r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])")

_TOKENS: Final = frozenset({"UpdatedToken", "replacement_token"})
"""Members that hold a token which we have not made up ourselves."""

_MARKUP: Final = re.compile(r"\s*<[!a-z]", re.IGNORECASE)


def discreet(value: Any) -> Any:
    """Copy JSON without what tells of a person or an account: ARNs of callers, ids, tokens."""
    match value:
        case dict():
            return {
                key: f"(a token of {len(member)} characters)"
                if key in _TOKENS and isinstance(member, str) and member
                else discreet(member)
                for key, member in value.items()
            }
        case list() | tuple():
            return [discreet(item) for item in value]
        case str():
            text = _CALLER.sub("(the caller)", value)
            return _ACCOUNT.sub("(account)", _ACCESS_KEY.sub("(access key)", text))
        case _:
            return value


def one_line(value: object, longest: int = 2_000) -> str:
    """Write a value on one line, without what a terminal would take for a command.

    Parameters
    ----------
    value
        Text stays as it is; all else becomes JSON.
    longest
        Where it is cut, in characters.
    """
    value = discreet(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def error_text(text: str) -> str:
    """Write an error's message on one line; of a web page in its place, only that it is one."""
    if _MARKUP.match(text):
        return "a web page in place of an answer"
    return one_line(text, 400) or "it gave no reason"


def members(value: object) -> dict[str, Any]:
    """Give an object's members; whatever is no object has none."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Give a list's items; whatever is no list has none."""
    return value if isinstance(value, list) else []
