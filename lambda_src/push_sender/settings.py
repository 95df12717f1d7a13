"""The function's settings, read from the environment at an invocation and never at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

_SDK_VARIABLES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_PINPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SQS",
)

_ONE_CPU_MB: Final = 1_769
"""The memory at which Lambda gives one CPU; with less memory it gives a share of one (Lambda
Developer Guide, "Configure Lambda function memory"). A second CPU would not help here."""

_DEFAULT_MEMORY_MB: Final = 512
"""The stack's default memory, which is also assumed outside Lambda."""

_MB_PER_CALL: Final = 32
"""Memory for each concurrent call. At every CPU share, this is enough calls to keep the CPU busy
while others wait (docs/performance.md). More calls would only be lost when a process is killed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's settings.

    Attributes
    ----------
    application_ids
        The projects that may be used; the first is the default. ``APPLICATION_IDS``,
        separated by commas.
    send_concurrency
        Maximum number of concurrent calls in one invocation. ``SEND_CONCURRENCY``; if that is
        missing, it follows from the memory. All running copies share the account's quota.
    region
        ``AWS_REGION``, which Lambda sets, or else ``AWS_DEFAULT_REGION``.
    idempotency_table
        The DynamoDB table of idempotency keys. ``IDEMPOTENCY_TABLE``. This and the next three
        are None if the variable is missing or empty; the feature is then off.
    queue_url
        The queue for recipients that could not be sent now. ``QUEUE_URL``.
    dead_letter_queue_url
        The queue for requests and recipients that cannot be sent. ``DEAD_LETTER_QUEUE_URL``.
    event_bus_name
        The bus for events. ``EVENT_BUS_NAME``.
    devices_table
        The table of the registry of devices. ``DEVICES_TABLE``; None if there is no registry.
    message_key
        The key that proves which messages the function wrote. ``MESSAGE_KEY``; if that is
        missing, the queues' URLs, which is weaker: a producer knows at least one of them.
        Empty without queues; then no proof is accepted.
    sdk
        Variables that the SDK reads itself. Listed so that a change creates a new client.
    """

    application_ids: tuple[str, ...]
    send_concurrency: int
    region: str | None = None
    idempotency_table: str | None = None
    queue_url: str | None = None
    dead_letter_queue_url: str | None = None
    event_bus_name: str | None = None
    devices_table: str | None = None
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
            send_concurrency=_send_concurrency(environment),
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            idempotency_table=environment.get("IDEMPOTENCY_TABLE") or None,
            queue_url=queues[0] or None,
            dead_letter_queue_url=queues[1] or None,
            event_bus_name=environment.get("EVENT_BUS_NAME") or None,
            devices_table=environment.get("DEVICES_TABLE") or None,
            message_key=(environment.get("MESSAGE_KEY") or " ".join(filter(None, queues))).encode(),
            sdk=tuple(environment.get(name) for name in _SDK_VARIABLES),
        )


class ScheduleSettings(NamedTuple):
    """The settings for requests with ``send_at``, which are read only for such a request.

    Attributes
    ----------
    group
        The group of schedules. ``SCHEDULE_GROUP``.
    role_arn
        The role with which Scheduler puts requests on the queue. ``SCHEDULE_ROLE_ARN``.
    endpoint
        Read by the SDK itself, as ``Settings.sdk``.
    """

    group: str
    role_arn: str
    endpoint: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Read the settings. None if one of the first two is missing or empty."""
        group, role_arn = environment.get("SCHEDULE_GROUP"), environment.get("SCHEDULE_ROLE_ARN")
        if not (group and role_arn):
            return None
        return cls(group, role_arn, environment.get("AWS_ENDPOINT_URL_SCHEDULER"))


def _send_concurrency(environment: Mapping[str, str]) -> int:
    configured = environment.get("SEND_CONCURRENCY")
    if configured is None:
        memory_mb = int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", _DEFAULT_MEMORY_MB))
        return max(min(memory_mb, _ONE_CPU_MB) // _MB_PER_CALL, 1)
    if not configured.isdecimal() or int(configured) < 1:
        raise ValueError("SEND_CONCURRENCY must be a whole number from 1 up")
    return int(configured)
