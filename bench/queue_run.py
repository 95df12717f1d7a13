"""A hundred thousand recipients through the sandbox's queue: how fast, in how much memory.

The stack is the deployed one, with its queue, table and bus; only SendMessages is the lean
stand-in. The sandbox itself (its queue, its table) shares the machine with the function, so
what is read here is the memory, not the speed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench.player import CONTENT
from bench.processes import BenchError, service
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import set_variables

RECIPIENTS: Final = 100_000
A_MESSAGE: Final = 500
"""Recipients of one message of the queue."""

_WORKERS: Final = 2
_LOOK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 300.0


class Memory(NamedTuple):
    """What the function's largest process holds at one moment.

    Attributes
    ----------
    seconds
        Since the first message was put on the queue.
    resident_bytes
        Of its memory.
    accepted
        Pushes accepted by then.
    """

    seconds: float
    resident_bytes: int
    accepted: int


@dataclass(frozen=True)
class QueueRun:
    """What became of the messages.

    Attributes
    ----------
    recipients, seconds
        How many were sent to, and from the first message on the queue to the last push.
    memory
        In order.
    """

    recipients: int
    seconds: float
    memory: Sequence[Memory]

    def thirds(self) -> tuple[float, float]:
        """Give the median memory of the middle and of the last third, in bytes.

        The first third is left out: processes start and warm up in it.
        """
        resident = [each.resident_bytes for each in self.memory]
        third = max(len(resident) // 3, 1)
        return median(resident[third : 2 * third]), median(resident[-third:])


def queue_run(tell: Callable[[int, int], None]) -> QueueRun:
    """Put everything on the queue, and look at the function until all is accepted.

    Raises
    ------
    BenchError
        If it does not come to an end.
    """
    accepted: list[int] = []

    def hear(_: str, line: str) -> None:
        if '"request handled"' in line:
            accepted.append(json.loads(line)["summary"].get("accepted", 0))

    with (
        service(latency=0.05) as port,
        running_sandbox(context={"worker_concurrency": _WORKERS}, echo=hear) as sandbox,
    ):
        pinpoint = {"AWS_ENDPOINT_URL_PINPOINT": f"http://127.0.0.1:{port}"}
        set_variables(sandbox.deployment, pinpoint)
        function = sandbox.deployment.function_name.partition(":")[0]
        began = time.monotonic()
        memory: list[Memory] = []
        _put(sandbox)
        while (done := sum(accepted)) < RECIPIENTS:
            time.sleep(_LOOK_SECONDS)
            seconds = time.monotonic() - began
            environments = sandbox.functions.environments(function)
            resident = max((resident_bytes(each.pid) for each in environments), default=0)
            memory.append(Memory(round(seconds, 1), resident, done))
            tell(done, RECIPIENTS)
            if seconds > _PATIENCE_SECONDS:
                raise BenchError(f"the queue: {RECIPIENTS - done:,} recipients were not sent to")
        return QueueRun(done, time.monotonic() - began, memory)


def resident_bytes(pid: int) -> int:
    """Tell what a process holds of memory; 0 if it is gone."""
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
