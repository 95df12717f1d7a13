"""Assumptions about pushes, settled by the raw answers or by one more push."""

from __future__ import annotations

from collections.abc import Mapping

from operations.json_values import as_dict, read_json
from operations.redaction import one_line
from operations.smoke.context import Evidence, Finding, Verdict, not_asked
from operations.smoke.contract import is_comparable, matches, outcome_and_reason
from operations.smoke.raw_answers import RawAnswer, push


def missing_channel(evidence: Evidence) -> Finding:
    """Look at the answers of services without a channel."""
    if evidence.channels.error:
        return not_asked(f"the channels are unknown: {evidence.channels.error.code}")
    services = evidence.services(set_up=False)
    if not services:
        return not_asked("every channel of this project is set up")
    forms: dict[str, list[str]] = {}
    for service in services:
        forms.setdefault(_form(evidence.raw[service]), []).append(service)
    message = _grouped(forms)
    if not all(is_comparable(evidence.raw[service]) for service in services):
        return Finding("not settled", message)
    assumed = all(
        evidence.raw[service].delivery_status == "PERMANENT_FAILURE"
        and "No channel of type" in str(evidence.raw[service].status_message)
        for service in services
    )
    return Finding("as assumed" if assumed else "not as assumed", message)


def providers_words(evidence: Evidence) -> Finding:
    """Compare the providers' words for invalid tokens with what the function made of them."""
    services = evidence.services(set_up=True)
    if not services:
        return not_asked("no channel is known to be set up")
    judged: dict[str, list[str]] = {}
    known, unknown = False, False
    for service in services:
        answer, result = evidence.raw[service], evidence.results.get(service, {})
        words = _words(answer.status_message)
        if not words or not matches(answer, result):
            line = f"{_form(answer)}, nothing to compare"
        elif result.get("reason") or result.get("outcome") in ("dead_token", "invalid_token"):
            known = True
            line = f"“{words}” is {outcome_and_reason(result)}"
        else:
            unknown = True
            line = f"“{words}” IS NEW TO US, taken for {outcome_and_reason(result)}"
        judged.setdefault(line, []).append(service)
    verdict: Verdict = "not as assumed" if unknown else "as assumed" if known else "not settled"
    return Finding(verdict, _grouped(judged))


def updated_token(evidence: Evidence) -> Finding:
    """Look for a replacement token in FCM's answer."""
    answer = evidence.raw.get("GCM")
    if answer is None or evidence.channels.is_set_up("GCM") is not True:
        return not_asked("GCM is not known to be set up")
    if as_dict(answer.result).get("UpdatedToken"):
        return Finding("not as assumed", "GCM answered with an UpdatedToken")
    return Finding("not settled", "none came, and none would for an invented token")


def live_activity(evidence: Evidence) -> Finding:
    """Push with a push type that the API's documentation does not list."""
    services = [
        service for service in ("APNS", "APNS_SANDBOX") if evidence.channels.is_set_up(service)
    ]
    if not services:
        return not_asked("neither APNS nor APNS_SANDBOX is known to be set up")
    alert = evidence.raw[services[0]]
    live = push(
        evidence.account,
        alert.device,
        evidence.stack.application_id,
        APNSPushType="liveactivity",
    )
    message = f"{services[0]} answered {_form(live)}"
    if words := _words(live.status_message):
        message += f" “{words}”"
    if live.is_temporary or (live.error and live.error.is_permission):
        return Finding("not settled", message)
    if live.error:
        return Finding("as assumed", message)
    if live.delivery_status is None:
        return Finding("not settled", message)
    return Finding("not as assumed", f"{message}: the call was accepted")


def _form(answer: RawAnswer) -> str:
    """Write the form of the answer to a push."""
    if answer.error:
        return f"the whole call refused, {answer.error.code}"
    if answer.result is None:
        return "HTTP 200 without a result for the address"
    return one_line(f"{answer.delivery_status} {answer.status_code} on the address", 100)


def _grouped(services_by_answer: Mapping[str, list[str]]) -> str:
    """Write each answer once, after the services that gave it."""
    return "; ".join(
        f"{', '.join(services)}: {answer}" for answer, services in services_by_answer.items()
    )


def _words(status_message: object) -> str:
    """Find the provider's own words in a StatusMessage, or return all of it."""
    words = status_message
    if isinstance(words, str):
        words = as_dict(read_json(words.encode(errors="replace"))).get("pushProviderError") or words
    return one_line(words, 120) if words else ""
