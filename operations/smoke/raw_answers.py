"""The push service's own answer to one push, without the function in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.account import Account, FailedCall, call
from operations.json_values import as_dict, read_json
from operations.smoke.nonexistent_devices import Device

_TEMPORARY_STATUSES = ("THROTTLED", "TEMPORARY_FAILURE")


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer of SendMessages for one invented token.

    Attributes
    ----------
    device
        The recipient.
    body
        The body of a successful answer; text if it is not JSON.
    error
        Why there is no such answer.
    """

    device: Device
    body: object = None
    error: FailedCall | None = None

    @property
    def result(self) -> object:
        """The token's result: usually a ``MessageResult``, None if it is missing."""
        return as_dict(as_dict(self.body).get("Result")).get(self.device.token)

    @property
    def delivery_status(self) -> object:
        """Of the result; JSON of any kind."""
        return as_dict(self.result).get("DeliveryStatus")

    @property
    def status_code(self) -> object:
        """Of the result, or of the call if that was refused."""
        if self.error:
            return self.error.http_status
        return as_dict(self.result).get("StatusCode")

    @property
    def status_message(self) -> object:
        """Of the result; JSON of any kind."""
        return as_dict(self.result).get("StatusMessage")

    @property
    def is_temporary(self) -> bool:
        """Whether the same push may get another answer a moment later."""
        if self.error:
            status = self.error.http_status
            return status is None or status == 429 or status >= 500
        return self.delivery_status in _TEMPORARY_STATUSES

    def shown(self) -> object:
        """Return what a person should see: the result, or the whole answer if it has none."""
        return self.body if self.result is None else self.result


def push(account: Account, device: Device, application_id: str, **more: str) -> RawAnswer:
    """Send one push to an invented token, with the caller's own credentials.

    Parameters
    ----------
    account
        The caller's.
    device
        The recipient.
    application_id
        The project.
    more
        Further members of the message.
    """
    pinpoint = account.client("pinpoint")
    bodies: list[bytes] = []

    def keep(response_dict: dict[str, Any], **_: object) -> None:
        # botocore drops members that its model lacks, and fails on other shapes. It still
        # parses errors, for their code.
        if response_dict["status_code"] < 300:
            bodies.append(response_dict["body"])
            response_dict["body"] = b""

    pinpoint.meta.events.register("before-parse.pinpoint.SendMessages", keep)
    answer = call(pinpoint, "send_messages", **device.call(application_id, **more))
    if isinstance(answer, FailedCall):
        return RawAnswer(device, error=answer)
    return RawAnswer(device, body=read_json(b"".join(bodies)))


RawAnswers = Mapping[str, RawAnswer]
"""The answer of each service, by its name."""
