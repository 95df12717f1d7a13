"""The upkeep of the registry: what the push services reported about tokens.

EventBridge invokes the devices' function with the events ``Push Token Update`` of the sender.
An event may be late, come twice or out of order: each change has conditions of its own, so that
a repeated or outdated one has no effect. If the registry fails, the invocation fails, Lambda
retries it, and then puts the event into the dead-letter queue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.queue_and_bus import CALL_SECONDS
from push_sender.devices.registry import Registry, TokenReport
from push_sender.entry_points.device_routes import record
from push_sender.entry_points.remaining_time import end_of
from push_sender.follow_up.events import SOURCE, TOKEN_UPDATE
from push_sender.telemetry.log import Telemetry


def is_token_update(event: object) -> bool:
    """Return whether an event is one of the sender about tokens."""
    return (
        isinstance(event, dict)
        and event.get("source") == SOURCE
        and event.get("detail-type") == TOKEN_UPDATE
    )


def apply(
    event: Mapping[str, Any],
    context: LambdaContext,
    registry: Registry,
    *,
    application_ids: Collection[str],
    telemetry: Telemetry,
) -> None:
    """Apply an event to the devices that still have its tokens.

    Raises
    ------
    RegistryUnavailable
        If the table does not answer in time. What was changed until then stays.
    """
    detail = event["detail"]
    project, change = detail["application_id"], detail["change"]
    pushed_at = _utc(event["time"])
    if project not in application_ids or pushed_at is None or change not in _CHANGES:
        telemetry.warn("token update ignored", event_id=event.get("id"))
        return
    deadline = end_of(context) - CALL_SECONDS
    reports = {
        (entry["service"], entry["token"]): TokenReport(
            project, entry["service"], entry["token"], pushed_at, entry.get("replacement_token")
        )
        for entry in detail["tokens"]
    }
    for known in registry.known_tokens(project, reports, deadline=deadline):
        effects = _CHANGES[change](registry, reports[known], deadline=deadline)
        record(telemetry, effects, request_id=detail["request_id"])


_CHANGES: Final = {
    "dead_token": Registry.remove_dead,
    "invalid_token": Registry.flag_invalid,
    "replacement_token": Registry.replace_token,
}


def _utc(time: object) -> str | None:
    """Write the time of an event in UTC, or return None if it has none."""
    try:
        return datetime.fromisoformat(str(time)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return None
