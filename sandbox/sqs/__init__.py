"""What moto's SQS lacks: whole queues under many threads, and moves out of a dead-letter queue."""

from __future__ import annotations

from sandbox.sqs import moves, patches


def install() -> None:
    """Put this into moto's SQS; twice does no more than once."""
    patches.install()
    moves.install()
