"""The SDK's HTTP over kept connections: which connections are kept and reused."""

from __future__ import annotations

import gc
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.raw_http import (
    ANSWER,
    answering,
    asking,
    connections,
    read_request,
    serving,
)


def test_successive_calls_share_a_connection() -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        while request := read_request(connection):
            asked.append(request)
            connection.sendall(ANSWER)

    with serving(talk) as server:
        http = connections()
        answers = [http.send(asking(f"{server.url}/a/b?c=d%20e", b"body")) for _ in range(3)]

        assert server.accepted == 1
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"{}")] * 3
    assert asked[0].startswith(b"POST /a/b?c=d%20e HTTP/1.1\r\nHost: " + server.address.encode())
    assert b"\r\nX-Told: yes\r\n" in asked[0]
    assert asked[0].endswith(b"\r\n\r\nbody")


def test_an_idle_connection_has_keepalive() -> None:
    with serving(answering(ANSWER)) as server:
        http = connections()
        http.send(asking(server))
        ((kept,),) = http._idle.values()

        assert kept.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_concurrent_calls_have_separate_connections_and_a_limited_number_is_kept() -> None:
    together = threading.Barrier(6)

    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            together.wait()
            connection.sendall(ANSWER)

    with serving(talk) as server, ThreadPoolExecutor(6) as threads:
        http = connections(max_idle=4)

        for accepted in (6, 8):  # the second time, four were there already
            list(threads.map(http.send, [asking(server)] * 6))
            assert server.accepted == accepted


def test_a_connection_that_the_server_closed_is_not_reused() -> None:
    gone = threading.Event()

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER)
        connection.close()
        gone.set()

    with serving(talk) as server:
        http = connections()
        http.send(asking(server))
        gone.wait()

        assert http.send(asking(server)).status_code == 200
        assert server.accepted == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
    ],
)
def test_a_connection_that_the_server_will_close_is_not_kept(answer: bytes) -> None:
    with serving(answering(answer, then_close=True)) as server:
        http = connections()

        assert [http.send(asking(server)).content for _ in range(2)] == [b"{}"] * 2
        assert server.accepted == 2


def test_a_chunked_answer_is_joined() -> None:
    pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"

    with serving(answering(pieces)) as server:
        http = connections()

        assert [http.send(asking(server)).content for _ in range(2)] == [b"{}"] * 2
        assert server.accepted == 1


def test_header_names_are_case_insensitive() -> None:
    with serving(answering(ANSWER.replace(b"\r\n\r\n", b"\r\nx-AMZN-told: yes\r\n\r\n"))) as server:
        assert connections().send(asking(server)).headers["X-Amzn-Told"] == "yes"


@pytest.mark.parametrize("forget", ["close", "drop"])
def test_a_closed_or_dropped_pool_leaves_no_connection_open(forget: str) -> None:
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(ANSWER)
        ended.set()

    with serving(talk) as server:
        http = connections()
        http.send(asking(server))
        if forget == "close":
            http.close()
        else:
            del http
            gc.collect()

        assert ended.wait(5)
