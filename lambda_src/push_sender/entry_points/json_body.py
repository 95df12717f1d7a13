"""Parse the body of an HTTP request as JSON, or explain why it is not valid.

It is stricter than Python's parser: only UTF-8, no NaN, and no name twice in one object, because
a program that checks the request on its way may read the other one of the two.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from email.message import Message
from typing import Any, Final, NoReturn

from push_sender.entry_points import problems
from push_sender.entry_points.problems import HttpProblem
from push_sender.request.errors import Finding, InvalidRequest

MEDIA_TYPE: Final = "application/json"

CONTAINERS: Final = 250_000
"""Maximum number of objects and lists in a body. Each takes up to a hundred times the memory of
its text. 5,000 recipients with their own maps need a tenth of this number."""

_STRING: Final = re.compile(r'"[^"]*"?')


class _DuplicateNameError(ValueError):
    """An object has the same name twice."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def json_body(event: Mapping[str, Any], fields: Container[str]) -> Any:
    """Read the body of a request.

    Parameters
    ----------
    event
        API Gateway's event, payload format 2.0.
    fields
        The names that an error may show. Another name may be content.

    Raises
    ------
    HttpProblem
        If the body is not declared as JSON.
    InvalidRequest
        If it is not valid JSON.
    """
    headers = event.get("headers") or {}
    _check_media_type(headers.get("content-type"), headers.get("content-encoding"))
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body
        text = raw.decode() if isinstance(raw, bytes) else raw
        if _has_too_many_containers(text):
            raise _invalid_json(f"must hold at most {CONTAINERS:,} objects and lists")
        return json.loads(text, parse_constant=_reject_constant, object_pairs_hook=_object)
    except _DuplicateNameError as duplicate:
        name = duplicate.name if duplicate.name in fields else "a name"
        raise _invalid_json(f"{name} stands twice in one object; keep one of the two") from None
    except json.JSONDecodeError as fault:
        raise _invalid_json(
            f"must be JSON; it has an error at line {fault.lineno}, column {fault.colno}"
            if text
            else "the body is missing"
        ) from None
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid_json("must be JSON in UTF-8, not nested too deeply") from None


def _has_too_many_containers(text: str) -> bool:
    """Count objects and lists, but not braces in strings, before the parser creates them."""
    if text.count("{") + text.count("[") <= CONTAINERS:
        return False
    bare = _STRING.sub("", text.replace(r"\\", "").replace(r"\"", ""))
    return bare.count("{") + bare.count("[") > CONTAINERS


def _check_media_type(content_type: str | None, content_encoding: str | None) -> None:
    declared = Message()  # the standard library's parser of such headers
    declared["Content-Type"] = content_type or ""
    if content_type is None or declared.get_content_type() != MEDIA_TYPE:
        detail = f"Say Content-Type: {MEDIA_TYPE}"
    elif str(declared.get_param("charset", "utf-8")).lower() not in ("utf-8", "utf8", "us-ascii"):
        detail = "JSON is in UTF-8; leave the charset out"
    elif (content_encoding or "identity").strip().lower() != "identity":
        detail = "Send the body as it is, without a Content-Encoding"
    else:
        return
    raise HttpProblem(problems.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept": MEDIA_TYPE})


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _DuplicateNameError(next(name for name, count in counts.items() if count > 1))
    return members


def _reject_constant(_: str) -> NoReturn:
    raise ValueError


def _invalid_json(message: str) -> InvalidRequest:
    return InvalidRequest([Finding("request", message)])
