"""What is refused, in which words, and that nothing of it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from push_sender.devices.registration import Registration
from push_sender.request.errors import InvalidRequest
from push_sender.request.model import PushRequest
from tests.support.invocation import Push
from tests.support.provider import Provider

GCM = {"token": "g", "service": "GCM"}
APNS = {"token": "a", "service": "APNS"}
ADM = {"token": "d", "service": "ADM"}
BAIDU = {"token": "b", "service": "BAIDU"}
HALF_A_PAIR = "\ud800"


def nested(depth: int) -> dict[str, Any]:
    """Nest objects to a depth."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def errors_of(push: Push, provider: Provider, event: Any) -> dict[str, str]:
    """Push what must be refused, and give its errors by path."""
    with pytest.raises(InvalidRequest) as refused:
        push(event)
    assert provider.calls == []
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    lines = str(refused.value).split("\n")
    assert all(": " in line for line in lines)
    errors = dict(line.split(": ", 1) for line in lines)
    assert len(set(lines)) == len(lines), "a fault is told twice"
    return errors


@pytest.mark.parametrize(
    ("event", "path", "words"),
    [
        pytest.param([], "request", "must be an object, not a list", id="a list"),
        pytest.param("{}", "request", "must be an object, not text", id="text"),
        pytest.param(
            '{"recipient": {"token": "t", "service": "GCM"}, "message": "m"}',
            "request",
            "must be an object, not text",
            id="text of a request",
        ),
        pytest.param(None, "request", "must be an object, not null", id="null"),
        pytest.param(7, "request", "must be an object, not a number", id="a number"),
        pytest.param({"message": "m"}, "recipients", "is missing", id="no recipients"),
        pytest.param(
            {"message": "m", "recipients": []}, "recipients", "must not be empty", id="empty list"
        ),
        pytest.param(
            {"message": "m", "recipients": [GCM] * 5_001},
            "recipients",
            "must hold at most 5000",
            id="5,001 recipients",
        ),
        pytest.param(
            {"message": "m", "recipient": GCM, "recipients": [APNS]},
            "recipients",
            "not both",
            id="recipient and recipients",
        ),
        pytest.param(
            {"message": "m", "recipients": [GCM, {"token": "t", "service": "SMS"}]},
            "recipients[1].service",
            "must be 'GCM', 'FCM', 'APNS'",
            id="unknown service",
        ),
        pytest.param(
            {"message": "m", "recipient": {"token": "t"}},
            "recipient.service",
            "is missing",
            id="no service",
        ),
        *(
            pytest.param(
                {"message": "m", "recipient": {"token": token, "service": "GCM"}},
                "recipient.token",
                "must be 1 to 2,048 printable ASCII characters without spaces",
                id=name,
            )
            for name, token in {
                "empty token": "",
                "huge token": "x" * 2_049,
                "token with a newline": "abc\n",
                "token with a space": "a b",
                "token beyond ASCII": "tökn",
                "token with a null": "a\x00",
            }.items()
        ),
        pytest.param(
            {"message": "m", "recipient": {"token": 7, "service": "GCM"}},
            "recipient.token",
            "must be text, not a number",
            id="token that is a number",
        ),
        pytest.param(
            {"recipient": GCM, "titel": "x", "message": "m"},
            "titel",
            "did you mean title?",
            id="near miss",
        ),
        pytest.param(
            {"recipient": {**GCM, "Token": "t"}, "message": "m"},
            "recipient.Token",
            "did you mean token?",
            id="wrong case",
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "gcm": {"badge": 1}},
            "gcm.badge",
            "unknown field",
            id="a field of another service",
        ),
        *(
            pytest.param({"recipient": GCM, "message": "m", "ttl": ttl}, "ttl", words, id=name)
            for name, ttl, words in [
                ("ttl as text", "30", "must be a whole number, not text"),
                ("ttl true", True, "must be a whole number, not true or false"),
                ("ttl below nought", -1, "must be at least 0"),
                ("ttl 1e9", 1e9, "GCM takes 0 to 2,419,200 seconds"),
                ("ttl a fraction", 1.5, "must be a whole number, without a fraction"),
                ("ttl over the service's", 2_419_201, "GCM takes 0 to 2,419,200 seconds"),
                ("ttl huge", 10**40, "must be at most 2147483647"),
                ("ttl infinite", float("inf"), "must be a whole number"),
            ]
        ),
        pytest.param(
            {"recipient": BAIDU, "message": "m", "ttl": 604_801},
            "ttl",
            "BAIDU takes 0 to 604,800 seconds",
            id="ttl over Baidu's",
        ),
        pytest.param(
            {"recipient": ADM, "message": "m", "adm": {"ttl": 0}},
            "adm.ttl",
            "ADM takes 1 to 2,678,400 seconds",
            id="ttl under ADM's",
        ),
        pytest.param(
            {
                "recipients": [GCM, APNS, {**GCM, "title": "other"}],
                "message": "m",
            },
            "recipients[2]",
            "stands for the same service at recipients[0]",
            id="the same token twice with different text",
        ),
        pytest.param(
            {"recipients": [GCM, {"token": "g", "service": "FCM", "message": "x"}], "message": "m"},
            "recipients[1]",
            "stands for the same service at recipients[0]",
            id="the same token twice under two names of one service",
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "action": "URL"},
            "url",
            "is missing; the action URL needs it",
            id="URL without url",
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "action": "DEEP_LINK"},
            "url",
            "is missing; the action DEEP_LINK needs it",
            id="DEEP_LINK without url",
        ),
        *(
            pytest.param(
                {"recipient": GCM, "message": "m", "action": action, "url": url},
                "url",
                words,
                id=f"{action} {url[:24]!r}",
            )
            for action, url, words in [
                ("URL", "javascript:alert(1)", "this scheme is refused"),
                ("URL", "JavaScript:alert(1)", "this scheme is refused"),
                ("DEEP_LINK", "data:text/html,x", "this scheme is refused"),
                ("DEEP_LINK", "file:///etc/passwd", "this scheme is refused"),
                ("OPEN_APP", "javascript:alert(1)", "this scheme is refused"),
                ("URL", "java\nscript:alert(1)", "must be a URL with its scheme"),
                ("URL", " https://example.com", "must be a URL with its scheme"),
                ("URL", "https://example.com/a b", "must be a URL with its scheme"),
                ("URL", "example.com", "must be a URL with its scheme"),
                ("URL", "app://place", "needs an http or https address"),
                ("URL", "https://", "needs an http or https address"),
                ("URL", "https:///path", "needs an http or https address"),
                ("DEEP_LINK", "http://example.com", "needs the app's own scheme or https"),
                ("DEEP_LINK", "https:x", "must name a host"),
            ]
        ),
        *(
            pytest.param(
                {"recipient": APNS, "apns": {"raw_content": raw}},
                "apns.raw_content",
                "must be a JSON object, or the text of one",
                id=f"raw content: {name}",
            )
            for name, raw in {
                "a list": [],
                "a number": 7,
                "text of a list": "[]",
                "broken text": '{"aps":',
                "not a number": '{"aps": NaN}',
                "an infinite number": {"aps": float("inf")},
                "half a surrogate pair": {"aps": HALF_A_PAIR},
                "half a pair, escaped": '{"aps": "\\ud800"}',
                "nested too deep": nested(100_000),
                "text nested too deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
                "not JSON at all": {"aps": {1, 2}},
            }.items()
        ),
        pytest.param(
            {"recipient": GCM, "gcm": {"format": "fcm_v1", "raw_content": {}}, "message": "m"},
            "gcm.raw_content",
            "not both",
            id="raw content and fcm_v1",
        ),
        pytest.param(
            {"recipient": GCM, "gcm": {"format": "fcm_v1"}, "data": {"from": "x"}, "message": "m"},
            "data",
            "FCM keeps these keys for itself",
            id="reserved key",
        ),
        pytest.param(
            {"recipient": APNS, "message": "m", "collapse_id": "é" * 33},
            "collapse_id",
            "APNs takes at most 64 bytes",
            id="collapse id over 64 bytes",
        ),
        pytest.param(
            {"recipient": GCM, "message": "x" * 4_097},
            "message",
            "the payload has 4,097 bytes or more and GCM takes 4,096",
            id="text over the payload's limit",
        ),
        pytest.param(
            {"recipient": GCM, "message": "x" * 6_000_000},
            "message",
            "the payload has 6,000,000 bytes",
            id="6 MB of text",
        ),
        pytest.param(
            {"recipients": [GCM, {**APNS, "message": "é" * 2_049}], "message": "m"},
            "recipients[1].message",
            "APNS takes 4,096",
            id="own text over the limit",
        ),
        pytest.param(
            {"recipient": {**APNS, "raw_content": {"aps": {"alert": "x" * 4_080}}}},
            "recipient.raw_content",
            "the payload has 4,100 bytes",
            id="own raw content over the limit",
        ),
        pytest.param(
            {"recipient": GCM, "silent": True, "data": {"k": "x" * 4_097}},
            "message",
            "shorten it",
            id="data over the limit",
        ),
        pytest.param(
            {"recipient": APNS}, "message", "is missing for APNS; give message or title", id="mute"
        ),
        pytest.param(
            {"recipients": [{**GCM, "title": "own"}, APNS]},
            "message",
            "is missing for APNS",
            id="one service without text",
        ),
        pytest.param(
            {"recipient": GCM, "message": HALF_A_PAIR},
            "message",
            "must be valid Unicode",
            id="half a surrogate pair",
        ),
        *(
            pytest.param(
                {"recipient": GCM, "message": "m", field: value},
                field,
                "null character",
                id=f"null byte in {field}",
            )
            for field, value in {
                "title": "a\x00b",
                "sound": "\x00",
                "data": {"k": "\x00"},
                "context": {"\x00": "v"},
                "substitutions": {"k": ["\x00"]},
            }.items()
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "data": {"k": 1}},
            "data",
            "a value must be text, not a number",
            id="data that is not text",
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "data": nested(50_000)},
            "data",
            "a value must be text, not an object",
            id="deep data",
        ),
        pytest.param(nested(100_000), "recipients", "is missing", id="a deep request"),
        pytest.param(
            {"recipient": GCM, "message": "m", "application_id": "f" * 32},
            "application_id",
            "not a project that this function was deployed for",
            id="project not allowed",
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "idempotency_key": "k" * 257},
            "idempotency_key",
            "must be 1 to 256 printable characters",
            id="long key",
        ),
        pytest.param(
            {"recipient": GCM, "message": "m", "idempotency_key": "a\nb"},
            "idempotency_key",
            "must be 1 to 256 printable characters",
            id="key with a newline",
        ),
    ],
)
def test_bad_input_is_refused_with_its_path_and_the_cure(
    push: Push, provider: Provider, event: Any, path: str, words: str
) -> None:
    assert words in errors_of(push, provider, event)[path]


