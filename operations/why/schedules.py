"""Find requests for later that hold a user, a device or a token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from operations.account import Account, FailedCall, OperationsError, call
from operations.json_values import as_dict, as_list, read_json
from operations.why.findings import Device, Scheduled, token_digest

MOST: Final = 1_000
"""How many schedules are read at most: each takes a call."""

_PAGE: Final = 100
_READ_AT_ONCE: Final = 8
_OF_JOBS: Final = "job-"
"""The start of the names of schedules of jobs: their recipients are in files of the bucket."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom a request may name.

    Attributes
    ----------
    application_id
        The project.
    is_default
        Whether a request that names no project is of this one.
    user_id
        The user who is meant; None if it is about devices.
    devices
        The devices that are meant, or that the user has.
    digests
        Of the tokens.
    """

    application_id: str
    is_default: bool
    user_id: str | None
    devices: Sequence[Device]
    digests: Collection[str]

    def is_in(self, request: Mapping[str, Any]) -> bool:
        """Return whether a request holds one of them."""
        project = request.get("application_id")
        if project != self.application_id and not (project is None and self.is_default):
            return False
        return any(map(self._is_meant, recipients_of(request)))

    def _is_meant(self, recipient: Mapping[str, Any]) -> bool:
        token, user_id = recipient.get("token"), recipient.get("user_id")
        if isinstance(token, str) and token_digest(token) in self.digests:
            return True
        if not isinstance(user_id, str):
            return False
        if self.user_id is not None:
            return user_id == self.user_id
        return any(
            user_id == device.user_id and recipient.get("device_id") in (None, device.device_id)
            for device in self.devices
        )


def find_scheduled(
    account: Account, group: str, wanted: Wanted, on_progress: Callable[[str], None]
) -> tuple[list[Scheduled], bool]:
    """Read the schedules of a group.

    Returns
    -------
    tuple
        What is found, the first one first, and whether all schedules were read.

    Raises
    ------
    OperationsError
        If they cannot be read.
    """
    client = account.client("scheduler")
    names, is_all = _names(client, group)
    on_progress(f"Reading {len(names)} schedules of {group}")

    def read(name: str) -> Scheduled | None:
        answer = call(client, "get_schedule", GroupName=group, Name=name)
        if isinstance(answer, FailedCall):
            if answer.code == "ResourceNotFoundException":  # its time came meanwhile
                return None
            raise _unreadable(group, answer)
        event = as_dict(read_json(str(as_dict(answer.get("Target")).get("Input")).encode()))
        request = as_dict(event.get("detail"))
        if not wanted.is_in(request):
            return None
        return Scheduled(str(event.get("time")), name, len(list(recipients_of(request))))

    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        found = [each for each in threads.map(read, names) if each]
    return sorted(found, key=lambda each: each.at), is_all


def recipients_of(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the recipients of a request of any form."""
    yield from map(as_dict, as_list(request.get("recipients")))
    if one := as_dict(request.get("recipient")):
        yield one


def _names(client: Any, group: str) -> tuple[list[str], bool]:
    """List the schedules that are not of jobs, and say whether these are all."""
    names: list[str] = []
    position: dict[str, str] = {}
    while True:
        answer = call(client, "list_schedules", GroupName=group, MaxResults=_PAGE, **position)
        if isinstance(answer, FailedCall):
            raise _unreadable(group, answer)
        listed = [str(as_dict(each).get("Name")) for each in as_list(answer.get("Schedules"))]
        names += [name for name in listed if not name.startswith(_OF_JOBS)]
        if len(names) > MOST:
            return names[:MOST], False
        if not (token := answer.get("NextToken")):
            return names, True
        position = {"NextToken": str(token)}


def _unreadable(group: str, failed: FailedCall) -> OperationsError:
    return OperationsError(f"The schedules of {group} cannot be read: {failed.with_cure}")
