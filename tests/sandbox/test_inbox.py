"""The inbox as its page reads it: cards, outcomes, the cursor, the search, the buttons."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3
import pytest

from sandbox.inbox import cards as drawing
from sandbox.inbox import pages
from sandbox.inbox.cards import Card
from sandbox.patches import applied
from sandbox.pinpoint import pushes as inbox
from sandbox.pinpoint import service as push_service
from sandbox.pinpoint.devices import CHANNELS
from sandbox.pinpoint.patches import PATCHES
from sandbox.server import Server

if TYPE_CHECKING:
    from mypy_boto3_pinpoint import PinpointClient

JSON = {"Content-Type": "application/json"}


def raw(content: Any) -> dict[str, str]:
    return {"RawContent": content if isinstance(content, str) else json.dumps(content)}


# Cards


def test_the_apis_own_fields_are_shown() -> None:
    message = {
        "Title": "Hello {{name}}",
        "Body": "{{ count }} news, {{unknown}}",
        "Substitutions": {"name": ["Ann"], "count": ["3"]},
        "MediaUrl": "https://images.example.com/a.png",
        "Badge": 3,
        "Sound": "default",
        "Action": "DEEP_LINK",
        "Url": "app://news",
    }
    assert drawing.card("APNS", message) == Card(
        platform="iOS",
        provider="APNs",
        form="the API's own fields",
        title="Hello Ann",
        text="3 news, {{unknown}}",
        image="https://images.example.com/a.png",
        badge=3,
        sound="default",
        action="DEEP_LINK",
        link="app://news",
    )


@pytest.mark.parametrize(
    ("service", "platform", "provider"),
    [
        ("GCM", "Android", "FCM"),
        ("APNS_VOIP_SANDBOX", "iOS", "APNs"),
        ("BAIDU", "Android", "Baidu"),
        ("ADM", "Fire OS", "ADM"),
    ],
)
def test_every_card_is_marked_with_its_platform(service: str, platform: str, provider: str) -> None:
    card = drawing.card(service, {"Body": "m"})
    assert (card.platform, card.provider) == (platform, provider)


def test_a_silent_push_shows_no_text_and_passes_its_data() -> None:
    card = drawing.card("GCM", {"SilentPush": True, "Title": "not shown", "Data": {"key": "value"}})
    assert (card.silent, card.title, card.data) == (True, None, {"key": "value"})


def test_apns_payloads_are_shown_with_both_forms_of_alert() -> None:
    payload = {
        "aps": {
            "alert": {"title": "T", "subtitle": "S", "body": "B"},
            "badge": 0,
            "sound": {"critical": 1, "name": "alarm.caf"},
            "category": "PARCEL",
            "content-available": 1,
        },
        "data": {"media-url": "https://i.example.com/i.png", "pinpoint": {"deeplink": "app://x"}},
        "order": 17,
    }
    card = drawing.card("APNS_SANDBOX", raw(payload))
    assert (card.form, card.silent) == ("raw content, APNs", False)
    assert (card.title, card.subtitle, card.text) == ("T", "S", "B")
    assert (card.badge, card.sound, card.action) == (0, "alarm.caf", "PARCEL")
    assert (card.image, card.link) == ("https://i.example.com/i.png", "app://x")
    assert card.data["order"] == "17"
    assert card.notes == ()

    plain = drawing.card("APNS", raw({"aps": {"alert": "only a text", "sound": "default"}}))
    assert (plain.title, plain.text, plain.sound) == (None, "only a text", "default")
    assert any("content-available" in note for note in plain.notes)


def test_an_apns_payload_without_an_alert_is_silent() -> None:
    assert drawing.card("APNS", raw({"aps": {"content-available": 1}, "k": "v"})).silent
    assert not drawing.card("APNS", raw({"aps": {"content-available": 1, "badge": 2}})).silent


def test_fcm_v1_is_shown_as_on_android() -> None:
    message = {
        "notification": {"title": "T", "body": "B", "image": "https://i.example.com/i.png"},
        "android": {"notification": {"title": "On Android", "sound": "s", "click_action": "OPEN"}},
        "data": {"url": "app://x", "order": "17"},
    }
    card = drawing.card("GCM", raw({"fcmV1Message": {"message": message}}))
    assert card == Card(
        platform="Android",
        provider="FCM",
        form="raw content, FCM v1",
        title="On Android",
        text="B",
        image="https://i.example.com/i.png",
        sound="s",
        action="OPEN",
        link="app://x",
        data={"url": "app://x", "order": "17"},
    )


def test_the_legacy_form_of_fcm_is_shown_too() -> None:
    content = {"notification": {"title": "T", "body": "B"}, "data": {"action": "URL"}}
    card = drawing.card("GCM", raw(content))
    assert (card.form, card.title, card.text) == ("raw content, legacy FCM", "T", "B")
    assert (card.action, card.silent) == ("URL", False)


@pytest.mark.parametrize(
    "content", [{"data": {"k": "v"}}, {"fcmV1Message": {"message": {"data": {"k": "v"}}}}]
)
def test_data_without_a_notification_is_silent_with_a_note(content: Any) -> None:
    card = drawing.card("GCM", raw(content))
    assert (card.silent, card.data) == (True, {"k": "v"})
    assert "app decides" in card.notes[0]


def test_raw_content_of_baidu_and_adm_is_shown() -> None:
    baidu = drawing.card("BAIDU", raw({"title": "T", "description": "B", "custom_content": {}}))
    assert (baidu.title, baidu.text) == ("T", "B")
    adm = drawing.card("ADM", raw({"data": {"title": "T"}}))
    assert (adm.form, adm.silent, adm.data) == ("raw content, ADM", True, {"title": "T"})


@pytest.mark.parametrize("service", CHANNELS)
@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        "null",
        "[" * 100_000,
        "1" * 5_000,
        '"\\ud800"',
        '{"aps": 3, "notification": [], "data": "x", "title": {}, "android": 7}',
        '{"aps": {"alert": [1], "badge": true, "sound": {"name": 3}, "content-available": "1"}}',
        '{"fcmV1Message": [], "custom_content": [{}]}',
        '{"fcmV1Message": {"message": {"notification": {"title": NaN}, "data": {"a": {"b": 1}}}}}',
    ],
)
def test_any_raw_content_gives_a_card(service: str, content: str) -> None:
    card = drawing.card(service, raw(content))
    json.dumps([card.title, card.text, card.badge, card.data])
    assert card.title is None
    assert card.notes or card.silent


def test_a_card_of_unreadable_raw_content_says_why() -> None:
    for service, content, why in (
        ("GCM", "[]", "no JSON object"),
        ("APNS", "{}", "no aps"),
        ("GCM", '{"fcmV1Message": {}}', "no message"),
    ):
        card = drawing.card(service, raw(content))
        assert card.form == drawing.NOT_UNDERSTOOD
        assert why in card.notes[0]


def test_surprising_effects_are_noted_on_the_card() -> None:
    def noted(service: str, message: dict[str, Any], part: str) -> bool:
        return any(part in note for note in drawing.card(service, message).notes)

    assert noted("GCM", {"Body": "m"}, "client library")
    assert not noted("APNS", {"Body": "m"}, "client library")
    assert noted("APNS", {"Body": "m", "Data": {"k": "v"}}, "silent push only")
    assert noted("APNS", {"Badge": 3}, "shows nothing")
    assert noted("APNS_VOIP", {"Body": "m"}, "call")


# Outcomes


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("any-device", "SUCCESSFUL", ""),
        ("sandbox-unregistered", "PERMANENT_FAILURE", "Unregistered"),
        ("sandbox-opted-out", "OPT_OUT", "The recipient has opted out"),
        ("sandbox-missing", "MISSING", "Not in the answer"),
        ("sandbox-new-status", "DEFERRED", "Deferred"),
    ],
)
def test_the_outcome_is_what_the_provider_answered(
    pinpoint: PinpointClient, followed: Followed, token: str, status: str, reason: str
) -> None:
    send(pinpoint, {token: "APNS"})
    (message,) = followed.read()
    assert (message["outcome"]["status"], message["outcome"]["reason"]) == (status, reason)


# Reading on


class Followed:
    """The list as the page reads it, from a cursor on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cursor = 0
        self.last: dict[str, Any] = {}

    def read(self, **query: object) -> list[dict[str, Any]]:
        asked = urlencode({"since": self.cursor, **query})
        status, self.last = call(self.url, "GET", f"/sandbox/messages?{asked}")
        assert status == 200
        self.cursor = self.last["cursor"]
        messages: list[dict[str, Any]] = self.last["messages"]
        return messages

    def tokens(self, **query: object) -> list[str]:
        return [message["token"] for message in self.read(**query)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    push_service.options.any_project = True
    try:
        with applied(PATCHES), Server(mounts={"/sandbox": pages.application}) as server:
            yield server.url
    finally:
        push_service.options.any_project = False


@pytest.fixture
def pinpoint(url: str) -> Iterator[PinpointClient]:
    client: PinpointClient = boto3.client(
        "pinpoint",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
    )
    yield client
    client.close()
    call(url, "POST", "/moto-api/reset")


@pytest.fixture
def followed(url: str) -> Followed:
    return Followed(url)


def call(
    url: str, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    status, _, text = fetch(url, method, path, body, headers)
    return status, json.loads(text)


def fetch(
    url: str, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def send(
    pinpoint: PinpointClient, addresses: dict[str, str], project: str = "p", **message: Any
) -> None:
    message = message or {"Title": "Hello", "Body": "A message"}
    messages: Any = {channel.message: message for channel in CHANNELS.values()}
    for each in ("GCMMessage", "BaiduMessage", "ADMMessage", "APNSMessage"):
        messages[each] = dict(message)
    request: Any = {
        "Addresses": {token: {"ChannelType": channel} for token, channel in addresses.items()},
        "MessageConfiguration": messages,
    }
    pinpoint.send_messages(ApplicationId=project, MessageRequest=request)


def test_a_cursor_gives_each_push_once_over_all_projects(
    pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"a": "GCM", "b": "APNS"})
    assert followed.tokens() == ["a", "b"]
    assert followed.tokens() == []
    send(pinpoint, {"c": "GCM"}, project="other")
    send(pinpoint, {"d": "GCM"})
    assert followed.tokens() == ["c", "d"]


def test_concurrent_readers_with_cursors_miss_no_push(
    pinpoint: PinpointClient, followed: Followed
) -> None:
    def sender(name: str) -> None:
        for number in range(20):
            send(pinpoint, {f"{name}-{number}-{index}": "GCM" for index in range(50)}, name)

    senders = [threading.Thread(target=sender, args=(f"project-{n}",)) for n in range(4)]
    for thread in senders:
        thread.start()
    seen: list[str] = []
    while any(thread.is_alive() for thread in senders):
        seen += followed.tokens()
    seen += followed.tokens()
    assert len(seen) == len(set(seen)) == 4 * 20 * 50


def test_with_a_cursor_a_push_has_its_number_card_outcome_and_the_size_of_its_call(
    pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"a": "GCM", "b": "APNS"}, Title="T", Body="B")
    first, second = followed.read()
    assert first["number"] < second["number"] == followed.cursor
    assert (second["card"]["title"], second["card"]["platform"]) == ("T", "iOS")
    assert second["outcome"] == {"status": "SUCCESSFUL", "code": 200, "reason": ""}
    assert second["addresses"] == 2


def test_without_a_cursor_the_list_keeps_its_form(url: str, pinpoint: PinpointClient) -> None:
    send(pinpoint, {"a": "GCM"})
    _, listed = call(url, "GET", "/sandbox/messages")
    assert listed.keys() == {"messages", "calls"}
    assert "card" not in listed["messages"][0]


@pytest.mark.parametrize(
    ("token", "named"),
    [
        ("any-device", "accepted"),
        ("sandbox-unregistered", "dead_token"),
        ("sandbox-bad-token", "invalid_token"),
        ("sandbox-bad-credentials", "misconfigured"),
        ("sandbox-rejected", "rejected"),
        ("sandbox-opted-out", "opted_out"),
        ("sandbox-duplicate", "duplicate"),
        ("sandbox-throttled", "transient"),
        ("sandbox-missing", "unknown"),
    ],
)
def test_the_outcome_is_also_named_as_a_report_names_it(
    pinpoint: PinpointClient, followed: Followed, token: str, named: str
) -> None:
    send(pinpoint, {token: "APNS", "other": "APNS"})
    assert followed.read()[0]["outcome_in_report"] == named
    listed = Followed(followed.url).tokens(outcome=named)
    assert listed == ([token, "other"] if named == "accepted" else [token])


def test_refused_calls_are_listed_with_the_pushes(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"a": "GCM"})
    with pytest.raises(pinpoint.exceptions.ForbiddenException):
        send(pinpoint, {"sandbox-call-403": "GCM", "b": "APNS"})
    send(pinpoint, {"c": "GCM"})

    assert followed.tokens() == ["a", "c"]
    (refused,) = followed.last["refused"]
    numbers = [message["number"] for message in Followed(url).read()]
    assert numbers[0] < refused["number"] < numbers[1]
    assert (refused["status"], refused["code"]) == (403, "ForbiddenException")
    assert refused["outcome_in_report"] == "misconfigured"
    assert (refused["application_id"], refused["entry_point"]) == ("p", None)
    assert refused["addresses"] == [
        {"token": "sandbox-call-403", "service": "GCM"},
        {"token": "b", "service": "APNS"},
    ]
    followed.read()
    assert followed.last["refused"] == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, True),
        ({"token": "b"}, True),
        ({"token": "sandbox-accepted"}, False),
        ({"service": "APNS"}, True),
        ({"service": "ADM"}, False),
        ({"outcome": "misconfigured"}, True),
        ({"outcome": "rejected"}, False),
        ({"entry_point": "none"}, True),
        ({"entry_point": "queue"}, False),
        ({"application_id": "p"}, True),
        ({"application_id": "q"}, False),
        ({"text": "CALL-403"}, True),
        ({"text": "forbidden"}, True),
        ({"text": "nobody"}, False),
        ({"limit": 0}, False),
    ],
)
def test_the_filters_apply_to_refused_calls_too(
    pinpoint: PinpointClient, followed: Followed, query: dict[str, Any], found: bool
) -> None:
    with pytest.raises(pinpoint.exceptions.ForbiddenException):
        send(pinpoint, {"sandbox-call-403": "GCM", "b": "APNS"})
    followed.read(**query)
    assert len(followed.last["refused"]) == found


