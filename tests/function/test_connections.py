"""The SDK's HTTP over kept connections: kept, given up, and honest about what was sent."""

from __future__ import annotations

import gc
import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError

from bench.authority import Authority
from push_sender.clients import sdk
from push_sender.clients.calls import CallError, TooLateError, perform, permitted
from push_sender.clients.connections import (
    ANSWER_BYTES,
    Connections,
    UntrustedCertificateError,
    UnusableRequestError,
)
from tests.support.invocation import Push, log_lines
from tests.support.provider import Provider

ONE = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Talk = Callable[[socket.socket], None]


class Server:
    """Something on loopback that does with each connection what a test tells it to."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None) -> None:
        self.accepted = 0
        self._talk = talk
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"{'http' if tls is None else 'https'}://{self.address}"

    def serve(self) -> None:
        """Take connections until the server is closed, each in a thread of its own."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            if self._tls is not None:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self._open.append(connection)
            thread = threading.Thread(target=self._serve_one, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Close everything, and wait for the threads to see it."""
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client has gone, or the test is over
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self._talk(connection)


@contextmanager
def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server."""
    server = Server(talk, tls)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def read_request(connection: socket.socket) -> bytes:
    """Read one request, head and body; nothing where the client has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len")),
        0,
    )
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return head + body


def answering(*answers: bytes, then_close: bool = False) -> Talk:
    """Answer requests on each connection with one after the other, the last for ever."""

    def talk(connection: socket.socket) -> None:
        rest = list(answers)
        while read_request(connection):
            connection.sendall(rest.pop(0) if len(rest) > 1 else rest[0])
            if then_close and len(rest) == 1:
                connection.close()
                return

    return talk


def silent(connection: socket.socket) -> None:
    """Listen, and answer nothing."""
    while connection.recv(4_096):
        pass


def asking(server: Server | str, body: bytes = b"{}") -> AWSPreparedRequest:
    """Prepare a request as botocore does."""
    url = server if isinstance(server, str) else f"{server.url}/v1/messages"
    return AWSRequest(method="POST", url=url, data=body, headers={"X-Told": "yes"}).prepare()


def connections(**settings: Any) -> Connections:
    """Make what is tested, patient enough for a busy machine unless told otherwise."""
    return Connections(**{"connect_seconds": 5, "read_seconds": 5, "max_idle": 4, **settings})


# --- kept


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


# --- given up


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

        assert server.accepted == 2  # each call was sent once, over a connection of its own


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
        connections().send(asking(server))


def compressed(body: bytes, encoding: bytes = b"gzip") -> bytes:
    """Write an answer with a compressed body."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (encoding, len(body)) + body


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(b"{}"), b"gzip"), (zlib.compress(b"{}"), b"deflate"), (b"{}", b" Identity")],
    ids=["gzip", "deflate", "identity"],  # a gzip tells the time
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


class Until:
    """A permit with a deadline, and a last word on whether the first byte may go out."""

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
    with serving(silent) as server, pytest.raises(ReadTimeoutError), permitted(Until(0.2)):
        connections(read_seconds=30).send(asking(server))


def test_the_first_byte_is_sent_only_with_permission() -> None:
    asked: list[bytes] = []

    closed = threading.Event()

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(1))
        closed.set()

    permit = Until(5, refuses=True)
    with serving(talk) as server:
        with pytest.raises(TooLateError), permitted(permit):
            connections().send(asking(server))
        assert closed.wait(5)

    assert permit.noted == ["connecting", "sending"]
    assert asked == [b""]


def test_a_kept_connection_asks_for_permission_too() -> None:
    permit = Until(5)
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

        assert server.accepted == 2  # what may come of the first is not taken for the second's


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
        with pytest.raises(ReadTimeoutError), permitted(Until(0.2)):
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


# --- not connected


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


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is true, at most some seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- TLS


class Certified:
    """An authority, the file by which it is trusted, and servers that it certifies."""

    def __init__(self, directory: Path) -> None:
        self._authority = Authority()
        self._server = directory / "server.pem"
        self.bundle = directory / "bundle.pem"
        self.bundle.write_bytes(self._authority.certificate)

    def context(self, address: str) -> ssl.SSLContext:
        """Set up a server whose certificate is for an IP address."""
        self._server.write_bytes(self._authority.certify(address))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Certified:
    return Certified(tmp_path)


def test_a_server_with_a_trusted_certificate_is_accepted(authority: Certified) -> None:
    with serving(answering(ANSWER), authority.context("127.0.0.1")) as server:
        http = connections(ca_bundle=str(authority.bundle))

        assert [http.send(asking(server)).content for _ in range(2)] == [b"{}"] * 2
        assert server.accepted == 1


