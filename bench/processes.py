"""Start the processes of a measurement: clients, simulated services, the chart.

Each client runs in a plain interpreter (``-I -S -B``). It sees only its directory of packages and
an environment like Lambda's, nothing of the virtual environment.
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
"""A client's log is read at intervals. A reader that wakes at each line would compete with the
client for the cores."""


class BenchError(Exception):
    """A measurement cannot go on; the message says why."""


class Cost(NamedTuple):
    """The cost of something.

    Attributes
    ----------
    wall, cpu
        In seconds. The CPU is that of the process itself.
    peak_bytes
        The peak memory of the process until then.
    """

    wall: float
    cpu: float
    peak_bytes: float


@dataclass(frozen=True)
class Client:
    """A client to compare.

    Attributes
    ----------
    name
        In the tables.
    module, kind
        The module in ``clients``, and its class.
    packages
        The directory that it imports from.
    settings
        Further environment variables.
    """

    name: str
    module: str
    kind: str
    packages: Path
    settings: Mapping[str, str] = field(default_factory=dict)


class RunningClient:
    """The process of a client, after its cold start.

    Attributes
    ----------
    cold_start
        From just before the process was started to its first report.
    """

    def __init__(self, client: Client, endpoints: Mapping[str, str]) -> None:
        answers, answers_end = os.pipe()
        command = [
            *_plain_python("client_process.py"),
            client.module,
            client.kind,
            str(client.packages),
        ]
        environment = {**_LIKE_LAMBDA, **endpoints, **client.settings, "ANSWERS": str(answers_end)}
        started_at = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603  our own command, no shell
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=_PIPE_BYTES,
            pass_fds=[answers_end],
            start_new_session=True,  # Ctrl-C is only for the parent
        )
        os.close(answers_end)
        self._name = client.name
        self._answers = os.fdopen(answers)
        assert self._process.stdout  # noqa: S101  for the type checker
        self._reader = threading.Thread(target=_read_away, args=[self._process.stdout])
        self._reader.start()
        try:
            reported_at, cpu, peak = self._answer()
        except BaseException:  # also Ctrl-C: end the process, then raise again
            self._process.kill()
            self.close()
            raise
        self.cold_start = Cost(reported_at - started_at, cpu, peak)

    def run_round(self, requests: int, recipients: int, *, keyed: bool = False) -> Cost:
        """Send a round of requests one after the other, each with its own key or without.

        Raises
        ------
        BenchError
            If a push was not accepted, or the client ended.
        """
        assert self._process.stdin  # noqa: S101  for the type checker
        self._process.stdin.write(f"{requests} {recipients} {keyed:d}\n".encode())
        self._process.stdin.flush()
        return Cost(*self._answer())

    def close(self) -> None:
        """End the process by closing its input."""
        assert self._process.stdin  # noqa: S101  for the type checker
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._reader.join()
        self._answers.close()

    def _answer(self) -> tuple[float, float, float]:
        line = self._answers.readline()
        if not line:
            raise BenchError(f"{self._name} ended before its answer; its error is above")
        wall, cpu, peak = map(float, line.split())
        return wall, cpu, peak


def _read_away(stream: IO[bytes]) -> None:
    """Read a client's log, as Lambda does, and discard it."""
    with stream:
        while os.read(stream.fileno(), _PIPE_BYTES):
            time.sleep(_READ_SECONDS)


@contextmanager
def running_client(client: Client, endpoints: Mapping[str, str]) -> Iterator[RunningClient]:
    """Run one client inside a ``with`` block.

    Parameters
    ----------
    client
        The client.
    endpoints
        The environment variables with loopback URLs.
    """
    running = RunningClient(client, endpoints)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def simulated_service(latency: float, key_and_certificate: Path | None = None) -> Iterator[int]:
    """Run the simulated services; return their port.

    Parameters
    ----------
    latency
        In seconds.
    key_and_certificate
        A file with both, for TLS.
    """
    tls = [] if key_and_certificate is None else [str(key_and_certificate)]
    with _serving("service.py", str(latency), *tls) as port:
        yield port


def draw(run: Mapping[str, Any], packages: Path, chart: Path) -> None:
    """Draw a run into a file.

    Parameters
    ----------
    run
        From ``summary.as_json``.
    packages
        The directory that has matplotlib.
    chart
        The file.

    Raises
    ------
    BenchError
        If it cannot be drawn; the reason is on standard error.
    """
    drawn = subprocess.run(  # noqa: S603  our own command, no shell
        [*_plain_python("chart.py"), str(packages)],
        input=json.dumps(run),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if drawn.returncode:
        raise BenchError("the chart could not be drawn; the reason is above")
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
            raise BenchError(f"{script} did not start; its error is above")
        yield int(port)
    finally:
        process.communicate(timeout=30)


def _plain_python(script: str) -> Sequence[str]:
    return [sys.executable, "-I", "-S", "-B", str(_HERE / script)]
