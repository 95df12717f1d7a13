"""EventBridge in the sandbox: matching events reach queues and functions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.service_sandbox import ServiceSandbox, eventually, refusal
from tests.support.templates import ACCOUNT, REGION, output, outputs, resource, template

PATTERN = {
    "detail-type": ["Push Notification Requested"],
    "source": [{"anything-but": ["push-sender"]}],
}


def rule(
    sandbox: ServiceSandbox,
    *targets: str | dict[str, Any],
    pattern: Any = PATTERN,
    name: str = "rule",
    permitted: bool = True,
    **settings: Any,
) -> None:
    """Put a rule onto the default bus, and permit it to invoke functions that exist."""
    events = sandbox.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern), **settings)
    wanted = [{"Arn": each} if isinstance(each, str) else each for each in targets]
    events.put_targets(
        Rule=name,
        Targets=[{"Id": f"target-{number}", **each} for number, each in enumerate(wanted)],
    )
    for function in (each["Arn"] for each in wanted if ":function:" in each["Arn"]):
        if permitted and not function.endswith(":gone"):
            permit(sandbox, function, name)


def permit(sandbox: ServiceSandbox, function: str, rule: str = "rule") -> None:
    """Permit a rule to invoke a function or an alias, by its ARN."""
    name, _, alias = function.partition(":function:")[2].partition(":")
    sandbox.client("lambda").add_permission(
        FunctionName=name,
        StatementId=f"{rule}-{alias}",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}",
        **({"Qualifier": alias} if alias else {}),
    )


def alias(sandbox: ServiceSandbox, **settings: Any) -> str:
    """Create a function with an alias; give the alias's ARN."""
    sandbox.function(**settings)
    functions = sandbox.client("lambda")
    functions.publish_version(FunctionName="f")
    made = functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    return str(made["AliasArn"])


ENTRY = {"Source": "shop", "DetailType": "Push Notification Requested", "Detail": "{}"}


def put_by_hand(sandbox: ServiceSandbox, *entries: dict[str, Any]) -> None:
    """Put events with parts that boto3 would change, such as their time."""
    headers = {
        "X-Amz-Target": "AWSEvents.PutEvents",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=a/20260101/{REGION}/events/aws4_request, x",
    }
    body = json.dumps({"Entries": entries}).encode()
    urlopen(Request(sandbox.url, body, headers)).close()  # noqa: S310  loopback


