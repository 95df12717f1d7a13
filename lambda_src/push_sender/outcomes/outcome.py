"""The outcomes of a recipient, and what one answer means for one address."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple


class Outcome(StrEnum):
    """The class of one recipient's result. The caller branches on it.

    ``docs/reference/outcomes.md`` is generated from the texts below: the meaning, what the
    caller does, and where the recipient ends if no caller waits.
    """

    ACCEPTED = "accepted"
    """The provider accepted the push. This does not prove that a phone displayed it.

    Do: Store `replacement_token` if there is one.

    Ends: The log. A `replacement_token` is in `Push Token Update`.
    """

    DEAD_TOKEN = "dead_token"  # noqa: S105  an outcome, no secret
    """The app is no longer on the device. Only a provider's code that says exactly that counts.

    Do: Delete the token.

    Ends: `Push Token Update`.
    """

    INVALID_TOKEN = "invalid_token"  # noqa: S105  an outcome, no secret
    """The token is malformed, or it belongs to the other APNs environment.

    Do: Keep it and check the other environment.

    Ends: `Push Token Update`.
    """

    MISCONFIGURED = "misconfigured"
    """The operator's side is wrong: channel, credentials, topic, sender, project or permission.

    Do: Keep the token, it is fine. Ask the operator to correct the error, then send again.

    Ends: The dead-letter queue, with `reason` `misconfigured`, until the operator redrives it.
    """

    REJECTED = "rejected"
    """The provider refused the message itself.

    Do: Correct the message.

    Ends: `Push Delivery Failed`.
    """

    OPTED_OUT = "opted_out"
    """The user opted out, according to the API.

    Do: Nothing.

    Ends: The log.
    """

    DUPLICATE = "duplicate"
    """The address was already used, according to the API or the request's own list.

    Do: Nothing.

    Ends: The log.
    """

    TRANSIENT = "transient"
    """Throttled, or a temporary failure, after all retries.

    Do: Send again later.

    Ends: The queue again, up to six times; then the dead-letter queue, with `reason` `transient`.
    With a `ttl` of 0: `Push Delivery Failed`, at once.
    """

    UNKNOWN = "unknown"
    """There is no usable answer. The push may have arrived.

    Do: Decide whether to send again.

    Ends: `Push Delivery Failed`.
    """

    UNSENT = "unsent"
    """Never tried. `reason` is `deadline`, `expired` (the `ttl` ended) or `dry_run`.

    Do: After `deadline` send again. After `expired` it is no longer useful.

    Ends: `deadline`: as `transient`. `expired`: `Push Delivery Failed`. `dry_run`: the log.
    """

    NO_DEVICE = "no_device"
    """The user has no device for this push. `reason` says why: `none_registered`, `opted_out`,
    `filtered` (by `device_filter`), `invalid` (a token that a push found invalid) or `moved` (the
    device is no longer the user's).

    Do: Nothing, or reach the user in another way.

    Ends: The log.
    """

    SCHEDULED = "scheduled"
    """The request is sent at the time of its `send_at`. The report has its `schedule_id`.

    Do: Nothing. `DELETE /schedules/{schedule_id}` cancels it.

    Ends: The log. At that time the queue gets the request.
    """

    REQUEUED = "requeued"
    """The recipient is in the queue.

    Do: Nothing. Events report the final outcome.

    Ends: The log, and the queue.
    """


class AddressResult(NamedTuple):
    """The result of one address, as one answer gives it.

    Attributes
    ----------
    path
        Of the field whose rule the message breaks, as in a validation error; only in the log.
    """

    outcome: Outcome
    delivery_status: str | None = None
    status_code: int | None = None
    reason: str | None = None
    status_message: str | None = None
    message_id: str | None = None
    replacement_token: str | None = None
    path: str | None = None


class Refusal(Enum):
    """Why the service refused a whole call before it asked any provider."""

    THROTTLED = auto()
    REFUSED = auto()


NO_ANSWER: Final = AddressResult(Outcome.UNKNOWN)
