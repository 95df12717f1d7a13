"""The card of a push: what a phone would show.

A card is data, so that it needs no browser. Raw content can be any text, and none makes this
module fail. It understands the forms that the providers document: APNs' payload, FCM v1 and the
legacy FCM form, ADM's and Baidu's. If a push will probably surprise its sender (an Android phone
that shows nothing), the card has a note.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sandbox.pinpoint.devices import CHANNELS

PLATFORMS: Final = {"FCM": "Android", "APNs": "iOS", "Baidu": "Android", "ADM": "Fire OS"}

_VARIABLE: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")

NOT_UNDERSTOOD: Final = "raw content, not understood"
_LIBRARY_ONLY: Final = (
    "Only apps with AWS's client library show this. Set format: fcm_v1 for other apps."
)
_NO_TEXT: Final = "Neither a title nor a text: a phone shows nothing."
_DATA_ONLY: Final = "Only data: the app decides what it shows."
_DATA_LOST: Final = "The API delivers Data with a silent push only."
_NO_CONTENT_AVAILABLE: Final = (
    "AWS asks for an integer content-available in the aps of raw content."
)
_CALL: Final = "The app is woken for a call and shows it. The system itself shows nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A push as a phone would show it.

    Attributes
    ----------
    platform
        The kind of phone; ``provider`` delivers to it.
    form
        The format of the message: the API's own fields, or a kind of raw content.
    interruption_level
        Only APNs; ``channel``, ``color`` and ``tag`` only Android.
    silent
        Whether the push asks to show nothing.
    data
        Further data for the app; values that are no text are written as JSON.
    notes
        What may surprise the sender.
    """

    platform: str
    provider: str
    form: str
    silent: bool = False
    title: str | None = None
    subtitle: str | None = None
    text: str | None = None
    image: str | None = None
    badge: int | None = None
    sound: str | None = None
    action: str | None = None
    link: str | None = None
    interruption_level: str | None = None
    channel: str | None = None
    color: str | None = None
    tag: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def contains(self, part: str) -> bool:
        """Return whether the card shows a text, which must be case-folded."""
        shown = (self.title, self.subtitle, self.text, self.image, self.action, self.link)
        return any(part in text.casefold() for text in (*shown, *self.data.values()) if text)


def card(service: str, message: Mapping[str, Any]) -> Card:
    """Make the card of a message for a device of a service.

    Parameters
    ----------
    service
        A ChannelType.
    message
        The channel's message, with the address's overrides applied.

    Examples
    --------
    >>> card("APNS", {"RawContent": '{"aps": {"alert": "Hello"}}'}).text
    'Hello'
    """
    provider = CHANNELS[service].provider
    blank = Card(platform=PLATFORMS[provider], provider=provider, form="the API's own fields")
    if "RawContent" in message:
        drawn = _of_raw_content(blank, message["RawContent"])
    else:
        drawn = _of_own_fields(blank, message)
    notes = drawn.notes
    if drawn.form != NOT_UNDERSTOOD and not (drawn.silent or drawn.title or drawn.text):
        notes = (_NO_TEXT, *notes)
    if service.startswith("APNS_VOIP"):
        notes = (_CALL, *notes)
    return replace(drawn, notes=notes)


def _of_own_fields(blank: Card, message: Mapping[str, Any]) -> Card:
    silent = message.get("SilentPush", False)
    if silent:
        return replace(blank, silent=True, data=_texts(message.get("Data")))
    values = message.get("Substitutions", {})
    notes = []
    if blank.provider == "FCM":
        notes.append(_LIBRARY_ONLY)
    if message.get("Data"):
        notes.append(_DATA_LOST)
    return replace(
        blank,
        title=_filled(message.get("Title"), values),
        text=_filled(message.get("Body"), values),
        image=message.get("ImageUrl") or message.get("MediaUrl"),
        badge=message.get("Badge"),
        sound=message.get("Sound"),
        action=message.get("Action"),
        link=message.get("Url"),
        notes=tuple(notes),
    )


