"""The payload that the format ``native`` builds, held against Apple's reference."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from push_sender.request.errors import InvalidRequest
from push_sender.request.model import FORMAT_FIELDS
from push_sender.request.services import APNS_MESSAGE
from tests.support.invocation import Push
from tests.support.provider import Json, Provider

APNS = {"token": "t", "service": "APNS"}


class _Exact(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Alert(_Exact):
    """Apple, "Generating a remote notification", table 2."""

    title: str | None = None
    subtitle: str | None = None
    body: str | None = None
    launch_image: str | None = None
    title_loc_key: str | None = None
    title_loc_args: list[str] | None = None
    subtitle_loc_key: str | None = None
    subtitle_loc_args: list[str] | None = None
    loc_key: str | None = None
    loc_args: list[str] | None = None


class Sound(_Exact):
    """Apple, the same page, table 3."""

    critical: Literal[1]
    name: str
    volume: float = Field(ge=0, le=1)


class Aps(_Exact):
    """Apple, the same page, table 1, without the members of Live Activities."""

    alert: Alert | None = None
    badge: int | None = None
    sound: str | Sound | None = None
    thread_id: str | None = None
    category: str | None = None
    content_available: Literal[0, 1] | None = None
    mutable_content: Literal[1] | None = None
    target_content_id: str | None = None
    interruption_level: Literal["passive", "active", "time-sensitive", "critical"] | None = None
    relevance_score: float | None = Field(None, ge=0, le=1)
    filter_criteria: str | None = None


def payload_in(raw_content: str) -> Json:
    """Check a payload against Apple's reference and give it."""
    payload: Json = json.loads(raw_content)
    TypeAdapter(Aps).validate_python(payload["aps"])
    return payload


def sent(provider: Provider) -> Json:
    """Give the APNs message of the only call."""
    (call,) = provider.calls
    message: Json = call["MessageConfiguration"]["APNSMessage"]
    return message


def native(**fields: Any) -> Json:
    return {"apns": {"format": "native", **fields}}


EVERY_FIELD: Json = {
    "subtitle": "Below",
    "title_loc_key": "TITLE",
    "title_loc_args": ["a"],
    "subtitle_loc_key": "SUBTITLE",
    "subtitle_loc_args": ["b"],
    "loc_key": "BODY",
    "loc_args": ["c", "d"],
    "launch_image": "start.png",
    "interruption_level": "time-sensitive",
    "relevance_score": 0.5,
    "mutable_content": True,
    "content_available": True,
    "target_content_id": "window-1",
    "filter_criteria": "work",
    "critical_sound": {"name": "alarm.caf", "volume": 0.5},
}


def test_every_field_has_its_place_in_the_payload(push: Push, provider: Provider) -> None:
    push(
        {
            "recipient": APNS,
            "title": "Hi",
            "message": "There",
            "image_url": "https://example.com/i.png",
            "action": "URL",
            "url": "https://example.com/",
            "data": {"order": "7"},
            "context": {"from_context": "yes"},
            "priority": "high",
            "ttl": 30,
            "collapse_id": "c",
            **native(**EVERY_FIELD, badge=0, category="REPLY", thread_id="chat", push_type="alert"),
        }
    )

    message = sent(provider)
    assert payload_in(message.pop("RawContent")) == {
        "aps": {
            "alert": {
                "title": "Hi",
                "subtitle": "Below",
                "body": "There",
                "title-loc-key": "TITLE",
                "title-loc-args": ["a"],
                "subtitle-loc-key": "SUBTITLE",
                "subtitle-loc-args": ["b"],
                "loc-key": "BODY",
                "loc-args": ["c", "d"],
                "launch-image": "start.png",
            },
            "badge": 0,
            "sound": {"critical": 1, "name": "alarm.caf", "volume": 0.5},
            "thread-id": "chat",
            "category": "REPLY",
            "content-available": 1,
            "mutable-content": 1,
            "target-content-id": "window-1",
            "interruption-level": "time-sensitive",
            "relevance-score": 0.5,
            "filter-criteria": "work",
        },
        "from_context": "yes",
        "action": "URL",
        "url": "https://example.com/",
        "image_url": "https://example.com/i.png",
        "order": "7",
    }
    assert message == {
        "Priority": "high",
        "TimeToLive": 30,
        "CollapseId": "c",
        "APNSPushType": "alert",
    }
    assert EVERY_FIELD.keys() == FORMAT_FIELDS[APNS_MESSAGE][1]


def test_a_silent_push_has_nothing_to_show(push: Push, provider: Provider) -> None:
    push(
        {
            "recipient": APNS,
            "silent": True,
            "title": "unseen",
            "data": {"sync": "1"},
            **native(badge=3, sound="ping", subtitle="unseen"),
        }
    )

    message = sent(provider)
    assert payload_in(message["RawContent"]) == {"aps": {"content-available": 1}, "sync": "1"}
    assert message["APNSPushType"] == "background"


def test_no_warning_concerns_a_payload_that_is_built_here(push: Push, provider: Provider) -> None:
    report = push({"recipient": APNS, "message": "m", "data": {"a": "b"}, **native()})

    assert report["warnings"] == []


