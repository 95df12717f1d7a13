"""Compare a report with the contract, and with the push service's own answers.

Written from docs/request.md and not from the function's code, so that it finds mistakes there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from operations.json_values import as_dict, as_list
from operations.redaction import one_line
from operations.smoke.nonexistent_devices import Device
from operations.smoke.raw_answers import RawAnswer, RawAnswers

OUTCOMES: Final = frozenset(
    {
        *("accepted", "dead_token", "invalid_token", "misconfigured", "rejected", "opted_out"),
        *("duplicate", "transient", "unknown", "unsent", "requeued", "no_device"),
        "scheduled",
    }
)


def results_by_service(report: object) -> dict[str, dict[str, Any]]:
    """Find each service's result in a report; empty if it is not a report."""
    results = map(as_dict, as_list(as_dict(report).get("results")))
    return {str(result.get("service")): result for result in results}


def report_errors(
    report: object, devices: Sequence[Device], application_id: str, *, dry_run: bool = False
) -> Iterator[str]:
    """Find the errors of a report, without a comparison.

    Parameters
    ----------
    report
        The function's answer: JSON of any kind.
    devices
        The recipients, in the order of the request.
    application_id
        The project of the request.
    dry_run
        Whether the request was a dry run.
    """
    if not isinstance(report, dict):
        yield f"it returned no report: {one_line(report, 200)}"
        return
    expected = {"application_id": application_id, "dry_run": dry_run, "replayed": False}
    for name, value in expected.items():
        if report.get(name) != value:
            yield f"{name} is {one_line(report.get(name), 60)} and not {one_line(value)}"
    results = [as_dict(result) for result in as_list(report.get("results"))]
    requested = [(device.service, device.token) for device in devices]
    if [(result.get("service"), result.get("token")) for result in results] != requested:
        yield "its results are not one for each recipient, in the order of the request"
        return
    outcomes = Counter(str(result.get("outcome")) for result in results)
    if unknown := sorted(outcomes.keys() - OUTCOMES):
        yield f"outcomes that the contract does not have: {one_line(', '.join(unknown), 100)}"
    if report.get("summary") != {"recipients": len(devices), **outcomes}:
        yield f"its summary does not count its results: {one_line(report.get('summary'), 200)}"


def differences(report: object, raw: RawAnswers) -> Iterator[str]:
    """Find where a report and the push service's raw answers differ.

    Temporary failures are not compared, nor are answers that refuse the caller, who may have
    other permissions than the function.
    """
    for service, result in results_by_service(report).items():
        answer = raw.get(service)
        if answer is None or not is_comparable(answer):
            continue
        raw_status, reported = _raw_status(answer), _reported_status(result)
        if raw_status != reported:
            yield (
                f"{service}: the service answered {_pair(*raw_status)}, "
                f"the function reports {_pair(*reported)}, {outcome_and_reason(result)}"
            )
        elif (result.get("outcome") == "accepted") != (raw_status[0] == "SUCCESSFUL"):
            yield f"{service}: {_pair(*raw_status)} is reported as {outcome_and_reason(result)}"


def matches(answer: RawAnswer, result: Mapping[str, Any]) -> bool:
    """Whether a result has the status of the push service's raw answer."""
    return _raw_status(answer) == _reported_status(result)


def is_comparable(answer: RawAnswer) -> bool:
    """Whether the function should have got the same answer."""
    refused = answer.error is not None and answer.error.is_permission
    return not (answer.is_temporary or refused)


def every_call_is_refused(raw: RawAnswers) -> bool:
    """Whether the push service refused each call for a reason that holds for the function too."""
    return all(answer.error is not None and is_comparable(answer) for answer in raw.values())


def _raw_status(answer: RawAnswer) -> tuple[object, object]:
    return answer.delivery_status, answer.status_code


def _reported_status(result: Mapping[str, Any]) -> tuple[object, object]:
    return result.get("delivery_status"), result.get("status_code")


def _pair(status: object, code: object) -> str:
    return one_line(" ".join(str(each) for each in (status, code) if each is not None), 80) or "-"


def outcome_and_reason(result: Mapping[str, Any]) -> str:
    """Write a result's outcome and reason, in one line."""
    outcome, reason = result.get("outcome"), result.get("reason")
    return one_line(f"{outcome} ({reason})" if reason else f"{outcome}", 80)
