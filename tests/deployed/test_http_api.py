"""The deployed HTTP API: permissions, logs, and malicious requests."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.credentials import Credentials

from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import ACCOUNT_ID, REGION, client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import FAST, within
from tests.support.http_apis import FORBIDDEN, NOT_FOUND, TOO_LARGE, Answer, Api, document
from tests.support.service_sandbox import ADMINISTRATOR

JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(context=FAST) as running:
        yield running


@pytest.fixture
def api(deployment: Deployment) -> Api:
    url = deployment.outputs["ApiUrl"]
    return Api(url.rpartition("/")[2], url, deployment.stack_name)


def request(token: str, **more: Any) -> dict[str, Any]:
    return {"recipient": {"token": token, "service": "ADM"}, "message": "m", **more}


def post(
    api: Api, body: Any, *, caller: Credentials | None = ADMINISTRATOR, **headers: str
) -> Answer:
    """Post a request, or bytes as they are; headers are given with underscores for hyphens."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.ask("POST", "/messages", raw, {**JSON_TYPE, **given}, caller=caller)


def service_calls(deployment: Deployment) -> int:
    """Count the SendMessages calls so far."""
    with urllib.request.urlopen(f"{deployment.url}/sandbox/messages?limit=0") as answer:  # noqa: S310  loopback
        return sum(json.loads(answer.read())["calls"].values())


def entry_points(deployment: Deployment, token: str) -> list[str]:
    """Give the entry point of each push to a device."""
    address = f"{deployment.url}/sandbox/messages?token={token}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return [message["entry_point"] for message in json.loads(answer.read())["messages"]]


def user_who_may(deployment: Deployment, *resources: str) -> Credentials:
    """Create a user with permission to call only these parts of APIs."""
    iam = client("iam", deployment.url)
    name = f"caller-{len(iam.list_users()['Users'])}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": list(resources)}
    if resources:
        iam.put_user_policy(UserName=name, PolicyName="api", PolicyDocument=document(statement))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def lines(deployment: Deployment, group: str) -> list[dict[str, Any]]:
    """Read a log of the stack."""
    found = client("logs", deployment.url).filter_log_events(logGroupName=deployment.outputs[group])
    return [json.loads(event["message"]) for event in found["events"]]


# ------------------------------------------------------------------ callers


def test_a_signed_request_is_sent_and_answered_with_its_report(
    api: Api, deployment: Deployment
) -> None:
    answer = post(api, request("signed"))

    assert answer.status == 200
    assert json.loads(answer.body)["summary"] == {"recipients": 1, "accepted": 1}
    assert answer.headers["Content-Type"] == "application/json"
    assert entry_points(deployment, "signed") == ["http"]


def test_callers_without_permission_are_refused_and_nothing_is_sent(
    api: Api, deployment: Deployment
) -> None:
    before = service_calls(deployment)

    assert post(api, request("t"), caller=None).result == FORBIDDEN
    assert post(api, request("t"), caller=Credentials("sandbox", "wrong")).result == FORBIDDEN
    assert post(api, request("t"), caller=Credentials("AKIAUNKNOWN", "wrong")).result == FORBIDDEN
    assert post(api, request("t"), caller=user_who_may(deployment)).result == FORBIDDEN
    assert api.ask("GET", "/openapi.json", caller=None).result == FORBIDDEN
    assert service_calls(deployment) == before


