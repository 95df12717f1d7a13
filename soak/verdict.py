"""Compare the ledger with the table of outcomes: each recipient must be in exactly one place."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from soak.faults import LOST, UNREADABLE
from soak.ledger import Acceptance, Ledger
from soak.plan import CALLER_WAITS, EntryPoint, PlannedRequest


class Place(StrEnum):
    """Where a recipient ends: one place for each row of the table of outcomes."""

    ACCEPTED = "accepted by the provider"
    DEAD_TOKEN = "reported: dead_token"  # noqa: S105  an outcome, no secret
    INVALID_TOKEN = "reported: invalid_token"  # noqa: S105  an outcome, no secret
    REJECTED = "reported: rejected"
    OPTED_OUT = "opted out"
    UNKNOWN = "reported: unknown"
    EXPIRED = "reported: expired"
    NOT_SENT = "reported: transient or unsent"
    MISCONFIGURED = "reported: misconfigured"
    DEAD_LETTER = "dead-letter message"
    LOG = "only in the log"
    CALLER = "unknown to its caller"


_PLACES: Final = {
    "accepted": Place.ACCEPTED,
    "dead_token": Place.DEAD_TOKEN,
    "invalid_token": Place.INVALID_TOKEN,
    "rejected": Place.REJECTED,
    "opted_out": Place.OPTED_OUT,
    "unknown": Place.UNKNOWN,
    "expired": Place.EXPIRED,
    "transient": Place.NOT_SENT,
    "unsent": Place.NOT_SENT,
    "misconfigured": Place.MISCONFIGURED,
}

_NOT_A_PLACE: Final = frozenset({"replacement_token", "requeued"})


class Breach(NamedTuple):
    """A promise that was not kept.

    Attributes
    ----------
    what
        Lost, sent twice, in several places, not confirmed, or outside the contract.
    token, request
        The recipient.
    why
        The reason.
    """

    what: str
    token: str
    request: int
    why: str


@dataclass
class Verdict:
    """The result of a run.

    Attributes
    ----------
    places
        How many recipients are in each place, by entry point.
    sent_twice
        How many pushes were sent again, by the fault that caused it.
    breaches
        The promises that were not kept.
    """

    places: defaultdict[Place, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sent_twice: Counter[str] = field(default_factory=Counter)
    breaches: list[Breach] = field(default_factory=list)

    @property
    def recipients(self) -> int:
        """The number of recipients in all places."""
        return sum(counts.total() for counts in self.places.values())


def judge(
    requests: Iterable[PlannedRequest], ledger: Ledger, dead_letters: Iterable[str]
) -> Verdict:
    """Find each recipient's place, and every breach.

    Parameters
    ----------
    requests
        All requests of the run.
    ledger
        What each side saw.
    dead_letters
        The bodies of the dead-letter messages at the end.
    """
    verdict = Verdict()
    dead_letter_tokens = set(_tokens_of(dead_letters))
    for planned in requests:
        if planned.number in ledger.contract_breaks:
            first = planned.recipients[0]["token"]
            why = ledger.contract_breaks[planned.number]
            verdict.breaches.append(Breach("outside the contract", first, planned.number, why))
        words = _answered(planned, ledger)
        for recipient in planned.recipients:
            token = recipient["token"]
            _judge(verdict, planned, token, words.get(token), ledger, token in dead_letter_tokens)
    return verdict


def _judge(
    verdict: Verdict,
    planned: PlannedRequest,
    token: str,
    answered: str | None,
    ledger: Ledger,
    is_dead_letter: bool,
) -> None:
    accepted = ledger.accepted.get(token, [])
    uncertain = ledger.uncertain.get(token, [])
    # Only the provider knows what a killed invocation sent.
    survived = [each for each in accepted if each.run not in ledger.killed_runs]
    outcomes = [word for word in ledger.events.get(token, ()) if word not in _NOT_A_PLACE]
    if answered is not None and answered not in _NOT_A_PLACE:
        outcomes.append(answered)
    reported = list(dict.fromkeys(_PLACES[word] for word in outcomes))
    places = list(reported)
    if is_dead_letter:
        places.append(Place.DEAD_LETTER)
    if accepted and not places:
        places.append(Place.ACCEPTED)
    if not places and token in ledger.opted_out:
        places.append(Place.OPTED_OUT)
    if not places and planned.entry_point is EntryPoint.ASYNCHRONOUS and ledger.was_logged(token):
        places.append(Place.LOG)
    if not places and planned.number in ledger.failed:
        places.append(Place.CALLER)

    def breach(what: str, why: str) -> None:
        verdict.breaches.append(Breach(what, token, planned.number, why))

    if not places:
        breach("lost", "no provider accepted it, no report, event or queue has it")
        return
    if is_dead_letter:
        breach("lost", "it is a dead-letter message after the redrive")
    if len(places) > 1 and set(places) != {Place.UNKNOWN, Place.ACCEPTED}:
        breach("in several places", ", ".join(places))
    place = places[0]
    if place is Place.ACCEPTED and not accepted:
        breach("lost", "it is reported as accepted, and no provider has it")
    unreadable = accepted and all(each.fault in UNREADABLE for each in accepted)
    if Place.ACCEPTED in reported and unreadable:
        breach("not confirmed", "it is reported as accepted, and no readable answer said so")
    if place not in (Place.ACCEPTED, Place.UNKNOWN, Place.CALLER) and survived:
        breach("in several places", f"{place}, and a provider accepted it")
    if place is Place.UNKNOWN and not uncertain:
        breach("in several places", "it is reported as unknown, and every answer was received")
    verdict.places[place][planned.entry_point] += 1
    for earlier in accepted[:-1]:
        excuse = _excuse(earlier, ledger)
        if excuse is None:
            late = earlier.run in ledger.timed_out_runs  # no excuse: reports must be in time
            why = "Lambda's timeout ended its process" if late else "an earlier answer arrived"
            breach("sent twice", f"sent {len(accepted)} times, and {why}")
        else:
            verdict.sent_twice[excuse] += 1


def _excuse(acceptance: Acceptance, ledger: Ledger) -> str | None:
    """Name the fault that allows a second push; None if there was none."""
    if acceptance.fault in LOST:
        return f"answer lost: {acceptance.fault}"
    return "process killed" if acceptance.run in ledger.killed_runs else None


def _answered(planned: PlannedRequest, ledger: Ledger) -> dict[str, str]:
    """Return the last outcome that the caller got for each recipient."""
    if planned.entry_point not in CALLER_WAITS:
        return {}
    words = {}
    for report in ledger.answered.get(planned.number, ()):
        for result in report["results"]:
            word = result["outcome"]
            if word == "unsent" and result["reason"] == "expired":
                word = "expired"
            words[result["token"]] = word
    return words


def _tokens_of(dead_letters: Iterable[str]) -> Iterator[str]:
    for body in dead_letters:
        request = json.loads(body)
        request = request.get("detail", request)
        for recipient in request.get("recipients") or [request["recipient"]]:
            yield recipient["token"]
