"""The sandbox is closed to web pages, also to one whose host name was made to mean this machine.

A browser sends the name that it looked up as Host, and says in Sec-Fetch-Site where a request
comes from. What is tested here is raw, since clients and browsers send nothing else than they
should.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.request import urlopen

import boto3
import pytest

from sandbox.functions.runtime_api import RuntimeApi
from sandbox.loopback import refusal_reason
from sandbox.pinpoint_only import running_pinpoint
from sandbox.server import Server
from tests.support.service_sandbox import ServiceSandbox

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST_REFUSED = "The sandbox answers only requests with one of its own addresses as Host"
PAGE_REFUSED = "The sandbox answers no pages of other sites."
SIGNED = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{}/aws4_request, Signature=0"


def told(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [f"{environ['PATH_INFO']} {environ.get('HTTP_X_VALUE')}.".encode()]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(mounts={"/sandbox": told}, unguarded={"/execute-api": told}) as server:
        yield server


def ask(port: int, head: str) -> tuple[int, str]:
    """Send a request's lines as they are, with the port put in; give the status and the body."""
    lines = [line.replace("PORT", str(port)) for line in head.split("\n")]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b"")).decode()
    begin, _, body = answer.partition("\r\n\r\n")
    return int(begin.split()[1]), body


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT", "  localhost:PORT \t"],
)
def test_requests_to_the_sandboxs_own_addresses_are_answered(server: Server, host: str) -> None:
    assert ask(server.port, f"GET /sandbox/x HTTP/1.1\nHost: {host}") == (200, "/sandbox/x None.")


@pytest.mark.parametrize(
    "head",
    [
        "GET {} HTTP/1.1\nHost: evil.example:PORT",
        "GET {} HTTP/1.1\nHost: evil.example",
        "GET {} HTTP/1.1\nHost: localhost",
        "GET {} HTTP/1.1\nHost: localhost:1",
        "GET {} HTTP/1.1\nHost: localhost.:PORT",
        "GET {} HTTP/1.1\nHost: evil.localhost:PORT",
        "GET {} HTTP/1.1\nHost: localhost.evil.example:PORT",
        "GET {} HTTP/1.1\nHost: 127.0.0.2:PORT",
        "GET {} HTTP/1.1\nHost: 2130706433:PORT",
        "GET {} HTTP/1.1\nHost: 0.0.0.0:PORT",
        "GET {} HTTP/1.1\nHost: ::1:PORT",
        "GET {} HTTP/1.1\nHost: [::]:PORT",
        "GET {} HTTP/1.1\nHost: [0:0:0:0:0:0:0:1]:PORT",
        "GET {} HTTP/1.1\nHost: me@localhost:PORT",
        "GET {} HTTP/1.1\nHost: localhost:PORT, evil.example:PORT",
        "GET {} HTTP/1.1\nHost: sqs.us-east-1.amazonaws.com",
        "GET {} HTTP/1.1\nHost: ",
        "GET {} HTTP/1.1",
        "GET {} HTTP/1.0",
        "GET {} HTTP/1.1\nHost: localhost:PORT\nHost: evil.example:PORT",
        "GET {} HTTP/1.1\nHost: evil.example:PORT\nHost: localhost:PORT",
        "GET {} HTTP/1.1\nHost: localhost:PORT\nHost: localhost:PORT",
        "GET http://evil.example:PORT{} HTTP/1.1\nHost: localhost:PORT",
        "GET http://localhost:PORT{} HTTP/1.1\nHost: evil.example:PORT",
        "GET http://localhost:PORT@evil.example{} HTTP/1.1\nHost: localhost:PORT",
        "GET https://localhost:PORT{} HTTP/1.1\nHost: localhost:PORT",
        "GET http://[evil{} HTTP/1.1\nHost: localhost:PORT",
        "CONNECT evil.example:443 HTTP/1.1\nHost: localhost:PORT",
    ],
)
@pytest.mark.parametrize(
    "path", ["/sandbox/messages", "/execute-api/a/b", "/?Action=ListTopics", "/moto-api/data.json"]
)
def test_every_other_host_is_refused_on_every_path(server: Server, head: str, path: str) -> None:
    for service in ("sns", "cloudformation"):
        asked = f"{head.format(path)}\nAuthorization: {SIGNED.format(service)}"

        status, body = ask(server.port, asked)

        assert status == 403
        assert body.startswith(HOST_REFUSED)
        assert body.endswith(
            f"127.0.0.1:{server.port}, localhost:{server.port}, [::1]:{server.port}.\n"
        )
        assert "evil" not in body


def test_an_absolute_url_with_the_sandboxs_address_is_read_as_its_path(server: Server) -> None:
    for target, path in (("/sandbox/x?y=z", "/sandbox/x"), ("/sandbox", "/sandbox")):
        asked = f"GET http://localhost:PORT{target} HTTP/1.1\nHost: 127.0.0.1:PORT"
        assert ask(server.port, asked) == (200, f"{path} None.")


