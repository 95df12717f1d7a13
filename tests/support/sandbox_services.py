"""A sandbox with queues, events, functions and roles, and what happens in it."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config

from sandbox import services
from sandbox.functions.credentials import role_credentials
from sandbox.functions.service import LambdaService
from sandbox.iam.service import Permissions
from sandbox.inbox import pages
from sandbox.pinpoint.projects import enable_channel
from sandbox.running import runtime_packages
from sandbox.server import Server

REGION = "us-east-1"
ACCOUNT = "123456789012"

NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")

FUNCTION = '''
"""Keeps each event that it gets, and does what the messages in it ask for."""
import json, os, time

def handler(event, context):
    kept = os.path.join(os.environ["PLACE"], f"{time.time_ns()}-{os.getpid()}")
    with open(kept, "w") as file:
        json.dump({"event": event, "arn": context.invoked_function_arn,
                   "version": context.function_version}, file)
    os.rename(kept, kept + ".json")
    failed = []
    for record in event.get("Records", []):
        what = json.loads(record["body"])
        if what.get("do") == "fail":
            failed.append({"itemIdentifier": record["messageId"]})
        elif what.get("do") == "raise":
            raise KeyError("reason")
        elif what.get("do") == "answer":
            return what["answer"]
        elif what.get("do") == "wait":
            while not os.path.exists(what["file"]):
                time.sleep(0.01)
    if "push" in event or "push" in event.get("detail", {}):
        push(event.get("push") or event["detail"]["push"])
    for record in event.get("Records", []):
        what = json.loads(record["body"])
        what = what.get("detail", what)
        if "push" in what:
            push(what["push"])
    return {"batchItemFailures": failed}

def push(what):
    import urllib.request
    request = urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL"] + "/v1/apps/" + what["project"] + "/messages",
        data=json.dumps({"Addresses": {what["token"]: {"ChannelType": "ADM"}},
                         "MessageConfiguration": {"ADMMessage": {"Body": "b"}}}).encode(),
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential="
                 + os.environ["AWS_ACCESS_KEY_ID"]
                 + "/20260101/us-east-1/mobiletargeting/aws4_request, Signature=0",
                 "Content-Type": "application/json"},
        method="POST")
    urllib.request.urlopen(request).read()
'''


def zipped(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("app.py", code)
    return buffer.getvalue()


def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    give_up = time.monotonic() + seconds
    pause = 0.01
    while not (result := condition()):
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return result


@dataclass
class Sandbox:
    """What somebody does with stock clients, and what the functions got."""

    url: str
    functions: LambdaService
    permissions: Permissions
    place: Path = field(default_factory=Path)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # stubs know names as literals only
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20),
        )

    def emptied(self, place: Path) -> Sandbox:
        """Take everything out of the account."""
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST")):  # noqa: S310  loopback
            self.place = place
        self.permissions.forget_calls()
        return self

    def queue(self, name: str = "queue", **attributes: Any) -> str:
        """Create a queue; give its ARN."""
        texts = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in {"VisibilityTimeout": 30, **attributes}.items()
        }
        self.client("sqs").create_queue(QueueName=name, Attributes=texts)
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def url_of(self, queue: str) -> str:
        return f"{self.url}/{ACCOUNT}/{queue}"

    def send(self, queue: str = "queue", /, *, delay: int = 0, **body: Any) -> str:
        """Send a message; give its id."""
        answer = self.client("sqs").send_message(
            QueueUrl=self.url_of(queue), MessageBody=json.dumps(body), DelaySeconds=delay
        )
        return str(answer["MessageId"])

    def counts(self, queue: str = "queue") -> tuple[int, int]:
        """Count a queue's messages that are there and those that are in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client("sqs").get_queue_attributes(
            QueueUrl=self.url_of(queue), AttributeNames=names
        )["Attributes"]
        return int(told[names[0]]), int(told[names[1]])

    def received(self, queue: str = "queue", **how: Any) -> list[dict[str, Any]]:
        """Receive what is in a queue."""
        answer = self.client("sqs").receive_message(
            QueueUrl=self.url_of(queue),
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            **how,
        )
        return list(answer.get("Messages", []))

    def allow(self, *actions: str, role: str = "runs") -> None:
        """Let the role do nothing but this, with any queue or project."""
        anything = [f"arn:aws:{service}:*:*:*" for service in ("sqs", "mobiletargeting")]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": anything}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client("iam").put_role_policy(
            RoleName=role, PolicyName="queues", PolicyDocument=document
        )

    def function(self, name: str = "f", **settings: Any) -> str:
        """Create a function with a role that may read queues; give its ARN."""
        roles = self.client("iam")
        if not roles.list_roles()["Roles"]:
            roles.create_role(RoleName="runs", AssumeRolePolicyDocument="{}")
            self.allow(*NEEDED, "mobiletargeting:SendMessages")
        answer = self.client("lambda").create_function(
            FunctionName=name,
            Role=f"arn:aws:iam::{ACCOUNT}:role/runs",
            Handler="app.handler",
            Runtime="python3.13",
            Code={"ZipFile": zipped(FUNCTION)},
            Environment={"Variables": {"PLACE": str(self.place)}},
            **{"Timeout": 20, **settings},
        )
        return str(answer["FunctionArn"])

    def map(self, queue: str, function: str = "f", **settings: Any) -> str:
        """Map a queue to a function; give the mapping's UUID."""
        reporting = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
        answer = self.client("lambda").create_event_source_mapping(
            EventSourceArn=queue, FunctionName=function, **{**reporting, **settings}
        )
        return str(answer["UUID"])

    def project(self) -> str:
        """Create a push project with a channel."""
        answer = self.client("pinpoint").create_app(CreateApplicationRequest={"Name": "demo"})
        project = str(answer["ApplicationResponse"]["Id"])
        enable_channel(project, "ADM")
        return project

    def entry_points(self) -> dict[str, Any]:
        """Tell the door of each push in the inbox, by its token."""
        with urlopen(f"{self.url}/sandbox/messages") as answer:  # noqa: S310  loopback
            pushes = json.loads(answer.read())["messages"]
        return {push["token"]: push["door"] for push in pushes}

    def invocations(self) -> list[dict[str, Any]]:
        """Give what the functions were invoked with, in order."""
        return [json.loads(file.read_text()) for file in sorted(self.place.glob("*.json"))]

    def records(self) -> list[dict[str, Any]]:
        """Give the messages that the functions got, in order."""
        return [record for each in self.invocations() for record in each["event"]["Records"]]


@contextmanager
def running_sandbox(**settings: Any) -> Iterator[Sandbox]:
    permissions = Permissions()
    with (
        services.patched_moto(),
        Server(mounts={"/sandbox": pages.application}, guard=permissions.guard) as server,
        services.running(
            LambdaService(
                runtime_packages(),
                server.url,
                credentials=role_credentials,
                is_allowed=permissions.allow,
                **settings,
            )
        ) as running,
    ):
        yield Sandbox(server.url, running, permissions)
