"""Reports made by hand, for tests of what follows a send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from push_sender.outcomes.outcome import Outcome
from push_sender.report import Report
from push_sender.request.services import SERVICES
from tests.support.invocation import PROJECT


def result(outcome: str = "transient", **members: Any) -> dict[str, Any]:
    """Make a result with an outcome. A user's has ``user_id`` and ``device_id`` as well."""
    return {
        "token": None,
        "service": None,
        "outcome": Outcome(outcome),
        "delivery_status": None,
        "status_code": None,
        "reason": None,
        "status_message": None,
        "message_id": None,
        "replacement_token": None,
        "attempts": 0,
        **members,
    }


def report_of(results: Sequence[Mapping[str, Any]]) -> Report:
    """Make the report with some results."""
    counts = Counter(str(each["outcome"]) for each in results)
    made: Any = {
        "application_id": PROJECT,
        "idempotency_key": None,
        "replayed": False,
        "dry_run": False,
        "summary": {"recipients": len(results), **counts},
        "results": list(results),
        "warnings": [],
    }
    report: Report = made
    return report


def report_of_tokens(request: Mapping[str, Any], outcome: str = "transient") -> Report:
    """Make the report of a request without users, with one outcome for all."""
    recipients = request.get("recipients") or [request["recipient"]]
    return report_of(
        [
            result(outcome, token=each["token"], service=SERVICES[each["service"]].name)
            for each in recipients
        ]
    )