def test_variables_are_filled_in_every_text(push: Push, provider: Provider) -> None:
    push(
        {
            "recipients": [APNS, {**APNS, "token": "u", "substitutions": {"name": "Ben"}}],
            "title": "{{name}}",
            "message": "for {{ name }}",
            "action": "URL",
            "url": "https://example.com/{{name}}",
            "substitutions": {"name": "Ann"},
            **native(subtitle="to {{name}}", loc_key="K", loc_args=["{{name}}"]),
        }
    )

    (call,) = provider.calls
    for raw, name in (
        (call["MessageConfiguration"]["APNSMessage"]["RawContent"], "Ann"),
        (call["Addresses"]["u"]["RawContent"], "Ben"),
    ):
        payload = payload_in(raw)
        assert payload["aps"]["alert"] == {
            "title": name,
            "subtitle": f"to {name}",
            "body": f"for {name}",
            "loc-key": "K",
            "loc-args": [name],
        }
        assert payload["url"] == f"https://example.com/{name}"


def test_a_recipients_own_fields_come_first(push: Push, provider: Provider) -> None:
    own = {
        "title": "own",
        "subtitle": "own",
        "url": "https://own.example/",
        "image_url": "https://own.example/i.png",
        "badge": 7,
        "data": {"shared": "own", "more": "own"},
    }
    push(
        {
            "recipients": [{**APNS, **own}],
            "title": "shared",
            "message": "shared",
            "data": {"shared": "all", "kept": "all"},
            **native(badge=1, subtitle="shared"),
        }
    )

    (call,) = provider.calls
    payload = payload_in(call["Addresses"]["t"]["RawContent"])
    assert payload["aps"]["alert"] == {"title": "own", "subtitle": "own", "body": "shared"}
    assert payload["aps"]["badge"] == 7
    assert payload["aps"]["mutable-content"] == 1
    assert (payload["shared"], payload["more"], payload["kept"]) == ("own", "own", "all")
    assert payload["url"] == "https://own.example/"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"apns": {"subtitle": "s"}}, "apns.subtitle: needs apns.format native"),
        (native(loc_args=["a"]), "apns.loc_args: needs loc_key"),
        (native(relevance_score=1.1), "apns.relevance_score: must be at most 1.0"),
        (native(relevance_score="1"), "apns.relevance_score: must be a number, not text"),
        (
            native(critical_sound={"name": "n", "volume": 2}),
            "apns.critical_sound.volume: must be at most 1.0",
        ),
        (native(critical_sound={"volume": 1}), "apns.critical_sound.name: is missing"),
        (native(loc_key="K", loc_args=["a", 1]), "apns.loc_args[1]: must be text, not a number"),
        (
            native(interruption_level="loud"),
            "apns.interruption_level: must be 'passive', 'active', 'time-sensitive' or 'critical'",
        ),
        (
            native(sound="s", critical_sound={"name": "n"}),
            "apns.critical_sound: give sound or critical_sound, not both",
        ),
        (
            native(raw_content={"aps": {}}),
            "apns.raw_content: give raw_content or the format native, which builds it, not both",
        ),
        (
            {**native(), "data": {"aps": "x"}},
            "data: APNs keeps the key aps for itself; rename it",
        ),
        (
            {"apns": {"push_type": "liveactivity"}},
            "apns.push_type: Live Activities need a topic that SendMessages cannot name",
        ),
    ],
)
def test_what_apns_does_not_take_is_refused_with_the_cure(
    push: Push, provider: Provider, fields: Json, error: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        push({"recipient": APNS, "message": "m", **fields})

    assert str(refused.value) == error
    assert not provider.calls


def test_a_rule_of_apns_is_checked_only_where_a_recipient_uses_it(
    push: Push, provider: Provider
) -> None:
    push({"recipient": {"token": "t", "service": "ADM"}, "message": "m", "apns": {"subtitle": "s"}})

    assert len(provider.calls) == 1


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}", "\N{ARABIC LETTER ALEF}", '"', "\\"])
def test_the_payload_is_measured_to_the_byte(push: Push, provider: Provider, text: str) -> None:
    frame = '{"aps":{"alert":{"body":""},"content-available":0}}'
    each = len(json.dumps(text, ensure_ascii=False).encode()) - 2
    fits = (4_096 - len(frame)) // each
    rest = "." * (4_096 - len(frame) - fits * each)
    request = {"recipient": APNS, **native()}

    push({**request, "message": text * fits + rest})
    assert len(sent(provider)["RawContent"].encode()) == 4_096

    with pytest.raises(InvalidRequest, match=r"^message: the payload has 4,097 bytes or more"):
        push({**request, "message": text * fits + rest + "."})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="counts in threads that run already")
@pytest.mark.parametrize(
    ("service", "options"),
    [("APNS", native()), ("GCM", {"gcm": {"format": "fcm_v1"}})],
)
def test_the_payload_of_recipients_that_are_alike_is_built_once_for_each_call(
    push: Push, provider: Provider, service: str, options: Json
) -> None:
    def builds_for(number: int) -> int:
        recipients = [{"token": f"t{n}", "service": service} for n in range(number)]
        builds: Counter[str] = Counter()

        def count(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                builds[frame.f_code.co_name] += 1

        before = threading.getprofile(), sys.getprofile()
        threading.setprofile_all_threads(count)
        try:
            push({"recipients": recipients, "message": "m", **options})
        finally:
            threading.setprofile_all_threads(before[0])
            sys.setprofile(before[1])
        return builds["raw_content"]

    assert 0 < builds_for(100) == builds_for(2)


def test_a_firebase_installation_id_is_a_token_like_any_other(
    push: Push, provider: Provider
) -> None:
    installation = {"token": "cAbCdEfGhIjKlMnOpQrStU", "service": "FCM"}
    report = push({"recipient": installation, "message": "m"})

    assert report["summary"] == {"recipients": 1, "accepted": 1}
