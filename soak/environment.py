"""A sandbox with the stack in it, and everything around the function that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.bundle import SOURCE
from sandbox.functions.service import LambdaService
from sandbox.running import running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment, set_variables
from soak.fast_queue import bodies, taken, waiting
from soak.faults import Faults
from soak.ledger import Ledger
from soak.loopback import strangers
from soak.provider import Kill, Process, Provider, listening
from soak.services import Services

WORKERS: Final = 10
"""Copies of the function that work off the queue at once."""

_COPIES: Final = 24
"""Copies of it in all: nobody who waits for an answer shall be turned away."""

CALLS_AT_ONCE: Final = 4
"""SendMessages calls of one invocation: few, so that a large request can run out of time."""

_GONE_SECONDS: Final = 5.0
_TOLD: Final = "soak-told"
_TOKEN_UPDATE: Final = "Push Token Update"  # noqa: S105  an event's name, no secret
_DELIVERY_FAILED: Final = "Push Delivery Failed"


@dataclass(frozen=True)
class World:
    """What a run happens in.

    Attributes
    ----------
    deployment, functions
        The stack, and the function's processes.
    provider
        Where its pushes go.
    ledger
        What everybody saw.
    told
        The ARN of a queue with every event that the function tells.
    """

    deployment: Deployment
    functions: LambdaService
    provider: Provider
    ledger: Ledger
    told: str

    @property
    def function_name(self) -> str:
        """The function's, without its alias."""
        return self.deployment.function_name.partition(":")[0]

    def waiting(self) -> int:
        """Count the messages in the request queue, whatever their state."""
        return waiting(self.deployment.outputs["QueueArn"])

    def working(self) -> bool:
        """Tell whether any process of the function is at work."""
        return any(not each.reusable for each in self.functions.environments(self.function_name))

    def strangers(self) -> list[str]:
        """List whom the function talks to beyond this machine: nobody, or the run is no trial."""
        return strangers(each.pid for each in self.functions.environments(self.function_name))

    def dead_letters(self) -> list[str]:
        """Read the bodies of the dead letters; they stay where they are."""
        return bodies(self.deployment.outputs["DeadLetterQueueArn"])

    def redrive(self) -> None:
        """Send the dead letters again, as an operator does."""
        sqs = client("sqs", self.deployment.url)
        source = self.deployment.outputs["DeadLetterQueueArn"]
        sqs.start_message_move_task(
            SourceArn=source, DestinationArn=self.deployment.outputs["QueueArn"]
        )

    def listen(self) -> int:
        """Take in the events that were told meanwhile; give how many."""
        told = taken(self.told)
        for body in told:
            self._take(json.loads(body))
        return len(told)

    def _take(self, event: dict[str, Any]) -> None:
        detail = event["detail"]
        told: list[tuple[str, str]] = []
        if event["detail-type"] == _TOKEN_UPDATE:
            told = [(each["token"], detail["change"]) for each in detail["tokens"]]
        elif event["detail-type"] == _DELIVERY_FAILED:
            told = [(each["token"], detail["failure"]) for each in detail.get("recipients", ())]
        for token, what in told:
            self.ledger.tell(token, what)
            self.ledger.note([token], f"event: {what}")


@contextmanager
def running_world(
    faults: Faults,
    requests: Mapping[str, int],
    *,
    source: Path = SOURCE,
    remembers: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[World]:
    """Run all of it, on loopback alone, inside a ``with`` block.

    Parameters
    ----------
    faults
        What goes wrong.
    requests
        The number of the request that a device belongs to.
    source
        Of the function.
    remembers
        Whether histories are kept.
    tell
        Is told each step as it begins.
    """
    ledger = Ledger(remembers=remembers)
    with ExitStack() as running:
        sandbox = running.enter_context(
            running_sandbox(
                source=source,
                max_environments=_COPIES,
                on_progress=tell,
                echo=lambda _, line: ledger.log(line),
                context={
                    "worker_concurrency": WORKERS,
                    "http_requests_per_second": 10_000,
                    "http_burst": 5_000,
                },
            )
        )
        name = sandbox.deployment.function_name.partition(":")[0]
        kill = _killer(sandbox.functions, name, ledger)
        provider = Provider(faults, ledger, kill, requests)
        provider.url = running.enter_context(listening(provider.answer))
        services = Services(sandbox.deployment.url, faults, ledger, kill)
        around = running.enter_context(listening(services.answer))
        _lead(sandbox.deployment, provider.url, around, killed=faults.any_ and faults.killed)
        told = _hear(sandbox.deployment)
        yield World(sandbox.deployment, sandbox.functions, provider, ledger, told)


def _killer(functions: LambdaService, name: str, ledger: Ledger) -> Kill:
    """Make what kills a process of the function."""

    def kill(process: Process) -> None:
        for environment in functions.environments(name):
            if environment.access_key_id == process.access_key:
                ledger.kill(process.run)
                with suppress(ProcessLookupError):
                    os.kill(environment.pid, signal.SIGKILL)
                _wait_until_gone(environment.pid)

    return kill


def _wait_until_gone(pid: int) -> None:
    """Wait until a process does nothing more: gone, or a zombie that nobody has buried yet."""
    end = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.001)
    raise TimeoutError("a killed process goes on")


def _lead(deployment: Deployment, provider: str, around: str, *, killed: bool) -> None:
    """Lead the function's calls to those that misbehave."""
    set_variables(
        deployment,
        {
            "SEND_CONCURRENCY": str(CALLS_AT_ONCE),
            "AWS_ENDPOINT_URL_PINPOINT": provider,
            "AWS_ENDPOINT_URL_DYNAMODB": around,
            "AWS_ENDPOINT_URL_SQS": around,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": around,
        },
    )
    # A message that failed comes back soon and not after minutes; where its process may have
    # been killed, when its claim has surely lapsed.
    client("sqs", deployment.url).set_queue_attributes(
        QueueUrl=deployment.outputs["QueueUrl"],
        Attributes={"VisibilityTimeout": "33" if killed else "8"},
    )


def _hear(deployment: Deployment) -> str:
    """Put everything that the function tells on a queue; give its ARN."""
    sqs, events = client("sqs", deployment.url), client("events", deployment.url)
    url = str(sqs.create_queue(QueueName=_TOLD)["QueueUrl"])
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = str(answer["Attributes"]["QueueArn"])
    bus = {"EventBusName": deployment.outputs["EventBusName"]}
    pattern = json.dumps({"source": ["push-sender"]})
    events.put_rule(Name=_TOLD, EventPattern=pattern, **bus)
    events.put_targets(Rule=_TOLD, Targets=[{"Id": _TOLD, "Arn": arn}], **bus)
    return arn
