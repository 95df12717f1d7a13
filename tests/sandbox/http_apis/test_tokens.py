"""HTTP APIs in the sandbox: routes that ask for a token (JWT)."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.support.http_apis import (
    FORBIDDEN,
    Answer,
    Api,
    HttpApiSandbox,
    changed,
    refused,
)
from tests.support.loopback import Reply
from tests.support.templates import resource
from tests.support.tokens import (
    DISCOVERY,
    PATH,
    ROUTE,
    USER,
    Issuer,
    running_issuer,
    token_api,
)

UNAUTHORIZED = refused(401, "Unauthorized")


@pytest.fixture(scope="module")
def _issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(_issuer: Issuer) -> Issuer:
    """Give an issuer that publishes its key."""
    _issuer.publish(_issuer.key)
    return _issuer


@pytest.fixture(scope="module")
def _apps(_running: HttpApiSandbox, _issuer: Issuer) -> Api:
    return _running.api(token_api(_issuer.url))


@pytest.fixture
def apps(_apps: Api, sandbox: HttpApiSandbox) -> Api:
    """Give an API whose only route asks for the issuer's tokens."""
    return _apps


def ask(api: Api, authorization: str) -> Answer:
    return api.ask_with("PUT", PATH, b"", [("Authorization", authorization)])


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def segments(*members: Any) -> str:
    """Make the first parts of a token, as no library would."""
    return ".".join(encoded(json.dumps(each).encode()) for each in members)


# Accepted tokens.


@pytest.mark.parametrize("form", ["Bearer {}", "{}", "Bearer  {} "])
def test_a_token_is_accepted_with_and_without_bearer(
    sandbox: HttpApiSandbox, apps: Api, issuer: Issuer, form: str
) -> None:
    assert ask(apps, form.format(issuer.token())).status == 200


def test_a_function_gets_the_claims_as_text(
    sandbox: HttpApiSandbox, apps: Api, issuer: Issuer
) -> None:
    token = issuer.token(
        iat=1_700_000_000,
        exp=4_000_000_000,
        aud=["none", "other"],
        groups=["admin", 7, True],
        verified=True,
        ratio=0.5,
        nested={"a": "ü"},
        nickname=None,
        scope="a b",
    )

    answer = ask(apps, f"Bearer {token}")

    assert answer.status == 200
    event = sandbox.event()
    assert event["pathParameters"] == {"device_id": "d1"}
    assert event["requestContext"]["authorizer"] == {
        "jwt": {
            "claims": {
                "iss": issuer.url,
                "sub": USER,
                "iat": "1700000000",
                "exp": "4000000000",
                "aud": "[none other]",
                "groups": "[admin 7 true]",
                "verified": "true",
                "ratio": "0.5",
                "nested": '{"a": "ü"}',
                "scope": "a b",
            },
            "scopes": None,
        }
    }


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_each_rsa_signature_is_accepted(apps: Api, issuer: Issuer, algorithm: str) -> None:
    assert ask(apps, issuer.token(header={"alg": algorithm})).status == 200


def test_members_that_a_provider_adds_to_the_header_are_accepted(apps: Api, issuer: Issuer) -> None:
    assert ask(apps, issuer.token(header={"nonce": "a", "x5t": "b"})).status == 200


def test_client_id_counts_where_there_is_no_aud(apps: Api, issuer: Issuer) -> None:
    answers = [
        ask(apps, issuer.token(**claims)).status
        for claims in (
            {"aud": None, "client_id": "other"},
            {"aud": None, "client_id": "none"},
            {"aud": "none", "client_id": "other"},
            {"aud": [], "client_id": "other"},
        )
    ]

    assert answers == [200, 401, 401, 401]


def test_the_times_of_a_token_are_compared_with_the_present(
    sandbox: HttpApiSandbox, apps: Api, issuer: Issuer
) -> None:
    now = int(time.time())
    sandbox.clock.stopped_at = float(now)
    claims: list[dict[str, Any]] = [
        {"exp": now + 1},
        {"exp": now},
        {"nbf": now},
        {"nbf": now + 1},
        {"iat": now},
        {"iat": now + 1},
    ]

    answers = [ask(apps, issuer.token(**{"iat": now, **each})).status for each in claims]

    assert answers == [200, 401, 200, 401, 200, 401]


