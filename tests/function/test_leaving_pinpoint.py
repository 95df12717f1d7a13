"""The adapter for programs that call SendMessages: same call, same answer, through the function."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from botocore.session import get_session

from examples.leaving_pinpoint import adapter
from examples.leaving_pinpoint.adapter import (
    NotTranslatableError,
    PushSender,
    RefusedError,
    message_response,
    push_request,
)
from tests.support.invocation import OTHER_PROJECT, PROJECT, Push
from tests.support.paths import REPOSITORY
from tests.support.provider import Provider, accepted, refused

MODEL: Any = get_session().get_service_model("pinpoint")
MESSAGE_REQUEST: Any = MODEL.operation_model("SendMessages").input_shape.members["MessageRequest"]

COMMON = {
    "Title": "t",
    "Body": "Hello {{name}}",
    "Action": "DEEP_LINK",
    "Url": "app://place",
    "SilentPush": False,
    "Data": {"k": "v"},
    "Substitutions": {"name": ["Ann", "Bo"]},
}
OWN = {"Sound": "ping", "ImageUrl": "https://example.com/i.png"}
ICONS = {
    "IconReference": "icon",
    "ImageIconUrl": "https://example.com/l.png",
    "SmallImageIconUrl": "https://example.com/s.png",
}
MESSAGES: dict[str, dict[str, Any]] = {
    "GCMMessage": {
        **COMMON,
        **OWN,
        **ICONS,
        "Priority": "high",
        "TimeToLive": 60,
        "CollapseKey": "c",
        "RestrictedPackageName": "com.example",
        "PreferredAuthenticationMethod": "TOKEN",
    },
    "APNSMessage": {
        **COMMON,
        "Sound": "ping",
        "MediaUrl": "https://example.com/i.png",
        "Priority": "normal",
        "TimeToLive": 60,
        "CollapseId": "c",
        "Badge": 3,
        "Category": "orders",
        "ThreadId": "thread",
        "APNSPushType": "alert",
        "PreferredAuthenticationMethod": "TOKEN",
    },
    "BaiduMessage": {**COMMON, **OWN, **ICONS, "TimeToLive": 60},
    "ADMMessage": {
        **COMMON,
        **OWN,
        **ICONS,
        "ExpiresAfter": "60",
        "ConsolidationKey": "c",
        "MD5": "md5",
    },
}
CHANNEL = {"GCM": "GCMMessage", "APNS": "APNSMessage", "BAIDU": "BaiduMessage", "ADM": "ADMMessage"}


class Functions:
    """What the adapter needs of boto3's client of Lambda, in front of the handler itself."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803  boto3's
        assert FunctionName == "push-sender:live"
        told: dict[str, Any] = {"ResponseMetadata": {"RequestId": "r-1", "HTTPStatusCode": 200}}
        try:
            answer = self._push(json.loads(Payload))
        except Exception as error:  # noqa: BLE001  as Lambda answers whatever a function raises
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
            told["FunctionError"] = "Unhandled"
        return {**told, "Payload": io.BytesIO(json.dumps(answer).encode())}


@pytest.fixture
def pinpoint(push: Push) -> PushSender:
    return PushSender(Functions(push), "push-sender:live")


def send(pinpoint: PushSender, project: str = PROJECT, **request: Any) -> dict[str, Any]:
    answer = pinpoint.send_messages(ApplicationId=project, MessageRequest=request)
    response: dict[str, Any] = answer["MessageResponse"]
    return response


@pytest.mark.parametrize("channel", CHANNEL)
def test_a_call_with_every_member_is_sent_unchanged(
    pinpoint: PushSender, provider: Provider, channel: str
) -> None:
    request = {
        "Addresses": {"plain": {"ChannelType": channel}},
        "MessageConfiguration": {CHANNEL[channel]: MESSAGES[CHANNEL[channel]]},
        "Context": {"campaign": "c"},
        "TraceId": "trace",
    }

    response = send(pinpoint, OTHER_PROJECT, **request)

    assert provider.calls == [request]
    assert provider.application_ids == [OTHER_PROJECT]
    assert response == {
        "ApplicationId": OTHER_PROJECT,
        "RequestId": "r-1",
        "Result": {"plain": accepted("plain")},
    }


def test_the_tables_have_every_push_member_of_the_api() -> None:
    configuration = MESSAGE_REQUEST.members["MessageConfiguration"]
    for name, fields in adapter._FIELDS.items():
        assert fields.keys() == configuration.members[name].members.keys(), name
        if name in MESSAGES:
            assert fields.keys() - MESSAGES[name].keys() == {"RawContent"}
    address = MESSAGE_REQUEST.members["Addresses"].value
    assert adapter._ADDRESS.keys() | {"ChannelType"} == address.members.keys()


def test_addresses_keep_their_personal_fields_and_raw_content_stays_text(
    pinpoint: PushSender, provider: Provider
) -> None:
    raw = json.dumps({"aps": {"alert": "raw", "content-available": 0}})
    addresses = {
        "one": {
            "ChannelType": "APNS_SANDBOX",
            "TitleOverride": "T",
            "BodyOverride": "B",
            "Substitutions": {"name": ["Cy"]},
            "Context": {"k": "v"},
        },
        "two": {"ChannelType": "APNS_SANDBOX", "RawContent": raw},
    }
    configuration = {"APNSMessage": {"Body": "b", "RawContent": raw}}

    send(pinpoint, Addresses=addresses, MessageConfiguration=configuration)

    assert provider.calls == [{"Addresses": addresses, "MessageConfiguration": configuration}]


