"""What the service itself answers to one push, before anybody made something of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.account import Account, Refusal, call
from operations.nonexistent_devices import Device
from operations.redaction import members

_TEMPORARY_STATUSES = ("THROTTLED", "TEMPORARY_FAILURE")


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer of SendMessages for one made-up token.

    Attributes
    ----------
    device
        Who was pushed to.
    body
        The body of a good answer, as it came; text where it is no JSON.
    refusal
        Why there is none.
    """

    device: Device
    body: object = None
    refusal: Refusal | None = None

    @property
    def result(self) -> object:
        """What it says of the token: a ``MessageResult`` if all is well, None if nothing."""
        return members(members(self.body).get("Result")).get(self.device.token)

    @property
    def delivery_status(self) -> object:
        """The result's, of whatever kind."""
        return members(self.result).get("DeliveryStatus")

    @property
    def status_code(self) -> object:
        """The result's, or that of the call where it was refused."""
        if self.refusal:
            return self.refusal.http_status
        return members(self.result).get("StatusCode")

    @property
    def status_message(self) -> object:
        """The result's."""
        return members(self.result).get("StatusMessage")

    @property
    def is_temporary(self) -> bool:
        """Whether the same push may well be answered otherwise a moment later."""
        if self.refusal:
            status = self.refusal.http_status
            return status is None or status == 429 or status >= 500
        return self.delivery_status in _TEMPORARY_STATUSES

    def shown(self) -> object:
        """Give what there is to show: the result, or all of an answer without one."""
        return self.body if self.result is None else self.result


def ask(account: Account, device: Device, application_id: str, **more: str) -> RawAnswer:
    """Send one push to a made-up token, with the caller's own credentials.

    Parameters
    ----------
    account
        The caller's.
    device
        Who is pushed to.
    application_id
        The project.
    more
        Members of the message beside its text.
    """
    pinpoint = account.client("pinpoint")
    bodies: list[bytes] = []

    def keep(response_dict: dict[str, Any], **_: object) -> None:
        # botocore drops members that its model lacks, and breaks on other shapes. Errors
        # are left to it, for their code.
        if response_dict["status_code"] < 300:
            bodies.append(response_dict["body"])
            response_dict["body"] = b""

    pinpoint.meta.events.register("before-parse.pinpoint.SendMessages", keep)
    answer = call(pinpoint, "send_messages", **device.call(application_id, **more))
    if isinstance(answer, Refusal):
        return RawAnswer(device, refusal=answer)
    return RawAnswer(device, body=read_json(b"".join(bodies)))


def read_json(body: bytes) -> object:
    """Read JSON; whatever is none stays text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


RawAnswers = Mapping[str, RawAnswer]
"""An answer for each service."""
