"""The sandbox's push service as boto3 and the AWS command line see it, over loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from sandbox.inbox import pages
from sandbox.patches import applied
from sandbox.pinpoint import devices
from sandbox.pinpoint import pushes as inbox
from sandbox.pinpoint import service as push_service
from sandbox.pinpoint.patches import PATCHES
from sandbox.pinpoint.projects import enable_channel
from sandbox.server import Server
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from mypy_boto3_pinpoint import PinpointClient

DOCS = REPOSITORY / "docs" / "sandbox-tokens.md"
MESSAGES: dict[str, Any] = {
    "GCMMessage": {"Title": "Hello", "Body": "A message"},
    "APNSMessage": {"Title": "Hello", "Body": "A message"},
    "BaiduMessage": {"Title": "Hello", "Body": "A message"},
    "ADMMessage": {"Title": "Hello", "Body": "A message"},
}
EVERY_CHANNEL = tuple(devices.CHANNELS)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with applied(PATCHES), Server(mounts={"/sandbox": pages.application}) as server:
        yield server.url


def client_of(url: str, region: str = "us-east-1") -> PinpointClient:
    client: PinpointClient = boto3.client(
        "pinpoint",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )
    return client


@pytest.fixture
def pinpoint(url: str) -> Iterator[PinpointClient]:
    client = client_of(url)
    yield client
    client.close()
    page(url, "/moto-api/reset", "POST")


@pytest.fixture
def project(pinpoint: PinpointClient) -> str:
    """Make a project with every channel enabled."""
    application_id = new_project(pinpoint)
    for channel in EVERY_CHANNEL:
        enable_channel(application_id, channel)
    return application_id


def new_project(pinpoint: PinpointClient) -> str:
    return pinpoint.create_app(CreateApplicationRequest={"Name": "demo"})["ApplicationResponse"][
        "Id"
    ]


def send(
    pinpoint: PinpointClient,
    application_id: str,
    addresses: dict[str, Any],
    messages: Any = None,
    **others: Any,
) -> dict[str, Any]:
    """Send to addresses, each a ChannelType or an AddressConfiguration; return the results."""
    request: Any = {
        "Addresses": {
            token: {"ChannelType": address} if isinstance(address, str) else address
            for token, address in addresses.items()
        },
        "MessageConfiguration": MESSAGES if messages is None else messages,
        **others,
    }
    response = pinpoint.send_messages(ApplicationId=application_id, MessageRequest=request)
    results: dict[str, Any] = dict(response["MessageResponse"].get("Result", {}))
    return results


def page(url: str, path: str, method: str = "GET") -> Any:
    with urlopen(Request(url + path, method=method)) as response:  # noqa: S310 - loopback
        return json.load(response)


def listed(url: str, query: str = "") -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = page(url, "/sandbox/messages" + query)["messages"]
    return messages


def provider_words(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    message = json.loads(result["StatusMessage"])
    return message["pushProviderError"], json.loads(message["pushProviderResponse"])


# Sending


@pytest.mark.parametrize("channel", EVERY_CHANNEL)
def test_any_token_is_accepted_on_every_enabled_channel(
    pinpoint: PinpointClient, project: str, channel: str
) -> None:
    result = send(pinpoint, project, {"a-token": channel})["a-token"]
    assert (result["DeliveryStatus"], result["StatusCode"]) == ("SUCCESSFUL", 200)
    assert result["MessageId"]


def test_an_answer_follows_the_apis_model(pinpoint: PinpointClient, project: str) -> None:
    addresses = {row.token: "GCM" for row in devices.WELL_KNOWN if "call" not in row.token}
    del addresses["sandbox-slow"]
    response = pinpoint.send_messages(
        ApplicationId=project,
        MessageRequest={
            "Addresses": {token: {"ChannelType": "GCM"} for token in addresses},
            "MessageConfiguration": {"GCMMessage": {"Title": "Hello"}},
        },
    )
    metadata = response.pop("ResponseMetadata")  # type: ignore[misc]  # a required key
    shape: Any = pinpoint.meta.service_model.operation_model("SendMessages").output_shape
    assert not ParamValidator().validate(response, shape).has_errors()
    answer = response["MessageResponse"]
    assert answer["ApplicationId"] == project
    assert answer["RequestId"] == metadata["RequestId"]
    assert set(answer["Result"]) == set(addresses) - {"sandbox-missing"}


def test_a_url_that_looks_like_a_query_selects_no_other_operation(
    pinpoint: PinpointClient, project: str
) -> None:
    message = {"Action": "URL", "Url": "https://example.com/?a=1&Action=DeleteApp&b=2"}
    results = send(pinpoint, project, {"t": "GCM"}, {"GCMMessage": message})
    assert results["t"]["StatusCode"] == 200


def test_a_disabled_channel_refuses_only_its_addresses(
    pinpoint: PinpointClient, project: str
) -> None:
    enable_channel(project, "GCM", enabled=False)
    results = send(pinpoint, project, {"android": "GCM", "iphone": "APNS", "sms": "SMS"})
    assert results["android"] == {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": 400,
        "StatusMessage": f"No channel of type GCM is enabled for the application {project}",
    }
    assert results["sms"]["StatusMessage"].startswith("No channel of type SMS is enabled")
    assert results["iphone"]["DeliveryStatus"] == "SUCCESSFUL"


@pytest.mark.parametrize(
    ("channel", "message", "status_code", "words"),
    [
        ("APNS", {"Body": "x" * 4097}, 413, "PayloadTooLarge"),
        ("APNS_VOIP", {"Body": "x" * 5121}, 413, "PayloadTooLarge"),
        ("APNS", {"RawContent": json.dumps({"aps": "ü" * 2048})}, 413, "PayloadTooLarge"),
        ("GCM", {"Body": "x" * 4097}, 400, "Android message is too big"),
        ("GCM", {"SilentPush": True, "Data": {"k": "x" * 4096}}, 400, "Android message is too big"),
        (
            "GCM",
            {"RawContent": '{"fcmV1Message":{"message":{"data":{"k":"' + "x" * 4096 + '"}}}}'},
            400,
            "Android message is too big",
        ),
        ("BAIDU", {"Body": "x" * 4097}, 400, "Request Params Not Valid"),
        ("ADM", {"Body": "x" * 6145}, 413, "MessageTooLarge"),
    ],
)
def test_a_payload_that_must_exceed_the_limit_fails_in_the_providers_words(
    pinpoint: PinpointClient,
    project: str,
    channel: str,
    message: dict[str, Any],
    status_code: int,
    words: str,
) -> None:
    member = devices.CHANNELS[channel].message
    result = send(pinpoint, project, {"t": channel}, {member: message})["t"]
    assert (result["DeliveryStatus"], result["StatusCode"]) == ("PERMANENT_FAILURE", status_code)
    assert provider_words(result)[0] == words


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("APNS", {"Body": "x" * 4000}),
        ("APNS_VOIP", {"Body": "x" * 5000}),
        ("GCM", {"Body": "Hello {{" + "x" * 5000 + "}}"}),
        ("GCM", {"Title": "Hello", "Data": {"unsent": "x" * 5000}}),
        ("GCM", {"RawContent": "[" * 20_000}),
        ("ADM", {"Body": "x" * 6000}),
    ],
)
def test_a_payload_that_may_fit_is_accepted(
    pinpoint: PinpointClient, project: str, channel: str, message: dict[str, Any]
) -> None:
    member = devices.CHANNELS[channel].message
    assert send(pinpoint, project, {"t": channel}, {member: message})["t"]["StatusCode"] == 200


def test_an_override_that_is_too_large_fails_only_its_address(
    pinpoint: PinpointClient, project: str
) -> None:
    large = {"ChannelType": "APNS", "BodyOverride": "x" * 4097}
    results = send(pinpoint, project, {"large": large, "small": "APNS"})
    assert [results[token]["StatusCode"] for token in ("large", "small")] == [413, 200]


# Refusals of the whole call


def refusal(pinpoint: PinpointClient, application_id: str, request: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        pinpoint.send_messages(ApplicationId=application_id, MessageRequest=request)
    return caught.value


def test_an_unknown_project_is_not_found(pinpoint: PinpointClient, project: str) -> None:
    with pytest.raises(pinpoint.exceptions.NotFoundException) as caught:
        send(pinpoint, "0" * 32, {"t": "GCM"})
    response: Any = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert response["Message"]
    assert response["RequestID"] == response["ResponseMetadata"]["RequestId"]


def test_a_project_of_another_region_is_not_found(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    elsewhere = client_of(url, "eu-west-1")
    with pytest.raises(elsewhere.exceptions.NotFoundException):
        send(elsewhere, project, {"t": "GCM"})
    elsewhere.close()


def test_a_hundred_addresses_are_accepted_and_one_more_is_refused(
    pinpoint: PinpointClient, project: str
) -> None:
    addresses = {f"t{number}": "GCM" for number in range(100)}
    assert len(send(pinpoint, project, addresses)) == 100
    with pytest.raises(pinpoint.exceptions.BadRequestException):
        send(pinpoint, project, {**addresses, "one-more": "GCM"})


def test_a_request_over_7_mb_is_too_large(pinpoint: PinpointClient, project: str) -> None:
    with pytest.raises(pinpoint.exceptions.PayloadTooLargeException) as caught:
        send(pinpoint, project, {"t": "GCM"}, {"GCMMessage": {"Body": "x" * 7_000_000}})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


ONE = {"t": {"ChannelType": "GCM"}}
FAULTY_MESSAGES: list[Any] = [
    {"TimeToLive": "30"},
    {"TimeToLive": True},
    {"TimeToLive": 1.5},
    {"TimeToLive": 2**31},
    {"Title": 1},
    {"SilentPush": "true"},
    {"Data": {"k": 1}},
    {"Substitutions": {"k": "text"}},
    {"Action": "JUMP"},
    [],
]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({"MessageConfiguration": MESSAGES}, id="no addresses"),
        pytest.param({"Addresses": {}, "MessageConfiguration": MESSAGES}, id="empty addresses"),
        pytest.param({"Addresses": ONE}, id="no message configuration"),
        pytest.param({"Addresses": ONE, "MessageConfiguration": {}}, id="no message"),
        pytest.param(
            {"Addresses": ONE, "MessageConfiguration": {"ADMMessage": {"Body": "x"}}},
            id="the message of another channel",
        ),
        pytest.param({"Addresses": {"t": {}}, "MessageConfiguration": MESSAGES}, id="no channel"),
        pytest.param(
            {"Addresses": {"t": {"ChannelType": "PIGEON"}}, "MessageConfiguration": MESSAGES},
            id="unknown channel",
        ),
        pytest.param(
            {"Addresses": ONE, "MessageConfiguration": MESSAGES, "Endpoints": {"e": {}}},
            id="endpoints",
        ),
        *(
            pytest.param(
                {"Addresses": ONE, "MessageConfiguration": {"GCMMessage": fault}}, id=str(fault)
            )
            for fault in FAULTY_MESSAGES
        ),
    ],
)
def test_a_bad_request_is_refused_completely(
    url: str, pinpoint: PinpointClient, project: str, request_: dict[str, Any]
) -> None:
    # Without boto3's checks and serializer, which would fix or refuse some of these.
    body = json.dumps(request_).encode()
    with pytest.raises(HTTPError) as caught:
        post(url, project, body)
    with caught.value as error:
        assert error.code == 400
        assert error.headers["x-amzn-ErrorType"] == "BadRequestException"
        assert set(json.load(error)) == {"Message", "RequestID"}
    assert listed(url) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"Addresses": 1' + b"0" * 5000]
)
def test_broken_json_is_a_bad_request(
    url: str, pinpoint: PinpointClient, project: str, body: bytes
) -> None:
    with pytest.raises(HTTPError) as caught:
        post(url, project, body)
    with caught.value as error:
        assert error.headers["x-amzn-ErrorType"] == "BadRequestException"


def test_unknown_members_and_nulls_are_ignored(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    request = {
        "Addresses": {"t": {"ChannelType": "GCM", "Mood": "good", "TitleOverride": None}},
        "MessageConfiguration": {"GCMMessage": {"Title": "Hello", "Colour": 7}},
        "Endpoints": None,
        "Tomorrow": {"x": 1},
    }
    assert post(url, project, json.dumps(request).encode())["Result"]["t"]["StatusCode"] == 200
    assert listed(url)[0]["message"] == {"Title": "Hello"}


def post(url: str, application_id: str, body: bytes) -> Any:
    """POST a body as it is, signed for a project in us-east-1 as far as moto looks."""
    request = Request(  # noqa: S310 - loopback
        f"{url}/v1/apps/{application_id}/messages",
        body,
        {
            "Content-Type": "application/json",
            "Authorization": "AWS4-HMAC-SHA256 Credential=sandbox/20260101/us-east-1/"
            "mobiletargeting/aws4_request, SignedHeaders=host, Signature=0",
        },
    )
    with urlopen(request) as response:  # noqa: S310 - loopback
        return json.load(response)


# Messages


def test_a_channel_without_a_message_of_its_own_gets_the_default(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    messages = {
        "DefaultMessage": {"Body": "for all"},
        "DefaultPushNotificationMessage": {"Body": "for push"},
        "ADMMessage": {"Body": "for ADM"},
    }
    send(pinpoint, project, {"a": "APNS", "b": "ADM"}, messages)
    assert [entry["message"]["Body"] for entry in listed(url)] == ["for push", "for ADM"]


def test_raw_content_of_an_address_needs_no_other_message(
    pinpoint: PinpointClient, project: str
) -> None:
    raw = {"ChannelType": "GCM", "RawContent": "{}"}
    assert send(pinpoint, project, {"t": raw}, {})["t"]["StatusCode"] == 200


# Channels


@pytest.mark.parametrize("channel", EVERY_CHANNEL)
def test_a_channel_is_created_read_and_deleted_without_returning_its_credentials(
    pinpoint: PinpointClient, channel: str
) -> None:
    application_id = new_project(pinpoint)
    update, get, delete = (
        getattr(pinpoint, f"{verb}_{channel.lower()}_channel")
        for verb in ("update", "get", "delete")
    )
    name, members = channel_request(pinpoint, channel)
    credentials = dict.fromkeys(members - {"Enabled", "DefaultAuthenticationMethod"}, "canary")
    updated = update(ApplicationId=application_id, **{name: {**credentials, "Enabled": True}})
    for response in (
        updated,
        get(ApplicationId=application_id),
        delete(ApplicationId=application_id),
    ):
        state = response[name.replace("Request", "Response")]
        assert (state["Platform"], state["Enabled"], state["HasCredential"]) == (
            channel,
            True,
            True,
        )
        assert "canary" not in str(response)
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        get(ApplicationId=application_id)
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        delete(ApplicationId=application_id)


def channel_request(pinpoint: PinpointClient, channel: str) -> tuple[str, set[str]]:
    """Return the name and the members of what the channel's update takes."""
    operation = pinpoint.meta.method_to_api_mapping[f"update_{channel.lower()}_channel"]
    shape: Any = pinpoint.meta.service_model.operation_model(operation).input_shape
    name = shape.serialization["payload"]
    return name, set(shape.members[name].members)


