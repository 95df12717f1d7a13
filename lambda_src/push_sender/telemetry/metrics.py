"""Metric records in CloudWatch's embedded metric format, which become metrics from the log.

Powertools' Metrics writes the same (a test compares them) for a tenth of a warm push's CPU
(docs/performance.md), and is made for one set of dimensions and 100 values a record. Format:
CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

VALUES: Final = 100
"""How many values of a metric one record takes."""


class Unit(StrEnum):
    """What a metric's values are in."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"


class Metric(NamedTuple):
    """A metric's values within one invocation."""

    name: str
    unit: Unit
    values: Sequence[float]


def records(
    namespace: str,
    dimensions: Mapping[str, str],
    sets: Sequence[Sequence[str]],
    metrics: Sequence[Metric],
) -> Iterator[str]:
    """Write metrics as lines of the log: one, and more where a metric has more than 100 values.

    Parameters
    ----------
    namespace
        Of the metrics.
    dimensions
        Names and values.
    sets
        The names of the dimensions by which each metric is to be found.
    metrics
        Whatever is told.
    """
    most = max((len(metric.values) for metric in metrics), default=0)
    for start in range(0, most, VALUES):
        parts = [
            Metric(metric.name, metric.unit, values)
            for metric in metrics
            if (values := metric.values[start : start + VALUES])
        ]
        declared = [{"Name": part.name, "Unit": part.unit} for part in parts]
        directive = {"Namespace": namespace, "Dimensions": sets, "Metrics": declared}
        record: dict[str, Any] = {
            "_aws": {"Timestamp": int(time.time() * 1_000), "CloudWatchMetrics": [directive]},
            **dimensions,
            **{part.name: part.values for part in parts},
        }
        yield json.dumps(record, separators=(",", ":"))
