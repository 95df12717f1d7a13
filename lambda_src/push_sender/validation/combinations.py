"""The rules for several fields together, and warnings about what is probably a mistake.

The rules of single fields, such as a token's, are in ``request.field_types``. A rule of one
service is checked only if a recipient uses that service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from push_sender.messages.fcm_v1 import TEMPLATE_CHARACTERS, is_reserved
from push_sender.messages.payloads import payload
from push_sender.messages.sizes import TEXTS, Sizes, fcm_v1_message, sizes, texts_of
from push_sender.recipients.audience import Audience
from push_sender.request.errors import Finding
from push_sender.request.json_text import compact_json, utf8_bytes
from push_sender.request.languages import normalized
from push_sender.request.model import (
    FORMAT_FIELDS,
    PERSONAL,
    Content,
    Contents,
    PersonalContent,
    PushRequest,
    Recipient,
    Translation,
    UserRecipient,
    Variant,
)
from push_sender.request.services import APNS_MESSAGE, GCM_MESSAGE, SERVICES, MessageShape, Service

_APNS_COLLAPSE_ID_BYTES: Final = 64
_LARGEST_PAYLOAD: Final = max(service.payload_bytes for service in SERVICES.values())
_APNS_STORES_SECONDS: Final = 30 * 24 * 3_600

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[^\s\x00-\x1f\x7f]+")
_WEB: Final = re.compile(r"https?://[^\s/?#\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*", re.IGNORECASE)
_DANGEROUS_SCHEMES: Final = frozenset(
    {"javascript", "vbscript", "data", "file", "blob", "about", "content"}
)
"""Schemes that run or read something on the device instead of opening it."""


PROJECT_NOT_ALLOWED: Final = Finding(
    "application_id",
    "not a project that this function was deployed for; leave it out for its own project",
)
"""An error of its own kind: not how the request is written, but what it may not have."""


class Judged(NamedTuple):
    """A validation error, and what it depends on.

    Attributes
    ----------
    finding
        The error.
    judged_by
        The paths of the request that it depends on. If one of them is malformed, its value is
        not known, and the error is left out.
    positions
        The recipients that it prevents from getting their message. Empty if it is about the
        request as a whole.
    """

    finding: Finding
    judged_by: Collection[str]
    positions: Collection[int] = ()


def findings(
    request: PushRequest,
    audience: Audience,
    contents: Contents,
    application_ids: Collection[str],
    malformed: Collection[str] = frozenset(),
) -> Iterator[Finding]:
    """Find every impossible combination among the well-formed fields of a request.

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
    malformed
        The paths of malformed fields. A malformed text is empty in the request, a map holds
        what is well-formed in it, and any other field is absent.
    """
    found = chain(
        _project(request, application_ids),
        _recipients(request, audience),
        _translations(request),
        _messages(request, audience, contents, malformed),
    )
    for judged in well_formed(found, malformed) if malformed else found:
        yield judged.finding


def of_messages(
    request: PushRequest,
    audience: Audience,
    contents: Contents,
    malformed: Collection[str] = frozenset(),
) -> Iterator[Judged]:
    """Find what prevents recipients from getting their message. The parameters are as above."""
    return well_formed(_messages(request, audience, contents, malformed), malformed)


def well_formed(found: Iterable[Judged], malformed: Collection[str]) -> Iterator[Judged]:
    """Leave out the errors that depend on a malformed field."""
    for judged in found:
        if not malformed or not any(path in malformed for path in judged.judged_by):
            yield judged


def _messages(
    request: PushRequest, audience: Audience, contents: Contents, malformed: Collection[str]
) -> Iterator[Judged]:
    checked: set[MessageShape] = set()
    too_large: set[MessageShape] = set()
    for variant, content in contents.items():
        shape = variant.shape
        if shape not in checked:  # what does not depend on the language
            for judged in _shape(request, audience, variant, content):
                yield judged._replace(positions=_positions(audience, shape))
            checked.add(shape)
        yield from _variant(request, audience, variant, content, malformed)
        long_texts = _long_texts(request, variant, content)
        for judged in long_texts:
            yield judged._replace(positions=_positions(audience, variant))
        if not long_texts and shape not in too_large:
            measured = sizes(request, shape, content)
            yield from _payloads(request, audience, variant, content, measured)
            if measured.fixed() > _LARGEST_PAYLOAD:
                too_large.add(shape)  # in every language, for the same reason
    yield from _personal(request, audience, contents)


def _recipients(request: PushRequest, audience: Audience) -> Iterator[Judged]:
    if request.recipient is not None and request.recipients is not None:
        yield _finding("recipients", "give recipient or recipients, not both")
    if request.recipient is None and request.recipients is None:
        yield _finding("recipients", "is missing; give recipient or recipients")
    if request.device_filter is not None and not request.has_users:
        places = map(request.place_of, range(len(request.everyone)))
        yield _finding(
            "device_filter",
            "selects devices of users, and no recipient has a user_id; leave it out",
            *("device_filter", "recipient", "recipients", *places),
        )
    for position, first in audience.conflicting.items():
        yield _finding(
            f"recipients[{position}]",
            f"the token stands for the same service at recipients[{first}] already, with other "
            "text; keep one of the two",
            *(f"recipients[{each}].{field}" for each in (first, position) for field in PERSONAL),
        )


def _translations(request: PushRequest) -> Iterator[Judged]:
    first: dict[str, str] = {}
    for tag, translation in (request.translations or {}).items():
        if not any(vars(translation).values()):
            yield _finding(
                f"translations.{tag}",
                "is empty; give title, message, subtitle, url or image_url",
                f"translations.{tag}",
                *(f"translations.{tag}.{field}" for field in Translation.model_fields),
            )
        if first.setdefault(normalized(tag), tag) != tag:
            yield _finding(
                f"translations.{tag}", "stands for a language that is listed already; keep one"
            )


_PLACES: Final[Mapping[str, frozenset[str]]] = {
    "pinpoint": frozenset({"title", "message", "substitutions", "context", "raw_content"}),
    "fcm_v1": frozenset(PERSONAL) - {"subtitle"},
    "native": frozenset(PERSONAL),
}
"""The fields of a recipient that an address of each format has a place for."""


def places_of(request: PushRequest, shape: MessageShape) -> frozenset[str]:
    """Return the members of a recipient that have a place or that say who it is."""
    own = getattr(request, shape.options)
    return _PLACES[getattr(own, "format", "pinpoint")] | _OTHERS


_OTHERS: Final = frozenset((*Recipient.model_fields, *UserRecipient.model_fields)).difference(
    set(PERSONAL) - {"language"}
)


def given_without_place(recipient: PersonalContent, places: frozenset[str]) -> list[str]:
    """List the fields of a recipient that are not among ``places_of``."""
    beyond = recipient.model_fields_set - places
    return [field for field in sorted(beyond) if getattr(recipient, field) is not None]


def _personal(request: PushRequest, audience: Audience, contents: Contents) -> Iterator[Judged]:
    """Find what is wrong with the fields of recipients beside their size."""
    for group, positions in audience.positions.items():
        individual = sorted(audience.individual.intersection(positions))
        if not individual:
            continue
        shape = group.service.shape
        is_built, places = request.is_built(shape), places_of(request, shape)
        for position in individual:
            recipient = audience.recipients[position]
            place = request.place_of(audience.index(position))
            found: list[Judged] = []
            if is_built:
                given = {f"{place}.data": recipient.data, f"{place}.context": recipient.context}
                found += _reserved_keys(shape, given)
            if recipient.url is not None:
                action = contents[group.variant].get("action")
                for message, *_ in _wrong_with_link(action, recipient.url):
                    judged_by = request.sources(group.variant, "action")
                    found.append(_finding(f"{place}.url", message, *judged_by))
            for field in given_without_place(recipient, places):
                found.append(needs_format(place, field, [shape]))
            for judged in found:
                yield judged._replace(positions=(position,))


def needs_format(place: str, field: str, shapes: Sequence[MessageShape]) -> Judged:
    """Tell that a field of a recipient has no place in the message of any of some shapes.

    Its text names the formats that have a place for it, if there are any.
    """
    formats = [
        f"{shape.options}.format {format_}"
        for shape, (format_, _) in FORMAT_FIELDS.items()
        if shape in shapes and field in _PLACES[format_]
    ]
    cure = f"needs {' or '.join(formats)}" if formats else _NO_PLACE
    return _finding(f"{place}.{field}", cure, *(f"{shape.options}.format" for shape in shapes))


_NO_PLACE: Final = "has no place in a message of this service; leave it out"


def _project(request: PushRequest, application_ids: Collection[str]) -> Iterator[Judged]:
    if not application_ids:
        yield _finding(
            "application_id", "this function was deployed without a project; set APPLICATION_IDS"
        )
    elif request.application_id is not None and request.application_id not in application_ids:
        yield Judged(PROJECT_NOT_ALLOWED, ("application_id",))


def _variant(
    request: PushRequest,
    audience: Audience,
    variant: Variant,
    content: Content,
    malformed: Collection[str],
) -> Iterator[Judged]:
    shape = variant.shape
    names = _service_names(audience, shape)
    if not ("raw_content" in content or content.get("silent") or _has_text(content)):
        without_text = [
            position
            for position in _positions(audience, variant)
            if position not in audience.individual
            or not _has_own_text(request, audience, position, malformed)
        ]
        if without_text:
            missing = _finding(
                request.path_in(variant, "message"),
                f"is missing for {names}; give message or title, set silent, or give raw_content",
                *request.sources(variant, "title", "message", "silent", "raw_content"),
            )
            yield missing._replace(positions=without_text)
    for judged in _link(request, variant, content.get("action"), content.get("url")):
        yield judged._replace(positions=_positions(audience, variant))


def _long_texts(request: PushRequest, variant: Variant, content: Content) -> list[Judged]:
    """Find the texts that are too long to be filled in again for each recipient."""
    shape = variant.shape
    if not request.is_built(shape):
        return []
    return [
        _finding(
            request.path_in(variant, field),
            f"the format {FORMAT_FIELDS[shape][0]} takes at most {TEMPLATE_CHARACTERS:,} "
            "characters, variables included; shorten it",
            *request.sources(variant, field),
        )
        for field in TEXTS[shape]
        if sum(map(len, texts_of(content.get(field)))) > TEMPLATE_CHARACTERS
    ]


def _shape(
    request: PushRequest, audience: Audience, variant: Variant, content: Content
) -> Iterator[Judged]:
    shape = variant.shape
    if (ttl := content.get("ttl")) is not None:
        least, most = shape.ttl_seconds
        if not least <= ttl <= most:
            yield _finding(
                request.path_in(variant, "ttl"),
                f"{_service_names(audience, shape)} takes {least:,} to {most:,} seconds",
                *request.sources(variant, "ttl"),
            )
    if shape is APNS_MESSAGE:
        yield from _apns(request, variant, content)
    if shape in FORMAT_FIELDS:
        yield from _format(request, variant, content)


def _apns(request: PushRequest, variant: Variant, content: Content) -> Iterator[Judged]:
    if len(content.get("collapse_id", "").encode()) > _APNS_COLLAPSE_ID_BYTES:
        yield _finding(
            request.path_in(variant, "collapse_id"),
            f"APNs takes at most {_APNS_COLLAPSE_ID_BYTES} bytes",
            *request.sources(variant, "collapse_id"),
        )
    if content.get("push_type") == "liveactivity":
        yield _finding(
            "apns.push_type", "Live Activities need a topic that SendMessages cannot name"
        )
    own = request.apns
    if own is not None and own.sound is not None and own.critical_sound is not None:
        yield _finding("apns.critical_sound", "give sound or critical_sound, not both")


_ARGUMENTS: Final = {
    "title_loc_args": "title_loc_key",
    "subtitle_loc_args": "subtitle_loc_key",
    "body_loc_args": "body_loc_key",
    "loc_args": "loc_key",
}


def _format(request: PushRequest, variant: Variant, content: Content) -> Iterator[Judged]:
    """Find fields that need the format of their own, and what that format does not allow."""
    shape = variant.shape
    format_, fields = FORMAT_FIELDS[shape]
    options = shape.options
    if not request.is_built(shape):
        for field in content:
            if field in fields:
                yield _finding(
                    request.path_in(variant, field),
                    f"needs {options}.format {format_}",
                    f"{options}.format",
                )
        return
    if "raw_content" in content:
        yield _finding(
            f"{options}.raw_content",
            f"give raw_content or the format {format_}, which builds it, not both",
        )
    given = {request.path_in(variant, "data"): content.get("data"), "context": request.context}
    yield from _reserved_keys(shape, given)
    if "icon" in content and "icon_reference" in content:
        yield _finding(f"{options}.icon", "give icon or icon_reference, not both")
    for arguments, key in _ARGUMENTS.items():
        if arguments in content and key not in content:
            yield _finding(f"{options}.{arguments}", f"needs {key}", f"{options}.{key}")


_RESERVED: Final[Mapping[MessageShape, tuple[Callable[[str], bool], str]]] = {
    GCM_MESSAGE: (
        is_reserved,
        "FCM keeps these keys for itself: from, message_type, and those that start "
        "with google. or gcm.notification.; rename them",
    ),
    APNS_MESSAGE: ("aps".__eq__, "APNs keeps the key aps for itself; rename it"),
}
"""The keys of ``data`` and ``context`` that a payload which is built here cannot hold."""


def _reserved_keys(
    shape: MessageShape, given: Mapping[str, Mapping[str, str] | None]
) -> Iterator[Judged]:
    """Find maps, by their paths, that hold a reserved key."""
    is_key, message = _RESERVED[shape]
    for path, pairs in given.items():
        if any(map(is_key, pairs or ())):
            yield _finding(path, message)


def _link(
    request: PushRequest, variant: Variant, action: str | None, url: str | None
) -> Iterator[Judged]:
    for message, *fields in _wrong_with_link(action, url):
        path = request.path_in(variant, "url")
        yield _finding(path, message, *request.sources(variant, "url", *fields))


def _wrong_with_link(action: str | None, url: str | None) -> Iterator[tuple[str, ...]]:
    """Tell what is wrong, and by which other field."""
    if url is None:
        if action in ("URL", "DEEP_LINK"):
            yield f"is missing; the action {action} needs it", "action"
        return
    found = _URL.fullmatch(url)
    scheme = found[1].lower() if found else None
    if scheme is None:
        yield ("must be a URL with its scheme, without spaces",)
    elif scheme in _DANGEROUS_SCHEMES:
        yield ("this scheme is refused; use https or the app's own",)
    elif action == "URL" and not _WEB.fullmatch(url):
        yield "the action URL needs an http or https address", "action"
    elif action == "DEEP_LINK" and scheme == "http":
        yield "the action DEEP_LINK needs the app's own scheme or https", "action"
    elif scheme in ("http", "https") and not _WEB.fullmatch(url):
        yield ("must name a host",)


_MEASURED_BY: Final = ("raw_content", "silent", "substitutions", "format", "action")
"""What a lower bound of a payload hangs on. A malformed text or map only makes it smaller."""


def _payloads(
    request: PushRequest, audience: Audience, variant: Variant, content: Content, measured: Sizes
) -> Iterator[Judged]:
    raw = "raw_content" in content
    judged_by = ("raw_content", "substitutions") if raw else _MEASURED_BY
    for group, positions in audience.positions.items():
        if group.variant != variant:
            continue
        service = group.service
        room = service.payload_bytes
        if not audience.individual.issuperset(positions) and (size := measured.shared()) > room:
            path = request.path_in(variant, "raw_content" if raw else "message")
            shared = _too_large(path, size, service, request.sources(variant, *judged_by))
            yield shared._replace(positions=set(positions) - audience.individual)
        for position in sorted(audience.individual.intersection(positions)):
            recipient = audience.recipients[position]
            if (size := measured.of(recipient)) <= room:
                continue
            own_raw = recipient.raw_content is not None
            field = "raw_content" if own_raw else "message"
            paths = ("substitutions",) if own_raw else judged_by
            place = request.place_of(audience.index(position))
            own = {f"{place}.raw_content", f"{place}.substitutions"}
            of_one = _too_large(
                f"{place}.{field}", size, service, own | request.sources(variant, *paths)
            )
            yield of_one._replace(positions=(position,))


def _too_large(path: str, size: int, service: Service, judged_by: Collection[str]) -> Judged:
    return _finding(
        path,
        f"the payload has {size:,} bytes or more and {service.name} takes "
        f"{service.payload_bytes:,}; shorten it",
        *judged_by,
    )


def warnings(request: PushRequest, audience: Audience, contents: Contents) -> list[Finding]:
    """Tell what is legal but probably a mistake, each once."""
    return list(dict.fromkeys(_warnings(request, audience, contents)))


def _warnings(request: PushRequest, audience: Audience, contents: Contents) -> Iterator[Finding]:
    for variant, content in contents.items():
        yield from _variant_warnings(request, variant, content)
        if variant.shape is APNS_MESSAGE:
            yield from _apns_warnings(request, audience, variant, content)
        if variant.shape is GCM_MESSAGE:
            yield from _fcm_v1_warnings(request, audience, variant, content)
    used = {variant.language for variant in contents}
    for tag in request.translations or ():
        if tag not in used:
            yield Finding(f"translations.{tag}", "no recipient has this language")


def _variant_warnings(
    request: PushRequest, variant: Variant, content: Content
) -> Iterator[Finding]:
    shape = variant.shape
    replaced = "raw_content" in content or request.is_built(shape)
    if content.get("data") and not content.get("silent") and not replaced:
        yield Finding(
            request.path_in(variant, "data"),
            "reaches the device only with silent, which is not set",
        )
    if "url" in content and content.get("action") in (None, "OPEN_APP"):
        yield Finding(
            request.path_in(variant, "url"), "is opened only by the actions URL and DEEP_LINK"
        )
    own = getattr(request, shape.options)
    for field in ("priority", "collapse_id"):
        if field not in shape.members and getattr(own, field, None) is not None:
            yield Finding(f"{shape.options}.{field}", "this service has no place for it; left out")


def _apns_warnings(
    request: PushRequest, audience: Audience, variant: Variant, content: Content
) -> Iterator[Finding]:
    if content.get("ttl", 0) > _APNS_STORES_SECONDS:
        yield Finding(
            request.path_in(variant, "ttl"), "APNs stores a notification for 30 days at most"
        )
    yield from _raw_warnings(
        request, audience, APNS_MESSAGE, content, _lacks_content_available, _CONTENT_AVAILABLE
    )


def _fcm_v1_warnings(
    request: PushRequest, audience: Audience, variant: Variant, content: Content
) -> Iterator[Finding]:
    yield from _raw_warnings(
        request, audience, GCM_MESSAGE, content, _may_be_too_large, _MAYBE_TOO_LARGE
    )
    if request.is_built(GCM_MESSAGE):
        built = payload(GCM_MESSAGE, content, request.context or {})
        if _may_be_too_large(built):
            yield Finding(request.path_in(variant, "message"), _MAYBE_TOO_LARGE)


def _raw_warnings(
    request: PushRequest,
    audience: Audience,
    shape: MessageShape,
    content: Content,
    applies: Callable[[str], bool],
    warning: str,
) -> Iterator[Finding]:
    """Warn of the shared raw content, and once of all the recipients' own."""
    raw = content.get("raw_content")
    if raw is not None and applies(raw):
        yield Finding(f"{shape.options}.raw_content", warning)
    concerned = [
        position
        for position in sorted(audience.individual)
        if SERVICES[audience.recipients[position].service].shape is shape
        and (own := audience.recipients[position].raw_content) is not None
        and applies(own)
    ]
    if concerned:
        others = f" (and {len(concerned) - 1:,} more recipients)" if len(concerned) > 1 else ""
        place = request.place_of(audience.index(concerned[0]))
        yield Finding(f"{place}.raw_content", f"{warning}{others}")


