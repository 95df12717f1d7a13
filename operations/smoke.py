"""The smoke test of a deployed stack: raw answers, doors, unsure facts, verdict.

It pushes to made-up tokens alone and changes nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations.account import Account, OperationsError
from operations.check import DoorAnswer, Visit
from operations.contract import results_by_service
from operations.deployed import find_channels, find_stack
from operations.entry_points import DOORS
from operations.evidence import Evidence, FactAnswer
from operations.facts import FACTS
from operations.nonexistent_devices import devices
from operations.raw_answers import RawAnswer, ask
from operations.redaction import discreet
from operations.smoke_page import Page

RECORD_VERSION: Final = 1

_NEEDED: Final = ("ApplicationId", "FunctionName", "QueueUrl", "EventBusName", "LogGroupName")


def smoke(
    stack_name: str, sender: str | None, page: Page, record_to: Path | None, wait_seconds: float
) -> bool:
    """Test a stack, and show it as it goes.

    Parameters
    ----------
    stack_name
        CloudFormation's.
    sender
        How the keys of its outputs begin, where a stack has several push senders.
    page
        Shows it.
    record_to
        A file for everything, for a bug report.
    wait_seconds
        How long the function's word on a queued request may take to be found in its log.

    Returns
    -------
    bool
        Whether every door answered as the contract says.

    Raises
    ------
    OperationsError
        If there is nothing to test, or the file cannot be written.
    """
    page.announce(stack_name)
    account = Account()
    stack = find_stack(account, stack_name, _NEEDED, sender)
    channels = find_channels(account, stack.application_id)
    page.begin(account, stack, channels)

    raw: dict[str, RawAnswer] = {}
    for device in devices(sandbox=account.is_sandbox):
        raw[device.service] = ask(account, device, stack.application_id)
        page.show_raw(raw[device.service], is_set_up=channels.is_set_up(device.service))

    page.begin_doors(stack)
    asked = [answer.device for answer in raw.values()]
    visit = Visit(account, stack, asked, raw, wait_seconds)
    doors: dict[str, DoorAnswer] = {}
    for door in DOORS:
        doors[door.name] = door.ask(visit)
        page.show_door(door, doors[door.name])
    results = results_by_service(doors[DOORS[0].name].answer)
    page.show_results(results, raw, channels)

    page.begin_facts(account)
    evidence = Evidence(account, stack, channels, raw, results)
    facts: dict[str, FactAnswer] = {}
    for fact in FACTS:
        facts[fact.name] = fact.look(evidence)
        page.show_fact(fact, facts[fact.name])

    passed = not any(answer.faults for answer in doors.values())
    if record_to is not None:
        record = {
            "version": RECORD_VERSION,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "passed": passed,
            "region": account.region,
            "sandbox": account.is_sandbox,
            "stack": stack.name,
            "channels": str(channels.refusal) if channels.refusal else dict(channels.enabled),
            "raw": {service: _raw(answer) for service, answer in raw.items()},
            "doors": {name: _door(answer) for name, answer in doors.items()},
            "facts": {
                fact.name: {"sure": fact.sure, "claim": fact.claim, **facts[fact.name]._asdict()}
                for fact in FACTS
            },
        }
        _write(record_to, record)
    faults = {name: answer.faults for name, answer in doors.items() if answer.is_there}
    page.conclude(faults, record_to)
    return passed


def _raw(answer: RawAnswer) -> dict[str, Any]:
    refusal = answer.refusal
    return {
        "token": answer.device.token,
        "answer": answer.body,
        "error": refusal and {"code": refusal.code, "message": refusal.message},
        "http_status": refusal.http_status if refusal else 200,
    }


def _door(answer: DoorAnswer) -> dict[str, Any]:
    return {"faults": answer.faults, "said": answer.said, "answer": answer.answer}


def _write(path: Path, record: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(discreet(record), indent=2) + "\n")
    except OSError as error:
        raise OperationsError(f"{path} cannot be written: {error.strerror}") from error