def test_the_client_speaks_http_1_1(authority: Certified) -> None:
    spoken: list[str | None] = []
    context = authority.context("127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])

    def talk(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        spoken.append(connection.selected_alpn_protocol())
        answering(ANSWER)(connection)

    with serving(talk, context) as server:
        connections(ca_bundle=str(authority.bundle)).send(asking(server))

    assert spoken == ["http/1.1"]


def test_trusted_certificates_are_read_once_for_all_connections(
    authority: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    usual = ssl.SSLContext.load_verify_locations

    def load(context: ssl.SSLContext, *files: Any, **more: Any) -> None:
        reads.extend(files)
        usual(context, *files, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    close = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    with serving(answering(close), authority.context("127.0.0.1")) as server:
        http = connections(ca_bundle=str(authority.bundle))
        for _ in range(3):
            http.send(asking(server))

        assert server.accepted == 3
    assert reads == [str(authority.bundle)]


def test_a_certificate_for_another_address_is_refused(authority: Certified) -> None:
    with (
        serving(answering(ANSWER), authority.context("127.0.0.2")) as server,
        pytest.raises(UntrustedCertificateError, match=r"127\.0\.0\.1"),
    ):
        connections(ca_bundle=str(authority.bundle)).send(asking(server))


def test_a_certificate_of_an_untrusted_authority_is_refused(
    authority: Certified, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Certified(tmp_path_factory.mktemp("stranger"))

    with (
        serving(answering(ANSWER), stranger.context("127.0.0.1")) as server,
        pytest.raises(UntrustedCertificateError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        connections(ca_bundle=str(authority.bundle)).send(asking(server))


def test_an_untrusted_certificate_is_a_configuration_error(
    authority: Certified, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Certified(tmp_path_factory.mktemp("stranger"))
    with serving(answering(ANSWER), stranger.context("127.0.0.1")) as server:
        http = connections(ca_bundle=str(authority.bundle))
        with pytest.raises(CallError) as error:
            perform(lambda: http.send(asking(server)))

    assert error.value.result.outcome == "misconfigured"
    assert not error.value.is_retryable
    assert not error.value.is_lost


def test_a_server_without_tls_was_sent_nothing(authority: Certified) -> None:
    with (
        serving(lambda connection: connection.sendall(b"220 ready\r\n")) as server,
        pytest.raises(SSLError),
    ):
        connections(ca_bundle=str(authority.bundle)).send(
            asking(server.url.replace("http:", "https:"))
        )


def test_a_server_that_is_silent_in_the_handshake_was_sent_nothing(authority: Certified) -> None:
    with (
        serving(silent) as server,
        pytest.raises(ConnectTimeoutError),
    ):
        connections(ca_bundle=str(authority.bundle), connect_seconds=0.3).send(
            asking(server.url.replace("http:", "https:"))
        )


def test_a_tls_session_that_breaks_after_the_request_may_have_delivered_it(
    authority: Certified,
) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        plain = socket.socket(fileno=connection.detach())
        plain.sendall(b"no record of a TLS session")
        plain.close()

    with (
        serving(talk, authority.context("127.0.0.1")) as server,
        pytest.raises(ConnectionClosedError),
    ):
        connections(ca_bundle=str(authority.bundle)).send(asking(server))


# --- as the SDK is set up


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget how this machine reaches the world."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def client(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    """Make a client in an environment of its own."""
    keys = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
    for name, value in (keys | environment).items():
        monkeypatch.setenv(name, value)
    return sdk.make_client("sqs", "eu-west-1", Config(retries={"total_max_attempts": 1}))


def told(service: Any) -> str:
    """Ask a service for something; give what botocore says of the answer."""
    request_id: str = service.list_queues()["ResponseMetadata"]["HTTPHeaders"]["x-told"]
    return request_id


TOLD = ANSWER.replace(b"\r\n\r\n", b"\r\nX-Told: here\r\n\r\n")


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_client_trusts_the_certificates_that_the_sdk_is_set_to(
    authority: Certified, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(URLLib3Session, "send", None)
    with serving(answering(TOLD), authority.context("127.0.0.1")) as server:
        trusting = client(
            monkeypatch, AWS_ENDPOINT_URL_SQS=server.url, **{variable: str(authority.bundle)}
        )
        assert told(trusting) == "here"

        monkeypatch.delenv(variable)
        strict = client(monkeypatch, AWS_ENDPOINT_URL_SQS=server.url)
        with pytest.raises(SSLError):
            told(strict)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_an_unreadable_certificate_file_fails_immediately(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "bundle.pem"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ValueError, match=str(file)):
        client(monkeypatch, AWS_CA_BUNDLE=str(file))


@pytest.mark.parametrize(
    ("excepted", "asked"),
    [("", "POST http://sqs.test/ HTTP/1.1"), ("sqs.test", None)],
)
def test_a_client_uses_the_proxy_of_the_sdk(
    monkeypatch: pytest.MonkeyPatch, excepted: str, asked: str | None
) -> None:
    lines: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        while request := read_request(connection):
            lines.append(request.split(b"\r\n")[0])
            connection.sendall(TOLD)

    with serving(talk) as proxy:
        going = client(
            monkeypatch,
            AWS_ENDPOINT_URL_SQS="http://sqs.test",
            http_proxy=proxy.url,
            no_proxy=excepted,
        )
        if asked is None:
            with pytest.raises(EndpointConnectionError):
                told(going)
        else:
            assert told(going) == "here"
    assert [line.decode() for line in lines] == ([] if asked is None else [asked])


@pytest.mark.parametrize("variable", ["no_proxy", "https_proxy"])
def test_a_proxy_for_other_hosts_does_not_replace_our_connections(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(URLLib3Session, "send", None)

    with serving(answering(TOLD)) as server:
        settings = {"AWS_ENDPOINT_URL_SQS": server.url, variable: "proxy.test"}
        assert told(client(monkeypatch, **settings)) == "here"


def test_timeouts_and_pool_size_come_from_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(sdk, "Connections", lambda **settings: made.append(settings))

    config = Config(connect_timeout=1, read_timeout=2, max_pool_connections=3)
    sdk.make_client("dynamodb", "eu-west-1", config)

    assert [settings.pop("ca_bundle")[-4:] for settings in made] == [".pem"]
    assert made == [{"connect_seconds": 1, "read_seconds": 2, "max_idle": 3}]


def test_a_push_uses_our_own_connections(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(URLLib3Session, "send", None)

    assert push(ONE)["results"][0]["outcome"] == "accepted"
