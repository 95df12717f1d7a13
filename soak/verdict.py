"""The ledger held against the outcomes' table: every recipient must be in exactly one place."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from soak.faults import LOST, UNREADABLE
from soak.ledger import Acceptance, Ledger
from soak.plan import ATTENDED, Asked, Door


class Place(StrEnum):
    """Where a recipient is in the end: one for each row of the outcomes' table."""

    ACCEPTED = "accepted by the provider"
    DEAD_TOKEN = "told: dead_token"  # noqa: S105  an outcome, no secret
    INVALID_TOKEN = "told: invalid_token"  # noqa: S105  an outcome, no secret
    REJECTED = "told: rejected"
    OPTED_OUT = "opted out"
    UNKNOWN = "told: unknown"
    EXPIRED = "told: expired"
    NOT_SENT = "told: transient or unsent"
    MISCONFIGURED = "told: misconfigured"
    DEAD_LETTER = "dead letter"
    LOG = "in the log alone"
    CALLER = "its caller knows that nobody knows"


_BY_WORD: Final = {
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
        Lost, doubled, in several places, claimed, or outside the contract.
    token, request
        Whose.
    why
        What was seen.
    """

    what: str
    token: str
    request: int
    why: str


@dataclass
class Verdict:
    """What came of a run.

    Attributes
    ----------
    places
        How many recipients are in each place, by the door that they came by.
    twice
        How many pushes were sent again, by the fault that made them.
    breaches
        What was promised and not kept.
    """

    places: defaultdict[Place, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    twice: Counter[str] = field(default_factory=Counter)
    breaches: list[Breach] = field(default_factory=list)

    @property
    def recipients(self) -> int:
        """How many there are in all places."""
        return sum(counts.total() for counts in self.places.values())


def judge(everything: Iterable[Asked], ledger: Ledger, dead_letters: Iterable[str]) -> Verdict:
    """Find each recipient's place, and whatever should not be.

    Parameters
    ----------
    everything
        What was asked for.
    ledger
        What was seen.
    dead_letters
        The bodies of what lies in the dead-letter queue in the end.
    """
    verdict = Verdict()
    buried = set(_buried(dead_letters))
    for asked in everything:
        if asked.number in ledger.contract_breaks:
            first = asked.recipients[0]["token"]
            why = ledger.contract_breaks[asked.number]
            verdict.breaches.append(Breach("outside the contract", first, asked.number, why))
        words = _answered(asked, ledger)
        for recipient in asked.recipients:
            token = recipient["token"]
            _judge(verdict, asked, token, words.get(token), ledger, token in buried)
    return verdict


def _judge(
    verdict: Verdict,
    asked: Asked,
    token: str,
    answered: str | None,
    ledger: Ledger,
    is_buried: bool,
) -> None:
    accepted = ledger.accepted.get(token, [])
    doubts = ledger.doubts.get(token, [])
    # What a killed run had sent, nobody but the provider knows.
    survived = [each for each in accepted if each.run not in ledger.killed_runs]
    told = [word for word in ledger.told.get(token, ()) if word not in _NOT_A_PLACE]
    if answered is not None and answered not in _NOT_A_PLACE:
        told.append(answered)
    said = list(dict.fromkeys(_BY_WORD[word] for word in told))
    places = list(said)
    if is_buried:
        places.append(Place.DEAD_LETTER)
    if accepted and not places:
        places.append(Place.ACCEPTED)
    if not places and token in ledger.opted_out:
        places.append(Place.OPTED_OUT)
    if not places and asked.door is Door.ASYNCHRONOUS and ledger.was_logged(token):
        places.append(Place.LOG)
    if not places and asked.number in ledger.failed:
        places.append(Place.CALLER)

    def breach(what: str, why: str) -> None:
        verdict.breaches.append(Breach(what, token, asked.number, why))

    if not places:
        breach("lost", "no provider has it, nobody was told, and it lies in no queue")
        return
    if is_buried:
        breach("lost", "it is a dead letter still, though all was mended and sent again")
    if len(places) > 1 and set(places) != {Place.UNKNOWN, Place.ACCEPTED}:
        breach("in several places", ", ".join(places))
    place = places[0]
    if place is Place.ACCEPTED and not accepted:
        breach("lost", "it is said to be accepted, and no provider has it")
    if Place.ACCEPTED in said and accepted and all(each.fault in UNREADABLE for each in accepted):
        breach("claimed", "it is said to be accepted, and no answer said so")
    if place not in (Place.ACCEPTED, Place.UNKNOWN, Place.CALLER) and survived:
        breach("in several places", f"{place}, and a provider took it")
    if place is Place.UNKNOWN and not doubts:
        breach("in several places", "it is said to be unknown, and every answer was heard")
    verdict.places[place][asked.door] += 1
    for earlier in accepted[:-1]:
        excuse = _excuse(earlier, ledger)
        if excuse is None:
            late = earlier.run in ledger.timed_out_runs  # no excuse: a report is always in time
            heard = "Lambda's timeout ended its process" if late else "an earlier answer was heard"
            breach("doubled", f"sent {len(accepted)} times, and {heard}")
        else:
            verdict.twice[excuse] += 1


def _excuse(acceptance: Acceptance, ledger: Ledger) -> str | None:
    """Name the fault for which a push may be sent again; None where there was none."""
    if acceptance.fault in LOST:
        return f"answer lost: {acceptance.fault}"
    return "process killed" if acceptance.run in ledger.killed_runs else None


def _answered(asked: Asked, ledger: Ledger) -> dict[str, str]:
    """Give what the caller was told last of each recipient."""
    if asked.door not in ATTENDED:
        return {}
    words = {}
    for report in ledger.answered.get(asked.number, ()):
        for result in report["results"]:
            word = result["outcome"]
            if word == "unsent" and result["reason"] == "expired":
                word = "expired"
            words[result["token"]] = word
    return words


def _buried(dead_letters: Iterable[str]) -> Iterator[str]:
    for letter in dead_letters:
        request = json.loads(letter)
        request = request.get("detail", request)
        for recipient in request.get("recipients") or [request["recipient"]]:
            yield recipient["token"]
