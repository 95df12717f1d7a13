"""The calls that a request becomes, held against AWS's example and botocore's model."""

from __future__ import annotations

from typing import Any, Final

import botocore.session
import pytest
from botocore.model import StructureShape

from tests.support.invocation import OTHER_PROJECT, PROJECT, Push
from tests.support.provider import Provider

TOKEN = "a0b1c2d3e4f5g6h7i8j9k0l1m2n3o4p5q6r7s8t9u0v1w2x3y4z5a6b7c8d8e9f0"
EXAMPLE = {
    "title": "Test message sent from Amazon Pinpoint.",
    "message": "This is a sample message sent from Amazon Pinpoint by using the "
    "AWS SDK for Python (Boto 3).",
    "action": "URL",
    "url": "https://www.example.com",
    "priority": "normal",
    "ttl": 30,
    "silent": False,
}
COMMON_MEMBERS = {
    "Action": "URL",
    "Body": EXAMPLE["message"],
    "SilentPush": False,
    "Title": EXAMPLE["title"],
    "Url": "https://www.example.com",
}


@pytest.mark.parametrize(
    ("service", "member", "own"),
    [
        ("GCM", "GCMMessage", {"Priority": "normal", "TimeToLive": 30}),
        ("APNS", "APNSMessage", {"Priority": "normal", "TimeToLive": 30}),
        ("BAIDU", "BaiduMessage", {"TimeToLive": 30}),
        ("ADM", "ADMMessage", {"ExpiresAfter": "30"}),
    ],
)
def test_the_example_of_aws_is_sent_member_for_member(
    push: Push, provider: Provider, service: str, member: str, own: dict[str, Any]
) -> None:
    push({**EXAMPLE, "recipient": {"token": TOKEN, "service": service}})

    assert provider.calls == [
        {
            "Addresses": {TOKEN: {"ChannelType": service}},
            "MessageConfiguration": {member: {**COMMON_MEMBERS, **own}},
        }
    ]
    assert provider.application_ids == [PROJECT]


EVERY_COMMON_FIELD = {
    "title": "t",
    "message": "m",
    "action": "DEEP_LINK",
    "url": "app://place",
    "priority": "high",
    "ttl": 60,
    "silent": True,
    "image_url": "https://example.com/i.png",
    "sound": "ping",
    "data": {"k": "v"},
    "collapse_id": "c",
    "substitutions": {"name": "Ann", "names": ["Bo", "Cy"]},
}
EVERY_OWN_FIELD: Final[dict[str, dict[str, Any]]] = {
    "gcm": {
        "icon_reference": "icon",
        "image_icon_url": "https://example.com/l.png",
        "small_image_icon_url": "https://example.com/s.png",
        "restricted_package_name": "com.example",
        "preferred_authentication_method": "TOKEN",
        "raw_content": {"notification": {"title": "raw"}},
    },
    "apns": {
        "badge": 0,
        "category": "cat",
        "thread_id": "thread",
        "push_type": "background",
        "preferred_authentication_method": "CERTIFICATE",
        "raw_content": {"aps": {"content-available": 1}},
    },
    "baidu": {
        "icon_reference": "icon",
        "image_icon_url": "https://example.com/l.png",
        "small_image_icon_url": "https://example.com/s.png",
        "raw_content": '{"title":"raw"}',
    },
    "adm": {
        "icon_reference": "icon",
        "image_icon_url": "https://example.com/l.png",
        "small_image_icon_url": "https://example.com/s.png",
        "md5": "0123",
        "raw_content": '{"data":{}}',
    },
}
LEFT_OUT = {
    "MessageRequest": {
        "Endpoints": "endpoints ended with Amazon Pinpoint on 2026-10-30",
        "TemplateConfiguration": "message templates ended with Amazon Pinpoint on 2026-10-30",
    },
}