def test_all_errors_come_at_once_the_malformed_and_the_impossible(
    push: Push, provider: Provider
) -> None:
    errors = errors_of(
        push,
        provider,
        {
            "recipients": [
                {"token": "", "service": "GCM"},
                {"token": "t", "service": "SMS"},
                {"token": "t", "service": "APNS", "titel": "x"},
                "nobody",
            ],
            "title": 5,
            "message": "x" * 5_000,
            "ttl": "30",
            "action": "URL",
            "application_id": "f" * 32,
            "collapse_id": "c" * 65,
            "gcm": {"badge": 1},
            "nonsense": 1,
        },
    )

    assert set(errors) == {
        "recipients[0].token",
        "recipients[1].service",
        "recipients[2].titel",
        "recipients[3]",
        "title",
        "message",
        "ttl",
        "url",
        "application_id",
        "collapse_id",
        "gcm.badge",
        "nonsense",
    }


def test_no_error_causes_a_false_second_error(push: Push, provider: Provider) -> None:
    wrong_title = {"recipient": GCM, "title": 5}
    wrong_url = {"recipient": GCM, "message": "m", "action": "URL", "url": 7}
    wrong_recipient = {"recipient": {"token": "t", "service": "X"}, "ttl": 2_500_000}
    wrong_list = {"recipients": {}, "collapse_id": "c" * 65}

    assert set(errors_of(push, provider, wrong_title)) == {"title"}
    assert set(errors_of(push, provider, wrong_url)) == {"url"}
    assert set(errors_of(push, provider, wrong_recipient)) == {"recipient.service"}
    assert set(errors_of(push, provider, wrong_list)) == {"recipients"}


