"""The schedule group of the stack: make and cancel one-time schedules.

User guide of EventBridge Scheduler: names have at most 64 characters of ``[0-9a-zA-Z-_.]``, and
no two schedules of a group have the same. A time is precise to the minute.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final, Self

from botocore.exceptions import ClientError

from push_sender.clients.calls import CallError
from push_sender.clients.queue_and_bus import CALL_SECONDS, call_with_retries
from push_sender.request.errors import IdempotencyConflict, SchedulerUnavailable
from push_sender.schedules.scheduled_request import ScheduledRequest

_ID: Final = re.compile(r"[0-9a-f]{64}")

_RETRY_POLICY: Final = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
"""Scheduler's own defaults, which are its maxima: it tries for a day."""


class ScheduleGroup:
    """The schedules of this function.

    Parameters
    ----------
    client
        A client for EventBridge Scheduler.
    name
        The name of the group.
    role_arn
        The role with which Scheduler puts requests on the queue.
    queue_arn
        The queue of requests.
    dead_letter_arn
        The queue for what Scheduler cannot put there; None if there is none.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        role_arn: str,
        queue_arn: str,
        dead_letter_arn: str | None,
    ) -> None:
        self._client = client
        self._name = name
        self._target: dict[str, Any] = {
            "Arn": queue_arn,
            "RoleArn": role_arn,
            "RetryPolicy": _RETRY_POLICY,
        }
        if dead_letter_arn is not None:
            self._target["DeadLetterConfig"] = {"Arn": dead_letter_arn}

    @classmethod
    def of_queues(
        cls,
        client: Any,
        name: str,
        *,
        role_arn: str,
        region: str | None,
        queue_url: str,
        dead_letter_queue_url: str | None,
    ) -> Self:
        """Find the ARNs of the queues: they are in the region, and in the account of the role."""
        _, partition, _, _, account, _ = role_arn.split(":", 5)

        def arn(url: str) -> str:
            return f"arn:{partition}:sqs:{region}:{account}:{url.rpartition('/')[2]}"

        return cls(
            client,
            name,
            role_arn=role_arn,
            queue_arn=arn(queue_url),
            dead_letter_arn=arn(dead_letter_queue_url) if dead_letter_queue_url else None,
        )

    def make(self, request: ScheduledRequest, *, end: float) -> bool:
        """Make a schedule, unless there is the same one.

        Parameters
        ----------
        request
            What to send, and when.
        end
            On ``time.monotonic``: when the last call must have ended.

        Returns
        -------
        bool
            Whether it is new. False if an earlier invocation made it.

        Raises
        ------
        IdempotencyConflict
            If a schedule with this name is for another request or another time.
        SchedulerUnavailable
            If it is not known to be made. To repeat the request with its key is harmless.
        """
        tries = 0

        def create() -> bool:
            nonlocal tries
            tries += 1
            return self._is_created(request)

        if self._call(create, end):
            return True
        if self._call(lambda: self._read(request.id), end) != (
            request.fingerprint,
            request.expression,
        ):
            raise IdempotencyConflict
        return tries > 1  # an own try, whose answer was lost, may have made it

    def cancel(self, schedule_id: str, *, end: float) -> bool:
        """Delete a schedule.

        Parameters
        ----------
        schedule_id
            Its name; any text.
        end
            As for ``make``.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        SchedulerUnavailable
            If it is not known to be deleted.
        """
        if not _ID.fullmatch(schedule_id):
            return False
        tries = 0

        def delete() -> bool:
            nonlocal tries
            tries += 1
            return self._is_deleted(schedule_id)

        return bool(self._call(delete, end)) or tries > 1

    def _is_created(self, request: ScheduledRequest) -> bool:
        try:
            self._client.create_schedule(
                GroupName=self._name,
                Name=request.id,
                Description=request.fingerprint,
                ScheduleExpression=request.expression,
                ScheduleExpressionTimezone="UTC",
                FlexibleTimeWindow={"Mode": "OFF"},
                ActionAfterCompletion="DELETE",
                Target={**self._target, "Input": request.text},
            )
        except ClientError as error:
            return _unless(error, "ConflictException")
        return True

    def _read(self, name: str) -> tuple[str | None, str]:
        """Read the fingerprint and the time of a schedule.

        An answer about another schedule raises an error, as one that cannot be read does.
        """
        found = self._client.get_schedule(GroupName=self._name, Name=name)
        if found["Name"] != name:
            raise ValueError(name)
        return found.get("Description"), found["ScheduleExpression"]

    def _is_deleted(self, schedule_id: str) -> bool:
        try:
            self._client.delete_schedule(GroupName=self._name, Name=schedule_id)
        except ClientError as error:
            return _unless(error, "ResourceNotFoundException")
        return True

    def _call(self, call: Any, end: float) -> Any:
        last_start = end - CALL_SECONDS
        if time.monotonic() > last_start:
            raise SchedulerUnavailable("deadline")
        try:
            return call_with_retries(call, last_start=last_start)
        except CallError as error:
            raise SchedulerUnavailable(error.code) from None


def _unless(error: ClientError, code: str) -> bool:
    """Return False for the error with this code, and raise any other."""
    if error.response.get("Error", {}).get("Code") != code:
        raise error
    return False
