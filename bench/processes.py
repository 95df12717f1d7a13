"""The processes of a measurement, from the side of whoever starts and asks them.

Each side runs in a plain interpreter (``-I -S -B``): of packages it sees the directory it
is given and nothing of the virtual environment, and of the environment what Lambda sets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

_HERE: Final = Path(__file__).parent

_LIKE_LAMBDA: Final = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",  # a whole CPU, as each process has here
    "AWS_LAMBDA_FUNCTION_NAME": "push-sender",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "eu-west-1",
    "AWS_SECRET_ACCESS_KEY": "an example, which opens nothing",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LANG": "en_US.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TZ": ":UTC",
    "_X_AMZN_TRACE_ID": "Root=1-5e1b4151-5ac6c58f3b2dd4e8a1c9b5d3;Sampled=0",
}

_PIPE_BYTES: Final = 1 << 20
_READ_SECONDS: Final = 0.05
"""What a side logs is read now and then: a reader that woke at each line would take turns with
it on the same cores."""


class BenchError(Exception):
    """A measurement cannot go on; the message says why."""


class Spent(NamedTuple):
    """What something took.

    Attributes
    ----------
    wall, cpu
        In seconds. The CPU is that of the process itself.
    peak_bytes
        The most memory that the process had held by then.
    """

    wall: float
    cpu: float
    peak_bytes: float


@dataclass(frozen=True)
class Side:
    """Who takes part.

    Attributes
    ----------
    name
        In a table.
    module, kind
        The module in ``sides``, and its class.
    packages
        What it may import.
    settings
        More of the environment.
    """

    name: str
    module: str
    kind: str
    packages: Path
    settings: Mapping[str, str] = field(default_factory=dict)


class Player:
    """One side, running. Its cold start has happened when this exists.

    Attributes
    ----------
    cold_start
        From just before the process was started to its first report.
    """

    def __init__(self, side: Side, endpoints: Mapping[str, str]) -> None:
        answers, told = os.pipe()
        command = [*_plain_python("player.py"), side.module, side.kind, str(side.packages)]
        environment = {**_LIKE_LAMBDA, **endpoints, **side.settings, "ANSWERS": str(told)}
        started_at = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603  our own command, no shell
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=_PIPE_BYTES,
            pass_fds=[told],
            start_new_session=True,  # Ctrl-C is for whoever asked, not for the process asked
        )
        os.close(told)
        self._name = side.name
        self._answers = os.fdopen(answers)
        assert self._process.stdout  # noqa: S101  for the type checker
        self._reader = threading.Thread(target=_read_away, args=[self._process.stdout])
        self._reader.start()
        try:
            reported_at, cpu, peak = self._answer()
        except BaseException:  # Ctrl-C too: nothing is left behind, and it is raised again
            self._process.kill()
            self.close()
            raise
        self.cold_start = Spent(reported_at - started_at, cpu, peak)

    def play(self, requests: int, recipients: int, *, keyed: bool = False) -> Spent:
        """Have a round of requests sent, one after the other, each with a key of its own or none.

        Raises
        ------
        BenchError
            If a push was not accepted, or the side ended.
        """
        assert self._process.stdin  # noqa: S101  for the type checker
        self._process.stdin.write(f"{requests} {recipients} {keyed:d}\n".encode())
        self._process.stdin.flush()
        return Spent(*self._answer())

    def close(self) -> None:
        """End the process, which ends when its input does."""
        assert self._process.stdin  # noqa: S101  for the type checker
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._reader.join()
        self._answers.close()

    def _answer(self) -> tuple[float, float, float]:
        line = self._answers.readline()
        if not line:
            raise BenchError(f"{self._name} ended before its answer; what it said stands above")
        wall, cpu, peak = map(float, line.split())
        return wall, cpu, peak


def _read_away(stream: IO[bytes]) -> None:
    """Take what a side logs, as Lambda does, and keep nothing of it."""
    with stream:
        while os.read(stream.fileno(), _PIPE_BYTES):
            time.sleep(_READ_SECONDS)


@contextmanager
def playing(side: Side, endpoints: Mapping[str, str]) -> Iterator[Player]:
    """Run one side inside a ``with`` block.

    Parameters
    ----------
    side
        Which.
    endpoints
        Variables that lead its calls to loopback.
    """
    player = Player(side, endpoints)
    try:
        yield player
    finally:
        player.close()


@contextmanager
def service(latency: float, key_and_certificate: Path | None = None) -> Iterator[int]:
    """Run the stand-in for the services; give its port.

    Parameters
    ----------
    latency
        In seconds.
    key_and_certificate
        A file with both, for a stand-in that speaks TLS.
    """
    tls = [] if key_and_certificate is None else [str(key_and_certificate)]
    with _serving("service.py", str(latency), *tls) as port:
        yield port


@contextmanager
def apns_service(packages: Path, latency: float) -> Iterator[int]:
    """Run the stand-in for Apple's endpoint with a latency in seconds; give its port.

    Parameters
    ----------
    packages
        The directory that has ``h2``.
    latency
        In seconds.
    """
    with _serving("apns_service.py", str(packages), str(latency)) as port:
        yield port


def draw(run: Mapping[str, Any], packages: Path, chart: Path) -> None:
    """Draw a run into a file.

    Parameters
    ----------
    run
        As ``telling.as_json`` gives it.
    packages
        The directory that has matplotlib.
    chart
        The file.

    Raises
    ------
    BenchError
        If it cannot be drawn; why stands on standard error.
    """
    drawn = subprocess.run(  # noqa: S603  our own command, no shell
        [*_plain_python("chart.py"), str(packages)],
        input=json.dumps(run),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if drawn.returncode:
        raise BenchError("the chart could not be drawn; why stands above")
    chart.write_text(drawn.stdout)


@contextmanager
def _serving(script: str, *arguments: str) -> Iterator[int]:
    process = subprocess.Popen(  # noqa: S603  our own command, no shell
        [*_plain_python(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout  # noqa: S101  for the type checker
        port = process.stdout.readline()
        if not port:
            raise BenchError(f"{script} did not start; what it said stands above")
        yield int(port)
    finally:
        process.communicate(timeout=30)


def _plain_python(script: str) -> Sequence[str]:
    return [sys.executable, "-I", "-S", "-B", str(_HERE / script)]
