"""Convert a batch of SQS messages to a Lambda event, and read the function's answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moto.sqs.models import Message, Queue


def events(messages: Sequence[Message], queue: Queue, limit: int) -> Iterator[list[Message]]:
    """Split messages into parts that fit into one invocation.

    Parameters
    ----------
    messages
        The received messages.
    queue
        Their queue.
    limit
        The limit of an invocation's payload, in bytes.
    """
    part: list[Message] = []
    size = 0
    for message in messages:
        needed = len(event([message], queue))
        if part and size + needed > limit:
            yield part
            part, size = [], 0
        part.append(message)
        size += needed
    if part:
        yield part


def event(messages: Sequence[Message], queue: Queue) -> bytes:
    """Write the event for some messages."""
    records = [_record(message, queue) for message in messages]
    return json.dumps({"Records": records}, separators=(",", ":")).encode()


def _record(message: Message, queue: Queue) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": str(message.approximate_receive_count),
        "SentTimestamp": str(message.sent_timestamp),
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
        "MessageGroupId": message.group_id,
        "MessageDeduplicationId": message.deduplication_id,
        "SequenceNumber": message.sequence_number,
        "AWSTraceHeader": message.system_attributes.get("AWSTraceHeader", {}).get("StringValue"),
    }
    record = {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "messageAttributes": {
            name: _attribute(value) for name, value in message.message_attributes.items()
        },
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.queue_arn,
        "awsRegion": queue.region,
    }
    if message.message_attributes:
        record["md5OfMessageAttributes"] = message.attribute_md5
    return record


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }
    if (text := value.get("StringValue")) is not None:
        attribute["stringValue"] = text
    if (binary := value.get("BinaryValue")) is not None:
        if isinstance(binary, bytes):
            binary = base64.b64encode(binary).decode()
        attribute["binaryValue"] = binary
    return attribute


def succeeded(messages: Sequence[Message], answer: bytes, *, reports: bool) -> list[Message]:
    """Return the messages that a function has processed, according to its answer.

    Parameters
    ----------
    messages
        The messages in the event.
    answer
        Its answer as JSON; not an error.
    reports
        Whether the mapping has ReportBatchItemFailures. Without it, every answer means success.

    Returns
    -------
    list of Message
        None of them if the answer is malformed or names a message that is not in the event.
    """
    if not reports:
        return list(messages)
    try:
        failed = _failed(json.loads(answer))
    except ValueError:
        return []
    if not failed <= {message.id for message in messages}:
        return []
    return [message for message in messages if message.id not in failed]


def _failed(answer: Any) -> set[str]:
    """Read batchItemFailures; an empty answer or null names no message."""
    if answer in (None, "", {}):
        return set()
    failures = answer.get("batchItemFailures", ...) if isinstance(answer, dict) else ...
    if failures is None:
        return set()
    if not isinstance(failures, list):
        raise ValueError("batchItemFailures")
    ids = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not identifier or not isinstance(identifier, str):
            raise ValueError("itemIdentifier")
        ids.add(identifier)
    return ids
