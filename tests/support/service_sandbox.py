"""A sandbox with every service and no stack: what stock clients do with it.

``tests/sandbox/conftest.py`` runs one for the files of that folder.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sandbox import clock_page, services
from sandbox.functions.credentials import role_credentials
from sandbox.functions.dead_letters import dead_letter_sender
from sandbox.functions.service import MAX_ENVIRONMENTS, LambdaService
from sandbox.http_apis.gateway import Gateway
from sandbox.http_apis.issuer_keys import OWN_ISSUER
from sandbox.http_apis.requests import PREFIX
from sandbox.iam.service import Permissions
from sandbox.inbox import pages
from sandbox.issuer.issuer import Issuer
from sandbox.pinpoint.projects import enable_channel
from sandbox.running import runtime_packages
from sandbox.server import Server
from sandbox.step_functions.run_details import EXPRESS_SECONDS
from tests.support.templates import ACCOUNT, REGION, Template, template

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ADMINISTRATOR = Credentials("sandbox", "sandbox")

NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")

PUSHING = """
import json, os, time

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
"""

FUNCTION = (
    PUSHING
    + '''
"""Keeps each event, and does what its messages ask for."""
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
    what = event.get("detail", {})
    if what.get("do") == "raise" and len(os.listdir(os.environ["PLACE"])) < what["until"]:
        raise KeyError("reason")
    if "push" in event or "push" in event.get("detail", {}):
        push(event.get("push") or event["detail"]["push"])
    for record in event.get("Records", []):
        what = json.loads(record["body"])
        what = what.get("detail", what)
        if "push" in what:
            push(what["push"])
    return {"batchItemFailures": failed}
'''
)

CODE = """
import logging, os
def handler(event, context):
    logging.getLogger().info("said at info")
    logging.getLogger().warning("said at warning")
    return {"answer": %r, "variable": os.environ["VARIABLE"], "version": context.function_version}
"""


def zipped(code: str, **files: str) -> bytes:
    """Pack a function's code, `app.py`, and files beside it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {"app.py": code, **files}.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for something that happens in the background; give its result."""
    give_up = time.monotonic() + seconds
    pause = 0.01
    while not (result := condition()):
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return result


def client(
    service: str,
    url: str,
    credentials: Credentials = ADMINISTRATOR,
    *,
    region_name: str = REGION,
    **settings: Any,
) -> Any:
    """Make a stock client that does not retry, with settings of botocore's."""
    return boto3.client(
        service,  # type: ignore[call-overload]  # stubs know names as literals only
        endpoint_url=url,
        region_name=region_name,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token,
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20, **settings),
    )


def assumed(role_arn: str) -> Credentials:
    """Give the credentials that a function with a role has."""
    variables = role_credentials(role_arn)
    return Credentials(
        variables["AWS_ACCESS_KEY_ID"],
        variables["AWS_SECRET_ACCESS_KEY"],
        variables["AWS_SESSION_TOKEN"],
    )


@dataclass
class Clock:
    """The time of this machine, unless a test stops it."""

    stopped_at: float | None = None

    def __call__(self) -> float:
        return self.stopped_at or time.time()


