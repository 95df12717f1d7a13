"""Write metric records in CloudWatch's embedded metric format.

CloudWatch makes metrics of these lines of the log. Powertools' Metrics writes the same (a test
compares them), but takes a tenth of a warm push's CPU (docs/performance.md), and supports only
one set of dimensions and 100 values in a record. The format: CloudWatch User Guide,
"Specification: Embedded metric format".
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

VALUES: Final = 100
"""Maximum number of values of a metric in one record."""


class Unit(StrEnum):
    """The unit of a metric's values."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"


class Metric(NamedTuple):
    """The values of a metric in one invocation."""

    name: str
    unit: Unit
    values: Sequence[float]


def records(
    namespace: str,
    dimensions: Mapping[str, str],
    sets: Sequence[Sequence[str]],
    metrics: Sequence[Metric],
) -> Iterator[str]:
    """Write metrics as log lines: one, or several if a metric has more than 100 values.

    Parameters
    ----------
    namespace
        The namespace of the metrics.
    dimensions
        Names and values.
    sets
        Names of dimensions; CloudWatch creates each metric once for each set.
    metrics
        The metrics.
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
