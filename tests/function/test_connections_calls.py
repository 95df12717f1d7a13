"""Calls over kept connections: answers, time limits, and whether a failed call was sent."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from push_sender.clients.calls import TooLateError, permitted
from push_sender.clients.connections import (
    ANSWER_BYTES,
    UnusableRequestError,
)
from tests.support.invocation import Push, log_lines
from tests.support.provider import Provider
from tests.support.raw_http import (
    ANSWER,
    ONE,
    answering,
    asking,
    connections,
    read_request,
    serving,
    silent,
)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionClosedError),
        (b"HTTP/1.1 two hundred\r\n\r\n", ResponseParserError),
        (b"HTTP/9.9 200 OK\r\n\r\n", ResponseParserError),
        (b"220 mail.example.com ESMTP\r\n", ResponseParserError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, ResponseParserError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200, ResponseParserError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", ResponseParserError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 25 + b"\r\n\r\n{}", ResponseParserError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}", ResponseParserError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}", ResponseParserError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", ResponseParserError),
    ],
    ids=[
        "none", "no status", "no version", "no HTTP", "long header", "many headers", "too short",
        "huge length", "half a chunk", "negative chunk", "no chunk",
    ],
)  # fmt: skip
def test_a_call_without_a_complete_answer_may_have_been_executed(
    answer: bytes, error: type[Exception]
) -> None:
    with serving(answering(answer, then_close=True)) as server:
        http = connections()
        with pytest.raises(error):
            http.send(asking(server))
        with pytest.raises(error):
            http.send(asking(server))

        assert server.accepted == 2  # each call was sent once, over its own connection


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 3\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}",
        b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["too short", "half a chunk", "unknown encoding", "no gzip"],
)
def test_an_error_with_an_unreadable_body_keeps_its_status(body: bytes) -> None:
    with serving(answering(b"HTTP/1.1 503 X\r\n" + body, then_close=True)) as server:
        answer = connections().send(asking(server))

    assert (answer.status_code, answer.content) == (503, b"")


def test_interim_answers_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    with serving(answering(interim + ANSWER)) as server:
        http = connections()
        answers = [http.send(asking(server)) for _ in range(2)]

        assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"{}")] * 2
        assert "Link" not in answers[0].headers
        assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b" " * 5_000_000,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * 5_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b" " * 5_000_000,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 150_000 + ANSWER,
    ],
    ids=["length", "until closed", "chunk of minus one", "interim answers"],
)
def test_reading_stops_at_the_largest_size_of_an_answer(answer: bytes) -> None:
    assert len(answer) > ANSWER_BYTES
    with (
        serving(answering(answer, then_close=True)) as server,
        pytest.raises((ResponseParserError, ConnectionClosedError)),
    ):
        # On a busy machine, reading so many interim answers takes more than a few seconds.
        connections(read_seconds=120).send(asking(server))


def compressed(body: bytes, encoding: bytes = b"gzip") -> bytes:
    """Write an answer with a compressed body."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (encoding, len(body)) + body


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(b"{}"), b"gzip"), (zlib.compress(b"{}"), b"deflate"), (b"{}", b" Identity")],
    ids=["gzip", "deflate", "identity"],  # a gzip header holds the time
)
def test_a_compressed_answer_is_read(body: bytes, encoding: bytes) -> None:
    with serving(answering(compressed(body, encoding))) as server:
        assert connections().send(asking(server)).content == b"{}"


def test_a_compressed_answer_is_unpacked_up_to_the_same_limit() -> None:
    bomb = gzip.compress(b" " * (ANSWER_BYTES + 1))
    cut = gzip.compress(b"{}")[:-6]

    for body in (bomb, cut):
        with serving(answering(compressed(body))) as server, pytest.raises(ResponseParserError):
            connections().send(asking(server))


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\nX: "])
def test_a_slowly_dripping_answer_ends_at_the_calls_time_limit(start: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start)
        while True:  # until the client closes
            time.sleep(0.02)
            connection.sendall(b"x")

    with serving(talk) as server, pytest.raises(ReadTimeoutError):
        connections(read_seconds=0.3).send(asking(server))


def test_a_slowly_dripping_body_ends_at_the_calls_time_limit() -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            time.sleep(0.02)
            connection.sendall(b"x")

    with serving(talk) as server, pytest.raises(ResponseParserError):
        connections(read_seconds=0.3).send(asking(server))


def test_a_request_that_the_server_does_not_read_ends_at_the_calls_time_limit() -> None:
    released = threading.Event()

    def talk(_: socket.socket) -> None:
        released.wait()

    with serving(talk) as server:
        with pytest.raises(ReadTimeoutError):
            connections(read_seconds=0.3).send(asking(server, b"x" * 20_000_000))
        released.set()


