"""Who may call an HTTP API of the sandbox: signatures are verified, and policies are asked."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from http.client import HTTPMessage
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.iam.models import iam_backends

from sandbox.iam.service import Call
from tests.support.http_apis import FORBIDDEN, Answer, Api, HttpApiSandbox, document, invoking
from tests.support.service_sandbox import ADMINISTRATOR, assumed
from tests.support.templates import ACCOUNT, REGION

EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
BODY = b'{"text": "hello"}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def _api(_running: HttpApiSandbox) -> Api:
    return _running.api(routes={"POST /messages": "AWS_IAM", "$default": "AWS_IAM"})


def arn(api: Api, resource: str = "POST/messages") -> str:
    return f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.api_id}/$default/{resource}"


def denial(sandbox: HttpApiSandbox, api: Api, answer: Answer) -> str:
    """Give why a caller was answered 403, as the access log says."""
    assert answer.told == FORBIDDEN
    lines = map(json.loads, sandbox.log(api))
    (line,) = (line for line in lines if line["id"] == answer.headers["apigw-requestid"])
    return str(line["denial"])


def identity(sandbox: HttpApiSandbox) -> dict[str, Any]:
    """Give what the function was told of its caller."""
    return dict(sandbox.event()["requestContext"]["authorizer"]["iam"])


# Whose signature is good.


def test_the_documented_key_of_the_administrator_is_accepted(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    assert api.ask("POST", "/messages?b=2&a=1&a=%20x", BODY, JSON).status == 200

    assert identity(sandbox) == {
        "accessKey": "sandbox",
        "accountId": ACCOUNT,
        "callerId": ACCOUNT,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:iam::{ACCOUNT}:root",
        "userId": ACCOUNT,
    }
    assert sandbox.event()["body"] == BODY.decode()
    assert not sandbox.permissions.calls()


def test_curl_can_sign(sandbox: HttpApiSandbox, api: Api) -> None:
    curl = shutil.which("curl")
    assert curl is not None

    result = subprocess.run(
        [
            *(curl, "--silent", "--show-error", "--write-out", " %{http_code}"),
            *("--aws-sigv4", f"aws:amz:{REGION}:execute-api", "--user", "sandbox:sandbox"),
            *("--header", "Content-Type: application/json", "--data-binary", BODY.decode()),
            f"{api.url}/messages",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "answered 200"
    assert sandbox.event()["body"] == BODY.decode()


def test_a_users_own_key_is_accepted(sandbox: HttpApiSandbox, api: Api) -> None:
    user = sandbox.user(invoking(arn(api)))

    assert api.ask(body=BODY, headers=JSON, who=user).status == 200

    told = identity(sandbox)
    people = {each["Arn"]: each["UserId"] for each in sandbox.client("iam").list_users()["Users"]}
    assert told["accessKey"] == user.access_key
    assert (told["callerId"], told["userId"]) == (people[told["userArn"]],) * 2


def test_a_role_session_is_accepted_and_counted(sandbox: HttpApiSandbox, api: Api) -> None:
    role, session = sandbox.role(invoking(arn(api)))

    assert api.ask(body=BODY, headers=JSON, who=session).status == 200
    assert api.ask("GET", "/messages", who=session).told == FORBIDDEN

    told = identity(sandbox)
    name = role.rpartition("/")[2]
    identifier = sandbox.client("iam").get_role(RoleName=name)["Role"]["RoleId"]
    assert told["accessKey"] == session.access_key
    assert told["callerId"] == told["userId"] == f"{identifier}:function"
    assert told["userArn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/function"
    assert sandbox.permissions.calls() == {
        Call(role, "execute-api:Invoke", arn(api), True): 1,
        Call(role, "execute-api:Invoke", arn(api, "GET/messages"), False): 1,
    }


class Careful(SigV4Auth):
    """Signs a header that botocore itself leaves out."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        headers = super().headers_to_sign(request)
        headers["user-agent"] = request.headers["User-Agent"]
        return headers


