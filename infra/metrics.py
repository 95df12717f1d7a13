"""The functions' own metrics, for alarms and dashboards.

``push_sender.telemetry`` writes the same names and dimensions. Neither module imports the other;
a test compares them. AWS's own metrics come from the constructs.
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
"""The outcomes of a push. Each is the name of the metric that counts it."""

Call = Literal["SendMessagesCalls", "SendMessagesRetries", "SendMessagesLatency"]

FollowUp = Literal[
    "EventsNotSent",
    "MessagesReturned",
    "PushesDeadLettered",
    "PushesRequeued",
    "RequestsRefused",
]
"""Metrics of the entry points at which no caller waits."""

Change = Literal[
    "DeviceCreated",
    "DeviceUpdated",
    "DeviceMoved",
    "DeviceDeleted",
    "DeviceEvicted",
    "TokenTakenOver",
    "UserErased",
]
"""Metrics of the registry of devices: what callers changed."""

Upkeep = Literal["DeadDeviceRemoved", "TokenReplaced", "InvalidTokenFlagged"]
"""Metrics of the registry of devices: what pushes changed."""

LOST_TOKENS: Final[Sequence[Outcome]] = ("dead_token", "invalid_token")
"""Outcomes with which the provider rejects the token."""

FAILED: Final[Sequence[Outcome]] = ("misconfigured", "rejected", "transient", "unknown", "unsent")
"""Outcomes of pushes that did not or may not have arrived, although the token may be valid."""


class PushMetrics:
    """The metrics of one function.

    Parameters
    ----------
    service
        The name of the function, a dimension of its metrics.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def metric(
        self,
        name: Outcome | Call | FollowUp | Change | Upkeep,
        push_service: Service | None = None,
        *,
        statistic: str = "Sum",
        period: cdk.Duration | None = None,
        label: str | None = None,
        color: str | None = None,
    ) -> cloudwatch.Metric:
        """Return a metric, of one push service or of all together."""
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
        """Return the percentage of some outcomes; 0 if there are fewer than ``at_least`` in all.

        An alarm allows ten metrics at most.
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
    # An outcome that did not occur has no data point.
    return " + ".join(f"FILL({name}, 0)" for name in names)
