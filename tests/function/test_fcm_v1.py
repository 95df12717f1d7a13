"""The notification that any Firebase app shows, held against FCM v1's own schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from push_sender.request.errors import InvalidRequest
from push_sender.request.model import FORMAT_FIELDS
from push_sender.request.services import GCM_MESSAGE
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


class Color(_Exact):
    """``#Color``."""

    red: float = Field(ge=0, le=1)
    green: float = Field(ge=0, le=1)
    blue: float = Field(ge=0, le=1)
    alpha: float = Field(ge=0, le=1)


DURATION = r"^\d+(\.\d{1,9})?s$"


class LightSettings(_Exact):
    """``#LightSettings``."""

    color: Color
    light_on_duration: str = Field(pattern=DURATION)
    light_off_duration: str = Field(pattern=DURATION)


class AndroidNotification(_Exact):
    """``#AndroidNotification``."""

    title: str | None = None
    body: str | None = None
    icon: str | None = None
    color: str | None = Field(None, pattern="^#[0-9a-fA-F]{6}$")
    sound: str | None = None
    tag: str | None = None
    click_action: str | None = None
    body_loc_key: str | None = None
    body_loc_args: list[str] | None = None
    title_loc_key: str | None = None
    title_loc_args: list[str] | None = None
    channel_id: str | None = None
    ticker: str | None = None
    sticky: bool | None = None
    event_time: str | None = None
    local_only: bool | None = None
    notification_priority: str | None = Field(None, pattern="^PRIORITY_(MIN|LOW|DEFAULT|HIGH|MAX)$")
    default_sound: bool | None = None
    default_vibrate_timings: bool | None = None
    default_light_settings: bool | None = None
    vibrate_timings: list[Annotated[str, Field(pattern=DURATION)]] | None = None
    visibility: Literal["PRIVATE", "PUBLIC", "SECRET"] | None = None
    notification_count: int | None = None
    light_settings: LightSettings | None = None
    image: str | None = None


class FcmOptions(_Exact):
    """``#FcmOptions``."""

    analytics_label: str


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
    fcm_options: FcmOptions | None = None


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


EVERY_ANDROID_FIELD: Json = {
    "channel_id": "news",
    "icon": "ic_news",
    "color": "#00ff7F",
    "tag": "news-7",
    "click_action": "OPEN_NEWS",
    "title_loc_key": "title",
    "title_loc_args": ["a"],
    "body_loc_key": "body",
    "body_loc_args": ["b", "c"],
    "ticker": "spoken",
    "sticky": True,
    "event_time": "2026-12-24T18:00:00.5+01:00",
    "local_only": False,
    "notification_priority": "PRIORITY_MAX",
    "default_sound": True,
    "default_vibrate_timings": False,
    "default_light_settings": False,
    "vibrate_timings": ["0.5s", "1s"],
    "light_settings": {
        "color": {"red": 1.0, "green": 0.5, "blue": 0.0, "alpha": 1.0},
        "light_on_duration": "1s",
        "light_off_duration": "0.25s",
    },
    "visibility": "SECRET",
    "notification_count": 3,
}


def test_the_fields_of_android_keep_the_names_that_fcm_gives_them(
    push: Push, provider: Provider
) -> None:
    own = {**FCM, **EVERY_ANDROID_FIELD, "analytics_label": "a_b-c.d~e%f"}
    push({"recipient": {"token": "t", "service": "GCM"}, "gcm": own})

    message = shared_message(provider)
    assert message["android"]["notification"] == EVERY_ANDROID_FIELD
    assert message["fcm_options"] == {"analytics_label": "a_b-c.d~e%f"}
    assert FORMAT_FIELDS[GCM_MESSAGE][1] == {*EVERY_ANDROID_FIELD, "analytics_label"}


def test_a_badge_of_a_recipient_is_fcms_notification_count(push: Push, provider: Provider) -> None:
    push({"recipients": [{"token": "t", "service": "GCM", "badge": 5}], "message": "m", "gcm": FCM})

    (call,) = provider.calls
    message = message_in(call["Addresses"]["t"]["RawContent"])
    assert message["android"]["notification"] == {"notification_count": 5}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"channel_id": "c"}, "gcm.channel_id: needs gcm.format fcm_v1"),
        ({**FCM, "color": "red"}, "gcm.color: must be a color as #rrggbb"),
        ({**FCM, "notification_count": -1}, "gcm.notification_count: must be at least 0"),
        ({**FCM, "body_loc_args": ["a"]}, "gcm.body_loc_args: needs body_loc_key"),
        ({**FCM, "event_time": "now"}, "gcm.event_time: must be a time as 2026-12-24T18:00:00Z"),
        (
            {**FCM, "vibrate_timings": ["1"]},
            "gcm.vibrate_timings[0]: must be seconds as text, such as 0.5s",
        ),
        (
            {**FCM, "light_settings": {"color": {"red": 2}, "light_on_duration": "1s"}},
            "gcm.light_settings.color.red: must be at most 1.0\n"
            "gcm.light_settings.light_off_duration: is missing",
        ),
        (
            {**FCM, "icon": "a", "icon_reference": "b"},
            "gcm.icon: give icon or icon_reference, not both",
        ),
    ],
)
def test_what_fcm_does_not_take_is_refused_with_the_cure(
    push: Push, fields: Json, error: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        push({"recipient": {"token": "t", "service": "GCM"}, "message": "m", "gcm": fields})

    assert str(refused.value) == error


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
