"""Problem documents: the responses to refused HTTP requests, after RFC 9457.

A problem has a kind (``type``, for programs) and lists the validation errors in ``faults``, by
path and without any value. It never holds a stack trace or the text of an exception.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, NotRequired

from typing_extensions import TypedDict

from push_sender.request.errors import Finding, Remark, that_fit

MEDIA_TYPE: Final = "application/problem+json"

_ERROR_BYTES: Final = 1_000_000
"""Room for the validation errors of one problem: Lambda's limit for a response is 6 MB."""


class Problem(TypedDict):
    """Why a request was not carried out."""

    type: str
    title: str
    status: int
    detail: str
    faults: NotRequired[list[Remark]]


class Kind(NamedTuple):
    """A kind of problem.

    Attributes
    ----------
    type
        The name of the kind: a URN, because it is not the address of a page.
    status
        The HTTP status.
    title
        The title, the same for every problem of the kind.
    """

    type: str
    status: HTTPStatus
    title: str


def _kind(name: str, status: HTTPStatus, title: str) -> Kind:
    return Kind(f"urn:push-sender:problem:{name}", status, title)


INVALID_REQUEST: Final = _kind(
    "invalid-request", HTTPStatus.BAD_REQUEST, "The request cannot be sent as it stands"
)
PROJECT_NOT_ALLOWED: Final = _kind(
    "project-not-allowed", HTTPStatus.FORBIDDEN, "The project is not one of this service"
)
NOT_FOUND: Final = _kind("not-found", HTTPStatus.NOT_FOUND, "There is nothing here")
KEY_IN_USE: Final = _kind(
    "key-in-use", HTTPStatus.CONFLICT, "A request with this key is being sent right now"
)
KEY_REUSED: Final = _kind("key-reused", HTTPStatus.CONFLICT, "The key was used for another request")
TOO_LARGE: Final = _kind(
    "too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large for the queue"
)
UNSUPPORTED_MEDIA_TYPE: Final = _kind(
    "unsupported-media-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON"
)
THROTTLED: Final = _kind(
    "throttled", HTTPStatus.TOO_MANY_REQUESTS, "The push service has no room for it right now"
)
REFUSED: Final = _kind("refused", HTTPStatus.BAD_GATEWAY, "The push service refuses this service")
KEYS_UNAVAILABLE: Final = _kind(
    "keys-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "The table of keys is out of reach"
)
QUEUE_UNAVAILABLE: Final = _kind(
    "queue-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "The queue is out of reach"
)
SCHEDULE_NOT_FOUND: Final = _kind(
    "schedule-not-found", HTTPStatus.NOT_FOUND, "There is no such schedule"
)
SCHEDULER_UNAVAILABLE: Final = _kind(
    "scheduler-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "Scheduler is out of reach"
)
INVALID_DEVICE: Final = _kind(
    "invalid-device", HTTPStatus.BAD_REQUEST, "The device cannot be registered as it stands"
)
DEVICE_NOT_FOUND: Final = _kind("device-not-found", HTTPStatus.NOT_FOUND, "There is no such device")
REGISTRY_UNAVAILABLE: Final = _kind(
    "registry-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "The registry is out of reach"
)

DEVICE_KINDS: Final = (
    INVALID_DEVICE,
    PROJECT_NOT_ALLOWED,
    DEVICE_NOT_FOUND,
    NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
    REGISTRY_UNAVAILABLE,
)
"""The kinds of the devices' routes."""

KINDS: Final = (
    INVALID_REQUEST,
    PROJECT_NOT_ALLOWED,
    NOT_FOUND,
    KEY_IN_USE,
    KEY_REUSED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    THROTTLED,
    REFUSED,
    KEYS_UNAVAILABLE,
    QUEUE_UNAVAILABLE,
    SCHEDULER_UNAVAILABLE,
)
"""The kinds of the routes that send."""

SCHEDULE_KINDS: Final = (SCHEDULE_NOT_FOUND, NOT_FOUND, SCHEDULER_UNAVAILABLE)
"""The kinds of the route that cancels what is scheduled."""


class HttpProblem(Exception):  # noqa: N818  it is what RFC 9457 calls it
    """A response in place of a report.

    Attributes
    ----------
    kind, detail
        The kind of problem, and a sentence about this case.
    errors
        The validation errors of the request.
    headers
        Further headers of the response.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Iterable[Finding] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.type)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def document(self) -> Problem:
        """Write the problem document. Errors beyond a million bytes are only counted."""
        problem: Problem = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status.value,
            "detail": self.detail,
        }
        if self.errors:
            listed, more = that_fit(
                self.errors, _ERROR_BYTES, lambda error: len(json.dumps(error._asdict()))
            )
            problem["faults"] = [error.as_json() for error in listed]
            if more:
                problem["detail"] += f" … and {more:,} more faults"
        return problem
