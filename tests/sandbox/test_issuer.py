"""The sandbox's issuer of tokens, and the command that prints one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from sandbox.__main__ import DEFAULT_PORT, port_of
from sandbox.pinpoint_only import running_pinpoint
from tests.support.http_apis import Answer, Api, HttpApiSandbox, create_function, refused
from tests.support.loopback import refusing_url
from tests.support.paths import REPOSITORY
from tests.support.service_sandbox import running_services
from tests.support.tokens import PATH, USER, token_api

ISSUER = "https://issuer.example/pool/"
DISCOVERY = "/sandbox/issuer/.well-known/openid-configuration"
TOKEN = "/sandbox/issuer/token"


@pytest.fixture(scope="module")
def _issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApiSandbox]:
    with running_services(HttpApiSandbox, tmp_path_factory.mktemp("place")) as sandbox:
        create_function(sandbox)
        yield sandbox


@pytest.fixture
def sandbox(_issuing: HttpApiSandbox) -> Iterator[HttpApiSandbox]:
    """Give a sandbox whose only authorizers are those of the test."""
    yield _issuing.cleared()
    gateway = _issuing.client("apigatewayv2")
    for api in gateway.get_apis()["Items"]:
        gateway.delete_api(ApiId=api["ApiId"])


def ask(
    sandbox: HttpApiSandbox,
    method: str,
    path: str,
    body: Any = None,
    kind: str = "application/json",
) -> Answer:
    connection = HTTPConnection(sandbox.url.removeprefix("http://"), timeout=30)
    connection.request(method, path, json.dumps(body), {"Content-Type": kind})
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, response.read())
    connection.close()
    return answer


def token_of(sandbox: HttpApiSandbox, **order: Any) -> str:
    answer = ask(sandbox, "POST", TOKEN, {"sub": USER, **order})
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["access_token"])


def claims_of(sandbox: HttpApiSandbox, token: str) -> dict[str, Any]:
    """Check a token with the keys that the issuer publishes; give its claims."""
    discovery = json.loads(ask(sandbox, "GET", DISCOVERY).body)
    keys = ask(sandbox, "GET", discovery["jwks_uri"].removeprefix(sandbox.url))
    found = jwt.decode(token, KeySet.import_key_set(json.loads(keys.body)), algorithms=["RS256"])
    return found.claims


def status(api: Api, token: str) -> int:
    return api.ask_with("PUT", PATH, b"", [("Authorization", f"Bearer {token}")]).status


def test_the_issuer_publishes_only_the_public_part_of_its_key(sandbox: HttpApiSandbox) -> None:
    discovery = json.loads(ask(sandbox, "GET", DISCOVERY).body)
    assert discovery["issuer"] == f"{sandbox.url}/sandbox/issuer"

    answer = ask(sandbox, "GET", discovery["jwks_uri"].removeprefix(sandbox.url))

    (key,) = json.loads(answer.body)["keys"]
    assert (key["kty"], key["alg"], key["use"]) == ("RSA", "RS256", "sig")
    assert key.keys() == {"alg", "e", "kid", "kty", "n", "use"}


def test_a_token_is_in_the_name_of_the_deployed_issuer(sandbox: HttpApiSandbox) -> None:
    api = sandbox.api(token_api(ISSUER))

    token = token_of(sandbox)

    claims = claims_of(sandbox, token)
    assert (claims["iss"], claims["sub"], claims["aud"]) == (ISSUER, USER, "app")
    assert claims["exp"] - claims["iat"] == 3600
    assert "scope" not in claims
    assert status(api, token) == 200
    context = sandbox.event()["requestContext"]
    assert context["authorizer"]["jwt"]["claims"]["sub"] == USER


def test_a_token_has_what_was_ordered(sandbox: HttpApiSandbox) -> None:
    api = sandbox.api(token_api(ISSUER, scopes=("push:send",)))
    orders: list[dict[str, Any]] = [
        {"scope": "push:send a", "audience": "other", "expires_in": 60},
        {},
        {"scope": "push:send", "audience": "none"},
        {"scope": "push:send", "expires_in": 0},
        {"scope": "push:send", "issuer": ISSUER},
    ]

    tokens = [token_of(sandbox, **order) for order in orders]

    assert [status(api, token) for token in tokens] == [200, 403, 401, 401, 200]
    claims = claims_of(sandbox, tokens[0])
    assert (claims["scope"], claims["aud"]) == ("push:send a", "other")
    assert claims["exp"] - claims["iat"] == 60


def test_no_token_is_issued_without_an_authorizer(sandbox: HttpApiSandbox) -> None:
    sandbox.api()
    # An issuer at an address of this machine has keys of its own.
    sandbox.api(token_api("http://127.0.0.1:9/issuer"))

    answer = ask(sandbox, "POST", TOKEN, {"sub": USER})

    assert answer.status == 409
    assert json.loads(answer.body)["message"].startswith("No route asks for a token")


def test_the_sandboxs_own_address_is_an_issuer_too(sandbox: HttpApiSandbox) -> None:
    api = sandbox.api(token_api(f"{sandbox.url}/sandbox/issuer"))

    assert status(api, token_of(sandbox)) == 200


def test_an_order_names_one_of_several_issuers(sandbox: HttpApiSandbox) -> None:
    first = sandbox.api(token_api(ISSUER))
    second = sandbox.api(token_api("https://second.example", audience=("b",)))

    assert ask(sandbox, "POST", TOKEN, {"sub": USER}).result == refused(
        409, f"Several issuers are deployed. Name one of them: {ISSUER}, https://second.example"
    )
    assert ask(sandbox, "POST", TOKEN, {"sub": USER, "issuer": "https://third"}).result == refused(
        409, f"No JWT authorizer has this issuer. There are: {ISSUER}, https://second.example"
    )
    tokens = [token_of(sandbox, issuer=each) for each in (ISSUER, "https://second.example")]
    assert [[status(api, each) for each in tokens] for api in (first, second)] == [
        [200, 401],
        [401, 200],
    ]


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "canary", "expires_in": "canary"}, "expires_in"),
        ({"sub": "canary", "expires_in": 10**12}, "expires_in"),
        ({"sub": "canary", "groups": ["canary"]}, "groups"),
        ("canary", "the body"),
    ],
)
def test_an_invalid_order_is_refused_without_its_values(
    sandbox: HttpApiSandbox, order: Any, named: str
) -> None:
    answer = ask(sandbox, "POST", TOKEN, order)

    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith(f"{named}: ")
    assert b"canary" not in answer.body


@pytest.mark.parametrize(
    ("method", "path", "kind", "expected"),
    [
        ("GET", "/sandbox/issuer", "application/json", 404),
        ("GET", TOKEN, "application/json", 404),
        ("POST", DISCOVERY, "application/json", 404),
        ("POST", TOKEN, "text/plain", 415),
    ],
)
def test_the_issuer_answers_nothing_else(
    sandbox: HttpApiSandbox, method: str, path: str, kind: str, expected: int
) -> None:
    assert ask(sandbox, method, path, {"sub": USER}, kind).status == expected


# The command.


def run(url: str, *options: str, **environment: str) -> tuple[int, str, str]:
    port = url.rpartition(":")[2].partition("/")[0]
    named = () if environment else ("--port", port)
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "token", *named, *options],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_prints_a_token_and_nothing_else(sandbox: HttpApiSandbox) -> None:
    sandbox.api(token_api(ISSUER))
    options = ("--scope", "push:send", "--audience", "other", "--expires-in", "60")

    code, printed, problem = run(sandbox.url, "--sub", USER, *options)

    assert (code, problem) == (0, "")
    claims = claims_of(sandbox, printed.removesuffix("\n"))
    assert (claims["iss"], claims["sub"], claims["aud"]) == (ISSUER, USER, "other")
    assert (claims["scope"], claims["exp"] - claims["iat"]) == ("push:send", 60)
    assert claims["iat"] <= time.time()


def test_the_command_takes_the_port_of_the_shells_endpoint(sandbox: HttpApiSandbox) -> None:
    sandbox.api(token_api(ISSUER))

    code, printed, problem = run("", "--sub", USER, AWS_ENDPOINT_URL=sandbox.url)

    assert (code, problem) == (0, "")
    assert claims_of(sandbox, printed.removesuffix("\n"))["sub"] == USER


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://localhost:4590", 4590),
        ("http://[::1]:4590/", 4590),
        ("https://sqs.us-east-1.amazonaws.com:4590", DEFAULT_PORT),
        ("http://127.0.0.1", DEFAULT_PORT),
        ("http://127.0.0.1:port", DEFAULT_PORT),
        ("", DEFAULT_PORT),
    ],
)
def test_only_an_endpoint_of_this_machine_names_the_port(endpoint: str, port: int) -> None:
    assert port_of(endpoint) == port


def test_the_command_passes_on_why_there_is_no_token(sandbox: HttpApiSandbox) -> None:
    code, printed, problem = run(sandbox.url, "--sub", USER)

    assert (code, printed) == (1, "")
    assert problem.startswith("No route asks for a token")


def test_the_command_says_that_no_sandbox_runs() -> None:
    code, printed, problem = run(refusing_url(), "--sub", USER)

    assert (code, printed) == (1, "")
    assert problem.startswith("No sandbox answers on port ")
    assert problem.count("\n") == 1


def test_the_command_says_that_the_inbox_issues_no_tokens() -> None:
    with running_pinpoint() as server:
        code, printed, problem = run(server.url, "--sub", USER)

    assert (code, printed) == (1, "")
    assert "issues no tokens" in problem
    assert problem.count("\n") == 1
