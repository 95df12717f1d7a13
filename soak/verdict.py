"""Compare the ledger with the table of outcomes: each recipient must be in exactly one place."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from soak.faults import LOST, UNREADABLE
from soak.job_plan import PlannedJob
from soak.job_verdict import errors_of
from soak.ledger import Acceptance, Ledger
from soak.ownership import Spell
from soak.phones import phone_in, result_name
from soak.plan import EntryPoint, PlannedRequest, number_in, request_name


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
    NO_DEVICE = "reported: no_device"
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
        Lost, sent twice, sent too early, in several places, not confirmed, not the user's,
        miscounted, or outside the contract.
    token, request
        The recipient: a token, a phone of a user with its request, or a user.
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

    def lose(self, planned: PlannedRequest, name: str, why: str) -> None:
        """Record that a recipient has no place."""
        self.breaches.append(Breach("lost", name, planned.number, why))

    @property
    def recipients(self) -> int:
        """The number of recipients, and of phones of users, in all places."""
        return sum(counts.total() for counts in self.places.values())


def judge(
    requests: Iterable[PlannedRequest], ledger: Ledger, dead_letters: Iterable[str]
) -> Verdict:
    """Find the place of each recipient and of each phone of a user, and every breach.

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
    named_in_dead_letters = set(_names_in(dead_letters))
    by_user = ledger.ownership.by_user()
    users: dict[int, set[str]] = {}
    for planned in requests:
        case = _Case(planned, ledger, _answered(planned, ledger), named_in_dead_letters)
        contract_breaks = [why for id_, why in ledger.odd_events if id_ in case.ids]
        if planned.number in ledger.contract_breaks:
            contract_breaks.append(ledger.contract_breaks[planned.number])
        for why in dict.fromkeys(contract_breaks):
            name = request_name(planned)
            verdict.breaches.append(Breach("outside the contract", name, planned.number, why))
        if isinstance(planned, PlannedJob):
            for why in errors_of(planned, ledger):
                verdict.breaches.append(
                    Breach("miscounted", request_name(planned), planned.number, why)
                )
        for token in planned.tokens:
            events, logged = ledger.events.get(token, ()), ledger.was_logged(token)
            if _judge(verdict, planned, case.evidence(token, events, logged), ledger) is None:
                verdict.lose(planned, token, _NOWHERE)
        if planned.users:
            users[planned.number] = {each["user_id"] for each in planned.users}
            _judge_users(verdict, case, by_user)
    _judge_owners(verdict, ledger, users)
    return verdict


_NOWHERE: Final = "no provider accepted it, no report, event or queue has it"


class _Evidence(NamedTuple):
    """What is known about a recipient, or about a phone in a request, beside the provider's side.

    Attributes
    ----------
    name
        Its name in the ledger.
    words
        The outcomes in events and in the last report.
    is_logged
        Whether the log is a place for it and has it.
    is_dead_letter
        Whether a dead-letter message holds it.
    """

    name: str
    words: Sequence[str]
    is_logged: bool
    is_dead_letter: bool


@dataclass(frozen=True)
class _Case:
    """One request, with what its caller got and what is left of it.

    Attributes
    ----------
    planned, ledger
        The request, and what each side saw.
    answered
        By name, the last outcome that the caller got.
    named_in_dead_letters
        The names in all dead-letter messages.
    """

    planned: PlannedRequest
    ledger: Ledger
    answered: Mapping[str, str]
    named_in_dead_letters: Set[str]

    @property
    def ids(self) -> Set[str]:
        """The ids under which the function reports the request."""
        ids = self.ledger.ids.get(self.planned.number, set())
        return {*ids, *([self.planned.key] if self.planned.key else ())}

    def evidence(self, name: str, events: Iterable[str], logged: bool) -> _Evidence:
        """Collect what is known about a recipient by its events and the log."""
        words = [*events, *([self.answered[name]] if name in self.answered else ())]
        in_log_alone = (
            self.planned.entry_point is EntryPoint.ASYNCHRONOUS and not self.planned.is_for_later
        )
        is_logged = logged and in_log_alone
        return _Evidence(name, words, is_logged, name in self.named_in_dead_letters)


def _judge_users(
    verdict: Verdict, case: _Case, by_user: Mapping[str, Mapping[str, Collection[Spell]]]
) -> None:
    """Find the place of each phone of the users, and a ``no_device`` for a user without one."""
    planned, ledger, ids = case.planned, case.ledger, case.ids
    began = ledger.began.get(planned.number, math.inf)
    needed = 0
    for recipient in planned.users:
        placed, missing = 0, 0
        for phone, spells in by_user.get(recipient["user_id"], {}).items():
            name = f"{phone} of {planned.number}"
            events = [word for id_ in ids for word in ledger.events.get(f"{phone} of {id_}", ())]
            logged = any(ledger.was_logged(spell.token, ids) for spell in spells)
            evidence = case.evidence(name, dict.fromkeys(events), logged)
            had_to_be_sent = any(
                spell.since < began
                and spell.until == math.inf
                and recipient.get("device_id", spell.device) == spell.device
                for spell in spells
            )
            if not had_to_be_sent and not _is_known(evidence, ledger):
                missing += "requeued" in evidence.words
            elif _judge(verdict, planned, evidence, ledger) is None:
                verdict.lose(planned, name, _NOWHERE)
            else:
                placed += 1
        needed += max(missing, 1 if not placed else 0)
    found = sum(ledger.missing[id_].total() for id_ in ids) + _missing_in_answer(planned, ledger)
    verdict.places[Place.NO_DEVICE][planned.entry_point] += found
    if needed > found + _without_name(planned, ledger) and planned.number not in ledger.failed:
        why = f"{needed} results without a device, and {found} reported as no_device"
        verdict.lose(planned, request_name(planned), why)


