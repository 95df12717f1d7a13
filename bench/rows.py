"""The files whose rows jobs send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

TOKENS: Final = "tokens"
EXPORT: Final = "export"

_HEADERS: Final[Mapping[str, str]] = {
    TOKENS: "token,service,user_id,opted_out",
    EXPORT: (
        "Id,ChannelType,Address,EndpointStatus,OptOut,EffectiveDate,Demographic.AppVersion,"
        "Demographic.Locale,Demographic.Platform,Demographic.Timezone,User.UserId,"
        "Attributes.Plan,Attributes.Team,Attributes.Teams,User.UserAttributes.FirstName"
    ),
}


def _token_row(number: int) -> str:
    return f"{number:064x},GCM,user-{number:09},NONE"


def _export_row(number: int) -> str:
    return (
        f"endpoint-{number:09},GCM,{number:064x},ACTIVE,NONE,2026-03-01T08:30:00.000Z,7.2.1,de_DE,"
        f"Android,Europe/Berlin,user-{number:09},premium,FC Example {number % 40:02},"
        f'"FC Example, Example United",Name{number % 900:03}'
    )


_ROWS: Final[Mapping[str, Callable[[int], str]]] = {TOKENS: _token_row, EXPORT: _export_row}


def write_rows(file: Path, kind: str, rows: int) -> None:
    """Write a file of one kind, ``TOKENS`` or ``EXPORT``; each row is another token."""
    with file.open("w", encoding="utf-8") as written:
        written.write(f"{_HEADERS[kind]}\n")
        written.writelines(f"{_ROWS[kind](number)}\n" for number in range(rows))
