"""Kept connections with TLS, proxies, and the SDK's settings for both."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    SSLError,
)
from botocore.httpsession import URLLib3Session

from bench.authority import Authority
from push_sender.clients import sdk
from push_sender.clients.calls import CallError, perform
from push_sender.clients.connections import (
    UntrustedCertificateError,
)
from tests.support.invocation import Push
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


class CertificateAuthority:
    """A certificate authority, its file, and servers that it certifies."""

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
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


def test_a_server_with_a_trusted_certificate_is_accepted(authority: CertificateAuthority) -> None:
    with serving(answering(ANSWER), authority.context("127.0.0.1")) as server:
        http = connections(ca_bundle=str(authority.bundle))

        assert [http.send(asking(server)).content for _ in range(2)] == [b"{}"] * 2
        assert server.accepted == 1


def test_the_client_speaks_http_1_1(authority: CertificateAuthority) -> None:
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
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
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


def test_a_certificate_for_another_address_is_refused(authority: CertificateAuthority) -> None:
    with (
        serving(answering(ANSWER), authority.context("127.0.0.2")) as server,
        pytest.raises(UntrustedCertificateError, match=r"127\.0\.0\.1"),
    ):
        connections(ca_bundle=str(authority.bundle)).send(asking(server))


def test_a_certificate_of_an_untrusted_authority_is_refused(
    authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = CertificateAuthority(tmp_path_factory.mktemp("stranger"))

    with (
        serving(answering(ANSWER), stranger.context("127.0.0.1")) as server,
        pytest.raises(UntrustedCertificateError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        connections(ca_bundle=str(authority.bundle)).send(asking(server))


def test_an_untrusted_certificate_is_a_configuration_error(
    authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = CertificateAuthority(tmp_path_factory.mktemp("stranger"))
    with serving(answering(ANSWER), stranger.context("127.0.0.1")) as server:
        http = connections(ca_bundle=str(authority.bundle))
        with pytest.raises(CallError) as error:
            perform(lambda: http.send(asking(server)))

    assert error.value.result.outcome == "misconfigured"
    assert not error.value.is_retryable
    assert not error.value.is_lost


def test_a_server_without_tls_was_sent_nothing(authority: CertificateAuthority) -> None:
    with (
        serving(lambda connection: connection.sendall(b"220 ready\r\n")) as server,
        pytest.raises(SSLError),
    ):
        connections(ca_bundle=str(authority.bundle)).send(
            asking(server.url.replace("http:", "https:"))
        )


def test_a_server_that_is_silent_in_the_handshake_was_sent_nothing(
    authority: CertificateAuthority,
) -> None:
    with (
        serving(silent) as server,
        pytest.raises(ConnectTimeoutError),
    ):
        connections(ca_bundle=str(authority.bundle), connect_seconds=0.3).send(
            asking(server.url.replace("http:", "https:"))
        )


def test_a_tls_session_that_breaks_after_the_request_may_have_delivered_it(
    authority: CertificateAuthority,
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


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxy and certificate settings of this machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def client(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    """Make a client with these environment variables."""
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    for name, value in (keys | environment).items():
        monkeypatch.setenv(name, value)
    return sdk.make_client("sqs", "eu-west-1", Config(retries={"total_max_attempts": 1}))


def answering_server(service: Any) -> str:
    """Call a service; give the header with which the server names itself."""
    request_id: str = service.list_queues()["ResponseMetadata"]["HTTPHeaders"]["x-told"]
    return request_id


TOLD = ANSWER.replace(b"\r\n\r\n", b"\r\nX-Told: here\r\n\r\n")


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_client_trusts_the_certificates_that_the_sdk_is_set_to(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(URLLib3Session, "send", None)
    with serving(answering(TOLD), authority.context("127.0.0.1")) as server:
        trusting = client(
            monkeypatch, AWS_ENDPOINT_URL_SQS=server.url, **{variable: str(authority.bundle)}
        )
        assert answering_server(trusting) == "here"

        monkeypatch.delenv(variable)
        strict = client(monkeypatch, AWS_ENDPOINT_URL_SQS=server.url)
        with pytest.raises(SSLError):
            answering_server(strict)


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
                answering_server(going)
        else:
            assert answering_server(going) == "here"
    assert [line.decode() for line in lines] == ([] if asked is None else [asked])


@pytest.mark.parametrize("variable", ["no_proxy", "https_proxy"])
def test_a_proxy_for_other_hosts_does_not_replace_our_connections(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(URLLib3Session, "send", None)

    with serving(answering(TOLD)) as server:
        settings = {"AWS_ENDPOINT_URL_SQS": server.url, variable: "proxy.test"}
        assert answering_server(client(monkeypatch, **settings)) == "here"


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
