"""Follow up a send that no caller waits for: every outcome ends where someone can act on it.

The order of the steps loses nothing if the process is killed. The report is stored first, and a
repeated request gets it again. Then come the messages for the queues. Their keys are derived, the
same at each repetition, so that a message that is queued twice is sent once. Then come the
events, which may be sent twice; only those for replaced tokens come before, because no record
holds these tokens. The entry point acknowledges the message last.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain
from typing import Any, Final

from push_sender.follow_up.events import (
    BusUnavailable,
    Event,
    EventBus,
    FailedPut,
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
from push_sender.follow_up.requeue import ATTEMPTS, delay, halves_of, has_left, messages_of, ttl_of
from push_sender.follow_up.submission import Submission
from push_sender.outcomes.outcome import Outcome
from push_sender.report import Report, Result
from push_sender.request.errors import InvalidRequest
from push_sender.telemetry.log import Telemetry

ERROR_CHARACTERS: Final = 1_000
"""Limit of the error text in a dead-letter message. The event with it has all errors."""


class _Destination(Enum):
    """Where a result ends if no caller waits for the report."""

    LOG = auto()
    TOKEN_UPDATE = auto()
    FAILED = auto()
    DEAD_LETTERS = auto()
    QUEUE = auto()


_DESTINATIONS: Final[Mapping[Outcome, _Destination]] = {
    Outcome.ACCEPTED: _Destination.LOG,
    Outcome.DEAD_TOKEN: _Destination.TOKEN_UPDATE,
    Outcome.INVALID_TOKEN: _Destination.TOKEN_UPDATE,
    Outcome.MISCONFIGURED: _Destination.DEAD_LETTERS,
    Outcome.REJECTED: _Destination.FAILED,
    Outcome.OPTED_OUT: _Destination.LOG,
    Outcome.DUPLICATE: _Destination.LOG,
    Outcome.TRANSIENT: _Destination.QUEUE,
    Outcome.UNKNOWN: _Destination.FAILED,
    Outcome.NO_DEVICE: _Destination.LOG,
    Outcome.SCHEDULED: _Destination.LOG,
    Outcome.REQUEUED: _Destination.LOG,
}
_DESTINATIONS_OF_UNSENT: Final[Mapping[str | None, _Destination]] = {
    "deadline": _Destination.QUEUE,
    "expired": _Destination.FAILED,
    "dry_run": _Destination.LOG,
}


@dataclass(slots=True)
class _Destinations:
    """The positions of results, by where they end and why."""

    requeued: list[int] = field(default_factory=list)
    dead: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    changed: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


class FollowUp:
    """Handles the outcomes after a send.

    Parameters
    ----------
    queue, dead_letters, bus
        The destinations; None if the function was deployed without it. Without a queue,
        recipients go to the dead-letter queue; without that, they are reported as failed.
    telemetry
        Logs and counts everything, without tokens.
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

    def handle(self, submission: Submission, report: Report, *, last_start: float) -> None:
        """Handle every outcome of a report.

        Parameters
        ----------
        submission
            The request of the report.
        report
            The report, new or replayed.
        last_start
            On ``time.monotonic``: no call begins after that.

        Raises
        ------
        QueueUnavailable, BusUnavailable
            If a message could not be queued, or there was no time for the events. The whole
            request must be repeated: with a key no push is sent again, and messages and
            events are harmless twice.
        """
        destinations = self._sorted(submission, report)
        if replaced := destinations.changed.pop("replacement_token", []):
            # First, because these tokens are not stored: a replayed report would lack them.
            results = [report["results"][at] for at in replaced]
            updates = token_updates(submission, report, "replacement_token", results)
            self._put(updates, last_start)
        requeued = self._requeue(submission, report, destinations, last_start)
        self._dead_letter(submission, report, destinations, last_start)
        for at in (*destinations.requeued, *chain(*destinations.dead.values())):
            result = report["results"][at]
            if has_left(result):  # no message has it, so this is how it ends
                result["outcome"], result["reason"] = Outcome.NO_DEVICE, "moved"
        summary = _summary(report, requeued)
        self._telemetry.info(
            "request handled",
            request_id=submission.request_id,
            attempt=submission.attempt,
            replayed=report["replayed"],
            summary=summary,
        )
        self._put(
            _events(submission, report, destinations, summary), last_start, retry_if_late=True
        )

    def requeue(
        self, submission: Submission, report: Report, *, last_start: float, is_job: bool = False
    ) -> bool:
        """Put recipients that could not be sent now on the queue, and change the report.

        Recipients that cannot be requeued keep their outcome, and a warning says why. Nothing
        is raised if a caller waits for the report.

        Parameters
        ----------
        submission, last_start
            As for ``handle``.
        report
            The report, which is changed.
        is_job
            Whether a job waits, which repeats the whole step after an error.

        Returns
        -------
        bool
            Whether the queue may hold any of the recipients.

        Raises
        ------
        QueueUnavailable
            Only for a job: if a message could not be queued.
        """
        retryable = [
            at
            for at, result in enumerate(report["results"])
            if _destination(result) is _Destination.QUEUE
        ]
        results = report["results"]
        requeueable = [
            at
            for at in retryable
            if has_left(results[at]) or not _has_zero_ttl(submission, results[at])
        ]
        reasons = []
        if len(requeueable) < len(retryable):
            reasons.append("what has a ttl of 0 is sent at once or never")
        requeued: list[int] = []
        may_be_queued = False
        if self._queue is None:
            reasons.append("this function has no queue: what cannot be sent now is only reported")
        elif requeueable:
            split = messages_of(submission, report, requeueable, delay_seconds=delay(1), attempt=1)
            if split.too_large:
                reasons.append("a recipient with what all share is larger than a message of 1 MiB")
            try:
                for message, positions in split.messages:
                    self._queue.post(message, last_start=last_start)
                    requeued.extend(positions)
            except QueueUnavailable as unavailable:
                may_be_queued = unavailable.may_be_queued
                self._telemetry.warn("not requeued", reason=unavailable.reason)
                if is_job:
                    raise
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

    def update_tokens(
        self, submission: Submission, report: Report, *, last_start: float, is_job: bool = False
    ) -> None:
        """Send the events about dead, invalid and replaced tokens, for the registry of devices.

        For entry points whose caller waits for the report, and handles the other outcomes. A bus
        that refuses adds a warning to the report. A dry run and a replay send no event, except
        the replay of a job: its first run may have been killed before its events.

        Parameters
        ----------
        submission, report, last_start, is_job
            As for ``requeue``.
        """
        if self._bus is None or report["dry_run"] or (report["replayed"] and not is_job):
            return
        results = report["results"]
        events = [
            event
            for change, positions in self._sorted(submission, report).changed.items()
            for event in token_updates(
                submission, report, change, map(results.__getitem__, positions)
            )
        ]
        failures = self._bus.put(events, last_start=last_start)
        self._record(failures)
        if failures:
            message = (
                f"the registry of devices does not know yet which tokens are dead or replaced "
                f"({failures[-1].code}); it learns that from the next push to them"
            )
            report["warnings"].append({"path": "results", "message": message})

    def split(self, submission: Submission, *, last_start: float) -> bool:
        """Put a request whose users have too many devices on the queue, as two messages.

        Each holds half of its recipients. A repetition queues the same messages, which are sent
        once.

        Parameters
        ----------
        submission, last_start
            As for ``handle``.

        Returns
        -------
        bool
            Whether the messages are on the queue. False if there is no queue, or if the request
            has only one recipient.

        Raises
        ------
        QueueUnavailable
            If a message could not be queued. The whole step must be repeated.
        """
        if self._queue is None:
            return False
        halves = halves_of(submission)
        for message in halves:
            self._queue.post(message, last_start=last_start)
        if halves:
            self._telemetry.info("request split", request_id=submission.request_id)
        return bool(halves)

    def refuse(
        self, submission: Submission, body: str, refusal: InvalidRequest, *, last_start: float
    ) -> None:
        """Put a request that can never be sent into the dead-letter queue, and send an event.

        Parameters
        ----------
        submission, last_start
            As for ``handle``.
        body
            The request as text, as it was received.
        refusal
            Its validation errors.

        Raises
        ------
        InvalidRequest
            The refusal itself, if there is no dead-letter queue to keep the request.
        QueueUnavailable
            If the request could not be put on that queue.
        """
        if self._dead_letter_queue is None:
            raise refusal
        reason, error_text = {"reason": "invalid"}, str(refusal)[:ERROR_CHARACTERS]
        steering, group = submission.steering(), submission.group
        # If the message is too large, drop attributes: the request matters more.
        message = next(
            message
            for message in (
                QueueMessage(body, {**reason, "fault": error_text}, 0, steering, group),
                QueueMessage(body, reason, 0, steering, group),
                QueueMessage(body, reason, group=group),
                QueueMessage(body, group=group),
            )
            if message.size <= MESSAGE_BYTES or not message.attributes
        )
        self._dead_letter_queue.post(message, last_start=last_start)
        self._telemetry.count("RequestsRefused", 1)
        self._telemetry.warn(
            "request refused", request_id=submission.request_id, faults=len(refusal.errors)
        )
        self._put([request_refused(submission, refusal.errors)], last_start)

    def put_back(
        self, submission: Submission, body: str, *, delay_seconds: int, last_start: float
    ) -> None:
        """Put a message on the queue again, once, for a later moment.

        Parameters
        ----------
        submission, body
            The message.
        delay_seconds
            How long it stays hidden.
        last_start
            As for ``handle``.

        Raises
        ------
        QueueUnavailable
            If it could not be put there.
        """
        if self._queue is None:
            raise QueueUnavailable("no queue")
        steering = submission.steering(submission.attempt + 1)
        message = QueueMessage(body, {}, delay_seconds, steering, submission.group)
        self._queue.post(message, last_start=last_start)

    def report_job(self, event: Event, *, last_start: float) -> None:
        """Send the event about the end of a job.

        Raises
        ------
        BusUnavailable
            If there was no time for it.
        """
        self._put([event], last_start, retry_if_late=True)

    def pass_over_part(self, submission: Submission) -> None:
        """Log that a part of a request comes under a key that an equal part used before."""
        self._telemetry.info("part already sent", request_id=submission.request_id)

    def ignore_own_event(self, request_id: str) -> None:
        """Ignore an event of this function, which a rule that is too wide brought back."""
        self._telemetry.count("OwnEventsPassedOver", 1)
        self._telemetry.warn("own event passed over", request_id=request_id)

    def _sorted(self, submission: Submission, report: Report) -> _Destinations:
        """Group a report's results by where they end."""
        destinations = _Destinations()
        for at, result in enumerate(report["results"]):
            destination = _destination(result)
            if destination is _Destination.TOKEN_UPDATE:
                destinations.changed[result["outcome"]].append(at)
            elif destination is _Destination.FAILED:
                destinations.failed[_failure(result)].append(at)
            elif destination is _Destination.QUEUE:
                if not has_left(result) and _has_zero_ttl(submission, result):
                    destinations.failed[_failure(result)].append(at)
                elif self._queue is None or submission.attempt >= ATTEMPTS:
                    destinations.dead["transient"].append(at)
                else:
                    destinations.requeued.append(at)
            elif destination is _Destination.DEAD_LETTERS:
                destinations.dead["misconfigured"].append(at)
            if result["replacement_token"] is not None:
                destinations.changed["replacement_token"].append(at)
        return destinations

    def _requeue(
        self,
        submission: Submission,
        report: Report,
        destinations: _Destinations,
        last_start: float,
    ) -> Sequence[int]:
        if self._queue is None or not destinations.requeued:
            return ()
        positions, attempt = destinations.requeued, submission.attempt + 1
        wait = delay(attempt)
        split = messages_of(submission, report, positions, delay_seconds=wait, attempt=attempt)
        for message, _ in split.messages:
            self._queue.post(message, last_start=last_start)
        destinations.failed["too_large"].extend(split.too_large)
        too_large = set(split.too_large)
        requeued = [
            at for at in positions if at not in too_large and not has_left(report["results"][at])
        ]
        self._telemetry.count("PushesRequeued", len(requeued))
        return requeued

    def _dead_letter(
        self,
        submission: Submission,
        report: Report,
        destinations: _Destinations,
        last_start: float,
    ) -> None:
        for reason, positions in destinations.dead.items():
            if self._dead_letter_queue is None:
                destinations.failed[reason].extend(positions)
                continue
            split = messages_of(submission, report, positions, reason=reason)
            for message, _ in split.messages:
                self._dead_letter_queue.post(message, last_start=last_start)
            destinations.failed["too_large"].extend(split.too_large)
            left = sum(has_left(report["results"][at]) for at in positions)
            pushes = len(positions) - len(split.too_large) - left
            self._telemetry.count("PushesDeadLettered", pushes)
            self._telemetry.warn(
                "pushes put into the dead-letter queue",
                request_id=submission.request_id,
                reason=reason,
                pushes=pushes,
            )

    def _put(
        self, events: Iterable[Event], last_start: float, *, retry_if_late: bool = False
    ) -> None:
        """Put events on the bus. Log and drop those that it refuses.

        With ``retry_if_late``, raise if the time was too short: the repeated request sends no
        push, and so has time for its events.
        """
        if self._bus is None:
            return
        failures = self._bus.put(events, last_start=last_start)
        for failure in failures:
            if retry_if_late and failure.out_of_time:
                raise BusUnavailable(failure.code)
        self._record(failures)

    def _record(self, failures: Iterable[FailedPut]) -> None:
        for failure in failures:
            self._telemetry.count("EventsNotSent", failure.events)
            self._telemetry.warn("events not sent", events=failure.events, code=failure.code)


