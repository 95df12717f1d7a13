"""The size of a push, measured before it is sent.

The providers refuse what is over their limit for a device, one address at a time and after
the call. A push that is certainly over it is refused at once. The size is exact for raw
content of APNs and for payloads that are built here. It is a lower bound for the API's own
fields, of which the service builds the payload: an escape counts as the character that it
stands for.
Message variables may shrink a text, so what stands between ``{{`` and ``}}`` does not count
where there is something to fill in.

The part that recipients share is measured once; each recipient adds its own part.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final, Protocol

from push_sender.messages import apns_native, fcm_v1
from push_sender.messages.payloads import individual_content, payload
from push_sender.messages.substitutions import Substitutions, variables
from push_sender.request.json_text import compact_json, utf8_bytes
from push_sender.request.model import Content, PushRequest, Recipient
from push_sender.request.services import APNS_MESSAGE, GCM_MESSAGE, SERVICES, MessageShape

_SURELY_FITS: Final = min(service.payload_bytes for service in SERVICES.values())

TEXTS: Final = {GCM_MESSAGE: fcm_v1.TEXTS, APNS_MESSAGE: apns_native.TEXTS}
"""Of each shape whose payload can be built here, the texts in which variables are filled in."""


class Sizes(Protocol):
    """Counts the bytes that the payload for one device has at least."""

    def shared(self) -> int:
        """Measure the message of the recipients without fields of their own."""

    def fixed(self) -> int:
        """Measure what is the same in every language: the message without its texts."""

    def of(self, recipient: Recipient) -> int:
        """Measure the message of a recipient that has fields of its own."""


def sizes(request: PushRequest, shape: MessageShape, content: Content) -> Sizes:
    """Measure the payloads of one message shape.

    Parameters
    ----------
    request
        The request, for what is the same in all shapes.
    shape
        The message's shape.
    content
        The shape's fields, by their names in the request.
    """
    if "raw_content" in content:
        return _RawSizes(shape, content)
    if request.is_built(shape):
        return _BuiltSizes(shape, content, request.context or {})
    return _FieldSizes(shape, content, request.context or {})


def fcm_v1_message(shape: MessageShape, raw_content: str) -> Mapping[str, Any] | None:
    """Give the message within raw content that has the form of FCM v1."""
    if shape is GCM_MESSAGE and "fcmV1Message" in raw_content:
        match json.loads(raw_content):
            case {"fcmV1Message": {"message": dict(message)}}:
                return message
    return None


class _Sizes:
    """What all kinds of content have in common: a recipient's own raw content replaces it."""

    def __init__(self, shape: MessageShape, content: Content) -> None:
        self._shape = shape
        self._content = content
        self._filled_in = bool(content.get("substitutions"))

    def of(self, recipient: Recipient) -> int:
        filled_in = self._filled_in or bool(recipient.substitutions)
        if recipient.raw_content is not None:
            return _raw_bytes(self._shape, recipient.raw_content, filled_in=filled_in)
        return self._of(recipient, filled_in)

    def _of(self, recipient: Recipient, filled_in: bool) -> int:
        raise NotImplementedError


class _RawSizes(_Sizes):
    """Of raw content, beside which a recipient's own texts have no effect."""

    def __init__(self, shape: MessageShape, content: Content) -> None:
        super().__init__(shape, content)
        self._bytes: dict[bool, int] = {}

    def fixed(self) -> int:
        return self.shared()

    def shared(self) -> int:
        return self._raw(self._filled_in)

    def _of(self, recipient: Recipient, filled_in: bool) -> int:
        return self._raw(filled_in)

    def _raw(self, filled_in: bool) -> int:
        if filled_in not in self._bytes:
            raw = self._content["raw_content"]
            self._bytes[filled_in] = _raw_bytes(self._shape, raw, filled_in=filled_in)
        return self._bytes[filled_in]


