"""The metrics that the function counts, for alarms and dashboards to watch.

Names and dimensions are those that ``push_sender.telemetry`` writes; neither imports the
other, so a test compares them. What AWS counts by itself, the constructs know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.settings import Service

NAMESPACE: Final = "PushSender"

Outcome = Literal[
    "accepted",
    "dead_token",
    "invalid_token",
    "misconfigured",
    "rejected",
    "opted_out",
    "duplicate",
    "transient",
    "unknown",
    "unsent",
]
"""What can become of a push, each the name of a metric that counts it."""

Call = Literal["SendMessagesCalls", "SendMessagesRetries", "SendMessagesLatency"]

FollowUp = Literal[
    "EventsNotSent",
    "MessagesReturned",
    "PushesDeadLettered",
    "PushesRequeued",
    "RequestsRefused",
]
"""Metrics of the entry points at which no caller waits, each named by what it counts."""

LOST_TOKENS: Final[Sequence[Outcome]] = ("dead_token", "invalid_token")
"""The provider's word on a token that did not work."""

FAILED: Final[Sequence[Outcome]] = ("misconfigured", "rejected", "transient", "unknown", "unsent")
"""What did not arrive, or may not have, though the token may be good."""


class PushMetrics:
    """The metrics of one deployment.

    Parameters
    ----------
    service
        The deployment's name, which its function counts under.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def metric(
        self,
        name: Outcome | Call | FollowUp,
        push_service: Service | None = None,
        *,
        statistic: str = "Sum",
        period: cdk.Duration | None = None,
        label: str | None = None,
        color: str | None = None,
    ) -> cloudwatch.Metric:
        """Give a metric: of one push service, or the sum of all."""
        dimensions = {"service": self._service}
        if push_service:
            dimensions["push_service"] = push_service
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map=dimensions,
            statistic=statistic,
            period=period,
            label=label,
            color=color,
        )

    def share(
        self,
        part: Sequence[Outcome],
        rest: Sequence[Outcome],
        *,
        at_least: int,
        period: cdk.Duration,
        label: str,
    ) -> cloudwatch.MathExpression:
        """Give the percentage that some outcomes have; 0 while they and the rest are few.

        An alarm takes ten metrics at most.
        """
        metrics: Mapping[str, cloudwatch.IMetric] = {
            name: self.metric(name, period=period) for name in (*part, *rest)
        }
        all_ = _sum((*part, *rest))
        return cloudwatch.MathExpression(
            expression=f"IF(({all_}) >= {at_least}, 100 * ({_sum(part)}) / ({all_}), 0)",
            using_metrics=metrics,
            period=period,
            label=label,
        )


def _sum(names: Iterable[str]) -> str:
    # An outcome that did not occur has no data point: nothing is written for it.
    return " + ".join(f"FILL({name}, 0)" for name in names)
