"""Resource types of the sandbox: queues and topics."""

from __future__ import annotations

import json
from typing import Any

from tests.support.service_sandbox import ServiceSandbox
from tests.support.templates import (
    ACCOUNT,
    REGION,
    Template,
    output,
    outputs,
    resource,
    topic,
)

CANARY = "canary-of-a-secret"


def test_a_queue_has_its_attributes_and_a_url_that_works(sandbox: ServiceSandbox) -> None:
    def resources(retention: int, **more: Any) -> Template:
        return {
            "Dead": resource("SQS::Queue", RedriveAllowPolicy={"redrivePermission": "allowAll"}),
            "Queue": resource(
                "SQS::Queue",
                MessageRetentionPeriod=retention,
                SqsManagedSseEnabled=True,
                RedrivePolicy={
                    "deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]},
                    "maxReceiveCount": 3,
                },
                **more,
            ),
            "Policy": resource(
                "SQS::QueuePolicy",
                Queues=[{"Ref": "Queue"}],
                PolicyDocument={"Statement": [{"Sid": {"Fn::GetAtt": ["Queue", "QueueName"]}}]},
            ),
        }

    def attributes(logical_id: str) -> dict[str, str]:
        answer = sqs.get_queue_attributes(
            QueueUrl=sandbox.id_of(logical_id), AttributeNames=["All"]
        )
        return dict(answer["Attributes"])

    sqs = sandbox.client("sqs")
    stack = sandbox.create(
        resources(1209600, VisibilityTimeout=180), Outputs=output(Url={"Ref": "Queue"})
    )
    before = attributes("Queue")
    sqs.send_message(QueueUrl=outputs(stack)["Url"], MessageBody="kept over the update")
    sandbox.update(resources(60))

    after = attributes("Queue")
    assert (before["MessageRetentionPeriod"], before["VisibilityTimeout"]) == ("1209600", "180")
    assert (after["MessageRetentionPeriod"], after["VisibilityTimeout"]) == ("60", "30")
    name = after["QueueArn"].rpartition(":")[2]
    for result in (before, after):
        assert result["SqsManagedSseEnabled"] == "true"
        assert json.loads(result["RedrivePolicy"])["maxReceiveCount"] == 3
        assert json.loads(result["Policy"]) == {"Statement": [{"Sid": name}]}
        assert "RedriveAllowPolicy" not in result
    assert json.loads(attributes("Dead")["RedriveAllowPolicy"]) == {"redrivePermission": "allowAll"}
    (message,) = sqs.receive_message(QueueUrl=outputs(stack)["Url"])["Messages"]
    assert message["Body"] == "kept over the update"
    without = resources(60)
    del without["Policy"]
    sandbox.update(without)
    assert "Policy" not in attributes("Queue")


def test_an_existing_queue_is_not_taken_over(sandbox: ServiceSandbox) -> None:
    sandbox.client("sqs").create_queue(QueueName="taken")

    stack = sandbox.create({"Queue": resource("SQS::Queue", QueueName="taken")})

    assert "[Queue]. taken already exists" in stack["StackStatusReason"]
    assert sandbox.client("sqs").get_queue_url(QueueName="taken")