@pytest.mark.parametrize(
    ("service", "member"),
    [
        ("GCM", "GCMMessage"),
        ("FCM", "GCMMessage"),
        ("APNS", "APNSMessage"),
        ("APNS_SANDBOX", "APNSMessage"),
        ("APNS_VOIP", "APNSMessage"),
        ("APNS_VOIP_SANDBOX", "APNSMessage"),
        ("BAIDU", "BaiduMessage"),
        ("ADM", "ADMMessage"),
    ],
)
def test_every_member_of_the_model_is_reachable_or_omitted_with_a_reason(
    push: Push, provider: Provider, service: str, member: str
) -> None:
    recipient = {
        "token": "t",
        "service": service,
        "title": "own",
        "message": "own",
        "substitutions": {"name": "Dee"},
        "context": {"k": "own"},
        "raw_content": {"aps": {"content-available": 0}},
    }
    push(
        {
            **EVERY_COMMON_FIELD,
            **EVERY_OWN_FIELD,
            "recipient": recipient,
            "context": {"k": "v"},
            "trace_id": "trace",
        }
    )

    (call,) = provider.calls
    model = botocore.session.Session().get_service_model("pinpoint")
    request = _members(model.shape_for("MessageRequest"))
    assert set(call) | set(LEFT_OUT["MessageRequest"]) == request
    assert set(call["MessageConfiguration"]) == {member}
    assert set(call["MessageConfiguration"][member]) == _members(model.shape_for(member))
    assert set(call["Addresses"]["t"]) == _members(model.shape_for("AddressConfiguration"))
    assert call["Addresses"]["t"]["ChannelType"] == service.replace("FCM", "GCM")
    substitutions = call["MessageConfiguration"][member]["Substitutions"]
    assert substitutions == {"name": ["Ann"], "names": ["Bo", "Cy"]}


def _members(shape: Any) -> set[str]:
    assert isinstance(shape, StructureShape)
    return set(shape.members)


def test_omitted_fields_are_absent_and_false_and_zero_are_sent(
    push: Push, provider: Provider
) -> None:
    push(
        {
            "recipient": {"token": "t", "service": "APNS"},
            "message": "m",
            "silent": False,
            "ttl": 0,
            "title": None,
            "apns": {"badge": 0},
        }
    )

    assert provider.calls[0]["MessageConfiguration"]["APNSMessage"] == {
        "Body": "m",
        "SilentPush": False,
        "TimeToLive": 0,
        "Badge": 0,
    }


def test_a_services_own_field_overrides_the_common_one_for_that_service_only(
    push: Push, provider: Provider
) -> None:
    push(
        {
            "recipients": [{"token": "a", "service": "GCM"}, {"token": "b", "service": "ADM"}],
            "message": "common",
            "ttl": 10,
            "gcm": {"message": "own", "ttl": 20},
        }
    )

    messages = [call["MessageConfiguration"] for call in provider.calls]
    assert {"GCMMessage": {"Body": "own", "TimeToLive": 20}} in messages
    assert {"ADMMessage": {"Body": "common", "ExpiresAfter": "10"}} in messages


def test_raw_content_is_sent_as_text_in_either_form(push: Push, provider: Provider) -> None:
    spaced = '{ "aps": {"content-available": 0} }'
    push({"recipient": {"token": "a", "service": "APNS"}, "apns": {"raw_content": spaced}})
    push({"recipient": {"token": "a", "service": "APNS", "raw_content": {"aps": {"é": 1}}}})

    assert provider.calls[0]["MessageConfiguration"] == {"APNSMessage": {"RawContent": spaced}}
    assert provider.calls[1]["Addresses"]["a"]["RawContent"] == '{"aps":{"é":1}}'


def test_a_request_may_choose_among_the_allowed_projects(push: Push, provider: Provider) -> None:
    report = push(
        {
            "recipient": {"token": "t", "service": "GCM"},
            "message": "m",
            "application_id": OTHER_PROJECT,
        }
    )

    assert provider.application_ids == [OTHER_PROJECT]
    assert report["application_id"] == OTHER_PROJECT


def test_fields_that_a_service_does_not_have_are_omitted_for_it(
    push: Push, provider: Provider
) -> None:
    report = push(
        {
            "recipient": {"token": "t", "service": "BAIDU"},
            "message": "m",
            "priority": "high",
            "collapse_id": "c",
            "baidu": {"priority": "high"},
        }
    )

    assert provider.calls[0]["MessageConfiguration"] == {"BaiduMessage": {"Body": "m"}}
    assert [warning["path"] for warning in report["warnings"]] == ["baidu.priority"]
