"""The core: a request in, a report out.

It knows no entry point, no Lambda and no environment; clock, client and projects are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from push_sender.delivery import batches
from push_sender.delivery.run import Delivered, Delivery, Order
from push_sender.outcomes.outcome import Outcome, Verdict
from push_sender.report import Report, report, result, status_message_room
from push_sender.request.errors import Finding
from push_sender.request.model import PushRequest, Recipient
from push_sender.validation.check import check
from push_sender.validation.rules import warnings

if TYPE_CHECKING:
    from push_sender.idempotency.claims import Claim, Idempotency

_DUPLICATE = Verdict(Outcome.DUPLICATE)
_DRY_RUN = Verdict(Outcome.UNSENT, reason="dry_run")
_NO_TABLE = Finding(
    "idempotency_key",
    "no effect: this function has no table of keys (IDEMPOTENCY_TABLE), so the request is sent "
    "each time it comes",
)


class Observer(Protocol):
    """Whoever watches pushes go out: logs, metrics."""

    def delivered(self, delivered: Delivered, recipients: Sequence[Recipient]) -> None:
        """Take note of a batch that is done."""

    def not_remembered(self, reason: str) -> None:
        """Take note that what became of a request with a key was not written down."""


class Sender:
    """Sends requests through the projects it may use.

    Parameters
    ----------
    delivery
        Sends the batches.
    application_ids
        The projects that may be used; the first is the default.
    clock
        The delivery's clock.
    observer
        Is told of every batch.
    idempotency
        Gives what remembers keys, and is asked only for a request that has one. None where
        there is no table.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        application_ids: Sequence[str],
        clock: Callable[[], float],
        observer: Observer,
        idempotency: Callable[[], Idempotency] | None = None,
    ) -> None:
        self._delivery = delivery
        self._application_ids = application_ids
        self._clock = clock
        self._observer = observer
        self._idempotency = idempotency

    def check(self, event: object) -> None:
        """Check a request that shall be sent later.

        Raises
        ------
        InvalidRequest
            As ``send``.
        """
        _, audience, _ = check(event, self._application_ids)
        status_message_room(audience.recipients)

    def send(
        self,
        event: object,
        *,
        deadline: float,
        default_key: str | None = None,
        age: float = 0.0,
        as_text: bool = False,
        forget_untried: bool = False,
        requeue: Callable[[Report], bool] | None = None,
    ) -> Report:
        """Send a request.

        Parameters
        ----------
        event
            The request as it came: parsed JSON of any kind.
        deadline
            On the clock: when delivery ends at the latest. The report follows at once.
        default_key
            The idempotency key of a request that has none of its own.
        age
            Seconds for which the time to live has been running when this call begins.
        as_text
            Whether the report travels as text within JSON, which leaves less room for it.
        forget_untried
            Whether a key stays free where the service threw every call back, so that nothing
            was tried: for an entry point that then says to come back with the same key.
        requeue
            Is called with the report once its outcomes are remembered, so that a repetition
            requeues and does not send. Hands to the queue what could not be sent, changes the
            report, and tells whether anything may lie in the queue. A key stays taken then.

        Returns
        -------
        Report
            One result for each recipient, in the order asked.

        Raises
        ------
        InvalidRequest
            With every fault. Nothing was sent.
        IdempotencyConflict
            If the key was used for another request within the day. Nothing was sent.
        IdempotencyInProgress
            If another invocation is sending under the key. Nothing was sent by this one.
        IdempotencyStoreUnavailable
            If the key could not be taken. Nothing was sent.
        """
        accepted_at = self._clock() - age
        request, audience, contents = check(event, self._application_ids)
        room = status_message_room(audience.recipients, as_text=as_text)
        application_id = request.application_id or self._application_ids[0]
        writer = self._delivery.provider.writer(request, contents, application_id)
        planned = batches.plan(request, audience, writer)

        advice = warnings(request, audience, contents)
        key = request.idempotency_key or default_key
        order = Order(planned, audience.recipients, writer, deadline, accepted_at)
        if request.dry_run:  # sends nothing, so it neither takes a key nor asks what it stands for
            calls = _calls(order)
            results = [result(recipient, _DRY_RUN, 0, room) for recipient in audience.recipients]
            shown = report(
                request, application_id, results, advice, calls, key=key, as_text=as_text
            )
            if requeue is not None:
                requeue(shown)
            return shown

        verdicts = dict.fromkeys(audience.repeated, _DUPLICATE)
        attempts: dict[int, int] = {}
        claim = self._claim(key, request, application_id, order) if key is not None else None
        if claim is None:
            deliveries = self._delivery.deliver(order)
        else:
            verdicts.update(claim.verdicts)
            attempts.update(claim.attempts)
            deliveries = claim.deliver(
                self._delivery, forget_untried=forget_untried and requeue is None
            )
        with closing(deliveries):  # should anything below raise, no call starts after that
            for delivered in deliveries:
                verdicts.update(delivered.verdicts)
                attempts.update(delivered.attempts)
                self._observer.delivered(delivered, audience.recipients)
        results = [
            result(recipient, verdicts[position], attempts.get(position, 0), room)
            for position, recipient in enumerate(audience.recipients)
        ]
        if claim is not None:
            advice += claim.warnings()
            if claim.lost is not None:
                self._observer.not_remembered(claim.lost)
        elif request.idempotency_key is not None:
            advice.append(_NO_TABLE)
        replayed = claim is not None and claim.replays
        told = report(request, application_id, results, advice, key=key, replayed=replayed)
        if requeue is not None:
            queued = requeue(told)
            if claim is not None and claim.untried and forget_untried and not queued:
                claim.forget()
        return told

    def _claim(
        self, key: str, request: PushRequest, application_id: str, order: Order
    ) -> Claim | None:
        if self._idempotency is None:
            return None
        from push_sender.idempotency.fingerprint import (  # only for a request with a key
            fingerprint,
            record_id,
        )

        return self._idempotency().claim(
            record_id(application_id, key), fingerprint(request, order.recipients), order
        )


def _calls(order: Order) -> list[Any]:
    """Write the calls of an order as they would go out first."""
    recipients = order.recipients
    return [
        order.writer.call(batch.service, map(recipients.__getitem__, batch.positions))
        for batch in order.batches
    ]