class DeadlinePermit:
    """A permit with a deadline that may refuse the sending of the first byte."""

    def __init__(self, seconds: float, *, refuses: bool = False) -> None:
        self.deadline = time.monotonic() + seconds
        self.noted: list[str] = []
        self._refuses = refuses

    def connecting(self) -> None:
        self.noted.append("connecting")

    def sending(self) -> None:
        self.noted.append("sending")
        if self._refuses:
            raise TooLateError


def test_a_call_ends_when_its_permit_ends() -> None:
    with serving(silent) as server, pytest.raises(ReadTimeoutError), permitted(DeadlinePermit(0.2)):
        connections(read_seconds=30).send(asking(server))


def test_the_first_byte_is_sent_only_with_permission() -> None:
    asked: list[bytes] = []

    closed = threading.Event()

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(1))
        closed.set()

    permit = DeadlinePermit(5, refuses=True)
    with serving(talk) as server:
        with pytest.raises(TooLateError), permitted(permit):
            connections().send(asking(server))
        assert closed.wait(5)

    assert permit.noted == ["connecting", "sending"]
    assert asked == [b""]


def test_a_kept_connection_asks_for_permission_too() -> None:
    permit = DeadlinePermit(5)
    with serving(answering(ANSWER)) as server:
        http = connections()
        http.send(asking(server))
        with permitted(permit):
            http.send(asking(server))

    assert permit.noted == ["sending"]


def test_a_timed_out_call_may_have_been_executed() -> None:
    with serving(silent) as server:
        http = connections(read_seconds=0.2)
        with pytest.raises(ReadTimeoutError):
            http.send(asking(server))
        with pytest.raises(ReadTimeoutError):
            http.send(asking(server))

        assert server.accepted == 2  # the first answer is not taken for the second


def test_an_answer_may_take_longer_than_connecting() -> None:
    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            time.sleep(0.6)
            connection.sendall(ANSWER)

    with serving(talk) as server:
        http = connections(connect_seconds=0.3)

        assert http.send(asking(server)).content == b"{}"


def test_a_call_that_timed_out_keeps_no_connection() -> None:
    released = threading.Event()

    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            released.wait()
            connection.sendall(ANSWER)

    with serving(talk) as server:
        http = connections()
        with pytest.raises(ReadTimeoutError), permitted(DeadlinePermit(0.2)):
            http.send(asking(server))
        released.set()

        assert http.send(asking(server)).content == b"{}"
        assert server.accepted == 2


def test_an_answer_during_sending_is_read() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(ANSWER.replace(b"200 OK", b"413 Content Too Large"))
        connection.shutdown(socket.SHUT_WR)  # the rest meets a connection that is reset
        connection.close()

    with serving(talk) as server:
        request = asking(server, b"x" * 20_000_000)  # more than all buffers take

        assert connections().send(request).status_code == 413


def test_a_refused_connection_sent_nothing() -> None:
    with serving(answering(ANSWER)) as server:
        pass

    with pytest.raises(EndpointConnectionError):
        connections().send(asking(server))


def test_an_unknown_host_was_sent_nothing() -> None:
    with pytest.raises(EndpointConnectionError):
        connections().send(asking("http://nowhere.invalid/"))


def test_a_host_that_does_not_accept_connections_was_sent_nothing() -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # until its queue takes no more
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())

        with pytest.raises(ConnectTimeoutError):
            connections(connect_seconds=0.3).send(
                asking(f"http://127.0.0.1:{full.getsockname()[1]}/")
            )


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://a b/"])
def test_an_invalid_url_was_sent_nothing(url: str) -> None:
    with pytest.raises((UnusableRequestError, EndpointConnectionError)):
        connections().send(asking(url))


def test_an_error_about_a_credential_does_not_show_it(
    push: Push,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-1\ncanary-2")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")  # another environment, so another client

    report = push(ONE, seconds=1)

    (result,) = report["results"]
    assert (result["outcome"], result["attempts"]) == ("misconfigured", 1)
    assert result["reason"] == "UnusableRequestError"
    assert provider.calls == []
    assert "canary" not in json.dumps(report) + json.dumps(log_lines(capsys.readouterr().out))


def test_calls_to_a_host_share_one_hanging_name_lookup() -> None:
    """Threads do not accumulate while name resolution hangs: there is one for the host."""
    released = threading.Event()
    asked: list[str] = []

    def resolve(host: str, *_: object, flags: int, **__: object) -> Any:
        if flags:
            raise OSError("no address")
        asked.append(host)
        released.wait()
        raise OSError("no such host")

    http = connections(connect_seconds=0.2, resolve=resolve)
    for _ in range(3):
        with pytest.raises(ConnectTimeoutError):
            http.send(asking("http://push.test/"))
    assert asked == ["push.test"]

    released.set()
    wait_for(lambda: not any(thread.name == "names" for thread in threading.enumerate()))
    with pytest.raises(EndpointConnectionError):
        http.send(asking("http://push.test/"))
    assert asked == ["push.test"] * 2


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait some seconds at most until a condition is true."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