def test_each_of_5000_invalid_recipients_is_reported(push: Push, provider: Provider) -> None:
    wrong = [{"token": "", "service": "GCM"}] * 5_000

    assert len(errors_of(push, provider, {"recipients": wrong, "message": "m"})) == 5_000


def test_more_errors_than_an_answer_holds_are_counted(push: Push, provider: Provider) -> None:
    unknown = {f"field_{n}": 1 for n in range(50_000)}

    for event in (
        {"recipient": GCM, "message": "m", **unknown},
        {"recipient": {**GCM, **unknown}, "message": "m"},
        {"recipient": GCM, "message": "m", "gcm": unknown},
    ):
        with pytest.raises(InvalidRequest, match=r"… and [\d,]+ more$") as refused:
            push(event)
        assert len(str(refused.value)) < 1_100_000


def test_rules_of_unused_services_are_not_checked(push: Push, provider: Provider) -> None:
    report = push({"recipient": APNS, "message": "m", "ttl": 604_801, "adm": {"ttl": 0}})

    assert report["summary"] == {"recipients": 1, "accepted": 1}


def test_a_probable_mistake_is_sent_with_a_warning(push: Push, provider: Provider) -> None:
    report = push(
        {
            "recipients": [GCM, APNS, {**APNS, "token": "b", "raw_content": {"aps": {}}}],
            "message": "m",
            "data": {"k": "v"},
            "url": "https://example.com",
            "idempotency_key": "key",
            "requeue": True,
            "apns": {"ttl": 3_000_000},
        }
    )

    assert report["summary"] == {"recipients": 3, "accepted": 3}
    assert report["idempotency_key"] == "key"
    assert sorted(warning["path"] for warning in report["warnings"]) == [
        "apns.ttl",
        "data",
        "idempotency_key",
        "recipients[2].raw_content",
        "requeue",
        "url",
    ]


