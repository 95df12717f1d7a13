"""Rows of a file as recipients and as registrations: our columns and those of Pinpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from push_sender.devices.registration import Registration
from push_sender.jobs.columns import (
    Invalid,
    Recipients,
    Skipped,
    registration_of,
    unknown_columns,
)
from push_sender.jobs.files import Layout, Row
from push_sender.request.model import MAPS, PERSONAL, PushRequest

TOKEN = {"token": "t", "service": "GCM"}
PINPOINT = {"Address": "t", "ChannelType": "APNS", "OptOut": "NONE", "EndpointStatus": "ACTIVE"}


def row(fields: Mapping[str, str | list[str]]) -> Row:
    return Row(
        1,
        {name: [value] if isinstance(value, str) else value for name, value in fields.items()},
        None,
    )


REQUEST = {"message": "{{a}} {{ b }}", "title": "{{c.d}}"}


def recipient(
    fields: Mapping[str, Any],
    *,
    ignore_opt_out: bool = False,
    request: Mapping[str, Any] = REQUEST,
) -> Any:
    return Recipients(request, ignore_opt_out=ignore_opt_out).of(row(fields))


def registration(fields: Mapping[str, Any], *, ignore_opt_out: bool = False) -> Any:
    return registration_of(row(fields), ignore_opt_out=ignore_opt_out)


def test_every_personal_field_of_a_request_but_raw_content_is_a_column() -> None:
    fields: dict[str, Any] = {
        name: f"{name} of this row" for name in PERSONAL if name not in MAPS
    } | {f"{name}.member": f"{name} of this row" for name in PERSONAL if name in MAPS}
    fields |= {"badge": "5", "language": "de"}

    made = recipient({**TOKEN, **fields})

    assert made.keys() == {*TOKEN, *PERSONAL} - {"raw_content"}
    assert made["badge"] == 5
    assert made["data"] == {"member": "data of this row"}
    assert made["substitutions"] == {"member": ["substitutions of this row"]}
    PushRequest.model_validate({"recipient": made, "message": "m"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (TOKEN, {"token": "t", "service": "GCM"}),
        ({"token": " t ", "service": " FCM"}, {"token": "t", "service": "FCM"}),
        ({"user_id": "u"}, {"user_id": "u"}),
        ({"user_id": "u", "device_id": "d"}, {"user_id": "u", "device_id": "d"}),
        ({"User.UserId": "u", "Id": "d"}, {"user_id": "u", "device_id": "d"}),
        (PINPOINT, {"token": "t", "service": "APNS"}),
        # The token counts: the row is of this one installation.
        ({**PINPOINT, "User.UserId": "u", "Id": "d"}, {"token": "t", "service": "APNS"}),
        ({**PINPOINT, **TOKEN}, {"token": "t", "service": "GCM"}),
        ({**TOKEN, "Demographic.Locale": "en_US"}, {**TOKEN, "language": "en-US"}),
        ({**TOKEN, "Demographic.Locale": "en_US.UTF-8"}, TOKEN),
        ({**TOKEN, "Demographic.Locale": "en_US", "language": "de"}, {**TOKEN, "language": "de"}),
        ({**TOKEN, "title": " a "}, {**TOKEN, "title": " a "}),
        ({**TOKEN, "title": ["a", "a"]}, {**TOKEN, "title": "a"}),
        ({**TOKEN, "badge": "3.0"}, {**TOKEN, "badge": 3}),
        (
            {
                **TOKEN,
                "substitutions.a": "1",
                "Attributes.a": "2",
                "Attributes.b": ["3", "4"],
                "User.UserAttributes.b": "5",
                "User.UserAttributes.c.d": "6",
            },
            {**TOKEN, "substitutions": {"a": ["1"], "b": ["3", "4"], "c.d": ["6"]}},
        ),
        ({**TOKEN, "Metrics.a": "1", "raw_content": "{}", "tags": "x"}, TOKEN),
    ],
)
def test_a_row_becomes_a_recipient(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert recipient(fields) == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"title": "a"}, "no_token"),
        ({"service": "GCM"}, "no_token"),
        ({"token": "t"}, "no_service"),
        ({"token": "t", "service": "gcm"}, "unknown_service"),
        ({"Address": "t", "ChannelType": "PUSH"}, "unknown_service"),
        ({"token": ["t", "u"], "service": "GCM"}, "too_many_values"),
        ({**TOKEN, "title": ["a", "b"]}, "too_many_values"),
        ({**TOKEN, "data.a": ["a", "b"]}, "too_many_values"),
        ({**TOKEN, "badge": "five"}, "badge_not_a_number"),
        ({**TOKEN, "badge": "-1"}, "badge_not_a_number"),
        ({**TOKEN, "badge": "٣"}, "badge_not_a_number"),
        ({**TOKEN, "OptOut": "SOME"}, "unknown_opt_out"),
    ],
)
def test_a_row_that_cannot_be_a_recipient_has_a_reason(fields: dict[str, Any], reason: str) -> None:
    assert recipient(fields) == Invalid(reason)


@pytest.mark.parametrize("make", [recipient, registration])
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"EndpointStatus": "INACTIVE"}, "inactive"),
        *(
            ({"ChannelType": name}, "no_push_channel")
            for name in ("EMAIL", "SMS", "VOICE", "CUSTOM")
        ),
    ],
)
def test_endpoints_that_get_no_push_are_skipped(
    make: Any, changed: dict[str, str], reason: str
) -> None:
    assert make({**PINPOINT, "Id": "d", **changed}, ignore_opt_out=True) == Skipped(reason)


@pytest.mark.parametrize(
    ("fields", "opted_out"),
    [
        *(({"OptOut": value}, True) for value in ("ALL", "all")),
        *(({"opted_out": value}, True) for value in ("true", "TRUE", "yes", "1")),
        *(({"opted_out": value}, False) for value in ("false", "no", "0", " ")),
        ({"OptOut": "NONE"}, False),
        ({"OptOut": "ALL", "opted_out": "false"}, False),
        ({}, False),
    ],
)
def test_an_opt_out_counts_unless_it_is_ignored(fields: dict[str, str], opted_out: bool) -> None:
    fields = {**TOKEN, "Id": "d", **fields}

    assert recipient(fields) == (Skipped("opted_out") if opted_out else TOKEN)
    assert registration(fields) == ("d", {**TOKEN, **({"opted_out": True} if opted_out else {})})
    assert recipient(fields, ignore_opt_out=True) == TOKEN
    assert registration(fields, ignore_opt_out=True) == ("d", TOKEN)


@pytest.mark.parametrize(
    ("request_", "own", "kept"),
    [
        ({"message": "Hello {{ Team }}"}, {}, ["Team"]),
        ({"message": "-", "translations": {"de": {"title": "{{Plan}}"}}}, {}, ["Plan"]),
        ({"apns": {"raw_content": '{"aps": {"alert": "{{Team}}{{Plan}}"}}'}}, {}, ["Plan", "Team"]),
        ({"message": "-"}, {}, []),
        # Texts and data of the row itself may use any variable.
        ({"message": "-"}, {"title": "{{Team}}"}, ["Name \\", "Plan", "Team"]),
        ({"message": "-"}, {"data.x": "{{Team}}"}, ["Name \\", "Plan", "Team"]),
        # A payload can write any letter as an escape.
        ({"gcm": {"raw_content": '"\\u0054eam"'}}, {}, ["Name \\", "Plan", "Team"]),
    ],
)
def test_only_the_variables_that_a_message_may_use_are_sent(
    request_: dict[str, Any], own: dict[str, str], kept: list[str]
) -> None:
    variables = {"Attributes.Plan": "gold", "User.UserAttributes.Team": "red"}
    if len(kept) == 3:
        variables["Attributes.Name \\"] = "n"
    fields = {**TOKEN, **variables, **own}
    columns = [*fields, "Metrics.a", "EffectiveDate"]

    made = recipient(fields, request=request_)
    used = Recipients(request_, ignore_opt_out=False).used(columns)

    assert sorted(made.get("substitutions", {})) == kept
    assert [*filter(None, used)] == [
        name
        for name in fields
        if name not in variables or name.rpartition("Attributes.")[2] in kept
    ]
    assert len(used) == len(columns)
    assert recipient({name: fields[name] for name in used if name}, request=request_) == made


def test_a_row_that_cannot_be_read_keeps_its_reason() -> None:
    unread = Row(7, None, "not_utf8")

    assert Recipients({}, ignore_opt_out=False).of(unread) == Invalid("not_utf8")
    assert registration_of(unread, ignore_opt_out=False) == Invalid("not_utf8")


def test_an_exported_endpoint_becomes_a_registration() -> None:
    endpoint = {
        **PINPOINT,
        "Id": "d",
        "User.UserId": "u",
        "Demographic.Locale": "en_US",
        "Demographic.Timezone": "Europe/Berlin",
        "Demographic.AppVersion": "7.1",
        "Demographic.Model": "iPhone",
        "EffectiveDate": "2026-01-01T00:00:00Z",
        "Attributes.team": ["red", "blue"],
        "User.UserAttributes.team": "green",
        "User.UserAttributes.plan": "gold",
        "Metrics.age": "3.0",
    }

    device_id, body = registration(endpoint)

    assert device_id == "d"
    assert body == {
        "token": "t",
        "service": "APNS",
        "user_id": "u",
        "language": "en-US",
        "time_zone": "Europe/Berlin",
        "app_version": "7.1",
        "attributes": {"team": "red, blue", "plan": "gold"},
    }
    Registration.read(body)


def test_our_columns_become_a_registration() -> None:
    members = {"language": "de", "time_zone": "Europe/Vienna", "app_version": "7", "user_id": "u"}
    fields = {**TOKEN, **members, "device_id": "d", "tags": ["a", "b"], "attributes.plan": "gold"}

    device_id, body = registration({**fields, "opted_out": "true"})

    assert device_id == "d"
    assert body == {
        **TOKEN,
        **members,
        "tags": ["a", "b"],
        "attributes": {"plan": "gold"},
        "opted_out": True,
    }
    assert body.keys() == Registration.model_fields.keys()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [(TOKEN, "no_device_id"), ({"Id": "d"}, "no_token"), ({"Id": "d", "user_id": "u"}, "no_token")],
)
def test_a_registration_needs_a_device_and_a_token(fields: dict[str, str], reason: str) -> None:
    assert registration(fields) == Invalid(reason)


def test_unknown_columns_are_named_unless_they_could_be_content() -> None:
    columns = (
        "token",
        "titel",
        "",
        "Metrics.a",
        "tags",
        "Location.City",
        "CohortId",
        "an e-mail",
        "x.y",
    )
    layout = Layout("csv", ",", columns, 0)
    first_rows = [
        row({"titel": "a", "data.x": "b"}),
        row({"attributes.x": "a"}),
        Row(3, None, "nul"),
    ]

    named = ["titel", "tags", "(a name not shown)", "x.y", "attributes.x"]
    assert unknown_columns(layout, first_rows, "send") == named
    named = ["titel", "(a name not shown)", "x.y", "data.x"]
    assert unknown_columns(layout, first_rows, "register_devices") == named
