"""The OpenAPI document: served, kept in docs/, and whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not among the requirements
import openapi_spec_validator
import pytest

from infra import devices, http_api
from push_sender.entry_points.openapi import document
from push_sender.entry_points.problems import DEVICE_KINDS, KINDS
from tests.support.api_gateway import Answer, Http, event
from tests.support.devices import ANDROID, IOS, Registry
from tests.support.dynamodb import refusing
from tests.support.invocation import Push
from tests.support.paths import REPOSITORY

COPY = REPOSITORY / "docs" / "openapi.json"


def test_the_copy_in_docs_is_a_snapshot_of_the_document() -> None:
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOT"):
        COPY.write_text(text)

    assert COPY.read_text() == text, "`make snapshot` writes it anew, for review"


def test_the_document_is_served(push: Push) -> None:
    answer = Http(push).ask(event(method="GET", path="/openapi.json", content_type=None))

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == document()


def test_the_document_is_valid() -> None:
    openapi_spec_validator.validate(document())


def operations() -> dict[str, Any]:
    """Give each operation by the key of its route."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_has_the_routes_of_the_stack_with_their_access() -> None:
    signed = (*http_api.ROUTES, *devices.REGISTER, *devices.READ, *devices.ERASE)
    routes: dict[str, Any] = {
        f"{method.value} {path}": access
        for group, access in (
            (signed, [{"sigv4": []}]),
            (devices.MY_DEVICE, [{"jwt": []}]),
            (http_api.JWT_ROUTES, [{"jwt": [http_api.SCOPE]}]),
        )
        for method, path in group
    }

    default = document()["security"]
    described = {key: each.get("security", default) for key, each in operations().items()}
    assert described == routes


def test_every_field_has_a_description() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document()["components"]["schemas"].items()
        for field, about in schema.get("properties", {}).items()
        if name not in ("Problem", "Remark", "GatewayError") and "description" not in about
    ]

    assert silent == []


def test_every_reference_resolves_and_every_schema_is_used() -> None:
    used = {reference.rpartition("/")[2] for reference in references(document())}

    assert used == document()["components"]["schemas"].keys()


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        *((route, kind) for route in ("/messages", "/jwt/messages") for kind in KINDS),
        *(("/devices/{device_id}", kind) for kind in DEVICE_KINDS),
        *(("/my/devices/{device_id}", kind) for kind in DEVICE_KINDS),
    ],
)
def test_every_problem_type_is_among_the_answers(route: str, kind: Any) -> None:
    path = document()["paths"][route]
    (answer, *_) = [
        answer
        for operation in path.values()
        for status, answer in operation["responses"].items()
        if status == str(kind.status.value) and kind.type in answer["description"]
    ]

    assert "application/problem+json" in answer["content"]


def check_answer(route: str, answer: Answer) -> None:
    """Check that an answer is among those of its route, with the body and headers described."""
    described = operations()[route]["responses"][str(answer.status)]
    if answer.body is None:
        assert "content" not in described
        return
    schema = described["content"][answer.headers["content-type"]]["schema"]
    jsonschema.validate(answer.body, {**schema, "components": document()["components"]})
    assert ("retry-after" in answer.headers) == ("Retry-After" in described.get("headers", {}))
    if answer.status >= 400:
        assert answer.body["type"] in described["description"]


BY_DEVICE = "{} /devices/{{device_id}}"
MINE = "{} /my/devices/{{device_id}}"
OF_USER = "GET /users/{user_id}/devices"
ERASE = "DELETE /users/{user_id}"


def test_every_answer_of_the_registry_is_described(registry: Registry) -> None:
    full = {**ANDROID, "user_id": "u", "tags": ["beta"], "attributes": {"plan": "gold"}}
    app = {"device_id": "app", "sub": "u"}
    calls: list[tuple[str, Any, dict[str, Any], int]] = [
        (BY_DEVICE.format("PUT"), IOS, {"device_id": "d"}, 201),
        (BY_DEVICE.format("PUT"), full, {"device_id": "d"}, 200),
        (BY_DEVICE.format("PUT"), {}, {"device_id": "d"}, 400),
        (BY_DEVICE.format("PUT"), IOS, {"device_id": "d", "project": "0" * 32}, 403),
        (BY_DEVICE.format("GET"), None, {"device_id": "d"}, 200),
        (BY_DEVICE.format("GET"), None, {"device_id": "not an id"}, 400),
        (BY_DEVICE.format("GET"), None, {"device_id": "other"}, 404),
        (OF_USER, None, {"user_id": "u"}, 200),
        (OF_USER, None, {"user_id": "not an id"}, 400),
        (MINE.format("PUT"), IOS, app, 201),
        (MINE.format("PUT"), IOS, app, 200),
        (MINE.format("PUT"), full, app, 400),
        (MINE.format("DELETE"), None, {**app, "sub": "other"}, 404),
        (MINE.format("DELETE"), None, app, 204),
        (BY_DEVICE.format("DELETE"), None, {"device_id": "d"}, 204),
        (BY_DEVICE.format("DELETE"), None, {"device_id": "d"}, 404),
        (ERASE, None, {"user_id": "u"}, 204),
    ]
    for route, body, parameters, status in calls:
        answer = registry.ask(route, body, **parameters)

        assert answer.status == status
        check_answer(route, answer)


def test_an_unreachable_registry_is_described(registry: Registry) -> None:
    registry.table.answer = lambda *_: refusing(400, "AccessDeniedException")

    answer = registry.put("d", IOS)

    assert answer.status == 503
    check_answer(BY_DEVICE.format("PUT"), answer)


def test_an_app_can_set_all_but_what_the_function_refuses(registry: Registry) -> None:
    schemas = document()["components"]["schemas"]
    members = schemas["Registration"]["properties"].keys()

    refused = registry.ask(
        MINE.format("PUT"), {**IOS, **dict.fromkeys(members - IOS.keys())}, device_id="d", sub="u"
    )

    assert members - set(refused.paths) == schemas["MyRegistration"]["properties"].keys()


def test_a_member_of_a_registration_has_no_default() -> None:
    # Clients would send it, and null removes the value.
    for name in ("Registration", "MyRegistration"):
        fields = document()["components"]["schemas"][name]["properties"].values()
        assert not [field for field in fields if "default" in field]


def test_the_schemas_refuse_unknown_fields() -> None:
    schemas = document()["components"]["schemas"]
    parts = (
        *("PushRequest", "Recipient", "GcmContent", "ApnsContent", "BaiduContent", "AdmContent"),
        *("Registration", "MyRegistration"),
    )

    assert [schemas[name]["additionalProperties"] for name in parts] == [False] * len(parts)
