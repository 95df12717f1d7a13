"""The columns of a row as a recipient of a request, or as the registration of a device.

Only what a file has and a request has not is decided here. The rules of tokens, ids and texts are
those of the request and of the registry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from push_sender.jobs.column_names import (
    COLUMNS_OF,
    PINPOINT_ATTRIBUTES,
    TEXT_MAPS,
    TEXTS,
    is_known,
    is_used,
)
from push_sender.jobs.files import Layout, Row
from push_sender.request.errors import path_of
from push_sender.request.languages import is_tag
from push_sender.request.services import SERVICES

_NO_PUSH: Final = frozenset({"EMAIL", "SMS", "VOICE", "CUSTOM", "IN_APP"})
"""Values of ChannelType that are no push (Amazon Pinpoint API Reference, "Endpoints")."""

_OPTED_OUT: Final = {
    **dict.fromkeys(("ALL", "TRUE", "YES", "1"), True),
    **dict.fromkeys(("NONE", "FALSE", "NO", "0"), False),
}
"""What ``OptOut`` of Pinpoint can be, and the usual forms of true and false."""

_TEXTS: Final = frozenset(TEXTS)

_VARIABLES: Final = "substitutions"

_FIELDS: Final = {
    **{name: name for name in TEXT_MAPS},
    **dict.fromkeys(PINPOINT_ATTRIBUTES, _VARIABLES),
}
"""The fields of a recipient by the places of their members: ``place.NAME``."""

_ATTRIBUTES: Final = ("attributes", *PINPOINT_ATTRIBUTES)
"""The places of a device's attributes."""

_PREFIXES: Final = tuple(f"{place}." for place in {**_FIELDS, "attributes": ""})

_PLAIN: Final = re.compile("[A-Za-z0-9_. -]+")
"""Names that JSON has no escape for, other than by their codes."""

_NUMBER: Final = re.compile(r"[0-9]{1,10}(\.0{1,9})?")

Fields = Mapping[str, list[str]]


class Skipped(NamedTuple):
    """A row that gets no push on purpose, such as one of an e-mail address."""

    reason: str


class Invalid(NamedTuple):
    """A row that cannot be a recipient or a registration."""

    reason: str


class _InvalidRowError(Exception):
    """A row cannot be used; its text is the reason."""


