"""The notification in APNs' own payload, with every field that APNs has.

The API's own fields know neither a subtitle nor an interruption level, and deliver ``data``
only silently. As raw content the same fields become APNs' payload (Apple's "Generating a
remote notification"): ``data``, ``context``, ``url``, ``action`` and ``image_url`` are keys
beside ``aps``, which the app reads. An image is loaded by the app's extension, which APNs
starts for ``mutable-content``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from push_sender.messages.substitutions import fill_all

TEXTS: Final = (
    "title", "subtitle", "message", "url", "image_url", "title_loc_args", "subtitle_loc_args",
    "loc_args",
)  # fmt: skip
"""The fields in which message variables are filled in."""

_ALERT: Final = {
    "title": "title", "subtitle": "subtitle", "message": "body",
    "title_loc_key": "title-loc-key", "title_loc_args": "title-loc-args",
    "subtitle_loc_key": "subtitle-loc-key", "subtitle_loc_args": "subtitle-loc-args",
    "loc_key": "loc-key", "loc_args": "loc-args", "launch_image": "launch-image",
}  # fmt: skip
_VISIBLE: Final = {
    "badge": "badge", "sound": "sound", "category": "category",
    "interruption_level": "interruption-level", "relevance_score": "relevance-score",
}  # fmt: skip
_ALWAYS: Final = {
    "thread_id": "thread-id", "target_content_id": "target-content-id",
    "filter_criteria": "filter-criteria",
}  # fmt: skip
_CUSTOM: Final = ("action", "url", "image_url")


def raw_content(content: Mapping[str, Any], context: Mapping[str, str]) -> dict[str, Any]:
    """Build the payload of one notification.

    Parameters
    ----------
    content
        The fields of the request for APNs, by their names in the request, with the
        recipient's own in place.
    context
        Of the request and the recipient.

    Returns
    -------
    dict
        ``{"aps": {…}, …}``. A silent push has neither alert nor sound nor badge.
    """
    texts: Mapping[str, Any] = {**content, **fill_all(content, TEXTS)}
    silent = bool(content.get("silent"))
    aps: dict[str, Any] = {}
    if not silent:
        if alert := _renamed(texts, _ALERT):
            aps["alert"] = alert
        aps |= _renamed(content, _VISIBLE)
        if (critical := content.get("critical_sound")) is not None:
            aps["sound"] = {"critical": 1, **critical}
    aps |= _renamed(content, _ALWAYS)
    # AWS asks for an integer here: 1 for a silent notification and 0 for any other.
    aps["content-available"] = int(silent or bool(content.get("content_available")))
    if content.get("mutable_content") or (not silent and "image_url" in content):
        aps["mutable-content"] = 1
    custom = {name: texts[name] for name in _CUSTOM if name in texts}
    return {"aps": aps, **context, **custom, **content.get("data", {})}


def _renamed(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: content[field] for field, name in names.items() if field in content}
