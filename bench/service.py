"""The simulated services: so simple that they never limit a figure.

SendMessages accepts every address, FCM every message and DynamoDB every record, each after a fixed
latency, and ten times as late for a token that begins with ``SLOW``. DynamoDB finds no record of a
key, and two devices of each user. An object of S3 is the file whose path is its key. The list of a
job's rows that were not accepted must be empty. Nothing else is checked; the sandbox does that. It
runs in its own process on loopback and prints its port.

    python -I -S service.py LATENCY_SECONDS [KEY_AND_CERTIFICATE]
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
from urllib.parse import unquote

SLOW = "slow-"
_SLOW = f'"{SLOW}'.encode()

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FCM = re.compile(rb"POST /v1/projects/")
_DYNAMODB = re.compile(rb"\r\nx-amz-target: *DynamoDB", re.IGNORECASE)
_READ = re.compile(
    rb"GET /[^/]+(/\S+) .*\r\nrange: *bytes=([0-9]+)-([0-9]+)", re.IGNORECASE | re.DOTALL
)
_WRITE = re.compile(rb"PUT /(?:\S+/(rows)/)?")
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"x-amzn-RequestId: 6c1a2f7e-0d35-4c1b-9a52-7f0b8f1c2d3e\r\n"
    b"Content-Length: %d\r\n\r\n"
)
_PART = (
    b'HTTP/1.1 206 -\r\nETag: "1"\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n'
)
_NOT_EMPTY = b"HTTP/1.1 409 -\r\nContent-Length: 0\r\n\r\n"
_ACCEPTED = (
    '{"DeliveryStatus":"SUCCESSFUL","StatusCode":200,"StatusMessage":"",'
    '"MessageId":"6c1a2f7e0d354c1b9a527f0b8f1c2d3e"}'
)


class _Connection(asyncio.Protocol):
    """One connection; its calls are answered in order."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        loop = asyncio.get_running_loop()
        while (call := self._take_call()) is not None:
            # The service's own work is part of the latency.
            due = loop.time() + self._latency * (10 if _SLOW in call[1] else 1)
            response = answer(*call)
            if self._latency:
                loop.call_at(due, self._send, response)
            else:
                self._send(response)

    def _take_call(self) -> tuple[bytes, bytes] | None:
        """Take the head and the body of the next call, if it has arrived completely."""
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = _LENGTH.search(self._received, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return None
        call = bytes(self._received[:head]), bytes(self._received[head + 4 : end])
        del self._received[:end]
        return call

    def _send(self, response: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(response)


def answer(head: bytes, body: bytes) -> bytes:
    """Make the HTTP response to a call.

    Tokens are not escaped; those of the benchmark need no escapes.
    """
    if _FCM.match(head):
        content = b'{"name":"projects/bench/messages/0:1"}'
    elif _DYNAMODB.search(head):
        content = _users(body) if b'"U#' in body else b'{"Responses":{}}'
    elif read := _READ.match(head):
        return _part(unquote(read[1].decode()), int(read[2]), int(read[3]))
    elif write := _WRITE.match(head):
        if write[1] and body:
            return _NOT_EMPTY
        content = b""
    else:
        tokens = json.loads(body)["Addresses"]
        results = ",".join([f'"{token}":{_ACCEPTED}' for token in tokens])
        content = f'{{"ApplicationId":"bench","RequestId":"-","Result":{{{results}}}}}'.encode()
    return _HEAD % len(content) + content


def _users(body: bytes) -> bytes:
    """Answer BatchGetItem with the items of the wanted users."""
    ((table, wanted),) = json.loads(body)["RequestItems"].items()
    items = [_user(key["id"]["S"]) for key in wanted["Keys"]]
    return json.dumps({"Responses": {table: items}, "UnprocessedKeys": {}}).encode()


def _user(id_: str) -> dict[str, dict[str, str]]:
    devices = {
        f"{id_}-{service}": {
            "token": f"{service}-{id_:0>140}",
            "service": service,
            "language": "de",
            "seen_at": "2026-01-01T00:00:00.000Z",
            "ref": "r",
            "expiration": 4_000_000_000,
        }
        for service in ("GCM", "APNS")
    }
    return {
        "id": {"S": id_},
        "etag": {"S": "e"},
        "expiration": {"N": "4000000000"},
        "value": {"S": json.dumps({"ref": "r", "devices": devices})},
    }


def _part(path: str, first: int, last: int) -> bytes:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(first)
        content = file.read(last + 1 - first)
    return _PART % (first, first + len(content) - 1, size, len(content)) + content


async def _serve(latency: float, tls: ssl.SSLContext | None = None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(latency), "127.0.0.1", 0, ssl=tls, backlog=1_000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # The parent holds standard input. The process ends with it.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def _tls(key_and_certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_and_certificate)
    return context


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), *map(_tls, sys.argv[2:])))
