"""EventBridge in the sandbox: events that fit a rule reach its queues and functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.queued import ACCOUNT, REGION, Sandbox, eventually, running_sandbox
from tests.stacks import output, outputs, refusal, resource, template

PATTERN = {
    "detail-type": ["Push Notification Requested"],
    "source": [{"anything-but": ["push-sender"]}],
}


@pytest.fixture(scope="module")
def _running() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running: Sandbox, tmp_path: Path) -> Sandbox:
    return _running.emptied(tmp_path)


def rule(
    sandbox: Sandbox,
    *targets: str | dict[str, Any],
    pattern: Any = PATTERN,
    name: str = "rule",
    **settings: Any,
) -> None:
    """Put a rule onto the default bus."""
    events = sandbox.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern), **settings)
    wanted = [{"Arn": each} if isinstance(each, str) else each for each in targets]
    events.put_targets(
        Rule=name,
        Targets=[{"Id": f"target-{number}", **each} for number, each in enumerate(wanted)],
    )


def put(
    sandbox: Sandbox,
    detail: Any = None,
    kind: str = "Push Notification Requested",
    source: str = "shop",
    **others: Any,
) -> str:
    """Put an event onto the bus; give its id."""
    entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail or {}), **others}
    answer = sandbox.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0
    return str(answer["Entries"][0]["EventId"])


def bodies(sandbox: Sandbox, queue: str = "queue") -> list[Any]:
    return [json.loads(each["Body"]) for each in sandbox.received(queue)]


def test_a_queue_gets_the_event_as_aws_builds_it(sandbox: Sandbox) -> None:
    rule(sandbox, sandbox.queue())
    detail = {"text": "hällo <id> <time>", "list": [1, None, {"a": 1.5}], "empty": {}}
    when = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)

    identifier = put(sandbox, detail, Time=when, Resources=["arn:aws:x:y"])

    (message,) = sandbox.received()
    assert json.loads(message["Body"]) == {
        "version": "0",
        "id": identifier,
        "detail-type": "Push Notification Requested",
        "source": "shop",
        "account": ACCOUNT,
        "time": "2026-01-02T03:04:05Z",
        "region": REGION,
        "resources": ["arn:aws:x:y"],
        "detail": detail,
    }
    assert "MessageAttributes" not in message


def test_an_event_without_a_time_has_that_at_which_it_came(sandbox: Sandbox) -> None:
    rule(sandbox, sandbox.queue())
    before = datetime.now(UTC).replace(microsecond=0)

    put(sandbox)

    (event,) = bodies(sandbox)
    time = datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= time <= datetime.now(UTC)
    assert event["resources"] == []


@pytest.mark.parametrize(
    ("pattern", "event", "fits"),
    [
        (PATTERN, {}, True),
        (PATTERN, {"kind": "Push Report"}, False),
        (PATTERN, {"source": "push-sender"}, False),
        ({"source": [{"anything-but": {"prefix": "push"}}]}, {}, True),
        ({"source": [{"anything-but": {"prefix": "sh"}}]}, {}, False),
        ({"source": [{"prefix": "sh"}]}, {}, True),
        ({"source": [{"prefix": "ho"}]}, {}, False),
        ({"detail": {"a": [{"exists": True}]}}, {"detail": {"a": 1}}, True),
        ({"detail": {"a": [{"exists": True}]}}, {"detail": {"b": 1}}, False),
        ({"detail": {"a": [{"exists": False}]}}, {"detail": {"b": 1}}, True),
        ({"detail": {"a": [{"anything-but": "x"}]}}, {"detail": {"b": 1}}, False),
        ({"detail": {"a": {"b": [1, 2]}}}, {"detail": {"a": {"b": 2}}}, True),
        ({"detail": {"a": ["x"]}}, {"detail": {"a": ["y", "x"]}}, True),
        ({"account": [ACCOUNT], "region": ["eu-west-1"]}, {}, False),
    ],
)
def test_a_rule_takes_what_fits_its_pattern(
    sandbox: Sandbox, pattern: Any, event: dict[str, Any], fits: bool
) -> None:
    rule(sandbox, sandbox.queue(), pattern=pattern)

    put(sandbox, **event)

    assert len(bodies(sandbox)) == fits


def test_a_disabled_rule_takes_nothing(sandbox: Sandbox) -> None:
    rule(sandbox, sandbox.queue(), State="DISABLED")
    put(sandbox, {"number": 1})
    sandbox.client("events").enable_rule(Name="rule")
    put(sandbox, {"number": 2})

    assert [event["detail"] for event in bodies(sandbox)] == [{"number": 2}]


def test_a_schedule_takes_no_events(sandbox: Sandbox) -> None:
    events = sandbox.client("events")
    events.put_rule(Name="schedule", ScheduleExpression="rate(5 minutes)")
    events.put_targets(Rule="schedule", Targets=[{"Id": "q", "Arn": sandbox.queue()}])

    put(sandbox)

    assert not bodies(sandbox)


def test_a_function_gets_the_event_and_nobody_waits(sandbox: Sandbox) -> None:
    function = sandbox.function()
    rule(sandbox, function, sandbox.queue())

    identifier = put(sandbox, {"number": 1})

    (invocation,) = eventually(sandbox.invocations)
    assert invocation["arn"] == function
    assert invocation["event"]["id"] == identifier
    assert bodies(sandbox) == [invocation["event"]]


def test_a_functions_alias_can_be_a_target(sandbox: Sandbox) -> None:
    sandbox.function()
    functions = sandbox.client("lambda")
    functions.publish_version(FunctionName="f")
    alias = functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")["AliasArn"]
    rule(sandbox, alias)

    put(sandbox)

    (invocation,) = eventually(sandbox.invocations)
    assert (invocation["arn"], invocation["version"]) == (alias, "1")


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ({"InputPath": "$.detail"}, {"a": {"b": 1}}),
        ({"InputPath": "$.detail.a"}, {"b": 1}),
        ({"Input": '{"always": "this"}'}, {"always": "this"}),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"who": "$.source"},
                    "InputTemplate": '{"from": "<who>"}',
                }
            },
            {"from": "shop"},
        ),
    ],
)
def test_a_target_may_ask_for_a_part_of_the_event(
    sandbox: Sandbox, target: dict[str, Any], body: Any
) -> None:
    rule(sandbox, {"Arn": sandbox.queue(), **target})

    put(sandbox, {"a": {"b": 1}})

    assert bodies(sandbox) == [body]


@pytest.mark.parametrize(
    "target",
    [f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gone"],
)
def test_what_cannot_be_delivered_is_a_dead_letter_of_its_target(
    sandbox: Sandbox, target: str
) -> None:
    dead = sandbox.queue("dead")
    rule(sandbox, {"Arn": target, "DeadLetterConfig": {"Arn": dead}}, sandbox.queue())

    put(sandbox, {"number": 1})

    (letter,) = sandbox.received("dead")
    assert [json.loads(letter["Body"])] == bodies(sandbox)
    told = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert told.pop("ERROR_MESSAGE")
    assert told == {
        "ERROR_CODE": "NO_RESOURCE",
        "RULE_ARN": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/rule",
        "TARGET_ARN": target,
    }


def test_what_cannot_be_delivered_is_told_where_nobody_keeps_it(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    rule(sandbox, f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone")

    identifier = put(sandbox)

    assert f"event {identifier} is lost" in caplog.text


def test_what_eventbridge_refuses_is_refused(sandbox: Sandbox) -> None:
    rule(sandbox, sandbox.queue())
    events = sandbox.client("events")
    entry = {"Source": "shop", "DetailType": "Push Notification Requested", "Detail": "{}"}
    half = {**entry, "Detail": json.dumps({"text": "x" * 524_288})}

    assert "less than or equal to 10" in refusal(events.put_events, Entries=[entry] * 11)
    assert "over the limit" in refusal(events.put_events, Entries=[half, half])
    answer = events.put_events(Entries=[{**entry, "Detail": "{"}, entry])

    assert answer["FailedEntryCount"] == 1
    assert [each.get("ErrorCode") for each in answer["Entries"]] == ["MalformedDetail", None]
    assert len(bodies(sandbox)) == 1


def test_an_event_comes_through_the_rule_and_the_queue_to_the_function(sandbox: Sandbox) -> None:
    sandbox.function()
    queue = sandbox.queue()
    sandbox.map(queue)
    rule(sandbox, queue)
    project = sandbox.project()

    put(sandbox, {"push": {"project": project, "token": "through the queue"}})
    put(sandbox, {"push": {"project": project, "token": "never"}}, source="push-sender")

    (record,) = eventually(sandbox.records)
    assert json.loads(record["body"])["detail"]["push"]["token"] == "through the queue"
    eventually(sandbox.doors)
    rule(sandbox, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", name="own", pattern=PATTERN)
    sandbox.client("events").remove_targets(Rule="rule", Ids=["target-0"])
    put(sandbox, {"push": {"project": project, "token": "without a queue"}})

    eventually(lambda: len(sandbox.doors()) == 2)
    assert sandbox.doors() == {
        "through the queue": "eventbridge",
        "without a queue": "eventbridge",
    }


# In a template.


def stack(**settings: Any) -> dict[str, Any]:
    target = {
        "Id": "Requests",
        "Arn": {"Fn::GetAtt": ["Queue", "Arn"]},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["Dead", "Arn"]}},
        "RetryPolicy": {"MaximumRetryAttempts": 10},
    }
    wanted = {"EventPattern": PATTERN, "Targets": [target], **settings}
    return {
        "Dead": resource("SQS::Queue", QueueName="dead"),
        "Queue": resource("SQS::Queue", QueueName="queue"),
        "Rule": resource("Events::Rule", **wanted),
        "Policy": resource(
            "SQS::QueuePolicy",
            Queues=[{"Ref": "Queue"}],
            PolicyDocument={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "sqs:SendMessage",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Resource": {"Fn::GetAtt": ["Queue", "Arn"]},
                        "Condition": {
                            "ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}}
                        },
                    }
                ],
            },
        ),
    }


NAMED = output(Rule={"Ref": "Rule"}, Arn={"Fn::GetAtt": ["Rule", "Arn"]})


def deploy(sandbox: Sandbox, verb: str, resources: dict[str, Any], **others: Any) -> dict[str, Any]:
    cloudformation = sandbox.client("cloudformation")
    others.setdefault("Outputs", NAMED)
    call = getattr(cloudformation, f"{verb}_stack")
    call(StackName="stack", TemplateBody=template(resources, **others))
    (told,) = cloudformation.describe_stacks(StackName="stack")["Stacks"]
    return dict(told)


def test_a_template_makes_a_rule_on_the_default_bus(sandbox: Sandbox) -> None:
    told = outputs(deploy(sandbox, "create", stack(Description="requests")))

    events = sandbox.client("events")
    assert told["Rule"].startswith("stack-Rule-")
    assert told["Arn"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{told['Rule']}"
    described = events.describe_rule(Name=told["Rule"])
    assert json.loads(described["EventPattern"]) == PATTERN
    assert (described["State"], described["Description"]) == ("ENABLED", "requests")
    (target,) = events.list_targets_by_rule(Rule=told["Rule"])["Targets"]
    assert target == {
        "Id": "Requests",
        "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
        "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"},
        "RetryPolicy": {"MaximumRetryAttempts": 10},
    }
    put(sandbox, {"number": 1})
    assert [event["detail"] for event in bodies(sandbox)] == [{"number": 1}]


def test_a_rule_changes_with_its_template_and_goes_with_it(sandbox: Sandbox) -> None:
    name = outputs(deploy(sandbox, "create", stack()))["Rule"]
    events = sandbox.client("events")

    changed = {**PATTERN, "source": ["other"]}
    told = outputs(deploy(sandbox, "update", stack(EventPattern=changed, State="DISABLED")))
    assert told["Rule"] == name
    described = events.describe_rule(Name=name)
    assert json.loads(described["EventPattern"]) == changed
    assert described["State"] == "DISABLED"
    deploy(sandbox, "update", stack(Targets=[]))
    assert events.list_targets_by_rule(Rule=name)["Targets"] == []
    renamed = outputs(deploy(sandbox, "update", stack(Name="renamed")))
    assert renamed["Rule"] == "renamed"
    assert [each["Name"] for each in events.list_rules()["Rules"]] == ["renamed"]
    sandbox.client("cloudformation").delete_stack(StackName="stack")
    assert events.list_rules()["Rules"] == []


def test_a_stage_has_a_bus_of_its_own(sandbox: Sandbox) -> None:
    resources = {
        **stack(EventBusName={"Ref": "Bus"}, Name="requests"),
        "Bus": resource("Events::EventBus", Name="stage", Description="of a stage"),
    }

    told = outputs(deploy(sandbox, "create", resources))

    assert told == {
        "Rule": "stage|requests",
        "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/stage/requests",
    }
    put(sandbox, {"bus": "default"})
    put(sandbox, {"bus": "stage"}, EventBusName="stage")
    assert [event["detail"] for event in bodies(sandbox)] == [{"bus": "stage"}]
    described = sandbox.client("events").describe_event_bus(Name="stage")
    assert described["Description"] == "of a stage"
    sandbox.client("cloudformation").delete_stack(StackName="stack")
    names = [each["Name"] for each in sandbox.client("events").list_event_buses()["EventBuses"]]
    assert names == ["default"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"Targets": [{"Arn": "arn:aws:sqs:us-east-1:1:q"}]}, "needs Arn and Id"),
        ({"EventPattern": {"source": "shop"}}, "'source' must be an object or an array"),
        ({"EventBusName": "unknown"}, "Event bus unknown does not exist"),
    ],
)
def test_a_rule_that_cannot_be_fails_the_stack(
    sandbox: Sandbox, settings: dict[str, Any], reason: str
) -> None:
    told = deploy(sandbox, "create", stack(**settings))

    assert told["StackStatus"] == "ROLLBACK_COMPLETE"
    assert f"[Rule]. {reason}" in told["StackStatusReason"] or reason in told["StackStatusReason"]
    assert sandbox.client("events").list_rules()["Rules"] == []