def test_get_channels_lists_the_configured_channels(pinpoint: PinpointClient) -> None:
    application_id = new_project(pinpoint)
    pinpoint.update_gcm_channel(
        ApplicationId=application_id,
        GCMChannelRequest={
            "DefaultAuthenticationMethod": "TOKEN",
            "ServiceJson": "{}",
            "Enabled": True,
        },
    )
    pinpoint.update_apns_sandbox_channel(
        ApplicationId=application_id, APNSSandboxChannelRequest={"Enabled": False}
    )
    channels = pinpoint.get_channels(ApplicationId=application_id)["ChannelsResponse"]["Channels"]
    assert {name: channel["Enabled"] for name, channel in channels.items()} == {
        "APNS_SANDBOX": False,
        "GCM": True,
    }


def test_an_update_without_enabled_keeps_a_channel_enabled(
    pinpoint: PinpointClient,
) -> None:
    application_id = new_project(pinpoint)
    for request in ({"Enabled": True}, {"TokenKey": "any"}):
        response = pinpoint.update_apns_channel(
            ApplicationId=application_id,
            APNSChannelRequest=request,  # type: ignore[arg-type]  # a plain dict, of two kinds
        )
    state = response["APNSChannelResponse"]
    assert (state["Enabled"], state["HasTokenKey"], state["Version"]) == (True, True, 2)


