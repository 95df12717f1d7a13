"""How large a push must be, told before it is sent.

The providers refuse what is over their limit for a device, one address at a time and
after the call. What must be over it whatever the service adds is refused at once: exactly
for raw content, which is sent as it stands, and as a lower bound for the rest, of which
the service builds the payload. Message variables may shrink a text, so what stands
between ``{{`` and ``}}`` does not count where there is something to fill in.
"""

from __future__ import annotations

import json
import re
from typing import Final

from push_sender import fcm_v1
from push_sender.request import Content, PushRequest, Recipient, compact_json
from push_sender.services import GCM_MESSAGE, MessageShape

_VARIABLE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def least_bytes(
    request: PushRequest,
    shape: MessageShape,
    content: Content,
    recipient: Recipient | None = None,
) -> int:
    """Count the bytes that the payload for one device has at least.

    Parameters
    ----------
    request
        The request, for what is the same in all shapes.
    shape
        The message's shape.
    content
        The shape's fields, by their names in the request.
    recipient
        Who gets something for itself alone; left out, the shared message is measured.
    """
    context = request.context or {}
    if recipient is not None:
        content = individual_content(content, recipient)
        context = {**context, **(recipient.context or {})}
    variables = content.get("substitutions")
    if (raw := content.get("raw_content")) is not None:
        size = len(_device_payload(shape, raw).encode())
        return size - (_in_variables(raw) if variables else 0)
    if shape is GCM_MESSAGE and request.is_fcm_v1:
        notification = fcm_v1.raw_content(content, context, variables or {})
        return len(compact_json(notification["fcmV1Message"]["message"]).encode())
    texts = [part for pair in context.items() for part in pair]
    if content.get("silent"):
        texts += [part for pair in content.get("data", {}).items() for part in pair]
    else:
        texts += [content.get("title", ""), content.get("message", "")]
    size = sum(len(text.encode()) for text in texts)
    return size - (sum(map(_in_variables, texts)) if variables else 0)


def individual_content(content: Content, recipient: Recipient) -> Content:
    """Put what a recipient gets for itself alone in place of the shared message's."""
    own = dict(content)
    for field in ("title", "message", "raw_content"):
        if (value := getattr(recipient, field)) is not None:
            own[field] = value
    if recipient.substitutions is not None:
        own["substitutions"] = {**own.get("substitutions", {}), **recipient.substitutions}
    return own


def _device_payload(shape: MessageShape, raw_content: str) -> str:
    """Take off what only tells the API how to read the raw content."""
    if shape is GCM_MESSAGE and "fcmV1Message" in raw_content:
        match json.loads(raw_content):
            case {"fcmV1Message": {"message": message}}:
                return compact_json(message)
    return raw_content


def _in_variables(text: str) -> int:
    return sum(len(found.encode()) for found in _VARIABLE.findall(text))
