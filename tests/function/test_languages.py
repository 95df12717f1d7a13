"""Translations: which one a recipient gets, in how few calls, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from push_sender.follow_up.requeue import messages_of
from push_sender.follow_up.submission import Submission
from push_sender.idempotency.fingerprint import fingerprint
from push_sender.request.errors import InvalidRequest
from push_sender.request.languages import chooser, is_tag
from push_sender.validation.check import check
from tests.support.invocation import PROJECT, Push
from tests.support.provider import Json, Provider
from tests.support.reports import report_of_tokens

TEXTS: Json = {"title": "Hello", "message": "Your parcel"}
GERMAN: Json = {"de": {"title": "Hallo", "message": "Dein Paket"}}


NO_PLACE = "has no place in a message of this service; leave it out"


def to(token: str, service: str = "GCM", **fields: Any) -> Json:
    return {"token": token, "service": service, **fields}


@pytest.mark.parametrize(
    ("language", "chosen"),
    [
        ("de", "de"),
        ("DE_at", "de"),
        ("de-Latn-AT-1996", "de"),
        ("zh-hant-TW", "zh-Hant"),
        ("zh-Hant-x-private", "zh-Hant"),
        ("zh", None),
        ("pt", None),
        ("pt-br", "pt_BR"),
        (None, None),
    ],
)
def test_a_language_is_looked_up_as_rfc_4647_says(language: str | None, chosen: str | None) -> None:
    assert chooser(["de", "zh-Hant", "pt_BR"])(language) == chosen


def test_recipients_of_a_language_share_one_call_and_small_addresses(
    push: Push, provider: Provider
) -> None:
    push(
        {
            "recipients": [
                to("a", language="de"),
                to("b"),
                to("c", language="de-AT"),
                to("d", language="fr"),
            ],
            **TEXTS,
            "translations": GERMAN,
        }
    )

    calls = {tuple(call["Addresses"]): call for call in provider.calls}
    german, own = calls["a", "c"], calls["b", "d"]
    assert german["Addresses"]["a"] == {"ChannelType": "GCM"}
    assert german["MessageConfiguration"]["GCMMessage"] == {"Title": "Hallo", "Body": "Dein Paket"}
    assert own["MessageConfiguration"]["GCMMessage"] == {"Title": "Hello", "Body": "Your parcel"}


def test_three_languages_take_about_as_many_calls_as_one(push: Push, provider: Provider) -> None:
    languages = ("de", "fr", "en")
    recipients = [to(f"t{n}", language=languages[n % 3]) for n in range(5_000)]
    translations = {"de": {"title": "Hallo"}, "fr": {"title": "Salut"}}

    push({"recipients": recipients, **TEXTS, "translations": translations})

    assert len(provider.calls) <= 50 + 3


def test_the_recipient_comes_before_the_translation_before_the_service_before_the_request(
    push: Push, provider: Provider
) -> None:
    push(
        {
            "recipients": [to("a", language="de", title="own"), to("b", language="de"), to("c")],
            "title": "request",
            "message": "request",
            "url": "https://example.com/",
            "action": "URL",
            "gcm": {"title": "service", "message": "service"},
            "translations": {"de": {"title": "translation"}},
        }
    )

    calls = {tuple(call["Addresses"]): call for call in provider.calls}
    german = calls["a", "b"]
    assert german["Addresses"]["a"]["TitleOverride"] == "own"
    message = german["MessageConfiguration"]["GCMMessage"]
    assert (message["Title"], message["Body"]) == ("translation", "service")
    assert calls["c",]["MessageConfiguration"]["GCMMessage"]["Title"] == "service"


def test_a_translation_reaches_the_formats_that_are_built_here(
    push: Push, provider: Provider
) -> None:
    translation = {"subtitle": "von Ann", "url": "https://de.example/{{n}}", "message": "an {{n}}"}
    push(
        {
            "recipients": [to("a", "APNS", language="de"), to("b", "GCM", language="de")],
            **TEXTS,
            "substitutions": {"n": "7"},
            "apns": {"format": "native"},
            "gcm": {"format": "fcm_v1"},
            "translations": {"de": translation},
        }
    )

    messages = {tuple(call["Addresses"]): call["MessageConfiguration"] for call in provider.calls}
    apns = json.loads(messages["a",]["APNSMessage"]["RawContent"])
    fcm = json.loads(messages["b",]["GCMMessage"]["RawContent"])["fcmV1Message"]["message"]
    assert apns["aps"]["alert"] == {"title": "Hello", "subtitle": "von Ann", "body": "an 7"}
    assert apns["url"] == fcm["data"]["url"] == "https://de.example/7"
    assert fcm["notification"] == {"title": "Hello", "body": "an 7"}


def test_a_dry_run_shows_a_call_for_each_language(push: Push) -> None:
    report = push(
        {
            "recipients": [to("a", language="de"), to("b")],
            **TEXTS,
            "translations": GERMAN,
            "dry_run": True,
        }
    )

    shown = [call["MessageRequest"]["MessageConfiguration"] for call in report["requests"]]
    assert [message["GCMMessage"]["Title"] for message in shown] == ["Hallo", "Hello"]


def test_a_translation_that_nobody_gets_is_a_warning(push: Push) -> None:
    report = push({"recipient": to("a"), **TEXTS, "translations": GERMAN})

    assert report["warnings"] == [
        {"path": "translations.de", "message": "no recipient has this language"}
    ]


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        (
            {"translations": {"de": {}}},
            ["translations.de: is empty; give title, message, subtitle, url or image_url"],
        ),
        (
            {"translations": {"xx-bad-tag-": {"title": "t"}}},
            [
                "translations.xx-bad-tag-: must be named by a language tag, such as de or pt-BR",
            ],
        ),
        (
            {"translations": {"de": {"title": "a"}, "DE": {"title": "b"}}},
            ["translations.DE: stands for a language that is listed already; keep one"],
        ),
        (
            {"translations": {"de": {"titel": "a", "message": "b"}}},
            ["translations.de.titel: unknown field; did you mean title?"],
        ),
        ({"translations": {"de": 7}}, ["translations.de: must be an object, not a number"]),
        ({"translations": [1]}, ["translations: must be an object, not a list"]),
        (
            {"translations": {f"de-{n:04}": {"title": "t"} for n in range(1_000)}},
            ["translations: must hold at most 100"],
        ),
        (
            {"translations": {"de": {"url": "javascript:x"}}},
            ["translations.de.url: this scheme is refused; use https or the app's own"],
        ),
        (
            {"translations": {"de": {"message": "\N{GRINNING FACE}" * 1_025}}},
            [
                "translations.de.message: the payload has 4,105 bytes or more and GCM takes "
                "4,096; shorten it"
            ],
        ),
    ],
)
def test_a_translation_is_refused_with_the_cure(
    push: Push, provider: Provider, fields: Json, errors: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        push({"recipient": to("a", language="de"), **TEXTS, **fields})

    assert str(refused.value).split("\n") == errors
    assert not provider.calls


@pytest.mark.parametrize(
    "tag",
    [
        "de",
        "pt-BR",
        "zh_Hans_TW",
        "de-CH-1996",
        "es-419",
        "en-u-co-phonebk",
        "de-a-bb-x-1-c",
        "de-x-1",
    ],
)
def test_a_tag_has_the_form_of_rfc_5646(tag: str) -> None:
    assert is_tag(tag)
    assert is_tag(tag.upper())


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "d",
        "de_AT_1",
        "de-u",
        "de-x",
        "de-a-x-1",
        "de-a-b-cc",
        "de--AT",
        "de-",
        "x-klingon",
        "i-lux",
    ],
)
def test_what_rfc_5646_does_not_allow_is_no_tag(tag: str) -> None:
    assert not is_tag(tag)


def test_a_language_must_be_a_tag(push: Push) -> None:
    with pytest.raises(InvalidRequest) as refused:
        push({"recipient": to("a", language="Deutsch, bitte"), **TEXTS})

    assert str(refused.value) == "recipient.language: must be a language tag, such as de or pt-BR"


@pytest.mark.parametrize(
    ("service", "field", "error"),
    [
        ("GCM", {"url": "https://a.example/"}, "url: needs gcm.format fcm_v1"),
        ("APNS", {"badge": 1}, "badge: needs apns.format native"),
        ("APNS", {"subtitle": "s"}, "subtitle: needs apns.format native"),
        ("GCM", {"subtitle": "s"}, f"subtitle: {NO_PLACE}"),
        ("ADM", {"data": {"a": "b"}}, f"data: {NO_PLACE}"),
    ],
)  # fmt: skip
def test_a_personal_field_without_a_place_is_refused_with_the_cure(
    push: Push, service: str, field: Json, error: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        push({"recipients": [to("a", service, **field)], **TEXTS})

    assert str(refused.value) == f"recipients[0].{error}"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {"interruption_level": "active"},
            "interruption_level: unknown field; did you mean apns.interruption_level?",
        ),
        (
            {"gcm": {"subtitle": "s"}},
            "gcm.subtitle: unknown field; did you mean apns.subtitle?",
        ),
        (
            {"MessageRequest": {}},
            "MessageRequest: unknown field; docs/leaving-pinpoint.md shows this call as a request",
        ),
        ({"titel": "t"}, "titel: unknown field; did you mean title?"),
    ],
)
def test_a_hint_names_the_real_place_of_a_field(push: Push, fields: Json, error: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        push({"recipient": to("a"), **TEXTS, **fields})

    assert str(refused.value) == error


def test_what_is_requeued_keeps_the_translations_and_the_languages() -> None:
    recipients = [to(f"t{n}", language=("de", "fr")[n % 2]) for n in range(300)]
    request = {"recipients": recipients, **TEXTS, "translations": GERMAN}

    split = messages_of(
        Submission(request, "id", 1), report_of_tokens(request), range(300), attempt=1
    )

    (message,) = [json.loads(message.body) for message, _ in split.messages]
    assert message["translations"] == GERMAN
    assert [one["language"] for one in message["recipients"]] == [
        *["de"] * 100, *["de"] * 50, *["fr"] * 100, *["fr"] * 50,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"translations": {"de": {"title": "Servus"}}},
        {"recipients": [to("a", language="fr")]},
        {"recipients": [to("a", language="de", badge=1)], "gcm": {"format": "fcm_v1"}},
    ],
)
def test_another_translation_or_language_is_another_request(changed: Json) -> None:
    request = {"recipients": [to("a", language="de")], **TEXTS, "translations": GERMAN}

    def taken(event: Json) -> str:
        checked, audience, _ = check(event, [PROJECT])
        return fingerprint(checked, audience.recipients)

    assert taken(request) == taken(json.loads(json.dumps(request)))
    assert taken({**request, **changed}) != taken(request)


def test_a_language_without_translations_has_no_effect(push: Push) -> None:
    report = push({"recipient": to("a", language="de"), **TEXTS})

    assert report["warnings"] == []