# Refused tokens.


def of_another_key(issuer: Issuer) -> str:
    return issuer.token(RSAKey.generate_key(2048))


def unsigned(issuer: Issuer) -> str:
    payload = issuer.token().split(".")[1]
    return f"{segments({'alg': 'none', 'kid': issuer.key.kid})}.{payload}."


def signed_with_the_public_key_as_a_secret(issuer: Issuer) -> str:
    payload = issuer.token().split(".")[1]
    signed = f"{segments({'alg': 'HS256', 'kid': issuer.key.kid})}.{payload}"
    secret = issuer.key.as_pem(private=False)
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def with_changed_claims(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    _, payload, _ = issuer.token(sub="another").split(".")
    return f"{header}.{payload}.{signature}"


WRONG_SIGNATURE = "the signature is wrong"
NO_RSA = "the signing method is not RS256, RS384 or RS512"
NO_KEY = "the issuer has no key with the token's kid"
NO_JWT = "the token is no valid JWT"
TOO_LARGE = "the token is too large"
NOT_YET = "the token is not yet valid, or has no valid nbf"
EXPIRED = "the token has expired, or has no valid exp"
ISSUED_LATER = "the token was issued in the future, or has no valid iat"
OF_ANOTHER_ISSUER = "the token does not have the issuer of the authorizer"
FOR_ANOTHER = "the token does not have a valid audience"

REFUSED: list[tuple[Any, str]] = [
    (of_another_key, WRONG_SIGNATURE),
    (with_changed_claims, WRONG_SIGNATURE),
    (lambda issuer: issuer.token().rpartition(".")[0] + ".", WRONG_SIGNATURE),
    (lambda issuer: issuer.token() + "!", WRONG_SIGNATURE),
    (unsigned, NO_RSA),
    (signed_with_the_public_key_as_a_secret, NO_RSA),
    (lambda issuer: issuer.token(header={"alg": "PS256"}), NO_RSA),
    (lambda issuer: issuer.token(ECKey.generate_key("P-256"), header={"alg": "ES256"}), NO_RSA),
    (lambda issuer: issuer.token(header={"kid": "another"}), NO_KEY),
    (lambda issuer: issuer.token(header={"kid": None}), NO_KEY),
    (lambda issuer: issuer.token(exp=int(time.time()) - 60), EXPIRED),
    (lambda issuer: issuer.token(exp=None), EXPIRED),
    (lambda issuer: issuer.token(exp="4000000000"), EXPIRED),
    (lambda issuer: issuer.token(exp=float("nan")), EXPIRED),
    (lambda issuer: issuer.token(nbf=int(time.time()) + 60), NOT_YET),
    (lambda issuer: issuer.token(iat=int(time.time()) + 60), ISSUED_LATER),
    (lambda issuer: issuer.token(iss="https://issuer.example"), OF_ANOTHER_ISSUER),
    (lambda issuer: issuer.token(iss=f"{issuer.url}/"), OF_ANOTHER_ISSUER),
    (lambda issuer: issuer.token(iss=None), OF_ANOTHER_ISSUER),
    (lambda issuer: issuer.token(aud="none"), FOR_ANOTHER),
    (lambda issuer: issuer.token(aud=["none", "more"]), FOR_ANOTHER),
    (lambda issuer: issuer.token(aud=None), FOR_ANOTHER),
    (lambda issuer: issuer.token(aud={"app": True}), FOR_ANOTHER),
    (lambda issuer: issuer.token(sub=7), "the token does not have a valid sub"),
    (lambda issuer: issuer.token(jti=7), "the token does not have a valid jti"),
    (lambda issuer: issuer.token(header={"more": "x" * 500}), TOO_LARGE),
    (lambda _: "garbage", NO_JWT),
    (lambda _: "a.b.c", NO_JWT),
    (lambda _: "....", NO_JWT),
    (lambda _: "\xc3\xa4.\xff.x", NO_JWT),
    (lambda _: "[" * 5_000, NO_JWT),
    (lambda _: segments({"alg": "RS256"}) + ".e30.x", NO_KEY),
    (lambda _: segments({"alg": ["RS256"]}) + ".e30.x", NO_JWT),
    (lambda _: segments({"alg": "RS256", "kid": {}}) + ".e30.x", NO_JWT),
    (lambda _: segments(["alg"]) + ".e30.x", NO_JWT),
    (lambda _: segments({"alg": "RS256", "crit": 5}) + ".e30.x", NO_JWT),
    (lambda issuer: f"bearer {issuer.token()}", NO_JWT),
    (lambda issuer: f"Basic {issuer.token()}", NO_JWT),
    (lambda issuer: f"{issuer.token()},{issuer.token()}", NO_JWT),
]


@pytest.mark.parametrize(("make", "problem"), REFUSED)
def test_a_bad_token_is_unauthorized(
    sandbox: HttpApiSandbox, apps: Api, issuer: Issuer, make: Any, problem: str
) -> None:
    answer = ask(apps, f"Bearer {make(issuer)}")

    assert answer.result == UNAUTHORIZED
    assert answer.headers["www-authenticate"] == (
        f'Bearer scope="" error="invalid_token" error_description="{problem}"'
    )
    assert not sandbox.invocations()


@pytest.mark.parametrize("lines", [[], [("Authorization", "")], [("Authorization", "Bearer ")]])
def test_a_missing_token_is_unauthorized(
    sandbox: HttpApiSandbox, apps: Api, lines: list[tuple[str, str]]
) -> None:
    answer = apps.ask_with("PUT", PATH, b"", lines)

    assert (answer.result, answer.headers["www-authenticate"]) == (UNAUTHORIZED, "Bearer")
    assert not sandbox.invocations()


def test_a_token_in_the_query_does_not_count(apps: Api, issuer: Issuer) -> None:
    path = f"{PATH}?access_token={issuer.token()}&Authorization={issuer.token()}"

    assert apps.ask_with("PUT", path, b"", []).result == UNAUTHORIZED


def test_a_signature_of_aws_is_no_token(apps: Api) -> None:
    assert apps.ask("PUT", PATH).result == UNAUTHORIZED


def test_a_header_of_more_than_64_kib_is_no_request(
    sandbox: HttpApiSandbox, apps: Api, issuer: Issuer
) -> None:
    assert ask(apps, issuer.token(more="x" * 70_000)).status == 431
    assert not sandbox.invocations()


# Scopes.


@pytest.fixture(scope="module")
def scoped(_running: HttpApiSandbox, _issuer: Issuer) -> Api:
    return _running.api(token_api(_issuer.url, scopes=("push:send", "push:all")))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "push:send"}, ["push:send"]),
        ({"scope": "a push:all"}, ["a", "push:all"]),
        ({"scope": ["a", "push:send"]}, ["a", "push:send"]),
        ({"scp": ["push:send"]}, ["push:send"]),
        ({"scp": "a push:send"}, ["a", "push:send"]),
        ({"scope": "a", "scp": ["push:send"]}, None),
        ({"scope": "push:sender push"}, None),
        ({"scope": "PUSH:SEND"}, None),
        ({"scope": {"push:send": True}}, None),
        ({"scope": ""}, None),
        ({}, None),
    ],
)
def test_a_token_must_have_one_scope_of_the_route(
    sandbox: HttpApiSandbox,
    scoped: Api,
    issuer: Issuer,
    claims: dict[str, Any],
    scopes: list[str] | None,
) -> None:
    answer = ask(scoped, issuer.token(**claims))

    if scopes is not None:
        assert answer.status == 200
        assert sandbox.event()["requestContext"]["authorizer"]["jwt"]["scopes"] == scopes
    else:
        assert answer.result == FORBIDDEN
        assert answer.headers["www-authenticate"] == (
            'Bearer scope="push:send push:all" error="insufficient_scope"'
            ' error_description="the token has none of the scopes of the route"'
        )
        assert not sandbox.invocations()


