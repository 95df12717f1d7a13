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

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

Substitutions = Mapping[str, Sequence[str]]

TEMPLATE_CHARACTERS: Final = 20_000
"""How long a shared title or message may be before its variables are filled in, since that is
done anew for each recipient that has values of its own."""

_RESERVED: Final = frozenset({"from", "message_type"})
_RESERVED_PREFIXES: Final = ("google.", "gcm.notification.")

_PAYLOAD_OF: Final = {
    "android": ("data", "notification"),
    "apns": ("payload",),
    "webpush": ("data", "notification"),
}
"""The members of a platform's block that reach the device. The others say how to deliver it."""


def is_reserved(key: str) -> bool:
    """Tell whether FCM refuses a key of ``data`` (Firebase's reference, ``Message.data``)."""
    return key in _RESERVED or key.startswith(_RESERVED_PREFIXES)


def device_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give what the devices of each platform get of a message, one part a platform.

    What a platform's block overrides is left out of its part, and so is what only tells FCM
    how to deliver the message. So no device gets less than its part.
    """
    parts = []
    for platform, members in _PAYLOAD_OF.items():
        block = message.get(platform)
        own = {name: block[name] for name in members if name in block} if _is_map(block) else {}
        part = {name: message[name] for name in ("data", "notification") if name in message}
        if _is_map(shared := part.get("notification")) and _is_map(own.get("notification")):
            own["notification"] = {**shared, **own["notification"]}
        match own:
            case {"payload": {"aps": {"alert": _}}}:
                part.pop("notification", None)
        parts.append({**part, **own})
    return parts


def _is_map(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def variables(text: str) -> Iterator[tuple[int, int, str]]:
    """Find the variables of a text, ``{{ name }}``, in one pass over it.

    Yields
    ------
    tuple
        Where a variable begins and ends, and its name without the spaces around it.
    """
    done = 0
    while (closing := text.find("}}", done)) >= 0:
        opening = text.rfind("{{", done, closing)
        done = closing + 2
        if opening < 0:
            continue
        name = text[opening + 2 : closing]
        if "{" not in name and "}" not in name and (stripped := name.strip()):
            yield opening, done, stripped


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
    filled: list[str] = []
    done = 0
    for start, end, name in variables(text):
        if name in substitutions:
            filled += text[done:start], ", ".join(substitutions[name])
            done = end
    return "".join((*filled, text[done:]))
