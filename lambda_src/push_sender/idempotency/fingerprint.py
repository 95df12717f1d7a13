"""The fingerprint of a request: the same for whatever asks for the same, and for nothing else.

It is taken of the checked request, not of the JSON text it came as: spaces, the order of an
object's members, ``null`` for what is left out, FCM for GCM and one recipient alone or in a
list make no difference. Everything else does, the order of the recipients too. The key is
not in it, nor is the project, which is part of what a key means (``record_id``).

A fingerprint outlives a deployment: what a later release adds to the request must be
absent from it where a request leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from push_sender.request.model import OPTIONS, PushRequest, Recipient
from push_sender.request.services import SERVICES

_APART: Final = frozenset(
    {"recipient", "recipients", "application_id", "idempotency_key", "dry_run"}
)
"""Told by the recipients' own part, by the record's id, or by not being here at all."""

_OF_EVERYONE: Final = {"token", "service"}


def record_id(application_id: str, key: str) -> str:
    """Give the id of a key's record: a digest, since a key may tell more than it should."""
    return sha256(f"{application_id}\x00{key}".encode()).hexdigest()


def fingerprint(request: PushRequest, recipients: Sequence[Recipient]) -> str:
    """Take the fingerprint of a checked request, 64 hex digits."""
    shared = request.model_dump(exclude=set(_APART), exclude_none=True)
    if not shared.get("requeue"):
        shared.pop("requeue", None)
    for option in OPTIONS:
        if (own := shared.pop(option, None)) and (said := _without_defaults(own)):
            shared[option] = said
    everyone = [
        [SERVICES[recipient.service].name, recipient.token, *_own(recipient)]
        for recipient in recipients
    ]
    text = json.dumps([shared, everyone], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def _without_defaults(own: dict[str, Any]) -> dict[str, Any]:
    return {
        field: _sorted(value) if field == "raw_content" else value
        for field, value in own.items()
        if (field, value) != ("format", "pinpoint")
    }


def _sorted(raw_content: str) -> str:
    return json.dumps(json.loads(raw_content), sort_keys=True)


def _own(recipient: Recipient) -> Sequence[dict[str, Any]]:
    """Give what a recipient has for itself alone; nothing for nearly all of 5,000."""
    if recipient.model_fields_set == _OF_EVERYONE:
        return ()
    own = recipient.model_dump(exclude=_OF_EVERYONE, exclude_none=True)
    return (_without_defaults(own),) if own else ()
