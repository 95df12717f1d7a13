"""The processes of a measurement, from the side of whoever starts and asks them.

Each side runs in a plain interpreter (``-I -S -B``): of packages it sees the directory it
is given and nothing of the virtual environment, and of the environment what Lambda sets.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent

_LIKE_LAMBDA = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_LAMBDA_FUNCTION_NAME": "push-sender",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "eu-west-1",
    "AWS_SECRET_ACCESS_KEY": "an example, which opens nothing",
    "LANG": "en_US.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TZ": ":UTC",
    "APPLICATION_IDS": "bench",
}


class BenchError(Exception):
    """A measurement cannot go on; the message says why."""


class Spent(NamedTuple):
    """What something took, in seconds."""

    wall: float
    cpu: float


class Contestant:
    """One side, running. Its cold start has happened when this exists.

    Attributes
    ----------
    cold_start
        From just before the process was started to its first report. The CPU is that of
        the process itself.
    """

    def __init__(
        self, name: str, packages: Path, port: int, settings: Mapping[str, str] | None = None
    ) -> None:
        endpoint = {"AWS_ENDPOINT_URL_PINPOINT": f"http://127.0.0.1:{port}"}
        started_at = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603  our own command, no shell
            [*_plain_python("contestant.py"), name, str(packages)],
            env={**_LIKE_LAMBDA, **endpoint, **(settings or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for whoever asked, not for the process asked
        )
        try:
            reported_at, cpu = self._answer()
        except BaseException:  # Ctrl-C too: nothing is left behind, and it is raised again
            self._process.kill()
            self._process.communicate()
            raise
        self.cold_start = Spent(reported_at - started_at, cpu)

    def play(self, requests: int, recipients: int) -> Spent:
        """Have a round of requests sent, one after the other."""
        assert self._process.stdin  # noqa: S101  for the type checker
        self._process.stdin.write(f"{requests} {recipients}\n")
        self._process.stdin.flush()
        return Spent(*self._answer())

    def close(self) -> None:
        """End the process, which ends when its input does."""
        self._process.communicate(timeout=30)

    def _answer(self) -> tuple[float, float]:
        assert self._process.stdout  # noqa: S101  for the type checker
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("a side ended before its answer; what it said stands above")
        first, second = map(float, line.split())
        return first, second


@contextmanager
def contestant(
    name: str, packages: Path, port: int, settings: Mapping[str, str] | None = None
) -> Iterator[Contestant]:
    """Run one side.

    Parameters
    ----------
    name
        ``push-sender``, ``push-sender-http`` or ``boto3``.
    packages
        What it may import.
    port
        Of the service on loopback.
    settings
        More of the environment.
    """
    side = Contestant(name, packages, port, settings)
    try:
        yield side
    finally:
        side.close()


@contextmanager
def service(latency: float) -> Iterator[int]:
    """Run the service with a latency in seconds; give its port."""
    process = subprocess.Popen(  # noqa: S603  our own command, no shell
        [*_plain_python("service.py"), str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout  # noqa: S101  for the type checker
        port = process.stdout.readline()
        if not port:
            raise BenchError("the service did not start; what it said stands above")
        yield int(port)
    finally:
        process.communicate(timeout=30)


def _plain_python(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-B", str(_HERE / script)]