def test_headers_that_only_some_clients_sign_are_verified_as_well(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    headers = {
        "User-Agent": "careful/1",
        "X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest(),
        "X-Many": "a,  b",
        "X-Name": "é",
    }
    request = AWSRequest("POST", f"{api.url}/messages", data=BODY, headers=headers)
    Careful(ADMINISTRATOR, "execute-api", REGION).add_auth(request)
    signed = {**request.headers, "X-Name": "é".encode().decode("latin-1")}
    names = "host;user-agent;x-amz-content-sha256;x-amz-date;x-many;x-name"
    assert f"SignedHeaders={names}," in signed["Authorization"]

    assert api.ask_with("POST", "/messages", BODY, list(signed.items())).status == 200

    for name in ("User-Agent", "X-Many", "X-Name"):
        changed = {**signed, name: "other"}
        assert api.ask_with("POST", "/messages", BODY, list(changed.items())).told == FORBIDDEN


# Whose is not.

Headers = dict[str, str]


def without(name: str) -> Callable[[Headers], Headers]:
    return lambda headers: {other: value for other, value in headers.items() if other != name}


def replaced(name: str, old: str, new: str) -> Callable[[Headers], Headers]:
    def change(headers: Headers) -> Headers:
        assert old in headers[name]
        return {**headers, name: headers[name].replace(old, new)}

    return change


def with_header(name: str, value: str) -> Callable[[Headers], Headers]:
    return lambda headers: {**headers, name: value}


AUTHORIZATION = "Authorization"
FAULTS: Mapping[str, Callable[[Headers], Headers]] = {
    "no signature": without(AUTHORIZATION),
    "another scheme": with_header(AUTHORIZATION, "Basic c2FuZGJveDpzYW5kYm94"),
    "an empty signature": with_header(AUTHORIZATION, ""),
    "another algorithm": replaced(AUTHORIZATION, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    "no letters": with_header(AUTHORIZATION, "\xff\xfe"),
    "an unknown key": replaced(AUTHORIZATION, "Credential=sandbox", "Credential=AKIAUNKNOWN"),
    "the key of other tests": replaced(AUTHORIZATION, "Credential=sandbox", "Credential=test"),
    "another date of the scope": replaced(
        AUTHORIZATION, time.strftime("%Y", time.gmtime()), "1999"
    ),
    "another region of the scope": replaced(AUTHORIZATION, REGION, "eu-west-1"),
    "another service of the scope": replaced(AUTHORIZATION, "execute-api", "lambda"),
    "a header that is not there": replaced(AUTHORIZATION, ";x-amz-date", ";x-amz-date;x-other"),
    "a signature cut off": lambda headers: {
        **headers,
        AUTHORIZATION: headers[AUTHORIZATION][:-1],
    },
    "a signature made up": lambda headers: {
        **headers,
        AUTHORIZATION: headers[AUTHORIZATION][:-64] + "0" * 64,
    },
    "more behind the signature": lambda headers: {
        **headers,
        AUTHORIZATION: headers[AUTHORIZATION] + ", Signature=0",
    },
    "no date": without("X-Amz-Date"),
    "a date without a meaning": with_header("X-Amz-Date", "20261399T000000Z"),
    "another date": with_header("X-Amz-Date", time.strftime("%Y%m%dT000000Z", time.gmtime())),
    "a token that nobody gave": with_header("X-Amz-Security-Token", "sandbox"),
    "a changed header": with_header("Content-Type", "text/plain"),
    "another hash of the body": with_header("X-Amz-Content-SHA256", "0" * 64),
    "no hash of the body": with_header("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
}


REASONS: Mapping[str, str] = {
    "no signature": "missing signature",
    "another scheme": "wrong signature: the Authorization header",
    "an empty signature": "wrong signature: the Authorization header",
    "another algorithm": "wrong signature: the Authorization header",
    "no letters": "wrong signature: the Authorization header",
    "an unknown key": "unknown access key",
    "the key of other tests": "unknown access key",
    "another date of the scope": "another date in the credential scope",
    "another region of the scope": "another region in the credential scope",
    "another service of the scope": "another service in the credential scope",
    "a header that is not there": "a signed header is not in the request",
    "a signature cut off": "wrong signature: the Authorization header",
    "a signature made up": "wrong signature: the secret access key is another, or",
    "more behind the signature": "wrong signature: the Authorization header",
    "no date": "wrong date",
    "a date without a meaning": "wrong date",
    "another date": "date skew: X-Amz-Date is more than 300 s before",
    "a token that nobody gave": "this access key has no session token",
    "a changed header": "or a signed header is not the one",
    "another hash of the body": "X-Amz-Content-SHA256 is not the body digest",
    "no hash of the body": "X-Amz-Content-SHA256 is not the body digest",
}
"""What the access log says of each."""


@pytest.mark.parametrize("fault", FAULTS)
def test_an_invalid_signature_is_refused(sandbox: HttpApiSandbox, api: Api, fault: str) -> None:
    headers = api.signed(body=BODY, headers=JSON)
    assert api.ask_with("POST", "/messages", BODY, list(headers.items())).status == 200
    sandbox.cleared()

    answer = api.ask_with("POST", "/messages", BODY, list(FAULTS[fault](headers).items()))

    assert answer.told == FORBIDDEN
    assert answer.headers["apigw-requestid"]
    assert not sandbox.invocations()
    assert REASONS[fault] in denial(sandbox, api, answer)


@pytest.mark.parametrize("left_out", ["host", "x-amz-date"])
def test_host_and_date_must_be_signed(sandbox: HttpApiSandbox, api: Api, left_out: str) -> None:
    class Careless(SigV4Auth):
        def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
            headers = super().headers_to_sign(request)
            del headers[left_out]
            return headers

    request = AWSRequest("POST", f"{api.url}/messages", data=BODY)
    Careless(ADMINISTRATOR, "execute-api", REGION).add_auth(request)

    answer = api.ask_with("POST", "/messages", BODY, list(request.headers.items()))

    assert answer.told == FORBIDDEN
    assert not sandbox.invocations()
    assert denial(sandbox, api, answer) == f"wrong signature: not signed: {left_out}"


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ({"url": "http://localhost:{port}{path}"}, "the host that was signed"),
        ({"url": "http://127.0.0.1{path}"}, "the host that was signed"),
        ({"url": "http://127.0.0.1:{port}/messages?a=1"}, "the path was signed without"),
        (
            {"url": "https://{api}.execute-api.us-east-1.amazonaws.com/messages?a=1"},
            "another host was signed, and the path without /execute-api/<API id>",
        ),
        ({"url": "http://127.0.0.1:{port}{bare_path}"}, "the query was not signed"),
        ({"data": b""}, "the body digest that was signed is of an empty body"),
        ({"method": "GET"}, "another method was signed"),
        ({"data": b"another"}, "body digest or a signed header is not the one that was signed"),
    ],
)
def test_the_access_log_names_what_was_signed_wrongly(
    sandbox: HttpApiSandbox, api: Api, signed: dict[str, Any], said: str
) -> None:
    bare_path = f"{api.prefix}/messages"
    places = {
        "port": api.host.partition(":")[2],
        "path": f"{bare_path}?a=1",
        "bare_path": bare_path,
        "api": api.api_id,
    }
    url = signed.get("url", "http://127.0.0.1:{port}{path}").format(**places)
    request = AWSRequest(**{"method": "POST", "data": BODY, **signed, "url": url})
    SigV4Auth(ADMINISTRATOR, "execute-api", REGION).add_auth(request)

    answer = api.ask_with("POST", "/messages?a=1", BODY, list(request.headers.items()))

    assert said in denial(sandbox, api, answer)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/messages?a=1", b'{"text": "hellO"}'),
        ("POST", "/messages?a=1", b""),
        ("PUT", "/messages?a=1", BODY),
        ("POST", "/messages", BODY),
        ("POST", "/messages?a=2", BODY),
        ("POST", "/messages?a=1&b=2", BODY),
        ("POST", "/messages?a=1#b", BODY),
        ("POST", "/message?a=1", BODY),
        ("POST", "/messages/?a=1", BODY),
        ("POST", "//messages?a=1", BODY),
        ("POST", "/./messages?a=1", BODY),
        ("POST", "/x/../messages?a=1", BODY),
        ("POST", "/%6Dessages?a=1", BODY),
        ("POST", "/messages#?a=1", BODY),
    ],
)
def test_a_signature_is_valid_only_for_the_signed_request(
    sandbox: HttpApiSandbox, api: Api, method: str, path: str, body: bytes
) -> None:
    headers = list(api.signed("POST", "/messages?a=1", BODY).items())

    assert api.ask_with(method, path, body, headers).told == FORBIDDEN
    assert not sandbox.invocations()


