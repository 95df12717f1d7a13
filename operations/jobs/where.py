"""The stack that has the jobs, and commands for it to copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """The stack that has the jobs.

    Attributes
    ----------
    stack
        Its name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.
    """

    stack: str
    sender: str | None

    def command(self, verb: str, name: str | None = None, more: str = "") -> str:
        """Write a command to copy."""
        words = verb if name is None else f"{verb} {name}"
        options = "" if self.stack == "push-sender" else f" --stack {self.stack}"
        options += f" --sender {self.sender}" if self.sender else ""
        return f".venv/bin/python -m operations job {words}{options}{more}"
