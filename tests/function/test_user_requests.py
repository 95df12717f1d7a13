"""What a request may ask for users, before and after their devices are known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push_sender.request.errors import Finding, InvalidRequest
from push_sender.request.model import PushRequest, Recipient, UserRecipient
from push_sender.validation.check import check
from push_sender.validation.users import unfit, without_place
from tests.support.invocation import PROJECT
from tests.support.provider import Json

ANN = {"user_id": "ann"}
BEN = {"user_id": "ben"}
PHONE = {"user_id": "ann", "device_id": "phone"}
GCM = {"token": "g", "service": "GCM"}
FCM = {"format": "fcm_v1"}
NATIVE = {"format": "native"}
USUAL = ("GCM", "APNS", "APNS_SANDBOX", "BAIDU", "ADM")


def errors_of(event: Json, *, has_registry: bool = True) -> dict[str, list[str]]:
    """Check what must be refused, and give its errors by path."""
    with pytest.raises(InvalidRequest) as refused:
        check(event, [PROJECT], has_registry=has_registry)
    assert refused.value.__context__ is None
    errors: dict[str, list[str]] = {}
    for error in refused.value.errors:
        errors.setdefault(error.path, []).append(error.message)
    return errors


def sendable(event: Json) -> PushRequest:
    """Check what must not be refused."""
    return check(event, [PROJECT], has_registry=True).request


def test_a_user_is_a_recipient_beside_tokens() -> None:
    event = {"recipients": [GCM, {**ANN, "title": "Hi", "badge": None}, PHONE | BEN]}

    request, audience, contents = check({**event, "message": "m"}, [PROJECT], has_registry=True)

    token, ann, ben = request.everyone
    assert isinstance(token, Recipient)
    assert isinstance(ann, UserRecipient)
    assert isinstance(ben, UserRecipient)
    assert (ann.user_id, ann.device_id, ann.title) == ("ann", None, "Hi")
    assert (ben.user_id, ben.device_id) == ("ben", "phone")
    assert request.has_users
    assert list(audience.positions.values()) == [[0]]
    assert [variant.shape.options for variant in contents] == ["gcm"]


@pytest.mark.parametrize("who", [{"recipient": GCM}, {"recipients": [GCM, GCM]}])
def test_a_request_for_tokens_has_no_users(who: Json) -> None:
    assert not sendable({**who, "message": "m"}).has_users


def test_one_user_may_be_the_recipient() -> None:
    request = sendable({"recipient": ANN, "message": "m"})

    assert request.has_users
    assert [each.model_dump(exclude_none=True) for each in request.everyone] == [ANN]


def test_the_recipient_for_a_device_has_the_fields_of_its_user() -> None:
    own = {"title": "Hi", "data": {"k": "v"}, "language": "de", "url": None}
    (user,) = sendable({"recipient": {**ANN, **own}, "message": "m", "gcm": FCM}).everyone
    (plain,) = sendable({"recipient": PHONE, "message": "m"}).everyone
    assert isinstance(user, UserRecipient)
    assert isinstance(plain, UserRecipient)

    one = user.on_device("token", "GCM", "fr")
    other = plain.on_device("token", "GCM", "fr")
    third = plain.on_device("token", "GCM")

    assert one.model_dump(exclude_none=True) == {
        "token": "token",
        "service": "GCM",
        "title": "Hi",
        "data": {"k": "v"},
        "language": "de",
    }
    assert [each.is_individual for each in (one, other, third)] == [True, False, False]
    assert [other.language, third.language] == ["fr", None]


def test_without_a_registry_a_user_is_refused_once_with_the_cure() -> None:
    users = [{"user_id": f"u{n}"} for n in range(1_235)]
    cure = "needs the registry of devices; deploy the stack with the setting devices"

    one = errors_of({"recipient": ANN, "message": "m"}, has_registry=False)
    many = errors_of({"recipients": [GCM, *users], "ttl": "x"}, has_registry=False)

    assert one == {"recipient.user_id": [cure]}
    assert many["recipients[1].user_id"] == [f"{cure} (and 1,234 more recipients)"]
    assert many.keys() == {"recipients[1].user_id", "ttl", "message"}


ONE_OF_BOTH = "give token and service, or user_id"
OF_A_USER = "goes with user_id, in place of token and service"
ID_RULE = "must be 1 to 128 of letters, digits and ._:@|~+=-"


@pytest.mark.parametrize(
    ("recipient", "errors"),
    [
        ({**GCM, **ANN}, {"user_id": ONE_OF_BOTH}),
        ({"token": "t", **ANN}, {"user_id": ONE_OF_BOTH}),
        ({"service": "GCM", **ANN}, {"service": ONE_OF_BOTH}),
        ({**GCM, **PHONE}, {"user_id": ONE_OF_BOTH, "device_id": OF_A_USER}),
        ({**GCM, "device_id": "phone"}, {"device_id": OF_A_USER}),
        ({**GCM, "device_filter": {"tags": ["a"]}}, {"device_filter": OF_A_USER}),
        ({"device_id": "phone"}, {"user_id": "is missing"}),
        ({"device_filter": {"tags": ["a"]}}, {"device_filter": OF_A_USER}),
        ({}, {"token": "is missing", "service": "is missing"}),
        ({"user": "ann"}, {"user": "unknown field; did you mean user_id?"}),
        ({"deviceId": "phone"}, {"deviceId": "unknown field; did you mean device_id?"}),
        ({"user": "ann", "token": "t"}, {"user": "unknown field; did you mean user_id?",
                                         "service": "is missing"}),
        ({"tokn": "t"}, {"tokn": "unknown field; did you mean token?",
                         "token": "is missing", "service": "is missing"}),
        ({"user_id": ""}, {"user_id": ID_RULE}),
        ({"user_id": "KaNaRy bird"}, {"user_id": ID_RULE}),
        ({"user_id": "u" * 129}, {"user_id": ID_RULE}),
        ({"user_id": 7}, {"user_id": "must be text, not a number"}),
        ({**ANN, "device_id": "KaNaRy\n"}, {"device_id": ID_RULE}),
        ({**ANN, "title": 5, "titel": 6}, {"title": "must be text, not a number",
                                           "titel": "unknown field; did you mean title?"}),
        ({**ANN, "userid": 6}, {"userid": "unknown field; did you mean user_id?"}),
        ({**PHONE, "device_filter": {"tags": ["a"]}},
         {"device_filter": "give device_id or device_filter, not both"}),
    ],
)  # fmt: skip
def test_a_wrong_user_is_refused_with_the_cure(recipient: Json, errors: Json) -> None:
    found = errors_of({"recipients": [BEN, recipient], "message": "m"})

    assert found == {f"recipients[1].{field}": [words] for field, words in errors.items()}
    assert "KaNaRy" not in str(found)


EMPTY = "is empty; give services, tags, exclude_tags, seen_within_days or leave it out"


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({}, {"": EMPTY}),
        ({"tags": None}, {"": EMPTY}),
        ([], {"": "must be an object, not a list"}),
        ({"tags": []}, {".tags": "must not be empty"}),
        ({"tags": ["a"] * 51}, {".tags": "must hold at most 50"}),
        (
            {"tags": ["a", "", "t" * 65, 4], "exclude_tags": ["\x00"]},
            {
                ".tags[1]": "must not be empty",
                ".tags[2]": "must be at most 64 characters",
                ".tags[3]": "must be text, not a number",
                ".exclude_tags[0]": "must not hold a null character",
            },
        ),
        ({"services": []}, {".services": "must not be empty"}),
        ({"services": "GCM"}, {".services": "must be a list, not text"}),
        ({"services": ["GCM"] * 9}, {".services": "must hold at most 8"}),
        ({"seen_within_days": 0}, {".seen_within_days": "must be at least 1"}),
        ({"seen_within_days": 3_651}, {".seen_within_days": "must be at most 3650"}),
        (
            {"seen_within_days": 1.5},
            {".seen_within_days": "must be a whole number, without a fraction"},
        ),
        ({"KaNaRy bird": 1}, {".(a name not shown)": "unknown field; leave it out"}),
    ],
)
@pytest.mark.parametrize("place", ["device_filter", "recipients[1].device_filter"])
def test_a_wrong_filter_is_refused_with_the_cure(place: str, given: Any, errors: Json) -> None:
    own = {"device_filter": given} if place.startswith("recipients") else {}
    shared = {} if own else {"device_filter": given}
    found = errors_of({"recipients": [ANN, {**BEN, **own}], "message": "m", **shared})

    assert found == {f"{place}{path}": [words] for path, words in errors.items()}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device_filter": {"servces": ["GCM"]}}, "did you mean services?"),
        ({"recipient": {**ANN, "device_filter": {"tag": []}}}, "did you mean tags?"),
        ({"device_filter": {"tag": "a"}}, "did you mean tags?"),
        ({"tags": ["a"]}, "did you mean device_filter.tags?"),
        ({"recipient": {**ANN, "tag": "a"}}, "did you mean device_filter.tags?"),
        ({"user_id": "ann"}, "did you mean recipients[].user_id?"),
        ({"recipient": {**ANN, "device": "phone"}}, "did you mean device_id?"),
    ],
)
def test_a_hint_names_the_fields_of_users(fields: Json, words: str) -> None:
    (found,) = errors_of({"recipient": ANN, "message": "m", **fields}).values()

    assert found == [f"unknown field; {words}"]


def test_each_service_of_a_filter_is_checked() -> None:
    filter_ = {"services": ["GCM", "SMS", 4]}
    found = errors_of({"recipient": ANN, "message": "m", "device_filter": filter_})

    assert found.keys() == {"device_filter.services[1]", "device_filter.services[2]"}
    assert all("must be 'GCM', 'FCM'" in words for (words,) in found.values())


def test_a_filter_without_a_user_is_refused() -> None:
    found = errors_of({"recipient": GCM, "message": "m", "device_filter": {"tags": ["a"]}})

    words = "selects devices of users, and no recipient has a user_id; leave it out"
    assert found == {"device_filter": [words]}


@pytest.mark.parametrize("who", [{}, {"recipients": 5}, {"recipients": [5]}, {"recipient": 5}])
def test_a_malformed_recipient_could_be_the_user_of_a_filter(who: Json) -> None:
    found = errors_of({**who, "message": "m", "device_filter": {"tags": ["a"]}})

    assert ("device_filter" in found) == (not who)


TWICE = "the user is listed at recipients[0] already, with other members; keep one of the two"


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        (ANN, BEN, False),
        (ANN, ANN, False),
        (ANN, {**ANN, "title": None, "device_filter": None}, False),
        (PHONE, PHONE, False),
        (PHONE, {**PHONE, "device_id": "tablet"}, False),
        (PHONE, {**BEN, "device_id": "phone"}, False),
        (ANN, PHONE, True),
        (PHONE, ANN, True),
        (ANN, {**ANN, "title": "other"}, True),
        (PHONE, {**PHONE, "badge": 1}, True),
        (ANN, {**ANN, "device_filter": {"tags": ["a"]}}, True),
        (
            {**ANN, "device_filter": {"tags": ["a"]}},
            {**ANN, "device_filter": {"tags": ["a"], "services": None}},
            False,
        ),
        (
            {**ANN, "device_filter": {"tags": ["a"]}},
            {**ANN, "device_filter": {"tags": ["b"]}},
            True,
        ),
    ],
)
def test_a_user_is_listed_again_only_with_equal_members(
    first: Json, second: Json, refused: bool
) -> None:
    event = {"recipients": [first, second], "message": "m", "apns": NATIVE}

    if refused:
        assert errors_of(event) == {"recipients[1]": [TWICE]}
    else:
        sendable(event)


@pytest.mark.parametrize(
    ("again", "path"),
    [
        ({**ANN, "title": 1}, "recipients[1].title"),
        ({**ANN, "device_filter": {"tags": [1]}}, "recipients[1].device_filter.tags[0]"),
        ({**ANN, "device_filter": {"tag": ["a"]}}, "recipients[1].device_filter.tag"),
        ({**ANN, "device_id": 1}, "recipients[1].device_id"),
    ],
)
def test_a_malformed_member_causes_no_second_error(again: Json, path: str) -> None:
    assert errors_of({"recipients": [ANN, again], "message": "m"}).keys() == {path}


def test_a_rule_of_one_service_refuses_no_user_whom_other_devices_reach() -> None:
    requests: list[Json] = [
        {"message": "m", "ttl": 3_000_000},  # only APNs takes it
        {"message": "m" * 6_000},  # only ADM
        {"gcm": {"raw_content": {"data": {}}}},  # the others lack a text
    ]
    for fields in requests:
        sendable({"recipients": [ANN, BEN], **fields})


def test_a_request_that_no_device_can_get_is_refused_for_each_service() -> None:
    missing = "is missing for {}; give message or title, set silent, or give raw_content"
    too_large = "the payload has 7,000 bytes or more and {} takes {}; shorten it"

    assert errors_of({"recipient": ANN}) == {
        "message": [missing.format(each) for each in ("GCM", "APNS", "BAIDU", "ADM")]
    }
    assert errors_of({"recipient": ANN, "message": "m" * 7_000}) == {
        "message": [
            *(too_large.format(each, "4,096") for each in ("GCM", "APNS", "BAIDU")),
            too_large.format("ADM", "6,144"),
        ]
    }


def test_only_the_services_of_a_filter_are_checked() -> None:
    ttl = {"message": "m", "ttl": 3_000_000}
    android = {"services": ["FCM"]}
    both = {"services": ["APNS", "BAIDU"]}
    words = {"ttl": ["GCM takes 0 to 2,419,200 seconds"]}

    assert errors_of({**ttl, "recipient": ANN, "device_filter": android}) == words
    assert errors_of({**ttl, "recipients": [BEN, {**ANN, "device_filter": android}]}) == words
    sendable({**ttl, "recipient": {**ANN, "device_filter": both}, "device_filter": android})
    # The filter of the request is not for a device that was asked for by its id.
    sendable({**ttl, "recipients": [PHONE], "device_filter": android})


def test_voip_counts_only_if_a_filter_names_it() -> None:
    event = {"recipient": ANN, "message": "m" * 5_000, "adm": {"ttl": 0}}

    assert len(errors_of(event)["message"]) == 3
    sendable({**event, "device_filter": {"services": ["GCM", "APNS_VOIP"]}})


def test_each_user_needs_a_service_not_all_users_the_same() -> None:
    android = {"services": ["GCM"]}
    ios = {"services": ["APNS"]}
    recipients = [{**ANN, "device_filter": android}, {**BEN, "device_filter": ios}]

    sendable({"recipients": recipients, "message": "m"})
    found = errors_of({"recipients": recipients, "message": "m", "ttl": 3_000_000})

    assert found == {"ttl": ["GCM takes 0 to 2,419,200 seconds"]}


def test_a_field_that_no_service_has_a_place_for_is_refused_and_names_the_formats() -> None:
    recipients = [
        {**ANN, "subtitle": "s", "url": "https://example.com"},
        {**BEN, "badge": 1, "device_filter": {"services": ["BAIDU"]}},
    ]

    assert errors_of({"recipients": recipients, "message": "m"}) == {
        "recipients[0].subtitle": ["needs apns.format native"],
        "recipients[0].url": ["needs gcm.format fcm_v1 or apns.format native"],
        "recipients[1].badge": ["has no place in a message of this service; leave it out"],
    }
    sendable({"recipient": recipients[0], "message": "m", "apns": NATIVE})


def test_a_user_without_a_language_may_have_a_device_of_any() -> None:
    german = {"translations": {"de": {"message": "m"}}}

    sendable({"recipients": [ANN, {**BEN, "context": {"a": "b"}}], **german})
    sendable({"recipient": {**ANN, "language": "de-AT"}, **german})
    assert "message" in errors_of({"recipient": {**ANN, "language": "en"}, **german})


def test_the_languages_of_users_with_own_fields_are_looked_at_up_to_a_limit() -> None:
    def check_users(number: int) -> None:
        users = [{"user_id": f"u{n}", "context": {"a": "b"}} for n in range(number)]
        translations = {f"de-{n:04}": {"url": "app://x"} for n in range(99)}
        check({"recipients": users, "translations": translations}, [PROJECT], has_registry=True)

    with pytest.raises(InvalidRequest, match="is missing for GCM"):
        check_users(100)
    check_users(101)  # unfit finds it once the devices are known


def test_token_recipients_beside_users_are_checked_as_ever() -> None:
    found = errors_of({"recipients": [ANN, GCM, {**GCM, "title": "x"}], "message": "m" * 5_000})

    assert found.keys() == {"message", "recipients[2]"}
    assert found["message"] == [
        "the payload has 5,000 bytes or more and GCM takes 4,096; shorten it"
    ]


def devices(request: PushRequest, *services: str, **language: str) -> list[Recipient]:
    (user,) = request.everyone
    assert isinstance(user, UserRecipient)
    return [user.on_device(f"t{n}", service, **language) for n, service in enumerate(services)]


def test_devices_that_can_get_the_message_are_fit() -> None:
    request = sendable({"recipient": {**ANN, "title": "own"}, "message": "m"})

    assert unfit(request, devices(request, *USUAL, "APNS_VOIP"), range(6)) == {}


def test_the_devices_of_a_service_whose_rule_the_message_breaks_are_unfit() -> None:
    request = sendable({"recipient": ANN, "message": "m", "ttl": 1_000_000, "apns": {"ttl": 5}})

    found = unfit(request, devices(request, *USUAL), range(5))

    assert found == {3: Finding("ttl", "BAIDU takes 0 to 604,800 seconds")}


def test_only_the_positions_asked_for_are_looked_at() -> None:
    request = sendable({"recipient": ANN, "message": "m" * 5_000})

    assert unfit(request, devices(request, *USUAL), [1, 4]).keys() == {1}


def test_a_finding_names_the_recipient_who_was_asked_for() -> None:
    event = {"recipients": [BEN, {**ANN, "message": "m" * 5_000}], "message": "m"}
    ben, ann = sendable(event).everyone
    assert isinstance(ben, UserRecipient)
    assert isinstance(ann, UserRecipient)
    resolved = [
        *(ben.on_device(f"b{n}", "GCM") for n in range(3)),
        *(ann.on_device(f"a{n}", service) for n, service in enumerate(("ADM", "GCM", "APNS"))),
    ]

    found = unfit(sendable(event), resolved, range(6), [0, 0, 0, 1, 1, 1])

    words = "the payload has 5,000 bytes or more and {} takes 4,096; shorten it"
    assert found == {
        4: Finding("recipients[1].message", words.format("GCM")),
        5: Finding("recipients[1].message", words.format("APNS")),
    }


def test_a_device_with_a_text_of_its_own_is_fit_where_the_shared_text_is_missing() -> None:
    event = {"recipients": [{**ANN, "title": "own"}, BEN], "gcm": {"title": "t"}}
    ann, ben = sendable(event).everyone
    assert isinstance(ann, UserRecipient)
    assert isinstance(ben, UserRecipient)
    resolved = [ann.on_device("a", "APNS"), ben.on_device("b", "APNS"), ben.on_device("c", "GCM")]

    assert unfit(sendable(event), resolved, range(3), [0, 1, 1]).keys() == {1}


def test_a_device_with_a_short_text_of_its_own_is_fit_where_the_shared_text_is_too_long() -> None:
    event = {"recipients": [{**ANN, "message": "own"}, BEN], "message": "m" * 5_000}
    ann, ben = sendable(event).everyone
    assert isinstance(ann, UserRecipient)
    assert isinstance(ben, UserRecipient)
    resolved = [ann.on_device("a", "GCM"), ben.on_device("b", "GCM")]

    assert unfit(sendable(event), resolved, range(2)).keys() == {1}


def test_the_language_of_a_device_counts() -> None:
    event = {"recipient": ANN, "message": "m", "translations": {"de": {"message": "m" * 5_000}}}
    request = sendable(event)

    german = unfit(request, devices(request, "GCM", language="de"), [0])
    english = unfit(request, devices(request, "GCM", language="en"), [0])

    assert [finding.path for finding in german.values()] == ["translations.de.message"]
    assert english == {}


def test_fields_without_a_place_are_named_for_each_service() -> None:
    own = {"title": "t", "subtitle": "s", "data": {"a": "b"}, "language": "de", "url": None}
    event = {"recipient": {**ANN, **own}, "message": "m", "apns": NATIVE}
    request = sendable(event)

    named = [without_place(request, device) for device in devices(request, *USUAL)]

    assert named == [["data", "subtitle"], [], [], ["data", "subtitle"], ["data", "subtitle"]]


texts = st.sampled_from(["", "m", "m" * 4_500, "m" * 7_000])
urls = st.sampled_from(["https://example.com", "app://place", "javascript:x", "example"])
content: dict[str, st.SearchStrategy[Any]] = {
    "message": texts,
    "ttl": st.sampled_from([0, 60, 1_000_000, 3_000_000]),
    "silent": st.booleans(),
    "url": urls,
    "action": st.sampled_from(["URL", "DEEP_LINK", "OPEN_APP"]),
    "collapse_id": st.sampled_from(["c", "c" * 65]),
    "data": st.sampled_from([{"aps": "x"}, {"from": "x"}, {"k": "v"}]),
}
own_fields = st.fixed_dictionaries(
    {},
    optional={
        **{name: content[name] for name in ("message", "url", "data")},
        "raw_content": st.sampled_from([{"k": "v"}, {"k": "v" * 5_000}]),
        "subtitle": st.just("s"),
        "context": st.just({"from": "x"}),
    },
)
shared_fields = st.fixed_dictionaries(
    {},
    optional={
        **content,
        "gcm": st.fixed_dictionaries({}, optional={**content, "format": st.just("fcm_v1")}),
        "apns": st.fixed_dictionaries({}, optional={**content, "format": st.just("native")}),
        "adm": st.fixed_dictionaries({}, optional=content),
        "baidu": st.fixed_dictionaries({}, optional=content),
    },
)


def is_accepted(event: Json) -> bool:
    try:
        check(event, [PROJECT], has_registry=True)
    except InvalidRequest:
        return False
    return True


@given(
    shared_fields, own_fields, st.none() | st.lists(st.sampled_from(USUAL), min_size=1, max_size=8)
)
@settings(max_examples=300)
def test_a_user_is_refused_exactly_if_a_token_of_each_service_is(
    shared: Json, own: Json, services: list[str] | None
) -> None:
    filter_ = {"device_filter": {"services": services}} if services else {}
    request = PushRequest.model_validate({"recipient": {**ANN, **own}, **shared})
    (user,) = request.everyone
    assert isinstance(user, UserRecipient)
    reachable = set()
    placeless = [set(own)]
    for device in devices(request, *(services or USUAL)):
        names = without_place(request, device)
        placeless.append(set(names))
        token = {name: value for name, value in own.items() if name not in names}
        recipient = {"token": device.token, "service": device.service, **token}
        fits = is_accepted({"recipient": recipient, **shared})
        for name in names:
            setattr(device, name, None)
        assert fits == (unfit(request, [device], [0]) == {})
        if fits:
            reachable.add(device.service)

    accepted = is_accepted({"recipient": {**ANN, **own}, **shared, **filter_})

    assert accepted == (bool(reachable) and not set.intersection(*placeless))
