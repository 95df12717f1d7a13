"""Remove what identifies a person or an account from text and JSON that others wrote."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_CALLER: Final = re.compile(
    r"(?:arn:[\w-]+:(?:iam|sts)::|\bA(?:IDA|ROA)[A-Z0-9]{12,}\b)[^\s\"'\\]*"
)
"""A user or a session. Its name is often a person's name or e-mail address."""

_ACCESS_KEY: Final = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_ACCOUNT: Final = re.compile(r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])")

_TOKENS: Final = frozenset({"UpdatedToken", "replacement_token"})
"""Members that hold a real device's token."""

_MARKUP: Final = re.compile(r"\s*<[!a-z]", re.IGNORECASE)


def redact(value: Any) -> Any:
    """Copy JSON without callers' ARNs, account ids, access keys and tokens of real devices."""
    match value:
        case dict():
            return {
                key: f"(a token of {len(member)} characters)"
                if key in _TOKENS and isinstance(member, str) and member
                else redact(member)
                for key, member in value.items()
            }
        case list() | tuple():
            return [redact(item) for item in value]
        case str():
            text = _CALLER.sub("(the caller)", value)
            return _ACCOUNT.sub("(account)", _ACCESS_KEY.sub("(access key)", text))
        case _:
            return value


_TOKEN_START: Final = 6
_SHORTENED_FROM: Final = 24
"""A shorter token would be shown in large part by its start."""


def shortened_token(token: str) -> str:
    """Return the start of a token, with which a person recognizes it and nobody can push."""
    start = token[:_TOKEN_START] if len(token) >= _SHORTENED_FROM else ""
    return f"{start}…"


def one_line(value: object, max_length: int = 2_000) -> str:
    """Write a redacted value on one line, without control characters for a terminal.

    Parameters
    ----------
    value
        Text stays as it is; anything else becomes JSON.
    max_length
        Longer text is cut to this many characters.
    """
    value = redact(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return printable(text, max_length)


def printable(text: str, max_length: int = 2_000) -> str:
    """Write text on one line, without control characters for a terminal. Nothing is redacted."""
    text = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def error_text(text: str) -> str:
    """Write an error's message on one line; of a web page say only that it is one."""
    if _MARKUP.match(text):
        return "a web page in place of an answer"
    return one_line(text, 400) or "it gave no reason"
