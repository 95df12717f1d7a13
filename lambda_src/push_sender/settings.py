"""What the function's environment says, read at an invocation and never at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_OF_THE_SDK: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_PINPOINT",
    "AWS_ENDPOINT_URL_SQS",
)

_WHOLE_CPU_MB: Final = 1_769
"""The memory that comes with one CPU; with less comes a share of one (Lambda Developer Guide,
"Configure Lambda function memory"). Nothing here gains from a second one."""

_DEPLOYED_MB: Final = 512
"""What the function has unless it is given more: its settings outside Lambda are as if it had."""

_CALL_MB: Final = 32
"""One call at once for each so many: enough to fill the CPU while the others wait, at every
share of it (docs/performance.md). More would only have more under way when a process is ended."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's settings.

    Attributes
    ----------
    application_ids
        The projects that may be used; the first is the default. ``APPLICATION_IDS``,
        separated by commas.
    send_concurrency
        Calls under way at once in one invocation, at most. ``SEND_CONCURRENCY``, else by the
        function's memory. The account's quota of calls is shared by all running copies.
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
    message_key
        Proves which messages the function wrote. ``MESSAGE_KEY``; where that is missing, the
        queues' URLs, which is weaker: a producer knows at least one of them. Empty without
        queues; then no message's proof is believed.
    sdk
        What the SDK reads for itself. Here only so that a change makes a new client.
    """

    application_ids: tuple[str, ...]
    send_concurrency: int
    region: str | None = None
    idempotency_table: str | None = None
    queue_url: str | None = None
    dead_letter_queue_url: str | None = None
    event_bus_name: str | None = None
    message_key: bytes = field(default=b"", repr=False)
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
        queues = [environment.get("QUEUE_URL"), environment.get("DEAD_LETTER_QUEUE_URL")]
        return cls(
            application_ids=tuple(name.strip() for name in ids if name.strip()),
            send_concurrency=_calls_at_once(environment),
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            idempotency_table=environment.get("IDEMPOTENCY_TABLE") or None,
            queue_url=queues[0] or None,
            dead_letter_queue_url=queues[1] or None,
            event_bus_name=environment.get("EVENT_BUS_NAME") or None,
            message_key=(environment.get("MESSAGE_KEY") or " ".join(filter(None, queues))).encode(),
            sdk=tuple(environment.get(name) for name in _OF_THE_SDK),
        )


def _calls_at_once(environment: Mapping[str, str]) -> int:
    told = environment.get("SEND_CONCURRENCY")
    if told is None:
        memory_mb = int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", _DEPLOYED_MB))
        return max(min(memory_mb, _WHOLE_CPU_MB) // _CALL_MB, 1)
    if not told.isdecimal() or int(told) < 1:
        raise ValueError("SEND_CONCURRENCY must be a whole number from 1 up")
    return int(told)