def test_permission_to_post_allows_nothing_else(api: Api, deployment: Deployment) -> None:
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{api.api_id}/*/POST/messages"
    caller = user_who_may(deployment, arn)

    assert post(api, request("t"), caller=caller).status == 200
    assert api.ask("GET", "/openapi.json", caller=caller).result == FORBIDDEN


def test_the_document_is_served_to_callers_with_permission(api: Api) -> None:
    answer = api.ask("GET", "/openapi.json")

    assert (answer.status, json.loads(answer.body)["openapi"]) == (200, "3.1.0")


def test_an_asynchronous_request_is_sent_under_the_id_of_the_answer(
    api: Api, deployment: Deployment
) -> None:
    answer = post(api, request("later"), prefer="respond-async")
    id_ = json.loads(answer.body)["id"]

    assert answer.status == 202
    assert within(15, lambda: entry_points(deployment, "later") == ["queue"])
    assert within(
        15,
        lambda: (
            {"request queued", "request handled"}
            <= {line["message"] for line in messages(deployment) if line.get("request_id") == id_}
        ),
    )


def messages(deployment: Deployment) -> list[dict[str, Any]]:
    return [line for line in lines(deployment, "LogGroupName") if "message" in line]


def test_the_access_log_names_the_caller_and_the_functions_request(
    api: Api, deployment: Deployment
) -> None:
    caller = user_who_may(deployment, f"arn:aws:execute-api:*:*:{api.api_id}/*")

    post(api, request("KaNaRy-token", title="KaNaRy"), caller=caller, idempotency_key="KaNaRy-key")
    logged = lines(deployment, "ApiLogGroupName")

    line = logged[-1]
    assert line["caller"].endswith(f":user/caller-{int(line['caller'].rpartition('-')[2])}")
    assert (line["route"], line["status"]) == ("POST /messages", "200")
    assert line["function_request_id"] in {
        each.get("function_request_id") for each in messages(deployment)
    }
    assert "KaNaRy" not in json.dumps([logged, lines(deployment, "LogGroupName")])


# ------------------------------------------------------------------ hostile requests


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "post"]
)
def test_other_methods_are_not_found(api: Api, deployment: Deployment, method: str) -> None:
    before = service_calls(deployment)

    answer = api.ask(method, "/messages", json.dumps(request("t")).encode(), JSON_TYPE)

    assert answer.status == 404
    assert service_calls(deployment) == before


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/message", "/messages/", "//messages", "/Messages", "/messages/1", "/messages;a"),
        *("/messages%2f", "/x/../messages", "/messages%00", "/messages%0d%0aX:1"),
        *("/openapi.json", "/..%2f..%2fetc/passwd", "/" + "a" * 8_000),
    ],
)
def test_other_paths_are_not_found(api: Api, deployment: Deployment, path: str) -> None:
    before = service_calls(deployment)

    answer = api.ask("POST", path, json.dumps(request("t")).encode(), JSON_TYPE)

    assert answer.result == NOT_FOUND
    assert service_calls(deployment) == before


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000_000,
        b'{"a":' * 400_000,
        b'{"recipients": [' + b"{}," * 1_000_000 + b"{}]}",
        b'{"data": {' + b",".join(b'"k%d": 1' % n for n in range(300_000)) + b"}}",
        b'{"ttl": ' + b"9" * 1_000_000 + b"}",
        b'{"title": "' + b"\\u0000" * 500_000 + b'"}',
        b'{"title": "' + b"\\ud800" * 500_000 + b'"}',
        b'{"title": "' + b"\xff" * 1_000_000 + b'"}',
        b'{"title": "\xc0\xaf"}',
        b'{"recipient": {"token": "t", "service": "GCM"}, "message": "m"}\x00',
        '{"recipient": {"token": "t", "service": "\uff27\uff23\uff2d"}, "message": "m"}'.encode(),
        '{"recipient": {"token": "t\u202e", "service": "GCM"}, "message": "m"}'.encode(),
        '{"r\u0435cipient": {"token": "t", "service": "GCM"}, "message": "m"}'.encode(),
        b'{"recipient": {"token": "t", "token": "u", "service": "ADM"}, "message": "m"}',
        b'{"recipient": {"token": "t", "\\u0074oken": "u", "service": "ADM"}, "message": "m"}',
        b'{"__proto__": {"x": 1}, "recipient": {"token": "t", "service": "ADM"}, "message": "m"}',
        b'{"recipient": {"token": "t", "service": "ADM"}, "message": "m", "ttl": "\xd9\xa3"}',
    ],
    ids=range(17),
)
def test_malicious_bodies_are_bad_requests(api: Api, deployment: Deployment, body: bytes) -> None:
    before = service_calls(deployment)

    answer = post(api, body)

    assert answer.status == 400, answer.body[:300]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 0 < len(json.loads(answer.body)["faults"]) < 100_000
    assert service_calls(deployment) == before


@pytest.mark.parametrize("size", [7_000_000, 10_000_000, 10_485_761])
def test_too_large_requests_are_refused(api: Api, deployment: Deployment, size: int) -> None:
    before = service_calls(deployment)

    assert post(api, b"{" + b" " * (size - 2) + b"}").result == TOO_LARGE
    assert service_calls(deployment) == before


def test_any_unicode_text_is_sent(api: Api) -> None:
    odd = "<script>\u202e\u200b\U0001f468\u200d\U0001f469\u0301 {{x}} %s ${x} '; DROP TABLE --\r\n"

    answer = post(api, request("odd", title=odd, context={"\u202e": odd}))

    assert (answer.status, json.loads(answer.body)["summary"]) == (
        200,
        {"recipients": 1, "accepted": 1},
    )


@pytest.mark.parametrize("key", ["k" * 257, "k" * 10_000, '"' + "k" * 10_000 + '"', "\xe9\x80"])
def test_an_invalid_key_is_a_bad_request(api: Api, deployment: Deployment, key: str) -> None:
    before = service_calls(deployment)

    answer = post(api, request("t"), idempotency_key=key)

    assert answer.status == 400
    assert [fault["path"] for fault in json.loads(answer.body)["faults"]] == ["Idempotency-Key"]
    assert service_calls(deployment) == before


def test_two_key_headers_are_joined_to_one_key(api: Api, deployment: Deployment) -> None:
    body = json.dumps(request("twice")).encode()
    signed = api.signed(body=body, headers=JSON_TYPE)
    keys = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]

    first, again = (
        json.loads(api.ask_with("POST", "/messages", body, [*signed.items(), *keys]).body)
        for _ in range(2)
    )

    assert first["idempotency_key"] == again["idempotency_key"]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert entry_points(deployment, "twice") == ["http"]


@pytest.mark.parametrize(
    "injected",
    [
        b"Idempotency-Key: a\r\n X-Injected: 1\r\n",  # a folded line
        b"Idempotency-Key: a\rX-Injected: 1\r\n",
        b"Idempotency-Key: a\nX-Injected: 1\r\n",
        b"Idempotency-Key: a\x00b\r\n",
        b"Prefer: respond-async\x0b\r\n",
        b"X-\xff: \xff\xfe\r\n",
        b"Content-Type: text/plain\r\n",
        b"X-Amz-Security-Token: x\r\n",
    ],
)
def test_injected_header_values_are_never_returned_and_break_nothing(
    api: Api, injected: bytes
) -> None:
    body = json.dumps(request("t")).encode()
    signed = api.signed(body=body, headers=JSON_TYPE)
    host, _, port = api.host.partition(":")
    head = f"POST {api.prefix}/messages HTTP/1.1\r\nHost: {api.host}\r\nConnection: close\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head += f"Content-Length: {len(body)}\r\n"

    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + injected + b"\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    status = int(answer.split()[1])
    assert status < 500, answer
    assert b"x-injected" not in answer.partition(b"\r\n\r\n")[0].lower()
    assert post(api, request("t")).status == 200
