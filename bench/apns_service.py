"""A lean stand-in for Apple's endpoint: the peer that must never be what a figure measures.

Every request is accepted, after a fixed latency, under the ``apns-id`` that it came with.
Nothing is checked. It runs as a process of its own, on loopback, and prints its port.

    python -I -S -B apns_service.py DIRECTORY_OF_PACKAGES LATENCY_SECONDS

It speaks HTTP/2 in plain text, with prior knowledge, and knows only the frames that a client
of Apple's sends: no padding, no priorities, no header block in several parts. It takes them
apart itself, in half the time of ``h2``, and has ``hpack`` read the headers. Like Apple's it
allows 1,000 requests at once on a connection. The window for data is opened wide: aioapns
takes a full one as an error, and waits for a second.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEAD = 9  # bytes before every frame's payload

_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_ACKNOWLEDGED = _END_STREAM = 1
_END_HEADERS = 4

_CONCURRENT_STREAMS = (3).to_bytes(2) + (1_000).to_bytes(4)
_WINDOW = 2**30
_HELD_BACK = 2**15  # bytes of data that are acknowledged together

_STATUS_200 = b"\x88"  # in HPACK's static table
_APNS_ID = b"\x00\x07apns-id"  # a literal name, kept in no table


class _Connection(asyncio.Protocol):
    """One connection, with its requests under way."""

    def __init__(self, latency: float, decoder: Any) -> None:
        self._latency = latency
        self._decoder = decoder
        self._received = bytearray()
        self._ids: dict[int, bytes] = {}
        self._unacknowledged = 0
        self._preface_due = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport
        transport.write(frame(_SETTINGS, 0, 0, _CONCURRENT_STREAMS) + window_update(_WINDOW))

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        # What the service works for is part of its latency, not on top of it.
        due = loop.time() + self._latency
        self._received += data
        if self._preface_due:
            if len(self._received) < _PREFACE:
                return
            del self._received[:_PREFACE]
            self._preface_due = False
        ended = self._take_frames()
        if ended and self._latency:
            loop.call_at(due, self._answer, ended)
        elif ended:
            self._answer(ended)

    def _take_frames(self) -> list[int]:
        """Take the whole frames that are here; give the streams that they ended."""
        received, start, ended = self._received, 0, []
        while len(received) >= start + _HEAD:
            end = start + _HEAD + int.from_bytes(received[start : start + 3])
            if len(received) < end:
                break
            kind, flags = received[start + 3], received[start + 4]
            stream = int.from_bytes(received[start + 5 : start + _HEAD])
            if kind == _HEADERS:
                block = bytes(received[start + _HEAD : end])
                self._ids[stream] = dict(self._decoder.decode(block, raw=True))[b"apns-id"]
            elif kind == _DATA:
                self._acknowledge(end - start - _HEAD)
            elif kind in (_SETTINGS, _PING) and not flags & _ACKNOWLEDGED:
                echo = bytes(received[start + _HEAD : end]) if kind == _PING else b""
                self._transport.write(frame(kind, _ACKNOWLEDGED, 0, echo))
            if kind in (_HEADERS, _DATA) and flags & _END_STREAM:
                ended.append(stream)
            start = end
        del received[:start]
        return ended

    def _acknowledge(self, length: int) -> None:
        """Give the window back. A request's own is never spent, since a push is small."""
        self._unacknowledged += length
        if self._unacknowledged >= _HELD_BACK:
            self._transport.write(window_update(self._unacknowledged))
            self._unacknowledged = 0

    def _answer(self, streams: Sequence[int]) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"".join([accept(s, self._ids.pop(s)) for s in streams]))


def accept(stream: int, apns_id: bytes) -> bytes:
    """Make the answer to one request."""
    block = _STATUS_200 + _APNS_ID + bytes([len(apns_id)]) + apns_id
    return frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, block)


def window_update(length: int) -> bytes:
    """Allow a connection so many bytes more."""
    return frame(_WINDOW_UPDATE, 0, 0, length.to_bytes(4))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Put a frame together."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3), kind, flags, stream.to_bytes(4), payload)


async def _serve(latency: float) -> None:
    from hpack import Decoder

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(latency, Decoder()), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started this holds its standard input. When that ends, so does this.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    asyncio.run(_serve(float(sys.argv[2])))
