"""The patches of moto's EventBridge."""

from __future__ import annotations

from moto.events.models import EventsBackend, Rule

from sandbox.events import delivery
from sandbox.patches import Patch


def patches(invoke_later: delivery.InvokeLater) -> list[Patch]:
    """List the patches with which moto's rules deliver to queues and functions.

    Parameters
    ----------
    invoke_later
        Runs a function in the background.
    """
    return [
        Patch(Rule, "send_to_targets", delivery.sending(invoke_later)),
        Patch(EventsBackend, "put_targets", delivery.put_targets),
        Patch(EventsBackend, "put_events", delivery.put_events),
    ]
