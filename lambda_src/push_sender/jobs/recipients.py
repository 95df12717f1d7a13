"""The rows of a child as recipients of requests, and the results of these as those of rows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, TypeVar

from push_sender.jobs.child import INVALID_ROW, Line, Tally
from push_sender.outcomes.outcome import Outcome
from push_sender.request.errors import MAX_RESULTS, Finding, InvalidRequest
from push_sender.request.services import SERVICES

Recipient = Mapping[str, Any]
Numbered = tuple[int, Recipient]
"""The number of a row, and the recipient that it is."""

_DEVICES_A_USER: Final = 25
"""The most devices of one user in the registry. So no part of a child is ever too large: whether
to split it does not depend on how many devices there are when it runs again."""

_PLACE: Final = re.compile(r"recipients\[([0-9]+)\]\.?(.*)", re.DOTALL)

_Identity = tuple[str, ...]

_Result = TypeVar("_Result")


def without_repeated(recipients: Iterable[Numbered], tally: Tally) -> list[Numbered]:
    """Leave out rows whose device or user is in an earlier row, and count them as duplicates."""
    seen: set[_Identity | None] = set()
    kept = []
    for number, recipient in recipients:
        one, other, part_of = _identities(recipient)
        if one not in seen and other not in seen:
            kept.append((number, recipient))
            seen.add(one)
            if part_of is not None:
                seen.add(part_of)
        elif "user_id" in recipient and "device_id" not in recipient and one not in seen:
            tally.add(INVALID_ROW, _named(number, recipient), "device_of_user_listed_before")
        else:
            tally.add(Outcome.DUPLICATE.value, _named(number, recipient))
    return kept


def _identities(
    recipient: Recipient,
) -> tuple[_Identity, _Identity | None, _Identity | None]:
    """Identify a recipient, another one with which it must not be listed, and what it is a part of.

    A device must not follow its whole user, and the user must not follow a part.
    """
    if "user_id" not in recipient:
        return ("token", recipient["token"], SERVICES[recipient["service"]].name), None, None
    user_id = recipient["user_id"]
    if "device_id" not in recipient:
        return ("user", user_id), ("part", user_id), None
    return ("device", user_id, recipient["device_id"]), ("user", user_id), ("part", user_id)


def parts_of(recipients: Sequence[Numbered]) -> Iterator[Sequence[Numbered]]:
    """Split the rows so that no part can have more results than a report."""
    part: list[Numbered] = []
    results = 0
    for number, recipient in recipients:
        is_user = "user_id" in recipient and "device_id" not in recipient
        most = _DEVICES_A_USER if is_user else 1
        if results + most > MAX_RESULTS:
            yield part
            part, results = [], 0
        part.append((number, recipient))
        results += most
    if part:
        yield part


def request_for(
    request: Mapping[str, Any], application_id: str, recipients: Sequence[Numbered]
) -> dict[str, Any]:
    """Write the request for some rows."""
    written = {
        **request,
        "application_id": application_id,
        "recipients": [recipient for _, recipient in recipients],
    }
    if not any("user_id" in each and "device_id" not in each for _, each in recipients):
        written.pop("device_filter", None)  # no user is left whose devices it chooses
    return written


def leaving_out_refused(
    recipients: Sequence[Numbered],
    use: Callable[[Sequence[Numbered]], _Result],
    tally: Tally,
    *,
    check: Callable[[Sequence[Numbered]], None] | None = None,
) -> tuple[_Result | None, Sequence[Numbered]]:
    """Use the rows, without those that the rules of a request refuse.

    Parameters
    ----------
    recipients
        The rows.
    use
        Uses rows that all follow the rules, or raises ``InvalidRequest`` and does nothing.
    tally
        Counts the refused rows, each with the error as its reason.
    check
        Raises what ``use`` would raise. With it, the rows of a push service for which the
        request is wrong are refused, and those of the other services are used.

    Returns
    -------
    tuple
        What ``use`` returns, or None if no row is left, and the rows that are left.

    Raises
    ------
    InvalidRequest
        Without ``check``: if the error is not about single rows.
    """
    while recipients:
        try:
            return use(recipients), recipients
        except InvalidRequest as error:
            refused = dict(_by_position(error.errors))
            if not refused and check is not None:
                refused = _of_refused_services(recipients, check)
            if not refused:
                raise
        for at, reason in refused.items():
            tally.add(INVALID_ROW, _named(*recipients[at]), reason)
        recipients = [each for at, each in enumerate(recipients) if at not in refused]
    return None, recipients


def _of_refused_services(
    recipients: Sequence[Numbered], check: Callable[[Sequence[Numbered]], None]
) -> dict[int, str]:
    """Find the rows of push services for which the request is wrong."""
    of_service: defaultdict[str | None, list[int]] = defaultdict(list)
    for at, (_, recipient) in enumerate(recipients):
        of_service[recipient.get("service")].append(at)  # users have none
    refused: dict[int, str] = {}
    for positions in of_service.values():
        try:
            check([recipients[at] for at in positions])
        except InvalidRequest as error:
            path, message = error.errors[0]
            refused |= dict.fromkeys(positions, f"{path}: {message}")
    return refused


def _by_position(errors: Iterable[Finding]) -> Iterator[tuple[int, str]]:
    """Find the errors about single rows; the first of each row."""
    for path, message in reversed(tuple(errors)):
        if found := _PLACE.fullmatch(path):
            yield int(found[1]), f"{found[2]}: {message}" if found[2] else message


def add_results(
    recipients: Sequence[Numbered], results: Sequence[Mapping[str, Any]], tally: Tally
) -> None:
    """Count the results of a report, and list those that were not accepted with their rows.

    A row with a token or a device has one result. A user has one a device, and no other row of
    this user stands between them.
    """
    rest = iter(results)
    number_of = Counter(result.get("user_id") for result in results)
    for user_id, group in groupby(recipients, lambda each: each[1].get("user_id")):
        rows = list(group)
        of_group = [next(rest) for _ in rows]
        if user_id is not None and "device_id" not in rows[0][1]:
            of_group += [next(rest) for _ in range(number_of[user_id] - 1)]
            rows *= number_of[user_id]
        for (row, recipient), result in zip(rows, of_group, strict=True):
            is_listed = result["outcome"] != Outcome.ACCEPTED
            line = _named(row, recipient, result) if is_listed else None
            tally.add(str(result["outcome"]), line, result["reason"])


def _named(row: int, recipient: Recipient, result: Mapping[str, Any] | None = None) -> Line:
    if "user_id" not in recipient:
        return {"row": row, "token": recipient["token"]}
    device_id = result["device_id"] if result else recipient.get("device_id")
    return {"row": row, "user_id": recipient["user_id"], "device_id": device_id}
