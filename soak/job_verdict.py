"""Compare what a job left behind with its plan and with what the provider accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from soak.faults import LOST, UNREADABLE
from soak.job_plan import PlannedJob, id_of
from soak.ledger import JobEnd, Ledger
from soak.phones import phone_in, result_name

_SUCCEEDED: Final = "SUCCEEDED"
_REQUEUED: Final = "requeued"
_WITHOUT_DEVICE: Final = ("no_device", "skipped", "invalid_row")
_WITHOUT_PUSH: Final = ("transient", "unsent")


def errors_of(job: PlannedJob, ledger: Ledger) -> Iterator[str]:
    """Find what is wrong with the counts, the lists of rows and the reports of a job."""
    end = ledger.job_ends.get(job.number)
    if end is None:  # the run did not end
        return
    yield from _errors_of_lists(job, end, ledger)
    yield from _errors_of_counts(job, end, ledger)
    yield from _errors_of_reports(job, end, ledger)


def _errors_of_lists(job: PlannedJob, end: JobEnd, ledger: Ledger) -> Iterator[str]:
    """Compare the lists with the rows of the file."""
    numbers = [line["row"] for line in end.lines]
    if numbers != sorted(numbers):
        yield "its lists are not in the order of the rows"
    times = Counter(numbers)
    listed = {line["row"]: line for line in end.lines}
    for number, row in enumerate(job.rows, 1):
        line = listed.pop(number, None)
        token, user_id = row.fields.get("token") or None, row.fields.get("user_id")
        if line is not None and (line.get("token"), line.get("user_id")) != (token, user_id):
            yield f"row {number} is listed with the values of another row"
        if user_id is None and times[number] > 1:
            yield f"row {number} is listed {times[number]} times"
        found = (None, None) if line is None else (line["outcome"], line["reason"])
        if row.outcome is not None and found != (row.outcome, row.reason):
            yield f"row {number} is no recipient ({row.reason}), and is listed as {found}"
        if row.outcome is not None and token in ledger.accepted:
            yield f"row {number} is no recipient ({row.reason}), and a provider has its push"
        # What has a ttl of 0 is sent at once or never.
        if found[0] in _WITHOUT_PUSH and found[1] != "expired" and job.ttl != 0:
            yield f"row {number} could not be sent, and is not requeued"
    if listed:
        yield f"its lists have rows that the file has not: {sorted(listed)}"


def _errors_of_counts(job: PlannedJob, end: JobEnd, ledger: Ledger) -> Iterator[str]:
    """Compare the counts with the lists, and with the pushes that no list has."""
    if not end.rows == end.counts.get("rows") == len(job.rows):
        yield (
            f"it has {len(job.rows):,} rows, the index found {end.rows:,}, and its children "
            f"counted {end.counts.get('rows', 0):,}"
        )
    outcomes = Counter(line["outcome"] for line in end.lines)
    counted = {name: n for name, n in end.counts.items() if name not in ("rows", "accepted")}
    if counted != outcomes:
        yield f"it counted {counted}, and its lists have {dict(outcomes)}"
    least, most = accepted_of(job, end, ledger)
    if not least <= end.counts.get("accepted", 0) <= most:
        yield (
            f"it counted {end.counts.get('accepted', 0):,} accepted, and {least:,} to {most:,} of "
            "its pushes are accepted and in no list"
        )


def accepted_of(job: PlannedJob, end: JobEnd, ledger: Ledger) -> tuple[int, int]:
    """Count the pushes that no list has: a row with a token, and a phone that a provider accepted.

    A phone may have left its user between two runs of a child. The second one then does not name
    it. So a phone whose outcome the first run may not have known counts only as possible, and so
    does one for each line of a user that names no device although it has an outcome. And a phone
    can be two devices of its user, of which a list has one: after a token was replaced, its app
    was installed anew with the old one.
    """
    listed = {token_of(line) for line in end.lines}
    tokens = sum(token not in listed for token in job.tokens)
    names = {result_name(each or "", job.number) for each in listed if phone_in(each)}
    mark = f" of {job.number}"
    phones = [name for name in ledger.accepted if name.endswith(mark) and phone_in(name)]
    certain = sum(name not in names and _is_certain(name, ledger) for name in phones)
    nameless = sum(
        token_of(line) is None and line["outcome"] not in _WITHOUT_DEVICE for line in end.lines
    )
    return tokens + max(certain - nameless, 0), tokens + len(phones)


def token_of(line: Mapping[str, Any]) -> str | None:
    """Return the token of a line, or the device of a user, which names the phone as well."""
    token: str | None = line.get("token") or line.get("device_id")
    return token


def _is_certain(name: str, ledger: Ledger) -> bool:
    doubtful = LOST | UNREADABLE
    return name not in ledger.uncertain and any(
        each.fault not in doubtful and each.run not in ledger.killed_runs
        for each in ledger.accepted[name]
    )


def _errors_of_reports(job: PlannedJob, end: JobEnd, ledger: Ledger) -> Iterator[str]:
    """Compare the last report with the counts, and look for one of each way that the job ended."""
    reports = ledger.job_reports.get(job.name, [])
    if missing := {*end.statuses} - {report["status"] for report in reports}:
        yield f"no report says that it ended as {', '.join(sorted(missing))}"
    for report in [each for each in reports if each["status"] == _SUCCEEDED]:
        if (report["rows"], report["summary"]) != (end.rows, end.counts):
            yield f"its report says {report['summary']}, and its item {end.counts}"
    requeued = [line for line in end.lines if line["outcome"] == _REQUEUED]
    if requeued and not ledger.parts[id_of(job)]:
        yield f"{len(requeued):,} rows are requeued, and no report of them names the job"
