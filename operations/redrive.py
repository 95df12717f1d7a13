"""Sending dead letters again: all that the dead-letter queue holds goes back to the queue.

SQS moves the messages itself. Each is a request under a key of its own, so that one that was
sent within the day, by a redrive before, say, is not sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from operations.account import Account, OperationsError, Refusal, call
from operations.deployed import find_stack
from operations.redaction import items, members, one_line

_NEEDED: Final = ("DeadLetterQueueArn", "QueueArn")
_LOOK_SECONDS: Final = 1.0
_ENDED: Final = ("COMPLETED", "FAILED", "CANCELLED")


def redrive(stack_name: str, sender: str | None, tell: Callable[[str], None]) -> bool:
    """Move a stack's dead letters back into its queue, and wait until it is done.

    Parameters
    ----------
    stack_name
        CloudFormation's.
    sender
        How the keys of its outputs begin, where a stack has several push senders.
    tell
        Is told what is being done. Ctrl-C ends the waiting, not the move.

    Returns
    -------
    bool
        Whether all were moved.

    Raises
    ------
    OperationsError
        If there is no such stack, or the move cannot be started.
    """
    account = Account()
    outputs = find_stack(account, stack_name, _NEEDED, sender).outputs
    source = outputs["DeadLetterQueueArn"]
    queues = account.client("sqs")
    # Messages that a program put there have no queue that they came from, so it is named.
    started = call(
        queues, "start_message_move_task", SourceArn=source, DestinationArn=outputs["QueueArn"]
    )
    if isinstance(started, Refusal):
        raise OperationsError(f"The dead letters cannot be moved: {started.told}")
    tell(f"Moving the dead letters of {stack_name} back into its queue. Ctrl-C: it goes on.")
    told = ""
    while True:
        task = _latest_task(queues, source)
        if (now := _progress(task)) != told:
            tell(now)
            told = now
        if task.get("Status") in _ENDED:
            return task.get("Status") == "COMPLETED"
        time.sleep(_LOOK_SECONDS)


def _latest_task(queues: Any, source: str) -> Mapping[str, Any]:
    listed = call(queues, "list_message_move_tasks", SourceArn=source, MaxResults=1)
    if isinstance(listed, Refusal):
        raise OperationsError(f"The move was started; nobody tells how it goes: {listed.told}")
    return members(next(iter(items(listed.get("Results"))), None))


def _progress(task: Mapping[str, Any]) -> str:
    moved = task.get("ApproximateNumberOfMessagesMoved", 0)
    of = task.get("ApproximateNumberOfMessagesToMove")
    status = one_line(task.get("Status", "of no status"), 60).lower()
    why = f": {one_line(task['FailureReason'], 200)}" if task.get("FailureReason") else ""
    return f"{status}: {moved}{'' if of is None else f' of {of}'} moved{why}"
