"""Alarms and dashboard: their metrics exist, their texts help, and alarms are mailed."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest

from infra.metrics import FAILED, LOST_TOKENS, Change, FollowUp, Upkeep
from infra.settings import Service
from push_sender.devices import registry
from push_sender.outcomes.outcome import Outcome
from tests.support import account
from tests.support import monitoring as watched
from tests.support.function_process import run_program
from tests.support.invocation import PROJECT, metric_lines
from tests.support.paths import LAMBDA_SOURCE, REPOSITORY
from tests.support.provider import Json, Provider, accepted, running_provider
from tests.support.synthesized_stack import add_stack, new_app, read, stub_bundle

TOPIC = "arn:aws:sns:eu-west-1:123456789012:on-call"

STACKS: Mapping[str, dict[str, str]] = {
    # our own channels, and an e-mail address
    "email": {
        "stage": "email",
        "fcm_secret": "fcm",
        "apns_secret": "apns",
        "alarm_email": "ops@example.com",
    },
    "topic": {"stage": "topic", "application_id": PROJECT, "alarm_topic_arn": TOPIC},
    "nobody": {"application_id": PROJECT},
    "no API": {"stage": "no-api", "application_id": PROJECT, "http_api": "false"},
    "no devices": {"stage": "none", "application_id": PROJECT, "devices": "false"},
    "no jobs": {"stage": "no-jobs", "application_id": PROJECT, "jobs": "false"},
}

COMPARED = ("email", "nobody")
"""With its own channels, and with those of an existing project."""

REGISTRY = get_args(registry.Change)
"""The metrics that the function of the registry writes."""

# An answer for each outcome that an answer can have.
ANSWERS: Mapping[str, Json] = {
    "dead_token": {"DeliveryStatus": "PERMANENT_FAILURE", "StatusMessage": "Unregistered"},
    "invalid_token": {"DeliveryStatus": "PERMANENT_FAILURE", "StatusMessage": "BadDeviceToken"},
    "misconfigured": {"DeliveryStatus": "PERMANENT_FAILURE", "StatusMessage": "BadTopic"},
    "rejected": {"DeliveryStatus": "PERMANENT_FAILURE", "StatusMessage": "PayloadTooLarge"},
    "opted_out": {"DeliveryStatus": "OPT_OUT"},
    "duplicate": {"DeliveryStatus": "DUPLICATE"},
    "transient": {"DeliveryStatus": "THROTTLED"},
    "unknown": {"DeliveryStatus": "UNKNOWN_FAILURE"},
}

FUNCTION = """
import json, sys
from push_sender.handler import handler
from tests.support.invocation import Invocation
for event, seconds in json.load(sys.stdin):
    handler(event, Invocation(seconds))
