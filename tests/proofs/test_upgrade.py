"""From the last release to this version and back, in the middle of everything that is under way.

Each way has a sandbox of its own. The first version is deployed there and stopped in the middle
of each kind of work. Then the files of the second version are deployed, an hour passes, and
everything runs to its end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from infra.settings import Settings
from sandbox.clock import moved_ahead
from sandbox.sqs.queues import LOCK, queue_of
from sandbox.stack.account import client, prepare, sandbox_context
from soak.ageing import age_items
from soak.processes import wait_until_ended
from soak.queues import message_count
from tests.support import releases
from tests.support.gate import Gate
from tests.support.http_apis import Api
from tests.support.releases import Files, NoReleaseError
from tests.support.service_sandbox import ServiceSandbox, eventually, running_services
from tests.support.templates import ACCOUNT, REGION, outputs

Json = dict[str, Any]

STACK: Final = "push-sender"
BUCKET: Final = "releases"
HOUR: Final = 3_600

REPLACED: Final = {"AWS::Lambda::Version"}
"""The types that an update may replace. The template retains each version, for a rollback."""

ROWS_OF_A_CHILD: Final = 32
NOTE: Final = "-" * 65_000  # so that a range of rows, at most 2 MiB, has no more


def recipients(*tokens: str) -> Json:
    """Ask for a push to each token; a token begins with what happens to it."""
    services = {"killed": "GCM", "done": "ADM"}  # of a killed request, one batch is done
    asked = [{"token": t, "service": services.get(t.partition("-")[0], "GCM")} for t in tokens]
    return {"recipients": asked, "title": "t", "message": "m"}


@dataclass
class Upgrade:
    """A stack of one version with work under way, which is updated to another one.

    Attributes
    ----------
    sandbox, gate
        Where it runs, and what holds its pushes.
    outputs
        Of the stack.
    before, after
        The resources before and after the update: their types and physical ids.
    said
        What calls answered, by name.
    tokens
        Every token that must get one push.
    """

    sandbox: ServiceSandbox
    gate: Gate
    outputs: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    after: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    # The stack.

    def deploy(self, files: Files) -> str:
        """Deploy as docs/deploy.md says; return what the command printed."""
        self.client("s3").put_object(
            Bucket=BUCKET, Key=files.archive.name, Body=files.archive.read_bytes()
        )
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("aws"), "cloudformation", "deploy"),
                *("--stack-name", STACK),
                *("--template-file", files.template, "--s3-bucket", BUCKET),
                *("--capabilities", "CAPABILITY_NAMED_IAM", "--parameter-overrides"),
                *(f"CodeBucket={BUCKET}", "FcmSecret=sandbox/fcm", "AdmSecret=sandbox/adm"),
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
        self.outputs = outputs(self.sandbox.stack(STACK))
        return done.stdout

    def resources(self) -> dict[str, tuple[str, str]]:
        listed = self.client("cloudformation").describe_stack_resources(StackName=STACK)
        return {
            each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"])
            for each in listed["StackResources"]
        }

    def client(self, service: str) -> Any:
        return client(service, self.sandbox.url)

    # Calls.

    def token(self, word: str) -> str:
        """Invent a token that must get one push."""
        self.tokens.append(f"{word}-{uuid.uuid4().hex}")
        return self.tokens[-1]

    def request(self, *words: str, **more: Any) -> Json:
        """Write a request with a token for each word."""
        return {**recipients(*map(self.token, words)), **more}

    def invoke(self, event: Json) -> Any:
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs["FunctionName"], Payload=json.dumps(event)
        )
        return json.loads(answer["Payload"].read())

    def begin(self, name: str, event: Json) -> None:
        """Invoke in the background."""

        def invoke() -> None:
            self.said[name] = self.invoke(event)

        self.threads.append(threading.Thread(target=invoke))
        self.threads[-1].start()

    def send(self, request: Json) -> None:
        self.client("sqs").send_message(
            QueueUrl=self.outputs["QueueUrl"], MessageBody=json.dumps(request)
        )

    def http(self, method: str, path: str, body: Json | None = None, **headers: str) -> Any:
        url = self.outputs["ApiUrl"]
        api = Api(url.rpartition("/")[2], url, STACK)
        content = json.dumps(body).encode() if body is not None else b""
        answer = api.ask(method, path, content, {"Content-Type": "application/json", **headers})
        assert answer.status < 300, answer.body
        return json.loads(answer.body) if answer.body else None

    # What there is.

    def pushes(self) -> Counter[str]:
        """Count the pushes that providers have got, by token."""
        with urllib.request.urlopen(f"{self.sandbox.url}/sandbox/messages") as answer:  # noqa: S310  loopback
            return Counter(push["token"] for push in json.loads(answer.read())["messages"])

    def keys(self) -> int:
        """Count the items of the table of keys."""
        counted = self.client("dynamodb").scan(TableName=self.outputs["TableName"], Select="COUNT")
        return int(counted["Count"])

    def job(self, name: str) -> Json:
        machine = self.outputs["JobStateMachineArn"]
        execution = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        found = self.client("stepfunctions").describe_execution(executionArn=execution)
        return {"status": found["status"], "arn": execution}

    def counts(self, job: str) -> dict[str, int]:
        """Read what a job has counted."""
        item = self.client("dynamodb").get_item(
            TableName=self.outputs["TableName"], Key={"id": {"S": f"J#{job}"}}
        )["Item"]
        counted = {
            name.removeprefix("count_"): int(value["N"])
            for name, value in item.items()
            if name.startswith("count_")
        }
        return {name: number for name, number in counted.items() if number}

    def waiting(self) -> dict[str, int]:
        """Count what waits in queues and schedules."""
        group = self.outputs["ScheduleGroupName"]
        schedules = self.client("scheduler").list_schedules(GroupName=group)["Schedules"]
        dead_devices = self.outputs["DevicesDeadLetterQueueUrl"].rpartition("/")[2]
        return {
            "requests": message_count(self.outputs["QueueArn"]),
            "dead letters": message_count(self.outputs["DeadLetterQueueArn"]),
            "dead events": message_count(f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead_devices}"),
            "schedules": len(schedules),
        }

    # Work under way.

    def prepare(self) -> None:
        """Stop the first version in the middle of each kind of work."""
        self._register()
        finished = self.request("finished", idempotency_key="finished")
        self.said["finished"] = self.invoke(finished), finished
        self._kill()
        self._hold_a_job()
        self._refuse()
        self._schedule()
        self.begin("held", self.request("held", idempotency_key="held"))
        throttled = self.invoke(self.request("throttled", requeue=True))
        assert throttled["summary"]["requeued"] == 1
        eventually(lambda: self.gate.calls("held") == 2)
        self._fill_the_queue()

    def _register(self) -> None:
        """Register two devices of a user; a killed process has sent to one of them."""
        for word, service in (("killed", "GCM"), ("done", "ADM")):
            body = {"token": self.token(word), "service": service, "user_id": "u-1"}
            self.http("PUT", f"/devices/{word}", body)
        self.said["devices"] = self.http("GET", "/users/u-1/devices")

    def _kill(self) -> None:
        """Kill the process of requests: before they have any outcome, and after one batch has."""
        to_user = {"recipients": [{"user_id": "u-1"}], "title": "t", "message": "m"}
        killed = {
            "no batch": self.request("killed", idempotency_key="no batch"),
            "one batch": self.request("killed", "done", idempotency_key="one batch"),
            "user": {**to_user, "idempotency_key": "user"},
        }
        for name, request in killed.items():
            self._let_die(1 if name == "no batch" else 2)
            self.said[name] = request
            assert "errorType" in self.invoke(request), name
        # A message that is received, and not deleted.
        self._let_die(2)
        self.send(self.request("killed", "done"))
        eventually(lambda: self.gate.calls("killed") == 4)
        # An asynchronous invocation, which Lambda makes a dead-letter message.
        self._let_die(2)
        self.client("lambda").invoke(
            FunctionName=self.outputs["FunctionName"],
            InvocationType="Event",
            Payload=json.dumps(self.request("killed", "done", idempotency_key="later")),
        )
        eventually(lambda: self.waiting()["dead letters"] == 1)

    def _let_die(self, items: int) -> None:
        """Let the next process die when the table of keys has so many items more."""
        before = self.keys()
        self.gate.may_kill = lambda: self.keys() == before + items

    def _hold_a_job(self) -> None:
        """Hold a job in the second of its three children."""
        words = ["row"] * 3 * ROWS_OF_A_CHILD
        words[ROWS_OF_A_CHILD + 1] = "held"
        self.start_job("half-way", words, tokens_per_second=100)
        eventually(lambda: self.gate.calls("held") == 1)

    def _refuse(self) -> None:
        """Let a job fail, and a message die, because the push service refuses the calls."""
        self.start_job("refused", ["row", *["refused"] * 2])
        eventually(lambda: self.job("refused")["status"] == "FAILED")
        self.send(self.request("refused"))
        eventually(lambda: self.waiting()["dead letters"] == 2)

    def start_job(self, name: str, words: list[str], **given: Any) -> None:
        """Start a job over a row for each word."""
        self.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["JobStateMachineArn"],
            name=name,
            input=json.dumps(self.job_input(name, words, **given)),
        )

    def job_input(self, name: str, words: list[str], **given: Any) -> Json:
        """Upload a file with a row for each word; give the input of its job."""
        # Of a child that is refused, one batch is sent.
        rows = [f"{self.token(word)},{'ADM' if word == 'row' else 'GCM'},{NOTE}" for word in words]
        body = "\n".join(["token,service,note", *rows])
        key = f"uploads/{name}.csv"
        self.client("s3").put_object(Bucket=self.outputs["JobBucketName"], Key=key, Body=body)
        request = {"title": "t", "message": "m"}
        return {"job": name, "source": {"key": key}, "request": request, **given}

    def _schedule(self) -> None:
        """Schedule a request and a job for the next hour."""
        moment = datetime.now(UTC) + timedelta(seconds=HOUR)
        request = self.request("later", send_at=f"{moment:%FT%TZ}", idempotency_key="scheduled")
        self.said["scheduled"] = self.invoke(request)["schedule_id"], request
        starts = json.dumps(
            {
                "StateMachineArn": self.outputs["JobStateMachineArn"],
                "Name": "later",
                "Input": json.dumps(self.job_input("later", ["row"])),
            }
        )
        self.client("scheduler").create_schedule(
            GroupName=self.outputs["ScheduleGroupName"],
            Name="job-later",
            ScheduleExpression=f"at({moment:%FT%T})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:sfn:startExecution",
                "RoleArn": self.outputs["JobScheduleRoleArn"],
                "Input": starts,
            },
        )

    def _fill_the_queue(self) -> None:
        """Put requests on the queue in every way, and let nobody process them."""
        self.let_process(enabled=False)
        self.send(self.request("queued", idempotency_key="queued"))
        self.http("POST", "/messages", self.request("queued"), Prefer="respond-async")
        self.client("events").put_events(
            Entries=[
                {
                    "EventBusName": self.outputs["EventBusName"],
                    "Source": "shop",
                    "DetailType": "Push Notification Requested",
                    "Detail": json.dumps(self.request("queued")),
                }
            ]
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

    def finish(self) -> None:
        """Let everything run to its end with the second version."""
        self.gate.open()
        for thread in self.threads:
            thread.join()
        eventually(lambda: self.job("half-way")["status"] != "RUNNING")
        self.let_an_hour_pass()
        self.let_process(enabled=True)
        for name in ("no batch", "one batch", "user"):
            self.said[name] = self.invoke(self.said[name])
        report, request = self.said["finished"]
        self.said["finished"] = report, self.invoke(request)
        id_, request = self.said["scheduled"]
        self.said["scheduled"] = id_, self.invoke(request)
        self.client("sqs").start_message_move_task(
            SourceArn=self.outputs["DeadLetterQueueArn"], DestinationArn=self.outputs["QueueArn"]
        )
        self.client("stepfunctions").redrive_execution(executionArn=self.job("refused")["arn"])
        with moved_ahead(HOUR + 1):
            eventually(lambda: self.waiting()["schedules"] == 0)
            with suppress(AssertionError):  # the tests say what is not at its end
                eventually(self.is_at_rest, seconds=20)

    def is_at_rest(self) -> bool:
        jobs = (self.job(name)["status"] for name in ("half-way", "refused", "later"))
        return not any(self.waiting().values()) and "RUNNING" not in jobs


FILES: Final[Mapping[str, Any]] = {
    "last": lambda: releases.files_of_release(releases.last_release()),
    "this": releases.files_of_working_tree,
}


@pytest.fixture(scope="module", params=[("last", "this"), ("this", "last")], ids=["update", "back"])
def upgrade(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgrade]:
    try:
        first, second = (FILES[name]() for name in request.param)
    except NoReleaseError as error:
        pytest.skip(str(error))
    gate = Gate()
    place = tmp_path_factory.mktemp("place")
    with running_services(ServiceSandbox, place, in_front=gate.guard) as sandbox:
        prepare(sandbox.url, Settings.from_context(sandbox_context({})))
        sandbox.client("s3").create_bucket(Bucket=BUCKET)

        def kill(access_key: str) -> None:
            for each in sandbox.functions.environments("push-sender"):
                if each.access_key_id == access_key:
                    os.kill(each.pid, signal.SIGKILL)
                    wait_until_ended(each.pid)

        gate.kill = kill
        made = Upgrade(sandbox, gate)
        made.deploy(first)
        try:
            made.prepare()
            made.before = made.resources()
            made.said["deployed"] = made.deploy(second)
            made.said["archive"] = second.archive.read_bytes()
            made.after = made.resources()
            made.finish()
        finally:
            gate.open()
        yield made


def test_every_recipient_gets_one_push(upgrade: Upgrade) -> None:
    assert upgrade.pushes() == dict.fromkeys(upgrade.tokens, 1)
