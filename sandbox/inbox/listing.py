"""List the pushes of all projects, with filters, a search, and a cursor.

Without a cursor the list has requests and answers. With a cursor (``since``), each push also has
its number, the card that a phone would show, and its outcome. Refused calls and the counts of the
inboxes are added: the inbox's page needs them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain, count, islice
from typing import Any, Final

from sandbox import entry_points
from sandbox.inbox import cards as drawing
from sandbox.inbox import registry
from sandbox.pinpoint.devices import CHANNELS
from sandbox.pinpoint.outcomes import IN_REPORTS, outcome, outcome_in_report, outcome_of_refusal
from sandbox.pinpoint.pushes import Push, Refusal, every_inbox, numbers

NO_ENTRY_POINT: Final = "none"
"""The filter for calls that no function made."""

_CLEARING: Final = ("service", "entry_point", "outcome", "text")
_FILTERS: Final = ("token", "application_id", *_CLEARING)

# Shows readers with a cursor that pushes before it were removed.
_clearings: Final = count(1)
_cleared: list[int] = [0]


class BadQueryError(ValueError):
    """The query is invalid; the message names what is accepted."""


def listing(query: Mapping[str, str]) -> dict[str, Any]:
    """List the pushes that match a query, the newest last, and count the calls.

    Parameters
    ----------
    query
        ``token``, ``service`` and ``application_id``, exactly; ``entry_point``, the entry point, or
        ``none`` for calls that no function made; ``outcome``, as in a report; ``text``, a part
        of the token or of the card; ``since``, the number after which to begin; ``limit``, how
        many of the newest.

    Raises
    ------
    BadQueryError
        If the query is invalid.
    """
    limit, since = query.get("limit", "all"), query.get("since", "0")
    if (
        set(query) - {*_FILTERS, "since", "limit"}
        or not re.fullmatch(r"all|[0-9]{1,9}", limit)
        or not re.fullmatch(r"[0-9]{1,16}", since)
    ):
        raise BadQueryError(f"takes {', '.join(_FILTERS)}, and since and limit as whole numbers")
    # Read first: a push that arrives meanwhile has a higher number and is in the next list.
    cursor = numbers.last()
    contents = [inbox.contents(int(since)) for inbox in every_inbox()]
    newest_first = sorted(
        chain.from_iterable(content.pushes for content in contents),
        key=lambda numbered: numbered[0],
        reverse=True,
    )
    # A generator: a search that has found enough does not draw the other cards.
    chosen = (
        (number, push) for number, push in newest_first if number <= cursor and _chosen(push, query)
    )
    most = None if limit == "all" else int(limit)
    pushes = list(islice(chosen, most))[::-1]
    calls: Counter[int] = sum((content.calls for content in contents), Counter())
    listed = {"calls": {str(status): calls[status] for status in sorted(calls)}}
    if "since" not in query:
        return {"messages": [push.as_json() for _, push in pushes], **listed}
    refusals = sorted(
        (
            (number, refusal)
            for number, refusal in chain.from_iterable(each.refusals for each in contents)
            if number <= cursor and _chosen_refusal(refusal, query)
        ),
        key=lambda numbered: numbered[0],
    )
    tables = registry.registries() if pushes else []
    return {
        "messages": [
            {
                **_push_entry(number, push),
                "device": registry.owner(tables, push.application_id, push.service, push.token),
            }
            for number, push in pushes
        ],
        "refused": [
            _refusal_entry(number, refusal) for number, refusal in refusals[::-1][:most][::-1]
        ],
        **listed,
        "cursor": cursor,
        "oldest": min((each.oldest for each in contents if each.oldest), default=cursor + 1),
        "kept": sum(content.kept for content in contents),
        "dropped": sum(content.dropped for content in contents),
        "clearings": _cleared[0],
    }


def clearing(query: Mapping[str, str]) -> dict[str, Any]:
    """Remove the pushes that match a query, or all, and return how many there were.

    Parameters
    ----------
    query
        The filters of the page. Without a filter, the counts of calls and of attempts are
        removed, too.

    Raises
    ------
    BadQueryError
        If the query is invalid.
    """
    if set(query) - set(_CLEARING):
        raise BadQueryError(f"takes {', '.join(_CLEARING)}")
    _cleared[0] = next(_clearings)
    if not query:
        return {"cleared": sum(inbox.clear() for inbox in every_inbox())}
    return {
        "cleared": sum(
            inbox.forget(
                lambda push: _chosen(push, query), lambda refusal: _chosen_refusal(refusal, query)
            )
            for inbox in every_inbox()
        )
    }


def filters() -> dict[str, Any]:
    """List the values of the filters."""
    return {
        "services": list(CHANNELS),
        "outcomes": list(IN_REPORTS),
        "entry_points": [*entry_points.ALL, NO_ENTRY_POINT],
    }


def _chosen(push: Push, query: Mapping[str, str]) -> bool:
    if not _are(query, token=push.token, service=push.service):
        return False
    if not _are(
        query, application_id=push.application_id, entry_point=push.entry_point or NO_ENTRY_POINT
    ):
        return False
    if "outcome" in query and outcome_in_report(push.answer) != query["outcome"]:
        return False
    text = query.get("text", "").casefold()
    if text in push.token.casefold():  # an empty text is in every token
        return True
    return drawing.card(push.service, push.message).contains(text)


def _chosen_refusal(refusal: Refusal, query: Mapping[str, str]) -> bool:
    text = query.get("text", "").casefold()
    addresses = refusal.addresses or (("", ""),)
    return (
        _are(
            query,
            application_id=refusal.application_id,
            entry_point=refusal.entry_point or NO_ENTRY_POINT,
        )
        and _are(query, outcome=_outcome_of(refusal))
        and any(_are(query, token=token, service=service) for token, service in addresses)
        and any(
            text in shown.casefold()
            for shown in (*(token for token, _ in addresses), refusal.code, refusal.reason)
        )
    )


def _are(query: Mapping[str, str], **parts: str) -> bool:
    return all(query.get(name, part) == part for name, part in parts.items())


def _outcome_of(refusal: Refusal) -> str:
    return outcome_of_refusal(refusal.code, refusal.status, refusal.reason)


def _push_entry(number: int, push: Push) -> dict[str, Any]:
    return {
        "number": number,
        **push.as_json(),
        # Of the whole call: the request above has only this address.
        "addresses": len(push.request["Addresses"]),
        "card": asdict(drawing.card(push.service, push.message)),
        "outcome": outcome(push.answer),
        "outcome_in_report": outcome_in_report(push.answer),
    }


def _refusal_entry(number: int, refusal: Refusal) -> dict[str, Any]:
    return {
        "number": number,
        "time": refusal.time,
        "entry_point": refusal.entry_point,
        "application_id": refusal.application_id,
        "request_id": refusal.request_id,
        "status": refusal.status,
        "code": refusal.code,
        "reason": refusal.reason,
        "addresses": [{"token": token, "service": service} for token, service in refusal.addresses],
        "outcome_in_report": _outcome_of(refusal),
    }
