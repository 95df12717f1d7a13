"""The OpenAPI document: served, kept in docs/, and whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from push_sender.entry_points.openapi import document
from push_sender.entry_points.problems import KINDS
from tests.support.api_gateway import Http, event
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


@pytest.mark.parametrize("kind", KINDS)
def test_every_problem_type_is_among_the_answers(kind: Any) -> None:
    answer = document()["paths"]["/messages"]["post"]["responses"][str(kind.status.value)]

    assert "application/problem+json" in answer["content"]
    assert kind.type in answer["description"]


def test_the_schemas_refuse_unknown_fields() -> None:
    schemas = document()["components"]["schemas"]
    parts = ("PushRequest", "Recipient", "GcmContent", "ApnsContent", "BaiduContent", "AdmContent")

    assert [schemas[name]["additionalProperties"] for name in parts] == [False] * len(parts)
