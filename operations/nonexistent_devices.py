"""Devices that do not exist, and the push that is sent to them: nothing else ever gets one.

A token has the form of its service's, so that the service passes it on and the provider
itself says what it thinks of it. Every run sends to the same ones.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Any, Final, NamedTuple

TITLE: Final = "Push Sender"
MESSAGE: Final = "A test, to a token that is made up"

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
        """Name it as a request of the function does."""
        return {"token": self.token, "service": self.service}

    def call(self, application_id: str, **more: str) -> dict[str, Any]:
        """Write the call of SendMessages that pushes to it, with more in its message if wanted."""
        return {
            "ApplicationId": application_id,
            "MessageRequest": {
                "Addresses": {self.token: {"ChannelType": self.service}},
                "MessageConfiguration": {
                    SERVICES[self.service]: {"Title": TITLE, "Body": MESSAGE, **more}
                },
            },
        }


def devices(*, sandbox: bool) -> tuple[Device, ...]:
    """Make up a device of each service.

    Parameters
    ----------
    sandbox
        Whether the project's own sandbox answers. It takes any token, but for those that
        stand for something: there, one that stands for a token which is none.
    """
    return tuple(
        Device(service, f"sandbox-bad-token-{service}" if sandbox else _token(service))
        for service in SERVICES
    )


def _token(service: str) -> str:
    digest = hashlib.sha512(f"push-sender made up for {service}".encode())
    letters = urlsafe_b64encode(digest.digest() * 3).decode().replace("_", "-")
    match service:
        case "GCM":
            return f"{letters[:22]}:APA91b{letters[22:156]}"
        case "ADM":
            return f"amzn1.adm-registration.v3.{letters[:180]}"
        case "BAIDU":
            return str(int(digest.hexdigest(), 16))[:19]
        case _:
            return digest.hexdigest()[:64]


def request(*devices: Device, **more: Any) -> dict[str, Any]:
    """Write the function's request for the same push."""
    recipients = [device.recipient for device in devices]
    return {"recipients": recipients, "title": TITLE, "message": MESSAGE, **more}