class _FieldSizes(_Sizes):
    """Of the API's own fields, of which the service builds the payload."""

    def __init__(self, shape: MessageShape, content: Content, context: Mapping[str, str]) -> None:
        super().__init__(shape, content)
        self._context = context
        self._replaced = {
            filled_in: _EachOnce(context, partial(_at_least, filled_in=filled_in))
            for filled_in in (False, True)
        }
        self._texts = () if content.get("silent") else ("title", "message")
        self._measured: dict[bool, dict[str, int]] = {}

    def fixed(self) -> int:
        return self._parts(self._filled_in)["rest"]

    def shared(self) -> int:
        return sum(self._parts(self._filled_in).values())

    def _of(self, recipient: Recipient, filled_in: bool) -> int:
        parts = self._parts(filled_in)
        size = parts["rest"]
        for field in self._texts:
            own: str | None = getattr(recipient, field)
            size += parts[field] if own is None else _at_least(own, filled_in)
        for key, value in (recipient.context or {}).items():
            size += _at_least(value, filled_in)
            there = self._replaced[filled_in].get(key)
            size += _at_least(key, filled_in) if there is None else -there
        return size

    def _parts(self, filled_in: bool) -> dict[str, int]:
        if (parts := self._measured.get(filled_in)) is None:
            parts = {
                field: _at_least(self._content.get(field, ""), filled_in) for field in self._texts
            }
            parts["rest"] = _pairs_at_least(self._context, filled_in)
            if not self._texts:
                parts["rest"] += _pairs_at_least(self._content.get("data", {}), filled_in)
            self._measured[filled_in] = parts
        return parts


class _BuiltSizes(_Sizes):
    """Of a payload that is built here: it is built and measured.

    A few bytes of text may ask for gigabytes: a variable that stands there often, and a long
    value for it. So a lower bound comes first, which reads what recipients share only once,
    and what is over the limit by that bound is not built.
    """

    def __init__(self, shape: MessageShape, content: Content, context: Mapping[str, str]) -> None:
        super().__init__(shape, content)
        self._context = context
        self._limit = max(each.payload_bytes for each in SERVICES.values() if each.shape is shape)
        self._values = _EachOnce(content.get("substitutions", {}), _joined)
        self._templates = self._read(content)
        texts = {field: _emptied(content[field]) for field in TEXTS[shape] if field in content}
        bare = {**content, **texts}
        bare.pop("badge", None)  # a recipient's own may be shorter
        self._frame = _unescaped(compact_json(_first_part(shape, payload(shape, bare, context))))
        fixed = {"action": content["action"]} if "action" in content else {}
        replaceable = {**context, **fixed, **content.get("data", {})}
        self._replaced = _EachOnce(replaceable, utf8_bytes)

    def fixed(self) -> int:
        return self._frame

    def shared(self) -> int:
        return self._size(None)

    def _of(self, recipient: Recipient, filled_in: bool) -> int:
        return self._size(recipient)

    def _read(self, content: Content) -> dict[str, list[_Template]]:
        return {
            field: [_Template(text, self._values) for text in texts_of(content[field])]
            for field in TEXTS[self._shape]
            if field in content
        }

    def _size(self, recipient: Recipient | None) -> int:
        if (least := self._least(recipient)) > self._limit:
            return least
        content, context = self._content, self._context
        if recipient is not None:
            content = individual_content(content, recipient)
            context = {**context, **(recipient.context or {})}
        return _raw_bytes(self._shape, payload(self._shape, content, context), filled_in=False)

    def _least(self, recipient: Recipient | None) -> int:
        """Count what the payload has at least: what does not change, and the filled texts."""
        own = {} if recipient is None else individual_content({}, recipient)
        context = (recipient.context if recipient else None) or {}
        replaced = {*own, *own.get("data", ()), *context}
        least = self._frame - sum(self._replaced.get(key) or 0 for key in replaced)
        if self._content.get("silent"):
            return least
        templates = {**self._templates, **self._read(own)}
        values = own.get("substitutions", {})
        hidden = (self._content.get("data", {}), own.get("data", {}))  # their keys replace fields
        return least + sum(
            text.filled(values)
            for field, texts in templates.items()
            if not any(field in data for data in hidden)
            for text in texts
        )


