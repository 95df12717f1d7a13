"""The responses of an API: its function's, or API Gateway's own refusal."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

_STATUSES: Final = range(200, 600)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# No line break, which would begin another header, and no character that a header cannot have.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OWN: Final = (
    *("connection", "content-length", "keep-alive", "proxy-connection"),
    *("te", "trailer", "transfer-encoding", "upgrade", "apigw-requestid"),
)
"""Headers that API Gateway sets, not the function."""

_MESSAGES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "Not Found",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request Entity Too Large",
    HTTPStatus.TOO_MANY_REQUESTS: "Too Many Requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal Server Error",
    HTTPStatus.SERVICE_UNAVAILABLE: "Service Unavailable",
}


class RefusedError(Exception):
    """API Gateway refuses a request.

    Attributes
    ----------
    status
        The response's.
    message
        The whole text of the response.
    challenge
        The value of its header ``WWW-Authenticate``, if it has one.
    """

    def __init__(self, status: HTTPStatus, challenge: str | None = None) -> None:
        self.status = status
        self.challenge = challenge
        self.message = _MESSAGES[status]
        super().__init__(self.message)


class UnusableAnswerError(Exception):
    """A function's result is no valid response."""


class Response(NamedTuple):
    """A response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refusal(refused: RefusedError) -> Response:
    """Make API Gateway's response to a refused request."""
    body = json.dumps({"message": refused.message}, separators=(",", ":"))
    headers = [("Content-Type", "application/json")]
    if refused.challenge is not None:
        headers.append(("www-authenticate", refused.challenge))
    return Response(refused.status, headers, body.encode())


def response_of(payload: bytes) -> Response:
    """Convert a function's result to a response, by payload format 2.0.

    Raises
    ------
    UnusableAnswerError
        If the result is no valid response.
    """
    try:
        answer = json.loads(payload)
    except (ValueError, RecursionError):
        raise UnusableAnswerError("no JSON") from None
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Response(HTTPStatus.OK, [("Content-Type", "application/json")], payload)
    status = answer["statusCode"]
    if not isinstance(status, int) or status not in _STATUSES:
        raise UnusableAnswerError("statusCode")
    headers = list(_headers(answer.get("headers") or {}))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "text/plain;charset=UTF-8"))
    headers += _cookies(answer.get("cookies") or [])
    return Response(status, headers, _body(answer))


def _headers(headers: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(headers, dict):
        raise UnusableAnswerError("headers")
    for name, value in headers.items():
        if not isinstance(value, str | int | float):
            raise UnusableAnswerError("headers")
        text = value if isinstance(value, str) else json.dumps(value)
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(text):
            raise UnusableAnswerError("headers")
        if name.lower() not in _OWN:
            yield name, text


def _cookies(cookies: Any) -> list[tuple[str, str]]:
    if not isinstance(cookies, list) or not all(
        isinstance(cookie, str) and _VALUE.fullmatch(cookie) for cookie in cookies
    ):
        raise UnusableAnswerError("cookies")
    return [("Set-Cookie", cookie) for cookie in cookies]


def _body(answer: Mapping[str, Any]) -> bytes:
    body = answer.get("body")
    if not isinstance(body, str | None):
        raise UnusableAnswerError("body")
    if answer.get("isBase64Encoded") is not True:
        # JSON can have half of a surrogate pair.
        return (body or "").encode(errors="replace")
    try:
        return base64.b64decode(body or "", validate=True)
    except (binascii.Error, ValueError):
        raise UnusableAnswerError("body") from None
