"""The only recipients of the smoke test: devices that do not exist.

An invented token has the form of its service's tokens, so that the push service passes it on and
the provider itself answers. Every run uses the same tokens.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Any, Final, NamedTuple

TITLE: Final = "Push Sender"
MESSAGE: Final = "A test with an invented token"

SERVICES: Final = {
    "GCM": "GCMMessage",
    "APNS": "APNSMessage",
    "APNS_SANDBOX": "APNSMessage",
    "APNS_VOIP": "APNSMessage",
    "APNS_VOIP_SANDBOX": "APNSMessage",
    "BAIDU": "BaiduMessage",
    "ADM": "ADMMessage",
}
"""Each push service, and the member that holds its message."""


class Device(NamedTuple):
    """A device that does not exist."""

    service: str
    token: str

    @property
    def recipient(self) -> dict[str, str]:
        """The device as a recipient of a request."""
        return {"token": self.token, "service": self.service}

    def call(self, application_id: str, **more: str) -> dict[str, Any]:
        """Write the SendMessages call for this device; ``more`` are members of the message."""
        return {
            "ApplicationId": application_id,
            "MessageRequest": {
                "Addresses": {self.token: {"ChannelType": self.service}},
                "MessageConfiguration": {
                    SERVICES[self.service]: {"Title": TITLE, "Body": MESSAGE, **more}
                },
            },
        }


def nonexistent_devices(*, in_sandbox: bool, more: str = "") -> tuple[Device, ...]:
    """Invent a device for each service.

    Parameters
    ----------
    in_sandbox
        Whether the project's own sandbox answers. It accepts any token, so its token for
        "invalid token" is used there.
    more
        Any text, for other devices than without it.
    """
    return tuple(
        Device(
            service,
            f"sandbox-bad-token-{service}{more}" if in_sandbox else _token(f"{service}{more}"),
        )
        for service in SERVICES
    )


def _token(name: str) -> str:
    digest = hashlib.sha512(f"push-sender made up for {name}".encode())
    service = name.partition("-")[0]
    characters = urlsafe_b64encode(digest.digest() * 3).decode().replace("_", "-")
    match service:
        case "GCM":
            return f"{characters[:22]}:APA91b{characters[22:156]}"
        case "ADM":
            return f"amzn1.adm-registration.v3.{characters[:180]}"
        case "BAIDU":
            return str(int(digest.hexdigest(), 16))[:19]
        case _:
            return digest.hexdigest()[:64]


def request(*devices: Device, **more: Any) -> dict[str, Any]:
    """Write a request to the function for the same push."""
    recipients = [device.recipient for device in devices]
    return {"recipients": recipients, "title": TITLE, "message": MESSAGE, **more}
