"""Find the lines of a function's log that hold one of some references or digests."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from operations.account import Account, FailedCall, OperationsError, call
from operations.json_values import as_dict, as_list, read_json


class Line(NamedTuple):
    """A line of the log.

    Attributes
    ----------
    time
        Milliseconds of Unix time.
    fields
        The line's JSON object.
    """

    time: int
    fields: dict[str, Any]


def find_lines(
    account: Account,
    log_group: str,
    terms: Collection[str],
    since: int,
    until: int,
    on_progress: Callable[[str], None],
) -> list[Line]:
    """Read the lines that hold any of the terms, in the order of their time.

    Parameters
    ----------
    account
        The operator's.
    log_group
        The log group's name.
    terms
        Hex digits, at most some 50: a pattern has at most 1,024 characters. A line may also hold
        none of them, where the service does not know the pattern.
    since, until
        Milliseconds of Unix time.
    on_progress
        Gets a line about each page that was read.

    Raises
    ------
    OperationsError
        If the log cannot be read.
    """
    if not terms:
        return []
    client = account.client("logs")
    # "?" means any of the terms ("Filter pattern syntax", CloudWatch Logs).
    pattern = " ".join(f"?{term}" for term in terms)
    lines: list[Line] = []
    position: dict[str, str] = {}
    pages = 0
    while True:
        answer = call(
            client,
            "filter_log_events",
            logGroupName=log_group,
            startTime=since,
            endTime=until,
            filterPattern=pattern,
            **position,
        )
        if isinstance(answer, FailedCall):
            raise OperationsError(f"The log {log_group} cannot be read: {answer.with_cure}")
        for event in map(as_dict, as_list(answer.get("events"))):
            text = str(event.get("message"))
            if any(term in text for term in terms):
                fields = as_dict(read_json(text.encode()))
                lines.append(Line(int(event.get("timestamp", 0)), fields))
        pages += 1
        on_progress(f"{log_group}: {pages} pages read, {len(lines)} lines found")
        # A page can be empty and have a successor.
        if not (token := answer.get("nextToken")):
            return sorted(lines, key=lambda line: line.time)
        position = {"nextToken": token}
