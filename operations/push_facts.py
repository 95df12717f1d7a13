"""Unsure facts about pushes: the raw answers tell, or one more push to a made-up token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operations.contract import agree, is_comparable
from operations.evidence import Evidence, FactAnswer, Verdict, not_asked
from operations.raw_answers import RawAnswer, ask, read_json
from operations.redaction import members, one_line


def missing_channel(evidence: Evidence) -> FactAnswer:
    """See how services without a channel answered."""
    if evidence.channels.refusal:
        return not_asked(f"nobody tells which there are: {evidence.channels.refusal.code}")
    services = evidence.services(set_up=False)
    if not services:
        return not_asked("every channel of this project is set up")
    forms: dict[str, list[str]] = {}
    for service in services:
        forms.setdefault(_form(evidence.raw[service]), []).append(service)
    said = _grouped(forms)
    if not all(is_comparable(evidence.raw[service]) for service in services):
        return FactAnswer("not settled", said)
    assumed = all(
        evidence.raw[service].delivery_status == "PERMANENT_FAILURE"
        and "No channel of type" in str(evidence.raw[service].status_message)
        for service in services
    )
    return FactAnswer("as assumed" if assumed else "otherwise", said)


def providers_words(evidence: Evidence) -> FactAnswer:
    """See whether the function knew what the providers said of tokens that are none."""
    services = evidence.services(set_up=True)
    if not services:
        return not_asked("no channel is known to be set up")
    said: dict[str, list[str]] = {}
    known, unknown = False, False
    for service in services:
        answer, result = evidence.raw[service], evidence.results.get(service, {})
        words = _words(answer.status_message)
        if not words or not agree(answer, result):
            told = f"{_form(answer)}, nothing to judge"
        elif result.get("reason") or result.get("outcome") in ("dead_token", "invalid_token"):
            known = True
            told = f"“{words}” is {_judged(result)}"
        else:
            unknown = True
            told = f"“{words}” IS NEW TO US, taken for {_judged(result)}"
        said.setdefault(told, []).append(service)
    verdict: Verdict = "otherwise" if unknown else "as assumed" if known else "not settled"
    return FactAnswer(verdict, _grouped(said))


def updated_token(evidence: Evidence) -> FactAnswer:
    """See whether FCM named another token."""
    answer = evidence.raw.get("GCM")
    if answer is None or evidence.channels.is_set_up("GCM") is not True:
        return not_asked("GCM is not known to be set up")
    if members(answer.result).get("UpdatedToken"):
        return FactAnswer("otherwise", "GCM answered with an UpdatedToken")
    return FactAnswer("not settled", "none came, as none would for a token that is made up")


def live_activity(evidence: Evidence) -> FactAnswer:
    """Push with the push type that the API's documentation does not list."""
    services = [
        service for service in ("APNS", "APNS_SANDBOX") if evidence.channels.is_set_up(service)
    ]
    if not services:
        return not_asked("neither APNS nor APNS_SANDBOX is known to be set up")
    alert = evidence.raw[services[0]]
    live = ask(
        evidence.account,
        alert.device,
        evidence.stack.application_id,
        APNSPushType="liveactivity",
    )
    said = f"{services[0]} answered {_form(live)}"
    if words := _words(live.status_message):
        said += f" “{words}”"
    if live.is_temporary or (live.refusal and live.refusal.is_permission):
        return FactAnswer("not settled", said)
    if live.refusal:
        return FactAnswer("as assumed", said)
    if live.delivery_status is None:
        return FactAnswer("not settled", said)
    return FactAnswer("otherwise", f"{said}: the call was taken")


def _form(answer: RawAnswer) -> str:
    """Write in which form a push was answered."""
    if answer.refusal:
        return f"the whole call refused, {answer.refusal.code}"
    if answer.result is None:
        return "HTTP 200 without a word on the address"
    return one_line(f"{answer.delivery_status} {answer.status_code} on the address", 100)


def _grouped(services_by_answer: Mapping[str, list[str]]) -> str:
    """Write what was answered, once for all services that answered so."""
    return "; ".join(
        f"{', '.join(services)}: {answer}" for answer, services in services_by_answer.items()
    )


def _judged(result: Mapping[str, Any]) -> str:
    outcome, reason = result.get("outcome"), result.get("reason")
    return one_line(f"{outcome} ({reason})" if reason else f"{outcome}", 80)


def _words(status_message: object) -> str:
    """Find the provider's own words in a StatusMessage, or give all of it."""
    said = status_message
    if isinstance(said, str):
        said = members(read_json(said.encode(errors="replace"))).get("pushProviderError") or said
    return one_line(said, 120) if said else ""
