"""The order of the smoke test, and its record.

It sends only to invented tokens. It changes nothing in the account, except that it registers
invented devices, which it removes, and runs a job, whose files the bucket deletes after 30 days.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations.account import Account, OperationsError
from operations.deployed import find_channels, find_stack
from operations.redaction import redact
from operations.smoke.assumptions import ASSUMPTIONS
from operations.smoke.checks import CHECKS
from operations.smoke.context import CheckContext, CheckResult, Evidence, Finding
from operations.smoke.contract import results_by_service
from operations.smoke.nonexistent_devices import nonexistent_devices
from operations.smoke.page import Page
from operations.smoke.raw_answers import RawAnswer, push

RECORD_VERSION: Final = 1

_NEEDED: Final = ("ApplicationId", "FunctionName", "QueueUrl", "EventBusName", "LogGroupName")


def smoke(
    stack_name: str, sender: str | None, page: Page, record_to: Path | None, wait_seconds: float
) -> bool:
    """Test a deployed stack, and show each step.

    Parameters
    ----------
    stack_name
        Its name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.
    page
        Shows the steps.
    record_to
        The file for the full record, for a bug report.
    wait_seconds
        How long the log line of a queued request may take.

    Returns
    -------
    bool
        Whether every check passed.

    Raises
    ------
    OperationsError
        If the stack cannot be tested, or the file cannot be written.
    """
    page.announce(stack_name)
    account = Account()
    stack = find_stack(account, stack_name, _NEEDED, sender)
    channels = find_channels(account, stack.application_id)
    page.begin(account, stack, channels)

    raw: dict[str, RawAnswer] = {}
    for device in nonexistent_devices(in_sandbox=account.is_sandbox):
        raw[device.service] = push(account, device, stack.application_id)
        page.show_raw(raw[device.service], is_set_up=channels.is_set_up(device.service))

    page.begin_checks(stack)
    devices = [answer.device for answer in raw.values()]
    context = CheckContext(account, stack, devices, raw, wait_seconds)
    checked: dict[str, CheckResult] = {}
    for check in CHECKS:
        checked[check.name] = check.run(context)
        page.show_check(check, checked[check.name])
    results = results_by_service(checked[CHECKS[0].name].answer)
    page.show_results(results, raw, channels)

    page.begin_assumptions(account)
    evidence = Evidence(account, stack, channels, raw, results)
    findings: dict[str, Finding] = {}
    for assumption in ASSUMPTIONS:
        findings[assumption.name] = assumption.examine(evidence)
        page.show_assumption(assumption, findings[assumption.name])

    passed = not any(result.failures for result in checked.values())
    if record_to is not None:
        record = {
            "version": RECORD_VERSION,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "passed": passed,
            "region": account.region,
            "sandbox": account.is_sandbox,
            "stack": stack.name,
            "channels": str(channels.error) if channels.error else dict(channels.enabled),
            "raw": {service: _raw(answer) for service, answer in raw.items()},
            "doors": {
                name: {
                    "faults": each.failures,
                    "warnings": each.warnings,
                    "said": each.message,
                    "answer": each.answer,
                }
                for name, each in checked.items()
            },
            "facts": {
                each.name: {
                    "sure": each.confidence,
                    "claim": each.claim,
                    "verdict": findings[each.name].verdict,
                    "said": findings[each.name].message,
                }
                for each in ASSUMPTIONS
            },
        }
        _write(record_to, record)
    deployed = {name: each for name, each in checked.items() if each.is_deployed}
    page.conclude(deployed, record_to)
    return passed


def _raw(answer: RawAnswer) -> dict[str, Any]:
    error = answer.error
    return {
        "token": answer.device.token,
        "answer": answer.body,
        "error": error and {"code": error.code, "message": error.message},
        "http_status": error.http_status if error else 200,
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(redact(record), indent=2) + "\n")
    except OSError as error:
        raise OperationsError(f"{path} cannot be written: {error.strerror}") from error
