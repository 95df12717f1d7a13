"""The core: it checks and sends one request and returns the report.

It knows no entry point, no Lambda and no environment: clock, provider and projects are passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from push_sender.delivery import batches
from push_sender.delivery.run import Delivered, Delivery, Order
from push_sender.outcomes.outcome import AddressResult, Outcome
from push_sender.recipients.audience import Audience
from push_sender.report import Report, Result, report, result, status_message_room
from push_sender.request.errors import Finding, TooManyDevices
from push_sender.request.model import Contents, PushRequest, Recipient
from push_sender.validation.check import Checked, check
from push_sender.validation.combinations import warnings

if TYPE_CHECKING:
    from push_sender.idempotency.claims import Claim, Idempotency
    from push_sender.idempotency.memory import Memory
    from push_sender.recipients.resolution import Origin
    from push_sender.schedules.group import ScheduleGroup
    from push_sender.users import Registry, UserRecipients

_DUPLICATE = AddressResult(Outcome.DUPLICATE)
_DRY_RUN = AddressResult(Outcome.UNSENT, reason="dry_run")
_NO_TABLE = Finding(
    "idempotency_key",
    "no effect: this function has no table of keys (IDEMPOTENCY_TABLE), so the request is sent "
    "each time it comes",
)


_READ_SHARE = 0.5
"""The look-up of users may take at most this share of the time."""


class Plan(NamedTuple):
    """What to send for a request without users.

    ``UserRecipients`` has the same members. Here those about users are empty.
    """

    order: Order
    audience: Audience
    contents: Contents
    room: int
    known: Mapping[int, AddressResult] = MappingProxyType({})
    origins: Sequence[Origin | None] = ()
    findings: Sequence[Finding] = ()


class Observer(Protocol):
    """Logs and counts what the sender does."""

    def delivered(
        self,
        delivered: Delivered,
        recipients: Sequence[Recipient],
        origins: Sequence[Origin | None],
    ) -> None:
        """Record a batch that is done."""

    def without_call(
        self,
        results: Mapping[int, AddressResult],
        recipients: Sequence[Recipient],
        origins: Sequence[Origin | None],
    ) -> None:
        """Record the results of a request with users that no call gives."""

    def scheduled(self, schedule_id: str, send_at: str, recipients: int) -> None:
        """Record a request that is sent later."""

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
    registry
        Returns the registry of devices; called only for a request with users. None if there is
        no registry.
    schedules
        Returns the group of schedules, or None if there is none; called only for a request with
        ``send_at``.
    now
        Returns the time in Unix seconds, which ``send_at`` is compared with.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        application_ids: Sequence[str],
        clock: Callable[[], float],
        observer: Observer,
        idempotency: Callable[[], Idempotency] | None = None,
        registry: Callable[[], Registry] | None = None,
        schedules: Callable[[], ScheduleGroup | None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._delivery = delivery
        self._application_ids = application_ids
        self._clock = clock
        self._observer = observer
        self._idempotency = idempotency
        self._registry = registry
        self._schedules = schedules
        self._now = now

    def check(self, event: object) -> None:
        """Check a request that will be sent later.

        Raises
        ------
        InvalidRequest
            As ``send``.
        """
        checked = check(
            event,
            self._application_ids,
            has_registry=self._registry is not None,
            now=self._now_if_schedulable,
        )
        if checked.request.send_at is not None:
            from push_sender.schedules.scheduled_request import ScheduledRequest

            ScheduledRequest.of(event, checked.request, self._application_ids[0], None)
        if not checked.request.has_users:  # whose devices are found when the request is sent
            status_message_room(checked.audience.recipients)

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
        memory: Memory | None = None,
        may_be_late: bool = False,
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
        memory
            How the outcomes are kept under the key; None for the usual way.
        may_be_late
            Whether to send a request at once if the time of its ``send_at`` is over. For an
            entry point where it may have waited.

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
        RegistryUnavailable
            If the devices of users could not be read. Nothing was sent.
        TooManyDevices
            If the devices of users are more than a report can hold. Nothing was sent.
        SchedulerUnavailable
            If the schedule of a request with ``send_at`` is not known to be made.
        """
        checked = check(
            event,
            self._application_ids,
            has_registry=self._registry is not None,
            now=self._now_if_schedulable,
            may_be_late=may_be_late,
        )
        request = checked.request
        application_id = request.application_id or self._application_ids[0]
        key = request.idempotency_key or default_key
        if request.send_at is not None and not request.dry_run:
            from push_sender.validation.send_at import seconds_until  # only for such a request

            left = seconds_until(request, self._now())
            if left > 0:
                return self._schedule(event, checked, application_id, key, deadline)
            age = min(age, -left)
        accepted_at = self._clock() - age
        plan = self._plan(checked, application_id, deadline, accepted_at, as_text=as_text)
        if not isinstance(plan, Plan) and plan.too_many is not None:
            self._choose_again(
                plan, plan.too_many, None if request.dry_run else key, application_id
            )
        claim = None
        if key is not None and not request.dry_run:  # a dry run sends nothing, so it needs no key
            claim = self._claim(key, request, application_id, plan, memory)

        # Only now: for users, the claim may choose the devices of an earlier run.
        order, audience = plan.order, plan.audience
        findings = [*warnings(request, audience, plan.contents), *plan.findings]
        if request.dry_run:
            previews = (plan.known.get(at, _DRY_RUN) for at in range(len(order.recipients)))
            preview = report(
                request,
                application_id,
                _results(plan, list(previews), {}),
                findings,
                _calls(order),
                key=key,
                as_text=as_text,
            )
            if requeue is not None:
                requeue(preview)
            return preview

        final_report = self._run(
            request,
            application_id,
            plan,
            claim,
            findings,
            key=key,
            forget_untried=forget_untried,
            requeue=requeue,
        )
        if claim is not None and memory is not None and memory.again:
            again = claim.again(final_report["results"])
            if again is not None:
                final_report = self._run(
                    request, application_id, plan, again, findings, key=key, requeue=requeue
                )
                again.again(final_report["results"])
        return final_report

    def _now_if_schedulable(self) -> float | None:
        return None if self._schedules() is None else self._now()

    def _schedule(
        self,
        event: Any,
        checked: Checked,
        application_id: str,
        key: str | None,
        deadline: float,
    ) -> Report:
        """Make a schedule for a request, unless it has one, and write the report."""
        from push_sender.schedules.scheduled_request import ScheduledRequest, results_of

        request, audience, contents = checked
        wanted = ScheduledRequest.of(event, request, application_id, key)
        schedules = self._schedules()
        if schedules is None:  # the check has refused the request
            raise RuntimeError("a request for later without a group of schedules")
        is_new = schedules.make(wanted, end=deadline)
        if is_new:
            self._observer.scheduled(wanted.id, wanted.expression, len(request.everyone))
        results = results_of(request, audience.recipients)
        # Those about users are not known before their devices are.
        findings = [] if request.has_users else warnings(request, audience, contents)
        written = report(request, application_id, results, findings, key=key, replayed=not is_new)
        written["schedule_id"] = wanted.id
        return written

    def _run(
        self,
        request: PushRequest,
        application_id: str,
        plan: Plan | UserRecipients,
        claim: Claim | None,
        findings: Sequence[Finding],
        *,
        key: str | None,
        forget_untried: bool = False,
        requeue: Callable[[Report], bool] | None,
    ) -> Report:
        """Send what is planned and not done, and write the report."""
        order, audience, warned = plan.order, plan.audience, list(findings)
        repeated = (*audience.repeated, *audience.conflicting)
        address_results = {**dict.fromkeys(repeated, _DUPLICATE), **plan.known}
        attempts: dict[int, int] = {}
        replayed = claim is not None and claim.replays
        if claim is None:
            deliveries = self._delivery.deliver(order)
        else:
            address_results.update(claim.results)
            attempts.update(claim.attempts)
            deliveries = claim.deliver(
                self._delivery, forget_untried=forget_untried and requeue is None
            )
        if plan.origins and not replayed:
            of_this_run = {at: each for at, each in plan.known.items() if at not in attempts}
            self._observer.without_call(of_this_run, order.recipients, plan.origins)
        with closing(deliveries):  # if anything below raises, no further call starts
            for delivered in deliveries:
                address_results.update(delivered.results)
                attempts.update(delivered.attempts)
                self._observer.delivered(delivered, order.recipients, plan.origins)
        results = _results(plan, address_results, attempts)
        if claim is not None:
            warned += claim.warnings()
            if claim.write_error is not None:
                self._observer.not_remembered(claim.write_error)
        elif request.idempotency_key is not None:
            warned.append(_NO_TABLE)
        final_report = report(request, application_id, results, warned, key=key, replayed=replayed)
        if requeue is not None:
            queued = requeue(final_report)
            if claim is not None and claim.untried and forget_untried and not queued:
                claim.forget()
        return final_report

    def _plan(
        self,
        checked: Checked,
        application_id: str,
        deadline: float,
        accepted_at: float,
        *,
        as_text: bool,
    ) -> Plan | UserRecipients:
        request, audience, contents = checked
        make_writer = self._delivery.push_service.writer
        if self._registry is not None and request.has_users:
            from push_sender.users import UserRecipients  # only for a request with users

            now = self._clock()
            return UserRecipients(
                request,
                application_id,
                self._registry(),
                lambda contents: make_writer(request, contents, application_id),
                read_until=now + (deadline - now) * _READ_SHARE,
                deadline=deadline,
                accepted_at=accepted_at,
                as_text=as_text,
            )
        room = status_message_room(audience.recipients, as_text=as_text)
        writer = make_writer(request, contents, application_id)
        planned = batches.plan(request, audience, writer)
        order = Order(planned, audience.recipients, writer, deadline, accepted_at)
        return Plan(order, audience, contents, room)

    def _choose_again(
        self,
        plan: UserRecipients,
        too_many: TooManyDevices,
        key: str | None,
        application_id: str,
    ) -> None:
        """Plan what an earlier run under the key chose, before the devices were too many.

        To refuse or to split the request then would send pushes again.
        """
        chosen = None
        if key is not None and self._idempotency is not None:
            from push_sender.idempotency.fingerprint import record_id

            left = plan.deadline - self._clock()
            chosen = self._idempotency().chosen(record_id(application_id, key), left * _READ_SHARE)
        if chosen is None:
            raise too_many
        plan.order_for(chosen)

    def _claim(
        self,
        key: str,
        request: PushRequest,
        application_id: str,
        plan: Plan | UserRecipients,
        memory: Memory | None,
    ) -> Claim | None:
        if self._idempotency is None:
            return None
        from push_sender.idempotency.fingerprint import (  # only for a request with a key
            fingerprint,
            record_id,
        )

        return self._idempotency().claim(
            record_id(application_id, key),
            fingerprint(request, request.everyone),
            plan.order,
            None if isinstance(plan, Plan) else plan,
            memory,
        )


def _results(
    plan: Plan | UserRecipients,
    address_results: Mapping[int, AddressResult] | Sequence[AddressResult],
    attempts: Mapping[int, int],
) -> list[Result]:
    """Write the result of each position."""
    recipients, origins, room = plan.order.recipients, plan.origins, plan.room
    return [
        result(
            recipient,
            address_results[at],
            attempts.get(at, 0),
            room,
            origins[at] if origins else None,
        )
        for at, recipient in enumerate(recipients)
    ]


def _calls(order: Order) -> list[Any]:
    """Write the calls of an order as a send would make them first."""
    recipients = order.recipients
    return [
        order.writer.call(batch.group, map(recipients.__getitem__, batch.positions))
        for batch in order.batches
    ]
