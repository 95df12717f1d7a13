"""The notification that any Firebase app shows, in FCM v1's own schema.

The API's own fields become a data message that only AWS's client library shows; an app
without it gets the push and shows nothing, which is the most frequent complaint about
this API. As raw content in the form of FCM v1 (``projects.messages`` of Firebase's
reference), the same fields become a notification that Android, iOS and the web show by
themselves.

What has no place in that schema is left out: the icons by URL. ``action`` and ``url``
travel as data of these names: a tap opens the app, which finds them there (and on the
web opens an https ``url`` by itself). ``context`` joins the data too, because it is not
documented that the API adds it to raw content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from push_sender.messages.substitutions import fill_all

TEXTS: Final = (
    "title", "message", "image_url", "url", "title_loc_args", "body_loc_args", "ticker",
)  # fmt: skip
"""The fields in which message variables are filled in."""

_NOTIFICATION: Final = (
    "channel_id", "icon", "color", "tag", "click_action", "title_loc_key", "title_loc_args",
    "body_loc_key", "body_loc_args", "ticker", "sticky", "event_time", "local_only",
    "notification_priority", "default_sound", "default_vibrate_timings",
    "default_light_settings", "vibrate_timings", "light_settings", "visibility",
    "notification_count",
)  # fmt: skip
"""The fields of FCM's ``AndroidNotification``, by their own names."""

_SHARED: Final = {
    "sound": "sound", "icon_reference": "icon", "badge": "notification_count",
}  # fmt: skip

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
    """Return whether FCM refuses a key of ``data`` (Firebase's reference, ``Message.data``)."""
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


def raw_content(content: Mapping[str, Any], context: Mapping[str, str]) -> dict[str, Any]:
    """Build the raw content of one notification.

    Parameters
    ----------
    content
        The fields of the request for FCM, by their names in the request, with the
        recipient's own in place.
    context
        Of the request and the recipient.

    Returns
    -------
    dict
        ``{"fcmV1Message": {"message": {…}}}``, the form in which the API takes FCM v1.
    """
    texts: Mapping[str, Any] = {**content, **fill_all(content, TEXTS)}
    message: dict[str, Any] = {}
    if not content.get("silent"):
        message["notification"] = _present(
            title=texts.get("title"), body=texts.get("message"), image=texts.get("image_url")
        )
    url = texts.get("url")
    data = _present(action=content.get("action"), url=url)
    data = {**context, **data, **content.get("data", {})}
    if data:
        message["data"] = data
    if android := _android(texts):
        message["android"] = android
    if content.get("action") in ("URL", "DEEP_LINK") and (url or "").startswith("https://"):
        message["webpush"] = {"fcm_options": {"link": url}}
    if (label := content.get("analytics_label")) is not None:
        message["fcm_options"] = {"analytics_label": label}
    return {"fcmV1Message": {"message": message}}


def _android(content: Mapping[str, Any]) -> dict[str, Any]:
    priority, ttl = content.get("priority"), content.get("ttl")
    notification = {field: content[field] for field in _NOTIFICATION if field in content}
    # The names that the request has for all services, unless FCM's own name is there too.
    for field, member in _SHARED.items():
        if field in content:
            notification.setdefault(member, content[field])
    return _present(
        priority=priority and priority.upper(),
        ttl=None if ttl is None else f"{ttl}s",
        collapse_key=content.get("collapse_id"),
        restricted_package_name=content.get("restricted_package_name"),
        notification=None if content.get("silent") else notification or None,
    )


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
