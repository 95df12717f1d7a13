"""The columns of a row as a recipient of a request, or as the registration of a device.

Only what a file has and a request has not is decided here. The rules of tokens, ids and texts are
those of the request and of the registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from push_sender.jobs.column_names import (
    PINPOINT_ATTRIBUTES,
    SAME,
    TEXT_MAPS,
    TEXTS,
    is_known,
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


def recipient_of(row: Row, *, ignore_opt_out: bool) -> Mapping[str, Any] | Skipped | Invalid:
    """Make a recipient of a row.

    A row with a token is that token, also if it names a user. A row with a user and without a
    token is all devices of the user, or the one that ``device_id`` names.

    Parameters
    ----------
    row
        The row.
    ignore_opt_out
        Whether people who opted out get the push, too.
    """
    fields = row.fields
    if fields is None:
        return Invalid(row.reason or "")
    try:
        reason = _skipped(fields) or _opted_out(fields, ignore_opt_out=ignore_opt_out)
        if reason:
            return Skipped(reason)
        return {**_who(fields), **_personal(fields)}
    except _InvalidRowError as error:
        return Invalid(str(error))


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
        device_id = _same(fields, "device_id")
        if device_id is None:
            return Invalid("no_device_id")
        body = {
            **_address(fields),
            "user_id": _same(fields, "user_id"),
            "language": _language(fields),
            "time_zone": _same(fields, "time_zone"),
            "app_version": _same(fields, "app_version"),
            "tags": fields.get("tags"),
            "attributes": {
                name: ", ".join(values)
                for name, values in _members(fields, "attributes", *PINPOINT_ATTRIBUTES).items()
            },
            "opted_out": bool(_opted_out(fields, ignore_opt_out=ignore_opt_out)),
        }
    except _InvalidRowError as error:
        return Invalid(str(error))
    return device_id, {name: value for name, value in body.items() if value}


def time_zone_of(row: Row) -> str | None:
    """Return the time zone of a row, any text; None if it has none, or several."""
    try:
        return _same(row.fields or {}, "time_zone")
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
    if _same(fields, "service") in _NO_PUSH:
        return "no_push_channel"
    return "inactive" if _same(fields, "status") == "INACTIVE" else None


def _opted_out(fields: Fields, *, ignore_opt_out: bool) -> str | None:
    given = (_same(fields, "opted_out") or "NONE").upper()
    if given not in _OPTED_OUT:
        raise _InvalidRowError("unknown_opt_out")
    return "opted_out" if _OPTED_OUT[given] and not ignore_opt_out else None


def _who(fields: Fields) -> dict[str, Any]:
    user_id = _same(fields, "user_id")
    if user_id is None or _same(fields, "token"):
        return _address(fields)
    device_id = _same(fields, "device_id")
    return (
        {"user_id": user_id} if device_id is None else {"user_id": user_id, "device_id": device_id}
    )


def _address(fields: Fields) -> dict[str, Any]:
    token, service = _same(fields, "token"), _same(fields, "service")
    if token is None:
        raise _InvalidRowError("no_token")
    if service not in SERVICES:
        raise _InvalidRowError("unknown_service" if service else "no_service")
    return {"token": token, "service": service}


def _personal(fields: Fields) -> dict[str, Any]:
    personal: dict[str, Any] = {name: _one(fields[name]) for name in TEXTS if name in fields}
    if "badge" in personal:
        personal["badge"] = _number(personal["badge"])
    if language := _language(fields):
        personal["language"] = language
    for name in TEXT_MAPS:
        if name == "substitutions":
            values: Mapping[str, Any] = _members(fields, name, *PINPOINT_ATTRIBUTES)
        else:
            values = {key: _one(given) for key, given in _members(fields, name).items()}
        if values:
            personal[name] = values
    return personal


def _members(fields: Fields, *places: str) -> dict[str, list[str]]:
    """Collect the columns ``place.NAME`` by name; an earlier place wins."""
    found: dict[str, list[str]] = {}
    for place in places:
        for column, values in fields.items():
            if column.startswith(f"{place}."):
                found.setdefault(column[len(place) + 1 :], values)
    return found


def _same(fields: Fields, member: str) -> str | None:
    """Return the value of a member that has several columns, without spaces around it."""
    for column in SAME[member]:
        if column in fields:
            return _one(fields[column]).strip() or None
    return None


def _language(fields: Fields) -> str | None:
    language = _same(fields, "language")
    if language is None or SAME["language"][0] in fields:
        return language
    # A phone's locale can be more than a language tag, which is no reason to send it nothing.
    tag = language.replace("_", "-")
    return tag if is_tag(tag) else None


def _one(values: Iterable[str]) -> str:
    value, *others = dict.fromkeys(values)
    if others:
        raise _InvalidRowError("too_many_values")
    return value


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _InvalidRowError("badge_not_a_number")
    return int(float(text))
