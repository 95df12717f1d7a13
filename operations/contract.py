"""What a report must be, and whether it says what the service itself was heard to say.

Written from the contract (docs/request.md) and not from the function's code, whose mistakes
it is there to find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from operations.nonexistent_devices import Device
from operations.raw_answers import RawAnswer, RawAnswers
from operations.redaction import items, members, one_line

OUTCOMES: Final = frozenset(
    {
        *("accepted", "dead_token", "invalid_token", "misconfigured", "rejected", "opted_out"),
        *("duplicate", "transient", "unknown", "unsent", "requeued"),
    }
)


def results_by_service(report: object) -> dict[str, dict[str, Any]]:
    """Find each service's result in a report, as far as it is one."""
    results = map(members, items(members(report).get("results")))
    return {str(result.get("service")): result for result in results}


def report_faults(
    report: object, devices: Sequence[Device], application_id: str, *, dry_run: bool = False
) -> Iterator[str]:
    """Say what is wrong with a report, by itself.

    Parameters
    ----------
    report
        What the function answered: JSON of any kind.
    devices
        Who was to be pushed to, in the order asked.
    application_id
        The project that was to be used.
    dry_run
        Whether it was to send nothing.
    """
    if not isinstance(report, dict):
        yield f"it answered no report: {one_line(report, 200)}"
        return
    expected = {"application_id": application_id, "dry_run": dry_run, "replayed": False}
    for name, value in expected.items():
        if report.get(name) != value:
            yield f"{name} is {one_line(report.get(name), 60)} and not {one_line(value)}"
    results = [members(result) for result in items(report.get("results"))]
    asked = [(device.service, device.token) for device in devices]
    if [(result.get("service"), result.get("token")) for result in results] != asked:
        yield "its results are not one for each recipient, in the order asked"
        return
    outcomes = Counter(str(result.get("outcome")) for result in results)
    if unknown := sorted(outcomes.keys() - OUTCOMES):
        yield f"outcomes that the contract does not know: {one_line(', '.join(unknown), 100)}"
    if report.get("summary") != {"recipients": len(devices), **outcomes}:
        yield f"its summary does not count its results: {one_line(report.get('summary'), 200)}"


def differences(report: object, raw: RawAnswers) -> Iterator[str]:
    """Say where a report and the service's raw answers disagree.

    Not compared are services whose raw answer was of the moment, or was a refusal of the
    caller, who may have other permissions than the function.
    """
    for service, result in results_by_service(report).items():
        answer = raw.get(service)
        if answer is None or not is_comparable(answer):
            continue
        heard, told = _heard(answer), _told(result)
        if heard != told:
            yield (
                f"{service}: the service answered {_pair(*heard)}, "
                f"the function reports {_pair(*told)}, {_why(result)}"
            )
        elif (result.get("outcome") == "accepted") != (heard[0] == "SUCCESSFUL"):
            yield f"{service}: {_pair(*heard)} is reported as {_why(result)}"


def agree(answer: RawAnswer, result: Mapping[str, Any]) -> bool:
    """Tell whether a result says the same as the service's raw answer."""
    return _heard(answer) == _told(result)


def is_comparable(answer: RawAnswer) -> bool:
    """Tell whether the function should have been answered just the same."""
    refused = answer.refusal is not None and answer.refusal.is_permission
    return not (answer.is_temporary or refused)


def is_refused_whole(raw: RawAnswers) -> bool:
    """Tell whether the service refused each call, and the function's as well, by all we know."""
    return all(answer.refusal is not None and is_comparable(answer) for answer in raw.values())


def _heard(answer: RawAnswer) -> tuple[object, object]:
    return answer.delivery_status, answer.status_code


def _told(result: Mapping[str, Any]) -> tuple[object, object]:
    return result.get("delivery_status"), result.get("status_code")


def _pair(status: object, code: object) -> str:
    return one_line(" ".join(str(each) for each in (status, code) if each is not None), 80) or "-"


def _why(result: Mapping[str, Any]) -> str:
    outcome, reason = result.get("outcome"), result.get("reason")
    return one_line(f"{outcome} ({reason})" if reason else f"{outcome}", 80)