_LATER: Final = (_Destination.QUEUE, _Destination.DEAD_LETTERS)


def _destination(result: Result) -> _Destination:
    destination = _destination_of_outcome(result)
    if has_left(result) and destination not in _LATER:
        return _Destination.LOG  # there is nothing to act on
    return destination


def _destination_of_outcome(result: Result) -> _Destination:
    if result["outcome"] == Outcome.UNSENT:
        return _DESTINATIONS_OF_UNSENT[result["reason"]]
    return _DESTINATIONS[result["outcome"]]


def _failure(result: Result) -> str:
    """Name a failure: the outcome, or ``expired``."""
    expired = _destination(result) is _Destination.FAILED and result["outcome"] == Outcome.UNSENT
    return "expired" if expired else str(result["outcome"])


def _has_zero_ttl(submission: Submission, result: Mapping[str, Any]) -> bool:
    """Return whether a push must be sent at once or never."""
    return ttl_of(submission.request, result["service"]) == 0


def _summary(report: Report, requeued: Sequence[int]) -> dict[str, int]:
    """Count the outcomes again, with some positions as requeued."""
    counts = Counter(result["outcome"] for result in report["results"])
    counts.subtract(report["results"][at]["outcome"] for at in requeued)
    counts[Outcome.REQUEUED] += len(requeued)
    return {
        "recipients": len(report["results"]),
        **{outcome.value: counts[outcome] for outcome in Outcome if counts[outcome]},
    }


def _events(
    submission: Submission, report: Report, destinations: _Destinations, summary: Mapping[str, int]
) -> Iterable[Event]:
    results = report["results"]
    for change, positions in destinations.changed.items():
        yield from token_updates(submission, report, change, [results[at] for at in positions])
    for failure, positions in destinations.failed.items():
        named = [results[at] for at in positions if not has_left(results[at])]
        yield from delivery_failed(submission, report, failure, named)
    yield push_report(submission, report, summary)
