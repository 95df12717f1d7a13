"""A file of many rows as a job: its pace and stages, the function's memory, and pushes beside it.

Before it, direct pushes are sent while the function is idle, and during a flood of the queue.

The deployed stack runs in the sandbox with its state machine, bucket and table, and with the
simulated SendMessages. The sandbox shares the machine with the function. ``figures.rows`` measures
the CPU of a row without it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Final, NamedTuple

from bench.client_process import CONTENT, make_request
from bench.flood import WORKERS, flooded
from bench.processes import BenchError, simulated_service
from bench.queue_run import Memory, resident_bytes
from bench.rows import TOKENS, write_rows
from bench.samples import Samples
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import set_variables

ROWS: Final = 100_000
PACE_SECONDS: Final = 30.0
"""The pace is that of any so many seconds of the job, or of half of a shorter job."""

_SECONDS: Final = 40
"""How long a job takes at its pace, if that is not too much for the machine."""

_MOST_TOKENS_PER_SECOND: Final = 5_000
_SAMPLE_SECONDS: Final = 0.5
_PUSH_SECONDS: Final = 0.25
_PUSHES: Final = 40
_COPIES: Final = 4
"""Copies of the function that are warm before the job."""

_MOST_COPIES: Final = 16
"""Copies of the function that may run at a time, so that no push is refused."""

_LIMIT_FACTOR: Final = 5


class Handled(NamedTuple):
    """The rows of one child.

    Attributes
    ----------
    seconds
        When its log record came, since the start of the job.
    accepted
        The accepted pushes.
    """

    seconds: float
    accepted: int


@dataclass(frozen=True)
class JobRun:
    """The result of the run.

    Attributes
    ----------
    rows, file_bytes, tokens_per_second
        The file, and the pace that was asked for.
    stages
        Seconds of the index, of the children and from the last child to the report.
    handled
        The children, in the order in which they ended.
    memory
        Of the function's largest process.
    sandbox_memory
        Of the sandbox's own process, with all of its simulated services.
    idle_pushes, flood_pushes, pushes
        Seconds of direct pushes: before the job, during a flood of the queue, and while the job
        ran.
    cpu_seconds
        CPU of the function's processes during the children, with the pushes beside them, and
        without the start of processes.
    """

    rows: int
    file_bytes: int
    tokens_per_second: int
    stages: Mapping[str, float]
    handled: Sequence[Handled]
    memory: Sequence[Memory]
    sandbox_memory: Sequence[Memory]
    idle_pushes: Samples
    flood_pushes: Samples
    pushes: Samples
    cpu_seconds: float

    def paces(self) -> Samples:
        """Return the tokens a second of each 30 seconds of the job, one second apart."""
        first, last = self.handled[0].seconds, self.handled[-1].seconds
        width = min(PACE_SECONDS, (last - first) / 2)
        begins = [first + second for second in range(math.floor(last - first - width) + 1)]
        return Samples(
            [
                sum(at.accepted for at in self.handled if 0 <= at.seconds - begin < width) / width
                for begin in begins
            ]
        )

    def index_rate(self) -> float:
        """Return the bytes a second of the index step."""
        return self.file_bytes / self.stages["index"]


def slope(memory: Sequence[Memory]) -> float:
    """Return how many bytes memory grows for each accepted push, after the first third.

    The processes start and warm up in the first third.
    """
    warm = memory[len(memory) // 3 :]
    pushes = [float(each.accepted) for each in warm]
    middle = sum(pushes) / len(pushes)
    spread = sum((each - middle) ** 2 for each in pushes)
    grown = sum((at - middle) * each.resident_bytes for at, each in zip(pushes, warm, strict=True))
    return grown / spread if spread else 0.0


@dataclass
class _Log:
    """What the function's log says about the job, and about messages of the queue."""

    handled: list[tuple[float, int]] = field(default_factory=list)
    messages: int = 0
    ended: Event = field(default_factory=Event)

    def read(self, _: str, line: str) -> None:
        """Read a line."""
        if '"job rows handled"' in line:
            accepted = json.loads(line)["counts"].get("accepted", 0)
            self.handled.append((time.monotonic(), accepted))
        elif '"request handled"' in line:
            self.messages += 1
        elif '"job ended"' in line:
            self.ended.set()


