"""What follows a send that nobody waits for: every outcome ends where somebody can act on it.

The order loses nothing wherever the process dies. The report comes first, and a repetition
of the request gets it from memory. Then what goes to a queue, under keys that a repetition
derives again, so that a message that lies there twice is sent once. Then the events, which
may come twice; only replaced tokens are told before, because no memory keeps them. The
message itself is done with last, by whoever called.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from push_sender.follow_up.events import (
    BusUnavailable,
    Event,
    EventBus,
    delivery_failed,
    push_report,
    request_refused,
    token_updates,
)
from push_sender.follow_up.queue_messages import (
    MESSAGE_BYTES,
    Queue,
    QueueMessage,
    QueueUnavailable,
)
from push_sender.follow_up.requeue import ATTEMPTS, delay, messages_of, ttl_of
from push_sender.follow_up.submission import Submission
from push_sender.outcomes.outcome import Outcome
from push_sender.report import Report, Result
from push_sender.request.errors import InvalidRequest
from push_sender.telemetry.log import Telemetry

ERROR_CHARACTERS: Final = 1_000
"""Where the fault beside a dead-letter message is cut. The event that goes with it has them all."""


class _Ending(Enum):
    """Where a push ends that nobody waits for."""

    LOG = auto()
    TOKEN_UPDATE = auto()
    FAILED = auto()
    DEAD_LETTERS = auto()
    QUEUE = auto()


_ENDINGS: Final[Mapping[Outcome, _Ending]] = {
    Outcome.ACCEPTED: _Ending.LOG,
    Outcome.DEAD_TOKEN: _Ending.TOKEN_UPDATE,
    Outcome.INVALID_TOKEN: _Ending.TOKEN_UPDATE,
    Outcome.MISCONFIGURED: _Ending.DEAD_LETTERS,
    Outcome.REJECTED: _Ending.FAILED,
    Outcome.OPTED_OUT: _Ending.LOG,
    Outcome.DUPLICATE: _Ending.LOG,
    Outcome.TRANSIENT: _Ending.QUEUE,
    Outcome.UNKNOWN: _Ending.FAILED,
    Outcome.REQUEUED: _Ending.LOG,
}
_ENDINGS_OF_UNSENT: Final[Mapping[str | None, _Ending]] = {
    "deadline": _Ending.QUEUE,
    "expired": _Ending.FAILED,
    "dry_run": _Ending.LOG,
}


@dataclass(slots=True)
class _Endings:
    """Positions of recipients, by where they end and why."""

    requeued: list[int] = field(default_factory=list)
    dead: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    changed: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


class FollowUp:
    """Does what remains after a send for which no caller waits.

    Parameters
    ----------
    queue, dead_letters, bus
        Where things go. None where the function was deployed without it: what should go to
        the queue then goes to the dead-letter messages, and what should go there is told as failed.
    telemetry
        Is told of everything, and of no token.
    """

    def __init__(
        self,
        *,
        queue: Queue | None,
        dead_letters: Queue | None,
        bus: EventBus | None,
        telemetry: Telemetry,
    ) -> None:
        self._queue = queue
        self._dead_letter_queue = dead_letters
        self._bus = bus
        self._telemetry = telemetry

    def settle(self, submission: Submission, report: Report, *, last_start: float) -> None:
        """Bring every outcome of a report to its end.

        Parameters
        ----------
        submission
            The request that the report is about.
        report
            What became of it, from a send or from memory.
        last_start
            On ``time.monotonic``: no call begins after that.

        Raises
        ------
        QueueUnavailable, BusUnavailable
            If something did not reach its queue, or there was no time to tell the bus. The
            request must be repeated whole: with a key nothing is sent again, and what has
            reached a queue or the bus is harmless there twice.
        """
        endings = self._endings(submission, report)
        if replaced := endings.changed.pop("replacement_token", []):
            # First, because nothing remembers a token: a repetition would not know these.
            results = [report["results"][at] for at in replaced]
            updates = token_updates(submission, report, "replacement_token", results)
            self._put(updates, last_start)
        requeued = self._requeue(submission, endings, last_start)
        self._dead_letter(submission, endings, last_start)
        summary = _summary(report, requeued)
        self._telemetry.info(
            "request handled",
            request_id=submission.request_id,
            attempt=submission.attempt,
            replayed=report["replayed"],
            summary=summary,
        )
        self._put(_events(submission, report, endings, summary), last_start, comes_back=True)

    def requeue(self, submission: Submission, report: Report, *, last_start: float) -> bool:
        """Hand to the queue what could not be sent now, and say so in the report.

        What stays behind keeps its outcome, and a warning says why. Nothing is raised: the
        caller waits for the report.

        Parameters
        ----------
        submission, last_start
            As for ``settle``.
        report
            Is changed.

        Returns
        -------
        bool
            Whether any of it may lie in the queue, to be sent from there.
        """
        again = [
            at for at, result in enumerate(report["results"]) if _ending(result) is _Ending.QUEUE
        ]
        lasting = [at for at in again if not _is_momentary(submission, report["results"][at])]
        reasons = []
        if len(lasting) < len(again):
            reasons.append("what has a ttl of 0 is sent at once or never")
        requeued: list[int] = []
        may_be_queued = False
        if self._queue is None:
            reasons.append("this function has no queue: what cannot be sent now is only reported")
        elif lasting:
            split = messages_of(submission, lasting, delay_seconds=delay(1), attempt=1)
            if split.too_large:
                reasons.append("a recipient with what all share is larger than a message of 1 MiB")
            try:
                for message, positions in split.messages:
                    self._queue.post(message, last_start=last_start)
                    requeued.extend(positions)
            except QueueUnavailable as unavailable:
                may_be_queued = unavailable.may_be_queued
                self._telemetry.warn("not requeued", reason=unavailable.reason)
                reasons.append(
                    "the queue was out of reach: repeat the request, or what is not requeued of it"
                )
        for at in requeued:
            report["results"][at]["outcome"] = Outcome.REQUEUED
        if requeued:
            report["summary"] = _summary(report, ())
            self._telemetry.count("PushesRequeued", len(requeued))
        report["warnings"].extend({"path": "requeue", "message": reason} for reason in reasons)
        return may_be_queued or bool(requeued)

    def refuse(
        self, submission: Submission, body: str, refusal: InvalidRequest, *, last_start: float
    ) -> None:
        """Put away what can never be sent, as it came, and tell its faults.

        Parameters
        ----------
        submission, last_start
            As for ``settle``.
        body
            What came, as text.
        refusal
            What is wrong with it.

        Raises
        ------
        InvalidRequest
            The refusal itself, where there is no dead-letter queue to keep the request.
        QueueUnavailable
            If the request did not reach it.
        """
        if self._dead_letter_queue is None:
            raise refusal
        reason, told = {"reason": "invalid"}, str(refusal)[:ERROR_CHARACTERS]
        steering = submission.steering()
        # The request itself matters more than what is said of it.
        message = next(
            message
            for message in (
                QueueMessage(body, {**reason, "fault": told}, steering=steering),
                QueueMessage(body, reason, steering=steering),
                QueueMessage(body, reason),
                QueueMessage(body),
            )
            if message.size <= MESSAGE_BYTES or not message.attributes
        )
        self._dead_letter_queue.post(message, last_start=last_start)
        self._telemetry.count("RequestsRefused", 1)
        self._telemetry.warn(
            "request refused", request_id=submission.request_id, faults=len(refusal.errors)
        )
        self._put([request_refused(submission, refusal.errors)], last_start)

    def ignore_own_event(self, request_id: str) -> None:
        """Leave alone an event of our own, which a rule that is too wide brought here."""
        self._telemetry.count("OwnEventsPassedOver", 1)
        self._telemetry.warn("own event passed over", request_id=request_id)

    def _endings(self, submission: Submission, report: Report) -> _Endings:
        """Sort a report's recipients by where they end."""
        endings = _Endings()
        for at, result in enumerate(report["results"]):
            ending = _ending(result)
            if ending is _Ending.TOKEN_UPDATE:
                endings.changed[result["outcome"]].append(at)
            elif ending is _Ending.FAILED:
                endings.failed[_failure(result)].append(at)
            elif ending is _Ending.QUEUE:
                if _is_momentary(submission, result):
                    endings.failed[_failure(result)].append(at)
                elif self._queue is None or submission.attempt >= ATTEMPTS:
                    endings.dead["transient"].append(at)
                else:
                    endings.requeued.append(at)
            elif ending is _Ending.DEAD_LETTERS:
                endings.dead["misconfigured"].append(at)
            if result["replacement_token"] is not None:
                endings.changed["replacement_token"].append(at)
        return endings

    def _requeue(
        self, submission: Submission, endings: _Endings, last_start: float
    ) -> Sequence[int]:
        if self._queue is None or not endings.requeued:
            return ()
        attempt = submission.attempt + 1
        wait = delay(attempt)
        split = messages_of(submission, endings.requeued, delay_seconds=wait, attempt=attempt)
        for message, _ in split.messages:
            self._queue.post(message, last_start=last_start)
        endings.failed["too_large"].extend(split.too_large)
        too_large = set(split.too_large)
        requeued = [at for at in endings.requeued if at not in too_large]
        self._telemetry.count("PushesRequeued", len(requeued))
        return requeued

    def _dead_letter(self, submission: Submission, endings: _Endings, last_start: float) -> None:
        for reason, positions in endings.dead.items():
            if self._dead_letter_queue is None:
                endings.failed[reason].extend(positions)
                continue
            split = messages_of(submission, positions, reason=reason)
            for message, _ in split.messages:
                self._dead_letter_queue.post(message, last_start=last_start)
            endings.failed["too_large"].extend(split.too_large)
            pushes = len(positions) - len(split.too_large)
            self._telemetry.count("PushesDeadLettered", pushes)
            self._telemetry.warn(
                "pushes put into the dead-letter queue",
                request_id=submission.request_id,
                reason=reason,
                pushes=pushes,
            )

    def _put(self, events: Iterable[Event], last_start: float, *, comes_back: bool = False) -> None:
        """Put events on the bus. What it refuses is told to the log and lost.

        For lack of time nothing is lost that can come back: the next time there is nothing
        to send, and so there is time.
        """
        if self._bus is None:
            return
        unputs = self._bus.put(events, last_start=last_start)
        for unput in unputs:
            if comes_back and unput.in_haste:
                raise BusUnavailable(unput.code)
        for unput in unputs:
            self._telemetry.count("EventsNotSent", unput.events)
            self._telemetry.warn("events not sent", events=unput.events, code=unput.code)