def test_a_bad_token_is_unauthorized_whatever_its_scopes(scoped: Api, issuer: Issuer) -> None:
    expired = issuer.token(exp=1, scope="push:send")

    assert ask(scoped, expired).result == UNAUTHORIZED


# The issuer's keys.


def test_a_new_key_of_the_issuer_counts_at_once(apps: Api, issuer: Issuer) -> None:
    new = RSAKey.generate_key(2048, auto_kid=True)
    token = issuer.token(new, header={"kid": new.kid})

    before = ask(apps, token).status
    issuer.publish(issuer.key, new)
    both = (ask(apps, token).status, ask(apps, issuer.token()).status)
    issuer.publish(new)
    after = ask(apps, issuer.token()).status

    assert (before, both, after) == (401, (200, 200), 401)


def test_the_address_of_the_keys_may_have_a_query(apps: Api, issuer: Issuer) -> None:
    issuer.pages["/keys?of=apps"] = issuer.pages.pop("/keys")
    location = {"jwks_uri": f"{issuer.url}/keys?of=apps"}
    issuer.pages[DISCOVERY] = Reply(body=json.dumps(location).encode())

    assert ask(apps, issuer.token()).status == 200


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        ({}, "the answer has status 404"),
        ({DISCOVERY: Reply(body=b"<html>")}, "no answer (JSONDecodeError)"),
        ({DISCOVERY: Reply(body=b"[1]")}, "the answer is no JSON object"),
        ({DISCOVERY: Reply(body=b"[" * 100_000)}, "no answer ("),
        ({DISCOVERY: Reply(cut_off=True)}, "no answer (RemoteDisconnected)"),
        (
            {DISCOVERY: Reply(302, headers={"Location": "/keys"}), "/keys": Reply()},
            "the answer has status 302",
        ),
        (
            {DISCOVERY: Reply(body=b"{}")},
            "jwks_uri is no plain HTTP address of this machine",
        ),
        (
            {DISCOVERY: Reply(body=b'{"jwks_uri": "https://issuer.example/keys"}')},
            "jwks_uri is no plain HTTP address of this machine",
        ),
        (
            {DISCOVERY: Reply(body=b'{"jwks_uri": "http://issuer.example/keys"}')},
            "jwks_uri is no plain HTTP address of this machine",
        ),
        (
            {DISCOVERY: Reply(body=b'{"jwks_uri": "http://[1"}')},
            "jwks_uri is no plain HTTP address of this machine",
        ),
        (
            {DISCOVERY: Reply(body=b'{"jwks_uri": "http://127.0.0.1:1/keys"}')},
            "no answer (ConnectionRefusedError)",
        ),
        (
            {DISCOVERY: Reply(body=b'{"jwks_uri": "http://127.0.0.1:no/keys"}')},
            "no answer (ValueError)",
        ),
    ],
)
def test_an_issuer_without_keys_makes_every_token_bad(
    sandbox: HttpApiSandbox, apps: Api, issuer: Issuer, pages: dict[str, Reply], problem: str
) -> None:
    issuer.pages.clear()
    issuer.pages.update(pages)

    answer = ask(apps, issuer.token())

    assert answer.result == UNAUTHORIZED
    assert f": {problem}" in answer.headers["www-authenticate"]
    assert not sandbox.invocations()


