"""What each outcome, reason and change of the log means, in a sentence for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OUTCOMES: Final[Mapping[str, str]] = {
    "accepted": "The provider accepted the push. The phone may still not have shown it.",
    "dead_token": "The app is no longer on the device. The registry deletes the device.",
    "invalid_token": "The token is malformed, or of the other APNs environment. The registry "
    "marks the device; sends skip it until the app registers again.",
    "misconfigured": "A channel, a credential, the project or a permission is wrong. The push "
    "waits in the dead-letter queue, unless a caller got the report.",
    "rejected": "The message was refused: it does not fit this device.",
    "opted_out": "The push service says that the user opted out.",
    "duplicate": "The request has this device or token twice; this one got no second push.",
    "transient": "Throttled or a temporary failure, after all retries.",
    "unknown": "There was no usable answer. The push may have arrived.",
    "unsent": "The function did not try to send it.",
    "requeued": "The recipient is in the queue; a later line has its final outcome.",
    "no_device": "The user had no device for this push.",
    "scheduled": "The request is sent at the time of its send_at.",
}
"""By outcome."""

REASONS: Final[Mapping[tuple[str, str | None], str]] = {
    ("no_device", "none_registered"): "The user had no registered device.",
    ("no_device", "opted_out"): "The user had opted out on every device that the push was for.",
    ("no_device", "filtered"): "The request's device_filter excluded every device, or the user "
    "had only VoIP devices and the request did not name their service.",
    ("no_device", "invalid"): "The token of every device was marked as invalid.",
    ("no_device", "moved"): "The device that the push was for no longer belonged to the user.",
    ("rejected", "unfit"): "The message does not fit this device, so the function did not send it. "
    "The caller's report says more.",
    ("unsent", "deadline"): "The time of the invocation ended before it was sent.",
    ("unsent", "expired"): "Its ttl ended before it was sent.",
    ("unsent", "dry_run"): "The request was a dry run, which sends nothing.",
}
"""By outcome and reason, for the reasons that the function itself sets."""

CHANGES: Final[Mapping[str, str]] = {
    "DeviceCreated": "The device was registered.",
    "DeviceUpdated": "The registration was changed, or renewed.",
    "DeviceMoved": "The device came to this user from another one.",
    "DeviceDeleted": "The app or the backend deleted the device, for example at a sign-out.",
    "DeviceEvicted": "The user had too many devices; the one longest unseen was deleted.",
    "TokenTakenOver": "Another device registered the same token, so this device was deleted.",
    "UserErased": "The user was erased.",
    "DeadDeviceRemoved": "A push showed that the token is dead, so the device was deleted.",
    "TokenReplaced": "A push showed a new token, which replaced the old one.",
    "InvalidTokenFlagged": "A push showed that the token is invalid; sends skip the device until "
    "its app registers again.",
}
"""By change of the registry."""

LEFT_ITS_USER: Final = "The device left its user, and no user is signed in on it."
WITH_ITS_USER: Final = "The user was erased, and this device with the user."

REMOVALS: Final = frozenset(
    {"DeviceDeleted", "DeviceEvicted", "TokenTakenOver", "DeadDeviceRemoved"}
)
"""The changes after which a device is gone."""

GONE_WITHOUT_A_LINE: Final = (
    "No line of this time says when it went: another user signed in on it, its user signed out, "
    "or it expired."
)
"""A device that moves gets a new reference, so that the log does not connect two users."""


def of_result(outcome: str, reason: str | None, status_code: object, path: str | None) -> str:
    """Explain a result. The reason and the path of a field stand behind the sentence as it is."""
    unknown = "This version of the command does not know this outcome."
    text = REASONS.get((outcome, reason)) or OUTCOMES.get(outcome, unknown)
    status = "" if status_code is None else f"status {status_code}"
    details = ", ".join(filter(None, (reason, path, status if outcome != "accepted" else "")))
    return f"{text} ({details})" if details else text


def of_change(change: str, *, has_user: bool, is_erasure: bool) -> str:
    """Explain a change of the registry.

    Parameters
    ----------
    change
        Its name.
    has_user
        Whether the device has a user afterwards.
    is_erasure
        Whether it is a part of the erasure of a user.
    """
    if change == "DeviceMoved" and not has_user:
        return LEFT_ITS_USER
    if change == "DeviceDeleted" and is_erasure:
        return WITH_ITS_USER
    return CHANGES.get(change, "This version of the command does not know this change.")
