"""The limits of the simulated service, to judge whether it limited a client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple

from bench.client_process import CONTENT
from bench.samples import Samples

ADDRESSES = 100


class Ceiling(NamedTuple):
    """Calls of 100 addresses a second, and the seconds to an answer."""

    calls_a_second: float
    answer_seconds: Samples


class _Caller(asyncio.Protocol):
    """A connection that repeats the same call after each answer."""

    def __init__(self, call: bytes, until: float, answered: list[float]) -> None:
        self._call = call
        self._until = until
        self._answered = answered
        self._received = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"}}}"):  # the end of each answer
            return
        self._received.clear()
        now = time.perf_counter()
        self._answered.append(now - self._sent_at)
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the service hung up"))

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._call)


def measure_ceiling(port: int, *, connections: int, seconds: float) -> Ceiling:
    """Call the service as fast as it answers, from a number of connections."""
    return asyncio.run(_measure(port, connections, seconds))


async def _measure(port: int, connections: int, seconds: float) -> Ceiling:
    loop = asyncio.get_running_loop()
    answered: list[float] = []
    started_at = time.perf_counter()
    callers = [
        (
            await loop.create_connection(
                lambda: _Caller(_call(), started_at + seconds, answered), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.done for caller in callers))
    return Ceiling(len(answered) / (time.perf_counter() - started_at), Samples(answered))


def _call() -> bytes:
    addresses = {f"{n:064x}": {"ChannelType": "GCM"} for n in range(ADDRESSES)}
    message = {"Title": CONTENT["title"], "Body": CONTENT["message"]}
    body = json.dumps({"Addresses": addresses, "MessageConfiguration": {"GCMMessage": message}})
    return (
        f"POST /v1/apps/bench/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
