"""A sandbox with the stack, and the failing services around the function."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.bundle import SOURCE
from sandbox.functions.service import LambdaService
from sandbox.running import running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment, set_variables
from soak.faults import Faults
from soak.job_plan import job_in
from soak.ledger import Ledger
from soak.phones import result_name
from soak.plan import root_of
from soak.processes import outside_connections, wait_until_ended
from soak.provider import Provider
from soak.queues import message_bodies, message_count, take_all
from soak.server import Kill, Process, serving
from soak.services import Services

WORKERS: Final = 10
"""Invocations that process the queue at once."""

_CONCURRENCY: Final = 24
"""Invocations in all at once: enough that no waiting caller is throttled."""

CALLS_AT_ONCE: Final = 4
"""SendMessages calls at once in one invocation: few, so that a large request can time out."""

_FUNCTIONS: Final = ("FunctionName", "DevicesFunctionName")
"""The outputs with the functions: the sender and the registry of devices."""

_EVENT_QUEUE: Final = "soak-events"
_TOKEN_UPDATE: Final = "Push Token Update"  # noqa: S105  an event's name, no secret
_DELIVERY_FAILED: Final = "Push Delivery Failed"
_REPORT: Final = "Push Report"
_JOB_REPORT: Final = "Push Job Report"


@dataclass(frozen=True)
class SoakEnvironment:
    """The sandbox and the failing services of a run.

    Attributes
    ----------
    deployment, functions
        The stack, and the function's processes.
    provider
        The simulated push service.
    ledger
        What each side saw.
    event_queue_arn
        A queue with every event of the function.
    """

    deployment: Deployment
    functions: LambdaService
    provider: Provider
    ledger: Ledger
    event_queue_arn: str

    @property
    def function_name(self) -> str:
        """The function's name, without its alias."""
        return self.deployment.function_name.partition(":")[0]

    def message_count(self) -> int:
        """Count the messages in the request queue, visible or not."""
        return message_count(self.deployment.outputs["QueueArn"])

    def schedule_count(self) -> int:
        """Count the schedules of requests for later."""
        listed = client("scheduler", self.deployment.url).get_paginator("list_schedules")
        group = self.deployment.outputs["ScheduleGroupName"]
        return sum(len(page["Schedules"]) for page in listed.paginate(GroupName=group))

    def working(self) -> bool:
        """Whether any process of the function is busy."""
        return any(not each.reusable for each in self.functions.environments(self.function_name))

    def outside_connections(self) -> list[str]:
        """List the functions' connections beyond this machine, which end the run."""
        return outside_connections(
            each.pid
            for name in _names(self.deployment)
            for each in self.functions.environments(name)
        )

    def dead_letters(self) -> list[str]:
        """Read the bodies of the dead-letter messages, and leave them there."""
        return message_bodies(self.deployment.outputs["DeadLetterQueueArn"])

    def redrive(self) -> None:
        """Move the dead-letter messages back to the queue, as an operator does."""
        sqs = client("sqs", self.deployment.url)
        source = self.deployment.outputs["DeadLetterQueueArn"]
        sqs.start_message_move_task(
            SourceArn=source, DestinationArn=self.deployment.outputs["QueueArn"]
        )

    def read_events(self) -> int:
        """Record the new events; return their number."""
        bodies = take_all(self.event_queue_arn)
        for body in bodies:
            self._record(json.loads(body))
        return len(bodies)

    def _record(self, event: dict[str, Any]) -> None:
        detail = event["detail"]
        if event["detail-type"] == _JOB_REPORT:
            self.ledger.report_job(detail)
            return
        changes: list[tuple[str, str]] = []
        if event["detail-type"] == _TOKEN_UPDATE:
            changes = [(each["token"], detail["change"]) for each in detail["tokens"]]
        elif event["detail-type"] == _DELIVERY_FAILED:
            changes = [(each["token"], detail["failure"]) for each in detail.get("recipients", ())]
        part = detail["idempotency_key"] or detail["request_id"]
        id_ = root_of(part)
        self.ledger.parts[id_] += event["detail-type"] == _REPORT
        if event["detail-type"] == _REPORT and (missing := detail["summary"].get("no_device")):
            self.ledger.miss(id_, part, missing)
        if detail.get("job") != job_in(id_):
            self.ledger.odd_events.append((id_, f"an event names the job {detail.get('job')}"))
        for token, what in changes:
            if not isinstance(token, str):
                self.ledger.odd_events.append((id_, f"an event says {what} of no token"))
                continue
            name = result_name(token, id_)
            self.ledger.record_event(name, what)
            self.ledger.note([name], f"event: {what}")


