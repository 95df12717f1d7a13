"""The names of the columns that a file may have.

Ours are the fields of a recipient and of a registration. Pinpoint's are those of its exports
(Amazon Pinpoint User Guide, "Importing segments").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from push_sender.request.model import MAPS, PersonalContent

TEXTS: Final = tuple(
    name
    for name in PersonalContent.model_fields
    # An object in a line of JSON is columns of its own, so raw content could not stay whole.
    if name not in MAPS and name not in ("raw_content", "language")
)
"""The fields of a recipient that hold one value and have a column of the same name."""

TEXT_MAPS: Final = tuple(name for name in PersonalContent.model_fields if name in MAPS)
"""The fields of a recipient that are maps. A column is one member: ``data.NAME``."""

COLUMNS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "token": ("token", "Address"),
    "service": ("service", "ChannelType"),
    "user_id": ("user_id", "User.UserId"),
    "device_id": ("device_id", "Id"),
    "language": ("language", "Demographic.Locale"),
    "time_zone": ("time_zone", "Demographic.Timezone"),
    "app_version": ("app_version", "Demographic.AppVersion"),
    "opted_out": ("opted_out", "OptOut"),
    "status": ("EndpointStatus",),
}
"""The columns of each member: ours, then Pinpoint's. If a row has both, ours counts."""

PINPOINT_ATTRIBUTES: Final = ("Attributes", "User.UserAttributes")
"""Pinpoint's maps of texts. If a name is in both, the first counts."""

_PINPOINT: Final = frozenset(columns[-1] for columns in COLUMNS_OF.values())
_COMMON: Final = {
    *("token", "service", "user_id", "device_id", "language", "time_zone", "opted_out"),
    *_PINPOINT,
}
_UNUSED: Final = (
    *("ApplicationId", "CohortId", "CreationDate", "EffectiveDate", "RequestId"),
    *("Demographic", "Location", "Metrics"),
)
"""Columns of Pinpoint's exports that have no place here (its API Reference, EndpointResponse)."""

_SINGLE: Final[Mapping[str, frozenset[str]]] = {
    "send": frozenset({*_COMMON, *TEXTS}),
    "register_devices": frozenset({*_COMMON, "app_version", "tags"}),
}
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "send": (*TEXT_MAPS, *PINPOINT_ATTRIBUTES),
    "register_devices": ("attributes", *PINPOINT_ATTRIBUTES),
}
_WHO: Final = (*COLUMNS_OF["token"], *COLUMNS_OF["user_id"])


def is_used(column: str, action: str) -> bool:
    """Return whether an action of a job uses a column."""
    return column in _SINGLE[action] or _is_member(column, _MEMBERS[action])


def is_known(column: str, action: str) -> bool:
    """Return whether an action of a job uses a column, or leaves it out on purpose."""
    return is_used(column, action) or column in _UNUSED or _is_member(column, _UNUSED)


def _is_member(column: str, maps: Iterable[str]) -> bool:
    return any(column.startswith(f"{name}.") for name in maps)


def known_in(columns: tuple[str, ...]) -> int:
    """Count the columns that some action knows."""
    return sum(any(is_known(column, action) for action in _SINGLE) for column in columns)


def names_recipients(columns: tuple[str, ...]) -> bool:
    """Return whether a column says who gets the push."""
    return not set(_WHO).isdisjoint(columns)


def described() -> str:
    """List the columns for an error."""
    ours = set().union(*_SINGLE.values()) - _PINPOINT
    maps = [
        name for names in _MEMBERS.values() for name in names if name not in PINPOINT_ATTRIBUTES
    ]
    return f"{_listed(ours, maps)}; those of Pinpoint are {_listed(_PINPOINT, PINPOINT_ATTRIBUTES)}"


def _listed(columns: Iterable[str], maps: Iterable[str]) -> str:
    return ", ".join([*sorted(columns), *(f"{name}.NAME" for name in maps)])
