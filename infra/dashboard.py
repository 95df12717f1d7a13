"""The dashboard: how many pushes, how fast, what waits, what needs an operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, get_args

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.alarms import RUNBOOK
from infra.devices import Devices
from infra.http_api import HttpApi
from infra.jobs import Jobs
from infra.metrics import Change, Outcome, PushMetrics, Upkeep
from infra.settings import Service, Settings

_WIDTH: Final = 24  # columns of every dashboard
_PER_ROW: Final = 3

# Accepted, nothing to do, about the token, an error of ours or of the caller, perhaps later.
_COLORS: Final[Mapping[Outcome, str]] = {
    "accepted": "#2ca02c",
    "duplicate": "#c7c7c7",
    "opted_out": "#7f7f7f",
    "dead_token": "#1f77b4",
    "invalid_token": "#aec7e8",
    "misconfigured": "#d62728",
    "rejected": "#ff9896",
    "transient": "#ff7f0e",
    "unknown": "#9467bd",
    "unsent": "#8c564b",
}


class Dashboard(Construct):
    """The dashboard of one deployment.

    Parameters
    ----------
    scope, id
        As for every construct.
    settings
        The stack's settings.
    services
        The push services with a channel; ``None`` if unknown.
    function, requests, dead_letters, http_api, devices, jobs, alarms
        Shown in addition to the pushes.

    Attributes
    ----------
    dashboard
        Named like the stack.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        services: Sequence[Service] | None,
        function: lambda_.IFunction,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
        http_api: HttpApi | None,
        devices: Devices | None,
        jobs: Jobs | None,
        alarms: Sequence[cloudwatch.IAlarm],
    ) -> None:
        super().__init__(scope, id)
        pushes = PushMetrics(settings.name)
        # The channels of an existing project are unknown.
        shown: Sequence[Service] = services or get_args(Service)
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=settings.name,
            default_interval=cdk.Duration.hours(12),
            widgets=[
                [_heading(settings)],
                [_states(alarms)],
                [_to_correct(pushes, shown), _stuck(dead_letters), _waiting(requests)],
                *_in_rows(_outcomes(pushes, service) for service in shown),
                [
                    _calls(pushes, shown),
                    _durations(function),
                    _invocations(function),
                ],
                [
                    _retries(pushes),
                    _followed_up(pushes),
                    *([] if jobs is None else [_ended(jobs)]),
                ],
                *([] if http_api is None else [[_answers(http_api), _waits(http_api)]]),
                *([] if devices is None else [_registry(settings, devices)]),
            ],
        )


def _heading(settings: Settings) -> cloudwatch.TextWidget:
    return cloudwatch.TextWidget(
        markdown=(
            f"**{settings.name}** sends push notifications. `{RUNBOOK}` in its repository says "
            "what each alarm means and what to do."
        ),
        width=_WIDTH,
        height=1,
        background=cloudwatch.TextWidgetBackground.TRANSPARENT,
    )


def _states(alarms: Sequence[cloudwatch.IAlarm]) -> cloudwatch.AlarmStatusWidget:
    return cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=_WIDTH, height=3)


def _to_correct(pushes: PushMetrics, services: Sequence[Service]) -> cloudwatch.GraphWidget:
    outcomes: Sequence[Outcome] = ("misconfigured", "rejected")
    return _graph(
        "To correct: misconfigured and rejected pushes",
        (
            pushes.metric(outcome, service, label=f"{service} {outcome}")
            for outcome in outcomes
            for service in services
        ),
    )


def _stuck(dead_letters: sqs.IQueue) -> cloudwatch.GraphWidget:
    return _graph(
        "Stuck: dead-letter messages",
        [dead_letters.metric_approximate_number_of_messages_visible(label="number")],
    )


def _waiting(requests: sqs.IQueue) -> cloudwatch.GraphWidget:
    return _graph(
        "Waiting: requests in the queue, and the age of the oldest",
        [
            requests.metric_approximate_number_of_messages_visible(label="ready"),
            requests.metric_approximate_number_of_messages_delayed(label="requeued, not due yet"),
            requests.metric_approximate_number_of_messages_not_visible(label="being sent"),
        ],
        right=[requests.metric_approximate_age_of_oldest_message(label="age, s")],
    )


def _retries(pushes: PushMetrics) -> cloudwatch.GraphWidget:
    share = cloudwatch.MathExpression(
        expression="100 * retries / calls",
        using_metrics={
            "retries": pushes.metric("SendMessagesRetries"),
            "calls": pushes.metric("SendMessagesCalls"),
        },
        label="retries",
    )
    return _graph("Retries, % of calls", [share])


