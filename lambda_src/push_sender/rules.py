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
from push_sender.request import PushRequest
from push_sender.services import APNS_MESSAGE, GCM_MESSAGE, SERVICES, MessageShape

_APNS_COLLAPSE_ID_BYTES: Final = 64
_APNS_STORES_SECONDS: Final = 30 * 24 * 3_600

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[^\s\x00-\x1f\x7f]+")
_WEB: Final = re.compile(r"https?://[^\s/?#\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*", re.IGNORECASE)
_DANGEROUS_SCHEMES: Final = frozenset(
    {"javascript", "vbscript", "data", "file", "blob", "about", "content"}
)
"""Schemes that run or read something on the device instead of opening it."""


class Finding(NamedTuple):
    """A fault, and the fields that it was judged by."""

    fault: Fault
    fields: tuple[str, ...]


class Warned(NamedTuple):
    """Something legal that is probably a mistake. The request is sent all the same."""

    path: str
    message: str


def findings(
    request: PushRequest, audience: Audience, application_ids: Collection[str]
) -> Iterator[Finding]:
    """Find every impossible combination in a request whose fields are each well-formed.

    Parameters
    ----------
    request
        The request.
    audience
        Its recipients, sorted.
    application_ids
        The projects that may be used, the first of them without being named.
    """
    yield from _recipients(request, audience)
    yield from _project(request, application_ids)
    for shape in audience.shapes:
        yield from _shape(request, audience, shape)
        yield from _payloads(request, audience, shape)


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
        yield _finding(
            "application_id",
            "not a project that this function was deployed for; leave it out for its own project",
        )


def _shape(request: PushRequest, audience: Audience, shape: MessageShape) -> Iterator[Finding]:
    content = request.content_for(shape)
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
    if shape is GCM_MESSAGE and request.gcm.format == "fcm_v1":
        if request.gcm.raw_content is not None:
            yield _finding(
                "gcm.raw_content",
                "give raw_content or the format fcm_v1, which builds it, not both",
            )
        for field in ("data", "context"):
            given = request.context if field == "context" else content.get("data")
            if any(map(RESERVED_DATA_KEY.match, given or ())):
                yield _finding(
                    request.path_in(shape, field) if field == "data" else field,
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


def _payloads(request: PushRequest, audience: Audience, shape: MessageShape) -> Iterator[Finding]:
    content = request.content_for(shape)
    if shape is GCM_MESSAGE:
        content["format"] = request.gcm.format
    context = request.context or {}
    shared_bytes: int | None = None
    told = False
    for service, positions in audience.positions.items():
        if service.shape is not shape:
            continue
        for position in positions:
            if position in audience.individual:
                recipient = audience.recipients[position]
                size = least_bytes(shape, content, context, recipient)
                own = "raw_content" if recipient.raw_content is not None else "message"
                path = f"{_place(request, position)}.{own}"
            elif told:
                continue
            else:
                if shared_bytes is None:
                    shared_bytes = least_bytes(shape, content, context)
                size = shared_bytes
                path = request.path_in(
                    shape, "raw_content" if "raw_content" in content else "message"
                )
            if size > service.payload_bytes:
                told = told or position not in audience.individual
                yield _finding(
                    path,
                    f"the payload has {size:,} bytes or more and {service.name} takes "
                    f"{service.payload_bytes:,}; shorten it",
                )


def warnings(request: PushRequest, audience: Audience) -> list[Warned]:
    """Tell what is legal but probably a mistake, each once."""
    told: dict[Warned, None] = {}
    for shape in audience.shapes:
        for warning in _shape_warnings(request, audience, shape):
            told[warning] = None
    if request.idempotency_key is not None:
        told[Warned("idempotency_key", "not built yet: the request is sent each time it comes")] = (
            None
        )
    if request.requeue:
        told[Warned("requeue", "not built yet: what cannot be sent now is reported only")] = None
    return list(told)


def _shape_warnings(
    request: PushRequest, audience: Audience, shape: MessageShape
) -> Iterator[Warned]:
    content = request.content_for(shape)
    replaced = "raw_content" in content or (shape is GCM_MESSAGE and request.gcm.format == "fcm_v1")
    if content.get("data") and not content.get("silent") and not replaced:
        yield Warned(
            request.path_in(shape, "data"), "reaches the device only with silent, which is not set"
        )
    if "url" in content and content.get("action") in (None, "OPEN_APP"):
        yield Warned(
            request.path_in(shape, "url"), "is opened only by the actions URL and DEEP_LINK"
        )
    for field in ("priority", "collapse_id"):
        if (
            field not in shape.members
            and getattr(getattr(request, shape.options), field) is not None
        ):
            yield Warned(f"{shape.options}.{field}", "this service has no place for it; left out")
    if shape is APNS_MESSAGE:
        yield from _apns_warnings(request, audience)


def _apns_warnings(request: PushRequest, audience: Audience) -> Iterator[Warned]:
    content = request.content_for(APNS_MESSAGE)
    if content.get("ttl", 0) > _APNS_STORES_SECONDS:
        yield Warned(
            request.path_in(APNS_MESSAGE, "ttl"), "APNs stores a notification for 30 days at most"
        )
    if content.get("push_type") == "liveactivity":
        yield Warned(
            "apns.push_type", "the API's documentation does not list liveactivity; it may refuse it"
        )
    if (raw := content.get("raw_content")) is not None and not _says_content_available(raw):
        yield Warned("apns.raw_content", _CONTENT_AVAILABLE)
    lacking = [
        position
        for position in sorted(audience.individual)
        if SERVICES[audience.recipients[position].service].shape is APNS_MESSAGE
        and (own := audience.recipients[position].raw_content) is not None
        and not _says_content_available(own)
    ]
    if lacking:
        others = f" (and {len(lacking) - 1:,} more recipients)" if len(lacking) > 1 else ""
        yield Warned(f"{_place(request, lacking[0])}.raw_content", f"{_CONTENT_AVAILABLE}{others}")


_CONTENT_AVAILABLE: Final = (
    "AWS wants content-available in aps, 1 for a silent notification and 0 for any other"
)


def _says_content_available(raw_content: str) -> bool:
    match json.loads(raw_content):
        case {"aps": {"content-available": int()}} | {"content-available": int()}:
            return True
    return False


def _has_text(content: dict[str, object]) -> bool:
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


def _place(request: PushRequest, position: int) -> str:
    return "recipient" if request.recipients is None else f"recipients[{position}]"


def _finding(path: str, message: str, *judged_by: str) -> Finding:
    return Finding(Fault(path, message), (path.split("[")[0].split(".")[-1], path, *judged_by))
