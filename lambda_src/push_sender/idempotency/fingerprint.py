"""The fingerprint of a request: equal for requests with the same meaning, and only for them.

It is calculated from the checked request and not from its JSON text. So spaces, the order of an
object's members, ``null`` for a missing field, FCM for GCM, and ``recipient`` for a list of one
make no difference. Everything else does, also the order of the recipients. The key and the
project are not part of it; the project is part of the record's id (``record_id``).

A fingerprint must stay the same after a deployment: a field that a later release adds must not
change it for requests without that field.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from push_sender.request.model import (
    OPTIONS,
    DeviceFilter,
    PushRequest,
    Recipient,
    UserRecipient,
)
from push_sender.request.services import SERVICES

_EXCLUDED: Final = frozenset(
    {
        *("recipient", "recipients", "device_filter"),
        *("application_id", "idempotency_key", "dry_run", "send_at"),
    }
)
"""Fields that are not shared content: recipients have their own part, the id has the project. A
request for later has its time in its schedule, and no longer when it is sent."""

_REQUIRED: Final = {"token", "service"}
_OF_A_USER: Final = {"user_id", "device_id", "device_filter"}


def record_id(application_id: str, key: str) -> str:
    """Return the id of a key's record: a digest, because a key may hold private data."""
    return sha256(f"{application_id}\x00{key}".encode()).hexdigest()


def fingerprint(request: PushRequest, recipients: Sequence[Recipient | UserRecipient]) -> str:
    """Calculate the fingerprint of a checked request, 64 hex digits.

    Parameters
    ----------
    request
        The request.
    recipients
        Its recipients as they were asked: users, and not their devices.
    """
    shared = request.model_dump(exclude=set(_EXCLUDED), exclude_none=True)
    if not shared.get("requeue"):
        shared.pop("requeue", None)
    for option in OPTIONS:
        if (own := shared.pop(option, None)) and (fields := _without_defaults(own)):
            shared[option] = fields
    if request.device_filter is not None:
        shared["device_filter"] = _selected(request.device_filter)
    all_recipients = [
        [_user(recipient), *_own(recipient, _OF_A_USER)]
        if isinstance(recipient, UserRecipient)
        else [SERVICES[recipient.service].name, recipient.token, *_own(recipient, _REQUIRED)]
        for recipient in recipients
    ]
    text = json.dumps([shared, all_recipients], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def _without_defaults(own: dict[str, Any]) -> dict[str, Any]:
    return {
        field: _sorted(value) if field == "raw_content" else value
        for field, value in own.items()
        if (field, value) != ("format", "pinpoint")
    }


def _sorted(raw_content: str) -> str:
    return json.dumps(json.loads(raw_content), sort_keys=True)


def _user(recipient: UserRecipient) -> dict[str, Any]:
    user: dict[str, Any] = {"user_id": recipient.user_id}
    if recipient.device_id is not None:
        user["device_id"] = recipient.device_id
    if recipient.device_filter is not None:
        user["device_filter"] = _selected(recipient.device_filter)
    return user


def _selected(given: DeviceFilter) -> dict[str, Any]:
    """Write a filter so that two which select the same devices are equal: its lists are sets."""
    members = given.model_dump(exclude_none=True)
    if given.services is not None:
        members["services"] = [SERVICES[name].name for name in given.services]
    return {
        name: sorted(set(value)) if isinstance(value, list) else value
        for name, value in members.items()
    }


def _own(recipient: Recipient | UserRecipient, identity: set[str]) -> Sequence[dict[str, Any]]:
    """Return the personal fields of a recipient, if any; most recipients have none."""
    if recipient.model_fields_set <= identity:
        return ()
    own = recipient.model_dump(exclude=identity, exclude_none=True)
    return (_without_defaults(own),) if own else ()