def test_the_default_port_may_be_omitted() -> None:
    headers = http.client.HTTPMessage()
    headers["Host"] = "localhost"
    assert refusal_reason(headers, "/", 80) is None
    assert refusal_reason(headers, "/", 8080) is not None


@pytest.mark.parametrize(
    ("header", "answered"),
    [
        ("Sec-Fetch-Site: none", True),
        ("Sec-Fetch-Site: same-origin", True),
        ("Sec-Fetch-Site: same-site", False),
        ("Sec-Fetch-Site: cross-site", False),
        ("Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site", False),
        ("Sec-Fetch-Site: new-in-2030", False),
        ("Origin: http://localhost:PORT", True),
        ("Origin: http://[::1]:PORT", True),
        ("Origin: https://localhost:PORT", False),
        ("Origin: http://localhost:1", False),
        ("Origin: http://localhost:PORT\nOrigin: http://evil.example", False),
        ("Origin: null", False),
        ("Sec-Fetch-Mode: cors", True),  # all that Node's fetch says
    ],
)
@pytest.mark.parametrize("path", ["/sandbox/x", "/execute-api/a/b", "/?Action=ListTopics"])
def test_a_request_of_another_site_is_refused_by_its_fetch_headers(
    server: Server, header: str, answered: bool, path: str
) -> None:
    status, body = ask(server.port, f"GET {path} HTTP/1.1\nHost: localhost:PORT\n{header}")

    assert body.startswith(PAGE_REFUSED) is not answered
    assert (status == 403 and "evil" not in body) is not answered


def test_a_connection_stays_usable_after_a_refused_request_with_a_body(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n\r\nGET /")
        assert raw.recv(65536).startswith(b"HTTP/1.1 403 ")
        raw.sendall(f"GET /sandbox/y HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode())
        assert b"/sandbox/y None." in raw.recv(65536)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a  ", "a"),
        ("\t a \t", "a"),
        ("a  b", "a  b"),
        ("a \nX-Value:  b ", "a,b"),
        ("a\n  b", "a b"),
        ("\u00a0a\u00a0", "\u00a0a\u00a0"),  # no white space for HTTP
    ],
)
def test_white_space_around_a_header_is_ignored(server: Server, value: str, kept: str) -> None:
    _, body = ask(server.port, f"GET /sandbox/x HTTP/1.1\nHost: localhost:PORT\nX-Value: {value}")

    # WSGI passes bytes as Latin-1.
    assert body.encode() == f"/sandbox/x {kept.encode().decode('latin-1')}.".encode()


def test_the_push_service_without_the_stack_is_closed_too() -> None:
    with running_pinpoint() as server:
        for path in ("/sandbox/", "/sandbox/messages", "/v1/apps/a/messages"):
            assert ask(server.port, f"GET {path} HTTP/1.1\nHost: evil.example:PORT")[0] == 403
            head = f"GET {path} HTTP/1.1\nHost: localhost:PORT\nSec-Fetch-Site: cross-site"
            assert ask(server.port, head)[0] == 403
        with urlopen(f"{server.url}/sandbox/") as page:  # noqa: S310  loopback
            assert page.status == 200


# The function's process.


def test_the_port_of_a_functions_process_is_closed_too() -> None:
    api = RuntimeApi()
    api.start()
    try:
        for head in (
            "Host: evil.example:PORT",
            "Host: localhost:PORT\nOrigin: http://evil.example",
        ):
            asked = f"GET /2018-06-01/runtime/invocation/next HTTP/1.1\n{head}"
            status, body = ask(api.port, asked)
            assert status == 403
            assert "The sandbox" in body
        # The first question for work would have made it ready.
        assert not api.wait_until_ready(0)
    finally:
        api.end()
        api.close()


# What has to go on.


def test_python_clients_still_work(sandbox: ServiceSandbox) -> None:
    for url in (sandbox.url, sandbox.url.replace("127.0.0.1", "localhost")):
        for name in ("sqs", "s3", "dynamodb", "sns", "cloudformation", "pinpoint"):
            client = boto3.client(
                name,
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="sandbox",
                aws_secret_access_key="sandbox",
            )
            operation = {
                "sqs": "list_queues",
                "s3": "list_buckets",
                "dynamodb": "list_tables",
                "sns": "list_topics",
                "cloudformation": "list_stacks",
                "pinpoint": "get_apps",
            }[name]
            assert getattr(client, operation)()


@pytest.mark.parametrize("command", ["curl", "node"])
def test_clients_in_other_languages_still_work(server: Server, command: str) -> None:
    path = shutil.which(command)
    if path is None:
        pytest.skip(f"there is no {command} here")
    url = f"http://localhost:{server.port}/sandbox/x"
    arguments = {
        "curl": ["-s", "-X", "POST", "-d", "body", url],
        # aws4fetch signs and calls this very fetch.
        "node": [
            "-e",
            f"fetch('{url}', {{method: 'POST', body: 'x'}}).then(a => a.text()).then(console.log)",
        ],
    }[command]

    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "/sandbox/x None."