def _first_part(shape: MessageShape, raw: str) -> object:
    """Give what a device gets of raw content; of FCM's platforms, Android."""
    message = fcm_v1_message(shape, raw)
    return json.loads(raw) if message is None else fcm_v1.device_parts(message)[0]


def _emptied(value: object) -> object:
    return "" if isinstance(value, str) else []


def texts_of(value: object) -> Sequence[str]:
    """Give the texts of a field that is a text, a list of texts, or absent."""
    return [value] if isinstance(value, str) else value if isinstance(value, list) else ()


class _EachOnce:
    """The bytes of each value of a map, each counted once and only if it is asked for."""

    def __init__(self, values: Mapping[str, Any], count: Callable[[Any], int]) -> None:
        self._values = values
        self._count = count
        self._bytes: dict[str, int] = {}

    def get(self, name: str) -> int | None:
        if name in self._values and name not in self._bytes:
            self._bytes[name] = self._count(self._values[name])
        return self._bytes.get(name)


class _Template:
    """A text with variables, and how often each stands in it."""

    def __init__(self, text: str, values: _EachOnce) -> None:
        self._text = text
        self._values = values

    @cached_property
    def _found(self) -> Mapping[str, Sequence[int]]:
        """Of each variable, how often it stands there and the bytes of it in the text."""
        found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for start, end, name in variables(self._text):
            found[name][0] += 1
            found[name][1] += utf8_bytes(self._text[start:end])
        return found

    @cached_property
    def _shared(self) -> int:
        return utf8_bytes(self._text) + sum(map(self._change, self._found))

    def _change(self, name: str) -> int:
        """Count what the text gains where a variable gets the value that all share."""
        times, unfilled = self._found[name]
        value = self._values.get(name)
        return 0 if value is None else times * value - unfilled

    def filled(self, own: Substitutions) -> int:
        """Count the bytes of the text with its variables filled in, the recipient's own first."""
        size = self._shared
        for name, value in own.items():
            if name in self._found:
                times, unfilled = self._found[name]
                size += times * _joined(value) - unfilled - self._change(name)
        return size


def _raw_bytes(shape: MessageShape, raw: str, *, filled_in: bool) -> int:
    """Count the bytes that a device gets of raw content at least."""
    count, parts = utf8_bytes, [raw]
    if shape is not APNS_MESSAGE and utf8_bytes(raw) > _SURELY_FITS:
        message = fcm_v1_message(shape, raw)
        read = [json.loads(raw)] if message is None else fcm_v1.device_parts(message)
        count, parts = _unescaped, list(map(compact_json, read))
    return max(count(part) - (_in_variables(part) if filled_in else 0) for part in parts)


def _joined(values: Iterable[str]) -> int:
    return utf8_bytes(", ".join(values))


def _pairs_at_least(pairs: Mapping[str, str], filled_in: bool) -> int:
    return sum(_at_least(text, filled_in) for pair in pairs.items() for text in pair)


def _at_least(text: str, filled_in: bool) -> int:
    return utf8_bytes(text) - (_in_variables(text) if filled_in else 0)


def _in_variables(text: str) -> int:
    """Count the bytes that stand between ``{{`` and ``}}``, these included, in one pass."""
    size, opening = 0, text.find("{{")
    while opening >= 0 and (closing := text.find("}}", opening + 2)) >= 0:
        size += utf8_bytes(text[opening : closing + 2])
        opening = text.find("{{", closing + 2)
    return size


def _unescaped(text: str) -> int:
    """Count the bytes of JSON text, each escape as the one character that it stands for."""
    rest = text.replace(r"\\", "-")  # so that each backslash left begins an escape
    return utf8_bytes(rest) - rest.count("\\") - rest.count(r"\u") * len("001f")