def test_variables_do_not_count_because_they_may_shrink_a_text(
    push: Push, provider: Provider
) -> None:
    long_name = "{{" + "n" * 4_096 + "}}"
    report = push(
        {"recipient": GCM, "message": f"Hi {long_name}", "substitutions": {"n" * 4_096: "Ann"}}
    )

    assert report["summary"]["accepted"] == 1


@pytest.mark.parametrize("size", [4_096, 4_097])
def test_raw_content_is_measured_exactly(push: Push, provider: Provider, size: int) -> None:
    empty = len('{"aps":{"alert":""}}')
    event = {"recipient": APNS, "apns": {"raw_content": {"aps": {"alert": "x" * (size - empty)}}}}

    if size <= 4_096:
        assert push(event)["summary"]["accepted"] == 1
    else:
        assert "4,097 bytes" in errors_of(push, provider, event)["apns.raw_content"]


def test_a_voip_push_may_be_larger(push: Push, provider: Provider) -> None:
    recipients = [{"token": "v", "service": "APNS_VOIP"}]

    assert push({"recipients": recipients, "message": "x" * 5_120})["summary"]["accepted"] == 1


def test_a_function_without_a_project_raises_a_clear_error(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLICATION_IDS", "")

    errors = errors_of(push, provider, {"recipient": GCM, "message": "m"})

    assert "set APPLICATION_IDS" in errors["application_id"]


def annotations_in(hint: Any, seen: set[type]) -> Iterator[Any]:
    """List everything that the annotations of a model's fields hold beside the types."""
    if isinstance(hint, type) and issubclass(hint, BaseModel) and hint not in seen:
        seen.add(hint)
        for each in get_type_hints(hint, include_extras=True).values():
            yield from annotations_in(each, seen)
    yield from getattr(hint, "__metadata__", ())
    for each in get_args(hint):
        yield from annotations_in(each, seen)


@pytest.mark.parametrize("model", [PushRequest, Registration])
def test_the_annotations_of_optional_fields_suit_early_versions_of_python_3_11(model: type) -> None:
    # Before 3.11.8 (Debian 12 has 3.11.2), `Annotated[…] | None` hashes what is annotated.
    assert [each for each in annotations_in(model, set()) if type(each).__hash__ is None] == []