"""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Json]:
    folder = tmp_path_factory.mktemp("monitoring")
    app, bundle = new_app(folder), stub_bundle(folder)
    names = {key: add_stack(app, bundle, given).stack_name for key, given in STACKS.items()}
    assembly = Path(app.synth().directory)
    return {key: read(assembly, name).template for key, name in names.items()}


@pytest.fixture(scope="module")
def _provider() -> Iterator[Provider]:
    with running_provider() as provider:
        provider.answer_each(
            lambda token, _: {"StatusCode": 400, **ANSWERS.get(token, accepted(token))}
        )
        yield provider


def _take_few(operation: str, call: Json) -> tuple[int, Json]:
    """Answer as a queue that takes all but one message, and as a bus that takes nothing."""
    if operation == "SendMessage" and "never put away" not in call["MessageBody"]:
        return 200, {"MessageId": "id"}
    return 400, {"__type": "AccessDeniedException", "message": "refused"}


@pytest.fixture(scope="module")
def _queues_and_bus() -> Iterator[account.Service]:
    with account.running_service(_take_few) as service:
        yield service


def message(body: str) -> Json:
    """Make what Lambda hands over of a message in the queue."""
    return {
        "messageId": "6f1f2d3c-0000-4000-8000-000000000002",
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"SentTimestamp": str(round(time.time() * 1_000))},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }


@pytest.fixture(scope="module")
def emitted(
    templates: Mapping[str, Json], _provider: Provider, _queues_and_bus: account.Service
) -> Mapping[str, set[watched.Metric]]:
    """Run the function with the environment that each stack gives it, to every outcome."""
    recipients = [
        {"token": token, "service": service}
        for service in get_args(Service)
        for token in ("accepted", *ANSWERS)
    ]
    sent = {"recipients": recipients, "message": "m"}
    too_late = {**sent, "message": "late"}
    requeued = {**sent, "recipients": [{"token": "transient", "service": "GCM"}]}
    buried = {**sent, "recipients": [{"token": "misconfigured", "service": "GCM"}]}
    bodies = (json.dumps(requeued), json.dumps(buried), "not JSON", "never put away")
    from_the_queue = {"Records": [message(body) for body in bodies]}

    def run(template: Json) -> set[watched.Metric]:
        (function,) = (
            found
            for found in watched.resources(template, "AWS::Lambda::Function").values()
            if found["Handler"] == "push_sender.handler.handler"
        )
        process = run_program(
            FUNCTION,
            stdin=json.dumps([(sent, 29), (too_late, 0.2), (from_the_queue, 29)]),
            **{
                "PYTHONPATH": f"{LAMBDA_SOURCE}:{REPOSITORY}",
                "AWS_ENDPOINT_URL_PINPOINT": _provider.url,
                "AWS_ENDPOINT_URL_SQS": _queues_and_bus.url,
                "AWS_ENDPOINT_URL_EVENTBRIDGE": _queues_and_bus.url,
                **function["Environment"]["Variables"],
                # In place of what comes at deployment. No tables: they have no metrics.
                "APPLICATION_IDS": PROJECT,
                "DEVICES_TABLE": "",
                "IDEMPOTENCY_TABLE": "",
                "QUEUE_URL": _queues_and_bus.url,
                "DEAD_LETTER_QUEUE_URL": _queues_and_bus.url,
                "EVENT_BUS_NAME": "default",
                "MESSAGE_KEY": "any",
                "SCHEDULE_ROLE_ARN": "",
            },
        )
        return watched.written(metric_lines(process.stdout)) | of_the_registry(template)

    return {key: run(templates[key]) for key in COMPARED}


def of_the_registry(template: Json) -> set[watched.Metric]:
    """List the metrics that the function of the registry writes, under its own name."""
    (service,) = (
        found["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for found in watched.resources(template, "AWS::Lambda::Function").values()
        if found["Handler"] == "push_sender.devices_handler.handler"
    )
    return {
        watched.Metric("PushSender", name, frozenset({("service", service)})) for name in REGISTRY
    }


def alarms_of(template: Json) -> dict[str, Json]:
    return watched.resources(template, "AWS::CloudWatch::Alarm")


def named(template: Json, name: str) -> Json:
    (alarm,) = (
        alarm
        for alarm in alarms_of(template).values()
        if alarm["AlarmName"] == f"push-sender-email-{name.removeprefix('-')}"
    )
    return alarm


# --------------------------------------------------------------------------- what is watched


@pytest.mark.parametrize("stack", COMPARED)
def test_every_watched_metric_is_written_by_the_function_or_aws(
    stack: str, templates: Mapping[str, Json], emitted: Mapping[str, set[watched.Metric]]
) -> None:
    assert watched.faults(templates[stack], emitted[stack]) == []


@pytest.mark.parametrize("stack", COMPARED)
def test_the_dashboard_shows_all_metrics_of_the_configured_services(
    stack: str, templates: Mapping[str, Json], emitted: Mapping[str, set[watched.Metric]]
) -> None:
    shown = {m for _, metrics, _ in watched.graphs(templates[stack]) for m in metrics.values()}
    services = {"GCM", "APNS"} if stack == "email" else set(get_args(Service))
    counted = {
        metric
        for metric in emitted[stack]
        if dict(metric.dimensions).get("push_service") in services
        and not metric.name.startswith("SendMessages")
    }

    assert {metric.name for metric in counted} == set(Outcome) - {
        "requeued",
        "no_device",
        "scheduled",
    }
    assert counted <= shown
    assert {
        value for metric in shown for name, value in metric.dimensions if name == "push_service"
    } == services


@pytest.mark.parametrize("stack", COMPARED)
def test_the_dashboard_shows_all_metrics_of_asynchronous_requests(
    stack: str, templates: Mapping[str, Json], emitted: Mapping[str, set[watched.Metric]]
) -> None:
    shown = {m for _, metrics, _ in watched.graphs(templates[stack]) for m in metrics.values()}
    counted = {m for m in emitted[stack] if m.name in get_args(FollowUp)}

    assert {metric.name for metric in counted} == set(get_args(FollowUp))
    assert counted <= shown


def test_the_dashboard_shows_metrics_of_the_registry_that_its_function_writes(
    templates: Mapping[str, Json],
) -> None:
    template = templates["email"]
    shown = {m for _, metrics, _ in watched.graphs(template) for m in metrics.values()}

    assert {*get_args(Change), *get_args(Upkeep)} == set(REGISTRY)
    assert {metric.name for metric in shown & of_the_registry(template)} == {
        *("DeviceCreated", "DeviceDeleted", "DeadDeviceRemoved"),
    }


def test_a_dashboard_of_two_channels_is_free(templates: Mapping[str, Json]) -> None:
    # Three dashboards of up to 50 metrics are free (docs/costs.md).
    graphs = watched.graphs(templates["email"])

    assert len({m for _, metrics, _ in graphs for m in metrics.values()}) <= 50


def misspell(template: Json) -> None:
    named(template, "-misconfigured")["MetricName"] = "Misconfigured"


def watch_another_stack(template: Json) -> None:
    named(template, "-misconfigured")["Dimensions"][0]["Value"] = "push-sender"


def add_a_dimension(template: Json) -> None:
    extra = {"Name": "push_service", "Value": "FCM"}
    named(template, "-misconfigured")["Dimensions"].append(extra)


def misspell_within_mathematics(template: Json) -> None:
    metrics = named(template, "-failed-pushes")["Metrics"]
    metrics[-1]["MetricStat"]["Metric"]["MetricName"] = "failed"


def compute_with_what_is_not_there(template: Json) -> None:
    expression = named(template, "-failed-pushes")["Metrics"][0]
    expression["Expression"] = expression["Expression"].replace("transient", "throttled")


def watch_eleven_metrics(template: Json) -> None:
    metrics = named(template, "-failed-pushes")["Metrics"]
    for number in range(3):
        metrics.append({**metrics[-1], "Id": f"more_{number}"})
        metrics[0]["Expression"] += f" + more_{number}"


def misspell_what_lambda_counts(template: Json) -> None:
    named(template, "-function-errors")["MetricName"] = "Error"


def watch_another_queue(template: Json) -> None:
    named(template, "-dead-letters")["Dimensions"][0]["Value"] = "dead-letters"


def watch_a_queue_by_its_function(template: Json) -> None:
    errors = named(template, "-function-errors")
    named(template, "-dead-letters")["Dimensions"] = errors["Dimensions"]


def watch_a_rule_as_if_on_the_default_bus(template: Json) -> None:
    metrics = named(template, "-lost-events")["Metrics"]
    (events,) = (query["MetricStat"]["Metric"] for query in metrics if query["Id"] == "events")
    events["Dimensions"] = [{"Name": "RuleName", "Value": "push-sender-email"}]


def misspell_what_eventbridge_counts(template: Json) -> None:
    metrics = named(template, "-lost-events")["Metrics"]
    (events,) = (query["MetricStat"]["Metric"] for query in metrics if query["Id"] == "events")
    events["MetricName"] = "InvocationsFailedToBeSentToDLQ"


def misspell_what_api_gateway_counts(template: Json) -> None:
    named(template, "-http-errors")["MetricName"] = "5XXError"


def watch_an_http_api_as_if_it_were_a_rest_api(template: Json) -> None:
    named(template, "-http-errors")["Dimensions"][0]["Name"] = "ApiName"


def watch_one_stage_of_an_http_api(template: Json) -> None:
    stage = {"Name": "Stage", "Value": "$default"}
    named(template, "-http-errors")["Dimensions"].append(stage)


def misspell_what_step_functions_counts(template: Json) -> None:
    metrics = named(template, "-job-failed")["Metrics"]
    (failed,) = (query["MetricStat"]["Metric"] for query in metrics if query["Id"] == "failed")
    failed["MetricName"] = "ExecutionFailed"


def watch_a_job_by_its_name(template: Json) -> None:
    metrics = named(template, "-job-failed")["Metrics"]
    (failed,) = (query["MetricStat"]["Metric"] for query in metrics if query["Id"] == "failed")
    failed["Dimensions"] = [{"Name": "StateMachineName", "Value": "push-sender-email-jobs"}]


def watch_another_api(template: Json) -> None:
    function = named(template, "-function-errors")["Dimensions"][0]["Value"]
    named(template, "-http-errors")["Dimensions"][0]["Value"] = function


def on_the_dashboard(old: str, new: str) -> Callable[[Json], None]:
    def change(template: Json) -> None:
        (dashboard,) = watched.resources(template, "AWS::CloudWatch::Dashboard").values()
        text = json.dumps(dashboard["DashboardBody"])
        changed = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
        assert changed != text
        dashboard["DashboardBody"] = json.loads(changed)

    return change


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (misspell, "writes no PushSender Misconfigured"),
        (watch_another_stack, r"writes no .*\[service=push-sender\]"),
        (add_a_dimension, "writes no .*push_service=FCM"),
        (misspell_within_mathematics, "writes no PushSender failed"),
        (compute_with_what_is_not_there, "throttled in an expression is no metric"),
        (watch_eleven_metrics, "11 metrics are too many"),
        (misspell_what_lambda_counts, "AWS documents no AWS/Lambda Error"),
        (watch_a_rule_as_if_on_the_default_bus, "no such dimensions: .*RuleName=push-sender-email"),
        (
            misspell_what_eventbridge_counts,
            "documents no AWS/Events InvocationsFailedToBeSentToDLQ",
        ),
        (misspell_what_api_gateway_counts, "documents no AWS/ApiGateway 5XXError"),
        (watch_an_http_api_as_if_it_were_a_rest_api, r"no such dimensions: .*\[ApiName="),
        (watch_one_stage_of_an_http_api, r"no such dimensions: .*Stage=\$default"),
        (watch_another_api, "no such dimensions: .*AWS/ApiGateway 5xx"),
        (misspell_what_step_functions_counts, "documents no AWS/States ExecutionFailed"),
        (watch_a_job_by_its_name, "no such dimensions: .*StateMachineName="),
        (watch_another_queue, "no such dimensions: .*QueueName=dead-letters"),
        (watch_a_queue_by_its_function, "no such dimensions: .*FunctionName="),
        (on_the_dashboard('"unsent"', '"unset"'), "writes no PushSender unset"),
        (on_the_dashboard('"push_service"', '"channel"'), "writes no .*channel=GCM"),
        (on_the_dashboard('"GCM"', '"FCM"'), "writes no .*push_service=FCM"),
        (on_the_dashboard('"Duration"', '"Time"'), "AWS documents no AWS/Lambda Time"),
        (on_the_dashboard('"DeviceCreated"', '"DeviceMade"'), "writes no PushSender DeviceMade"),
        (on_the_dashboard('"4xx"', '"4XX"'), "AWS documents no AWS/ApiGateway 4XX"),
        (on_the_dashboard("retries / calls", "retries / call"), "call in an expression is no"),
        (on_the_dashboard("retries / calls", "SEARCH('x')"), "cannot be compared"),
    ],
)
def test_an_unwritten_metric_is_detected(
    spoil: Callable[[Json], None],
    expected: str,
    templates: Mapping[str, Json],
    emitted: Mapping[str, set[watched.Metric]],
) -> None:
    template = copy.deepcopy(templates["email"])

    spoil(template)

    assert re.search(expected, "\n".join(watched.faults(template, emitted["email"])))


# --------------------------------------------------------------------------- when they go off


def value(alarm: Json, **pushes: int) -> float:
    """Compute an alarm's expression as CloudWatch documents it."""
    metrics = {query["Id"]: pushes.get(query["Id"]) for query in alarm["Metrics"][1:]}
    functions = {
        "FILL": lambda series, missing: missing if series is None else series,
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }
    expression = alarm["Metrics"][0]["Expression"]
    result: float = eval(expression, functions, metrics)  # noqa: S307  our own expression
    return result


