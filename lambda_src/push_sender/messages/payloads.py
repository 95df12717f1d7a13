"""The payloads that are built here, in the provider's own form, as the text of raw content."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, Final

from push_sender.messages import apns_native, fcm_v1
from push_sender.request.json_text import compact_json
from push_sender.request.model import PERSONAL, Content, Recipient
from push_sender.request.services import APNS_MESSAGE, GCM_MESSAGE, MessageShape

_BUILDERS: Final[Mapping[MessageShape, Callable[[Content, Mapping[str, str]], dict[str, Any]]]] = {
    GCM_MESSAGE: fcm_v1.raw_content,
    APNS_MESSAGE: apns_native.raw_content,
}

_ADDING: Final = ("substitutions", "data")
_REPLACING: Final = tuple({*PERSONAL} - {*_ADDING, "context", "language"})


def payload(shape: MessageShape, content: Content, context: Mapping[str, str]) -> str:
    """Build the payload of one notification, as compact JSON.

    Parameters
    ----------
    shape
        A shape that has a format of its own.
    content
        The message's fields, by their names in the request.
    context
        The context of the request and the recipient.
    """
    return compact_json(_BUILDERS[shape](content, context))


def individual_content(content: Content, recipient: Recipient) -> Content:
    """Put the recipient's own fields in place of the message's; maps are joined."""
    own = dict(content)
    for field in _REPLACING:
        if (value := getattr(recipient, field)) is not None:
            own[field] = value
    for field in _ADDING:
        if (value := getattr(recipient, field)) is not None:
            own[field] = ChainMap(value, content.get(field, {}))
    return own
