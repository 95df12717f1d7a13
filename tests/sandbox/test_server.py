"""The sandbox's server: moto on loopback, additions in front of it, and a clean end."""

from __future__ import annotations

import http.client
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sandbox.server import PortTakenError, Server
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SIGNED = "AWS4-HMAC-SHA256 Credential=a/20260101/eu-west-1/lambda/aws4_request, "


@pytest.fixture
def server() -> Iterator[Server]:
    mounts = {"/sandbox": echo_path, "/sandbox/broken": broken, "/sandbox/lacking": lacking}
    with Server(mounts=mounts) as server:
        yield server


def echo_path(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode(), b" ", body]


def broken(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("this application is broken")


def lacking(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise NotImplementedError("as moto says of what it does not have")


def client(service: str, server: Server) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]  # stubs know names as literals only
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def connection(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)


def test_a_stock_client_works_against_the_server(server: Server) -> None:
    queues = client("sqs", server)

    url = queues.create_queue(QueueName="orders")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="hello")

    assert queues.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"


def test_each_server_begins_with_an_empty_account() -> None:
    with Server() as first:
        client("sqs", first).create_queue(QueueName="orders")

    with Server() as second:
        assert "QueueUrls" not in client("sqs", second).list_queues()


def test_only_this_machine_can_connect(server: Server) -> None:
    with open("/proc/net/tcp") as table:
        listening = [line.split()[1] for line in table if f":{server.port:04X} 00000000" in line]

    assert listening == [f"0100007F:{server.port:04X}"]


def test_a_mounted_application_gets_its_complete_paths_and_moto_all_others(server: Server) -> None:
    asked = connection(server)

    asked.request("POST", "/sandbox/messages", body=b"all")
    answer = asked.getresponse()
    assert (answer.status, answer.read()) == (200, b"POST /sandbox/messages all")
    asked.request("GET", "/sandboxes")
    assert b"sandboxes" in asked.getresponse().read()  # moto: S3 knows no such bucket
    asked.close()


def test_one_connection_serves_many_requests(server: Server) -> None:
    asked = connection(server)
    sockets = set()

    for body in (b"one", b"", b"three"):
        asked.request("POST", "/sandbox/x", body=body)
        answer = asked.getresponse()
        assert answer.read() == b"POST /sandbox/x " + body
        assert asked.sock is not None, "the server closed the connection"
        sockets.add(asked.sock)

    assert len(sockets) == 1
    asked.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sandbox/x", 200),
        ("HEAD", "/sandbox/x", 200),
        ("GET", "/no-such-bucket/key", 404),
        ("POST", "/2015-03-31/functions/none/invocations", 404),
        ("GET", "/sandbox/broken", 500),
        ("GET", "/sandbox/lacking", 501),
    ],
)
def test_the_connection_stays_open_after_every_kind_of_answer(
    server: Server, method: str, path: str, status: int
) -> None:
    asked = connection(server)
    signed = {"Authorization": SIGNED} if "functions" in path else {}

    asked.request(method, path, headers=signed)
    answer = asked.getresponse()
    body = answer.read()

    assert answer.status == status
    if method != "HEAD":
        assert answer.headers["Content-Length"] == str(len(body))
    asked.request("GET", "/sandbox/still-there")
    assert asked.getresponse().read() == b"GET /sandbox/still-there "
    asked.close()


def test_a_chunked_body_is_joined(server: Server) -> None:
    asked = connection(server)

    asked.request("POST", "/sandbox/x", body=iter([b"first ", b"second"]), encode_chunked=True)

    assert asked.getresponse().read() == b"POST /sandbox/x first second"
    asked.close()


