"""The unusual answers of a server, or of something between it and its client."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from soak.faults import CallFault, ServiceFault

_JSON: Final = {"Content-Type": "application/json"}
_GZIP: Final = {**_JSON, "Content-Encoding": "gzip"}
_TEXT: Final = {"Content-Type": "text/plain"}
_PAGE: Final = {"Content-Type": "text/html; charset=iso-8859-1"}
_XML: Final = {"Content-Type": "application/xml"}

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
"""Members of the services' answers, each with a value of the wrong kind."""


class Answer(NamedTuple):
    """An answer to write on a connection.

    Attributes
    ----------
    status
        The HTTP status; None for a body without a head.
    body
        What follows the head.
    headers
        All but Content-Length.
    length
        The Content-Length, if it is not the body's. The connection is closed after the body.
    interim
        The number of answers with status 103 before this one.
    """

    status: int | None
    body: bytes
    headers: Mapping[str, str] = _JSON
    length: int | None = None
    interim: int = 0


def _refused(status: int, code: str) -> Answer:
    """Make an error of AWS's APIs: the code is in a header and in the body."""
    body = json.dumps({"__type": code, "Message": "refused"}).encode()
    return Answer(status, body, {**_JSON, "x-amzn-ErrorType": code})


def _refused_by_s3(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code></Error>".encode(), _XML)


def _cut_gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)[:-12]


def _of_another_kind(body: bytes) -> bytes:
    """Replace each result by a text."""
    answer = json.loads(body)
    answer["Result"] = dict.fromkeys(answer["Result"], "SUCCESSFUL")
    return json.dumps(answer).encode()


CALL_ANSWERS: Final[Mapping[CallFault, Callable[[bytes], Answer]]] = {
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
    CallFault.TRUNCATED: lambda body: Answer(200, body[: len(body) // 2], length=len(body)),
    CallFault.WRONG_TYPE: lambda _: Answer(200, b"<html>It is all well.</html>", _PAGE),
    CallFault.NULL: lambda _: Answer(200, b"null"),
    CallFault.NOT_UTF8: lambda body: Answer(200, body[:-1] + b',"region":"S\xe3o Paulo"}'),
    CallFault.TOO_LONG: lambda body: Answer(200, body, length=_LONG),
    CallFault.CUT_GZIP: lambda body: Answer(200, _cut_gzip(body), _GZIP),
    CallFault.OTHER_KIND: lambda body: Answer(200, _of_another_kind(body)),
    CallFault.TOO_DEEP: lambda _: Answer(200, b"[" * _DEPTH + b"]" * _DEPTH),
    CallFault.NOT_HTTP: lambda _: Answer(None, b"220 ready, but not for HTTP\r\n"),
    CallFault.INTERIM: lambda body: Answer(200, body, interim=2),
}
"""Of SendMessages: each is a function of the correct answer."""

SERVICE_ANSWERS: Final[Mapping[ServiceFault, Answer]] = {
    ServiceFault.FAILED: _refused(500, "InternalServerError"),
    ServiceFault.THROTTLED: _refused(400, "ThrottlingException"),
    ServiceFault.UNAVAILABLE_NULL: Answer(503, b"null"),
    ServiceFault.UNAVAILABLE_TEXT: Answer(503, b"no healthy upstream", _TEXT),
    ServiceFault.UNAVAILABLE_NOT_UTF8: Answer(503, b'{"message":"d\xe9sol\xe9"}'),
    ServiceFault.DONE_NULL: Answer(200, b"null"),
    ServiceFault.DONE_NOT_UTF8: Answer(200, b'{"region":"S\xe3o Paulo"}'),
    ServiceFault.DONE_OTHER_KIND: Answer(200, json.dumps(_OTHER_KINDS).encode()),
}
"""Of DynamoDB, SQS, EventBridge and Scheduler."""


def _always(answer: Answer, _: Answer) -> Answer:
    return answer


S3_ANSWERS: Final[Mapping[ServiceFault, Callable[[Answer], Answer]]] = {
    **{fault: partial(_always, answer) for fault, answer in SERVICE_ANSWERS.items()},
    ServiceFault.FAILED: lambda _: _refused_by_s3(500, "InternalError"),
    ServiceFault.THROTTLED: lambda _: _refused_by_s3(503, "SlowDown"),
    ServiceFault.DONE_OTHER_KIND: lambda answer: answer._replace(
        body=answer.body[: len(answer.body) // 2], length=len(answer.body)
    ),
}
"""Of S3: each is a function of the correct answer."""