@pytest.mark.parametrize(
    "body", ["", "[", "[]", "7", '{"Addresses": []}', '{"Addresses": {"t": 1}}', "x" * 7_000_001]
)
def test_an_unreadable_request_is_listed_as_a_refused_call(
    url: str, pinpoint: PinpointClient, followed: Followed, body: str
) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/mobiletargeting/aws4_request, x"
    headers = {**JSON, "Authorization": signed}
    status, _ = call(url, "POST", "/v1/apps/p/messages", body, headers)
    followed.read()
    (refused,) = followed.last["refused"]
    assert refused["status"] == status >= 400


def test_a_call_for_an_unknown_project_is_listed_as_a_refused_call(
    url: str, pinpoint: PinpointClient, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_service.options, "any_project", False)
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        send(pinpoint, {"a": "GCM"}, project="gone")
    followed.read()
    (refused,) = followed.last["refused"]
    assert (refused["application_id"], refused["code"]) == ("gone", "NotFoundException")
    call(url, "POST", "/moto-api/reset")
    Followed(url).read()
    assert Followed(url).tokens() == []


def test_clearing_may_be_limited_by_a_filter(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"a": "GCM", "b": "APNS", "sandbox-unregistered": "APNS"})
    with pytest.raises(pinpoint.exceptions.ForbiddenException):
        send(pinpoint, {"sandbox-call-403": "ADM"})
    followed.read()
    before = followed.last["clearings"]

    def cleared(query: str) -> int:
        status, answer = call(url, "DELETE", f"/sandbox/messages?{query}")
        assert status == 200
        return int(answer["cleared"])

    assert cleared("service=APNS&outcome=accepted") == 1
    assert cleared("text=nobody") == 0
    assert Followed(url).tokens() == ["a", "sandbox-unregistered"]
    followed.read()
    assert followed.last["clearings"] > before
    assert cleared("outcome=misconfigured&entry_point=none") == 0
    rest = Followed(url)
    rest.read()
    assert rest.last["refused"] == []
    assert rest.last["calls"] == {"200": 1, "403": 1}
    assert call(url, "DELETE", "/sandbox/messages?since=0")[0] == 400