def test_a_client_that_waits_for_100_continue_gets_it(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        host = f"Host: localhost:{server.port}"
        head = f"PUT /sandbox/x HTTP/1.1\r\n{host}\r\nContent-Length: 2\r\nExpect: 100-continue"
        raw.sendall(f"{head}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")

        raw.sendall(b"ok")
        assert b"PUT /sandbox/x ok" in raw.recv(1000)


def test_large_bodies_pass_in_both_directions(server: Server) -> None:
    store = client("s3", server)
    location = {"LocationConstraint": "eu-west-1"}
    store.create_bucket(Bucket="large", CreateBucketConfiguration=location)
    content = os.urandom(8_000_000)

    store.put_object(Bucket="large", Key="k", Body=content)

    assert store.get_object(Bucket="large", Key="k")["Body"].read() == content


@pytest.mark.parametrize("path", ["/sandbox/x", "/2015-03-31/functions/"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_web_page_of_another_site_is_refused(server: Server, method: str, path: str) -> None:
    def status(origin: str) -> int:
        asked = connection(server)
        asked.request(method, path, headers={"Origin": origin, "Authorization": SIGNED})
        answer = asked.getresponse()
        answer.read()
        asked.close()
        return answer.status

    for foreign in ("https://example.com", "null", f"http://127.0.0.1.example.com:{server.port}"):
        assert status(foreign) == 403
    for own in (server.url, f"http://localhost:{server.port}"):
        assert status(own) != 403


def test_the_guard_sees_all_requests_but_those_of_unguarded_applications() -> None:
    def guard(inside: WSGIApplication) -> WSGIApplication:
        return lambda environ, start_response: [
            b"guarded ",
            *inside(environ, start_response),
        ]

    def ask(server: Server, path: str, **headers: str) -> tuple[int, bytes]:
        asked = connection(server)
        asked.request("GET", path, headers=headers)
        answer = asked.getresponse()
        result = answer.status, answer.read()
        asked.close()
        return result

    own = {"/own": echo_path, "/own/deeper": broken}
    with Server(mounts={"/sandbox": echo_path}, guard=guard, unguarded=own) as server:
        assert ask(server, "/sandbox/x") == (200, b"guarded GET /sandbox/x ")
        assert ask(server, "/own/x") == (200, b"GET /own/x ")
        assert ask(server, "/own") == (200, b"GET /own ")
        assert ask(server, "/owner")[1].startswith(b"guarded ")
        assert ask(server, "/own/deeper")[0] == 500
        assert ask(server, "/own/x", Origin="https://example.com")[0] == 403


def test_an_applications_error_is_printed_locally_and_not_sent_to_the_client(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    asked = connection(server)

    asked.request("GET", "/sandbox/broken")

    assert b"this application is broken" not in asked.getresponse().read()
    assert "this application is broken" in caplog.text
    asked.close()


def test_what_the_sandbox_does_not_have_is_answered_without_a_warning(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ClientError) as refused:
        client("cloudtrail", server).lookup_events()

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert caplog.record_tuples == []


def test_requests_are_served_concurrently() -> None:
    together = threading.Barrier(2, timeout=10)

    def meeting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        together.wait()  # broken, and so a 500, if the other one has to wait for us
        start_response("200 OK", [])
        return [b"met"]

    with Server(mounts={"/sandbox": meeting}) as server:
        first, second = connection(server), connection(server)
        first.request("GET", "/sandbox/x")
        second.request("GET", "/sandbox/x")

        assert [first.getresponse().read(), second.getresponse().read()] == [b"met", b"met"]
        first.close()
        second.close()


def test_the_server_is_quiet_unless_asked_to_log(capfd: pytest.CaptureFixture[str]) -> None:
    log = io.StringIO()
    for request_log in (None, log):
        with Server(request_log=request_log) as server, pytest.raises(ClientError):
            client("sqs", server).get_queue_url(QueueName="none")

    assert capfd.readouterr() == ("", "")
    assert log.getvalue() == "POST / 400\n"


def test_a_taken_port_is_named_with_the_cure(server: Server) -> None:
    with pytest.raises(
        PortTakenError, match=f"Port {server.port} .*choose another port: PORT="
    ) as refused:
        Server(port=server.port).__enter__()

    assert refused.value.__suppress_context__, "the traceback would show two errors"


def test_closing_leaves_no_thread_and_frees_the_port_with_a_client_still_connected() -> None:
    before = set(threading.enumerate())
    with Server(mounts={"/sandbox": echo_path}) as server:
        asked = connection(server)
        asked.request("GET", "/sandbox/x")
        asked.getresponse().read()
        assert set(threading.enumerate()) > before
        port = server.port

    assert set(threading.enumerate()) <= before
    with Server(port=port):
        pass
    asked.close()


def test_a_request_that_is_running_while_the_server_closes_is_answered() -> None:
    begun = threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        begun.set()
        select.select([environ["werkzeug.socket"]], [], [])  # until nothing more can come
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    with Server(mounts={"/sandbox": slow}) as server:
        asked = connection(server)
        asked.request("GET", "/sandbox/x")
        begun.wait()

    assert asked.getresponse().read() == b"done"
    asked.close()


PROGRAM = """
import signal
from sandbox.server import Server, ended_by_signals

with ended_by_signals(), Server() as server:
    try:
        print("ready", flush=True)
        signal.pause()
    finally:
        print("cleaning", flush=True)
        input()
        print("clean", flush=True)
print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_block_and_a_second_signal_does_not_interrupt_the_clean_up(
    number: signal.Signals,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        assert program.stdout.readline() == "cleaning\n"
        program.send_signal(number)
        output, errors = program.communicate("\n", timeout=20)

    assert (output, errors, program.returncode) == ("clean\nended\n", "", 0)