def test_a_published_message_reaches_a_subscribed_queue(sandbox: ServiceSandbox) -> None:
    def resources(display_name: str, raw: bool, wanted: str) -> Template:
        return {
            "Topic": topic(DisplayName=display_name),
            "Queue": resource("SQS::Queue"),
            "Subscription": resource(
                "SNS::Subscription",
                TopicArn={"Ref": "Topic"},
                Protocol="sqs",
                Endpoint={"Fn::GetAtt": ["Queue", "Arn"]},
                RawMessageDelivery=raw,
                FilterPolicy={"kind": [wanted]},
            ),
        }

    def arrived(stack: dict[str, Any]) -> list[str]:
        assert stack["StackStatus"].endswith("E_COMPLETE")
        for kind in ("first", "second"):
            sandbox.client("sns").publish(
                TopicArn=sandbox.id_of("Topic"),
                Message=f"of the {kind}",
                MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}},
            )
        answer = sandbox.client("sqs").receive_message(
            QueueUrl=sandbox.id_of("Queue"), MaxNumberOfMessages=10
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    assert arrived(sandbox.create(resources("before", True, "first"))) == ["of the first"]
    (wrapped,) = arrived(sandbox.update(resources("after", False, "second")))
    assert json.loads(wrapped)["Message"] == "of the second"
    assert sandbox.display_name() == "after"
    unfiltered = resources("after", True, "any")
    del unfiltered["Subscription"]["Properties"]["FilterPolicy"]
    assert arrived(sandbox.update(unfiltered)) == ["of the first", "of the second"]
    del unfiltered["Subscription"]
    assert arrived(sandbox.update(unfiltered)) == []


def test_a_subscription_can_filter_by_message_body(sandbox: ServiceSandbox) -> None:
    sandbox.create(
        {
            "Topic": topic(),
            "Queue": resource("SQS::Queue"),
            "Subscription": resource(
                "SNS::Subscription",
                TopicArn={"Ref": "Topic"},
                Protocol="sqs",
                Endpoint={"Fn::GetAtt": ["Queue", "Arn"]},
                # Nesting is allowed only in this scope.
                FilterPolicy={"kind": {"of": ["push"]}},
                FilterPolicyScope="MessageBody",
            ),
        }
    )

    result = sandbox.client("sns").get_subscription_attributes(
        SubscriptionArn=sandbox.id_of("Subscription")
    )["Attributes"]
    assert json.loads(result["FilterPolicy"]) == {"kind": {"of": ["push"]}}
    assert result["FilterPolicyScope"] == "MessageBody"


def test_queues_and_topics_have_tags_and_may_be_fifo(sandbox: ServiceSandbox) -> None:
    def resources(tag: str) -> Template:
        tags = [{"Key": tag, "Value": "x"}]
        return {
            "Queue": resource(
                "SQS::Queue",
                QueueName="q.fifo",
                FifoQueue=True,
                ContentBasedDeduplication=True,
                Tags=tags,
            ),
            "Topic": resource(
                "SNS::Topic",
                TopicName="t.fifo",
                FifoTopic=True,
                ContentBasedDeduplication=True,
                Tags=tags,
                Subscription=[{"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Queue", "Arn"]}}],
            ),
        }

    def result() -> list[list[str]]:
        topic_tags = sns.list_tags_for_resource(ResourceArn=sandbox.id_of("Topic"))["Tags"]
        queue_tags = sqs.list_queue_tags(QueueUrl=sandbox.id_of("Queue"))["Tags"]
        return [[tag["Key"] for tag in topic_tags], list(queue_tags)]

    sns, sqs = sandbox.client("sns"), sandbox.client("sqs")
    sandbox.create(resources("before"))
    before = result()
    sandbox.update(resources("after"))

    assert (before, result()) == ([["before"], ["before"]], [["after"], ["after"]])
    attributes = sqs.get_queue_attributes(
        QueueUrl=sandbox.id_of("Queue"), AttributeNames=["FifoQueue"]
    )
    assert attributes["Attributes"] == {"FifoQueue": "true"}
    sns.publish(TopicArn=sandbox.id_of("Topic"), Message="in order", MessageGroupId="g")
    (message,) = sqs.receive_message(QueueUrl=sandbox.id_of("Queue"))["Messages"]
    assert json.loads(message["Body"])["Message"] == "in order"


def test_a_policy_moves_to_another_queue_or_topic(sandbox: ServiceSandbox) -> None:
    def resources(holder: str) -> Template:
        own = {"Statement": [{"Sid": "own"}]}
        return {
            **{f"Queue{name}": resource("SQS::Queue") for name in "AB"},
            **{f"Topic{name}": topic(name) for name in "AB"},
            "QueuePolicy": resource(
                "SQS::QueuePolicy", Queues=[{"Ref": f"Queue{holder}"}], PolicyDocument=own
            ),
            "TopicPolicy": resource(
                "SNS::TopicPolicy", Topics=[{"Ref": f"Topic{holder}"}], PolicyDocument=own
            ),
        }

    def holders() -> list[str]:
        sns, sqs = sandbox.client("sns"), sandbox.client("sqs")
        policies = {}
        for name in "AB":
            policies[f"Queue{name}"] = sqs.get_queue_attributes(
                QueueUrl=sandbox.id_of(f"Queue{name}"), AttributeNames=["All"]
            )
            policies[f"Topic{name}"] = sns.get_topic_attributes(
                TopicArn=sandbox.id_of(f"Topic{name}")
            )
        return [
            name
            for name, answer in policies.items()
            if '"own"' in answer["Attributes"].get("Policy", "")
        ]

    sandbox.create(resources("A"))
    before = holders()
    sandbox.update(resources("B"))

    assert (before, holders()) == (["QueueA", "TopicA"], ["QueueB", "TopicB"])


def test_a_topic_has_the_default_policy_before_and_after_its_own(sandbox: ServiceSandbox) -> None:
    def policy() -> Any:
        arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
        attributes = sandbox.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
        return json.loads(attributes["Policy"])

    own = {"Statement": [{"Sid": "own"}]}
    sandbox.create({"Topic": topic()})
    usual = policy()

    sandbox.update(
        {
            "Topic": topic(),
            "Policy": resource("SNS::TopicPolicy", Topics=[{"Ref": "Topic"}], PolicyDocument=own),
        }
    )
    during = policy()
    sandbox.update({"Topic": topic()})

    assert (during, policy()) == (own, usual)
    assert usual != own
