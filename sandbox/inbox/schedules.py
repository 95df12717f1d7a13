"""Read the schedules that have not fired, as far as the inbox shows them.

A schedule of the function holds an event with a request for its queue. One of a job holds a call of
Step Functions, with the job's input. Any program can have made any other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

_LISTED: Final = 500
_TEXTS: Final = ("title", "message")


def listing() -> dict[str, Any]:
    """List the schedules of all accounts and regions, the next one first.

    Returns
    -------
    dict
        ``count``, the number of schedules; and the first of them as ``schedules``, each with its
        time in UTC, group and name; ``job``, the name of the job that it starts; how many
        ``recipients`` its request has (a job has a file of them); and the texts of the request.
    """
    kept = sorted(_schedules(), key=lambda each: (each.due, each.group_name, each.name))
    return {"count": len(kept), "schedules": [_row(each) for each in kept[:_LISTED]]}


def _schedules() -> Iterator[Any]:
    # Not imported: the inbox alone has no Scheduler.
    models = sys.modules.get("moto.scheduler.models")
    if models is None:
        return
    # Copies, because other threads write.
    for _, _, backend in list(models.scheduler_backends.iter_backends()):
        # While moto resets a backend, its vars are empty for a moment.
        for group in list(vars(backend).get("schedule_groups", {}).values()):
            for schedule in list(group.schedules.values()):
                is_pending = not getattr(schedule, "fired", True)
                if is_pending and schedule.due is not None and schedule.state == "ENABLED":
                    yield schedule


def _row(schedule: Any) -> dict[str, Any]:
    content = _object(schedule.target.get("Input"))
    document = _object(content.get("Input"))
    is_job = "StateMachineArn" in content
    request = _members((document if is_job else content).get("request" if is_job else "detail"))
    at = datetime.fromtimestamp(schedule.due, UTC)
    return {
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "group": schedule.group_name,
        "name": schedule.name,
        "job": _text(content.get("Name")) if is_job else None,
        "recipients": None if is_job else _recipients(request),
        **{name: _text(request.get(name)) for name in _TEXTS},
    }


def _recipients(request: Mapping[str, Any]) -> int:
    several = request.get("recipients")
    return len(several) if isinstance(several, list) else int("recipient" in request)


def _object(text: Any) -> Mapping[str, Any]:
    try:
        return _members(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return {}


def _members(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