def _is_known(evidence: _Evidence, ledger: Ledger) -> bool:
    """Whether something shows what became of a phone in a request."""
    return bool(
        evidence.name in ledger.accepted
        or evidence.name in ledger.opted_out
        or evidence.is_logged
        or evidence.is_dead_letter
        or [word for word in evidence.words if word not in _NOT_A_PLACE]
    )


def _judge_owners(verdict: Verdict, ledger: Ledger, users: Mapping[int, Set[str]]) -> None:
    """Find the pushes to a token that was not the user's since the invocation had read the user.

    Of the users of a request, at most one ever had the token (``phones``).
    """
    by_token = ledger.ownership.by_token()
    for push in ledger.pushed:
        spells = [
            spell
            for spell in by_token.get(push.token, ())
            if spell.user in users.get(push.request, ())
        ]
        since = push.at
        for spell in spells:
            since = min(push.at, ledger.ownership.looked_up_at(push.run, spell.user))
        if not any(spell.since <= push.at and spell.until >= since for spell in spells):
            name = result_name(push.token, push.request)
            why = f"{push.token} was no token of the user between the look-up and the push"
            verdict.breaches.append(Breach("not the user's", name, push.request, why))


def _judge(
    verdict: Verdict, planned: PlannedRequest, evidence: _Evidence, ledger: Ledger
) -> Place | None:
    """Find the place of one recipient or phone; return None if it has none."""
    name, is_dead_letter = evidence.name, evidence.is_dead_letter
    accepted = _of_one_device(ledger.accepted.get(name, ()))
    uncertain = ledger.uncertain.get(name, [])
    # Only the provider knows what a killed invocation sent.
    survived = [each for each in accepted if each.run not in ledger.killed_runs]
    outcomes = [word for word in evidence.words if word not in _NOT_A_PLACE]
    reported = list(dict.fromkeys(_PLACES[word] for word in outcomes))
    places = list(reported)
    if is_dead_letter:
        places.append(Place.DEAD_LETTER)
    if accepted and not places:
        places.append(Place.ACCEPTED)
    if not places and name in ledger.opted_out:
        places.append(Place.OPTED_OUT)
    if not places and evidence.is_logged:
        places.append(Place.LOG)
    if not places and planned.number in ledger.failed:
        places.append(Place.CALLER)

    def breach(what: str, why: str) -> None:
        verdict.breaches.append(Breach(what, name, planned.number, why))

    if not places:
        return None
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
    if planned.is_for_later and any(each.at < ledger.due for each in accepted):
        breach("sent too early", "its time had not come")
    for earlier in accepted[:-1]:
        excuse = _excuse(earlier, ledger)
        if excuse is None:
            late = earlier.run in ledger.timed_out_runs  # no excuse: reports must be in time
            why = "Lambda's timeout ended its process" if late else "an earlier answer arrived"
            breach("sent twice", f"sent {len(accepted)} times, and {why}")
        else:
            verdict.sent_twice[excuse] += 1
    return place


def _of_one_device(accepted: Sequence[Acceptance]) -> list[Acceptance]:
    """Leave out pushes to another address of the same phone in the same call.

    The phone was installed anew with a token that its service had replaced, so it has two devices.
    """
    return [
        each
        for at, each in enumerate(accepted)
        if not any(
            other.call == each.call and other.address != each.address
            for other in accepted[at + 1 :]
        )
    ]


def _excuse(acceptance: Acceptance, ledger: Ledger) -> str | None:
    """Name the fault that allows a second push; None if there was none."""
    if acceptance.fault in LOST:
        return f"answer lost: {acceptance.fault}"
    return "process killed" if acceptance.run in ledger.killed_runs else None


def _answered(planned: PlannedRequest, ledger: Ledger) -> dict[str, str]:
    """Return the last outcome that the caller got for each recipient."""
    if not planned.caller_gets_report:
        return {}
    words = {}
    for report in ledger.answered.get(planned.number, ()):
        for result in report["results"]:
            word = result["outcome"]
            if word == "unsent" and result["reason"] == "expired":
                word = "expired"
            if result["token"] is not None:
                words[result_name(result["token"], planned.number)] = word
    return words


def _missing_in_answer(planned: PlannedRequest, ledger: Ledger) -> int:
    """Count the results ``no_device`` that the caller got in its last report."""
    reports = ledger.answered.get(planned.number, ())
    if not planned.caller_gets_report or not reports:
        return 0
    return int(reports[-1]["summary"].get("no_device", 0))


def _without_name(planned: PlannedRequest, ledger: Ledger) -> int:
    """Count the outcomes in the last report whose devices have left their users since."""
    reports = ledger.answered.get(planned.number, ())
    if not planned.caller_gets_report or not reports:
        return 0
    return sum(
        result["token"] is None and result["outcome"] != "no_device"
        for result in reports[-1]["results"]
    )


def _names_in(dead_letters: Iterable[str]) -> Iterator[str]:
    """Name the recipients in dead-letter messages; a user without a device has no name."""
    for body in dead_letters:
        request = json.loads(body)
        request = request.get("detail", request)
        # The end of a job has no recipient.
        for recipient in request.get("recipients") or [request.get("recipient", {})]:
            named = recipient.get("token") or recipient.get("device_id") or ""
            yield result_name(named, number_in(body)) if phone_in(named) else named
