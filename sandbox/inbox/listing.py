"""The inboxes as one list: filtered, searched, and read on from where a reader was.

Without a cursor the list is what was sent and answered. With one (``since``), each push has
its number, the card that a phone would show and the outcome besides, the calls that were
refused whole are listed, too, and the list says what the inboxes hold: what the inbox's page
needs to follow it.
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
from sandbox.pinpoint.devices import CHANNELS
from sandbox.pinpoint.outcomes import IN_REPORTS, outcome, outcome_in_report, outcome_of_refusal
from sandbox.pinpoint.pushes import Push, Refusal, every_inbox, numbers

NO_ENTRY_POINT: Final = "none"
"""As a filter: calls that no function made."""

_CLEARING: Final = ("service", "door", "outcome", "text")
_FILTERS: Final = ("token", "application_id", *_CLEARING)

# Tells those who follow the list that something in the middle of it is gone.
_clearings: Final = count(1)
_cleared: list[int] = [0]


class BadQueryError(ValueError):
    """A request that is not understood; the text says what is taken."""


def listing(query: Mapping[str, str]) -> dict[str, Any]:
    """List the pushes that a query chooses, the newest last, and count the calls.

    Parameters
    ----------
    query
        ``token``, ``service`` and ``application_id`` as they are; ``door``, or ``none`` for
        calls that no function made; ``outcome``, as a report has it; ``text``, a part of the
        token or of what is shown; ``since``, the number after which to begin; ``limit``, how
        many of the newest.

    Raises
    ------
    BadQueryError
        If it is not such a query.
    """
    limit, since = query.get("limit", "all"), query.get("since", "0")
    if (
        set(query) - {*_FILTERS, "since", "limit"}
        or not re.fullmatch(r"all|[0-9]{1,9}", limit)
        or not re.fullmatch(r"[0-9]{1,16}", since)
    ):
        raise BadQueryError(f"takes {', '.join(_FILTERS)}, and since and limit as whole numbers")
    # Before the inboxes: what comes in between has a higher number and is left for next time.
    cursor = numbers.last()
    contents = [inbox.contents(int(since)) for inbox in every_inbox()]
    newest_first = sorted(
        chain.from_iterable(content.pushes for content in contents),
        key=lambda numbered: numbered[0],
        reverse=True,
    )
    # One by one, for a search that has found enough need not draw all the others.
    chosen = (
        (number, push) for number, push in newest_first if number <= cursor and _chosen(push, query)
    )
    wanted = None if limit == "all" else int(limit)
    pushes = list(islice(chosen, wanted))[::-1]
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
    return {
        "messages": [_drawn(number, push) for number, push in pushes],
        "refused": [_told(number, refusal) for number, refusal in refusals[::-1][:wanted][::-1]],
        **listed,
        "cursor": cursor,
        "oldest": min((each.oldest for each in contents if each.oldest), default=cursor + 1),
        "kept": sum(content.kept for content in contents),
        "dropped": sum(content.dropped for content in contents),
        "clearings": _cleared[0],
    }


def clearing(query: Mapping[str, str]) -> dict[str, Any]:
    """Forget what a query chooses, or everything, and tell how many pushes that were.

    Parameters
    ----------
    query
        The filters that the page has. With none, also the calls and which tokens were throttled
        once are forgotten.

    Raises
    ------
    BadQueryError
        If it is not such a query.
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
    """List the values that the filters take."""
    return {
        "services": list(CHANNELS),
        "outcomes": list(IN_REPORTS),
        "doors": [*entry_points.ALL, NO_ENTRY_POINT],
    }


def _chosen(push: Push, query: Mapping[str, str]) -> bool:
    if not _are(query, token=push.token, service=push.service):
        return False
    if not _are(query, application_id=push.application_id, door=push.entry_point or NO_ENTRY_POINT):
        return False
    if "outcome" in query and outcome_in_report(push.answer) != query["outcome"]:
        return False
    text = query.get("text", "").casefold()
    if text in push.token.casefold():  # as no text at all is, too
        return True
    return drawing.card(push.service, push.message).says(text)


def _chosen_refusal(refusal: Refusal, query: Mapping[str, str]) -> bool:
    text = query.get("text", "").casefold()
    addresses = refusal.addresses or (("", ""),)
    return (
        _are(
            query, application_id=refusal.application_id, door=refusal.entry_point or NO_ENTRY_POINT
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


def _drawn(number: int, push: Push) -> dict[str, Any]:
    return {
        "number": number,
        **push.as_json(),
        # That of the whole call: the request above has this address alone.
        "addresses": len(push.request["Addresses"]),
        "card": asdict(drawing.card(push.service, push.message)),
        "outcome": outcome(push.answer),
        "outcome_in_report": outcome_in_report(push.answer),
    }


def _told(number: int, refusal: Refusal) -> dict[str, Any]:
    return {
        "number": number,
        "time": refusal.time,
        "door": refusal.entry_point,
        "application_id": refusal.application_id,
        "request_id": refusal.request_id,
        "status": refusal.status,
        "code": refusal.code,
        "reason": refusal.reason,
        "addresses": [{"token": token, "service": service} for token, service in refusal.addresses],
        "outcome_in_report": _outcome_of(refusal),
    }
