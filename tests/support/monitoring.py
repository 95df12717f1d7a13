"""The metrics that a template's alarms and dashboards watch, and the errors among them.

An alarm on a metric that does not exist never goes off, without any error: a misspelt name or
one dimension too many is enough. So each metric is compared with those that the function really
wrote, or with AWS's own documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from tests.support.provider import Json

DOCUMENTED: Mapping[str, tuple[str, str, Set[str]]] = {
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html: by FunctionName
    # over all its versions and aliases; further dimensions are of one alias or version.
    "AWS/Lambda": (
        "FunctionName",
        r"\{(\w+)\}",
        {"Invocations", "Errors", "Throttles", "DeadLetterErrors", "Duration"},
    ),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
    # sqs-available-cloudwatch-metrics.html: by QueueName, the only dimension.
    "AWS/SQS": (
        "QueueName",
        r"\{(\w+)\.QueueName\}",
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        },
    ),
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html: by RuleName
    # on the default bus, by EventBusName and RuleName on another (see _of_a_rule).
    "AWS/Events": ("RuleName", "", {"InvocationsFailedToBeSentToDlq"}),
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html: of an
    # HTTP API, by ApiId over all its stages. Those of a REST API have other names (5XXError)
    # and another dimension (ApiName).
    "AWS/ApiGateway": (
        "ApiId",
        r"\{(\w+)\}",
        {"4xx", "5xx", "Count", "IntegrationLatency", "Latency"},
    ),
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html: of a group,
    # by ScheduleGroup. The second exists for schedules with a dead-letter queue.
    "AWS/Scheduler": (
        "ScheduleGroup",
        "",
        {"InvocationDroppedCount", "InvocationsFailedToBeSentToDeadLetterCount"},
    ),
    # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html: of a machine,
    # by StateMachineArn.
    "AWS/States": (
        "StateMachineArn",
        r"\{(\w+)\.Arn\}",
        {
            *("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed"),
            *("ExecutionsAborted", "ExecutionsTimedOut"),
        },
    ),
}
"""Of a namespace: its dimension, how that refers to a resource, and metrics that AWS writes."""

_RESOURCES = {
    "AWS/Lambda": "AWS::Lambda::Function",
    "AWS/SQS": "AWS::SQS::Queue",
    "AWS/ApiGateway": "AWS::ApiGatewayV2::Api",
    "AWS/States": "AWS::StepFunctions::StateMachine",
}

_MOST_METRICS_OF_AN_ALARM = 10


class Metric(NamedTuple):
    """A metric as CloudWatch identifies it."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def written(records: Iterable[Json]) -> set[Metric]:
    """List the metrics that EMF records stand for."""
    return {
        Metric(directive["Namespace"], metric["Name"], frozenset((d, record[d]) for d in names))
        for record in records
        for directive in record["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]
        for metric in directive["Metrics"]
    }


def resources(template: Json, kind: str) -> dict[str, Json]:
    """Find the resources of a type, each with its properties."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def faults(template: Json, emitted: Set[Metric]) -> list[str]:
    """List the errors of the metrics that a template watches."""
    found: list[str] = []
    for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items():
        metrics, expressions = _of_alarm(alarm)
        if len(metrics) > _MOST_METRICS_OF_AN_ALARM:
            found.append(f"{name}: {len(metrics)} metrics are too many for an alarm")
        found += (f"{name}: {fault}" for fault in _faults(template, emitted, metrics, expressions))
    for title, metrics, expressions in graphs(template):
        found += (f"{title}: {fault}" for fault in _faults(template, emitted, metrics, expressions))
    return found


def graphs(template: Json) -> Iterator[tuple[str, dict[str, Metric], list[str]]]:
    """Read every graph of the dashboards: its title, its metrics by id, its expressions."""
    for dashboard in resources(template, "AWS::CloudWatch::Dashboard").values():
        for widget in json.loads(_text(dashboard["DashboardBody"]))["widgets"]:
            if widget["type"] == "metric":
                yield widget["properties"]["title"], *_of_graph(widget["properties"]["metrics"])


def _of_alarm(alarm: Json) -> tuple[dict[str, Metric], list[str]]:
    if "Metrics" not in alarm:
        return {"": _metric(alarm)}, []
    queries = alarm["Metrics"]
    metrics = {
        query["Id"]: _metric(query["MetricStat"]["Metric"])
        for query in queries
        if "MetricStat" in query
    }
    return metrics, [query["Expression"] for query in queries if "Expression" in query]


def _metric(properties: Json) -> Metric:
    dimensions = properties.get("Dimensions", [])
    return Metric(
        properties["Namespace"],
        properties["MetricName"],
        frozenset((dimension["Name"], _text(dimension["Value"])) for dimension in dimensions),
    )


def _of_graph(rows: list[list[Any]]) -> tuple[dict[str, Metric], list[str]]:
    metrics, expressions = {}, []
    for number, row in enumerate(rows):
        *words, options = row if isinstance(row[-1], dict) else [*row, {}]
        if "expression" in options:
            expressions.append(options["expression"])
        else:
            namespace, name, *pairs = words
            dimensions = frozenset(zip(pairs[::2], pairs[1::2], strict=True))
            metrics[options.get("id", f"#{number}")] = Metric(namespace, name, dimensions)
    return metrics, expressions


def _faults(
    template: Json, emitted: Set[Metric], metrics: Mapping[str, Metric], expressions: list[str]
) -> Iterator[str]:
    for metric in metrics.values():
        if metric.namespace in DOCUMENTED:
            yield from _faults_by_documentation(template, metric)
        elif metric not in emitted:
            yield f"the function writes no {_shown(metric)}"
    if expressions:
        words = set(re.findall(r"\b[a-z]\w*", " ".join(expressions)))
        yield from (f"{word} in an expression is no metric" for word in words - set(metrics))
        yield from (f"{id_} is in no expression" for id_ in set(metrics) - words)
    for expression in expressions:
        if re.search(r"['\"]|\b(SEARCH|METRICS|SELECT)\b", expression):
            yield f"this finds metrics that cannot be compared: {expression}"


def _faults_by_documentation(template: Json, metric: Metric) -> Iterator[str]:
    dimension, reference, names = DOCUMENTED[metric.namespace]
    if metric.name not in names:
        yield f"AWS documents no {_shown(metric)}"
    if metric.namespace == "AWS/Scheduler":
        groups = resources(template, "AWS::Scheduler::ScheduleGroup").values()
        if metric.dimensions not in [frozenset({(dimension, each["Name"])}) for each in groups]:
            yield f"AWS documents no such dimensions: {_shown(metric)}"
        return
    if metric.namespace == "AWS/Events":
        rules = resources(template, "AWS::Events::Rule").values()
        if metric.dimensions not in map(_of_a_rule, rules):
            yield f"AWS documents no such dimensions: {_shown(metric)}"
        return
    found = [re.fullmatch(reference, value) for _, value in metric.dimensions]
    targets = [match[1] for match in found if match]
    if (
        {name for name, _ in metric.dimensions} != {dimension}
        or not targets
        or targets[0] not in resources(template, _RESOURCES[metric.namespace])
    ):
        yield f"AWS documents no such dimensions: {_shown(metric)}"


def _of_a_rule(rule: Json) -> frozenset[tuple[str, str]]:
    bus = (
        {}
        if rule.get("EventBusName", "default") == "default"
        else {"EventBusName": rule["EventBusName"]}
    )
    named = {**bus, "RuleName": rule["Name"]}
    return frozenset((name, _text(value)) for name, value in named.items())


def _shown(metric: Metric) -> str:
    dimensions = ", ".join(f"{name}={value}" for name, value in sorted(metric.dimensions))
    return f"{metric.namespace} {metric.name} [{dimensions}]"


def _text(value: Any) -> str:
    """Give a text of the template, with ``{Resource.Attribute}`` for values of the deployment."""
    match value:
        case {"Ref": name}:
            return f"{{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{{{name}.{attribute}}}"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(_text, parts))
        case str():
            return value
    raise ValueError(f"unknown kind of text: {value}")
