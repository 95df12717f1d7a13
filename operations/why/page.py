"""What a person sees of the findings: a summary first, then devices, then what happened when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.redaction import printable
from operations.why.findings import Change, Device, Findings, Push
from operations.why.schedules import MOST

_ID_LENGTH = 128
_UUID = 36


def show(findings: Findings, console: Console) -> None:
    """Write the findings to a terminal, a pipe or a file."""
    console.print(Text(printable(findings.summary), style="bold"))
    for line in _explanations(findings):
        console.print(Text(line))
    if findings.devices:
        _section(
            console,
            "Devices",
            ("device", "service", "token, digest", "language", "seen", "state"),
            (_device_row(device) for device in findings.devices),
        )
    if findings.gone:
        _section(
            console,
            "Devices that are gone",
            ("reference", "when (UTC)", "why"),
            ((gone.device_ref, _shown_time(gone.at), gone.meaning) for gone in findings.gone),
        )
    if findings.scheduled:
        _section(
            console,
            "Scheduled requests",
            ("when (UTC)", "recipients", "schedule id"),
            (
                (_shown_time(each.at), f"{each.recipients:,}", each.schedule_id)
                for each in findings.scheduled
            ),
        )
    entries: list[Push | Change] = [*(findings.pushes or ()), *(findings.changes or ())]
    if entries:
        _title(console, "What happened (UTC)")
    for entry in sorted(entries, key=lambda entry: entry.at):
        _show_entry(entry, console)
    project = printable(findings.application_id)
    looked_at = printable("; ".join(findings.looked_at))
    times = f"from {_shown_time(findings.since)} until {_shown_time(findings.until)} UTC"
    console.print()
    console.print(Text(f"Read for project {project}: {looked_at}; {times}.", style="dim"))


def _explanations(findings: Findings) -> Iterator[str]:
    """Say what it means that nothing, or not everything, was found."""
    another = "Or it is in another project: PROJECT=… (--application-id)."
    if not findings.is_known and findings.kind == "user":
        yield (
            "This project has no such user. No device was registered for the user, or the user "
            "was erased, or all devices expired and were deleted. The log has no user ids, so it "
            f"was not read. {another}"
        )
    elif not findings.is_known and findings.kind == "device":
        yield (
            "This project has no such device. It was never registered, or it is gone. The log has "
            "no device ids, so it was not read: ask for its user (USER=…) or its token (TOKEN=…), "
            f"which also find what is gone. {another}"
        )
    elif not findings.is_known:
        yield (
            "No device of this project has the token. It was never registered, or its device is "
            "gone or has another token. The log was searched for pushes to the token itself. "
            f"{another}"
        )
    elif findings.kind != "user":
        for user_id in dict.fromkeys(device.user_id for device in findings.devices):
            yield (
                "It has no user: a push to a user does not reach it."
                if user_id is None
                else f"Its user is {printable(user_id, _ID_LENGTH)}: USER=… shows the pushes to "
                "the user that reached no device."
            )
    elif not findings.devices:
        yield "The registry keeps the user, who has no device now."
    if not findings.are_all_schedules_read:
        yield f"There are more than {MOST:,} schedules; {MOST:,} of them were read."
    if findings.pushes is not None and not findings.pushes:
        has_user = findings.kind != "user" and any(each.user_id for each in findings.devices)
        # The result of a push that chose no device has only the reference of the user.
        not_chosen = "a push to its user did not choose the device, or " if has_user else ""
        yield (
            f"The log has no push. In this time nobody sent one, or {not_chosen}the request was "
            "refused as a whole, or it waits in the queue or the dead-letter queue."
        )


def _device_row(device: Device) -> tuple[str, ...]:
    states = {
        "expired": device.expired,
        "opted out": device.opted_out,
        "invalid token": device.invalid,
    }
    state = ", ".join(name for name, applies in states.items() if applies)
    return (
        device.device_id,
        device.service,
        # Short tokens show no start, but their digests differ. The log has them, too.
        f"{device.token} {device.token_digest}",
        device.language or "-",
        (device.seen_at or "-")[:10],
        state or "gets pushes",
    )


def _show_entry(entry: Push | Change, console: Console) -> None:
    """Write an entry on lines, because an id of a device is too long for a table."""
    device = entry.device_id or (f"gone: {entry.device_ref}" if entry.device_ref else "no device")
    name = entry.outcome if isinstance(entry, Push) else entry.change
    heading = printable(f"{_shown_time(entry.at)}  {name} · {device}", 200)
    console.print(Text(heading))
    request = f"request {printable(entry.request_id, 100)}" if entry.request_id else ""
    for text in filter(None, (printable(entry.meaning), request)):
        for line in Text(text, style="dim").wrap(console, console.width - 2):
            line.rstrip()
            console.print(Text("  ") + line)


def _shown_time(at: str | None) -> str:
    return at[:19].replace("T", " ") if at else "-"


def _section(
    console: Console, title: str, headings: Iterable[str], rows: Iterable[Iterable[str]]
) -> None:
    cells = [[printable(cell, 400) for cell in row] for row in rows]
    # An id on two lines cannot be copied. Most are UUIDs.
    first = min(_UUID, max(len(row[0]) for row in cells))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", min_width=None if column else first)
    for row in cells:
        table.add_row(*map(Text, row))
    _title(console, title)
    console.print(table)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))
    console.print()
