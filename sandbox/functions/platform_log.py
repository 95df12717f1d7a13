"""The lines that Lambda itself writes around an invocation, in text or in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.functions.settings import FunctionSettings


@dataclass(frozen=True)
class Report:
    """The figures of one invocation."""

    duration_ms: float
    init_ms: float | None
    """The cold start, if it was one."""
    memory_mb: int
    failed: bool

    @property
    def billed_ms(self) -> int:
        """The billed time, since August 2025 with the cold start."""
        return math.ceil(self.duration_ms + (self.init_ms or 0.0))


def start_lines(settings: FunctionSettings, request_id: str) -> list[str]:
    """Return the lines before the function's own."""
    if settings.logs_json:
        record = {"requestId": request_id, "version": settings.version}
        return [_event("platform.start", record)]
    return [f"START RequestId: {request_id} Version: {settings.version}"]


def end_lines(settings: FunctionSettings, request_id: str, report: Report) -> list[str]:
    """Return the lines after the function's own."""
    if settings.logs_json:
        metrics = {
            "durationMs": round(report.duration_ms, 3),
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": settings.memory,
            "maxMemoryUsedMB": report.memory_mb,
        }
        if report.init_ms is not None:
            metrics["initDurationMs"] = round(report.init_ms, 3)
        status = "error" if report.failed else "success"
        record = {"requestId": request_id, "metrics": metrics, "status": status}
        return [_event("platform.report", record)]
    figures = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {report.billed_ms} ms",
        f"Memory Size: {settings.memory} MB",
        f"Max Memory Used: {report.memory_mb} MB",
    ]
    if report.init_ms is not None:
        figures.append(f"Init Duration: {report.init_ms:.2f} ms")
    return [f"END RequestId: {request_id}", "\t".join(figures)]


def timestamp() -> str:
    """Return the time as Lambda writes it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")


def _event(kind: str, record: Mapping[str, object]) -> str:
    return json.dumps({"time": timestamp(), "type": kind, "record": record})