def job_run(rows: int, progress: Callable[[int, int], None]) -> JobRun:
    """Send a file of rows as a job, and sample the function until the job is reported.

    Raises
    ------
    BenchError
        If not every row was accepted, or the job does not end in time.
    """
    tokens_per_second = min(rows // _SECONDS, _MOST_TOKENS_PER_SECOND)
    log = _Log()
    with (
        simulated_service(latency=0.05) as port,
        running_sandbox(
            context={"worker_concurrency": WORKERS},
            echo=log.read,
            max_environments=_MOST_COPIES,
        ) as sandbox,
    ):
        pinpoint = {"AWS_ENDPOINT_URL_PINPOINT": f"http://127.0.0.1:{port}"}
        set_variables(sandbox.deployment, pinpoint)
        job = _Job(sandbox, rows, tokens_per_second, log)
        idle = job.idle_pushes()
        with flooded(sandbox.deployment, lambda: log.messages):
            during_flood = job.several_pushes()
        return job.run(idle, during_flood, progress)


class _Job:
    def __init__(self, sandbox: Sandbox, rows: int, tokens_per_second: int, log: _Log) -> None:
        deployment = sandbox.deployment
        self._functions = sandbox.functions
        self._outputs = deployment.outputs
        self._url = deployment.url
        self._function = deployment.function_name
        self._states: Any = client("stepfunctions", deployment.url)
        self._rows = rows
        self._pace = tokens_per_second
        self._log = log

    def idle_pushes(self) -> Samples:
        """Start some copies of the function, then send single pushes."""
        with ThreadPoolExecutor(_COPIES) as pool:
            list(pool.map(self._push, [1_000] * _COPIES))
        return self.several_pushes()

    def several_pushes(self) -> Samples:
        """Send single pushes at intervals."""
        return Samples([self._push_in_turn() for _ in range(_PUSHES)])

    def run(
        self, idle: Samples, during_flood: Samples, progress: Callable[[int, int], None]
    ) -> JobRun:
        """Run the job."""
        with TemporaryDirectory() as folder:
            file = Path(folder, "rows.csv")
            write_rows(file, TOKENS, self._rows)
            body = file.read_bytes()
        s3: Any = client("s3", self._url)
        s3.put_object(Bucket=self._outputs["JobBucketName"], Key="uploads/rows.csv", Body=body)
        content = {"request": {**CONTENT, "ttl": 86_400}, "tokens_per_second": self._pace}
        given = {"job": "bench", "source": {"key": "uploads/rows.csv"}, **content}
        began = time.monotonic()
        execution = self._states.start_execution(
            stateMachineArn=self._outputs["JobStateMachineArn"],
            name="bench",
            input=json.dumps(given),
        )["executionArn"]
        memory, own, cpu = [], [], _Cpu()
        limit = _LIMIT_FACTOR * (self._rows / self._pace + 60)
        with self._pushes() as pushes:
            while not self._log.ended.wait(_SAMPLE_SECONDS):
                seconds = round(time.monotonic() - began, 1)
                done = sum(accepted for _, accepted in self._log.handled)
                pids = [each.pid for each in self._functions.environments(self._name)]
                cpu.sample(pids)
                largest = max(map(resident_bytes, pids), default=0)
                memory.append(Memory(seconds, largest, done))
                own.append(Memory(seconds, resident_bytes(os.getpid()), done))
                progress(done, self._rows)
                if seconds > limit:
                    raise BenchError(f"the job: {self._rows - done:,} rows got no push")
        ended = time.monotonic()
        handled = [Handled(at - began, accepted) for at, accepted in self._log.handled]
        if (done := sum(each.accepted for each in handled)) != self._rows:
            raise BenchError(f"the job: {self._rows - done:,} rows were not accepted")
        index = self._index_seconds(execution)
        last = handled[-1].seconds
        stages = {"index": index, "children": last - index, "report": ended - began - last}
        return JobRun(
            self._rows,
            len(body),
            self._pace,
            stages,
            handled,
            memory,
            own,
            idle,
            during_flood,
            Samples(pushes),
            cpu.used(),
        )

    @property
    def _name(self) -> str:
        return self._function.partition(":")[0]

    def _index_seconds(self, execution: str) -> float:
        """Return the seconds from the start of an execution to its Map."""
        pages = self._states.get_paginator("get_execution_history")
        events = [
            event for page in pages.paginate(executionArn=execution) for event in page["events"]
        ]
        began = events[0]["timestamp"]
        ended = next(each for each in events if each["type"] == "MapStateEntered")["timestamp"]
        return float((ended - began).total_seconds())

    @contextmanager
    def _pushes(self) -> Iterator[list[float]]:
        """Send single pushes at intervals inside a ``with`` block; collect their seconds."""
        seconds: list[float] = []
        stop = Event()

        def push() -> None:
            while not stop.is_set():
                seconds.append(self._push_in_turn())

        with ThreadPoolExecutor(1) as pool:
            pushing = pool.submit(push)
            try:
                yield seconds
            finally:
                stop.set()
            pushing.result()

    def _push_in_turn(self) -> float:
        time.sleep(_PUSH_SECONDS)
        began = time.perf_counter()
        self._push(1)
        return time.perf_counter() - began

    def _push(self, recipients: int) -> None:
        payload = json.dumps(make_request(recipients)).encode()
        functions: Any = client("lambda", self._url)
        while True:
            try:
                answer = functions.invoke(FunctionName=self._function, Payload=payload)
                break
            except functions.exceptions.TooManyRequestsException:
                time.sleep(_PUSH_SECONDS / 5)  # a caller would try again, and count the time
        report = json.loads(answer["Payload"].read())
        if report.get("summary", {}).get("accepted") != recipients:
            raise BenchError("a direct push beside the job was not accepted")


class _Cpu:
    """The CPU time of processes since each was first seen."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}

    def sample(self, pids: Sequence[int]) -> None:
        """Look at some processes."""
        for pid in pids:
            if (seconds := _cpu_seconds(pid)) is not None:
                self._first.setdefault(pid, seconds)
                self._last[pid] = seconds

    def used(self) -> float:
        """Return the time of all processes."""
        return sum(seconds - self._first[pid] for pid, seconds in self._last.items())


def _cpu_seconds(pid: int) -> float | None:
    """Return a process's CPU time; None if it has ended (proc(5), /proc/PID/stat)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
