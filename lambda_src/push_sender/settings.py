"""What the function's environment says, read at an invocation and never at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_OF_THE_SDK: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_PINPOINT",
    "AWS_ENDPOINT_URL_SQS",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's settings.

    Attributes
    ----------
    application_ids
        The projects that may be used; the first is the default. ``APPLICATION_IDS``,
        separated by commas.
    send_concurrency
        Calls under way at once in one invocation, at most. ``SEND_CONCURRENCY``. The
        account's quota of calls is shared by all running copies of the function.
    region
        ``AWS_REGION``, which Lambda sets, else ``AWS_DEFAULT_REGION``.
    idempotency_table
        The DynamoDB table that remembers keys. ``IDEMPOTENCY_TABLE``. This and the next
        three: None where the variable is missing or empty; that ability is off then.
    queue_url
        Where what could not be sent now goes. ``QUEUE_URL``.
    dead_letter_queue_url
        Where what cannot be sent ends. ``DEAD_LETTER_QUEUE_URL``.
    event_bus_name
        Where events go. ``EVENT_BUS_NAME``.
    sdk
        What the SDK reads for itself. Here only so that a change makes a new client.
    """

    application_ids: tuple[str, ...]
    send_concurrency: int = 16
    region: str | None = None
    idempotency_table: str | None = None
    queue_url: str | None = None
    dead_letter_queue_url: str | None = None
    event_bus_name: str | None = None
    sdk: tuple[str | None, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings.

        Raises
        ------
        ValueError
            If ``SEND_CONCURRENCY`` is not a whole number from 1 up.
        """
        ids = environment.get("APPLICATION_IDS", "").split(",")
        concurrency = environment.get("SEND_CONCURRENCY", "16")
        if not concurrency.isdecimal() or int(concurrency) < 1:
            raise ValueError("SEND_CONCURRENCY must be a whole number from 1 up")
        return cls(
            application_ids=tuple(name.strip() for name in ids if name.strip()),
            send_concurrency=int(concurrency),
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            idempotency_table=environment.get("IDEMPOTENCY_TABLE") or None,
            queue_url=environment.get("QUEUE_URL") or None,
            dead_letter_queue_url=environment.get("DEAD_LETTER_QUEUE_URL") or None,
            event_bus_name=environment.get("EVENT_BUS_NAME") or None,
            sdk=tuple(environment.get(name) for name in _OF_THE_SDK),
        )