def _filled(text: str | None, values: Mapping[str, list[str]]) -> str | None:
    if not text:
        return text
    return _VARIABLE.sub(lambda found: ", ".join(values.get(found[1], [found[0]])), text)


def _of_raw_content(blank: Card, text: str) -> Card:
    content = _parsed(text)
    if not isinstance(content, dict):
        why = "It is no JSON object."
    elif blank.provider == "APNs":
        if isinstance(content.get("aps"), dict):
            return _of_apns(blank, content)
        why = "It has no aps."
    elif blank.provider == "Baidu":
        return _of_baidu(blank, content)
    elif "fcmV1Message" not in content:
        form = f"raw content, {'legacy FCM' if blank.provider == 'FCM' else 'ADM'}"
        return _of_notification(replace(blank, form=form), content)
    elif isinstance(message := _members(content["fcmV1Message"]).get("message"), dict):
        return _of_notification(replace(blank, form="raw content, FCM v1"), message)
    else:
        why = "Its fcmV1Message has no message."
    return replace(blank, form=NOT_UNDERSTOOD, notes=(why,))


def _of_apns(blank: Card, payload: Mapping[str, Any]) -> Card:
    aps = payload["aps"]
    alert = aps.get("alert")
    parts = {"body": alert} if isinstance(alert, str) else _members(alert)
    sound = aps.get("sound")
    data = _members(payload.get("data"))
    drawn = replace(
        blank,
        form="raw content, APNs",
        # If the app has the text in the user's language, only its key is sent.
        title=_text(parts, "title", "title-loc-key"),
        subtitle=_text(parts, "subtitle", "subtitle-loc-key"),
        text=_text(parts, "body", "loc-key"),
        image=_text(data, "media-url") or _text(payload, "image_url"),
        badge=_number(aps.get("badge")),
        sound=sound if isinstance(sound, str) else _text(_members(sound), "name"),
        action=_text(aps, "category") or _text(payload, "action"),
        link=_text(_members(data.get("pinpoint")), "deeplink", "url") or _text(payload, "url"),
        interruption_level=_text(aps, "interruption-level"),
        data=_texts({key: value for key, value in payload.items() if key != "aps"}),
    )
    available = _number(aps.get("content-available"))
    return replace(
        drawn,
        silent=available == 1 and not aps.keys() & {"alert", "badge", "sound"},
        notes=() if available is not None else (_NO_CONTENT_AVAILABLE,),
    )


def _of_notification(blank: Card, message: Mapping[str, Any]) -> Card:
    """Make the card of FCM's two forms and ADM's, which differ around the notification."""
    data = _members(message.get("data"))
    android = _members(_members(message.get("android")).get("notification"))
    # On Android, its own settings win.
    notification = {**_members(message.get("notification")), **android}
    if not notification:
        return replace(blank, silent=True, data=_texts(data), notes=(_DATA_ONLY,))
    web = _members(_members(message.get("webpush")).get("fcm_options"))
    return replace(
        blank,
        title=_text(notification, "title", "title_loc_key"),
        text=_text(notification, "body", "body_loc_key"),
        image=_text(notification, "image"),
        badge=_number(notification.get("notification_count")),
        sound=_text(notification, "sound"),
        action=_text(notification, "click_action") or _text(data, "action"),
        link=_text(data, "url") or _text(web, "link"),
        channel=_text(notification, "channel_id", "android_channel_id"),
        color=_text(notification, "color"),
        tag=_text(notification, "tag"),
        data=_texts(data),
    )


def _of_baidu(blank: Card, content: Mapping[str, Any]) -> Card:
    return replace(
        blank,
        form="raw content, Baidu",
        title=_text(content, "title"),
        text=_text(content, "description"),
        link=_text(content, "url"),
        data=_texts(content.get("custom_content")),
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _members(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(members: Mapping[str, Any], *names: str) -> str | None:
    found = (members.get(name) for name in names)
    return next((value for value in found if isinstance(value, str)), None)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: Any) -> dict[str, str]:
    return {key: _as_text(inner) for key, inner in _members(value).items()}


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "nested too deeply to be shown"