@pytest.mark.parametrize(
    ("alarm", "pushes", "goes_off"),
    [
        ("failed-pushes", {"accepted": 27, "transient": 3}, True),
        ("failed-pushes", {"accepted": 28, "transient": 2}, False),
        ("failed-pushes", {"transient": 29}, False),
        ("failed-pushes", {"dead_token": 27, "unsent": 1, "unknown": 1, "rejected": 1}, True),
        ("failed-pushes", {"accepted": 100, "dead_token": 900}, False),
        ("lost-tokens", {"accepted": 40, "dead_token": 5, "invalid_token": 5}, True),
        ("lost-tokens", {"accepted": 41, "invalid_token": 9}, False),
        ("lost-tokens", {"invalid_token": 49}, False),
        ("lost-tokens", {"accepted": 50, "transient": 500}, False),
    ],
)
def test_a_share_needs_a_minimum_of_pushes(
    alarm: str, pushes: dict[str, int], goes_off: bool, templates: Mapping[str, Json]
) -> None:
    properties = named(templates["email"], alarm)

    assert properties["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert (value(properties, **pushes) >= properties["Threshold"]) is goes_off


@pytest.mark.parametrize(
    ("lost", "goes_off"),
    [({}, False), ({"invocations": 1}, True), ({"events": 1}, True), ({"events": 0}, False)],
)
def test_one_lost_event_is_enough_for_each_cause(
    lost: dict[str, int], goes_off: bool, templates: Mapping[str, Json]
) -> None:
    properties = named(templates["email"], "lost-events")

    assert (value(properties, **lost) >= properties["Threshold"]) is goes_off


@pytest.mark.parametrize(
    ("ended", "goes_off"), [({}, False), ({"failed": 1}, True), ({"timed_out": 1}, True)]
)
def test_one_failed_job_sets_off_the_alarm(
    ended: dict[str, int], goes_off: bool, templates: Mapping[str, Json]
) -> None:
    properties = named(templates["email"], "job-failed")

    assert (value(properties, **ended) >= properties["Threshold"]) is goes_off


def test_a_stopped_job_sets_off_no_alarm(templates: Mapping[str, Json]) -> None:
    template = templates["email"]
    (machine,) = watched.resources(template, "AWS::StepFunctions::StateMachine")
    metrics = [
        query["MetricStat"]["Metric"] for query in named(template, "job-failed")["Metrics"][1:]
    ]

    assert {metric["MetricName"] for metric in metrics} == {
        "ExecutionsFailed",
        "ExecutionsTimedOut",
    }
    arn = {"Fn::GetAtt": [machine, "Arn"]}
    assert all(
        metric["Dimensions"] == [{"Name": "StateMachineArn", "Value": arn}] for metric in metrics
    )


def test_the_dashboard_shows_how_jobs_ended(templates: Mapping[str, Json]) -> None:
    graph = {
        title: {metric.name for metric in metrics.values()}
        for title, metrics, _ in watched.graphs(templates["email"])
    }

    assert graph["Jobs: started, failed, stopped"] == {
        "ExecutionsStarted",
        "ExecutionsFailed",
        "ExecutionsAborted",
    }


def test_the_age_alarm_is_beyond_the_longest_delay_of_the_stack(
    templates: Mapping[str, Json],
) -> None:
    template = templates["email"]
    (queue,) = (
        queue
        for queue in watched.resources(template, "AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    )
    received_too_often = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"]
    longest_delay = 900  # SQS's

    alarm = named(template, "-old-requests")

    assert alarm["Threshold"] > received_too_often + longest_delay
    assert (alarm["Statistic"], alarm["Period"]) == ("Maximum", 300)


def test_five_http_5xx_answers_in_five_minutes_set_off_the_alarm(
    templates: Mapping[str, Json],
) -> None:
    (api,) = watched.resources(templates["email"], "AWS::ApiGatewayV2::Api")
    alarm = named(templates["email"], "-http-errors")

    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ApiGateway", "5xx")
    assert alarm["Dimensions"] == [{"Name": "ApiId", "Value": {"Ref": api}}]
    assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == ("Sum", 300, 1)
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (
        5,
        "GreaterThanOrEqualToThreshold",
    )


def test_every_outcome_is_part_of_the_shares() -> None:
    no_fault = {"accepted", "opted_out", "duplicate", "requeued", "scheduled", "no_device"}

    assert sorted((*no_fault, *LOST_TOKENS, *FAILED)) == sorted(Outcome)


def test_missing_data_sets_off_no_alarm_and_ends_no_queue_alarm(
    templates: Mapping[str, Json],
) -> None:
    missing = {
        a["AlarmName"]: a["TreatMissingData"] for a in alarms_of(templates["nobody"]).values()
    }

    for queue in ("dead-letters", "old-requests", "devices-dead-letters"):
        assert missing.pop(f"push-sender-{queue}") == "ignore"
    assert set(missing.values()) == {"notBreaching"}


# --------------------------------------------------------------------------- their texts


def test_every_alarm_says_what_to_do_and_has_a_runbook_section(
    templates: Mapping[str, Json],
) -> None:
    text = (REPOSITORY / "docs/runbook.md").read_text()
    sections = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-")
        for h in re.findall(r"^## (.+)", text, re.M)
    }

    for alarm in alarms_of(templates["nobody"]).values():
        described = re.search(r"docs/runbook\.md#([\w-]+)", alarm["AlarmDescription"])
        assert described
        assert described[1] in sections
        assert alarm["AlarmName"] == f"push-sender-{described[1]}"
        assert len(alarm["AlarmDescription"]) <= 1_024  # CloudWatch's limit


def test_every_alarm_and_its_end_are_mailed(templates: Mapping[str, Json]) -> None:
    (topic,) = watched.resources(templates["email"], "AWS::SNS::Topic")
    (subscription,) = watched.resources(templates["email"], "AWS::SNS::Subscription").values()

    result = [{"Ref": topic}]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    assert subscription["TopicArn"] == {"Ref": topic}
    for alarm in alarms_of(templates["email"]).values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == (result, result)


def test_alarms_can_publish_to_the_topic_and_only_with_tls(
    templates: Mapping[str, Json],
) -> None:
    # A topic with a policy has no longer the default one, which lets the account's alarms in.
    (policy,) = watched.resources(templates["email"], "AWS::SNS::TopicPolicy").values()
    statements = {s["Effect"]: s for s in policy["PolicyDocument"]["Statement"]}

    assert statements["Allow"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statements["Allow"]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }
    assert statements["Deny"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    (topic,) = watched.resources(templates["email"], "AWS::SNS::Topic").values()
    assert "KmsMasterKeyId" not in topic, "CloudWatch cannot use alias/aws/sns"


def test_an_existing_topic_is_used_and_none_is_created(templates: Mapping[str, Json]) -> None:
    assert not watched.resources(templates["topic"], "AWS::SNS::Topic")
    for alarm in alarms_of(templates["topic"]).values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == ([TOPIC], [TOPIC])


def test_without_a_topic_alarms_have_no_actions(templates: Mapping[str, Json]) -> None:
    assert not watched.resources(templates["nobody"], "AWS::SNS::Topic")
    for alarm in alarms_of(templates["nobody"]).values():
        assert not {"AlarmActions", "OKActions", "InsufficientDataActions"} & set(alarm)


def test_the_dashboard_is_named_in_the_outputs_and_shows_every_alarm(
    templates: Mapping[str, Json],
) -> None:
    template = templates["email"]
    ((name, dashboard),) = watched.resources(template, "AWS::CloudWatch::Dashboard").items()

    assert dashboard["DashboardName"] == "push-sender-email"
    assert template["Outputs"]["DashboardName"]["Value"] == {"Ref": name}
    body = json.dumps(dashboard["DashboardBody"])
    assert all(alarm in body for alarm in alarms_of(template))
    assert "docs/runbook.md" in body


# --------------------------------------------------------------------------- the HTTP API


def test_the_dashboard_shows_what_the_http_api_answers_and_how_fast(
    templates: Mapping[str, Json],
) -> None:
    shown = {
        title: {metric.name for metric in metrics.values()}
        for title, metrics, _ in watched.graphs(templates["email"])
    }

    assert shown["HTTP: requests, 4xx, 5xx"] == {"Count", "4xx", "5xx"}
    assert shown["HTTP: latency, ms"] == {"Latency"}


@pytest.mark.parametrize(
    ("without", "stage", "namespace", "alarms", "start_of_titles"),
    [
        ("no API", "no-api", "ApiGateway", {"-http-errors"}, "HTTP: "),
        (
            "no devices",
            "none",
            "AWS/DynamoDB",
            {"-devices-errors", "-devices-throttles", "-devices-dead-letters"},
            "Devices: ",
        ),
        ("no jobs", "no-jobs", "AWS/States", {"-job-failed"}, "Jobs: "),
    ],
)
def test_what_the_stack_does_not_have_is_not_watched(
    without: str,
    stage: str,
    namespace: str,
    alarms: set[str],
    start_of_titles: str,
    templates: Mapping[str, Json],
) -> None:
    def names(key: str, stack: str) -> set[str]:
        return {
            alarm["AlarmName"].removeprefix(stack) for alarm in alarms_of(templates[key]).values()
        }

    def titles(key: str) -> list[str]:
        return [title for title, _, _ in watched.graphs(templates[key])]

    assert namespace not in json.dumps(templates[without])
    assert names("nobody", "push-sender") - names(without, f"push-sender-{stage}") == alarms
    assert names(without, f"push-sender-{stage}") < names("nobody", "push-sender")
    assert titles(without) == [t for t in titles("nobody") if not t.startswith(start_of_titles)]
    assert titles(without) != titles("nobody")


@pytest.mark.parametrize(
    ("alarm", "metric", "threshold"),
    [("devices-errors", "Errors", 5), ("devices-throttles", "Throttles", 1)],
)
def test_the_registry_has_alarms_of_its_own_function(
    alarm: str, metric: str, threshold: int, templates: Mapping[str, Json]
) -> None:
    template = templates["email"]
    own = {
        found["FunctionName"]: id_
        for id_, found in watched.resources(template, "AWS::Lambda::Function").items()
    }
    found = named(template, alarm)
    assert (found["Namespace"], found["MetricName"]) == ("AWS/Lambda", metric)
    assert (found["Statistic"], found["Period"], found["Threshold"]) == ("Sum", 300, threshold)
    function = own["push-sender-email-devices"]
    assert found["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": function}}]


def test_one_dead_letter_of_the_registry_sets_off_its_alarm(
    templates: Mapping[str, Json],
) -> None:
    template = templates["email"]
    (queue,) = (
        id_
        for id_, found in watched.resources(template, "AWS::SQS::Queue").items()
        if "QueueName" in found
    )
    alarm = named(template, "devices-dead-letters")
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Maximum", 1)
    name = {"Fn::GetAtt": [queue, "QueueName"]}
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": name}]
