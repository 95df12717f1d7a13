"""What fields must be together, and what is legal but probably a mistake.

The types of single fields are in ``request``. A rule of one service is looked at only
where a recipient uses that service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from push_sender.audience import Audience
from push_sender.faults import Fault
from push_sender.fcm_v1 import RESERVED_DATA_KEY
from push_sender.payload import least_bytes
from push_sender.request import Content, Contents, PushRequest
from push_sender.services import APNS_MESSAGE, GCM_MESSAGE, MessageShape, Service

_APNS_COLLAPSE_ID_BYTES: Final = 64
_APNS_STORES_SECONDS: Final = 30 * 24 * 3_600

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[^\s\x00-\x1f\x7f]+")
_WEB: Final = re.compile(r"https?://[^\s/?#\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*", re.IGNORECASE)
_DANGEROUS_SCHEMES: Final = frozenset(
    {"javascript", "vbscript", "data", "file", "blob", "about", "content"}
)
"""Schemes that run or read something on the device instead of opening it."""


PROJECT_NOT_ALLOWED: Final = Fault(
    "application_id",
    "not a project that this function was deployed for; leave it out for its own project",
)
"""A fault of its own kind: not how the request is written, but what it may not have."""


class Finding(NamedTuple):
    """A fault, and the fields that it was judged by."""

    fault: Fault
    fields: tuple[str, ...]


class Warned(NamedTuple):
    """Something legal that is probably a mistake. The request is sent all the same."""

    path: str
    message: str


def findings(
    request: PushRequest,
    audience: Audience,
    contents: Contents,
    application_ids: Collection[str],
) -> Iterator[Finding]:
    """Find every impossible combination in a request whose fields are each well-formed.

    Parameters
    ----------
    request
        The request.
    audience
        Its recipients, sorted.
    contents
        The fields of each message shape that they use.
    application_ids
        The projects that may be used, the first of them without being named.
    """
    yield from _recipients(request, audience)
    yield from _project(request, application_ids)
    for shape, content in contents.items():
        yield from _shape(request, audience, shape, content)
        yield from _payloads(request, audience, shape, content)


def _recipients(request: PushRequest, audience: Audience) -> Iterator[Finding]:
    if request.recipient is not None and request.recipients is not None:
        yield _finding("recipients", "give recipient or recipients, not both", "recipient")
    if request.recipient is None and request.recipients is None:
        yield _finding("recipients", "is missing; give recipient or recipients", "recipient")
    for position, first in audience.conflicting.items():
        yield _finding(
            f"recipients[{position}]",
            f"the token stands for the same service at recipients[{first}] already, with other "
            "text; keep one of the two",
            *("recipients", "title", "message", "substitutions", "context", "raw_content"),
        )


def _project(request: PushRequest, application_ids: Collection[str]) -> Iterator[Finding]:
    if not application_ids:
        yield _finding(
            "application_id", "this function was deployed without a project; set APPLICATION_IDS"
        )
    elif request.application_id is not None and request.application_id not in application_ids:
        yield _finding(*PROJECT_NOT_ALLOWED)


def _shape(
    request: PushRequest, audience: Audience, shape: MessageShape, content: Content
) -> Iterator[Finding]:
    names = _service_names(audience, shape)
    if not (content.keys() & {"raw_content"} or content.get("silent") or _has_text(content)):
        speechless = [
            position
            for position in _positions(audience, shape)
            if position not in audience.individual or not _has_own_text(audience, position)
        ]
        if speechless:
            yield _finding(
                request.path_in(shape, "message"),
                f"is missing for {names}; give message or title, set silent, or give raw_content",
                "title",
                "silent",
                "raw_content",
                "recipients",
                "recipient",
                shape.options,
            )
    yield from _link(request, shape, content.get("action"), content.get("url"))
    if (ttl := content.get("ttl")) is not None:
        least, most = shape.ttl_seconds
        if not least <= ttl <= most:
            yield _finding(
                request.path_in(shape, "ttl"), f"{names} takes {least:,} to {most:,} seconds"
            )
    if shape is APNS_MESSAGE:
        collapse_id = content.get("collapse_id", "")
        if len(collapse_id.encode()) > _APNS_COLLAPSE_ID_BYTES:
            yield _finding(
                request.path_in(shape, "collapse_id"),
                f"APNs takes at most {_APNS_COLLAPSE_ID_BYTES} bytes",
            )
    if shape is GCM_MESSAGE and request.is_fcm_v1:
        if "raw_content" in content:
            yield _finding(
                "gcm.raw_content",
                "give raw_content or the format fcm_v1, which builds it, not both",
            )
        given = {request.path_in(shape, "data"): content.get("data"), "context": request.context}
        for path, pairs in given.items():
            if any(map(RESERVED_DATA_KEY.match, pairs or ())):
                yield _finding(
                    path,
                    "FCM keeps these keys for itself: from, message_type, and those that start "
                    "with google. or gcm.notification.; rename them",
                )


def _link(
    request: PushRequest, shape: MessageShape, action: str | None, url: str | None
) -> Iterator[Finding]:
    path = request.path_in(shape, "url")
    if url is None:
        if action in ("URL", "DEEP_LINK"):
            yield _finding(path, f"is missing; the action {action} needs it", "action")
        return
    found = _URL.fullmatch(url)
    scheme = found[1].lower() if found else None
    if scheme is None:
        yield _finding(path, "must be a URL with its scheme, without spaces", "action")
    elif scheme in _DANGEROUS_SCHEMES:
        yield _finding(path, "this scheme is refused; use https or the app's own", "action")
    elif action == "URL" and not _WEB.fullmatch(url):
        yield _finding(path, "the action URL needs an http or https address", "action")
    elif action == "DEEP_LINK" and scheme == "http":
        yield _finding(path, "the action DEEP_LINK needs the app's own scheme or https", "action")
    elif scheme in ("http", "https") and not _WEB.fullmatch(url):
        yield _finding(path, "must name a host", "action")


def _payloads(
    request: PushRequest, audience: Audience, shape: MessageShape, content: Content
) -> Iterator[Finding]:
    shared_bytes = least_bytes(request, shape, content)
    for service, positions in audience.positions.items():
        if service.shape is not shape:
            continue
        room = service.payload_bytes
        if shared_bytes > room and not audience.individual.issuperset(positions):
            field = "raw_content" if "raw_content" in content else "message"
            yield _too_large(request.path_in(shape, field), shared_bytes, service)
        for position in sorted(audience.individual.intersection(positions)):
            recipient = audience.recipients[position]
            size = least_bytes(request, shape, content, recipient)
            if size > room:
                field = "message" if recipient.raw_content is None else "raw_content"
                yield _too_large(f"{request.place_of(position)}.{field}", size, service)


def _too_large(path: str, size: int, service: Service) -> Finding:
    return _finding(
        path,
        f"the payload has {size:,} bytes or more and {service.name} takes "
        f"{service.payload_bytes:,}; shorten it",
    )


def warnings(request: PushRequest, audience: Audience, contents: Contents) -> list[Warned]:
    """Tell what is legal but probably a mistake, each once."""
    return list(dict.fromkeys(_warnings(request, audience, contents)))


def _warnings(request: PushRequest, audience: Audience, contents: Contents) -> Iterator[Warned]:
    for shape, content in contents.items():
        yield from _shape_warnings(request, shape, content)
    if APNS_MESSAGE in contents:
        yield from _apns_warnings(request, audience, contents[APNS_MESSAGE])


def _shape_warnings(
    request: PushRequest, shape: MessageShape, content: Content
) -> Iterator[Warned]:
    replaced = "raw_content" in content or (shape is GCM_MESSAGE and request.is_fcm_v1)
    if content.get("data") and not content.get("silent") and not replaced:
        yield Warned(
            request.path_in(shape, "data"), "reaches the device only with silent, which is not set"
        )
    if "url" in content and content.get("action") in (None, "OPEN_APP"):
        yield Warned(
            request.path_in(shape, "url"), "is opened only by the actions URL and DEEP_LINK"
        )
    own = getattr(request, shape.options)
    for field in ("priority", "collapse_id"):
        if field not in shape.members and getattr(own, field, None) is not None:
            yield Warned(f"{shape.options}.{field}", "this service has no place for it; left out")


def _apns_warnings(request: PushRequest, audience: Audience, content: Content) -> Iterator[Warned]:
    if content.get("ttl", 0) > _APNS_STORES_SECONDS:
        yield Warned(
            request.path_in(APNS_MESSAGE, "ttl"), "APNs stores a notification for 30 days at most"
        )
    if content.get("push_type") == "liveactivity":
        yield Warned(
            "apns.push_type", "the API's documentation does not list liveactivity; it may refuse it"
        )
    raw = content.get("raw_content")
    if raw is not None and not _says_content_available(raw):
        yield Warned("apns.raw_content", _CONTENT_AVAILABLE)
    lacking = [
        position
        for position in sorted(audience.individual.intersection(_positions(audience, APNS_MESSAGE)))
        if (own := audience.recipients[position].raw_content) is not None
        and not _says_content_available(own)
    ]
    if lacking:
        others = f" (and {len(lacking) - 1:,} more recipients)" if len(lacking) > 1 else ""
        path = f"{request.place_of(lacking[0])}.raw_content"
        yield Warned(path, f"{_CONTENT_AVAILABLE}{others}")


_CONTENT_AVAILABLE: Final = (
    "AWS wants content-available in aps, 1 for a silent notification and 0 for any other"
)


def _says_content_available(raw_content: str) -> bool:
    match json.loads(raw_content):
        case {"aps": {"content-available": int()}} | {"content-available": int()}:
            return True
    return False


def _has_text(content: Content) -> bool:
    return bool(content.get("title") or content.get("message"))


def _has_own_text(audience: Audience, position: int) -> bool:
    recipient = audience.recipients[position]
    return bool(recipient.title or recipient.message or recipient.raw_content is not None)


def _positions(audience: Audience, shape: MessageShape) -> Sequence[int]:
    return [
        position
        for service, positions in audience.positions.items()
        if service.shape is shape
        for position in positions
    ]


def _service_names(audience: Audience, shape: MessageShape) -> str:
    return ", ".join(service.name for service in audience.positions if service.shape is shape)


def _finding(path: str, message: str, *judged_by: str) -> Finding:
    return Finding(Fault(path, message), (path.split("[")[0].split(".")[-1], path, *judged_by))
