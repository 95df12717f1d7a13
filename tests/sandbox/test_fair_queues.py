"""Fair queues in the sandbox: one group's flood does not hold up another's message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.support.service_sandbox import (
    ADMINISTRATOR,
    ServiceSandbox,
    assumed,
    client,
    eventually,
)
from tests.support.templates import ACCOUNT

FLOOD = 500
AT_ONCE = 2


def send(sandbox: ServiceSandbox, group: str | None, *bodies: Any, queue: str = "queue") -> None:
    """Send messages of a group, ten in each call."""
    sqs = sandbox.client("sqs")
    entries = [
        {
            "Id": str(number),
            "MessageBody": json.dumps(body),
            **({} if group is None else {"MessageGroupId": group}),
        }
        for number, body in enumerate(bodies)
    ]
    for at in range(0, len(entries), 10):
        answer = sqs.send_message_batch(
            QueueUrl=sandbox.url_of(queue), Entries=entries[at : at + 10]
        )
        assert not answer.get("Failed")


def groups(messages: Sequence[dict[str, Any]]) -> list[str | None]:
    return [message["Attributes"].get("MessageGroupId") for message in messages]


def receive(sandbox: ServiceSandbox, most: int) -> list[str | None]:
    """Receive messages, which stay in flight; give their groups."""
    answer = sandbox.client("sqs").receive_message(
        QueueUrl=sandbox.url_of("queue"), MaxNumberOfMessages=most, AttributeNames=["All"]
    )
    return groups(answer.get("Messages", []))


def test_a_message_of_a_quiet_group_does_not_wait_for_another_groups_flood(
    sandbox: ServiceSandbox, tmp_path: Path
) -> None:
    sandbox.function()
    queue = sandbox.queue()
    go = tmp_path / "go"
    send(sandbox, "flood", *[{"do": "wait", "file": str(go)}] * FLOOD)
    sandbox.map(queue, BatchSize=1, ScalingConfig={"MaximumConcurrency": AT_ONCE})
    eventually(lambda: len(sandbox.records()) == AT_ONCE)

    send(sandbox, "orders", {})
    go.touch()
    records = eventually(
        lambda: [*found] if "orders" in groups_of(found := sandbox.records()) else []
    )

    assert groups_of(records).index("orders") <= AT_ONCE
    assert sandbox.counts()[0] > FLOOD / 2, "the flood is not over"


def groups_of(records: Sequence[dict[str, Any]]) -> list[str | None]:
    return [record["attributes"].get("MessageGroupId") for record in records]


def test_of_noisy_groups_the_one_with_the_fewest_in_flight_is_received_first(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.queue()
    send(sandbox, "a", *[{}] * 20)
    send(sandbox, "b", *[{}] * 20)

    assert receive(sandbox, 6) == ["a"] * 6, "nobody is noisy yet"
    assert receive(sandbox, 4) == ["b"] * 4, "quiet until then"
    assert receive(sandbox, 1) == ["b"], "with 4 in flight, the other one has 6"
    assert receive(sandbox, 2) == ["b"] * 2
    assert receive(sandbox, 1) == ["a"], "with 6 in flight, the other one has 7"


def test_a_group_is_no_longer_noisy_when_its_backlog_is_over(sandbox: ServiceSandbox) -> None:
    sandbox.queue()
    send(sandbox, "a", *[{}] * 3)
    sqs = sandbox.client("sqs")
    url = sandbox.url_of("queue")
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert receive(sandbox, 1) == []

    send(sandbox, "a", {})
    send(sandbox, "b", {})

    assert receive(sandbox, 2) == ["a", "b"], "as they were sent"


def test_each_message_without_a_group_is_a_tenant_of_its_own(sandbox: ServiceSandbox) -> None:
    sandbox.queue()
    send(sandbox, None, *[{}] * 3)
    send(sandbox, "a", *[{}] * 3)
    assert receive(sandbox, 2) == [None, None]
    assert receive(sandbox, 2) == [None, "a"]
    send(sandbox, None, {})

    assert receive(sandbox, 3) == [None, "a", "a"]


def test_a_queue_in_order_stays_in_order(sandbox: ServiceSandbox) -> None:
    sandbox.client("sqs").create_queue(
        QueueName="queue.fifo", Attributes={"FifoQueue": "true", "VisibilityTimeout": "30"}
    )
    url = sandbox.url_of("queue.fifo")
    sqs = sandbox.client("sqs")
    for number, group in enumerate("aaab"):
        sqs.send_message(
            QueueUrl=url,
            MessageBody=str(number),
            MessageGroupId=group,
            MessageDeduplicationId=str(number),
        )
        if number == 1:
            sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)

    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)

    assert [message["Body"] for message in answer["Messages"]] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("group", ["", "two words", "é", "x" * 129, "line\n"])
def test_a_group_that_sqs_does_not_allow_is_refused(sandbox: ServiceSandbox, group: str) -> None:
    sandbox.queue()
    sqs, url = sandbox.client("sqs"), sandbox.url_of("queue")

    with pytest.raises(ClientError, match="MessageGroupId can only include"):
        sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId=group)

    sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="!/~" + "x" * 125)
    assert receive(sandbox, 10) == ["!/~" + "x" * 125]


def test_a_message_names_who_sent_it(sandbox: ServiceSandbox) -> None:
    sandbox.queue()
    sandbox.function()
    sandbox.allow("sqs:SendMessage")
    iam, url = sandbox.client("iam"), sandbox.url_of("queue")
    user = iam.create_user(UserName="orders")["User"]
    key = iam.create_access_key(UserName="orders")["AccessKey"]
    role = iam.get_role(RoleName="runs")["Role"]
    of_user = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    for credentials in (ADMINISTRATOR, assumed(role["Arn"]), of_user):
        sqs = client("sqs", sandbox.url, credentials)
        sqs.send_message(QueueUrl=url, MessageBody="b")

    found = [message["Attributes"]["SenderId"] for message in sandbox.received()]

    assert found == [ACCOUNT, f"{role['RoleId']}:function", user["UserId"]]


def test_a_dead_letter_message_keeps_group_and_sender_also_when_it_is_redriven(
    sandbox: ServiceSandbox,
) -> None:
    dead = sandbox.queue("dead")
    sandbox.queue(RedrivePolicy={"deadLetterTargetArn": dead, "maxReceiveCount": 1})
    send(sandbox, "orders", {})
    sandbox.received(VisibilityTimeout=0)
    assert sandbox.received() == []

    sandbox.client("sqs").start_message_move_task(SourceArn=dead)

    (message,) = sandbox.received()
    assert message["Attributes"]["MessageGroupId"] == "orders"
    assert message["Attributes"]["SenderId"] == ACCOUNT


@pytest.mark.parametrize(
    ("group", "source", "expected"),
    [("$.source", "shop", "shop"), ("shops", "shop", "shops"), ("$.detail.tenant", "shop", "t-1")],
)
def test_a_rule_gives_its_messages_a_group(
    sandbox: ServiceSandbox, group: str, source: str, expected: str
) -> None:
    queue, events = sandbox.queue(), sandbox.client("events")
    events.put_rule(Name="rule", EventPattern=json.dumps({"source": [source]}))
    target = {"Id": "queue", "Arn": queue, "SqsParameters": {"MessageGroupId": group}}
    events.put_targets(Rule="rule", Targets=[target])

    entry = {"Source": source, "DetailType": "any", "Detail": '{"tenant": "t-1"}'}
    events.put_events(Entries=[entry])

    assert groups(sandbox.received()) == [expected]


def test_an_event_whose_source_cannot_be_a_group_is_a_dead_letter(sandbox: ServiceSandbox) -> None:
    queue, dead, events = sandbox.queue(), sandbox.queue("dead"), sandbox.client("events")
    events.put_rule(Name="rule", EventPattern='{"source": [{"prefix": ""}]}')
    target = {
        "Id": "queue",
        "Arn": queue,
        "SqsParameters": {"MessageGroupId": "$.source"},
        "DeadLetterConfig": {"Arn": dead},
    }
    events.put_targets(Rule="rule", Targets=[target])

    events.put_events(Entries=[{"Source": "two words", "DetailType": "any", "Detail": "{}"}])

    assert sandbox.received() == []
    (message,) = sandbox.received("dead")
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "INVALID_PARAMETER"
