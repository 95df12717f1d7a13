"""What a server, or something between it and its client, may send in place of an answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from soak.faults import CallFault, ServiceFault

_JSON: Final = {"Content-Type": "application/json"}
_GZIP: Final = {**_JSON, "Content-Encoding": "gzip"}
_TEXT: Final = {"Content-Type": "text/plain"}
_PAGE: Final = {"Content-Type": "text/html; charset=iso-8859-1"}

_LONG: Final = 10**9
_DEPTH: Final = 100_000

_OTHER_KINDS: Final = {
    # DynamoDB
    "Attributes": 7,
    "Responses": [["table"]],
    "UnprocessedKeys": "none",
    # SQS
    "MessageId": {"is": 1},
    # EventBridge
    "Entries": "all",
    "FailedEntryCount": [0],
}
"""Members that answers of the services have, each of another kind."""


class Answer(NamedTuple):
    """An answer as it is written on a connection.

    Attributes
    ----------
    status
        The HTTP status; None where the body is written without any head.
    body
        What follows the head.
    headers
        All but Content-Length.
    length
        The Content-Length, where it is not the body's. The connection is closed after the body.
    interim
        How many answers with status 103 come first.
    """

    status: int | None
    body: bytes
    headers: Mapping[str, str] = _JSON
    length: int | None = None
    interim: int = 0


def _refused(status: int, code: str) -> Answer:
    """Refuse as each API does: the code is in a header, or in the body."""
    body = json.dumps({"__type": code, "Message": "refused"}).encode()
    return Answer(status, body, {**_JSON, "x-amzn-ErrorType": code})


def _cut_gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)[:-12]


def _of_another_kind(told: bytes) -> bytes:
    """Give a text in place of each result."""
    answer = json.loads(told)
    answer["Result"] = dict.fromkeys(answer["Result"], "SUCCESSFUL")
    return json.dumps(answer).encode()


OF_CALL: Final[Mapping[CallFault, Callable[[bytes], Answer]]] = {
    CallFault.THROTTLED: lambda _: _refused(429, "TooManyRequestsException"),
    CallFault.FAILED: lambda _: _refused(500, "InternalServerErrorException"),
    CallFault.UNAVAILABLE: lambda _: _refused(503, "ServiceUnavailableException"),
    CallFault.FORBIDDEN: lambda _: _refused(403, "ForbiddenException"),
    CallFault.UNAVAILABLE_NULL: lambda _: Answer(503, b"null"),
    CallFault.UNAVAILABLE_TEXT: lambda _: Answer(503, b"no healthy upstream", _TEXT),
    CallFault.UNAVAILABLE_PAGE: lambda _: Answer(
        503, "<html>Le service est surchargé</html>".encode("latin-1"), _PAGE
    ),
    CallFault.UNAVAILABLE_GZIP: lambda _: Answer(503, _cut_gzip(b'{"Message":"refused"}'), _GZIP),
    CallFault.TRUNCATED: lambda told: Answer(200, told[: len(told) // 2], length=len(told)),
    CallFault.WRONG_TYPE: lambda _: Answer(200, b"<html>It is all well.</html>", _PAGE),
    CallFault.NULL: lambda _: Answer(200, b"null"),
    CallFault.NOT_UTF8: lambda told: Answer(200, told[:-1] + b',"region":"S\xe3o Paulo"}'),
    CallFault.TOO_LONG: lambda told: Answer(200, told, length=_LONG),
    CallFault.CUT_GZIP: lambda told: Answer(200, _cut_gzip(told), _GZIP),
    CallFault.OTHER_KIND: lambda told: Answer(200, _of_another_kind(told)),
    CallFault.TOO_DEEP: lambda _: Answer(200, b"[" * _DEPTH + b"]" * _DEPTH),
    CallFault.NO_HTTP: lambda _: Answer(None, b"220 ready, but not for HTTP\r\n"),
    CallFault.INTERIM: lambda told: Answer(200, told, interim=2),
}
"""To SendMessages: each made of what it should be."""

OF_SERVICE: Final[Mapping[ServiceFault, Answer]] = {
    ServiceFault.FAILED: _refused(500, "InternalServerError"),
    ServiceFault.THROTTLED: _refused(400, "ThrottlingException"),
    ServiceFault.UNAVAILABLE_NULL: Answer(503, b"null"),
    ServiceFault.UNAVAILABLE_TEXT: Answer(503, b"no healthy upstream", _TEXT),
    ServiceFault.UNAVAILABLE_NOT_UTF8: Answer(503, b'{"message":"d\xe9sol\xe9"}'),
    ServiceFault.DONE_NULL: Answer(200, b"null"),
    ServiceFault.DONE_NOT_UTF8: Answer(200, b'{"region":"S\xe3o Paulo"}'),
    ServiceFault.DONE_OTHER_KIND: Answer(200, json.dumps(_OTHER_KINDS).encode()),
}
"""Of DynamoDB, SQS and EventBridge."""
