"""Queues in the sandbox: their messages reach a function, and dead-letter messages move."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from moto.sqs.models import Message, sqs_backends

from sandbox.functions import queue_batches
from sandbox.iam.service import Call
from sandbox.sqs.queues import queue_of
from tests.support.service_sandbox import NEEDED, ServiceSandbox, eventually, refusal
from tests.support.templates import ACCOUNT, REGION, output, outputs, resource, template


def dead_lettered(sandbox: ServiceSandbox, receives: int = 1, **attributes: Any) -> tuple[str, str]:
    """Create a queue with its dead-letter queue; give both ARNs."""
    dead = sandbox.queue("dead")
    policy = {"deadLetterTargetArn": dead, "maxReceiveCount": receives}
    return sandbox.queue(RedrivePolicy=policy, **attributes), dead


def let_time_pass(sandbox: ServiceSandbox) -> None:
    """Wait until what is in flight is worked off, and let its visibility timeout be over."""
    settled(sandbox)
    for each in sqs_backends[ACCOUNT][REGION].get_queue("queue")._messages:
        received = each.approximate_first_receive_timestamp
        assert received is not None
        assert each.visible_at - received >= 30_000
        each.visible_at = 0


# From the queue to the function.


def test_a_message_reaches_the_function_as_lambda_writes_it(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    queue = sandbox.queue()
    before = time.time() * 1000
    body = json.dumps({"text": "hällo"})
    sent = sandbox.client("sqs").send_message(
        QueueUrl=sandbox.url_of("queue"),
        MessageBody=body,
        MessageAttributes={
            "attempt": {"DataType": "Number", "StringValue": "3"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )

    sandbox.map(queue)
    (record,) = eventually(sandbox.records)

    times = [
        int(record["attributes"].pop(name))
        for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp")
    ]
    assert before <= times[0] <= times[1] <= time.time() * 1000
    assert record.pop("receiptHandle")
    assert record == {
        "messageId": sent["MessageId"],
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SenderId": ACCOUNT},
        "messageAttributes": {
            "attempt": {
                "stringValue": "3",
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Number",
            },
            "raw": {
                "binaryValue": base64.b64encode(b"\x00\xff").decode(),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Binary",
            },
        },
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "md5OfMessageAttributes": sent["MD5OfMessageAttributes"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue,
        "awsRegion": REGION,
    }


def test_a_processed_message_is_deleted_and_delivered_once(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    sandbox.map(sandbox.queue(VisibilityTimeout=20))

    sent = {sandbox.send(number=number) for number in range(25)}
    eventually(lambda: sandbox.counts() == (0, 0) and len(sandbox.records()) >= len(sent))

    records = sandbox.records()
    assert Counter(record["messageId"] for record in records) == dict.fromkeys(sent, 1)
    # moto itself would invent these.
    for record in records:
        digest = hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
        assert record["md5OfBody"] == digest


def test_only_failed_messages_return_after_the_visibility_timeout(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    queue = sandbox.queue()
    good, bad = sandbox.send(), sandbox.send(do="fail")
    other = sandbox.send()

    sandbox.map(queue)
    eventually(sandbox.records)
    eventually(lambda: sandbox.counts() == (0, 1))
    let_time_pass(sandbox)
    eventually(lambda: len(sandbox.records()) > 3)

    first, again = sandbox.invocations()[:2]
    assert [record["messageId"] for record in first["event"]["Records"]] == [good, bad, other]
    (record,) = again["event"]["Records"]
    assert record["messageId"] == bad
    assert record["attributes"]["ApproximateReceiveCount"] == "2"
    times = [int(each["attributes"]["SentTimestamp"]) for each in (record, sandbox.records()[1])]
    assert times[0] == times[1]


def message(identifier: str, body: str = "") -> Message:
    made = Message(identifier, body)
    made.receipt_handle = "r"
    return made


@pytest.mark.parametrize(
    ("answer", "dealt_with"),
    [
        (None, "abc"),
        ("", "abc"),
        ({}, "abc"),
        ({"batchItemFailures": None}, "abc"),
        ({"batchItemFailures": []}, "abc"),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, "ac"),
        ({"batchItemFailures": [{"itemIdentifier": each} for each in "abc"]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "x"}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, ""),
        ({"batchItemFailures": [{"itemIdentifier": 1}]}, ""),
        ({"batchItemFailures": [{"identifier": "b"}]}, ""),
        ({"batchItemFailures": ["b"]}, ""),
        ({"batchItemFailures": "b"}, ""),
        ({"other": 1}, ""),
        (["b"], ""),
        ("b", ""),
        (True, ""),
    ],
)
def test_an_answer_is_read_as_lambda_reads_it(answer: Any, dealt_with: str) -> None:
    batch = [message(each) for each in "abc"]
    text = json.dumps(answer).encode()

    done = queue_batches.succeeded(batch, text, reports=True)

    assert "".join(each.id for each in done) == dealt_with
    assert queue_batches.succeeded(batch, text, reports=False) == batch


def test_a_malformed_answer_loses_nothing(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    sandbox.map(sandbox.queue())
    sandbox.send(do="answer", answer={"batchItemFailures": [{"itemIdentifier": "unknown"}]})

    eventually(sandbox.records)
    settled(sandbox)

    assert sandbox.counts() == (0, 1)


def settled(sandbox: ServiceSandbox) -> None:
    """Wait until no batch is worked off any more."""
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "event-source-batch"])


def test_without_partial_responses_a_batch_succeeds_or_fails_completely(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.function()
    queue = sandbox.queue()
    sandbox.send(do="fail")
    sandbox.send()
    uuid = sandbox.map(queue, FunctionResponseTypes=[])
    eventually(lambda: sandbox.counts() == (0, 0))
    sandbox.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)

    sandbox.send()
    sandbox.send(do="raise")
    sandbox.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=True)
    eventually(lambda: len(sandbox.records()) == 4)
    settled(sandbox)

    assert [len(each["event"]["Records"]) for each in sandbox.invocations()] == [2, 2]
    assert sandbox.counts() == (0, 2)


def test_a_message_that_fails_too_often_is_dead_lettered_unchanged(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.function()
    queue, _ = dead_lettered(sandbox, receives=2)
    sandbox.map(queue)
    sent = sandbox.client("sqs").send_message(
        QueueUrl=sandbox.url_of("queue"),
        MessageBody='{"do": "fail"}',
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "of its own"}},
    )

    for receives in (1, 2):
        eventually(lambda: len(sandbox.records()) == receives)  # noqa: B023  called at once
        let_time_pass(sandbox)
    eventually(lambda: sandbox.counts("dead")[0])

    assert [each["attributes"]["ApproximateReceiveCount"] for each in sandbox.records()] == [
        "1",
        "2",
    ]
    (message,) = sandbox.received("dead")
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], '{"do": "fail"}')
    assert message["MessageAttributes"]["kind"]["StringValue"] == "of its own"
    assert (
        message["Attributes"]["SentTimestamp"]
        == sandbox.records()[0]["attributes"]["SentTimestamp"]
    )
    assert sandbox.counts() == (0, 0)


def test_a_batch_keeps_the_mappings_size_limit(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    queue = sandbox.queue()
    for _ in range(7):
        sandbox.send()

    sandbox.map(queue, BatchSize=3)
    eventually(lambda: len(sandbox.records()) == 7)

    sizes = sorted(len(each["event"]["Records"]) for each in sandbox.invocations())
    assert sizes == [1, 3, 3]


def test_a_batch_window_collects_messages(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    sandbox.map(sandbox.queue(), BatchSize=20, MaximumBatchingWindowInSeconds=4)

    for _ in range(3):
        sandbox.send()
        time.sleep(0.1)
    eventually(sandbox.records)

    (invocation,) = sandbox.invocations()
    assert len(invocation["event"]["Records"]) == 3


def test_the_mapping_limits_concurrent_batches(sandbox: ServiceSandbox, tmp_path: Path) -> None:
    sandbox.function()
    go = tmp_path / "go"
    queue = sandbox.queue()
    for _ in range(5):
        sandbox.send(do="wait", file=str(go))

    sandbox.map(queue, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    eventually(lambda: len(sandbox.invocations()) == 2)
    time.sleep(0.5)

    assert len(sandbox.invocations()) == 2
    assert sandbox.counts() == (3, 2)
    go.touch()
    eventually(lambda: sandbox.counts() == (0, 0))


def test_a_delayed_message_is_delivered_when_due(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    sandbox.map(sandbox.queue())

    late, soon = sandbox.send(delay=1), sandbox.send()
    eventually(lambda: len(sandbox.records()) == 2)

    assert [record["messageId"] for record in sandbox.records()] == [soon, late]
    delayed = sandbox.records()[1]["attributes"]
    waited = int(delayed["ApproximateFirstReceiveTimestamp"]) - int(delayed["SentTimestamp"])
    assert waited >= 1000


def test_a_batch_of_large_messages_is_split_into_several_invocations(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.queue()
    queue = sqs_backends[ACCOUNT][REGION].get_queue("queue")
    messages = [message(str(number), "x" * 400) for number in range(5)]

    parts = list(queue_batches.events(messages, queue, limit=2000))

    assert [each for part in parts for each in part] == messages
    assert [len(part) for part in parts] == [2, 2, 1]
    assert all(len(queue_batches.event(part, queue)) <= 2000 for part in parts)


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Let threads interrupt each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient_threads")
def test_concurrent_batches_neither_lose_nor_repeat_a_message(sandbox: ServiceSandbox) -> None:
    sandbox.queue()
    # Not through the server, whose own work would keep them apart.
    sqs = sqs_backends[ACCOUNT][REGION]
    got: list[str] = []
    senders = [threading.Event() for _ in range(3)]

    def send(sender: int) -> None:
        for number in range(100):
            sqs.send_message("queue", f"{sender}-{number}")
        senders[sender].set()

    def receive(_: int) -> None:
        while True:
            over = all(sender.is_set() for sender in senders)
            messages = sqs.receive_message("queue", 10, 0, 30)
            got.extend(each.body for each in messages)
            for each in messages:
                sqs.delete_message("queue", str(each.receipt_handle))
            if over and not messages:
                return

    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(what, number) for number in range(3) for what in (send, receive)]
        for job in jobs:
            job.result()

    assert Counter(got) == {f"{sender}-{each}": 1 for sender in range(3) for each in range(100)}
    assert sandbox.counts() == (0, 0)


def test_concurrent_receivers_never_get_the_same_message(
    sandbox: ServiceSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.queue()
    for number in range(5):
        sandbox.send(number=number)
    mark_received = Message.mark_received

    def slowly(self: Message, visibility_timeout: int | None = None) -> None:
        time.sleep(0.02)  # between moto's look at a message and hiding it
        mark_received(self, visibility_timeout)

    monkeypatch.setattr(Message, "mark_received", slowly)

    with ThreadPoolExecutor() as pool:
        receivers = [pool.submit(sandbox.received) for _ in range(3)]
        got = [each["MessageId"] for receiver in receivers for each in receiver.result()]

    assert len(got) == len(set(got)) == 5


# The mapping.


def test_a_mapping_is_listed_and_works_only_while_enabled(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.function()
    queue = sandbox.queue()
    functions = sandbox.client("lambda")
    uuid = sandbox.map(queue, BatchSize=5, Enabled=False, ScalingConfig={"MaximumConcurrency": 4})

    (listed,) = functions.list_event_source_mappings(FunctionName="f")["EventSourceMappings"]
    sandbox.send(number=1)
    time.sleep(0.3)
    assert not sandbox.invocations()
    functions.update_event_source_mapping(UUID=uuid, Enabled=True)
    eventually(sandbox.invocations)
    functions.delete_event_source_mapping(UUID=uuid)
    sandbox.send(number=2)
    time.sleep(0.3)

    assert len(sandbox.invocations()) == 1
    assert sandbox.counts() == (1, 0)
    assert (listed["UUID"], listed["State"], listed["BatchSize"]) == (uuid, "Disabled", 5)
    assert listed["EventSourceArn"] == queue
    assert listed["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert listed["ScalingConfig"] == {"MaximumConcurrency": 4}
    gone = refusal(functions.delete_event_source_mapping, UUID=uuid)
    assert "ResourceNotFoundException" in gone


def test_a_mapping_follows_its_alias(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    functions = sandbox.client("lambda")
    first = functions.publish_version(FunctionName="f")["Version"]
    alias = functions.create_alias(FunctionName="f", Name="live", FunctionVersion=first)
    sandbox.map(sandbox.queue(), alias["AliasArn"])
    sandbox.send()
    eventually(sandbox.invocations)

    settings = {"PLACE": str(sandbox.place), "CHANGED": "yes"}
    functions.update_function_configuration(FunctionName="f", Environment={"Variables": settings})
    second = functions.publish_version(FunctionName="f")["Version"]
    functions.update_alias(FunctionName="f", Name="live", FunctionVersion=second)
    sandbox.send()
    eventually(lambda: len(sandbox.invocations()) == 2)

    assert [each["version"] for each in sandbox.invocations()] == ["1", "2"]
    assert {each["arn"] for each in sandbox.invocations()} == {alias["AliasArn"]}
    for name, count in {alias["AliasArn"]: 1, "f:live": 1, "f": 0}.items():
        listed = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        assert [each["FunctionArn"] for each in listed] == [alias["AliasArn"]] * count


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
        ({"ScalingConfig": {"MaximumConcurrency": 1001}}, "between 2 and 1000"),
        ({"FunctionName": "unknown"}, "ResourceNotFoundException"),
        ({"EventSourceArn": "short"}, "Queue visibility timeout: 19 seconds is less than Function"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, "does not know FilterCriteria"),
        ({}, "ResourceConflictException"),
    ],
)
def test_an_invalid_mapping_is_refused_as_by_lambda(
    sandbox: ServiceSandbox, settings: dict[str, Any], reason: str
) -> None:
    sandbox.function()
    queue, short = sandbox.queue(), sandbox.queue("short", VisibilityTimeout=19)
    if not settings:
        sandbox.map(queue)
    if "EventSourceArn" in settings:
        settings = {"EventSourceArn": short}

    wanted = {"EventSourceArn": queue, "FunctionName": "f", **settings}

    assert reason in refusal(sandbox.client("lambda").create_event_source_mapping, **wanted)


OTHER_SOURCES = [
    ("dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000", "DynamoDB streams"),
    ("kinesis:us-east-1:123456789012:stream/s", "Kinesis streams"),
    ("kafka:us-east-1:123456789012:cluster/c/1", "Amazon MSK"),
    ("mq:us-east-1:123456789012:broker:b:1", "Amazon MQ"),
    ("rds:us-east-1:123456789012:cluster:c", "Amazon DocumentDB"),
    ("new:us-east-1:123456789012:x", "this service"),
]


@pytest.mark.parametrize(("source", "named"), OTHER_SOURCES)
def test_a_mapping_of_another_source_is_refused_and_named(
    sandbox: ServiceSandbox, source: str, named: str
) -> None:
    sandbox.function()
    table = {
        "TableName": "t",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    }
    tables = sandbox.client("dynamodb")
    stream = tables.create_table(**table)["TableDescription"]["LatestStreamArn"]
    arn = stream if source.startswith("dynamodb") else f"arn:aws:{source}"

    why = refusal(
        sandbox.client("lambda").create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName="f",
        StartingPosition="LATEST",
    )

    assert "InvalidParameterValueException" in why
    assert f"SQS queues only, not of {named}" in why
    tables.put_item(TableName="t", Item={"id": {"S": "1"}})
    assert not sandbox.invocations()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"EventSourceArn": f"arn:aws:{OTHER_SOURCES[0][0]}"}, "DynamoDB streams"),
        ({"SelfManagedEventSource": {"Endpoints": {}}}, "self-managed Apache Kafka"),
    ],
)
def test_a_template_with_an_unsupported_mapping_fails_and_names_it(
    sandbox: ServiceSandbox, settings: dict[str, Any], named: str
) -> None:
    resources = queue_stack()
    mapping = resources["Mapping"]["Properties"]
    del mapping["EventSourceArn"]
    mapping.update(settings)

    stack = deploy(sandbox, "create", resources)

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert named in stack["StackStatusReason"]


def test_a_failing_queue_does_not_stop_the_others(
    sandbox: ServiceSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.function()
    broken, queue = sandbox.queue("broken"), sandbox.queue()
    sandbox.map(broken)
    sandbox.map(queue)
    found = queue_of(broken)
    assert found is not None
    vars(found)["visibility_timeout"] = "no number"

    sandbox.send("broken", number=1)
    eventually(lambda: "the sandbox failed with ValueError" in caplog.text)
    sandbox.send(number=2)

    (record,) = eventually(sandbox.records)
    assert json.loads(record["body"]) == {"number": 2}


# What the function's role may.


@pytest.mark.parametrize("action", NEEDED)
def test_a_mapping_needs_a_role_with_permission_to_read_the_queue(
    sandbox: ServiceSandbox, action: str
) -> None:
    sandbox.function()
    queue = sandbox.queue()
    sandbox.allow(*(set(NEEDED) - {action}))

    why = refusal(
        sandbox.client("lambda").create_event_source_mapping, EventSourceArn=queue, FunctionName="f"
    )

    assert f"does not have permissions to call {action.partition(':')[2]} on SQS" in why


def test_a_role_without_receive_permission_gets_no_messages(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    queue = sandbox.queue()
    sandbox.map(queue)
    role = f"arn:aws:iam::{ACCOUNT}:role/runs"
    sandbox.permissions.forget_calls()
    sandbox.allow("sqs:DeleteMessage")

    sandbox.send()
    eventually(lambda: sandbox.permissions.calls()[Call(role, NEEDED[0], queue, False)])
    assert not sandbox.invocations()
    assert sandbox.counts() == (1, 0)

    sandbox.allow(*NEEDED)
    eventually(lambda: sandbox.counts() == (0, 0))
    calls = sandbox.permissions.calls()
    assert {(call.action, call.allowed) for call in calls} == {
        ("sqs:ReceiveMessage", False),
        ("sqs:ReceiveMessage", True),
        ("sqs:DeleteMessage", True),
    }


def test_messages_return_if_the_role_cannot_delete_them(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    sandbox.map(sandbox.queue())
    sandbox.allow("sqs:ReceiveMessage")

    identifier = sandbox.send()
    eventually(sandbox.records)
    let_time_pass(sandbox)
    eventually(lambda: len(sandbox.records()) >= 2)

    assert {record["messageId"] for record in sandbox.records()} == {identifier}


def test_an_empty_queue_causes_no_receive_calls(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    sandbox.map(sandbox.queue())
    sandbox.permissions.forget_calls()

    time.sleep(0.5)

    assert not sandbox.permissions.calls()


# The reset.


def test_motos_reset_ends_old_mappings_only(sandbox: ServiceSandbox, tmp_path: Path) -> None:
    go = tmp_path / "go"
    sandbox.function()
    sandbox.map(sandbox.queue())
    sandbox.send(do="wait", file=str(go))
    eventually(sandbox.invocations)

    sandbox.emptied(tmp_path)
    sandbox.function()
    sandbox.map(sandbox.queue())
    go.touch()
    sandbox.send(number=2)

    eventually(lambda: len(sandbox.invocations()) == 2 and sandbox.counts() == (0, 0))


# In a template.


def queue_stack(**mapping: Any) -> dict[str, Any]:
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(NEEDED), "Resource": "*"}],
    }
    target = {"Fn::GetAtt": ["Dead", "Arn"]}
    return {
        "Dead": resource("SQS::Queue"),
        "Queue": resource(
            "SQS::Queue",
            VisibilityTimeout=174,
            RedrivePolicy={"deadLetterTargetArn": target, "maxReceiveCount": 5},
        ),
        "Role": resource(
            "IAM::Role",
            AssumeRolePolicyDocument={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "sts:AssumeRole",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                    }
                ],
            },
            Policies=[{"PolicyName": "p", "PolicyDocument": policy}],
        ),
        "Function": resource(
            "Lambda::Function",
            Code={"ZipFile": "def handler(event, context): print(event['Records'][0]['body'])"},
            Handler="index.handler",
            Role={"Fn::GetAtt": ["Role", "Arn"]},
            Runtime="python3.13",
            Timeout=29,
        ),
        "Version": resource("Lambda::Version", FunctionName={"Ref": "Function"}),
        "Alias": resource(
            "Lambda::Alias",
            FunctionName={"Ref": "Function"},
            FunctionVersion={"Fn::GetAtt": ["Version", "Version"]},
            Name="live",
        ),
        "Mapping": resource(
            "Lambda::EventSourceMapping",
            EventSourceArn={"Fn::GetAtt": ["Queue", "Arn"]},
            FunctionName={"Ref": "Alias"},
            FunctionResponseTypes=["ReportBatchItemFailures"],
            **mapping,
        ),
    }


def deploy(
    sandbox: ServiceSandbox, verb: str, resources: dict[str, Any], **others: Any
) -> dict[str, Any]:
    cloudformation = sandbox.client("cloudformation")
    call = getattr(cloudformation, f"{verb}_stack")
    call(StackName="stack", TemplateBody=template(resources, **others))
    (stack,) = cloudformation.describe_stacks(StackName="stack")["Stacks"]
    return dict(stack)


def test_a_template_maps_a_queue_to_an_alias(sandbox: ServiceSandbox) -> None:
    functions = sandbox.client("lambda")
    named = output(Queue={"Ref": "Queue"}, Alias={"Ref": "Alias"}, Mapping={"Ref": "Mapping"})
    resources = queue_stack(BatchSize="5", ScalingConfig={"MaximumConcurrency": 4})
    result = outputs(deploy(sandbox, "create", resources, Outputs=named))

    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    assert (mapping["UUID"], mapping["FunctionArn"]) == (result["Mapping"], result["Alias"])
    assert (mapping["BatchSize"], mapping["State"]) == (5, "Enabled")
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 4}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    name = result["Queue"].rpartition("/")[2]
    sandbox.send(name, text="from the queue")
    function = result["Alias"].split(":")[6]
    eventually(lambda: '{"text": "from the queue"}' in sandbox.functions.logs(function))

    deploy(sandbox, "update", queue_stack(Enabled=False))
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    assert (mapping["UUID"], mapping["State"]) == (result["Mapping"], "Disabled")
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (10, {})
    sandbox.client("cloudformation").delete_stack(StackName="stack")
    assert functions.list_event_source_mappings()["EventSourceMappings"] == []
    assert sandbox.client("sqs").list_queues().get("QueueUrls", []) == []


def test_an_invalid_mapping_fails_the_stack(sandbox: ServiceSandbox) -> None:
    resources = queue_stack()
    resources["Role"]["Properties"]["Policies"] = []

    stack = deploy(sandbox, "create", resources)

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert (
        "[Mapping]. The provided execution role does not have permissions to call Rec"
        in (stack["StackStatusReason"])
    )


# Moves out of a dead-letter queue.


def buried(sandbox: ServiceSandbox, *bodies: str) -> list[str]:
    """Have messages moved into the dead-letter queue; give their ids."""
    sqs = sandbox.client("sqs")
    sent = [
        sqs.send_message(
            QueueUrl=sandbox.url_of("queue"),
            MessageBody=body,
            MessageAttributes={"kind": {"DataType": "String", "StringValue": f"of {body}"}},
        )["MessageId"]
        for body in bodies
    ]
    sandbox.received(VisibilityTimeout=0)
    sandbox.received()
    assert sandbox.counts("dead") == (len(bodies), 0)
    return sent


def moves(sandbox: ServiceSandbox, dead: str, most: int = 10) -> list[dict[str, Any]]:
    answer = sandbox.client("sqs").list_message_move_tasks(SourceArn=dead, MaxResults=most)
    return list(answer["Results"])


def test_dead_letter_messages_move_to_a_named_queue_as_new_messages(
    sandbox: ServiceSandbox,
) -> None:
    _, dead = dead_lettered(sandbox)
    other = sandbox.queue("other")
    old = buried(sandbox, "first", "second")

    handle = sandbox.client("sqs").start_message_move_task(SourceArn=dead, DestinationArn=other)

    assert handle["TaskHandle"]
    (move,) = moves(sandbox, dead)
    assert abs(move.pop("StartedTimestamp") - time.time() * 1000) < 60_000
    assert move == {
        "Status": "COMPLETED",
        "SourceArn": dead,
        "DestinationArn": other,
        "ApproximateNumberOfMessagesMoved": 2,
        "ApproximateNumberOfMessagesToMove": 2,
    }
    assert (sandbox.counts("dead"), sandbox.counts()) == ((0, 0), (0, 0))
    moved = sandbox.received("other")
    assert [each["Body"] for each in moved] == ["first", "second"]
    assert not {each["MessageId"] for each in moved} & set(old)
    assert [each["Attributes"]["ApproximateReceiveCount"] for each in moved] == ["1", "1"]
    assert moved[0]["MessageAttributes"]["kind"]["StringValue"] == "of first"


def test_dead_letter_messages_move_back_to_their_source_queue(sandbox: ServiceSandbox) -> None:
    _, dead = dead_lettered(sandbox)
    policy = {"deadLetterTargetArn": dead, "maxReceiveCount": 1}
    sandbox.queue("second", RedrivePolicy=policy)
    buried(sandbox, "one")
    sandbox.send("second", number=2)
    sandbox.received("second", VisibilityTimeout=0)
    sandbox.received("second")

    sandbox.client("sqs").start_message_move_task(SourceArn=dead)

    assert moves(sandbox, dead)[0]["ApproximateNumberOfMessagesMoved"] == 2
    assert [each["Body"] for each in sandbox.received()] == ["one"]
    assert [each["Body"] for each in sandbox.received("second")] == ['{"number": 2}']


def test_messages_without_a_source_queue_move_only_to_a_named_queue(
    sandbox: ServiceSandbox,
) -> None:
    queue, dead = dead_lettered(sandbox)
    buried(sandbox, "redriven")
    sandbox.send("dead", put="there")
    start = sandbox.client("sqs").start_message_move_task

    start(SourceArn=dead)
    (failed,) = moves(sandbox, dead)
    assert (failed["Status"], failed["FailureReason"]) == (
        "FAILED",
        "CouldNotDetermineMessageSource",
    )
    assert failed["ApproximateNumberOfMessagesMoved"] == 1
    assert (sandbox.counts(), sandbox.counts("dead")) == ((1, 0), (1, 0))

    start(SourceArn=dead, DestinationArn=queue)
    assert [each["Status"] for each in moves(sandbox, dead)] == ["COMPLETED", "FAILED"]
    assert (sandbox.counts(), sandbox.counts("dead")) == ((2, 0), (0, 0))


def test_messages_in_flight_are_not_moved(sandbox: ServiceSandbox) -> None:
    queue, dead = dead_lettered(sandbox)
    buried(sandbox, "one")
    sandbox.received("dead")

    sandbox.client("sqs").start_message_move_task(SourceArn=dead, DestinationArn=queue)

    assert moves(sandbox, dead)[0]["ApproximateNumberOfMessagesMoved"] == 0
    assert sandbox.counts("dead") == (0, 1)


def test_a_rate_limited_move_continues_until_cancelled(sandbox: ServiceSandbox) -> None:
    queue, dead = dead_lettered(sandbox)
    buried(sandbox, *map(str, range(10)))
    sqs = sandbox.client("sqs")
    rate = {"SourceArn": dead, "DestinationArn": queue, "MaxNumberOfMessagesPerSecond": 1}
    handle = sqs.start_message_move_task(**rate)["TaskHandle"]

    (move,) = moves(sandbox, dead)
    assert (move["Status"], move["TaskHandle"]) == ("RUNNING", handle)
    assert move["MaxNumberOfMessagesPerSecond"] == 1
    assert "There is already a task running" in refusal(sqs.start_message_move_task, **rate)
    # The move continues without further calls.
    eventually(lambda: sandbox.counts()[0] >= 2)
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]

    time.sleep(1.1)
    assert 2 <= moved < 10
    assert (sandbox.counts()[0], sandbox.counts("dead")[0]) == (moved, 10 - moved)
    (move,) = moves(sandbox, dead)
    assert (move["Status"], "TaskHandle" in move) == ("CANCELLED", False)
    assert "Only active tasks" in refusal(sqs.cancel_message_move_task, TaskHandle=handle)
    assert "does not exist" in refusal(sqs.cancel_message_move_task, TaskHandle="unknown")


def test_only_the_latest_move_is_listed_by_default(sandbox: ServiceSandbox) -> None:
    queue, dead = dead_lettered(sandbox)
    sqs = sandbox.client("sqs")
    for _ in range(12):
        sqs.start_message_move_task(SourceArn=dead, DestinationArn=queue)

    assert len(sqs.list_message_move_tasks(SourceArn=dead)["Results"]) == 1
    assert len(moves(sandbox, dead)) == 10
    too_many = refusal(sqs.list_message_move_tasks, SourceArn=dead, MaxResults=11)
    assert "MaxResults is invalid" in too_many


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"SourceArn": "queue"}, "Source queue must be configured as a Dead Letter Queue"),
        ({"SourceArn": "unknown"}, "specified for the SourceArn parameter doesn't exist"),
        ({"SourceArn": ""}, "use this format to specify the SourceArn"),
        ({"DestinationArn": "unknown"}, "for the DestinationArn parameter doesn't exist"),
        ({"DestinationArn": "dead"}, "cannot be the same"),
        ({"MaxNumberOfMessagesPerSecond": 501}, "Must be between 1 and 500"),
    ],
)
def test_an_invalid_move_is_refused_as_by_sqs(
    sandbox: ServiceSandbox, changed: dict[str, Any], reason: str
) -> None:
    queue, dead = dead_lettered(sandbox)
    for name, value in changed.items():
        if name != "MaxNumberOfMessagesPerSecond":
            changed = {name: value and f"arn:aws:sqs:{REGION}:{ACCOUNT}:{value}"}
    wanted = {"SourceArn": dead, "DestinationArn": queue, **changed}

    assert reason in refusal(sandbox.client("sqs").start_message_move_task, **wanted)


# The entry point of a push.


def test_the_inbox_shows_the_entry_point_of_each_push(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    project = sandbox.project()
    sandbox.map(sandbox.queue())
    functions = sandbox.client("lambda")

    def push(token: str) -> dict[str, Any]:
        return {"push": {"project": project, "token": token}}

    functions.invoke(FunctionName="f", Payload=json.dumps(push("waited for")))
    functions.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps(push("later")))
    sandbox.send(**push("queued"))
    sandbox.client("pinpoint").send_messages(
        ApplicationId=project,
        MessageRequest={
            "Addresses": {"by hand": {"ChannelType": "ADM"}},
            "MessageConfiguration": {"ADMMessage": {"Body": "b"}},
        },
    )

    expected = {
        "waited for": "direct",
        "later": "asynchronous",
        "queued": "queue",
        "by hand": None,
    }
    eventually(lambda: len(sandbox.entry_points()) == len(expected))
    assert sandbox.entry_points() == expected


def test_a_warm_process_shows_its_current_entry_point(sandbox: ServiceSandbox) -> None:
    sandbox.function()
    project = sandbox.project()
    sandbox.map(sandbox.queue())

    for number in range(4):
        what = {"push": {"project": project, "token": f"direct-{number}"}}
        sandbox.client("lambda").invoke(FunctionName="f", Payload=json.dumps(what))
        sandbox.send(push={"project": project, "token": f"queue-{number}"})
        eventually(lambda: f"queue-{number}" in sandbox.entry_points())  # noqa: B023  called at once

    assert all(
        token.startswith(str(entry_point)) for token, entry_point in sandbox.entry_points().items()
    )


def test_pushes_of_a_batch_have_the_entry_point_of_their_own_message(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.function()
    project, arn = sandbox.project(), sandbox.queue()
    sandbox.client("events").put_rule(Name="r", EventPattern=json.dumps({"source": ["s"]}))
    sandbox.client("events").put_targets(Rule="r", Targets=[{"Id": "q", "Arn": arn}])
    detail = {"push": {"project": project, "token": "by rule"}}

    sandbox.send(push={"project": project, "token": "sent"})
    sandbox.client("events").put_events(
        Entries=[{"Source": "s", "DetailType": "t", "Detail": json.dumps(detail)}]
    )
    sandbox.map(arn, BatchSize=2)

    expected = {"sent": "queue", "by rule": "eventbridge"}
    eventually(lambda: len(sandbox.entry_points()) == len(expected))
    assert sandbox.entry_points() == expected
