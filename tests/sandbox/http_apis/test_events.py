"""HTTP APIs in the sandbox: the event that a function gets for a request."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from urllib.request import urlopen

import pytest

from sandbox.pinpoint.projects import enable_channel
from tests.support.http_apis import Api, HttpApiSandbox
from tests.support.templates import ACCOUNT, REGION


def test_a_function_gets_a_request_as_payload_format_2(sandbox: HttpApiSandbox, api: Api) -> None:
    sandbox.clock.stopped_at = datetime(2020, 3, 12, 19, 3, 58, 123_000, tzinfo=UTC).timestamp()

    answer = api.ask(
        "PUT",
        "/a/b?name=first&name=se%20cond&empty=",
        b'{"text": "h\xc3\xa4llo"}',
        {"Content-Type": "application/json", "User-Agent": "test/1", "Cookie": "a=1; b=2,3"},
        caller=None,
    )

    assert (answer.status, answer.body) == (200, b"answered")
    event = sandbox.event()
    context = event["requestContext"]
    trace = event["headers"].pop("x-amzn-trace-id")
    assert re.fullmatch(r"Root=1-5e6a879e-[0-9a-f]{24}", trace)
    assert re.fullmatch(r"[A-Za-z0-9+/]{15}=", context["requestId"])
    assert answer.headers["apigw-requestid"] == context["requestId"]
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a/b",
        "rawQueryString": "name=first&name=se%20cond&empty=",
        "cookies": ["a=1", "b=2,3"],
        "headers": {
            "content-length": "18",
            "content-type": "application/json",
            "host": api.host,
            "user-agent": "test/1",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": api.host.partition(":")[2],
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"name": "first,se cond", "empty": ""},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": api.api_id,
            "domainName": f"{api.api_id}.execute-api.{REGION}.amazonaws.com",
            "domainPrefix": api.api_id,
            "http": {
                "method": "PUT",
                "path": "/a/b",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test/1",
            },
            "requestId": context["requestId"],
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_584_039_838_123,
        },
        "body": '{"text": "hällo"}',
        "isBase64Encoded": False,
    }


def test_absent_parts_of_a_request_are_absent_in_the_event(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    api.ask_with("GET", "/openapi.json", b"", [])

    event = sandbox.event()
    assert not {"body", "cookies", "queryStringParameters"} & event.keys()
    assert (event["rawQueryString"], event["isBase64Encoded"]) == ("", False)
    assert event["routeKey"] == "GET /openapi.json"
    assert event["requestContext"]["http"]["userAgent"] == ""
    assert "authorizer" not in event["requestContext"]


def test_repeated_headers_are_joined_and_hop_by_hop_headers_removed(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    lines = [
        *(("X-Many", "one"), ("x-many", "two, three"), ("X-Forwarded-For", "10.0.0.1")),
        *(("Connection", "close"), ("TE", "trailers"), ("X-Name", "h\xc3\xa4llo")),
        *(("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Port", "70")),
    ]

    api.ask_with("GET", "/x", b"", lines)

    headers = sandbox.event()["headers"]
    assert headers["x-many"] == "one,two, three"
    assert headers["x-name"] == "hällo"
    assert headers["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert headers["x-forwarded-port"] == api.host.partition(":")[2]
    assert headers["x-forwarded-proto"] == "http"
    assert not {"connection", "te", "cookie"} & headers.keys()


def test_the_authorization_header_is_passed_on(sandbox: HttpApiSandbox, api: Api) -> None:
    headers = api.signed()

    api.ask_with("POST", "/messages", b"", list(headers.items()))

    assert sandbox.event()["headers"]["authorization"] == headers["Authorization"]


@pytest.mark.parametrize(
    ("kind", "body", "is_text"),
    [
        ("text/plain", b"h\xc3\xa4llo", True),
        ("text/csv; charset=utf-8", b"a", True),
        ("application/json", b"{", True),
        ("Application/JSON;charset=utf-8", b"{}", True),
        ("application/javascript", b"a", True),
        ("application/xml", b"<a/>", True),
        ("application/problem+json", b"{}", True),
        ("image/svg+xml", b"<svg/>", True),
        ("application/json", b"\xff\xfe", False),
        ("application/jsonp", b"a", False),
        ("application/x-www-form-urlencoded", b"a=b", False),
        ("application/octet-stream", b"\x00\x01", False),
        ("image/png", b"\x89PNG", False),
        ("", b"a", False),
        (None, b"a", False),
    ],
)
def test_a_body_is_text_if_its_type_is_text_and_else_base64(
    sandbox: HttpApiSandbox, api: Api, kind: str | None, body: bytes, is_text: bool
) -> None:
    api.ask_with("POST", "/x", body, [("Content-Type", kind)] if kind is not None else [])

    event = sandbox.event()
    assert event["isBase64Encoded"] is not is_text
    assert event["body"] == (body.decode() if is_text else base64.b64encode(body).decode())


def test_a_chunked_body_is_joined(sandbox: HttpApiSandbox, api: Api) -> None:
    lines = [("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain")]

    answer = api.ask_with("POST", "/x", b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n", lines)

    assert answer.status == 200

    event = sandbox.event()
    assert (event["body"], event["headers"]["content-length"]) == ("one two", "7")


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("Root=1-5e6a86de-aaaaaaaaaaaaaaaaaaaaaaaa;Parent=bbbbbbbbbbbbbbbb;Sampled=1", True),
        ("Root=1-5e6a86de-aaaaaaaaaaaaaaaaaaaaaaaa", True),
        ("Root=what I like", False),
        ("\xc3\xa4", False),
    ],
)
def test_a_valid_trace_id_is_passed_on_and_an_invalid_one_replaced(
    sandbox: HttpApiSandbox, api: Api, given: str, is_kept: bool
) -> None:
    api.ask_with("GET", "/x", b"", [("X-Amzn-Trace-Id", given)])

    (invocation,) = sandbox.invocations()
    trace = invocation["event"]["headers"]["x-amzn-trace-id"]
    assert (trace == given) is is_kept
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", trace)
    assert invocation["trace"] == trace


def test_pushes_of_the_function_show_the_http_entry_point(
    sandbox: HttpApiSandbox, api: Api
) -> None:
    created = sandbox.client("pinpoint").create_app(CreateApplicationRequest={"Name": "demo"})
    project = created["ApplicationResponse"]["Id"]
    enable_channel(project, "ADM")

    assert api.do(push={"project": project, "token": "over HTTP"}).status == 200

    with urlopen(f"{sandbox.url}/sandbox/messages") as answer:  # noqa: S310  loopback
        pushes = json.loads(answer.read())["messages"]
    assert [(push["token"], push["entry_point"]) for push in pushes] == [("over HTTP", "http")]