def _followed_up(pushes: PushMetrics) -> cloudwatch.GraphWidget:
    return _graph(
        "Queue and bus: sent later, given up, refused",
        [
            pushes.metric("PushesRequeued", label="pushes requeued"),
            pushes.metric("PushesDeadLettered", label="pushes dead-lettered"),
            pushes.metric("RequestsRefused", label="requests refused"),
            pushes.metric("MessagesReturned", label="messages returned"),
            pushes.metric("EventsNotSent", label="events not sent"),
        ],
    )


def _ended(jobs: Jobs) -> cloudwatch.GraphWidget:
    return _graph(
        "Jobs: started, failed, stopped",
        [
            jobs.metric("ExecutionsStarted", label="started"),
            jobs.metric("ExecutionsFailed", label="failed"),
            jobs.metric("ExecutionsAborted", label="stopped"),
        ],
    )


def _outcomes(pushes: PushMetrics, service: Service) -> cloudwatch.GraphWidget:
    return _graph(
        f"Pushes: {service}",
        (
            pushes.metric(outcome, service, label=outcome, color=color)
            for outcome, color in _COLORS.items()
        ),
        stacked=True,
    )


def _calls(pushes: PushMetrics, services: Sequence[Service]) -> cloudwatch.GraphWidget:
    return _graph(
        "How fast: SendMessages, ms",
        (
            pushes.metric(
                "SendMessagesLatency",
                service,
                statistic=percentile,
                label=f"{service} {percentile}",
            )
            for service in services
            for percentile in ("p50", "p99")
        ),
    )


def _durations(function: lambda_.IFunction) -> cloudwatch.GraphWidget:
    return _graph(
        "How fast: the whole function, ms",
        (
            function.metric_duration(statistic=statistic, label=statistic)
            for statistic in ("p50", "p99", "Maximum")
        ),
    )


def _invocations(function: lambda_.IFunction) -> cloudwatch.GraphWidget:
    return _graph(
        "Invocations, errors and throttles",
        [
            function.metric_invocations(label="invocations"),
            function.metric_errors(label="errors"),
            function.metric_throttles(label="throttles"),
        ],
    )


def _answers(http_api: HttpApi) -> cloudwatch.GraphWidget:
    return _graph(
        "HTTP: requests, 4xx, 5xx",
        [
            http_api.api.metric_count(label="requests"),
            http_api.api.metric_client_error(label="4xx"),
            http_api.api.metric_server_error(label="5xx"),
        ],
    )


def _waits(http_api: HttpApi) -> cloudwatch.GraphWidget:
    return _graph(
        "HTTP: latency, ms",
        [
            http_api.api.metric_latency(statistic=percentile, label=percentile)
            for percentile in ("p50", "p99")
        ],
    )


def _registry(settings: Settings, devices: Devices) -> Sequence[cloudwatch.IWidget]:
    """Show five metrics: with more, the dashboard of two channels would exceed the free 50."""
    function = devices.function
    changes = PushMetrics(f"{settings.name}-devices")
    return [
        _graph(
            "Devices: invocations and errors",
            [
                function.metric_invocations(label="invocations"),
                function.metric_errors(label="errors"),
            ],
        ),
        _graph(
            "Devices: created, deleted, removed as dead",
            [changes.metric(name, label=name) for name in _SHOWN_CHANGES],
        ),
    ]


_SHOWN_CHANGES: Final[Sequence[Change | Upkeep]] = (
    "DeviceCreated",
    "DeviceDeleted",
    "DeadDeviceRemoved",
)


def _graph(
    title: str,
    left: Iterable[cloudwatch.IMetric],
    *,
    right: Sequence[cloudwatch.IMetric] = (),
    stacked: bool = False,
) -> cloudwatch.GraphWidget:
    from_zero = cloudwatch.YAxisProps(min=0, show_units=False)
    return cloudwatch.GraphWidget(
        title=title,
        left=list(left),
        right=list(right),
        left_y_axis=from_zero,
        right_y_axis=from_zero,
        stacked=stacked,
        width=_WIDTH // _PER_ROW,
        height=6,
    )


def _in_rows(widgets: Iterable[cloudwatch.IWidget]) -> Iterator[Sequence[cloudwatch.IWidget]]:
    remaining = iter(widgets)
    while row := list(islice(remaining, _PER_ROW)):
        yield row