def _ending(result: Result) -> _Ending:
    if result["outcome"] == Outcome.UNSENT:
        return _ENDINGS_OF_UNSENT[result["reason"]]
    return _ENDINGS[result["outcome"]]


def _failure(result: Result) -> str:
    """Name a failure: the outcome, or why nothing was sent."""
    expired = _ending(result) is _Ending.FAILED and result["outcome"] == Outcome.UNSENT
    return "expired" if expired else str(result["outcome"])


def _is_momentary(submission: Submission, result: Result) -> bool:
    """Tell whether a push is for now or never."""
    return ttl_of(submission.request, result["service"]) == 0


def _summary(report: Report, requeued: Sequence[int]) -> dict[str, int]:
    """Count the outcomes anew, some of the recipients as requeued."""
    counts = Counter(result["outcome"] for result in report["results"])
    counts.subtract(report["results"][at]["outcome"] for at in requeued)
    counts[Outcome.REQUEUED] += len(requeued)
    return {
        "recipients": len(report["results"]),
        **{outcome.value: counts[outcome] for outcome in Outcome if counts[outcome]},
    }


def _events(
    submission: Submission, report: Report, endings: _Endings, summary: Mapping[str, int]
) -> Iterable[Event]:
    results = report["results"]
    for change, positions in endings.changed.items():
        yield from token_updates(submission, report, change, [results[at] for at in positions])
    for failure, positions in endings.failed.items():
        yield from delivery_failed(submission, report, failure, [results[at] for at in positions])
    yield push_report(submission, report, summary)