@pytest.mark.parametrize(
    "keys", [b"{}", b'{"keys": []}', b'{"keys": 1}', b'{"keys": [{"kty": "RSA"}]}', b'{"keys":[1]}']
)
def test_an_issuer_with_unusable_keys_makes_every_token_bad(
    apps: Api, issuer: Issuer, keys: bytes
) -> None:
    issuer.pages["/keys"] = Reply(body=keys)

    answer = ask(apps, issuer.token())

    assert answer.result == UNAUTHORIZED
    assert "jwks_uri has no set of keys" in answer.headers["www-authenticate"]


# Tokens stay out of logs.


def test_no_token_and_no_user_reaches_a_log(
    sandbox: HttpApiSandbox,
    apps: Api,
    issuer: Issuer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, bad = issuer.token(), of_another_key(issuer)
    before = len(sandbox.log(apps))
    ask(apps, good)
    ask(apps, bad)

    lines = sandbox.log(apps)[before:]

    assert [json.loads(line)["denial"] for line in lines] == ["-", WRONG_SIGNATURE]
    said = "".join((*lines, *capfd.readouterr(), caplog.text, *sandbox.functions.logs("answers")))
    for secret in (*good.split("."), *bad.split("."), USER):
        assert secret not in said


def test_the_access_log_can_have_claims(sandbox: HttpApiSandbox, issuer: Issuer) -> None:
    resources = token_api(issuer.url)
    names = ("requestId", "authorizer.claims.client_id", "authorizer.claims.none", "status")
    log = {
        **resources["Stage"]["Properties"]["AccessLogSettings"],
        "Format": " ".join(f"$context.{name}" for name in names),
    }
    made = sandbox.api(changed(resources, "Stage", AccessLogSettings=log))

    ask(made, issuer.token(client_id='"phone\n'))
    ask(made, issuer.token(client_id="phone", exp=1))

    lines = [line.partition(" ")[2] for line in sandbox.log(made)]
    assert lines == ['\\"phone\\n - 200', "- - 401"]


# Templates.


@pytest.mark.parametrize(
    ("name", "properties", "reason"),
    [
        ("Authorizer", {"AuthorizerType": "REQUEST"}, "AuthorizerType"),
        ("Authorizer", {"AuthorizerUri": "arn:aws:lambda"}, "AuthorizerUri"),
        ("Authorizer", {"AuthorizerResultTtlInSeconds": 0}, "AuthorizerResultTtlInSeconds"),
        ("Authorizer", {"EnableSimpleResponses": True}, "EnableSimpleResponses"),
        ("Authorizer", {"IdentitySource": ["$request.querystring.token"]}, "IdentitySource"),
        ("Authorizer", {"IdentitySource": None}, "IdentitySource"),
        ("Authorizer", {"JwtConfiguration": None}, "JwtConfiguration"),
        (
            "Authorizer",
            {"JwtConfiguration": {"Issuer": "https://issuer.example"}},
            "JwtConfiguration needs Audience",
        ),
        (
            "Authorizer",
            {"JwtConfiguration": {"Audience": ["app"]}},
            "JwtConfiguration needs Issuer",
        ),
        (
            "Authorizer",
            {"JwtConfiguration": {"Audience": ["app"], "Issuer": "https://a", "Leeway": 1}},
            "JwtConfiguration.Leeway",
        ),
        (
            "Authorizer",
            {"JwtConfiguration": {"Audience": ["app"], "Issuer": "http://issuer.example"}},
            "JwtConfiguration.Issuer must be an https address",
        ),
        ("Route0", {"AuthorizerId": None}, "AuthorizerId names no authorizer of the API"),
        ("Route0", {"AuthorizerId": "none"}, "AuthorizerId names no authorizer of the API"),
        (
            "Route0",
            {"AuthorizationType": "AWS_IAM"},
            "AuthorizerId needs the AuthorizationType JWT",
        ),
        (
            "Route0",
            {"AuthorizationType": "NONE", "AuthorizationScopes": ["a"], "AuthorizerId": None},
            "AuthorizationScopes needs the AuthorizationType JWT",
        ),
        ("Route0", {"AuthorizationScopes": ['a"b']}, "AuthorizationScopes has what is no scope"),
        ("Route0", {"AuthorizationScopes": ["a b"]}, "AuthorizationScopes has what is no scope"),
    ],
)
def test_an_unsupported_property_fails_the_stack_and_is_named(
    sandbox: HttpApiSandbox, name: str, properties: dict[str, Any], reason: str
) -> None:
    resources = changed(token_api("https://issuer.example"), name, **properties)

    stack = sandbox.deploy(resources)

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in stack["StackStatusReason"]


def authorizer_of(sandbox: HttpApiSandbox, made: Api) -> dict[str, Any]:
    """Ask API Gateway for the authorizer of a stack."""
    gateway = sandbox.client("apigatewayv2")
    name = sandbox.id_of("Authorizer", made.stack)
    return dict(gateway.get_authorizer(ApiId=made.api_id, AuthorizerId=name))


def test_api_gateway_shows_the_authorizer(sandbox: HttpApiSandbox, issuer: Issuer) -> None:
    made = sandbox.api(token_api(issuer.url, scopes=("a",)))

    gateway = sandbox.client("apigatewayv2")
    authorizer = authorizer_of(sandbox, made)
    (route,) = gateway.get_routes(ApiId=made.api_id)["Items"]
    assert authorizer["JwtConfiguration"] == {"Audience": ["app", "other"], "Issuer": issuer.url}
    assert (authorizer["Name"], authorizer["AuthorizerType"]) == ("apps", "JWT")
    assert (route["AuthorizationType"], route["AuthorizationScopes"]) == ("JWT", ["a"])
    assert route["AuthorizerId"] == authorizer["AuthorizerId"]


def test_an_authorizer_is_updated_and_removed_with_its_stack(
    sandbox: HttpApiSandbox, issuer: Issuer
) -> None:
    resources = token_api(issuer.url)
    made = sandbox.api(resources)
    before = authorizer_of(sandbox, made)
    assert ask(made, issuer.token()).status == 200

    sandbox.deploy(token_api(issuer.url, audience=("new",), scopes=("a",)), made.stack, "update")

    after = authorizer_of(sandbox, made)
    assert after["AuthorizerId"] == before["AuthorizerId"]
    wanted: list[dict[str, Any]] = [{}, {"aud": "new"}, {"aud": "new", "scope": "a"}]
    answers = [ask(made, issuer.token(**claims)).status for claims in wanted]
    assert answers == [401, 403, 200]

    without = changed(
        resources, "Route0", AuthorizationType=None, AuthorizerId=None, AuthorizationScopes=None
    )
    del without["Authorizer"]
    sandbox.deploy(without, made.stack, "update")

    gateway = sandbox.client("apigatewayv2")
    with pytest.raises(gateway.exceptions.NotFoundException):
        gateway.get_authorizer(ApiId=made.api_id, AuthorizerId=after["AuthorizerId"])
    assert made.ask_with("PUT", PATH, b"", []).status == 200


def test_a_route_whose_authorizer_was_deleted_lets_nobody_in(
    sandbox: HttpApiSandbox, issuer: Issuer
) -> None:
    made = sandbox.api(token_api(issuer.url))
    name = authorizer_of(sandbox, made)["AuthorizerId"]

    sandbox.client("apigatewayv2").delete_authorizer(ApiId=made.api_id, AuthorizerId=name)

    assert ask(made, issuer.token()).status == 501
    assert not sandbox.invocations()


def test_a_throttled_route_is_throttled_before_its_token_is_checked(
    sandbox: HttpApiSandbox, issuer: Issuer
) -> None:
    limit = {ROUTE: {"ThrottlingBurstLimit": 2, "ThrottlingRateLimit": 0}}
    made = sandbox.api(changed(token_api(issuer.url), "Stage", RouteSettings=limit))

    answers = [ask(made, token).status for token in ("", issuer.token(), issuer.token())]

    assert answers == [401, 200, 429]


def test_one_api_has_routes_for_signatures_and_for_tokens(
    sandbox: HttpApiSandbox, issuer: Issuer
) -> None:
    resources = token_api(issuer.url)
    resources["Signed"] = resource(
        "ApiGatewayV2::Route",
        ApiId={"Ref": "Api"},
        RouteKey="PUT /devices/{device_id}",
        AuthorizationType="AWS_IAM",
        Target=resources["Route0"]["Properties"]["Target"],
    )
    made = sandbox.api(resources)

    token = [("Authorization", issuer.token())]
    answers = [
        made.ask("PUT", "/devices/d1").status,
        made.ask_with("PUT", "/devices/d1", b"", token).status,
        made.ask("PUT", PATH).status,
        made.ask_with("PUT", PATH, b"", token).status,
    ]

    assert answers == [200, 403, 401, 200]