class Recipients:
    """Makes recipients of rows.

    Parameters
    ----------
    request
        The request that they get. Values of message variables that it does not use are left out,
        unless the row has texts of its own: an export of Pinpoint has many attributes, and each
        would make an address of the call larger.
    ignore_opt_out
        Whether people who opted out get the push, too.
    """

    def __init__(self, request: Mapping[str, Any], *, ignore_opt_out: bool) -> None:
        self._ignore_opt_out = ignore_opt_out
        self._request = json.dumps(request, ensure_ascii=False)
        self._is_named: dict[str, bool] = {}

    def of(self, row: Row) -> Mapping[str, Any] | Skipped | Invalid:
        """Make a recipient of a row.

        A row with a token is that token, also if it names a user. A row with a user and without a
        token is all devices of the user, or the one that ``device_id`` names.
        """
        fields = row.fields
        if fields is None:
            return Invalid(row.reason or "")
        try:
            reason = _skipped(fields) or _opted_out(fields, ignore_opt_out=self._ignore_opt_out)
            if reason:
                return Skipped(reason)
            return {**_who(fields), **self._personal(fields)}
        except _InvalidRowError as error:
            return Invalid(str(error))

    def used(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of a file, with the empty text in place of those not to be read."""
        places = [_place(column) for column in columns]
        has_texts = any(
            name in _TEXTS or _FIELDS.get(place, _VARIABLES) != _VARIABLES for place, name in places
        )
        return [
            column
            if is_used(column, "send")
            and (_FIELDS.get(place) != _VARIABLES or has_texts or self._may_use(name))
            else ""
            for column, (place, name) in zip(columns, places, strict=True)
        ]

    def _personal(self, fields: Fields) -> dict[str, Any]:
        personal: dict[str, Any] = {name: _one(fields[name]) for name in fields if name in _TEXTS}
        members = _members(fields, _FIELDS)
        has_texts = bool(personal) or any(_FIELDS[place] != _VARIABLES for place, _, _ in members)
        if "badge" in personal:
            personal["badge"] = _number(personal["badge"])
        if language := _language(fields):
            personal["language"] = language
        for place, name, values in members:
            field = _FIELDS[place]
            if field != _VARIABLES:
                personal.setdefault(field, {}).setdefault(name, _one(values))
            elif has_texts or self._may_use(name):
                personal.setdefault(field, {}).setdefault(name, values)
        return personal

    def _may_use(self, variable: str) -> bool:
        """Return whether the request may use a variable: its name is anywhere in the request.

        A payload may be text with escapes, so a name that JSON may escape counts as used.
        """
        is_named = self._is_named.get(variable)
        if is_named is None:
            can_be_found = _PLAIN.fullmatch(variable) and "\\u" not in self._request
            is_named = not can_be_found or variable.strip() in self._request
            self._is_named[variable] = is_named
        return is_named


def registration_of(
    row: Row, *, ignore_opt_out: bool
) -> tuple[str, Mapping[str, Any]] | Skipped | Invalid:
    """Make a registration of a row.

    Parameters
    ----------
    row
        The row.
    ignore_opt_out
        Whether people who opted out are registered as if they had not.

    Returns
    -------
    tuple
        The device id, and the body of ``PUT /devices/{device_id}``, which the registry checks.
    """
    fields = row.fields
    if fields is None:
        return Invalid(row.reason or "")
    try:
        if reason := _skipped(fields):
            return Skipped(reason)
        device_id = _value(fields, "device_id")
        if device_id is None:
            return Invalid("no_device_id")
        body = {
            **_address(fields),
            "user_id": _value(fields, "user_id"),
            "language": _language(fields),
            "time_zone": _value(fields, "time_zone"),
            "app_version": _value(fields, "app_version"),
            "tags": fields.get("tags"),
            "attributes": _attributes(fields),
            "opted_out": bool(_opted_out(fields, ignore_opt_out=ignore_opt_out)),
        }
    except _InvalidRowError as error:
        return Invalid(str(error))
    return device_id, {name: value for name, value in body.items() if value}


def time_zone_of(row: Row) -> str | None:
    """Return the time zone of a row, any text; None if it has none, or several."""
    try:
        return _value(row.fields or {}, "time_zone")
    except _InvalidRowError:
        return None


def unknown_columns(layout: Layout, first_rows: Sequence[Row], action: str) -> list[str]:
    """Name the columns that a job of an action does not use.

    A name that could be content rather than the name of a column is not shown. Columns that only
    Pinpoint's exports have are not named.

    Parameters
    ----------
    layout
        How the file is written.
    first_rows
        The first rows: those of JSON Lines have the names.
    action
        ``send`` or ``register_devices``.
    """
    names = [*layout.columns, *(name for row in first_rows for name in row.fields or ())]
    unknown = [name for name in dict.fromkeys(names) if name and not is_known(name, action)]
    return list(dict.fromkeys(map(_shown, unknown)))


def _shown(name: str) -> str:
    path = ""
    for part in name.split("."):
        path = path_of(path, part)
    return path


def _skipped(fields: Fields) -> str | None:
    if _value(fields, "service") in _NO_PUSH:
        return "no_push_channel"
    return "inactive" if _value(fields, "status") == "INACTIVE" else None


def _opted_out(fields: Fields, *, ignore_opt_out: bool) -> str | None:
    given = (_value(fields, "opted_out") or "NONE").upper()
    if given not in _OPTED_OUT:
        raise _InvalidRowError("unknown_opt_out")
    return "opted_out" if _OPTED_OUT[given] and not ignore_opt_out else None


def _who(fields: Fields) -> dict[str, Any]:
    user_id = None if _value(fields, "token") else _value(fields, "user_id")
    if user_id is None:
        return _address(fields)
    device_id = _value(fields, "device_id")
    return (
        {"user_id": user_id} if device_id is None else {"user_id": user_id, "device_id": device_id}
    )


def _address(fields: Fields) -> dict[str, Any]:
    token, service = _value(fields, "token"), _value(fields, "service")
    if token is None:
        raise _InvalidRowError("no_token")
    if service not in SERVICES:
        raise _InvalidRowError("unknown_service" if service else "no_service")
    return {"token": token, "service": service}


def _attributes(fields: Fields) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for _, name, values in _members(fields, _ATTRIBUTES):
        attributes.setdefault(name, ", ".join(values))
    return attributes


def _members(fields: Fields, places: Collection[str]) -> list[tuple[str, str, list[str]]]:
    """Find the columns ``place.NAME``: their places, names and values, in the places' order."""
    found = [
        (*_place(column), values)
        for column, values in fields.items()
        if column.startswith(_PREFIXES)
    ]
    return [each for place in places for each in found if each[0] == place] if found else []


def _place(column: str) -> tuple[str, str]:
    """Split ``place.NAME``; the place of any other column is the empty text."""
    for prefix in _PREFIXES:
        if column.startswith(prefix):
            return prefix[:-1], column[len(prefix) :]
    return "", column


def _value(fields: Fields, member: str) -> str | None:
    """Return the value of a member that has several columns, without spaces around it."""
    for column in COLUMNS_OF[member]:
        if values := fields.get(column):
            return _one(values).strip() or None
    return None


def _language(fields: Fields) -> str | None:
    language = _value(fields, "language")
    if language is None or COLUMNS_OF["language"][0] in fields:
        return language
    # A phone's locale can be more than a language tag, which is no reason to send it nothing.
    tag = language.replace("_", "-")
    return tag if is_tag(tag) else None


def _one(values: Sequence[str]) -> str:
    if len(values) > 1 and len({*values}) > 1:
        raise _InvalidRowError("too_many_values")
    return values[0]


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _InvalidRowError("badge_not_a_number")
    return int(float(text))
