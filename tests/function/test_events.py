"""Outgoing events: they follow their schemas and the bus's limits, and repeat no push."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not among the requirements
import pytest

from push_sender.clients.queue_and_bus import client
from push_sender.follow_up.events import Event, EventBus
from push_sender.request import errors as faults
from tests.support.account import Account, running_service
from tests.support.invocation import ProcessQueue, Push, log_lines, metric_lines
from tests.support.paths import REPOSITORY
from tests.support.provider import Json, Provider, accepted

EXAMPLES = REPOSITORY / "examples" / "events"
SCHEMAS = {
    schema["title"]: schema
    for path in sorted((REPOSITORY / "docs" / "events").glob("*.json"))
    for schema in [json.loads(path.read_text())]
}

OF_REQUESTS = set(SCHEMAS) - {"Push Job Report"}
"""The events about requests; ``test_job_report`` has the one about jobs."""

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow down"}


def failed(reason: str, code: int = 400) -> Json:
    return {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": code,
        "StatusMessage": json.dumps({"pushProviderError": reason}),
    }


ANSWERS: Json = {
    "dead": failed("Unregistered", 410),
    "invalid": failed("BadDeviceToken"),
    "moved": {**accepted("moved"), "UpdatedToken": "new-place"},
    "rejected": failed("PayloadTooLarge", 413),
    "unknown": {"DeliveryStatus": "UNKNOWN_FAILURE", "StatusCode": 500, "StatusMessage": "?"},
    "throttled": THROTTLED,
    "opted-out": {"DeliveryStatus": "OPT_OUT", "StatusCode": 200, "StatusMessage": "out"},
    "wrong": failed("InvalidProviderToken", 403),
}


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def to(*tokens: str, **more: Any) -> Json:
    return {
        "recipients": [{"token": token, "service": "APNS"} for token in tokens],
        "message": "m",
        **more,
    }


@pytest.fixture
def answering(provider: Provider) -> Provider:
    """Have the provider answer some tokens as their names say."""
    provider.answer_each(lambda token, _: ANSWERS.get(token) or accepted(token))
    return provider


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_the_schemas_are_valid(schema: Json) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


def test_each_outcome_has_its_event_and_each_event_follows_its_schema(
    account: Account, process_queue: ProcessQueue, answering: Provider
) -> None:
    message_id = account.send(to("fine", "fine", *ANSWERS))
    account.send("no request")
    account.send_again(to("late", ttl=5), accepted_at=1_700_000_000_000)
    account.send(to("throttled", ttl=0))
    account.send(to("dry", dry_run=True))

    process_queue()

    events = account.sent_events()
    for event in events:
        jsonschema.validate(event, SCHEMAS[event["detail-type"]])
    assert {event["detail-type"] for event in events} == OF_REQUESTS
    of_first = [event["detail"] for event in events if event["detail"]["request_id"] == message_id]
    result = {
        detail.get("change") or detail.get("failure"): [
            one["token"] for one in detail.get("tokens") or detail["recipients"]
        ]
        for detail in of_first
        if "summary" not in detail
    }
    assert result == {
        "dead_token": ["dead"],
        "invalid_token": ["invalid"],
        "replacement_token": ["moved"],
        "rejected": ["rejected"],
        "unknown": ["unknown"],
    }
    (replaced,) = (one for one in of_first if one.get("change") == "replacement_token")
    assert replaced["tokens"][0]["replacement_token"] == "new-place"
    (report,) = (one for one in of_first if "summary" in one)
    assert report["summary"] == {
        "recipients": 10,
        "accepted": 2,
        "dead_token": 1,
        "invalid_token": 1,
        "misconfigured": 1,
        "rejected": 1,
        "opted_out": 1,
        "duplicate": 1,
        "unknown": 1,
        "requeued": 1,
    }
    others = {event["detail"].get("failure") for event in events} - {None, *result}
    assert others == {"invalid_request", "expired", "transient"}


def test_a_schema_refuses_unknown_members(
    account: Account, process_queue: ProcessQueue, answering: Provider
) -> None:
    account.send(to("dead"))
    process_queue()
    (event,) = account.sent_events("Push Token Update")
    wrong = [
        {**event["detail"], "message": "m"},
        {**event["detail"], "version": 2},
        {**event["detail"], "tokens": []},
        {**event["detail"], "change": "replacement_token"},
    ]

    for detail in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**event, "detail": detail}, SCHEMAS["Push Token Update"])


def test_the_report_event_holds_no_token(
    account: Account, process_queue: ProcessQueue, answering: Provider
) -> None:
    account.send(to("KaNaRy", "dead"))

    process_queue()

    (report,) = account.sent_events("Push Report")
    assert "KaNaRy" not in json.dumps(report)


def test_a_long_list_is_split_into_events_and_calls_within_the_limits(
    push: Push, answering: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [f"{n:04}{'t' * 1_900}" for n in range(2_000)]
    answering.answer_each(lambda _token, _: failed("Unregistered", 410))
    with running_service(
        lambda _, body: (200, {"Entries": [{"EventId": "e"}] * len(body["Entries"])})
    ) as bus:
        monkeypatch.setenv("EVENT_BUS_NAME", "default")
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)

        push({"id": "e", "detail-type": "x", "source": "shop", "detail": to(*tokens)})

    result: list[str] = []
    for call in bus.calls:
        assert len(call["Entries"]) <= 10
        assert len(json.dumps(call).encode()) < 1_000_000
        for entry in call["Entries"]:
            assert len(entry["Detail"].encode()) < 256_000
            result.extend(one["token"] for one in json.loads(entry["Detail"]).get("tokens", []))
    assert result == tokens
    assert len(bus.calls) > 4


def test_small_events_are_sent_ten_per_call(push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(_operation: str, body: Json) -> tuple[int, Json]:
        return 200, {"Entries": [{"EventId": "e"}] * len(body["Entries"])}

    with running_service(take) as bus:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)
        events = [Event("Push Report", {"number": number}) for number in range(25)]

        failures = EventBus(client("events", "us-east-1"), "bus").put(
            events, last_start=time.monotonic() + 5
        )

    assert failures == []
    assert [len(call["Entries"]) for call in bus.calls] == [10, 10, 5]
    assert {entry["EventBusName"] for call in bus.calls for entry in call["Entries"]} == {"bus"}


def test_only_the_entries_that_the_bus_refused_are_retried(
    account: Account,
    process_queue: ProcessQueue,
    answering: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse_the_first_time(_operation: str, body: Json) -> tuple[int, Json]:
        refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "later"}
        entries = [
            refused if len(bus.calls) == 1 and at == 1 else {"EventId": "e"}
            for at in range(len(body["Entries"]))
        ]
        return 200, {"FailedEntryCount": 1, "Entries": entries}

    account.send(to("dead", "invalid"))
    with running_service(refuse_the_first_time) as bus:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)

        assert process_queue() == {"batchItemFailures": []}

    first, second = (call["Entries"] for call in bus.calls)
    assert len(first) == 3
    assert second == [first[1]]


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (500, {"__type": "InternalException", "message": "KaNaRy"}, "InternalException"),
        (400, {"__type": "AccessDeniedException", "message": "KaNaRy"}, "AccessDeniedException"),
        (
            200,
            {
                "FailedEntryCount": 2,
                "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "KaNaRy"}] * 2,
            },
            "ThrottlingException",
        ),
    ],
    ids=["fails", "forbids", "refuses each entry"],
)
def test_a_refusing_bus_loses_events_and_no_push_is_repeated(
    account: Account,
    process_queue: ProcessQueue,
    answering: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    answer: Json,
    code: str,
) -> None:
    account.send(to("dead"))
    with running_service(lambda _operation, _body: (status, answer)) as bus:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)

        assert process_queue() == {"batchItemFailures": []}

    assert 1 <= len(bus.calls) <= 4
    assert answering.tokens == ["dead"]
    printed = capsys.readouterr().out
    assert "KaNaRy" not in printed
    (line,) = (line for line in log_lines(printed) if line["message"] == "events not sent")
    assert (line["events"], line["code"]) == (2, code)
    (metrics,) = (line for line in metric_lines(printed) if "EventsNotSent" in line)
    assert metrics["EventsNotSent"] == [2]


def test_events_that_missed_the_deadline_are_sent_when_the_message_returns_without_a_push(
    account: Account,
    push: Push,
    answering: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    account.send(to("dead", "fine"))
    event = account.receive()

    def slowly_refuse(_operation: str, _body: Json) -> tuple[int, Json]:
        time.sleep(1.9)  # which is all the time that there is
        return 500, {}

    with running_service(slowly_refuse) as bus, monkeypatch.context() as slow:
        slow.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)
        first = push(event, 3)
    sent = list(answering.tokens)
    printed = capsys.readouterr().out
    again = push(event)

    (record,) = event["Records"]
    assert first == {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
    (line,) = (line for line in log_lines(printed) if line["message"].startswith("message ret"))
    assert line["error"] == "BusUnavailable"
    assert "EventsNotSent" not in printed
    assert again == {"batchItemFailures": []}
    assert answering.tokens == sent == ["dead", "fine"]
    (update,) = account.sent_events("Push Token Update")
    assert [result["token"] for result in update["detail"]["tokens"]] == ["dead"]


def test_the_example_entry_reaches_the_queue_through_the_bus_and_is_sent(
    account: Account, process_queue: ProcessQueue, answering: Provider
) -> None:
    account.events.put_rule(
        Name="requests",
        EventPattern=json.dumps({"detail-type": ["Push Notification Requested"]}),
    )
    account.events.put_targets(
        Rule="requests", Targets=[{"Id": "queue", "Arn": account.arn(account.queue)}]
    )

    account.events.put_events(Entries=example("put-events"))
    process_queue()

    sent = {one["token"] for one in json.loads(example("put-events")[0]["Detail"])["recipients"]}
    assert set(answering.tokens) == sent


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("rule-for-dead-tokens", "dead"),
        ("rule-for-failed-pushes", "rejected"),
        ("rule-for-reports", "fine"),
    ],
)
def test_each_example_rule_matches_only_its_event(
    account: Account, process_queue: ProcessQueue, answering: Provider, name: str, token: str
) -> None:
    pattern = example(name)
    account.events.remove_targets(Rule="events", Ids=["events"])
    account.events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    account.events.put_targets(
        Rule=name, Targets=[{"Id": "events", "Arn": account.arn(account.event_queue)}]
    )
    account.send(to(token, "invalid"))

    process_queue()

    (event,) = account.sent_events()
    assert [event["detail-type"]] == pattern["detail-type"]


def test_the_scheduler_example_is_sent_directly_once_per_execution(
    account: Account, push: Push, answering: Provider
) -> None:
    target = example("scheduler")["Target"]
    written = target["Input"].replace("<aws.scheduler.execution-id>", "d32c5e0a1b2c3d4e")

    first, again = push(json.loads(written)), push(json.loads(written))

    assert first["summary"] == {"recipients": 1, "accepted": 1}
    assert (again["replayed"], len(answering.calls)) == (True, 1)
    assert first["warnings"] == []


def test_the_step_functions_example_is_sent_directly(
    account: Account, push: Push, answering: Provider
) -> None:
    machine = example("step-functions")
    state = machine["States"][machine["StartAt"]]
    given = {**to("a", "dead"), "idempotency_key": "execution/push"}
    payload = {
        name.removesuffix(".$"): given[name.removesuffix(".$")] if name.endswith(".$") else value
        for name, value in state["Parameters"]["Payload"].items()
    }

    report = push(payload)

    assert report["summary"] == {"recipients": 2, "accepted": 1, "dead_token": 1}
    assert state["ResultSelector"] == {"summary.$": "$.Payload.summary"}
    named = [error for rule in (*state["Retry"], *state["Catch"]) for error in rule["ErrorEquals"]]
    ours = [error for error in named if not error.startswith("Lambda.")]
    assert len(ours) == 4
    assert all(hasattr(faults, error) for error in ours)


def own_events(account: Account, process_queue: ProcessQueue) -> list[Json]:
    """Have the function send every kind of event, and take them off the bus."""
    account.send(to("fine", *ANSWERS))
    account.send("no request")
    process_queue()
    return account.sent_events()


def _in_sns(event: Json) -> Json:
    return {"Type": "Notification", "Message": json.dumps(event)}


CARRIERS: dict[str, Callable[[Json], Any]] = {
    "as it was": lambda event: event,
    "its detail alone": lambda event: event["detail"],
    "another source": lambda event: {**event, "source": "forwarder"},
    "in another event": lambda event: {
        "detail-type": "Push Notification Requested",
        "source": "forwarder",
        "id": "e",
        "detail": event["detail"],
    },
    "whole in another event": lambda event: {"detail-type": "x", "detail": event},
    "by SNS": _in_sns,
    "its detail by SNS": lambda event: _in_sns(event["detail"]),
    "as a CloudEvent": lambda event: {"specversion": "1.0", "id": "e", "data": event["detail"]},
    "in a list": lambda event: {"Records": [{"body": json.dumps(event)}]},
}


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS.keys())
def test_our_own_event_in_the_queue_is_dropped_in_every_form(
    account: Account,
    process_queue: ProcessQueue,
    answering: Provider,
    capsys: pytest.CaptureFixture[str],
    carrier: Callable[[Json], Any],
) -> None:
    events = own_events(account, process_queue)
    assert {event["detail-type"] for event in events} == OF_REQUESTS
    assert len(events) <= 10, "more than one invocation takes"
    calls, dead = len(answering.calls), len(account.dead_letter_messages())
    capsys.readouterr()
    for event in events:
        account.send(carrier(event))

    assert process_queue() == {"batchItemFailures": []}

    assert account.sent_events() == []
    assert (len(answering.calls), len(account.dead_letter_messages())) == (calls, dead)
    printed = capsys.readouterr().out
    passed_over = [line["OwnEventsPassedOver"] for line in metric_lines(printed)]
    assert sum(map(sum, passed_over)) == len(events)
    lines = [line for line in log_lines(printed) if line["message"] == "own event passed over"]
    assert len(lines) == len(events)


@pytest.mark.parametrize("carrier", ["as it was", "its detail alone", "another source"])
def test_our_own_event_from_a_rule_is_dropped(
    account: Account, push: Push, process_queue: ProcessQueue, answering: Provider, carrier: str
) -> None:
    events = own_events(account, process_queue)
    dead = len(account.dead_letter_messages())

    for event in events:
        assert push(CARRIERS[carrier](event)) is None

    assert account.sent_events() == []
    assert len(account.dead_letter_messages()) == dead


@pytest.mark.parametrize(
    "request_",
    [
        {"version": 1, "request_id": "r", "message": "m"},
        {"message": "m", "data": {"event": '{"version": 1, "request_id": "r", "failure": "f"}'}},
        {"detail-type": "Push Report", "detail": {"message": "m"}},
        {"summary": {}},
    ],
)
def test_a_request_is_never_mistaken_for_our_own_event(
    account: Account, process_queue: ProcessQueue, answering: Provider, request_: Json
) -> None:
    account.send(request_)

    process_queue()

    (dead_letter_message,) = account.dead_letter_messages()
    assert dead_letter_message["attributes"]["reason"] == "invalid"
    (result,) = account.sent_events()
    assert result["detail"]["failure"] == "invalid_request"


def test_a_request_whose_text_is_an_event_is_sent(
    account: Account, process_queue: ProcessQueue, answering: Provider
) -> None:
    event = own_events(account, process_queue)[0]
    calls = len(answering.calls)

    account.send(to("fine", data={"event": json.dumps(event), "detail": "{"}, silent=True))
    process_queue()

    assert len(answering.calls) == calls + 1
