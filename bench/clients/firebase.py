"""The Firebase Admin SDK, which sends to Google directly.

Used as its documentation says: one push with ``send``, many with ``send_each``, which accepts at
most 500 messages and makes one HTTP request in one thread for each.

Its endpoint is the URL in ``FCM_URL``, without TLS like every other client's. Its access token is a
constant, so that it requests none.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import firebase_admin
from firebase_admin import messaging
from firebase_admin.exceptions import FirebaseError
from google.oauth2.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGES = 500

# It makes more requests at once than it keeps connections. Each extra connection causes a
# warning, which would be measured, too.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class Client:
    """One app of the SDK."""

    def __init__(self) -> None:
        messaging._MessagingService.FCM_URL = os.environ["FCM_URL"]
        app = firebase_admin.initialize_app(Credentials("bench"), {"projectId": "bench"})
        # The SDK keeps 100 connections to Google's host, and 10 to any other.
        session = messaging._get_messaging_service(app)._client.session
        session.mount("http://", session.get_adapter("https://fcm.googleapis.com"))

    def prepare(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return it unchanged."""
        return request

    def send(self, event: Mapping[str, Any]) -> Any:
        """Make the calls and keep each token's message id, or its error."""
        notification = messaging.Notification(title=event["title"], body=event["message"])
        android = messaging.AndroidConfig(priority=event["priority"], ttl=event["ttl"])
        recipients = [event["recipient"]] if "recipient" in event else event["recipients"]
        messages = [
            messaging.Message(
                token=recipient["token"],
                notification=notification,
                android=android,
                data={"url": event["url"]},
            )
            for recipient in recipients
        ]
        if len(messages) == 1:
            return {messages[0].token: _send_one(messages[0])}
        results: dict[str, str | FirebaseError] = {}
        for start in range(0, len(messages), MESSAGES):
            part = messages[start : start + MESSAGES]
            responses = messaging.send_each(part).responses
            for message, response in zip(part, responses, strict=True):
                results[message.token] = response.message_id or response.exception
        return results

    def accepted(self, answer: Any) -> int:
        """Count the message ids."""
        return sum(isinstance(result, str) for result in answer.values())


def _send_one(message: messaging.Message) -> str | FirebaseError:
    try:
        return messaging.send(message)
    except FirebaseError as error:
        return error