@dataclass
class ServiceSandbox:
    """A sandbox with every service and no stack.

    Attributes
    ----------
    url
        Of every service.
    functions, permissions, clock
        What tests see or change from within this process.
    place
        The folder in which functions keep the events that they get.
    """

    url: str
    functions: LambdaService
    permissions: Permissions
    clock: Clock
    place: Path

    def client(self, service: str) -> Any:
        return client(service, self.url)

    def emptied(self, place: Path) -> ServiceSandbox:
        """Empty the account."""
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST")):  # noqa: S310  loopback
            self.place = place
        self.permissions.forget_calls()
        return self

    # Stacks.

    def create(self, resources: Template, name: str = "stack", **others: Any) -> dict[str, Any]:
        """Create a stack; return its description."""
        self.client("cloudformation").create_stack(
            StackName=name, TemplateBody=template(resources, **others)
        )
        return self.stack(name)

    def update(self, resources: Template, name: str = "stack", **others: Any) -> dict[str, Any]:
        """Update a stack; return its description."""
        self.client("cloudformation").update_stack(
            StackName=name, TemplateBody=template(resources, **others)
        )
        return self.stack(name)

    def delete(self, name: str = "stack") -> None:
        self.client("cloudformation").delete_stack(StackName=name)

    def stack(self, name: str = "stack") -> dict[str, Any]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return dict(stack)

    def id_of(self, logical_id: str, name: str = "stack") -> str:
        """Give the physical id of a resource."""
        answer = self.client("cloudformation").describe_stack_resource(
            StackName=name, LogicalResourceId=logical_id
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    def events(self, name: str = "stack") -> list[tuple[str, str]]:
        """List the events of a stack, the first one first."""
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        return [(event["LogicalResourceId"], event["ResourceStatus"]) for event in events[::-1]]

    def topics(self) -> list[str]:
        topics = self.client("sns").list_topics()["Topics"]
        return [topic["TopicArn"].rpartition(":")[2] for topic in topics]

    def display_name(self, topic: str = "topic") -> str:
        arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
        attributes = self.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
        return str(attributes.get("DisplayName", ""))

    def invoke(self, name: str) -> dict[str, Any]:
        answer = self.client("lambda").invoke(FunctionName=name)
        return dict(json.loads(answer["Payload"].read()))

    def put_code(self, key: str, answer: str) -> None:
        """Put a function's code into the bucket `code`."""
        self.client("s3").put_object(Bucket="code", Key=key, Body=zipped(CODE % answer))

    # Queues and functions.

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
        """Count a queue's visible messages and those in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        result = self.client("sqs").get_queue_attributes(
            QueueUrl=self.url_of(queue), AttributeNames=names
        )["Attributes"]
        return int(result[names[0]]), int(result[names[1]])

    def received(self, queue: str = "queue", **how: Any) -> list[dict[str, Any]]:
        """Receive the messages of a queue."""
        answer = self.client("sqs").receive_message(
            QueueUrl=self.url_of(queue),
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            **how,
        )
        return list(answer.get("Messages", []))

    def allow(self, *actions: str, role: str = "runs") -> None:
        """Allow the role only these actions, with any queue or project."""
        anything = [f"arn:aws:{service}:*:*:*" for service in ("sqs", "mobiletargeting")]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": anything}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client("iam").put_role_policy(
            RoleName=role, PolicyName="queues", PolicyDocument=document
        )

    def function(self, name: str = "f", **settings: Any) -> str:
        """Create a function whose role is allowed to read queues; give its ARN."""
        roles = self.client("iam")
        if not roles.list_roles()["Roles"]:
            roles.create_role(RoleName="runs", AssumeRolePolicyDocument="{}")
            self.allow(*NEEDED, "mobiletargeting:SendMessages")
        answer = self.client("lambda").create_function(
            FunctionName=name,
            Role=f"arn:aws:iam::{ACCOUNT}:role/runs",
            Handler="app.handler",
            Runtime="python3.13",
            Environment={"Variables": {"PLACE": str(self.place)}},
            **{"Timeout": 20, "Code": {"ZipFile": zipped(FUNCTION)}, **settings},
        )
        return str(answer["FunctionArn"])

    def map(self, queue: str, function: str = "f", **settings: Any) -> str:
        """Map a queue to a function; give the mapping's UUID."""
        reporting = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
        answer = self.client("lambda").create_event_source_mapping(
            EventSourceArn=queue, FunctionName=function, **{**reporting, **settings}
        )
        return str(answer["UUID"])

    # Pushes and what functions got.

    def project(self) -> str:
        """Create a push project with a channel."""
        answer = self.client("pinpoint").create_app(CreateApplicationRequest={"Name": "demo"})
        project = str(answer["ApplicationResponse"]["Id"])
        enable_channel(project, "ADM")
        return project

    def entry_points(self) -> dict[str, Any]:
        """Give the entry point of each push in the inbox, by its token."""
        with urlopen(f"{self.url}/sandbox/messages") as answer:  # noqa: S310  loopback
            pushes = json.loads(answer.read())["messages"]
        return {push["token"]: push["entry_point"] for push in pushes}

    def invocations(self) -> list[dict[str, Any]]:
        """List the invocations of the functions, in order."""
        return [json.loads(file.read_text()) for file in sorted(self.place.glob("*.json"))]

    def records(self) -> list[dict[str, Any]]:
        """List the messages that the functions got, in order."""
        return [record for each in self.invocations() for record in each["event"]["Records"]]


Kind = TypeVar("Kind", bound=ServiceSandbox)


@contextmanager
def running_services(
    kind: type[Kind],
    place: Path,
    *,
    express_seconds: int = EXPRESS_SECONDS,
    max_environments: int = MAX_ENVIRONMENTS,
    in_front: Callable[[WSGIApplication], WSGIApplication] = lambda application: application,
) -> Iterator[Kind]:
    """Run a sandbox with every service and no stack on a free port of loopback.

    Parameters
    ----------
    kind, place
        What to give, and the folder in which functions keep the events that they get.
    express_seconds
        How long a child of a Distributed Map may run.
    max_environments
        How many copies of a function may run at a time.
    in_front
        Wraps the services, and may answer in their place.
    """
    permissions, clock = Permissions(), Clock()
    gateway = Gateway(permissions.caller_refusal_reason, clock=clock)
    with (
        services.patched_moto(),
        Server(
            mounts={
                "/sandbox": pages.application,
                OWN_ISSUER: Issuer().application,
                clock_page.PATH: clock_page.application,
            },
            guard=lambda application: permissions.guard(in_front(application)),
            unguarded={PREFIX: gateway.application},
        ) as server,
        services.running(
            LambdaService(
                runtime_packages(),
                server.url,
                max_environments=max_environments,
                credentials=role_credentials,
                is_allowed=permissions.allow,
                on_failed_event=dead_letter_sender(server.url, role_credentials),
                retry_seconds=(0.02, 0.04),
            ),
            express_seconds=express_seconds,
        ) as functions,
        gateway.serving(server.url, functions.invoke),
    ):
        yield kind(server.url, functions, permissions, clock, place)


def refusal(call: Any, *arguments: Any, **others: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(*arguments, **others)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    return str(error.value)
