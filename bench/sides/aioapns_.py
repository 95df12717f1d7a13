"""A peer: aioapns, which speaks Apple's own HTTP/2 from asyncio.

It is used as its documentation says, with its own numbers of connections and attempts: up to
10 connections, each with as many requests under way as the server allows. It signs in with a
token, from a key made at the start.

It speaks HTTP/2 in plain text here, with prior knowledge, while to Apple it would speak TLS:
no side of the comparison pays for encryption. Its endpoint is the port ``APNS_PORT`` on
loopback. It imports nothing of this repository, as a person's own program would not.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from aioapns import PRIORITY_HIGH, PRIORITY_NORMAL, APNs, NotificationRequest, PushType
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIORITIES = {"normal": PRIORITY_NORMAL, "high": PRIORITY_HIGH}
A_DAY = 24 * 3_600

# Where all connections are busy it warns once a push, which would be measured too.
logging.getLogger("aioapns").setLevel(logging.ERROR)


class Side:
    """One client, and one event loop that every request runs in."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(_make_client(int(os.environ["APNS_PORT"])))

    def arrive(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave it as it is."""
        return request

    def send(self, event: Mapping[str, Any]) -> Any:
        """Send one request a token, all at once, and keep each token's result."""
        return self._runner.run(self._send(event))

    def accepted(self, answer: Any) -> int:
        """Count the results."""
        return sum(result.is_successful for result in answer.values())

    async def _send(self, event: Mapping[str, Any]) -> dict[str, Any]:
        recipients = [event["recipient"]] if "recipient" in event else event["recipients"]
        tokens = [recipient["token"] for recipient in recipients]
        alert = {"title": event["title"], "body": event["message"]}
        requests = [
            NotificationRequest(
                device_token=token,
                message={"aps": {"alert": alert}, "url": event["url"]},
                time_to_live=event["ttl"],
                priority=PRIORITIES[event["priority"]],
                push_type=PushType.ALERT,
            )
            for token in tokens
        ]
        results = await asyncio.gather(*map(self._client.send_notification, requests))
        return dict(zip(tokens, results, strict=True))


async def _make_client(port: int) -> Any:
    """Make the client within its loop, which it takes note of."""
    client = APNs(
        key=_make_key(), key_id="ABC123DEFG", team_id="DEF123GHIJ", topic="com.example.bench"
    )
    client.pool.ssl_context = None
    protocol = client.pool.protocol_class
    protocol.APNS_SERVER, protocol.APNS_PORT = "127.0.0.1", port
    # It closes what was idle for 10 seconds. Between rounds the loop stands still, so that
    # it would do so in the midst of the next one, under the requests.
    protocol.INACTIVITY_TIME = A_DAY
    return client


def _make_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
