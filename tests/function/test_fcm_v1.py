"""The notification that any Firebase app shows, held against FCM v1's own schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tests.support.invocation import Push
from tests.support.provider import Json, Provider

FCM = {"format": "fcm_v1"}


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Notification(_Exact):
    """``projects.messages#Notification`` of Firebase's reference."""

    title: str | None = None
    body: str | None = None
    image: str | None = None


class AndroidNotification(_Exact):
    """``#AndroidNotification``, as far as it is used."""

    icon: str | None = None
    sound: str | None = None


class AndroidConfig(_Exact):
    """``#AndroidConfig``, as far as it is used."""

    collapse_key: str | None = None
    priority: str | None = Field(None, pattern="^(NORMAL|HIGH)$")
    ttl: str | None = Field(None, pattern=r"^\d+s$")
    restricted_package_name: str | None = None
    notification: AndroidNotification | None = None


class WebpushFcmOptions(_Exact):
    """``#WebpushFcmOptions``."""

    link: str = Field(pattern="^https://")


class WebpushConfig(_Exact):
    """``#WebpushConfig``, as far as it is used."""

    fcm_options: WebpushFcmOptions


class Message(_Exact):
    """``projects.messages#Message``; the token is the API's to add."""

    data: dict[str, str] | None = None
    notification: Notification | None = None
    android: AndroidConfig | None = None
    webpush: WebpushConfig | None = None


def message_in(raw_content: str) -> Json:
    """Check raw content against the schema and give its message."""
    content = json.loads(raw_content)
    assert list(content) == ["fcmV1Message"]
    message: Json = content["fcmV1Message"]["message"]
    TypeAdapter(Message).validate_python(message)
    return message


def shared_message(provider: Provider) -> Json:
    """Give the message that everyone of the only call gets."""
    (call,) = provider.calls
    return message_in(call["MessageConfiguration"]["GCMMessage"]["RawContent"])


def test_every_field_is_written_to_its_place(push: Push, provider: Provider) -> None:
    push(
        {
            "recipient": {"token": "t", "service": "GCM"},
            "title": "Hi",
            "message": "There",
            "image_url": "https://example.com/i.png",
            "sound": "ping",
            "priority": "high",
            "ttl": 30,
            "collapse_id": "c",
            "data": {"order": "7"},
            "context": {"from_context": "yes"},
            "action": "URL",
            "url": "https://example.com/",
            "gcm": {
                **FCM,
                "icon_reference": "ic",
                "restricted_package_name": "com.example",
                "preferred_authentication_method": "TOKEN",
            },
        }
    )

    assert shared_message(provider) == {
        "notification": {"title": "Hi", "body": "There", "image": "https://example.com/i.png"},
        "data": {
            "from_context": "yes",
            "action": "URL",
            "url": "https://example.com/",
            "order": "7",
        },
        "android": {
            "priority": "HIGH",
            "ttl": "30s",
            "collapse_key": "c",
            "restricted_package_name": "com.example",
            "notification": {"sound": "ping", "icon": "ic"},
        },
        "webpush": {"fcm_options": {"link": "https://example.com/"}},
    }
    message = provider.calls[0]["MessageConfiguration"]["GCMMessage"]
    assert set(message) == {"RawContent", "PreferredAuthenticationMethod"}


def test_omitted_fields_are_absent(push: Push, provider: Provider) -> None:
    push({"recipient": {"token": "t", "service": "GCM"}, "message": "m", "gcm": FCM})

    assert shared_message(provider) == {"notification": {"body": "m"}}


def test_a_silent_push_has_no_notification(push: Push, provider: Provider) -> None:
    push(
        {
            "recipient": {"token": "t", "service": "GCM"},
            "title": "not shown",
            "silent": True,
            "sound": "ping",
            "data": {"k": "v"},
            "gcm": FCM,
        }
    )

    assert shared_message(provider) == {"data": {"k": "v"}}


def test_a_recipients_own_text_reaches_only_this_recipient(push: Push, provider: Provider) -> None:
    push(
        {
            "recipients": [
                {"token": "plain", "service": "GCM"},
                {"token": "own", "service": "GCM", "title": "Hi Ann", "context": {"k": "v"}},
                {"token": "raw", "service": "GCM", "raw_content": {"data": {}}},
            ],
            "title": "Hi",
            "message": "m",
            "ttl": 5,
            "gcm": FCM,
        }
    )

    addresses = provider.calls[0]["Addresses"]
    assert addresses["plain"] == {"ChannelType": "GCM"}
    assert addresses["own"].keys() == {"ChannelType", "Context", "RawContent"}
    assert message_in(addresses["own"]["RawContent"]) == {
        "notification": {"title": "Hi Ann", "body": "m"},
        "data": {"k": "v"},
        "android": {"ttl": "5s"},
    }
    assert addresses["raw"]["RawContent"] == '{"data":{}}'


def test_variables_are_filled_in_because_raw_content_is_sent_unchanged(
    push: Push, provider: Provider
) -> None:
    push(
        {
            "recipients": [
                {"token": "everyone", "service": "GCM"},
                {"token": "ann", "service": "GCM", "substitutions": {"name": "Ann"}},
            ],
            "title": "Hi {{name}}",
            "message": "{{ names }} and {{unknown}}",
            "substitutions": {"name": "you", "names": ["Bo", "Cy"]},
            "gcm": FCM,
        }
    )

    (call,) = provider.calls
    own = message_in(call["Addresses"]["ann"]["RawContent"])
    assert shared_message(provider)["notification"] == {
        "title": "Hi you",
        "body": "Bo, Cy and {{unknown}}",
    }
    assert own["notification"] == {"title": "Hi Ann", "body": "Bo, Cy and {{unknown}}"}


@pytest.mark.parametrize("service", ["APNS", "BAIDU", "ADM"])
def test_the_format_does_not_change_other_services(
    push: Push, provider: Provider, service: str
) -> None:
    push({"recipient": {"token": "t", "service": service}, "message": "m", "gcm": FCM})

    (message,) = provider.calls[0]["MessageConfiguration"].values()
    assert message == {"Body": "m"}


def test_data_with_a_notification_needs_no_warning(push: Push, provider: Provider) -> None:
    report: dict[str, Any] = push(
        {
            "recipient": {"token": "t", "service": "GCM"},
            "message": "m",
            "data": {"k": "v"},
            "gcm": FCM,
        }
    )

    assert report["warnings"] == []


def test_the_measured_size_is_that_of_the_payload(push: Push, provider: Provider) -> None:
    from push_sender.request.errors import InvalidRequest

    frame = len('{"notification":{"body":""}}')
    event = {"recipient": {"token": "t", "service": "GCM"}, "gcm": FCM}

    push({**event, "message": "x" * (4_096 - frame)})
    with pytest.raises(InvalidRequest, match="4,097 bytes"):
        push({**event, "message": "x" * (4_097 - frame)})
