"""What moto's SQS lacks: whole queues under many threads, and moves out of a dead-letter queue."""

from __future__ import annotations

from sandbox.queues import in_moto, moves


def install() -> None:
    """Put this into moto's SQS; twice does no more than once."""
    in_moto.install()
    moves.install()
