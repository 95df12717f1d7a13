"""Write all devices of a project, one a line, as the HTTP API answers with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from operations.account import Account
from operations.new_file import new_file
from operations.registry import ATTEMPTS, Registry, find_stack_with_registry

_MEMBERS: Final[Mapping[str, Any]] = {
    "device_id": None,
    "token": None,
    "service": None,
    "user_id": None,
    "language": None,
    "time_zone": None,
    "app_version": None,
    "tags": [],
    "attributes": {},
    "opted_out": False,
    "invalid": False,
    "created_at": None,
    "seen_at": None,
}
"""The members of a line, with the value of a member that the table leaves out."""

_ITEMS_A_LINE: Final = 50_000
"""How many items are read between two lines of progress."""


def export_devices(
    stack_name: str,
    sender: str | None,
    application_id: str | None,
    output: Path | None,
    on_progress: Callable[[str], None],
) -> None:
    """Write the devices that have not expired as JSON Lines, in no order.

    Parameters
    ----------
    stack_name
        The stack's name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.
    application_id
        Another project than the stack's own.
    output
        A new file, which only its owner can read; None for standard output.
    on_progress
        Gets a line about each part that was read.

    Raises
    ------
    OperationsError
        If the registry cannot be read, or the file cannot be written.
    """
    account = Account(attempts=ATTEMPTS)
    stack = find_stack_with_registry(account, stack_name, sender)
    project = application_id or stack.application_id
    registry = Registry(account, stack.outputs["DevicesTableName"], project)
    devices = items = 0
    with new_file(output) as file:
        for page in registry.scan():
            file.write("".join(map(_line, page.devices)))
            devices, before, items = devices + len(page.devices), items, items + page.items
            if before // _ITEMS_A_LINE < items // _ITEMS_A_LINE:
                on_progress(f"{devices:,} devices in {items:,} items")
        file.flush()
    on_progress(f"The export is complete: {devices:,} devices of project {project}.")


def _line(device: Mapping[str, Any]) -> str:
    members = {name: device.get(name, default) for name, default in _MEMBERS.items()}
    return json.dumps(members, separators=(",", ":")) + "\n"
