"""Finds everything malformed in a request, and keeps the rest for the rules to check.

This runs only for a request that pydantic refuses: pydantic stops at the first error of a list
or a map. Here each field is checked by itself, so that no error hides another one. No more
errors are kept than an answer has room for, however many millions there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from push_sender.request.errors import Finding, describe, kind_of, path_of, unknown_field
from push_sender.request.field_types import Text
from push_sender.request.languages import is_tag
from push_sender.request.model import (
    INNER_MODELS,
    MAPS,
    MAX_RECIPIENTS,
    MAX_TRANSLATIONS,
    OPTIONS,
    DeviceFilter,
    PushRequest,
    Recipient,
    Translation,
    UserRecipient,
    known_fields,
)

LISTED: Final = 10_000
"""Errors of malformed fields that are listed. The others are counted."""

UNKNOWN_LISTED: Final = 2_000
"""Unknown fields of one object that are listed. The others are counted."""

_HINTS: Final = 100
"""Unknown fields that get a near name suggested: finding one takes 0.1 ms."""

TEXTS_LISTED: Final = 1_000
"""Malformed texts of one map that are checked. By then the error of each kind is listed."""

_AT_ONCE: Final = 100
"""Texts of a map that are checked in one go, each of which may give an error."""


_Model = TypeVar("_Model", bound=BaseModel)


class Malformed:
    """Finds everything malformed in a request.

    Parameters
    ----------
    event
        The request as it came, an object.

    Attributes
    ----------
    errors
        What is wrong, each once and at most ``LISTED``.
    unlisted
        How many more there are.
    paths
        Of the malformed fields.
    request
        The request without them. Where a text is malformed it is empty, a map holds what is
        well-formed in it, and a recipient without a usable token or service has a stand-in.
    unusable
        Positions of the recipients whose service is not known.
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.unlisted = 0
        self.paths: set[str] = set()
        self.unusable: set[int] = set()
        self.errors: dict[Finding, None] = {}
        self._known = known_fields()
        nested = ("recipient", "recipients", "translations", *OPTIONS)
        self.request = self._object("", event, PushRequest, apart=nested)
        for option, model in OPTIONS.items():
            if event.get(option) is not None:
                setattr(self.request, option, self._object(option, event[option], model))
        if event.get("recipient") is not None:
            self.request.recipient = self._recipient("recipient", event["recipient"], 0)
        if event.get("recipients") is not None:
            self.request.recipients = self._recipients(event["recipients"])
        if event.get("translations") is not None:
            self.request.translations = self._translations(event["translations"])
        self._unknown("", event, PushRequest)

    def _translations(self, value: Any) -> dict[str, Translation]:
        if not isinstance(value, dict):
            self._wrong(PushRequest.model_construct(), "", "translations", value)
            return {}
        if len(value) > MAX_TRANSLATIONS:
            self._add("translations", f"must hold at most {MAX_TRANSLATIONS}")
            return {}
        made = {}
        for tag, translation in value.items():
            path = path_of("translations", tag)
            if is_tag(tag):
                made[tag] = self._object(path, translation, Translation)
            else:
                self._add(path, "must be named by a language tag, such as de or pt-BR")
        return made

    def _recipients(self, value: Any) -> list[Recipient | UserRecipient]:
        if not isinstance(value, list) or not value:
            self._wrong(PushRequest.model_construct(), "", "recipients", value)
            return []
        if len(value) > MAX_RECIPIENTS:
            self._wrong(
                PushRequest.model_construct(), "", "recipients", [_VALID_RECIPIENT] * len(value)
            )
        return [
            self._recipient(f"recipients[{position}]", each, position)
            for position, each in enumerate(islice(value, MAX_RECIPIENTS))
        ]

    def _recipient(self, place: str, value: Any, position: int) -> Recipient | UserRecipient:
        stand_in = f"stand-in-{position}"
        if _is_user(value):
            user = self._object(place, value, UserRecipient)
            self._complete(place, user, value, user_id=stand_in)
            return user
        recipient = self._object(place, value, Recipient)
        if "service" not in recipient.model_fields_set:
            self.unusable.add(position)
        self._complete(place, recipient, value, token=stand_in, service="GCM")
        return recipient

    def _complete(self, place: str, made: BaseModel, value: Any, **stand_ins: str) -> None:
        """Set required fields that were malformed, or are missing, which is an error."""
        # Beside a member of the other kind of recipient, only that member is an error.
        is_other = not isinstance(value, dict) or _is_nearly_user(value)
        for field, stand_in in stand_ins.items():
            if field in made.model_fields_set:
                continue
            if not is_other and not {field, *_MISPLACED[type(made)]} & value.keys():
                self._add(f"{place}.{field}", "is missing")
            setattr(made, field, stand_in)

    def _object(
        self, place: str, value: Any, model: type[_Model], apart: Sequence[str] = ()
    ) -> _Model:
        """Check each field of an object alone; give those that are well-formed."""
        made = model.model_construct()
        if not isinstance(value, dict):
            self._add(place, f"must be an object, not {kind_of(value)}")
            return made
        for name in model.model_fields:
            if name in value and name not in apart:
                self._wrong(made, place, name, value[name])
        if not apart:
            self._unknown(place, value, model)
        return made

    def _unknown(self, place: str, value: Mapping[str, Any], model: type[BaseModel]) -> None:
        """List the fields of an object that its model does not have."""
        unknown = (name for name in value if name not in model.model_fields)
        for name in islice(unknown, UNKNOWN_LISTED):
            known = _KNOWN_IN.get(model, self._known) if len(self.errors) < _HINTS else {}
            misplaced = _MISPLACED.get(model, {}).get(name)
            message = misplaced or unknown_field(name, known, place)
            self._list(Finding(path_of(place, name), message))
        self.unlisted += sum(1 for _ in unknown)

    def _wrong(self, made: BaseModel, place: str, name: str, value: Any) -> None:
        """Set a field to a value; list what is wrong with it, and keep its well-formed part."""
        path = path_of(place, name)
        if isinstance(value, dict) and (model := INNER_MODELS.get(type(made), {}).get(name)):
            malformed, found = len(self.paths), len(self.errors) + self.unlisted
            part = self._object(path, value, model)
            for field, about in model.model_fields.items():
                if about.is_required() and field not in value:
                    self._add(f"{path}.{field}", "is missing")
            if len(self.paths) == malformed:
                setattr(made, name, part)
            if len(self.errors) + self.unlisted > found:
                self.paths.add(path)
            return
        errors = _errors(made, name, value)
        if not errors:
            return
        if name in MAPS and isinstance(value, dict):
            for message in dict.fromkeys(_of_texts(value, lists=name == "substitutions")):
                self._add(path, message)
            if name != "substitutions":
                _errors(made, name, {k: v for k, v in value.items() if _is_text(k) and _is_text(v)})
            return
        for error in errors:
            inner = error["loc"][1:]
            named = next((each for each in reversed(inner) if isinstance(each, str)), name)
            self._add(_inner_path(path, inner), describe(error, named))
        _errors(made, name, "")  # takes the place of a text; no other kind of field takes it

    def _add(self, path: str, message: str) -> None:
        self.paths.add(path)
        self._list(Finding(path, message))

    def _list(self, error: Finding) -> None:
        if len(self.errors) < LISTED:
            self.errors[error] = None
        else:
            self.unlisted += 1


