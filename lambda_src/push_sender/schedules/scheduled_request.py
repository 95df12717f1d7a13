"""A request with ``send_at`` as EventBridge Scheduler keeps it until then.

At that time Scheduler puts an event with the request on the queue. The event's id is the
schedule's, and its time is ``send_at``, where the time to live begins.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from push_sender.follow_up.queue_messages import message_body
from push_sender.idempotency.fingerprint import fingerprint, record_id
from push_sender.outcomes.outcome import AddressResult, Outcome
from push_sender.recipients.resolution import Origin
from push_sender.report import Result, result
from push_sender.request.errors import Finding, InvalidRequest
from push_sender.request.model import PushRequest, Recipient, UserRecipient

INPUT_BYTES: Final = 262_144
"""Scheduler's limit for what a target gets: 256 KB (user guide, "Quotas")."""

DETAIL_TYPE: Final = "Push Notification Requested"
SOURCE: Final = "push-sender.schedule"
"""Not that of the function's own events, which are never requests."""

_SCHEDULED: Final = AddressResult(Outcome.SCHEDULED)


class ScheduledRequest(NamedTuple):
    """What a schedule holds.

    Attributes
    ----------
    id
        The name of the schedule.
    fingerprint
        Of the request, without its time.
    expression
        The time, in UTC, as Scheduler writes it.
    text
        What the queue gets at that time.
    """

    id: str
    fingerprint: str
    expression: str
    text: str

    @classmethod
    def of(cls, event: Any, request: PushRequest, application_id: str, key: str | None) -> Self:
        """Write a request for Scheduler.

        Parameters
        ----------
        event, request
            The request as it came, an object, and as it was checked. It has a time.
        application_id
            Its project.
        key
            Its idempotency key. None makes a schedule of its own at each call.

        Raises
        ------
        InvalidRequest
            If it is larger than a schedule can hold.
        """
        moment = datetime.fromisoformat(request.send_at or "").astimezone(UTC)
        id_ = secrets.token_hex(32) if key is None else record_id(application_id, key)
        kept = {name: value for name, value in event.items() if name != "send_at"}
        text = message_body(
            {
                "version": "0",
                "id": id_,
                "detail-type": DETAIL_TYPE,
                "source": SOURCE,
                "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
                # The key is there always, because Scheduler may deliver twice.
                "detail": {**kept, "idempotency_key": key or id_},
            }
        )
        # Scheduler replaces keywords such as <aws.scheduler.execution-id> anywhere in the text.
        text = text.replace("<", "\\u003c")
        if len(text.encode()) > INPUT_BYTES:
            message = (
                "a request for later is larger than 256 KB; split it, or use a job (docs/jobs.md)"
            )
            raise InvalidRequest([Finding("send_at", message)])
        return cls(
            id_,
            fingerprint(request, request.everyone),
            f"at({moment:%Y-%m-%dT%H:%M:%S})",
            text,
        )


def results_of(request: PushRequest, recipients: Sequence[Recipient]) -> list[Result]:
    """Write the result of each recipient of a request for later.

    Parameters
    ----------
    request
        The request.
    recipients
        Its recipients, with a stand-in at the position of each user.
    """
    results = []
    for asked, recipient in zip(request.everyone, recipients, strict=True):
        if isinstance(asked, UserRecipient):  # its devices are found at that time
            written = result(recipient, _SCHEDULED, 0, 0, Origin(asked.user_id))
            written["device_id"] = asked.device_id
        else:
            written = result(recipient, _SCHEDULED, 0, 0)
        results.append(written)
    return results