def test_a_channel_without_its_own_message_gets_the_default_message(
    pinpoint: PushSender, provider: Provider
) -> None:
    own = {"Title": "own", "Body": "b"}
    default = {"Title": "default", "Body": "b", "Url": "https://example.com", "Action": "URL"}
    addresses = {"a": {"ChannelType": "GCM"}, "b": {"ChannelType": "APNS"}}
    configuration = {
        "GCMMessage": own,
        "DefaultPushNotificationMessage": default,
        "DefaultMessage": {"Body": "never"},
        "SMSMessage": {"Body": "of no address"},
    }

    send(pinpoint, Addresses=addresses, MessageConfiguration=configuration)

    sent = {name: message for call in provider.calls for name, message in _messages(call)}
    assert sent == {"GCMMessage": own, "APNSMessage": default}


def _messages(call: dict[str, Any]) -> Any:
    return call["MessageConfiguration"].items()


def test_priorities_may_be_numbers_as_in_sendmessages() -> None:
    for given, taken in (("5", "normal"), ("10", "high"), ("high", "high")):
        request = push_request(
            {
                "Addresses": {"t": {"ChannelType": "GCM"}},
                "MessageConfiguration": {"GCMMessage": {"Body": "b", "Priority": given}},
            },
            PROJECT,
        )
        assert request["gcm"]["priority"] == taken


def test_all_untranslatable_members_are_named_at_once_without_values(
    pinpoint: PushSender, provider: Provider
) -> None:
    request: dict[str, Any] = {
        "Addresses": {
            "secret-1": {"ChannelType": "SMS"},
            "secret-2": {"ChannelType": "ADM", "New": 1},
        },
        "Endpoints": {"secret-3": {}},
        "TemplateConfiguration": {"PushTemplate": {"Name": "secret-4"}},
        "MessageConfiguration": {"ADMMessage": {"ExpiresAfter": "secret-5", "Priority": "high"}},
    }

    with pytest.raises(NotTranslatableError) as caught:
        send(pinpoint, **request)

    for part in (
        "Endpoints of MessageRequest",
        "TemplateConfiguration of MessageRequest",
        "New of an address",
        "ChannelType is no push channel",
        "Priority of ADMMessage",
        "ExpiresAfter of ADMMessage, which is no number",
    ):
        assert part in str(caught.value)
    assert "secret" not in str(caught.value)
    assert provider.calls == []


def test_the_results_of_addresses_have_the_apis_form(
    pinpoint: PushSender, provider: Provider
) -> None:
    answers = {
        "gone": {
            "DeliveryStatus": "PERMANENT_FAILURE",
            "StatusCode": 410,
            "StatusMessage": '{"pushProviderError":"Unregistered"}',
        },
        "moved": {**accepted("moved"), "UpdatedToken": "new"},
    }
    provider.answer_each(lambda token, _: answers[token])

    response = send(
        pinpoint,
        Addresses={token: {"ChannelType": "APNS"} for token in answers},
        MessageConfiguration={"APNSMessage": {"Body": "b"}},
    )

    assert response["Result"] == answers


def test_a_refused_call_gives_a_result_for_each_address(
    pinpoint: PushSender, provider: Provider
) -> None:
    provider.answer = lambda _: refused(403, "ForbiddenException")

    response = send(
        pinpoint,
        Addresses={"a": {"ChannelType": "GCM"}},
        MessageConfiguration={"GCMMessage": {"Body": "b"}},
    )

    (result,) = response["Result"].values()
    assert (result["DeliveryStatus"], result["StatusCode"]) == ("PERMANENT_FAILURE", 403)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("transient", "TEMPORARY_FAILURE"),
        ("unsent", "TEMPORARY_FAILURE"),
        ("unknown", "UNKNOWN_FAILURE"),
        ("misconfigured", "PERMANENT_FAILURE"),
        ("rejected", "PERMANENT_FAILURE"),
        ("duplicate", "DUPLICATE"),
    ],
)
def test_every_outcome_has_a_delivery_status_of_the_model(outcome: str, status: str) -> None:
    unanswered = dict.fromkeys(
        ("delivery_status", "status_code", "status_message", "message_id", "replacement_token")
    )
    report = {
        "application_id": PROJECT,
        "results": [{"token": "t", "outcome": outcome, **unanswered}],
    }

    result = message_response(report, "r")["Result"]["t"]

    assert result["DeliveryStatus"] == status
    assert isinstance(result["StatusCode"], int)
    response = MODEL.operation_model("SendMessages").output_shape.members["MessageResponse"]
    assert status in response.members["Result"].value.members["DeliveryStatus"].enum


def test_a_request_that_the_function_refuses_raises(
    pinpoint: PushSender, provider: Provider
) -> None:
    with pytest.raises(RefusedError, match=r"gcm\.ttl"):
        send(
            pinpoint,
            Addresses={"a": {"ChannelType": "GCM"}},
            MessageConfiguration={"GCMMessage": {"Body": "b", "TimeToLive": 9_999_999}},
        )
    assert provider.calls == []


def test_the_page_has_every_member_with_the_field_that_the_adapter_has() -> None:
    page = (REPOSITORY / "docs" / "leaving-pinpoint.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", page, re.MULTILINE))
    for fields in (*adapter._FIELDS.values(), adapter._ADDRESS):
        for member, field in fields.items():
            assert rows[member].rpartition(".")[2] == field, member
