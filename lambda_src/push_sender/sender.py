"""The core: it checks and sends one request and returns the report.

It knows no entry point, no Lambda and no environment: clock, provider and projects are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from push_sender.delivery import batches
from push_sender.delivery.run import Delivered, Delivery, Order
from push_sender.outcomes.outcome import AddressResult, Outcome
from push_sender.report import Report, report, result, status_message_room
from push_sender.request.errors import Finding
from push_sender.request.model import PushRequest, Recipient
from push_sender.validation.check import check
from push_sender.validation.combinations import warnings

if TYPE_CHECKING:
    from push_sender.idempotency.claims import Claim, Idempotency

_DUPLICATE = AddressResult(Outcome.DUPLICATE)
_DRY_RUN = AddressResult(Outcome.UNSENT, reason="dry_run")
_NO_TABLE = Finding(
    "idempotency_key",
    "no effect: this function has no table of keys (IDEMPOTENCY_TABLE), so the request is sent "
    "each time it comes",
)


class Observer(Protocol):
    """Logs and counts what the sender does."""

    def delivered(self, delivered: Delivered, recipients: Sequence[Recipient]) -> None:
        """Record a batch that is done."""

    def not_remembered(self, reason: str) -> None:
        """Record that the results of a request with a key could not be stored."""


class Sender:
    """Sends requests through the allowed projects.

    Parameters
    ----------
    delivery
        Sends the batches.
    application_ids
        The allowed projects; the first is the default.
    clock
        The delivery's clock.
    observer
        Is notified of every batch.
    idempotency
        Returns the store of keys; called only for a request with a key. None if there is no
        table.
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
        """Check a request that will be sent later.

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
            The request as received: parsed JSON of any kind.
        deadline
            When the delivery must end, on the clock. The report follows at once.
        default_key
            The idempotency key for a request without one.
        age
            Seconds that the time to live has already been running when this call begins.
        as_text
            Whether the response holds the report as text in JSON, which leaves less room.
        forget_untried
            Whether to free the key if the service refused every call, so that nothing was
            tried. For an entry point that then asks the caller to retry with the same key.
        requeue
            Called with the report after its outcomes are stored, so that a repeated request
            requeues and does not send. Puts recipients that could not be sent on the queue,
            changes the report, and returns whether the queue may hold any of them. If it may,
            the key stays taken.

        Returns
        -------
        Report
            One result for each recipient, in the order of the request.

        Raises
        ------
        InvalidRequest
            With every validation error. Nothing was sent.
        IdempotencyConflict
            If the key was used for another request within a day. Nothing was sent.
        IdempotencyInProgress
            If another invocation is sending under the key. This one sent nothing.
        IdempotencyStoreUnavailable
            If the key could not be claimed. Nothing was sent.
        """
        accepted_at = self._clock() - age
        request, audience, contents = check(event, self._application_ids)
        room = status_message_room(audience.recipients, as_text=as_text)
        application_id = request.application_id or self._application_ids[0]
        writer = self._delivery.push_service.writer(request, contents, application_id)
        planned = batches.plan(request, audience, writer)

        findings = warnings(request, audience, contents)
        key = request.idempotency_key or default_key
        order = Order(planned, audience.recipients, writer, deadline, accepted_at)
        if request.dry_run:  # sends nothing, so it neither claims nor reads a key
            calls = _calls(order)
            results = [result(recipient, _DRY_RUN, 0, room) for recipient in audience.recipients]
            preview = report(
                request, application_id, results, findings, calls, key=key, as_text=as_text
            )
            if requeue is not None:
                requeue(preview)
            return preview

        address_results = dict.fromkeys(audience.repeated, _DUPLICATE)
        attempts: dict[int, int] = {}
        claim = self._claim(key, request, application_id, order) if key is not None else None
        if claim is None:
            deliveries = self._delivery.deliver(order)
        else:
            address_results.update(claim.results)
            attempts.update(claim.attempts)
            deliveries = claim.deliver(
                self._delivery, forget_untried=forget_untried and requeue is None
            )
        with closing(deliveries):  # if anything below raises, no further call starts
            for delivered in deliveries:
                address_results.update(delivered.results)
                attempts.update(delivered.attempts)
                self._observer.delivered(delivered, audience.recipients)
        results = [
            result(recipient, address_results[position], attempts.get(position, 0), room)
            for position, recipient in enumerate(audience.recipients)
        ]
        if claim is not None:
            findings += claim.warnings()
            if claim.write_error is not None:
                self._observer.not_remembered(claim.write_error)
        elif request.idempotency_key is not None:
            findings.append(_NO_TABLE)
        replayed = claim is not None and claim.replays
        final_report = report(
            request, application_id, results, findings, key=key, replayed=replayed
        )
        if requeue is not None:
            queued = requeue(final_report)
            if claim is not None and claim.untried and forget_untried and not queued:
                claim.forget()
        return final_report

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
    """Write the calls of an order as a send would make them first."""
    recipients = order.recipients
    return [
        order.writer.call(batch.group, map(recipients.__getitem__, batch.positions))
        for batch in order.batches
    ]
