"""moto's schedules, which know when they are due."""

from __future__ import annotations

from collections.abc import Iterator
from threading import RLock
from typing import Any, Final

from moto.core.base_backend import backend_lock
from moto.scheduler.models import EventBridgeSchedulerBackend, scheduler_backends
from moto.scheduler.models import Schedule as MotoSchedule

from sandbox.scheduler.expressions import due_time

LOCK: Final = RLock()
"""Held by each request and while due schedules fire. So a schedule whose deletion was answered
does not fire."""


class Schedule(MotoSchedule):
    """A one-time schedule. moto makes one for each CreateSchedule and UpdateSchedule.

    Attributes
    ----------
    due
        In Unix seconds; None if it never comes.
    fired
        Whether its time has come.
    """

    def __init__(self, *, region: str, account_id: str, **others: Any) -> None:
        super().__init__(region=region, account_id=account_id, **others)
        self._backend: EventBridgeSchedulerBackend = scheduler_backends[account_id][region]
        self.action_after_completion = self.action_after_completion or "NONE"
        self.due = due_time(self.schedule_expression, self.schedule_expression_timezone)
        self.fired = False

    def is_kept(self) -> bool:
        """Return whether it was neither deleted nor changed."""
        return self._siblings().get(self.name) is self

    def remove(self) -> None:
        """Delete it."""
        self._siblings().pop(self.name, None)

    def _siblings(self) -> dict[str, MotoSchedule]:
        group = _groups(self._backend).get(self.group_name)
        return group.schedules if group else {}


def take_due(now: float) -> list[Schedule]:
    """Return the schedules whose time has come, each once. The caller holds the lock."""
    due = [
        schedule
        for schedule in _schedules()
        if not schedule.fired
        and schedule.state == "ENABLED"
        and schedule.due is not None
        and schedule.due <= now
    ]
    for schedule in due:
        schedule.fired = True
    return due


def _schedules() -> Iterator[Schedule]:
    with backend_lock:
        backends: list[Any] = [backend for _, _, backend in scheduler_backends.iter_backends()]
    for backend in backends:
        for group in list(_groups(backend).values()):
            yield from list(group.schedules.values())


def _groups(backend: EventBridgeSchedulerBackend) -> dict[str, Any]:
    # While moto resets a backend, its vars are empty for a moment.
    groups: dict[str, Any] = vars(backend).get("schedule_groups", {})
    return groups
