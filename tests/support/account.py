"""An AWS account on loopback with the function's queues, bus and table, and Lambda's part.

SQS, EventBridge, S3 and DynamoDB are the sandbox's, behind real HTTP. What Lambda's event source
mapping does is done here: receive, invoke, delete what did not fail.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import botocore.session

from push_sender.follow_up.signed_attributes import Steering
from sandbox.server import Server
from sandbox.services import patched_moto
from tests.support.loopback import LoopbackHandler, Reply, serving

Json = dict[str, Any]

REGION, ACCOUNT = "us-east-1", "123456789012"
MESSAGE_KEY = "arn:aws:cloudformation:us-east-1:123456789012:stack/push-sender/any"


class Account:
    """The account, which exists as long as its server.

    Attributes
    ----------
    url
        Of every service.
    queue, dead_letter_queue
        URLs of the function's queues.
    event_queue
        URL of a queue that gets every event that the function puts on the bus.
    table
        The name of the table of keys.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqs = self.client("sqs")
        self.events = self.client("events")
        self.queue = self._queue("requests")
        self.dead_letter_queue = self._queue("dead-letters")
        self.event_queue = self._queue("events")
        self.table = "keys"
        self.client("dynamodb").create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.events.put_rule(Name="events", EventPattern=json.dumps({"source": ["push-sender"]}))
        self.events.put_targets(
            Rule="events", Targets=[{"Id": "events", "Arn": self.arn(self.event_queue)}]
        )

    def client(self, service: str) -> Any:
        """Make a client of a service."""
        return botocore.session.Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    def environment(self) -> dict[str, str]:
        """Give the function's environment variables for this account."""
        return {
            "QUEUE_URL": self.queue,
            "DEAD_LETTER_QUEUE_URL": self.dead_letter_queue,
            "EVENT_BUS_NAME": "default",
            "IDEMPOTENCY_TABLE": self.table,
            "MESSAGE_KEY": MESSAGE_KEY,
            "AWS_ENDPOINT_URL_SQS": self.url,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": self.url,
            "AWS_ENDPOINT_URL_DYNAMODB": self.url,
        }

    def empty(self) -> None:
        """Delete every message and every key."""
        for queue in (self.queue, self.dead_letter_queue, self.event_queue):
            # PurgeQueue works once a minute.
            self.sqs.delete_queue(QueueUrl=queue)
            self._queue(queue.rpartition("/")[2])
        keys = self.client("dynamodb")
        for item in keys.scan(TableName=self.table, ProjectionExpression="id")["Items"]:
            keys.delete_item(TableName=self.table, Key=item)

    def send_again(
        self, body: Any, *, attempt: int = 0, accepted_at: int | None = None, request_id: str = "id"
    ) -> str:
        """Put a message on the queue as the function itself does, signed."""
        text = json.dumps(body)
        now = round(time.time() * 1_000)
        steering = Steering(request_id, now if accepted_at is None else accepted_at, attempt)
        return self.send(text, **steering.attributes(text, MESSAGE_KEY.encode()))

    def send(self, body: Any, **attributes: str | int) -> str:
        """Put a message on the queue as a producer does, and give its id."""
        answer = self.sqs.send_message(
            QueueUrl=self.queue,
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes={
                name: {
                    "DataType": "Number" if isinstance(value, int) else "String",
                    "StringValue": str(value),
                }
                for name, value in attributes.items()
            },
        )
        return str(answer["MessageId"])

    def receive(self, most: int = 10) -> Json:
        """Receive messages as Lambda does, into the event that it makes of them."""
        return {"Records": [_record(message) for message in self._receive(self.queue, most)]}

    def delete(self, event: Json, answer: Json) -> None:
        """Delete what did not fail, as Lambda does."""
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        for record in event["Records"]:
            if record["messageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=record["receiptHandle"])

    def requeued(self) -> list[Json]:
        """List the delayed messages of the queue: body, attributes, delay, group."""
        return [
            {
                "body": json.loads(message.body),
                "attributes": {
                    name: value["StringValue"] for name, value in message.message_attributes.items()
                },
                "delay": round((message.delayed_until - message.sent_timestamp) / 1_000),
                "group": message.group_id,
            }
            for message in self._kept(self.queue)
            if message.delayed
        ]

    def wait(self) -> None:
        """Make every delayed or hidden message of the queue visible."""
        for message in self._kept(self.queue):
            message.delayed_until = 0
            message.visible_at = 0

    def count_messages(self) -> int:
        """Count the messages of the queue, also those that are hidden."""
        return len(self._kept(self.queue))

    def dead_letter_messages(self) -> list[Json]:
        """List the dead-letter messages, and leave them in the queue: body, attributes, group."""
        return [_read(message) for message in self._receive(self.dead_letter_queue, 10, hidden=0)]

    def sent_events(self, detail_type: str | None = None) -> list[Json]:
        """Read the events that the function sent, of one type or all, each once."""
        bodies = []
        while messages := self._receive(self.event_queue, 10):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(
                    QueueUrl=self.event_queue, ReceiptHandle=message["ReceiptHandle"]
                )
        return [body for body in bodies if detail_type in (None, body["detail-type"])]

    def redrive(self) -> None:
        """Move dead-letter messages to the queue with new ids, like ``start-message-move-task``."""
        for message in self._receive(self.dead_letter_queue, 10):
            self.sqs.send_message(
                QueueUrl=self.queue,
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
            )
            self.sqs.delete_message(
                QueueUrl=self.dead_letter_queue, ReceiptHandle=message["ReceiptHandle"]
            )

    def arn(self, url: str) -> str:
        """Name a queue as rules do."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}"

    def _queue(self, name: str) -> str:
        """Create a queue in moto's memory, because hundreds of tests would ask for it."""
        from moto.sqs.models import sqs_backends

        sqs_backends[ACCOUNT][REGION].create_queue(name)
        return f"{self.url}/{ACCOUNT}/{name}"

    def _receive(self, url: str, most: int, hidden: int = 30) -> list[Json]:
        answer = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=hidden,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[Json] = answer.get("Messages", [])
        return messages

    def _kept(self, url: str) -> list[Any]:
        """Read moto's memory: SQS does not show delayed messages, and time cannot be moved."""
        from moto.sqs.models import sqs_backends

        queue = sqs_backends[ACCOUNT][REGION].queues[url.rsplit("/", 1)[1]]
        return list(queue._messages)


def _record(message: Json) -> Json:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
        "awsRegion": REGION,
    }


def _read(message: Json) -> Json:
    return {
        "text": message["Body"],
        "attributes": {
            name: value["StringValue"]
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "group": message["Attributes"].get("MessageGroupId"),
    }


@contextmanager
def running_account() -> Iterator[Account]:
    """Run an empty account on a free port of loopback."""
    with patched_moto(), Server() as server:
        yield Account(server.url)


@dataclass
class Service:
    """A service of AWS on loopback whose answers a test decides.

    Attributes
    ----------
    answer
        From a call's operation and body to a status and an answer.
    calls
        Every body that it received.
    """

    answer: Callable[[str, Json], tuple[int, Json]]
    url: str = ""
    calls: list[Json] = field(default_factory=list)


@contextmanager
def running_service(answer: Callable[[str, Json], tuple[int, Json]]) -> Iterator[Service]:
    """Run a service that speaks AWS's JSON protocols on a free port of loopback."""
    service = Service(answer)

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            call = json.loads(body)
            service.calls.append(call)
            operation = self.headers["X-Amz-Target"].split(".")[-1]
            status, result = service.answer(operation, call)
            kind = {"Content-Type": "application/x-amz-json-1.1"}
            return Reply(status, json.dumps(result).encode(), kind)

    with serving(Handler) as service.url:
        yield service