_MAYBE_TOO_LARGE: Final = (
    "FCM may refuse it: the message as a whole is over 4,096 bytes, though no platform's part is"
)


def _may_be_too_large(raw: str) -> bool:
    room = SERVICES["GCM"].payload_bytes
    if utf8_bytes(raw) <= room:
        return False
    message = fcm_v1_message(GCM_MESSAGE, raw)
    return message is not None and utf8_bytes(compact_json(message)) > room


_CONTENT_AVAILABLE: Final = (
    "AWS wants content-available in aps, 1 for a silent notification and 0 for any other"
)


def _lacks_content_available(raw: str) -> bool:
    match json.loads(raw):
        case {"aps": {"content-available": int()}} | {"content-available": int()}:
            return False
    return True


def _has_text(content: Content) -> bool:
    return any(content.get(field) for field in _TEXTS)


_TEXTS: Final = ("title", "message", "title_loc_key", "body_loc_key", "loc_key")
"""Each of these is something to show."""


def _has_own_text(
    request: PushRequest, audience: Audience, position: int, malformed: Collection[str]
) -> bool:
    """Return whether a recipient has a text of its own, or might have if it were well-formed."""
    recipient = audience.recipients[position]
    if recipient.title or recipient.message or recipient.raw_content is not None:
        return True
    place = request.place_of(audience.index(position))
    return any(f"{place}.{field}" in malformed for field in ("title", "message", "raw_content"))


def _positions(audience: Audience, part: MessageShape | Variant) -> Sequence[int]:
    """List the recipients of a shape, or of one of its variants."""
    return [
        position
        for group, positions in audience.positions.items()
        if part in (group.variant.shape, group.variant)
        for position in positions
    ]


def _service_names(audience: Audience, shape: MessageShape) -> str:
    services = dict.fromkeys(group.service for group in audience.positions)
    return ", ".join(service.name for service in services if service.shape is shape)


def _finding(path: str, message: str, *judged_by: str) -> Judged:
    return Judged(Finding(path, message), judged_by)
