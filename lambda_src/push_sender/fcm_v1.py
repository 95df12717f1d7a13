"""The notification that any Firebase app shows, in FCM v1's own schema.

The API's own fields become a data message that only AWS's client library shows; an app
without it gets the push and shows nothing, which is the most frequent complaint about
this API. As raw content in the form of FCM v1 (``projects.messages`` of Firebase's
reference), the same fields become a notification that Android, iOS and the web show by
themselves.

What has no place in that schema is left out: the icons by URL. ``action`` and ``url``
travel as data of these names: a tap opens the app, which finds them there (and on the
web opens an https ``url`` by itself). ``context`` joins the data too, because nobody has
confirmed that the API adds it to raw content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Substitutions = Mapping[str, Sequence[str]]

RESERVED_DATA_KEY: Final = re.compile(r"(from|message_type)$|google\.|gcm\.notification\.")
"""Keys of ``data`` that FCM refuses (Firebase's reference, ``Message.data``)."""

_VARIABLE: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


def raw_content(
    content: Mapping[str, Any], context: Mapping[str, str], substitutions: Substitutions
) -> dict[str, Any]:
    """Build the raw content of one notification.

    Parameters
    ----------
    content
        The fields of the request for FCM, by their names in the request, with the
        recipient's own title and message in place.
    context
        Of the request and the recipient.
    substitutions
        Of the message and the recipient. They are filled in here, because nobody has
        confirmed that the API looks into raw content.

    Returns
    -------
    dict
        ``{"fcmV1Message": {"message": {…}}}``, the form in which the API takes FCM v1.
    """
    message: dict[str, Any] = {}
    if not content.get("silent"):
        message["notification"] = _present(
            title=_fill(content.get("title"), substitutions),
            body=_fill(content.get("message"), substitutions),
            image=content.get("image_url"),
        )
    data = _present(action=content.get("action"), url=content.get("url"))
    data = {**context, **data, **content.get("data", {})}
    if data:
        message["data"] = data
    if android := _android(content):
        message["android"] = android
    url = content.get("url", "")
    if content.get("action") in ("URL", "DEEP_LINK") and url.startswith("https://"):
        message["webpush"] = {"fcm_options": {"link": url}}
    return {"fcmV1Message": {"message": message}}


def _android(content: Mapping[str, Any]) -> dict[str, Any]:
    priority, ttl = content.get("priority"), content.get("ttl")
    notification = _present(sound=content.get("sound"), icon=content.get("icon_reference"))
    return _present(
        priority=priority and priority.upper(),
        ttl=None if ttl is None else f"{ttl}s",
        collapse_key=content.get("collapse_id"),
        restricted_package_name=content.get("restricted_package_name"),
        notification=None if content.get("silent") else notification or None,
    )


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _fill(text: str | None, substitutions: Substitutions) -> str | None:
    """Put the values of message variables into a text; unknown variables stay as they are."""
    if not text or not substitutions:
        return text
    return _VARIABLE.sub(lambda found: ", ".join(substitutions.get(found[1], (found[0],))), text)