@contextmanager
def running_environment(
    faults: Faults,
    sizes: Mapping[int, int],
    *,
    source: Path = SOURCE,
    keep_history: bool = True,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Iterator[SoakEnvironment]:
    """Run the sandbox and the failing services on loopback, inside a ``with`` block.

    Parameters
    ----------
    faults
        What fails.
    sizes
        By the number of a request, the number of its recipients.
    source
        The folder of the function.
    keep_history
        Whether the ledger keeps histories.
    on_progress
        Gets a line at the start of each step.
    """
    ledger = Ledger(keep_history=keep_history)
    with ExitStack() as running:
        sandbox = running.enter_context(
            running_sandbox(
                source=source,
                max_environments=_CONCURRENCY,
                on_progress=on_progress,
                echo=lambda _, line: ledger.log(line),
                context={
                    "worker_concurrency": WORKERS,
                    "http_requests_per_second": 10_000,
                    "http_burst": 5_000,
                },
            )
        )
        kill = _killer(sandbox.functions, _names(sandbox.deployment), ledger)
        provider = Provider(faults, ledger, kill, sizes)
        provider.url = running.enter_context(serving(provider.answer))
        services = Services(sandbox.deployment.url, faults, ledger, kill)
        services_url = running.enter_context(serving(services.answer))
        killed = faults.enabled and faults.killed
        _redirect(sandbox.deployment, provider.url, services_url, killed=killed)
        event_queue_arn = _subscribe(sandbox.deployment)
        yield SoakEnvironment(
            sandbox.deployment, sandbox.functions, provider, ledger, event_queue_arn
        )


def _names(deployment: Deployment) -> list[str]:
    """Name the two functions, without their aliases."""
    return [deployment.outputs[each].partition(":")[0] for each in _FUNCTIONS]


def _killer(functions: LambdaService, names: Sequence[str], ledger: Ledger) -> Kill:
    """Make the function that kills a process."""

    def kill(process: Process) -> None:
        for environment in [each for name in names for each in functions.environments(name)]:
            if environment.access_key_id == process.access_key:
                ledger.kill(process.run)
                with suppress(ProcessLookupError):
                    os.kill(environment.pid, signal.SIGKILL)
                wait_until_ended(environment.pid)

    return kill


def _redirect(deployment: Deployment, provider: str, services_url: str, *, killed: bool) -> None:
    """Send the functions' calls to the failing services."""
    set_variables(
        deployment,
        {
            "SEND_CONCURRENCY": str(CALLS_AT_ONCE),
            "AWS_ENDPOINT_URL_PINPOINT": provider,
            "AWS_ENDPOINT_URL_DYNAMODB": services_url,
            "AWS_ENDPOINT_URL_SQS": services_url,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": services_url,
            "AWS_ENDPOINT_URL_S3": services_url,
            "AWS_ENDPOINT_URL_SCHEDULER": services_url,
        },
    )
    registry = {"AWS_ENDPOINT_URL_DYNAMODB": services_url}
    set_variables(deployment, registry, output="DevicesFunctionName")
    # A failed message becomes visible after seconds, not minutes. If its process may have been
    # killed, this must be after its claim has lapsed.
    client("sqs", deployment.url).set_queue_attributes(
        QueueUrl=deployment.outputs["QueueUrl"],
        Attributes={"VisibilityTimeout": "33" if killed else "8"},
    )


def _subscribe(deployment: Deployment) -> str:
    """Put every event of the function on a queue; return the queue's ARN."""
    sqs, events = client("sqs", deployment.url), client("events", deployment.url)
    url = str(sqs.create_queue(QueueName=_EVENT_QUEUE)["QueueUrl"])
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = str(answer["Attributes"]["QueueArn"])
    bus = {"EventBusName": deployment.outputs["EventBusName"]}
    pattern = json.dumps({"source": ["push-sender"]})
    events.put_rule(Name=_EVENT_QUEUE, EventPattern=pattern, **bus)
    events.put_targets(Rule=_EVENT_QUEUE, Targets=[{"Id": _EVENT_QUEUE, "Arn": arn}], **bus)
    return arn
