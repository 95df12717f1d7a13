"""A request as it came to an API: its bytes as they were signed, and its headers as they are told.

Which API it is for can be read from it. Whether there is such an API is not known here.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX: Final = "/execute-api"
"""Where the sandbox's APIs are: in AWS, the id is a part of the host's name."""

_ADDRESS: Final = re.compile(rf"{PREFIX}/([a-z0-9]+)(/.*)?", re.DOTALL)
_LETTERS: Final = 11  # bytes, of which base64 makes an id of the length that API Gateway's have


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes
    ----------
    request_id
        That API Gateway gives it.
    target, query
        Path and query as they came, the path with the sandbox's own prefix.
    headers
        By their names in lower case; lines of one name are joined by a comma.
    received_at
        In seconds since 1970.
    """

    request_id: str
    method: str
    target: str
    query: str
    protocol: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str
    port: str
    received_at: float

    @property
    def address(self) -> tuple[str, str] | None:
        """The API's id and the path in it, without escapes, as HTTP APIs tell a path."""
        match = _ADDRESS.fullmatch(self.target)
        return (match[1], unquote(match[2] or "/")) if match else None

    @property
    def user_agent(self) -> str:
        """What the client calls itself."""
        return self.headers.get("user-agent", "")


def request_of(environ: WSGIEnvironment, received_at: float) -> Request:
    """Read a request, to the end of its body."""
    # Not PATH_INFO, in which what was escaped can no longer be told from what was not.
    target, _, query = _as_sent(environ["RAW_URI"]).partition("?")
    return Request(
        request_id=base64.b64encode(secrets.token_bytes(_LETTERS)).decode(),
        method=environ["REQUEST_METHOD"],
        target=target,
        query=query,
        protocol=environ["SERVER_PROTOCOL"],
        headers=dict(_headers(environ)),
        body=environ["wsgi.input"].read(),
        source_ip=environ["REMOTE_ADDR"],
        port=environ["SERVER_PORT"],
        received_at=received_at,
    )


def _headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    named = [
        (name.removeprefix("HTTP_"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    ]
    return [(name.lower().replace("_", "-"), _as_sent(value)) for name, value in named]


def _as_sent(text: str) -> str:
    """Read as UTF-8 what WSGI passes as if it were Latin-1."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text