def test_a_signature_for_one_api_is_not_valid_for_another(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    other = sandbox.api(routes={"$default": "AWS_IAM"})
    headers = list(api.signed("GET", "/x").items())

    assert other.ask_with("GET", "/x", b"", headers).told == FORBIDDEN
    assert other.ask_with("GET", f"/../{api.api_id}/x", b"", headers).told == FORBIDDEN
    assert not sandbox.invocations()


@pytest.mark.parametrize(("seconds", "status"), [(-310, 403), (-290, 200), (290, 200), (310, 403)])
def test_a_signature_is_valid_for_five_minutes(
    sandbox: HttpApiSandbox, api: Api, seconds: int, status: int
) -> None:
    headers = list(api.signed().items())
    sandbox.clock.stopped_at = time.time() + seconds

    assert api.ask_with("POST", "/messages", b"", headers).status == status


def test_a_presigned_url_is_refused(sandbox: HttpApiSandbox, api: Api) -> None:
    request = AWSRequest("GET", f"{api.url}/x")
    SigV4QueryAuth(ADMINISTRATOR, "execute-api", REGION).add_auth(request)
    assert request.url is not None

    answer = api.ask("GET", request.url.removeprefix(api.url), who=None)

    assert answer.told == FORBIDDEN
    assert not sandbox.invocations()


def test_a_wrong_secret_is_refused(sandbox: HttpApiSandbox, api: Api) -> None:
    user = sandbox.user(EVERYTHING)
    _, session = sandbox.role(EVERYTHING)

    for who in (ADMINISTRATOR, user, session):
        wrong = Credentials(who.access_key, who.secret_key[:-1] + "_", who.token)
        assert api.ask(who=wrong).told == FORBIDDEN
    assert not sandbox.invocations()


def test_a_session_needs_its_own_token(sandbox: HttpApiSandbox, api: Api) -> None:
    _, session = sandbox.role(EVERYTHING)
    _, other = sandbox.role(EVERYTHING)

    for token in (None, "", other.token):
        wrong = Credentials(session.access_key, session.secret_key, token)
        assert "X-Amz-Security-Token is" in denial(sandbox, api, api.ask(who=wrong))
    assert not sandbox.invocations()
    assert api.ask(who=session).status == 200


def test_an_inactive_or_deleted_key_is_refused(sandbox: HttpApiSandbox, api: Api) -> None:
    user = sandbox.user(EVERYTHING)
    people = sandbox.client("iam")
    (name,) = [
        each["UserName"]
        for each in people.list_users()["Users"]
        for key in people.list_access_keys(UserName=each["UserName"])["AccessKeyMetadata"]
        if key["AccessKeyId"] == user.access_key
    ]
    key = {"UserName": name, "AccessKeyId": user.access_key}

    people.update_access_key(**key, Status="Inactive")
    assert api.ask(who=user).told == FORBIDDEN
    people.update_access_key(**key, Status="Active")
    assert api.ask(who=user).status == 200
    people.delete_access_key(**key)
    assert api.ask(who=user).told == FORBIDDEN


# What a caller may.


@pytest.mark.parametrize(
    ("statements", "may"),
    [
        ([invoking("{arn}")], True),
        ([invoking("arn:aws:execute-api:*:*:{api}/*")], True),
        ([invoking("arn:aws:execute-api:us-east-1:123456789012:{api}/*/POST/*")], True),
        ([{**invoking("{arn}"), "Action": "execute-api:*"}], True),
        ([EVERYTHING], True),
        ([], False),
        ([{**invoking("{arn}"), "Action": "execute-api:ManageConnections"}], False),
        ([{**invoking("*"), "Action": ["lambda:*", "apigateway:*"]}], False),
        ([invoking("arn:aws:execute-api:*:*:{api}/*/GET/*")], False),
        ([invoking("arn:aws:execute-api:*:*:{api}/$default/POST/message")], False),
        ([invoking("arn:aws:execute-api:*:*:other/*")], False),
        ([EVERYTHING, invoking("{arn}", effect="Deny")], False),
        ([invoking("{arn}", Condition={"Bool": {"aws:SecureTransport": "true"}})], False),
    ],
)
@pytest.mark.parametrize("kind", ["user", "role"])
def test_a_callers_policies_decide(
    sandbox: HttpApiSandbox, api: Api, kind: str, statements: list[dict[str, Any]], may: bool
) -> None:
    filled = json.loads(
        json.dumps(statements).replace("{arn}", arn(api)).replace("{api}", api.api_id)
    )
    who = sandbox.user(*filled) if kind == "user" else sandbox.role(*filled)[1]

    answer = api.ask(who=who)

    if may:
        assert answer.status == 200
    else:
        assert (answer.told, sandbox.invocations()) == (FORBIDDEN, [])
        asked = f"no permission: execute-api:Invoke on {arn(api)} "
        assert denial(sandbox, api, answer).startswith(asked)


def test_group_policies_and_attached_policies_count_for_a_user(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    people = sandbox.client("iam")
    name = f"p-{uuid.uuid4().hex}"
    managed = people.create_policy(PolicyName=name, PolicyDocument=document(invoking(arn(api))))
    attached = {"PolicyArn": managed["Policy"]["Arn"]}
    users = [sandbox.user() for _ in range(3)]
    names = {
        key["AccessKeyId"]: each["UserName"]
        for each in people.list_users()["Users"]
        for key in people.list_access_keys(UserName=each["UserName"])["AccessKeyMetadata"]
    }
    first, second, third = (names[user.access_key] for user in users)
    for group in (f"a-{name}", f"b-{name}"):
        people.create_group(GroupName=group)
    people.attach_user_policy(UserName=first, **attached)
    people.attach_group_policy(GroupName=f"a-{name}", **attached)
    people.put_group_policy(
        GroupName=f"b-{name}", PolicyName="p", PolicyDocument=document(invoking(arn(api)))
    )
    assert [api.ask(who=user).status for user in users] == [200, 403, 403]

    people.add_user_to_group(GroupName=f"a-{name}", UserName=second)
    people.add_user_to_group(GroupName=f"b-{name}", UserName=third)

    assert [api.ask(who=user).status for user in users] == [200, 200, 200]


def test_roles_with_boundaries_or_session_policies_are_refused(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    boundary = sandbox.client("iam").create_policy(
        PolicyName=f"b-{uuid.uuid4().hex}", PolicyDocument=document(EVERYTHING)
    )
    _, bounded = sandbox.role(EVERYTHING, PermissionsBoundary=boundary["Policy"]["Arn"])
    role, free = sandbox.role(EVERYTHING)
    made = sandbox.client("sts").assume_role(
        RoleArn=role, RoleSessionName="session", Policy=document(EVERYTHING)
    )["Credentials"]
    narrowed = Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    assert [api.ask(who=who).status for who in (bounded, narrowed, free)] == [403, 403, 200]


def test_a_role_of_another_account_is_refused(sandbox: HttpApiSandbox, api: Api) -> None:
    there = iam_backends["999999999999"]["aws"]
    role = there.create_role("far", "{}", "/", None, "", [], None)
    there.put_role_policy("far", "p", document(EVERYTHING))

    told = denial(sandbox, api, api.ask(who=assumed(role.arn)))
    assert told.endswith("because the caller is of another account than the API")


def test_a_removed_permission_is_refused_immediately(sandbox: HttpApiSandbox, api: Api) -> None:
    role, session = sandbox.role(invoking(arn(api)))
    assert api.ask(who=session).status == 200

    sandbox.client("iam").delete_role_policy(RoleName=role.rpartition("/")[2], PolicyName="p")

    assert api.ask(who=session).told == FORBIDDEN


def test_requests_of_other_sites_are_refused_before_the_permission_check(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    answer = api.ask(headers={"Origin": "https://example.com"})

    assert (answer.status, b"no pages" in answer.body) == (403, True)
    assert not sandbox.invocations()


def test_white_space_around_a_header_is_neither_signed_nor_passed_on(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    signed = api.signed(body=BODY, headers={**JSON, "Idempotency-Key": "a  b"})
    host, _, port = api.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        lines = [f"POST {api.prefix}/messages HTTP/1.1", f"Host: {api.host}", "Connection: close"]
        lines += [f"{name}:\t {value} \t" for name, value in signed.items()]
        lines += [f"Content-Length: {len(BODY)} ", "", ""]
        raw.sendall("\r\n".join(lines).encode() + BODY)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert sandbox.event()["headers"]["idempotency-key"] == "a  b"
