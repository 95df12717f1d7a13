"""The stack in a sandbox, deployed from the files of a release and used as programs use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.settings import Settings
from sandbox.sqs.queues import LOCK, queue_of
from sandbox.stack.account import client, prepare, sandbox_context
from soak.ageing import age_items
from soak.processes import wait_until_ended
from soak.queues import message_bodies, message_count
from tests.support.gate import Gate
from tests.support.http_apis import Api
from tests.support.releases import Files
from tests.support.service_sandbox import ServiceSandbox, running_services
from tests.support.templates import ACCOUNT, REGION, outputs

Json = dict[str, Any]

STACK: Final = "push-sender"
_BUCKET: Final = "releases"
_PARAMETERS: Final = (
    *("--parameter-overrides", f"CodeBucket={_BUCKET}"),
    *("FcmSecret=sandbox/fcm", "AdmSecret=sandbox/adm"),
)
_EVENTS: Final = "events"
_QUEUES: Final = f"arn:aws:sqs:{REGION}:{ACCOUNT}"


@dataclass
class ReleasedStack:
    """A stack, and the gate in front of its push service.

    Attributes
    ----------
    sandbox, gate
        Where it runs, and what stops its pushes.
    outputs
        Of the deployed version.
    files
        What is deployed.
    invocation
        The id of the last invocation.
    """

    sandbox: ServiceSandbox
    gate: Gate
    outputs: Mapping[str, str] = field(default_factory=dict)
    files: Files | None = None
    invocation: str = ""
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = client(service, self.sandbox.url)
        return self.clients[service]

    def deploy(self, files: Files) -> None:
        """Deploy a version as docs/deploy.md says, unless it is there."""
        if files == self.files:
            return
        self.client("s3").put_object(
            Bucket=_BUCKET, Key=files.archive.name, Body=files.archive.read_bytes()
        )
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("aws"), "cloudformation", "deploy"),
                *("--stack-name", STACK, "--template-file", files.template),
                *("--s3-bucket", _BUCKET, "--capabilities", "CAPABILITY_NAMED_IAM"),
                *(_PARAMETERS if self.files is None else ()),  # an update keeps the values
            ],
            env={
                "PATH": os.environ["PATH"],
                "AWS_ENDPOINT_URL": self.sandbox.url,
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_DEFAULT_REGION": REGION,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.outputs, self.files = outputs(self.sandbox.stack(STACK)), files

    def resources(self) -> dict[str, tuple[str, str]]:
        """List the type and the physical id of each resource, by its logical id."""
        listed = self.client("cloudformation").describe_stack_resources(StackName=STACK)
        return {
            each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"])
            for each in listed["StackResources"]
        }

    # What programs do.

    def invoke(self, event: Json, *, later: bool = False) -> Any:
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["FunctionName"],
            InvocationType="Event" if later else "RequestResponse",
            Payload=json.dumps(event),
        )
        self.invocation = str(answer["ResponseMetadata"]["RequestId"])
        return None if later else json.loads(answer["Payload"].read())

    def send(self, request: Json) -> str:
        """Put a request on the queue; return the message's id."""
        sent = self.client("sqs").send_message(
            QueueUrl=self.outputs["QueueUrl"], MessageBody=json.dumps(request)
        )
        return str(sent["MessageId"])

    def put_event(self, request: Json) -> str:
        """Put a request on the bus; return the event's id."""
        entry = {
            "EventBusName": self.outputs["EventBusName"],
            "Source": "shop",
            "DetailType": "Push Notification Requested",
            "Detail": json.dumps(request),
        }
        (put,) = self.client("events").put_events(Entries=[entry])["Entries"]
        return str(put["EventId"])

    def listen(self) -> None:
        """Put each event of the function on a queue."""
        queue = self.client("sqs").create_queue(QueueName=_EVENTS)["QueueUrl"]
        rule = {"Name": _EVENTS, "EventPattern": json.dumps({"source": ["push-sender"]})}
        bus = {"EventBusName": self.outputs["EventBusName"]}
        target = {"Id": queue, "Arn": f"{_QUEUES}:{_EVENTS}"}
        self.client("events").put_rule(**rule, **bus)
        self.client("events").put_targets(Rule=_EVENTS, Targets=[target], **bus)

    def http(self, method: str, path: str, body: Json | None = None, **headers: str) -> Any:
        url = self.outputs["ApiUrl"]
        api = Api(url.rpartition("/")[2], url, STACK)
        content = b"" if body is None else json.dumps(body).encode()
        answer = api.ask(method, path, content, {"Content-Type": "application/json", **headers})
        assert answer.status < 300, answer.body
        return json.loads(answer.body)

    def upload(self, key: str, body: str) -> None:
        self.client("s3").put_object(Bucket=self.outputs["JobBucketName"], Key=key, Body=body)

    def start(self, job: Json) -> None:
        self.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["JobStateMachineArn"],
            name=job["job"],
            input=json.dumps(job),
        )

    def start_later(self, job: Json, expression: str) -> None:
        """Schedule the start of a job, as ``make job`` does."""
        started = {
            "StateMachineArn": self.outputs["JobStateMachineArn"],
            "Name": job["job"],
            "Input": json.dumps(job),
        }
        self.client("scheduler").create_schedule(
            GroupName=self.outputs["ScheduleGroupName"],
            Name=f"job-{job['job']}",
            ScheduleExpression=expression,
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:sfn:startExecution",
                "RoleArn": self.outputs["JobScheduleRoleArn"],
                "Input": json.dumps(started),
            },
        )

    def redrive(self, job: str) -> None:
        """Redrive a job and the dead-letter messages."""
        self.client("stepfunctions").redrive_execution(executionArn=self._execution(job))
        self.client("sqs").start_message_move_task(
            SourceArn=self.outputs["DeadLetterQueueArn"], DestinationArn=self.outputs["QueueArn"]
        )

    def let_process(self, *, enabled: bool) -> None:
        """Switch the mapping of the queue on or off."""
        functions = self.client("lambda")
        (mapping,) = functions.list_event_source_mappings(EventSourceArn=self.outputs["QueueArn"])[
            "EventSourceMappings"
        ]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)

    def let_an_hour_pass(self) -> None:
        """Let claims lapse, and messages become visible."""
        age_items(self.outputs["TableName"], hours=1)
        queue = queue_of(self.outputs["QueueArn"])
        assert queue is not None
        with LOCK:
            for message in queue._messages:
                message.delayed_until = message.visible_at = 0

    # What there is.

    def pushes(self) -> Counter[str]:
        """Count the pushes that providers have got, by token."""
        with urllib.request.urlopen(f"{self.sandbox.url}/sandbox/messages") as answer:  # noqa: S310  loopback
            return Counter(push["token"] for push in json.loads(answer.read())["messages"])

    def keys(self) -> set[str]:
        """Return the ids of the items in the table of keys."""
        scanned = self.client("dynamodb").scan(
            TableName=self.outputs["TableName"], ProjectionExpression="id"
        )
        return {item["id"]["S"] for item in scanned["Items"]}

    def waiting(self) -> dict[str, int]:
        """Count what waits in queues and schedules."""
        group = self.outputs["ScheduleGroupName"]
        schedules = self.client("scheduler").list_schedules(GroupName=group)["Schedules"]
        of_devices = self.outputs["DevicesDeadLetterQueueUrl"].rpartition("/")[2]
        return {
            "requests": message_count(self.outputs["QueueArn"]),
            "dead letters": message_count(self.outputs["DeadLetterQueueArn"]),
            "dead letters of devices": message_count(
                f"arn:aws:sqs:{REGION}:{ACCOUNT}:{of_devices}"
            ),
            "schedules": len(schedules),
        }

    def status(self, job: str) -> str:
        described = self.client("stepfunctions").describe_execution(
            executionArn=self._execution(job)
        )
        return str(described["status"])

    def counts(self, job: str) -> dict[str, int]:
        """Read what a job has counted, without zeros."""
        item = self.client("dynamodb").get_item(
            TableName=self.outputs["TableName"], Key={"id": {"S": f"J#{job}"}}
        )["Item"]
        counted = {
            name.removeprefix("count_"): int(value["N"])
            for name, value in item.items()
            if name.startswith("count_")
        }
        return {name: number for name, number in counted.items() if number}

    def events(self, detail_type: str) -> list[Json]:
        """List the details of the events of a type."""
        events = map(json.loads, message_bodies(f"{_QUEUES}:{_EVENTS}"))
        return [each["detail"] for each in events if each["detail-type"] == detail_type]

    def _execution(self, job: str) -> str:
        machine = self.outputs["JobStateMachineArn"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{job}"


@contextmanager
def released_stacks(place: Path) -> Iterator[ReleasedStack]:
    """Run a sandbox in which releases can be deployed."""
    gate = Gate()
    with running_services(
        ServiceSandbox, place, max_environments=4, in_front=gate.guard
    ) as sandbox:

        def kill(access_key: str) -> None:
            for each in sandbox.functions.environments("push-sender"):
                if each.access_key_id == access_key:
                    os.kill(each.pid, signal.SIGKILL)
                    wait_until_ended(each.pid)

        gate.kill = kill
        prepare(sandbox.url, Settings.from_context(sandbox_context({})))
        sandbox.client("s3").create_bucket(Bucket=_BUCKET)
        try:
            yield ReleasedStack(sandbox, gate)
        finally:
            gate.open()
