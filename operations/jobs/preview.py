"""What the run will make of the first rows, by the function's own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from operations.account import OperationsError
from operations.jobs.input_files import Counted
from operations.redaction import shortened_token
from push_sender.jobs.child import INVALID_ROW, SKIPPED, Tally
from push_sender.jobs.columns import recipient_of, registration_of, unknown_columns
from push_sender.jobs.files import Layout, rows_of
from push_sender.jobs.recipients import leaving_out_refused, request_for, without_repeated
from push_sender.messages.payloads import individual_content
from push_sender.messages.substitutions import fill_all
from push_sender.request.errors import InvalidRequest
from push_sender.request.model import Recipient, UserRecipient
from push_sender.validation.check import Checked, check

SHOWN: Final = 5
"""How many rows a preview shows."""

_TEXTS: Final = ("title", "message")
_REASONS: Final = 8
_ANYBODY: Final = (1, {"token": "none", "service": "GCM"})


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


class FirstRows(NamedTuple):
    """What the first rows are.

    Attributes
    ----------
    rows
        How many were looked at.
    is_all
        Whether there are no others.
    good
        How many will be sent or registered.
    reasons
        How many of the others there are, by outcome and reason.
    ignored_columns
        Those that a job does not use.
    shown
        The first ones that will be sent or registered.
    """

    rows: int
    is_all: bool
    good: int
    reasons: Mapping[str, Counter[str]]
    ignored_columns: Sequence[str]
    shown: Sequence[ShownRow]


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
    tally = Tally()
    shown: Sequence[ShownRow]
    if request is None:
        registrations = tally.sort(rows, partial(registration_of, ignore_opt_out=ignore_opt_out))
        good = len(registrations)
        shown = [_registration(number, *made) for number, made in registrations[:SHOWN]]
    else:
        made = tally.sort(rows, partial(recipient_of, ignore_opt_out=ignore_opt_out))
        asked = partial(
            _checked, request=request, application_id=application_id, has_registry=has_registry
        )
        recipients: Sequence[tuple[int, Any]] = without_repeated(made, tally)
        try:
            if not recipients:
                asked([_ANYBODY])  # all rows may be skipped, and the request wrong
            _, recipients = leaving_out_refused(recipients, asked, tally)
        except InvalidRequest as error:
            raise OperationsError(f"The request cannot be sent:\n{error}") from None
        good = len(recipients)
        shown = list(_sent_rows(recipients[:SHOWN], asked(recipients[:SHOWN])) if good else ())
    reasons = {outcome: Counter[str]() for outcome in tally.counts}
    for line in tally.lines:
        reasons[line["outcome"]][line["reason"] or "listed before"] += 1
    if not good and not tally.counts[SKIPPED]:
        of_invalid = reasons.get(INVALID_ROW, Counter())
        raise OperationsError(
            f"None of the first {len(rows):,} rows can be used: {in_words(of_invalid)}. "
            "docs/jobs.md lists the columns and the reasons."
        )
    ignored = unknown_columns(layout, rows, action)
    return FirstRows(len(rows), len(rows) == counted.rows, good, reasons, ignored, shown)


def _checked(
    recipients: Sequence[tuple[int, Mapping[str, Any]]],
    *,
    request: Mapping[str, Any],
    application_id: str,
    has_registry: bool,
) -> Checked:
    asked = request_for(request, application_id, recipients)
    return check(asked, [application_id], has_registry=has_registry)


def in_words(reasons: Counter[str]) -> str:
    """Write reasons with their numbers, the most frequent one first."""
    return ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common(_REASONS))


def _sent_rows(rows: Sequence[tuple[int, Any]], checked: Checked) -> list[ShownRow]:
    request = checked.request
    variants = {
        position: group.variant
        for group, positions in checked.audience.positions.items()
        for position in positions
    }
    shown = []
    for position, ((number, _), recipient) in enumerate(zip(rows, request.everyone, strict=True)):
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
