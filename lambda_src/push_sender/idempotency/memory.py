"""How long and how fully the outcomes of a request are kept under its key."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from push_sender.outcomes.outcome import Outcome

_DAY_SECONDS: Final = 24 * 3_600


class Memory(NamedTuple):
    """How the outcomes of a request are kept.

    Attributes
    ----------
    seconds
        For how long.
    has_message_ids
        Whether the ids of the messages are kept, which are most of a record.
    again
        The outcomes that do not stand for a later run: it sends to these recipients again.
        If there are any, it is also kept which recipients were requeued.
    """

    seconds: int = _DAY_SECONDS
    has_message_ids: bool = True
    again: Collection[Outcome] = ()


A_DAY: Final = Memory()

PART_OF_JOB: Final = Memory(30 * _DAY_SECONDS, has_message_ids=False)
"""Of a requeued part of a job's rows. A job may be redriven for 14 days and queue a part again."""

ROWS_OF_JOB: Final = PART_OF_JOB._replace(
    again=frozenset({Outcome.MISCONFIGURED, Outcome.UNSENT, Outcome.TRANSIENT})
)
"""Of some rows of a job: a redrive sends again what may succeed now. A transient outcome that is
requeued is kept as such, and one without a queue stays transient."""