def test_cleared_pushes_have_lower_numbers_than_the_oldest(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"a": "GCM"})
    (message,) = followed.read()
    assert followed.last["oldest"] == message["number"]
    assert followed.last["kept"] == 1
    call(url, "DELETE", "/sandbox/messages")
    assert followed.read() == []
    assert followed.last["oldest"] > message["number"]
    assert followed.last["kept"] == 0


def test_dropped_pushes_are_counted(url: str, pinpoint: PinpointClient, followed: Followed) -> None:
    send(pinpoint, {"oldest": "GCM"})
    for start in range(0, inbox.KEPT, 100):
        send(pinpoint, {f"t{number}": "GCM" for number in range(start, start + 100)})
    assert followed.tokens(limit=2) == [f"t{inbox.KEPT - 2}", f"t{inbox.KEPT - 1}"]
    assert (followed.last["kept"], followed.last["dropped"]) == (inbox.KEPT, 1)
    call(url, "DELETE", "/sandbox/messages")
    followed.read()
    assert followed.last["dropped"] == 0


def test_numbers_of_a_later_sandbox_are_higher() -> None:
    before = inbox.Numbers()
    before.take(100)
    time.sleep(0.01)  # no sandbox starts sooner after another
    assert inbox.Numbers().last() > before.last()