_ONE_OF_BOTH: Final = "give token and service, or user_id"
_OF_A_USER: Final = "goes with user_id, in place of token and service"
_MISPLACED: Final[Mapping[type[BaseModel], Mapping[str, str]]] = {
    Recipient: {
        "user_id": _ONE_OF_BOTH,
        "device_id": _OF_A_USER,
        "device_filter": _OF_A_USER,
    },
    UserRecipient: {"token": _ONE_OF_BOTH, "service": _ONE_OF_BOTH},
}
"""Of each kind of recipient, the members that only the other kind has."""


_KNOWN_IN: Final[Mapping[type[BaseModel], Mapping[str, Sequence[str]]]] = {
    DeviceFilter: {name: [name] for name in DeviceFilter.model_fields},
    UserRecipient: {**known_fields(), "tag": ["device_filter.tags"]},  # not gcm.tag
}
"""The fields that an unknown field of a model may be mistaken for, if not those of all objects."""


def _is_user(value: Any) -> bool:
    """Return whether a recipient is meant as a user."""
    return isinstance(value, dict) and "token" not in value and not value.keys().isdisjoint(_IDS)


_IDS: Final = ("user_id", "device_id")


def _is_nearly_user(value: Mapping[str, Any]) -> bool:
    """Return whether a recipient is meant as a user, and the name of the id is wrong."""
    return value.keys().isdisjoint((*_IDS, "token", "service")) and any(
        name[:6].lower().startswith(_OF_AN_ID) for name in islice(value, UNKNOWN_LISTED)
    )


_OF_AN_ID: Final = ("user", "usr", "device")

_VALID_RECIPIENT: Final = {"token": "t", "service": "GCM"}


def _errors(made: BaseModel, name: str, value: Any) -> list[ErrorDetails]:
    """Set a field to a value, or return the errors that prevent it."""
    try:
        made.__pydantic_validator__.validate_assignment(made, name, value)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _of_texts(value: Mapping[str, Any], *, lists: bool) -> Iterator[str]:
    """Describe what is wrong with the names and texts of a map."""
    yield from _of_each("a name", value)
    yield from _of_each("a value", _flat(value.values()) if lists else value.values())


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _of_each(what: str, texts: Iterable[Any]) -> Iterator[str]:
    one_of_a_kind = _one_of_a_kind(texts)
    found = 0
    while found < TEXTS_LISTED and (some := list(islice(one_of_a_kind, _AT_ONCE))):
        try:
            _texts().validate_python(some, strict=True)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                found += 1
                yield f"{what} {describe(each, '')}"
    if found >= TEXTS_LISTED:
        yield f"more than {found:,} texts are wrong; the rest was not looked at"


def _one_of_a_kind(texts: Iterable[Any]) -> Iterator[Any]:
    """Leave out what is no text and of a kind that was there before: the error is the same."""
    seen: set[type] = set()
    for text in texts:
        kind = type(text)
        if kind is str or kind not in seen:
            seen.add(kind)
            yield text


@cache
def _texts() -> TypeAdapter[list[str]]:
    return TypeAdapter(list[Text])


def _inner_path(path: str, inner: Sequence[int | str]) -> str:
    for each in inner:
        path = path_of(path, each) if isinstance(each, str) else f"{path}[{each}]"
    return path


def _is_text(value: object) -> bool:
    return bool(_texts().validator.isinstance_python([value], strict=True))
