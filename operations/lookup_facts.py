"""Unsure facts about what there is around pushes: read, and never changed."""

from __future__ import annotations

from typing import Any

from operations.account import Refusal, call
from operations.evidence import Evidence, FactAnswer, not_asked
from operations.redaction import items, members


def metrics(evidence: Evidence) -> FactAnswer:
    """Look for the project's metrics."""
    answer = _look(
        evidence,
        "cloudwatch",
        "list_metrics",
        Namespace="AWS/Pinpoint",
        Dimensions=[{"Name": "ApplicationId", "Value": evidence.stack.application_id}],
        RecentlyActive="PT3H",
    )
    if isinstance(answer, Refusal):
        return not_asked(str(answer))
    names = {str(metric.get("MetricName")) for metric in map(members, items(answer.get("Metrics")))}
    if names:
        return FactAnswer("as assumed", f"of the last 3 hours: {', '.join(sorted(names))}")
    return FactAnswer(
        "not settled", "none of the last 3 hours; a new one is listed after up to 15 minutes: rerun"
    )


def trail(evidence: Evidence) -> FactAnswer:
    """Look for a push in the event history."""
    answer = _look(
        evidence,
        "cloudtrail",
        "lookup_events",
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "SendMessages"}],
        MaxResults=50,
    )
    if isinstance(answer, Refusal):
        return not_asked(str(answer))
    sources = {str(event.get("EventSource")) for event in map(members, items(answer.get("Events")))}
    ours = sorted(source for source in sources if "targeting" in source or "pinpoint" in source)
    if ours:
        return FactAnswer("otherwise", f"recorded, from {', '.join(ours)}")
    return FactAnswer(
        "not settled", "none in the event history, where events come after up to 15 minutes: rerun"
    )


def templates(evidence: Evidence) -> FactAnswer:
    """Ask for the message templates."""
    answer = _look(evidence, "pinpoint", "list_templates")
    return _gone(evidence, "ListTemplates", answer)


def event_stream(evidence: Evidence) -> FactAnswer:
    """Ask for the project's event stream."""
    answer = _look(
        evidence, "pinpoint", "get_event_stream", ApplicationId=evidence.stack.application_id
    )
    if isinstance(answer, Refusal) and answer.code == "NotFoundException":
        return FactAnswer(
            "not settled", f"{answer}; a project without a stream has always said so, too"
        )
    return _gone(evidence, "GetEventStream", answer)


def _look(
    evidence: Evidence, service: str, operation: str, **asked: Any
) -> dict[str, Any] | Refusal:
    return call(evidence.account.client(service), operation, **asked)


def _gone(evidence: Evidence, operation: str, answer: dict[str, Any] | Refusal) -> FactAnswer:
    if not isinstance(answer, Refusal):
        return FactAnswer("otherwise", f"{operation} still answers")
    status = answer.http_status
    if evidence.account.is_sandbox or answer.is_permission or status is None:
        return not_asked(str(answer))
    return FactAnswer(
        "not settled" if status == 429 or status >= 500 else "as assumed", f"{answer}"
    )
