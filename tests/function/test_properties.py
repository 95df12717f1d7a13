"""Both directions, driven by hypothesis: valid requests are sent whole, the rest refused."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import suppress
from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from push_sender.delivery.retries import RetryPolicy
from push_sender.delivery.run import Delivery
from push_sender.request.errors import InvalidRequest
from push_sender.send_messages.push_service import SendMessages
from push_sender.sender import Sender
from push_sender.validation.check import check
from tests.support.invocation import PROJECT, Invocation
from tests.support.provider import Json, accepted

PINPOINT = botocore.session.Session().get_service_model("pinpoint")
SEND_MESSAGES = PINPOINT.shape_for("SendMessagesRequest")
OUTCOMES = {"accepted", "dead_token", "transient", "unknown", "duplicate", "unsent"}

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30
)
text_maps = st.dictionaries(texts, texts, max_size=3)
substitutions = st.dictionaries(texts, texts | st.lists(texts, max_size=3), max_size=3)
urls = st.sampled_from(["https://example.com/{{x}}", "app://place/é", "https://example.com"])
raw = st.dictionaries(texts, texts | st.integers() | st.none(), max_size=3)
services = st.sampled_from(
    ["GCM", "FCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "ADM"]
)
recipients = st.fixed_dictionaries(
    {"token": st.text("abc", min_size=1, max_size=3), "service": services},
    optional={
        "title": texts,
        "message": texts,
        "substitutions": substitutions,
        "context": text_maps,
        "raw_content": raw,
    },
)
contents: dict[str, st.SearchStrategy[Any]] = {
    "title": texts,
    "message": texts,
    "priority": st.sampled_from(["normal", "high"]),
    "ttl": st.integers(1, 604_800),
    "silent": st.booleans(),
    "image_url": texts,
    "sound": texts,
    "data": text_maps,
    "collapse_id": st.text("abc", max_size=64),
    "substitutions": substitutions,
}
icons = {"icon_reference": texts, "image_icon_url": texts, "small_image_icon_url": texts}


def unlike(request: Json) -> Json:
    """Keep of recipients listed twice for one service only the first."""
    first: dict[tuple[str, str], Json] = {}
    for recipient in request["recipients"]:
        service = recipient["service"].replace("FCM", "GCM")
        first.setdefault((recipient["token"], service), recipient)
    return {**request, "recipients": list(first.values())}


valid_requests = st.fixed_dictionaries(
    {"recipients": st.lists(recipients, min_size=1, max_size=20), "title": texts},
    optional={
        **{field: contents[field] for field in contents if field != "title"},
        "action": st.just("OPEN_APP"),
        "url": urls,
        "gcm": st.fixed_dictionaries(
            {},
            optional={
                **contents,
                **icons,
                "format": st.sampled_from(["pinpoint", "fcm_v1"]),
                "restricted_package_name": texts,
            },
        ),
        "apns": st.fixed_dictionaries(
            {},
            optional={
                **contents,
                "badge": st.integers(0, 99),
                "category": texts,
                "thread_id": texts,
                "push_type": st.sampled_from(["alert", "voip"]),
                "raw_content": raw,
            },
        ),
        "baidu": st.fixed_dictionaries({}, optional={**contents, **icons, "raw_content": raw}),
        "adm": st.fixed_dictionaries({}, optional={**contents, **icons, "md5": texts}),
        "context": text_maps,
        "trace_id": texts,
        "dry_run": st.booleans(),
    },
).map(unlike)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


class PickyClient:
    """A service that takes only what botocore's own validator takes."""

    def __init__(self) -> None:
        self.tokens: Counter[tuple[str, str]] = Counter()

    def send_messages(self, **call: Any) -> Any:
        report = ParamValidator().validate(call, SEND_MESSAGES)
        assert not report.has_errors(), report.generate_report()
        addresses = call["MessageRequest"]["Addresses"]
        assert 1 <= len(addresses) <= 100
        self.tokens.update((token, a["ChannelType"]) for token, a in addresses.items())
        return {"MessageResponse": {"Result": {token: accepted(token) for token in addresses}}}


class _Nobody:
    def delivered(self, *_: object) -> None:
        pass

    def without_call(self, *_: object) -> None:
        pass

    def scheduled(self, *_: object) -> None:
        pass

    def not_remembered(self, reason: str) -> None:
        pass


def send(event: Any) -> tuple[Any, PickyClient]:
    client = PickyClient()
    clock = lambda: 0.0  # noqa: E731  time stands still
    delivery = Delivery(
        SendMessages(client),
        concurrency=2,
        clock=clock,
        retry_policy=RetryPolicy(backoff_seconds=0),
    )
    sender = Sender(delivery, application_ids=[PROJECT], clock=clock, observer=_Nobody())
    return sender.send(event, deadline=Invocation(29).seconds), client


def check_whole(event: Any) -> None:
    """Send a request and check that each recipient is in the report exactly once."""
    report, client = send(event)
    asked = event.get("recipients") or [event["recipient"]]
    assert [result["token"] for result in report["results"]] == [each["token"] for each in asked]
    assert {result["outcome"] for result in report["results"]} <= OUTCOMES
    assert sum(report["summary"].values()) == 2 * len(asked)
    assert set(client.tokens.values()) <= {1}
    named = sum(result["attempts"] for result in report["results"])
    assert named == client.tokens.total()
    assert (client.tokens.total() == 0) == bool(event.get("dry_run"))


@given(valid_requests)
@settings(max_examples=150)
def test_a_valid_request_gives_calls_that_botocore_accepts_and_a_complete_report(
    event: Json,
) -> None:
    check_whole(event)


@st.composite
def mutated(draw: st.DrawFn, requests: st.SearchStrategy[Json]) -> Any:
    """Draw a request with something in it replaced, taken out or put in."""
    event = copy.deepcopy(draw(requests))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = event
        while isinstance(place, (dict, list)) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()) and isinstance(place[key], (dict, list)):
                place = place[key]
                continue
            if draw(st.booleans()):
                place[key] = draw(anything)
            elif isinstance(place, dict):
                place[draw(st.text(max_size=8))] = place.pop(key)
            else:
                place.append(copy.deepcopy(place[key]))
            break
    return event


users = st.fixed_dictionaries(
    {"user_id": st.text("abc", min_size=1, max_size=3)},
    optional={
        "device_id": st.text("abc", min_size=1, max_size=3),
        "device_filter": st.fixed_dictionaries(
            {},
            optional={
                "services": st.lists(services, min_size=1, max_size=8),
                "tags": st.lists(texts, min_size=1, max_size=3),
                "exclude_tags": st.lists(texts, min_size=1, max_size=3),
                "seen_within_days": st.integers(1, 3_650),
            },
        ),
        "title": texts,
        "raw_content": raw,
    },
)


@given(
    mutated(
        st.builds(
            lambda event, users: {**event, "recipients": [*event["recipients"], *users]},
            valid_requests,
            st.lists(users, min_size=1, max_size=5),
        )
    ),
    st.booleans(),
)
@settings(max_examples=150)
def test_a_mutated_request_for_users_is_accepted_or_refused(event: Any, has_registry: bool) -> None:
    with suppress(InvalidRequest):
        request, audience, _ = check(event, [PROJECT], has_registry=has_registry)
        assert len(audience.recipients) == len(request.everyone)
        assert has_registry or not request.has_users


@given(mutated(valid_requests) | anything)
@settings(max_examples=150)
def test_a_mutated_request_is_sent_completely_or_refused(event: Any) -> None:
    with suppress(InvalidRequest):
        check_whole(event)
