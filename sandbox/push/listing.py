"""The inboxes as one list: filtered, searched, and read on from where a reader was.

Without a cursor the list is what was sent and answered. With one (``since``), each push has
its number, the card that a phone would show and the outcome in one line besides, and the
list says what the inboxes hold: what the inbox's page needs to follow it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain, islice
from typing import Any, Final

from sandbox.push import drawing
from sandbox.push.inbox import Push, every_inbox, numbers
from sandbox.push.outcomes import outcome

_EXACT: Final = ("token", "service", "application_id", "door")


class BadQueryError(ValueError):
    """A request that is not understood; the text says what is taken."""


def listing(query: Mapping[str, str]) -> dict[str, Any]:
    """List the pushes that a query chooses, the newest last, and count the calls.

    Parameters
    ----------
    query
        ``token``, ``service``, ``application_id`` and ``door`` as they are; ``text``, a part
        of the token or of what is shown; ``since``, the number after which to begin;
        ``limit``, how many of the newest.

    Raises
    ------
    BadQueryError
        If it is not such a query.
    """
    limit, since = query.get("limit", "all"), query.get("since", "0")
    if (
        set(query) - {*_EXACT, "text", "since", "limit"}
        or not re.fullmatch(r"all|[0-9]{1,9}", limit)
        or not re.fullmatch(r"[0-9]{1,16}", since)
    ):
        raise BadQueryError(
            f"takes {', '.join(_EXACT)}, text, and since and limit as whole numbers"
        )
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
    pushes = list(islice(chosen, None if limit == "all" else int(limit)))[::-1]
    calls: Counter[int] = sum((content.calls for content in contents), Counter())
    listed = {"calls": {str(status): calls[status] for status in sorted(calls)}}
    if "since" not in query:
        return {"messages": [push.as_json() for _, push in pushes], **listed}
    return {
        "messages": [_drawn(number, push) for number, push in pushes],
        **listed,
        "cursor": cursor,
        "oldest": min((each.oldest for each in contents if each.oldest), default=cursor + 1),
        "kept": sum(content.kept for content in contents),
        "dropped": sum(content.dropped for content in contents),
    }


def clearing(query: Mapping[str, str]) -> dict[str, Any]:
    """Forget everything, and tell how many pushes there were."""
    if query:
        raise BadQueryError("clears everything and takes no filter")
    return {"cleared": sum(inbox.clear() for inbox in every_inbox())}


def _chosen(push: Push, query: Mapping[str, str]) -> bool:
    if any(getattr(push, key) != query[key] for key in _EXACT if key in query):
        return False
    text = query.get("text", "").casefold()
    if text in push.token.casefold():  # as no text at all is, too
        return True
    return drawing.card(push.service, push.message).says(text)


def _drawn(number: int, push: Push) -> dict[str, Any]:
    return {
        "number": number,
        **push.as_json(),
        # That of the whole call: the request above has this address alone.
        "addresses": len(push.request["Addresses"]),
        "card": asdict(drawing.card(push.service, push.message)),
        "outcome": outcome(push.answer),
    }
