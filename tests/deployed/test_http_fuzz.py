"""Schemathesis against the deployed HTTP API: malicious requests, and its document.

A few hundred cases here; ``make fuzz`` runs 5,000 for the messages, the messages with a JWT and the
devices each, different ones each time.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sandbox.issuer.client import fetch_token
from sandbox.running import running_sandbox
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import FAST
from tests.support.paths import REPOSITORY
from tests.support.signing import SignedBySandbox

CASES = int(os.environ.get("FUZZ_CASES", "36"))
DOCUMENT: dict[str, Any] = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())

PROMISES = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


def share_of_cases(parts: int) -> settings:
    """Run a part of the cases. Each run of make fuzz looks elsewhere, a test does not."""
    return settings(
        max_examples=-(-CASES // parts),
        database=None,
        derandomize="FUZZ_CASES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with running_sandbox(context=FAST) as running:
        yield running.deployment


def sendable() -> dict[str, Any]:
    """Narrow the document down to requests of which many can be sent."""
    narrowed = copy.deepcopy(DOCUMENT)
    schemas = narrowed["components"]["schemas"]
    request = schemas["PushRequest"]
    request["required"] = ["recipients", "message"]
    request["properties"]["message"] = {"type": "string", "minLength": 1, "maxLength": 100}
    request["properties"]["recipients"] = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Recipient"},
        "minItems": 1,
        "maxItems": 5,
    }
    for name in (
        *("recipient", "application_id", "url", "action", "ttl", "data", "context"),
        *("translations", "device_filter"),
    ):
        del request["properties"][name]
    for name in (
        *("raw_content", "context", "substitutions"),
        # These need a format of their own, or a tag of a language.
        *("url", "image_url", "data", "badge", "subtitle", "language"),
    ):
        del schemas["Recipient"]["properties"][name]
    for service in ("gcm", "apns", "baidu", "adm"):
        del request["properties"][service]
    return narrowed


@pytest.mark.parametrize(
    ("document", "mode"),
    [
        (DOCUMENT, GenerationMode.POSITIVE),
        (DOCUMENT, GenerationMode.NEGATIVE),
        (sendable(), GenerationMode.POSITIVE),
    ],
    ids=["what the document allows", "what it does not allow", "what can be sent"],
)
def test_the_http_entry_point_conforms_to_its_document(
    deployment: Deployment,
    document: dict[str, Any],
    mode: GenerationMode,
    capsys: pytest.CaptureFixture[str],
) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=False)
    operation = schema["/messages"]["POST"]
    statuses: Counter[int] = Counter()
    session = requests.Session()

    @share_of_cases(3)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        calls = service_calls(deployment)
        response = case.call(
            deployment.outputs["ApiUrl"], session=session, auth=SignedBySandbox(), timeout=60
        )
        statuses[response.status_code] += 1
        if statuses.total() % 250 == 0:
            with capsys.disabled():
                result = f"\n  {statuses.total():,} of {CASES // 3:,}: {dict(statuses)}"
                sys.stderr.write(result)
        assert response.status_code < 500, response.text
        checks = [negative_data_rejection] if mode is GenerationMode.NEGATIVE else []
        case.validate_response(response, checks=[*PROMISES, *checks])
        if response.status_code not in (200, 202):
            assert service_calls(deployment) == calls, "an invalid request was sent"

    ask()

    assert statuses.total() >= CASES // 3
    if document is not DOCUMENT:
        assert statuses[200] > statuses.total() // 4, "too little was sent to tell anything"


# With a signature, and with a JWT.
OPERATIONS = {
    "devices": [
        ("/devices/{device_id}", "PUT"),
        ("/devices/{device_id}", "GET"),
        ("/devices/{device_id}", "DELETE"),
        ("/users/{user_id}/devices", "GET"),
        ("/users/{user_id}", "DELETE"),
        ("/my/devices/{device_id}", "PUT"),
        ("/my/devices/{device_id}", "DELETE"),
    ],
    "messages with a JWT": [("/jwt/messages", "POST")],
}


def of_the_default_project() -> dict[str, Any]:
    """Leave out the parameter that almost any value makes a project of others."""
    narrowed = copy.deepcopy(DOCUMENT)
    for path in narrowed["paths"].values():
        for operation in path.values():
            operation["parameters"] = [
                each for each in operation.get("parameters", []) if each["name"] != "application_id"
            ]
    return narrowed


class WithJwt(requests.auth.AuthBase):
    """Adds a JWT of the sandbox's issuer to the requests of ``requests``."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("routes", OPERATIONS)
def test_the_other_routes_conform_to_their_document(
    deployment: Deployment, routes: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(
        of_the_default_project() if mode is GenerationMode.POSITIVE else DOCUMENT
    )
    schema.config.generation.update(with_security_parameters=False)
    strategies = [
        schema[path][method].as_strategy(generation_mode=mode)
        for path, method in OPERATIONS[routes]
    ]
    order = {"sub": "u-1", "scope": "push:send"}
    signature = SignedBySandbox()
    jwt = WithJwt(fetch_token(int(deployment.url.rpartition(":")[2]), order))
    statuses: Counter[int] = Counter()
    session = requests.Session()

    @share_of_cases(2)
    @given(case=st.one_of(strategies))
    def ask(case: schemathesis.Case[Any]) -> None:
        auth = jwt if case.path.startswith(("/my/", "/jwt/")) else signature
        response = case.call(deployment.outputs["ApiUrl"], session=session, auth=auth, timeout=60)
        statuses[response.status_code] += 1
        assert response.status_code < 500, response.text
        if response.status_code == 403:
            assert response.json()["type"].endswith(":project-not-allowed")
        case.validate_response(response, checks=PROMISES)

    ask()

    assert statuses.total() >= CASES // 2
    assert not {401, 429} & statuses.keys()
    if (routes, mode) == ("devices", GenerationMode.POSITIVE):
        changed = statuses[200] + statuses[201] + statuses[204]
        assert changed > statuses.total() // 4, "too little was changed to tell anything"


def service_calls(deployment: Deployment) -> dict[str, int]:
    """Count the SendMessages calls so far, by their status."""
    with urllib.request.urlopen(f"{deployment.url}/sandbox/messages?limit=0") as answer:  # noqa: S310  loopback
        counted: dict[str, int] = json.loads(answer.read())["calls"]
    return counted