def test_a_channel_request_without_what_the_model_requires_is_refused(
    pinpoint: PinpointClient,
) -> None:
    application_id = new_project(pinpoint)
    with pytest.raises(pinpoint.exceptions.BadRequestException):
        pinpoint.update_baidu_channel(
            ApplicationId=application_id,
            BaiduChannelRequest={"Enabled": True},  # type: ignore[typeddict-item]  # incomplete on purpose
        )


def test_deleting_a_channel_ends_its_sending(pinpoint: PinpointClient, project: str) -> None:
    pinpoint.delete_gcm_channel(ApplicationId=project)
    assert send(pinpoint, project, {"t": "GCM"})["t"]["StatusCode"] == 400


def test_the_aws_command_line_sends(url: str, pinpoint: PinpointClient, project: str) -> None:
    request = {"Addresses": ONE, "MessageConfiguration": {"GCMMessage": {"Body": "Hello"}}}
    done = subprocess.run(
        [
            Path(sys.executable).with_name("aws"),
            *("pinpoint", "send-messages", "--endpoint-url", url, "--region", "us-east-1"),
            *("--application-id", project, "--message-request", json.dumps(request)),
        ],
        env={
            **os.environ,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["MessageResponse"]["Result"]["t"]["StatusCode"] == 200


# Well-known tokens


def test_the_recorded_answers_are_repeated_exactly(pinpoint: PinpointClient, project: str) -> None:
    apns = send(pinpoint, project, {"sandbox-bad-token": "APNS_SANDBOX"})["sandbox-bad-token"]
    assert apns == {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": 410,
        "StatusMessage": '{"errorMessage":"Unregistered or expired token",'
        '"channelType":"APNS_SANDBOX","pushProviderStatusCode":"400",'
        '"pushProviderError":"BadDeviceToken",'
        '"pushProviderResponse":"{\\"reason\\":\\"BadDeviceToken\\"}"}',
    }
    fcm = send(pinpoint, project, {"sandbox-bad-token": "GCM"})["sandbox-bad-token"]
    assert fcm == {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": 400,
        "StatusMessage": '{"errorMessage":"Invalid notification","channelType":"GCM",'
        '"pushProviderStatusCode":"400","pushProviderError":'
        '"The registration token is not a valid FCM registration token",'
        '"pushProviderResponse":"{\\"status\\":\\"INVALID_ARGUMENT\\"}"}',
    }


@pytest.mark.parametrize("channel", EVERY_CHANNEL)
@pytest.mark.parametrize("name", devices.WORDS)
def test_each_failure_has_the_providers_own_words_on_every_channel(
    pinpoint: PinpointClient, project: str, name: str, channel: str
) -> None:
    token = f"sandbox-{name}-42"
    result = send(pinpoint, project, {token: channel})[token]
    words = devices.WORDS[name][devices.CHANNELS[channel].provider]
    assert provider_words(result) == (words.error, words.response)
    assert json.loads(result["StatusMessage"])["channelType"] == channel
    assert result["StatusCode"] == words.status_code
    status = {"throttled": "THROTTLED", "temporary": "TEMPORARY_FAILURE"}
    assert result["DeliveryStatus"] == status.get(name, "PERMANENT_FAILURE")


def test_throttled_once_counts_each_token_channel_and_project_separately(
    pinpoint: PinpointClient, project: str
) -> None:
    token = "sandbox-throttled-once"

    def status(project: str, token: str, channel: str = "GCM") -> str:
        delivery_status: str = send(pinpoint, project, {token: channel})[token]["DeliveryStatus"]
        return delivery_status

    assert [status(project, token) for _ in range(3)] == ["THROTTLED", "SUCCESSFUL", "SUCCESSFUL"]
    assert status(project, f"{token}-2") == "THROTTLED"
    assert status(project, token, "APNS") == "THROTTLED"
    other = new_project(pinpoint)
    enable_channel(other, "GCM")
    assert status(other, token) == "THROTTLED"


def test_the_throttled_token_is_always_throttled(pinpoint: PinpointClient, project: str) -> None:
    for _ in range(3):
        results = send(pinpoint, project, {"sandbox-throttled-7": "ADM"})
        assert results["sandbox-throttled-7"]["DeliveryStatus"] == "THROTTLED"


def test_a_similar_name_is_an_ordinary_token(pinpoint: PinpointClient, project: str) -> None:
    results = send(pinpoint, project, {"sandbox-unregisteredx": "GCM", "sandbox-": "GCM"})
    assert {result["StatusCode"] for result in results.values()} == {200}


def test_a_replaced_token_returns_the_new_one_on_gcm_only(
    pinpoint: PinpointClient, project: str
) -> None:
    token = "sandbox-replaced-" + "x" * 2031
    replaced = send(pinpoint, project, {token: "GCM"})[token]
    assert replaced["DeliveryStatus"] == "SUCCESSFUL"
    assert replaced["UpdatedToken"] != token
    assert len(replaced["UpdatedToken"]) == 2048
    again = send(pinpoint, project, {replaced["UpdatedToken"]: "GCM"})
    assert "UpdatedToken" not in again[replaced["UpdatedToken"]]
    assert "UpdatedToken" not in send(pinpoint, project, {token: "APNS"})[token]


def test_the_odd_tokens_have_their_documented_answers(
    pinpoint: PinpointClient, project: str
) -> None:
    tokens = ("broken", "missing", "unknown", "new-status", "opted-out", "duplicate", "no-channel")
    results = send(pinpoint, project, {f"sandbox-{name}": "GCM" for name in tokens})
    with pytest.raises(json.JSONDecodeError):
        json.loads(results["sandbox-broken"]["StatusMessage"])
    assert "sandbox-missing" not in results
    assert results["sandbox-unknown"]["DeliveryStatus"] == "UNKNOWN_FAILURE"
    assert results["sandbox-new-status"]["DeliveryStatus"] == "DEFERRED"
    assert results["sandbox-opted-out"]["DeliveryStatus"] == "OPT_OUT"
    assert results["sandbox-duplicate"]["DeliveryStatus"] == "DUPLICATE"
    assert "No channel of type GCM" in results["sandbox-no-channel"]["StatusMessage"]


@pytest.mark.parametrize(
    ("token", "code", "status"),
    [
        ("sandbox-call-500", "InternalServerErrorException", 500),
        ("sandbox-call-429", "TooManyRequestsException", 429),
        ("sandbox-call-403", "ForbiddenException", 403),
    ],
)
def test_one_token_can_make_the_whole_call_fail(
    url: str, pinpoint: PinpointClient, project: str, token: str, code: str, status: int
) -> None:
    request = {"Addresses": {token: ONE["t"], **ONE}, "MessageConfiguration": MESSAGES}
    error = refusal(pinpoint, project, request)
    assert error.response["Error"]["Code"] == code
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert page(url, "/sandbox/messages") == {"messages": [], "calls": {str(status): 1}}


@pytest.mark.parametrize("status", [429, 500])
def test_a_call_that_fails_once_reaches_other_devices_only_in_the_retry(
    url: str, pinpoint: PinpointClient, project: str, status: int
) -> None:
    addresses = {"sandbox-throttled-once": "GCM", f"sandbox-call-{status}-once": "GCM"}
    with pytest.raises(ClientError):
        send(pinpoint, project, addresses)
    results = send(pinpoint, project, addresses)
    assert [result["DeliveryStatus"] for result in results.values()] == ["THROTTLED", "SUCCESSFUL"]
    assert page(url, "/sandbox/messages")["calls"] == {"200": 1, str(status): 1}


@pytest.mark.parametrize(
    ("token", "seconds"),
    [
        ("sandbox-slow", devices.SLOW_SECONDS),
        ("sandbox-slow-x", devices.SLOW_SECONDS),
        ("sandbox-slow-7", 7),
        ("sandbox-slow-20-x", 20),
        ("sandbox-slow-0", 0),
        ("sandbox-slow-999999", devices.LONGEST_SECONDS),
        ("sandbox-slower", 0),
        ("sandbox-accepted", 0),
    ],
)
def test_a_slow_token_names_its_delay_within_limits(token: str, seconds: int) -> None:
    assert devices.delay(token) == seconds


def test_a_slow_call_is_delivered_before_it_is_answered(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    began = time.monotonic()
    sending = threading.Thread(target=send, args=(pinpoint, project, {"sandbox-slow-5": "GCM"}))
    sending.start()
    while not listed(url):
        assert sending.is_alive()
        time.sleep(0.01)
    assert sending.is_alive()
    sending.join()
    assert time.monotonic() - began >= 5


def test_latency_delays_every_call(pinpoint: PinpointClient, project: str) -> None:
    push_service.options.latency = 0.2
    try:
        began = time.monotonic()
        send(pinpoint, project, {"t": "GCM"})
        assert time.monotonic() - began >= 0.2
    finally:
        push_service.options.latency = 0.0


# The inbox


def test_the_inbox_lists_the_message_and_the_answer_for_each_device(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    message = {"Title": "Hello", "Body": "{{a}} {{b}}", "Substitutions": {"a": ["1"], "b": ["2"]}}
    address = {
        "ChannelType": "APNS",
        "TitleOverride": "Hi",
        "Substitutions": {"b": ["3"]},
        "Context": {"own": "y"},
    }
    results = send(
        pinpoint,
        project,
        {"one": address},
        {"APNSMessage": message},
        Context={"shared": "x", "own": "x"},
        TraceId="trace",
    )
    (entry,) = listed(url)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry.pop("request_id")
    assert entry == {
        "entry_point": None,
        "application_id": project,
        "service": "APNS",
        "token": "one",
        "message": {
            "Title": "Hi",
            "Body": "{{a}} {{b}}",
            "Substitutions": {"a": ["1"], "b": ["3"]},
            "Context": {"shared": "x", "own": "y"},
        },
        "request": {
            "Address": address,
            "Context": {"shared": "x", "own": "x"},
            "TraceId": "trace",
            "MessageConfiguration": {"APNSMessage": message},
        },
        "answer": results["one"],
    }


def test_the_inbox_can_be_filtered_and_limited_newest_last(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    other = new_project(pinpoint)
    for application_id, token, channel in (
        (project, "a", "GCM"),
        (other, "b", "GCM"),
        (project, "c", "APNS"),
        (project, "a", "GCM"),
    ):
        send(pinpoint, application_id, {token: channel})

    def tokens(query: str) -> list[str]:
        return [entry["token"] for entry in listed(url, query)]

    assert tokens("") == ["a", "b", "c", "a"]
    assert tokens("?token=a") == ["a", "a"]
    assert tokens("?service=APNS") == ["c"]
    assert tokens(f"?application_id={other}") == ["b"]
    assert tokens("?limit=2") == ["c", "a"]
    assert tokens("?limit=1&service=GCM") == ["a"]
    assert tokens("?limit=0") == []


def test_clearing_the_inbox_forgets_messages_calls_and_attempts(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    throttled = {"sandbox-throttled-once": "GCM"}
    first = send(pinpoint, project, throttled)
    assert page(url, "/sandbox/messages", "DELETE") == {"cleared": 1}
    assert page(url, "/sandbox/messages") == {"messages": [], "calls": {}}
    assert send(pinpoint, project, throttled) == first


def test_motos_reset_forgets_projects_channels_and_the_inbox(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    send(pinpoint, project, {"t": "GCM"})
    page(url, "/moto-api/reset", "POST")
    assert listed(url) == []
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        pinpoint.get_channels(ApplicationId=project)


def test_the_inbox_holds_a_limited_number_and_drops_the_oldest(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    send(pinpoint, project, {"oldest": "GCM"})
    for start in range(0, inbox.KEPT, 100):
        send(pinpoint, project, {f"t{number}": "GCM" for number in range(start, start + 100)})
    messages = listed(url)
    assert len(messages) == inbox.KEPT
    assert messages[0]["token"] == "t0"


def test_concurrent_senders_and_readers_lose_no_push(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    answered: list[int] = []

    def sender(name: int) -> None:
        for number in range(10):
            addresses = {f"{name}-{number}-{index}": "GCM" for index in range(20)}
            answered.append(len(send(pinpoint, project, addresses)))
            listed(url, "?limit=5")

    threads = [threading.Thread(target=sender, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered == [20] * 40
    contents = page(url, "/sandbox/messages")
    assert len({entry["token"] for entry in contents["messages"]}) == 800
    assert contents["calls"] == {"200": 40}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sandbox/messages?colour=red", 400),
        ("GET", "/sandbox/messages?limit=few", 400),
        ("GET", "/sandbox/messages?limit=-1", 400),
        ("DELETE", "/sandbox/messages?token=t", 400),
        ("POST", "/sandbox/messages", 405),
        ("DELETE", "/sandbox/tokens", 405),
        ("GET", "/sandbox/else", 404),
    ],
)
def test_an_invalid_inbox_query_gives_one_clear_message(
    url: str, pinpoint: PinpointClient, project: str, method: str, path: str, status: int
) -> None:
    send(pinpoint, project, {"t": "GCM"})
    with pytest.raises(HTTPError) as caught:
        page(url, path, method)
    with caught.value as error:
        assert error.code == status
        assert json.load(error)["message"]
    assert len(listed(url)) == 1


# The table


def test_the_documented_answers_of_tokens_are_the_real_ones(
    url: str, pinpoint: PinpointClient, project: str
) -> None:
    for row in page(url, "/sandbox/tokens")["tokens"]:
        for channel, answers in row["answers"].items():
            if row["token"] == "sandbox-slow" or "error" in (answers[0] or {}):
                continue
            for expected in answers:
                given = send(pinpoint, project, {row["token"]: channel}).get(row["token"])
                if given is not None:
                    given.pop("MessageId", None)
                    given["StatusMessage"] = given["StatusMessage"].replace(
                        project, "{ApplicationId}"
                    )
                assert given == expected


def test_every_known_token_is_valid_and_documented_once() -> None:
    tokens = [row.token for row in devices.WELL_KNOWN]
    assert all(re.fullmatch(r"[!-~]{1,2048}", token) for token in tokens)
    assert re.findall(r"^\| `(sandbox-[^`]+)`", DOCS.read_text(), re.MULTILINE) == tokens