# Searching


def test_the_search_finds_parts_of_tokens_and_texts_ignoring_case(
    pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"Ann-1": "GCM"}, Title="Straße", Body="x")
    send(pinpoint, {"bob": "APNS"}, Body="See ANN", Url="app://orders/17")
    send(pinpoint, {"carl": "GCM"}, RawContent='{"notification": {"title": "raw title"}}')

    def found(**query: object) -> list[str]:
        followed.cursor = 0
        return followed.tokens(**query)

    assert found(text="ann") == ["Ann-1", "bob"]
    assert found(text="ann", service="APNS") == ["bob"]
    assert found(text="STRASSE") == ["Ann-1"]
    assert found(text="orders/17") == ["bob"]
    assert found(text="raw TITLE") == ["carl"]
    assert found(text="nobody") == []
    assert found(text="") == ["Ann-1", "bob", "carl"]


@pytest.mark.parametrize("query", ["since=x", "since=-1", "since=", "colour=red"])
def test_an_invalid_query_gives_one_clear_message(url: str, query: str) -> None:
    status, answer = call(url, "GET", f"/sandbox/messages?{query}")
    assert status == 400
    assert "since and limit as whole numbers" in answer["message"]


# Sending


def test_a_button_makes_a_real_call_and_shows_its_answer(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    body = json.dumps({"token": "sandbox-unregistered", "service": "APNS"})
    status, answer = call(url, "POST", "/sandbox/send", body, JSON)
    assert (status, answer["status"]) == (200, 200)
    result = answer["answer"]["Result"]["sandbox-unregistered"]
    assert result["DeliveryStatus"] == "PERMANENT_FAILURE"
    (message,) = followed.read()
    assert (message["token"], message["answer"]) == ("sandbox-unregistered", result)
    assert followed.last["calls"] == {"200": 1}


def test_a_refused_call_is_shown_and_not_retried(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    body = json.dumps({"token": "sandbox-call-500", "service": "GCM"})
    _, answer = call(url, "POST", "/sandbox/send", body, JSON)
    assert answer["status"] == 500
    assert answer["answer"]["Code"] == "InternalServerErrorException"
    assert followed.read() == []
    assert followed.last["calls"] == {"500": 1}


def test_a_text_can_be_sent_to_any_token(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    wanted = {"token": "my-phone", "service": "APNS", "text": "Hello"}
    status, answer = call(url, "POST", "/sandbox/send", json.dumps(wanted), JSON)
    assert (status, answer["status"]) == (200, 200)
    (message,) = followed.read()
    assert (message["token"], message["card"]["text"]) == ("my-phone", "Hello")
    for wrong in ({"text": ""}, {"text": 1}, {"token": ""}, {"title": "x"}):
        body = json.dumps({**wanted, **wrong})
        assert call(url, "POST", "/sandbox/send", body, JSON)[0] == 400


def test_the_page_gets_the_filters_with_their_values(url: str) -> None:
    _, result = call(url, "GET", "/sandbox/filters")
    assert result["services"] == list(CHANNELS)
    assert "dead_token" in result["outcomes"]
    assert result["entry_points"] == [
        *("direct", "asynchronous", "queue", "eventbridge", "http", "job"),
        *("scheduler", "none"),
    ]


def test_a_button_sends_through_the_existing_project(
    url: str, pinpoint: PinpointClient, followed: Followed
) -> None:
    send(pinpoint, {"a": "GCM"}, project="mine")
    body = json.dumps({"token": "sandbox-accepted", "service": "GCM"})
    call(url, "POST", "/sandbox/send", body, JSON)
    assert {message["application_id"] for message in followed.read()} == {"mine"}


def test_a_button_without_any_project_gives_a_clear_message(
    url: str, pinpoint: PinpointClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_service.options, "any_project", False)
    body = json.dumps({"token": "sandbox-accepted", "service": "GCM"})
    status, answer = call(url, "POST", "/sandbox/send", body, JSON)
    assert (status, answer["message"]) == (
        400,
        "POST /sandbox/send needs a project to send through; there is none yet",
    )


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ('{"token": "sandbox-accepted", "service": "GCM"}', {}, 415),
        ('{"token": "sandbox-accepted", "service": "GCM"}', {"Content-Type": "text/plain"}, 415),
        (
            '{"token": "sandbox-accepted", "service": "GCM"}',
            {**JSON, "Origin": "http://evil.example"},
            403,
        ),
        ('{"token": "somebody", "service": "GCM"}', JSON, 400),
        ('{"token": "sandbox-accepted", "service": "FAX"}', JSON, 400),
        ('{"token": "sandbox-accepted"}', JSON, 400),
        ('{"token": 1, "service": "GCM"}', JSON, 400),
        ('{"token": "sandbox-accepted", "service": "GCM", "url": "http://x"}', JSON, 400),
        ("[", JSON, 400),
        ("[" * 100_000, JSON, 400),
        ("", JSON, 400),
    ],
)
def test_only_this_page_can_use_the_buttons(
    url: str,
    pinpoint: PinpointClient,
    followed: Followed,
    body: str,
    headers: dict[str, str],
    status: int,
) -> None:
    assert fetch(url, "POST", "/sandbox/send", body, headers)[0] == status
    assert followed.read() == []
    assert followed.last["calls"] == {}


# The files


@pytest.mark.parametrize(
    ("path", "media_type", "part"),
    [
        ("/sandbox/", "text/html; charset=utf-8", "<title>Inbox"),
        ("/sandbox/devices", "text/html; charset=utf-8", "<title>Devices"),
        ("/sandbox/devices.js", "text/javascript; charset=utf-8", '"use strict"'),
        ("/sandbox/schedules", "text/html; charset=utf-8", "<title>Schedules"),
        ("/sandbox/schedules.js", "text/javascript; charset=utf-8", '"use strict"'),
        ("/sandbox/table.js", "text/javascript; charset=utf-8", '"use strict"'),
        ("/sandbox/inbox.css", "text/css; charset=utf-8", "prefers-color-scheme"),
        ("/sandbox/inbox.js", "text/javascript; charset=utf-8", '"use strict"'),
    ],
)
def test_the_pages_security_policy_allows_only_its_own_files(
    url: str, path: str, media_type: str, part: str
) -> None:
    status, headers, text = fetch(url, "GET", path)
    assert (status, headers["Content-Type"]) == (200, media_type)
    assert part in text
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule]


def test_the_page_loads_nothing_external_and_never_treats_text_as_markup() -> None:
    for file in pages.PAGE_FOLDER.iterdir():
        assert not re.search(r"https?:|url\(|@import|innerHTML|eval\(", file.read_text()), file


def test_the_inbox_is_found_without_a_slash_and_is_read_only(url: str) -> None:
    status, headers, _ = fetch(url, "GET", "/sandbox")
    assert (status, headers["Location"]) == (302, "/sandbox/")
    assert fetch(url, "HEAD", "/sandbox/")[0] == 200
    assert fetch(url, "PUT", "/sandbox/inbox.js")[0] == 405
    assert fetch(url, "GET", "/sandbox/../pages.py")[0] == 404
