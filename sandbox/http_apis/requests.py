"""A request to an API: the bytes that were signed, and the headers."""

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
"""The path of the sandbox's APIs. In AWS, the API's id is part of the host name."""

_ADDRESS: Final = re.compile(rf"{PREFIX}/([a-z0-9]+)(/.*)?", re.DOTALL)
_ID_BYTES: Final = 11  # in base64 as long as an id of API Gateway


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes
    ----------
    request_id
        API Gateway's id of it.
    target, query
        Path and query as sent, the path with the sandbox's prefix.
    headers
        By names in lower case; lines with the same name are joined by a comma.
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
        """The API's id and the path in it, unescaped as HTTP APIs do it."""
        match = _ADDRESS.fullmatch(self.target)
        return (match[1], unquote(match[2] or "/")) if match else None

    @property
    def user_agent(self) -> str:
        """The client's User-Agent."""
        return self.headers.get("user-agent", "")


def request_of(environ: WSGIEnvironment, received_at: float) -> Request:
    """Read a request with its body."""
    # Not PATH_INFO, which no longer shows what was escaped.
    target, _, query = _as_sent(environ["RAW_URI"]).partition("?")
    return Request(
        request_id=base64.b64encode(secrets.token_bytes(_ID_BYTES)).decode(),
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
    """Read text as UTF-8, which WSGI passes as Latin-1."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text
