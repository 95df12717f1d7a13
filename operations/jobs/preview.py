"""What the run will make of the first rows, by the function's own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from operations.account import OperationsError
from operations.jobs.input_files import Counted
from operations.redaction import shortened_token
from push_sender.jobs.columns import (
    Invalid,
    Skipped,
    recipient_of,
    registration_of,
    unknown_columns,
)
from push_sender.jobs.files import Layout, rows_of
from push_sender.messages.payloads import individual_content
from push_sender.messages.substitutions import fill_all
from push_sender.request.errors import InvalidRequest, UnlistedFindings
from push_sender.request.model import Recipient, UserRecipient
from push_sender.validation.check import Checked, check

SHOWN: Final = 5
"""How many rows a preview shows."""

_TEXTS: Final = ("title", "message")
_OF_A_ROW: Final = "recipients["


class ShownRow(NamedTuple):
    """A row as it will be sent or registered, for a person.

    Attributes
    ----------
    number
        Counted from 1, without the header.
    cells
        By the heading of the column. No user id, and of a token only the start.
    """

    number: int
    cells: Mapping[str, str]


@dataclass
class FirstRows:
    """What the first rows are.

    Attributes
    ----------
    rows
        How many were looked at.
    is_all
        Whether there are no others.
    skipped, invalid
        How many, by reason.
    ignored_columns
        Those that a job does not know.
    shown
        The first ones that will be sent or registered.
    """

    rows: int
    is_all: bool
    ignored_columns: Sequence[str]
    skipped: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    shown: Sequence[ShownRow] = ()

    @property
    def good(self) -> int:
        """How many will be sent or registered."""
        return self.rows - self.skipped.total() - self.invalid.total()


def preview(
    layout: Layout,
    counted: Counted,
    request: Mapping[str, Any] | None,
    application_id: str,
    *,
    has_registry: bool,
    ignore_opt_out: bool,
) -> FirstRows:
    """Read and check the first rows of a job.

    Parameters
    ----------
    layout, counted
        How the rows are written, how many there are, and the first ones.
    request
        What to send to them; None for an import.
    application_id
        The project.
    has_registry
        Whether rows may be users.
    ignore_opt_out
        Whether the column ``OptOut`` does not count.

    Raises
    ------
    OperationsError
        With every error of the request, or if no row can be sent and none is skipped.
    """
    rows = list(rows_of(layout, counted.first, 1))
    action = "send" if request is not None else "register_devices"
    ignored = unknown_columns(layout, rows, action)
    found = FirstRows(len(rows), len(rows) == counted.rows, ignored)
    good: list[tuple[int, Any]] = []
    read = recipient_of if request is not None else registration_of
    for row in rows:
        match read(row, ignore_opt_out=ignore_opt_out):
            case Skipped(reason):
                found.skipped[reason] += 1
            case Invalid(reason):
                found.invalid[reason] += 1
            case made:
                good.append((row.number, made))
    if request is None:
        found.shown = [_registration(number, *made) for number, made in good[:SHOWN]]
    else:
        event = {"application_id": application_id, **request}
        bad = _bad_rows(event, [made for _, made in good], has_registry=has_registry)
        found.invalid.update(bad.values())
        sent = [each for at, each in enumerate(good) if at not in bad][:SHOWN]
        if sent:
            event["recipients"] = [made for _, made in sent]
            checked = check(event, [event["application_id"]], has_registry=has_registry)
            found.shown = list(_sent_rows([number for number, _ in sent], checked))
    if not found.good and not found.skipped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.invalid.most_common(5))
        raise OperationsError(
            f"None of the first {found.rows:,} rows can be "
            f"{'registered' if request is None else 'sent'}: {reasons}. "
            "docs/jobs.md lists the columns and the reasons."
        )
    return found


def _bad_rows(
    event: Mapping[str, Any], recipients: Sequence[Any], *, has_registry: bool
) -> dict[int, str]:
    """Find the rows that the request's rules refuse: the position of each, and why.

    Raises
    ------
    OperationsError
        With every error that is not of a single row.
    """
    # Without any recipient, the request is checked all the same.
    asked = {**event, "recipients": recipients or [{"token": "none", "service": "GCM"}]}
    try:
        check(asked, [event["application_id"]], has_registry=has_registry)
    except InvalidRequest as error:
        refused = error
    else:
        return {}
    errors = [each for each in refused.errors if not isinstance(each, UnlistedFindings)]
    general = [each for each in errors if not each.path.startswith(_OF_A_ROW)]
    if general:
        raise OperationsError("\n".join(["The request cannot be sent:", *map(str, general)]))
    bad: dict[int, str] = {}
    for each in errors:
        place, _, member = each.path.removeprefix(_OF_A_ROW).partition("]")
        member = member.removeprefix(".")
        bad.setdefault(int(place), f"{member}: {each.message}" if member else each.message)
    return bad


def _sent_rows(numbers: Sequence[int], checked: Checked) -> list[ShownRow]:
    request = checked.request
    variants = {
        position: group.variant
        for group, positions in checked.audience.positions.items()
        for position in positions
    }
    shown = []
    for position, (number, recipient) in enumerate(zip(numbers, request.everyone, strict=True)):
        content: Mapping[str, Any]
        if isinstance(recipient, UserRecipient) or position not in variants:
            # The services of a user's devices are not known here, so their own texts are not shown.
            chosen = request.choose(recipient.language) if request.choose else None
            translation = (request.translations or {}).get(chosen) if chosen else None
            content = {
                name: value
                for part in (request, translation)
                if part is not None
                for name, value in vars(part).items()
                if value is not None
            }
        else:
            content = checked.contents[variants[position]]
        texts = fill_all(individual_content(content, recipient), _TEXTS)  # type: ignore[arg-type]  # a user has the same texts
        to = (
            f"{recipient.service} {shortened_token(recipient.token)}"
            if isinstance(recipient, Recipient)
            else "a user"
        )
        cells = {"to": to, "language": recipient.language or "-"}
        shown.append(
            ShownRow(number, cells | {name: str(texts.get(name) or "-") for name in _TEXTS})
        )
    return shown


def _registration(number: int, _: str, members: Mapping[str, Any]) -> ShownRow:
    token = shortened_token(str(members.get("token")))
    cells = {
        "device": f"{members.get('service')} {token}",
        "user": "yes" if members.get("user_id") else "no",
        **{
            name: str(members.get(name) or "-") for name in ("language", "time_zone", "app_version")
        },
        "opted out": "yes" if members.get("opted_out") else "no",
    }
    return ShownRow(number, cells)
