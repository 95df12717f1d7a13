"""The table of assumptions about AWS that no document settles, and those settled by reading.

A wrong assumption does not fail the smoke test. A new one is a function of the ``Evidence`` and
a row of ``ASSUMPTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from operations.account import FailedCall, call
from operations.json_values import as_dict, as_list
from operations.smoke import push_assumptions
from operations.smoke.context import Evidence, Finding, not_asked


class Assumption(NamedTuple):
    """Something assumed about AWS.

    Attributes
    ----------
    name
        For bug reports.
    confidence
        M: one source or an inference; L: unconfirmed.
    claim
        What is assumed.
    examine
        Compares it with what this account shows.
    """

    name: str
    confidence: Literal["M", "L"]
    claim: str
    examine: Callable[[Evidence], Finding]


def _metrics(evidence: Evidence) -> Finding:
    answer = _read(
        evidence,
        "cloudwatch",
        "list_metrics",
        Namespace="AWS/Pinpoint",
        Dimensions=[{"Name": "ApplicationId", "Value": evidence.stack.application_id}],
        RecentlyActive="PT3H",
    )
    if isinstance(answer, FailedCall):
        return not_asked(str(answer))
    metrics = map(as_dict, as_list(answer.get("Metrics")))
    names = {str(metric.get("MetricName")) for metric in metrics}
    if names:
        return Finding("as assumed", f"of the last 3 hours: {', '.join(sorted(names))}")
    return Finding(
        "not settled",
        "none of the last 3 hours; a new one is listed after up to 15 minutes: run again",
    )


def _cloudtrail(evidence: Evidence) -> Finding:
    answer = _read(
        evidence,
        "cloudtrail",
        "lookup_events",
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "SendMessages"}],
        MaxResults=50,
    )
    if isinstance(answer, FailedCall):
        return not_asked(str(answer))
    events = map(as_dict, as_list(answer.get("Events")))
    sources = {str(event.get("EventSource")) for event in events}
    ours = sorted(source for source in sources if "targeting" in source or "pinpoint" in source)
    if ours:
        return Finding("not as assumed", f"recorded, from {', '.join(ours)}")
    return Finding(
        "not settled",
        "none in the event history; events appear there after up to 15 minutes: run again",
    )


def _templates(evidence: Evidence) -> Finding:
    return _is_gone(evidence, "ListTemplates", _read(evidence, "pinpoint", "list_templates"))


def _event_stream(evidence: Evidence) -> Finding:
    answer = _read(
        evidence, "pinpoint", "get_event_stream", ApplicationId=evidence.stack.application_id
    )
    if isinstance(answer, FailedCall) and answer.code == "NotFoundException":
        return Finding("not settled", f"{answer}; a project without a stream always answered this")
    return _is_gone(evidence, "GetEventStream", answer)


def _cancellation_reasons(evidence: Evidence) -> Finding:
    """Cancel a transaction of two conditions about an item that does not exist: no write."""
    if not (table := evidence.stack.outputs.get("DevicesTableName")):
        return not_asked("there is no registry of devices")
    conditions = ("attribute_not_exists(id)", "attribute_exists(id)")
    entries = [
        {
            "ConditionCheck": {
                "TableName": table,
                "Key": {"id": {"S": f"smoke-test|{number}"}},
                "ConditionExpression": condition,
            }
        }
        for number, condition in enumerate(conditions)
    ]
    answer = _read(evidence, "dynamodb", "transact_write_items", TransactItems=entries)
    if not isinstance(answer, FailedCall):
        return Finding("not as assumed", "a condition that does not hold cancelled nothing")
    if answer.code != "TransactionCanceledException":
        return not_asked(str(answer))
    assumed = answer.reasons == ("None", "ConditionalCheckFailed")
    return Finding("as assumed" if assumed else "not as assumed", f"{', '.join(answer.reasons)}")


def _read(
    evidence: Evidence, service: str, operation: str, **arguments: Any
) -> dict[str, Any] | FailedCall:
    return call(evidence.account.client(service), operation, **arguments)


def _is_gone(evidence: Evidence, operation: str, answer: dict[str, Any] | FailedCall) -> Finding:
    if not isinstance(answer, FailedCall):
        return Finding("not as assumed", f"{operation} still answers")
    status = answer.http_status
    if evidence.account.is_sandbox or answer.is_permission or status is None:
        return not_asked(str(answer))
    return Finding("not settled" if status == 429 or status >= 500 else "as assumed", f"{answer}")


ASSUMPTIONS: Final = (
    Assumption(
        "missing-channel",
        "M",
        "A channel that is not set up answers HTTP 200 with PERMANENT_FAILURE on each address; "
        "some reports say that the whole call is refused.",
        push_assumptions.missing_channel,
    ),
    Assumption(
        "providers-words",
        "M",
        "We know each provider's reason and words for an invalid token.",
        push_assumptions.providers_words,
    ),
    Assumption(
        "updated-token",
        "L",
        "FCM v1 never sends an UpdatedToken.",
        push_assumptions.updated_token,
    ),
    Assumption(
        "live-activity",
        "L",
        "The API refuses the APNSPushType liveactivity.",
        push_assumptions.live_activity,
    ),
    Assumption("metrics", "L", "AWS/Pinpoint still gets metrics.", _metrics),
    Assumption("cloudtrail", "L", "CloudTrail does not record SendMessages.", _cloudtrail),
    Assumption("templates", "M", "Message templates ended with Amazon Pinpoint.", _templates),
    Assumption("event-streams", "M", "Event streams ended with Amazon Pinpoint.", _event_stream),
    Assumption(
        "cancellation-reasons",
        "M",
        "DynamoDB's error for a cancelled transaction has a reason for each of its entries.",
        _cancellation_reasons,
    ),
)
