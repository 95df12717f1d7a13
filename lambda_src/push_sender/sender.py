"""The core: a request in, a report out.

It knows no door, no Lambda and no environment; clock, client and projects are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from push_sender import batches
from push_sender.delivery import Delivered, Delivery, Order
from push_sender.messages import MessageWriter
from push_sender.outcomes import Outcome, Verdict
from push_sender.report import Report, report, result, status_message_room
from push_sender.request import Recipient
from push_sender.rules import warnings
from push_sender.validation import check

_DUPLICATE = Verdict(Outcome.DUPLICATE)
_DRY_RUN = Verdict(Outcome.UNSENT, reason="dry_run")


class Observer(Protocol):
    """Whoever watches pushes go out: logs, metrics."""

    def delivered(self, delivered: Delivered, recipients: Sequence[Recipient]) -> None:
        """Take note of a batch that is done."""


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
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        application_ids: Sequence[str],
        clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        self._delivery = delivery
        self._application_ids = application_ids
        self._clock = clock
        self._observer = observer

    def send(self, event: object, *, deadline: float) -> Report:
        """Send a request.

        Parameters
        ----------
        event
            The request as it came: parsed JSON of any kind.
        deadline
            On the clock: when delivery ends at the latest. The report follows at once.

        Returns
        -------
        Report
            One result for each recipient, in the order asked.

        Raises
        ------
        InvalidRequest
            With every fault. Nothing was sent.
        """
        accepted_at = self._clock()
        request, audience, contents = check(event, self._application_ids)
        room = status_message_room(audience.recipients)
        application_id = request.application_id or self._application_ids[0]
        writer = MessageWriter(request, contents, application_id)
        planned = batches.plan(request, audience, writer)

        calls = None
        attempts: dict[int, int] = {}
        if request.dry_run:
            verdicts = dict.fromkeys(range(len(audience.recipients)), _DRY_RUN)
            calls = [
                writer.call(batch.service, map(audience.recipients.__getitem__, batch.positions))
                for batch in planned
            ]
        else:
            verdicts = dict.fromkeys(audience.repeated, _DUPLICATE)
            order = Order(planned, audience.recipients, writer, deadline, accepted_at)
            for delivered in self._delivery.deliver(order):
                verdicts.update(delivered.verdicts)
                attempts.update(delivered.attempts)
                self._observer.delivered(delivered, audience.recipients)
        results = [
            result(recipient, verdicts[position], attempts.get(position, 0), room)
            for position, recipient in enumerate(audience.recipients)
        ]
        advice = warnings(request, audience, contents)
        return report(request, application_id, results, advice, calls)