def put(
    sandbox: ServiceSandbox,
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


def bodies(sandbox: ServiceSandbox, queue: str = "queue") -> list[Any]:
    return [json.loads(each["Body"]) for each in sandbox.received(queue)]


def test_a_queue_gets_the_event_as_aws_builds_it(sandbox: ServiceSandbox) -> None:
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


def test_an_event_without_a_time_gets_its_time_of_arrival(sandbox: ServiceSandbox) -> None:
    rule(sandbox, sandbox.queue())
    before = datetime.now(UTC).replace(microsecond=0)

    put(sandbox)

    (event,) = bodies(sandbox)
    time = datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= time <= datetime.now(UTC)
    assert event["resources"] == []


@pytest.mark.parametrize(
    "time",
    [
        1767323045,
        1767323045.678,
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.999Z",
        "2026-01-02T05:04:05+02:00",
        "2026-01-02T03:04:05",
    ],
)
def test_a_time_in_any_form_reaches_the_target_in_utc_and_seconds(
    sandbox: ServiceSandbox, time: float | str
) -> None:
    sandbox.client("logs").create_log_group(logGroupName="group")
    rule(sandbox, sandbox.queue(), f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:group")

    put_by_hand(sandbox, {**ENTRY, "Time": time})

    assert [event["time"] for event in bodies(sandbox)] == ["2026-01-02T03:04:05Z"]
    (logged,) = sandbox.client("logs").filter_log_events(logGroupName="group")["events"]
    assert json.loads(logged["message"])["time"] == "2026-01-02T03:04:05Z"


def test_a_time_of_null_is_no_time(sandbox: ServiceSandbox) -> None:
    rule(sandbox, sandbox.queue())

    put_by_hand(sandbox, {**ENTRY, "Time": None})

    (event,) = bodies(sandbox)
    datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


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
def test_a_rule_gets_the_events_that_match_its_pattern(
    sandbox: ServiceSandbox, pattern: Any, event: dict[str, Any], fits: bool
) -> None:
    rule(sandbox, sandbox.queue(), pattern=pattern)

    put(sandbox, **event)

    assert len(bodies(sandbox)) == fits


def test_a_disabled_rule_gets_no_events(sandbox: ServiceSandbox) -> None:
    rule(sandbox, sandbox.queue(), State="DISABLED")
    put(sandbox, {"number": 1})
    sandbox.client("events").enable_rule(Name="rule")
    put(sandbox, {"number": 2})

    assert [event["detail"] for event in bodies(sandbox)] == [{"number": 2}]


def test_a_schedule_rule_gets_no_events(sandbox: ServiceSandbox) -> None:
    events = sandbox.client("events")
    events.put_rule(Name="schedule", ScheduleExpression="rate(5 minutes)")
    events.put_targets(Rule="schedule", Targets=[{"Id": "q", "Arn": sandbox.queue()}])

    put(sandbox)

    assert not bodies(sandbox)


def test_a_function_gets_the_event_asynchronously(sandbox: ServiceSandbox) -> None:
    function = sandbox.function()
    rule(sandbox, function, sandbox.queue())

    identifier = put(sandbox, {"number": 1})

    (invocation,) = eventually(sandbox.invocations)
    assert invocation["arn"] == function
    assert invocation["event"]["id"] == identifier
    assert bodies(sandbox) == [invocation["event"]]


def test_a_functions_alias_can_be_a_target(sandbox: ServiceSandbox) -> None:
    target = alias(sandbox)
    rule(sandbox, target)

    put(sandbox)

    (invocation,) = eventually(sandbox.invocations)
    assert (invocation["arn"], invocation["version"]) == (target, "1")


def test_a_failed_event_of_an_alias_gets_two_retries_and_is_then_a_dead_letter(
    sandbox: ServiceSandbox,
) -> None:
    dead = sandbox.queue("dead")
    target = alias(sandbox, DeadLetterConfig={"TargetArn": dead})
    sandbox.allow("sqs:SendMessage")
    rule(sandbox, {"Arn": target, "DeadLetterConfig": {"Arn": sandbox.queue("undelivered")}})

    put(sandbox, {"do": "raise", "until": 100})

    (message,) = eventually(lambda: sandbox.received("dead"))
    invocations = sandbox.invocations()
    assert [(each["arn"], each["version"]) for each in invocations] == [(target, "1")] * 3
    assert [each["event"] for each in invocations] == [json.loads(message["Body"])] * 3
    attributes = message["MessageAttributes"]
    assert {name: each["StringValue"] for name, each in attributes.items()} == {
        "RequestID": attributes["RequestID"]["StringValue"],
        "ErrorCode": "200",
        "ErrorMessage": "'reason'",
    }
    assert not sandbox.received("undelivered")


def test_a_retry_that_succeeds_is_the_last_attempt(sandbox: ServiceSandbox) -> None:
    target = alias(sandbox, DeadLetterConfig={"TargetArn": sandbox.queue("dead")})
    sandbox.allow("sqs:SendMessage")
    rule(sandbox, target)

    put(sandbox, {"do": "raise", "until": 2})
    eventually(lambda: len(sandbox.invocations()) == 2)
    put(sandbox, {"do": "raise", "until": 100})

    (message,) = eventually(lambda: sandbox.received("dead"))
    assert json.loads(message["Body"])["detail"]["until"] == 100
    assert len(sandbox.invocations()) == 5


def test_the_configuration_of_an_alias_sets_its_retries_and_destination(
    sandbox: ServiceSandbox,
) -> None:
    destination = sandbox.queue("failures")
    target = alias(sandbox)
    sandbox.allow("sqs:SendMessage")
    sandbox.client("lambda").put_function_event_invoke_config(
        FunctionName="f",
        Qualifier="live",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": destination}},
    )
    rule(sandbox, target)

    put(sandbox, {"do": "raise", "until": 100})

    (message,) = eventually(lambda: sandbox.received("failures"))
    record = json.loads(message["Body"])
    (first, second) = sandbox.invocations()
    assert record["requestPayload"] == first["event"] == second["event"]
    assert record["requestContext"] == {
        "requestId": record["requestContext"]["requestId"],
        "functionArn": target,
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 2,
    }
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "1",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"]["errorType"] == "KeyError"
    assert record["version"] == "1.0"


def test_a_stopped_function_leaves_its_event_to_the_dead_letter_queue_and_the_destination(
    sandbox: ServiceSandbox,
) -> None:
    target = alias(sandbox, DeadLetterConfig={"TargetArn": sandbox.queue("dead")})
    sandbox.allow("sqs:SendMessage")
    functions = sandbox.client("lambda")
    functions.put_function_event_invoke_config(
        FunctionName="f",
        Qualifier="live",
        DestinationConfig={"OnFailure": {"Destination": sandbox.queue("failures")}},
    )
    functions.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)

    functions.invoke(FunctionName=target, InvocationType="Event", Payload='{"n": 1}')

    (message,) = eventually(lambda: sandbox.received("dead"))
    (record,) = (
        json.loads(each["Body"]) for each in eventually(lambda: sandbox.received("failures"))
    )
    assert message["Body"] == '{"n": 1}'
    assert message["MessageAttributes"]["ErrorCode"]["StringValue"] == "429"
    assert record["requestPayload"] == {"n": 1}
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not {"responseContext", "responsePayload"} & set(record)


@pytest.mark.parametrize("kind", ["dead-letter queue", "destination"])
@pytest.mark.parametrize("reason", ["not allowed", "no queue"])
def test_a_failed_event_whose_queue_cannot_take_it_is_logged(
    sandbox: ServiceSandbox, caplog: pytest.LogCaptureFixture, kind: str, reason: str
) -> None:
    arn = sandbox.queue("dead")
    dead = {"DeadLetterConfig": {"TargetArn": arn}} if kind == "dead-letter queue" else {}
    target = alias(sandbox, **dead)
    on_failure = {"OnFailure": {"Destination": arn}} if kind == "destination" else {}
    sandbox.client("lambda").put_function_event_invoke_config(
        FunctionName="f", Qualifier="live", MaximumRetryAttempts=0, DestinationConfig=on_failure
    )
    if reason == "no queue":
        sandbox.allow("sqs:SendMessage")
        sandbox.client("sqs").delete_queue(QueueUrl=sandbox.url_of("dead"))
    rule(sandbox, target)

    put(sandbox, {"do": "raise", "until": 100, "text": "confidential"})

    eventually(lambda: "is lost: its queue answers" in caplog.text)
    assert "confidential" not in caplog.text


@pytest.mark.parametrize(
    "destinations",
    [
        {"OnFailure": {"Destination": f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"}},
        {"OnSuccess": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"}},
    ],
)
def test_destinations_that_the_sandbox_does_not_have_are_refused(
    sandbox: ServiceSandbox, destinations: dict[str, Any]
) -> None:
    alias(sandbox)

    why = refusal(
        sandbox.client("lambda").put_function_event_invoke_config,
        FunctionName="f",
        Qualifier="live",
        DestinationConfig=destinations,
    )

    assert "knows only SQS queues as destinations, and only OnFailure" in why


@pytest.mark.parametrize(
    ("permission", "code"),
    [
        ("none", "NO_PERMISSIONS"),
        ("of the function", "NO_PERMISSIONS"),
        ("of another rule", "NO_PERMISSIONS"),
        ("of a deleted alias", "NO_RESOURCE"),
    ],
)
def test_an_alias_that_may_not_be_invoked_gets_nothing_and_its_queue_the_event(
    sandbox: ServiceSandbox, permission: str, code: str
) -> None:
    target = alias(sandbox)
    rule(
        sandbox,
        {"Arn": target, "DeadLetterConfig": {"Arn": sandbox.queue("dead")}},
        permitted=permission == "of a deleted alias",
    )
    if permission == "of the function":
        permit(sandbox, target.removesuffix(":live"))
    if permission == "of another rule":
        permit(sandbox, target, "other")
    if permission == "of a deleted alias":
        sandbox.client("lambda").delete_alias(FunctionName="f", Name="live")

    identifier = put(sandbox, {"number": 1})

    (message,) = sandbox.received("dead")
    assert json.loads(message["Body"])["id"] == identifier
    attributes = message["MessageAttributes"]
    assert attributes["ERROR_CODE"]["StringValue"] == code
    assert attributes["TARGET_ARN"]["StringValue"] == target
    permit(sandbox, target.removesuffix(":live"), "direct")
    rule(sandbox, target.removesuffix(":live"), name="direct", permitted=False)
    put(sandbox, {"number": 2})
    eventually(sandbox.invocations)
    assert [each["event"]["detail"]["number"] for each in sandbox.invocations()] == [2]


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
def test_a_target_may_select_a_part_of_the_event(
    sandbox: ServiceSandbox, target: dict[str, Any], body: Any
) -> None:
    rule(sandbox, {"Arn": sandbox.queue(), **target})

    put(sandbox, {"a": {"b": 1}})

    assert bodies(sandbox) == [body]


EVENT_PARTS = {
    "who": "$.source",
    "kind": "$.detail-type",
    "token": "$.detail.recipient.token",
    "all": "$.detail",
    "count": "$.detail.count",
    "on": "$.detail.on",
    "none": "$.detail.none",
    "list": "$.detail.list",
    "first": "$.detail.list[0]",
    "every": "$.detail.people[*].name",
    "gone": "$.detail.gone",
    "beyond": "$.detail.list[9]",
    "odd": "no path",
}
DETAIL = {
    "recipient": {"token": "t-1"},
    "count": 2,
    "on": True,
    "none": None,
    "list": ["a", "b"],
    "people": [{"name": "x"}, {"other": 1}, {"name": "y"}],
    "quoted": 'say "hi"',
}


@pytest.mark.parametrize(
    ("written", "body"),
    [
        # JSON: values without quotes, text within quotes.
        ('{"r":{"token":<token>,"service":"GCM"}}', '{"r":{"token":"t-1","service":"GCM"}}'),
        ('{"a":<count>,"b":<on>,"c":<none>,"d":<list>}', '{"a":2,"b":true,"c":null,"d":["a","b"]}'),
        ('{"a":"<token> and <count>, <on>"}', '{"a":"t-1 and 2, true"}'),
        ('{"a":"<first>","b":<first>,"c":<every>}', '{"a":"a","b":"a","c":["x","y"]}'),
        ('{"a":"list <list>"}', '{"a":"list [a,b]"}'),
        ('{"a":"\\"<token>\\" <who>"}', '{"a":"\\"t-1\\" shop"}'),
        ("<list>", '["a","b"]'),
        ("<token>", '"t-1"'),
        ('[<count>, "<>", "<a b>", 1]', '[2, "<>", "<a b>", 1]'),
        # What a path does not find.
        ('{"a":<gone>,"b":"<gone>","c":"x<beyond>y","d":<odd>}', '{"a":"","b":"","c":"xy","d":""}'),
        # Plain text, as a text in quotes, in several lines, and as it is.
        ('"<who> has <count>"', '"shop has 2"'),
        ('"<who>"\n"<token>"', '"shop"\n"t-1"'),
        ("<who> is in state <token>", "shop is in state t-1"),
        ('<who> says "<token>" {', 'shop says "t-1" {'),
        # Reserved variables.
        ('{"a":"<aws.events.rule-name>"}', '{"a":"rule"}'),
        ('{"a":<aws.events.rule-arn>}', f'{{"a":"arn:aws:events:{REGION}:{ACCOUNT}:rule/rule"}}'),
    ],
)
def test_an_input_template_forms_the_targets_input(
    sandbox: ServiceSandbox, written: str, body: str
) -> None:
    transformer = {"InputPathsMap": EVENT_PARTS, "InputTemplate": written}
    rule(sandbox, {"Arn": sandbox.queue(), "InputTransformer": transformer})

    put(sandbox, DETAIL)

    assert [each["Body"] for each in sandbox.received()] == [body]


def test_an_input_template_may_include_the_event(sandbox: ServiceSandbox) -> None:
    written = """{"all": <aws.events.event.json>, "rest": <aws.events.event>,
                  "in": <aws.events.event.ingestion-time>}"""
    target = {"Arn": sandbox.queue(), "InputTransformer": {"InputTemplate": written}}
    rule(sandbox, target, sandbox.queue("whole"))

    put(sandbox, DETAIL)

    (made,) = bodies(sandbox)
    (event,) = bodies(sandbox, "whole")
    assert made["all"] == event
    assert made["rest"] == {name: part for name, part in event.items() if name != "detail"}
    assert made["in"] == event["time"]


def test_an_input_template_with_an_undefined_variable_is_refused(sandbox: ServiceSandbox) -> None:
    events = sandbox.client("events")
    events.put_rule(Name="rule", EventPattern=json.dumps(PATTERN))
    transformer = {"InputPathsMap": {"a": "$.source"}, "InputTemplate": '{"a":<a>,"b":<b>}'}
    target = {"Id": "q", "Arn": sandbox.queue(), "InputTransformer": transformer}

    assert "does not define: b" in refusal(events.put_targets, Rule="rule", Targets=[target])


def unusual_targets(sandbox: ServiceSandbox) -> dict[str, dict[str, Any]]:
    """Give targets that cannot accept an event, by the reason."""
    quoted = {"InputPathsMap": {"q": "$.detail.quoted"}, "InputTemplate": '{"a":"<q>"}'}
    text = {"InputTemplate": "no JSON"}
    fifo = sandbox.queue("no-key.fifo", FifoQueue="true")
    return {
        "no JSON": {"Arn": sandbox.queue("other"), "InputTransformer": quoted},
        "no JSON for a function": {"Arn": sandbox.function(), "InputTransformer": text},
        "not in the sandbox": {"Arn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m"},
        "no log group": {"Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:gone"},
        "no such region": {"Arn": f"arn:aws:sqs:nowhere:{ACCOUNT}:queue"},
        "no deduplication id": {"Arn": fifo, "SqsParameters": {"MessageGroupId": "g"}},
        "half an ARN": {"Arn": "arn:aws:lambda"},
    }


@pytest.mark.parametrize(
    "unusual",
    [
        *("no JSON", "no JSON for a function", "not in the sandbox", "no log group"),
        *("no such region", "no deduplication id", "half an ARN"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_a_failing_target_does_not_affect_other_targets(
    sandbox: ServiceSandbox, caplog: pytest.LogCaptureFixture, unusual: str, kept: bool
) -> None:
    target = unusual_targets(sandbox)[unusual]
    dead = {"DeadLetterConfig": {"Arn": sandbox.queue("dead")}} if kept else {}
    rule(sandbox, f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue", name="before")
    rule(sandbox, {**target, **dead}, sandbox.queue(), name="failing")
    rule(sandbox, f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue", name="then")

    identifier = put(sandbox, DETAIL)

    assert [event["id"] for event in bodies(sandbox)] == [identifier] * 3
    if not kept:
        assert f"event {identifier} is lost" in caplog.text
        assert "t-1" not in caplog.text
        return
    (message,) = sandbox.received("dead")
    assert json.loads(message["Body"])["detail"] == DETAIL
    result = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert result["TARGET_ARN"] == target["Arn"]
    assert result["RULE_ARN"].endswith("rule/failing")
    assert result["ERROR_CODE"]
    assert result["ERROR_MESSAGE"]
    assert "t-1" not in result["ERROR_MESSAGE"]


def test_a_failing_dead_letter_queue_affects_nothing_else(
    sandbox: ServiceSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    gone = f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone"
    small = sandbox.queue("small", MaximumMessageSize="1024")
    rule(sandbox, {"Arn": gone, "DeadLetterConfig": {"Arn": small}}, sandbox.queue())

    identifier = put(sandbox, {"text": "x" * 2000})

    assert len(bodies(sandbox)) == 1
    assert f"event {identifier} is lost" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"EventBusName": "unknown"},
        {"Time": 1e18},
        {"Time": 1767323045000},
        {"Time": "yesterday"},
        {"Time": "2026-13-01T00:00:00Z"},
        {"Time": []},
        {"Detail": "[" * 100_000 + "]" * 100_000},
    ],
)
def test_a_refused_call_delivers_nothing(sandbox: ServiceSandbox, wrong: dict[str, Any]) -> None:
    rule(sandbox, sandbox.queue())

    with pytest.raises(HTTPError) as refused:
        put_by_hand(sandbox, ENTRY, {**ENTRY, **wrong})

    refused.value.close()
    assert refused.value.code == 400
    assert not bodies(sandbox)


@pytest.mark.parametrize(
    "target",
    [f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gone"],
)
def test_an_undeliverable_event_goes_to_the_targets_dead_letter_queue(
    sandbox: ServiceSandbox, target: str
) -> None:
    dead = sandbox.queue("dead")
    rule(sandbox, {"Arn": target, "DeadLetterConfig": {"Arn": dead}}, sandbox.queue())

    put(sandbox, {"number": 1})

    (message,) = sandbox.received("dead")
    assert [json.loads(message["Body"])] == bodies(sandbox)
    result = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert result.pop("ERROR_MESSAGE")
    assert result == {
        "ERROR_CODE": "NO_RESOURCE",
        "RULE_ARN": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/rule",
        "TARGET_ARN": target,
    }


def test_an_undeliverable_event_without_a_dead_letter_queue_is_logged(
    sandbox: ServiceSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    rule(sandbox, f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone")

    identifier = put(sandbox)

    assert f"event {identifier} is lost" in caplog.text


def test_the_sandbox_refuses_what_eventbridge_refuses(sandbox: ServiceSandbox) -> None:
    rule(sandbox, sandbox.queue())
    events = sandbox.client("events")
    entry = ENTRY
    half = {**entry, "Detail": json.dumps({"text": "x" * 524_288})}

    assert "less than or equal to 10" in refusal(events.put_events, Entries=[entry] * 11)
    assert "over the limit" in refusal(events.put_events, Entries=[half, half])
    answer = events.put_events(Entries=[{**entry, "Detail": "{"}, entry])

    assert answer["FailedEntryCount"] == 1
    assert [each.get("ErrorCode") for each in answer["Entries"]] == ["MalformedDetail", None]
    assert len(bodies(sandbox)) == 1


def test_an_event_reaches_the_function_through_rule_and_queue(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.function()
    queue = sandbox.queue()
    sandbox.map(queue)
    rule(sandbox, queue)
    project = sandbox.project()

    put(sandbox, {"push": {"project": project, "token": "through the queue"}})
    put(sandbox, {"push": {"project": project, "token": "never"}}, source="push-sender")

    (record,) = eventually(sandbox.records)
    assert json.loads(record["body"])["detail"]["push"]["token"] == "through the queue"
    eventually(sandbox.entry_points)
    rule(sandbox, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", name="own", pattern=PATTERN)
    sandbox.client("events").remove_targets(Rule="rule", Ids=["target-0"])
    put(sandbox, {"push": {"project": project, "token": "without a queue"}})

    eventually(lambda: len(sandbox.entry_points()) == 2)
    assert sandbox.entry_points() == {
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


def deploy(
    sandbox: ServiceSandbox, verb: str, resources: dict[str, Any], **others: Any
) -> dict[str, Any]:
    cloudformation = sandbox.client("cloudformation")
    others.setdefault("Outputs", NAMED)
    call = getattr(cloudformation, f"{verb}_stack")
    call(StackName="stack", TemplateBody=template(resources, **others))
    (result,) = cloudformation.describe_stacks(StackName="stack")["Stacks"]
    return dict(result)


def test_a_template_creates_a_rule_on_the_default_bus(sandbox: ServiceSandbox) -> None:
    result = outputs(deploy(sandbox, "create", stack(Description="requests")))

    events = sandbox.client("events")
    assert result["Rule"].startswith("stack-Rule-")
    assert result["Arn"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{result['Rule']}"
    described = events.describe_rule(Name=result["Rule"])
    assert json.loads(described["EventPattern"]) == PATTERN
    assert (described["State"], described["Description"]) == ("ENABLED", "requests")
    (target,) = events.list_targets_by_rule(Rule=result["Rule"])["Targets"]
    assert target == {
        "Id": "Requests",
        "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
        "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"},
        "RetryPolicy": {"MaximumRetryAttempts": 10},
    }
    put(sandbox, {"number": 1})
    assert [event["detail"] for event in bodies(sandbox)] == [{"number": 1}]


def test_a_rule_is_updated_and_deleted_with_its_stack(sandbox: ServiceSandbox) -> None:
    name = outputs(deploy(sandbox, "create", stack()))["Rule"]
    events = sandbox.client("events")

    changed = {**PATTERN, "source": ["other"]}
    result = outputs(deploy(sandbox, "update", stack(EventPattern=changed, State="DISABLED")))
    assert result["Rule"] == name
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


def test_a_stage_has_its_own_bus(sandbox: ServiceSandbox) -> None:
    resources = {
        **stack(EventBusName={"Ref": "Bus"}, Name="requests"),
        "Bus": resource("Events::EventBus", Name="stage", Description="of a stage"),
    }

    result = outputs(deploy(sandbox, "create", resources))

    assert result == {
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
def test_an_invalid_rule_fails_the_stack(
    sandbox: ServiceSandbox, settings: dict[str, Any], reason: str
) -> None:
    result = deploy(sandbox, "create", stack(**settings))

    assert result["StackStatus"] == "ROLLBACK_COMPLETE"
    assert (
        f"[Rule]. {reason}" in result["StackStatusReason"] or reason in result["StackStatusReason"]
    )
    assert sandbox.client("events").list_rules()["Rules"] == []
