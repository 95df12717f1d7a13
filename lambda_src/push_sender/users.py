"""The recipients of a request that are users: their devices, and what each of them gets.

Only a request with users imports this module. ``sender`` passes in what knows the users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Final, Protocol

from push_sender.delivery.batches import Batch, plan
from push_sender.delivery.push_service import Writer
from push_sender.delivery.run import Order
from push_sender.idempotency.targets import Targets
from push_sender.outcomes.outcome import AddressResult, Outcome
from push_sender.recipients.audience import Audience, sort_recipients
from push_sender.recipients.resolution import (
    Origin,
    Resolved,
    User,
    digest,
    resolve,
    user_ids,
)
from push_sender.report import status_message_room
from push_sender.request.errors import MAX_RESULTS, Finding, InvalidRequest, TooManyDevices
from push_sender.request.model import Contents, PushRequest, UserRecipient
from push_sender.validation.users import unfit, without_place

_DUPLICATE: Final = AddressResult(Outcome.DUPLICATE)


class Registry(Protocol):
    """The registry of devices."""

    def users(
        self, project: str, user_ids: Sequence[str], *, deadline: float
    ) -> Mapping[str, User]:
        """Return the users that are known. Raises RegistryUnavailable."""


class UserRecipients:
    """The devices of the users of one request, and the plan to send to them.

    Parameters
    ----------
    request
        A checked request.
    application_id
        Its project.
    registry
        Knows the users.
    make_writer
        Makes the writer of the calls for the contents of the messages.
    read_until
        On ``time.monotonic``: no call to the registry begins after that.
    deadline, accepted_at
        As in ``Order``.
    as_text
        As for ``status_message_room``.

    Raises
    ------
    RegistryUnavailable
        If the registry does not answer in time.

    Attributes
    ----------
    too_many
        The error if the devices are too many for one report; then there is no plan yet. An
        earlier run under the same key may have chosen fewer: see ``order_for``.
    order
        What to send.
    resolved
        The positions of the report.
    audience, contents
        The devices by group, and the fields of each message.
    known
        The results of the positions that have no device, or whose device cannot get the message.
    room
        As ``status_message_room`` returns it.
    findings
        Warnings about fields that are left out.
    """

    order: Order
    resolved: Resolved
    audience: Audience
    contents: Contents
    known: dict[int, AddressResult]
    room: int
    findings: list[Finding]

    def __init__(
        self,
        request: PushRequest,
        application_id: str,
        registry: Registry,
        make_writer: Callable[[Contents], Writer],
        *,
        read_until: float,
        deadline: float,
        accepted_at: float,
        as_text: bool,
    ) -> None:
        self._request = request
        self._make_writer = make_writer
        self.deadline = deadline
        self._accepted_at = accepted_at
        self._as_text = as_text
        self._now = time()
        self._users = registry.users(application_id, user_ids(request), deadline=read_until)
        self.too_many: TooManyDevices | None = None
        try:
            self._plan(None)
        except TooManyDevices as error:
            self.too_many = error

    @property
    def origins(self) -> Sequence[Origin | None]:
        """The user of each position."""
        return self.resolved.origins

    @property
    def without_call(self) -> Mapping[int, AddressResult]:
        """The results of the positions that nothing is sent to."""
        repeated = (*self.audience.repeated, *self.audience.conflicting)
        return {**dict.fromkeys(repeated, _DUPLICATE), **self.known}

    def targets(self, batches: Sequence[Batch]) -> Targets:
        """Return the chosen devices, for the record of the key."""
        chosen: dict[int, list[bytes]] = {
            at: []
            for at, recipient in enumerate(self._request.everyone)
            if isinstance(recipient, UserRecipient)
        }
        for at, origin in zip(self.resolved.asked, self.origins, strict=True):
            if origin is not None and origin.device_id is not None:
                chosen[at].append(digest(origin.device_id))
        return Targets(list(chosen.values()), [batch.positions[0] for batch in batches])

    def order_for(self, stored: Targets) -> Order:
        """Plan the positions of an earlier run of the request again."""
        self._plan(stored.devices)
        return self.order

    def _plan(self, stored: Sequence[Sequence[bytes]] | None) -> None:
        request = self._request
        resolved = self.resolved = resolve(request, self._users, self._now, stored)
        number = len(resolved.recipients)
        if number > MAX_RESULTS:
            raise TooManyDevices(number)
        try:
            self.room = status_message_room(
                resolved.recipients, self.origins, as_text=self._as_text
            )
        except InvalidRequest:
            raise TooManyDevices(number) from None
        self.findings = self._leave_out()
        self.known = {
            position: AddressResult(Outcome.NO_DEVICE, reason=reason)
            for position, reason in resolved.missing.items()
        }
        of_users = [
            position
            for position, origin in enumerate(self.origins)
            if origin is not None and position not in self.known
        ]
        found = unfit(request, resolved.recipients, of_users, resolved.asked)
        by_device = {self.origins[position]: finding for position, finding in found.items()}
        for position in of_users:  # a user who is listed twice is judged once
            if finding := by_device.get(self.origins[position]):
                self.known[position] = AddressResult(
                    Outcome.REJECTED, reason="unfit", status_message=str(finding), path=finding.path
                )
        self.audience = sort_recipients(
            resolved.recipients, request.choose, self.known, resolved.asked
        )
        self.contents = {
            variant: request.content_for(variant) for variant in self.audience.variants
        }
        writer = self._make_writer(self.contents)
        batches = plan(request, self.audience, writer)
        self.order = Order(batches, resolved.recipients, writer, self.deadline, self._accepted_at)

    def _leave_out(self) -> list[Finding]:
        """Leave out the personal fields that the service of a device has no place for.

        There is one warning a field: one a user could pass the size of a report.
        """
        first: dict[str, int] = {}
        more: Counter[str] = Counter()
        for position, origin in enumerate(self.origins):
            if origin is None or position in self.resolved.missing:
                continue
            recipient = self.resolved.recipients[position]
            for name in without_place(self._request, recipient):
                setattr(recipient, name, None)
                recipient.model_fields_set.discard(name)
                asked = self.resolved.asked[position]
                more[name] += first.setdefault(name, asked) != asked
        return [
            Finding(
                f"{self._request.place_of(asked)}.{name}",
                _LEFT_OUT + (f" (devices of other users: {more[name]:,})" if more[name] else ""),
            )
            for name, asked in first.items()
        ]


_LEFT_OUT: Final = "left out for the devices whose service has no place for it"
