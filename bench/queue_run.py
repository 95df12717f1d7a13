"""A hundred thousand recipients through the sandbox's queue: the function's memory.

The deployed stack runs with its queue, table and bus, and with the simulated SendMessages. The
sandbox shares the machine with the function, so the time says little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench.client_process import CONTENT
from bench.processes import BenchError, simulated_service
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import set_variables

RECIPIENTS: Final = 100_000
A_MESSAGE: Final = 500
"""Recipients of one message of the queue."""

_WORKERS: Final = 2
_SAMPLE_SECONDS: Final = 0.5
_LIMIT_SECONDS: Final = 300.0


class Memory(NamedTuple):
    """The memory of the function's largest process at one moment.

    Attributes
    ----------
    seconds
        Since the first message.
    resident_bytes
        Its resident memory.
    accepted
        Pushes accepted by then.
    """

    seconds: float
    resident_bytes: int
    accepted: int


@dataclass(frozen=True)
class QueueRun:
    """The result of the run.

    Attributes
    ----------
    recipients, seconds
        The number of recipients, and the time from the first message to the last push.
    memory
        The samples, in order.
    """

    recipients: int
    seconds: float
    memory: Sequence[Memory]

    def thirds(self) -> tuple[float, float]:
        """Return the median memory of the middle and of the last third, in bytes.

        The processes start and warm up in the first third.
        """
        resident = [each.resident_bytes for each in self.memory]
        third = max(len(resident) // 3, 1)
        return median(resident[third : 2 * third]), median(resident[-third:])


def queue_run(progress: Callable[[int, int], None]) -> QueueRun:
    """Put all recipients on the queue, and sample the function until all are accepted.

    Raises
    ------
    BenchError
        If it does not end in time.
    """
    accepted: list[int] = []

    def read_log(_: str, line: str) -> None:
        if '"request handled"' in line:
            accepted.append(json.loads(line)["summary"].get("accepted", 0))

    with (
        simulated_service(latency=0.05) as port,
        running_sandbox(context={"worker_concurrency": _WORKERS}, echo=read_log) as sandbox,
    ):
        pinpoint = {"AWS_ENDPOINT_URL_PINPOINT": f"http://127.0.0.1:{port}"}
        set_variables(sandbox.deployment, pinpoint)
        function = sandbox.deployment.function_name.partition(":")[0]
        began = time.monotonic()
        memory: list[Memory] = []
        _put(sandbox)
        while (done := sum(accepted)) < RECIPIENTS:
            time.sleep(_SAMPLE_SECONDS)
            seconds = time.monotonic() - began
            environments = sandbox.functions.environments(function)
            resident = max((resident_bytes(each.pid) for each in environments), default=0)
            memory.append(Memory(round(seconds, 1), resident, done))
            progress(done, RECIPIENTS)
            if seconds > _LIMIT_SECONDS:
                raise BenchError(f"the queue: {RECIPIENTS - done:,} recipients got no push")
        return QueueRun(done, time.monotonic() - began, memory)


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(sizes[0]) * 1_024 if sizes else 0


def _put(sandbox: Sandbox) -> None:
    sqs: Any = client("sqs", sandbox.deployment.url)
    for first in range(0, RECIPIENTS, A_MESSAGE):
        everyone = [
            {"token": f"{number:064x}", "service": "GCM"}
            for number in range(first, first + A_MESSAGE)
        ]
        sqs.send_message(
            QueueUrl=sandbox.deployment.outputs["QueueUrl"],
            MessageBody=json.dumps({"recipients": everyone, **CONTENT, "ttl": 86_400}),
        )
