"""Redrive: move all dead-letter messages back to the queue.

SQS moves the messages itself. Each is a request with its own key, so a request that was already
sent within the day, for example by an earlier redrive, is not sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from operations.account import Account, FailedCall, OperationsError, call
from operations.deployed import find_stack
from operations.json_values import as_dict, as_list
from operations.redaction import one_line

_NEEDED: Final = ("DeadLetterQueueArn", "QueueArn")
_POLL_SECONDS: Final = 1.0
_ENDED: Final = ("COMPLETED", "FAILED", "CANCELLED")


def redrive(stack_name: str, sender: str | None, on_progress: Callable[[str], None]) -> bool:
    """Move a stack's dead-letter messages back to its queue, and wait for the end.

    Parameters
    ----------
    stack_name
        Its name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.
    on_progress
        Gets a line about each step. Ctrl-C ends the waiting, not the move.

    Returns
    -------
    bool
        Whether all messages were moved.

    Raises
    ------
    OperationsError
        If the stack does not exist, or the move cannot start.
    """
    account = Account()
    outputs = find_stack(account, stack_name, _NEEDED, sender).outputs
    source = outputs["DeadLetterQueueArn"]
    queues = account.client("sqs")
    # A message that a program put there has no source queue, so the destination is named.
    started = call(
        queues, "start_message_move_task", SourceArn=source, DestinationArn=outputs["QueueArn"]
    )
    if isinstance(started, FailedCall):
        raise OperationsError(f"The dead-letter messages cannot be moved: {started.with_cure}")
    on_progress(
        f"Moving the dead-letter messages of {stack_name} back to its queue. "
        "After Ctrl-C, SQS continues."
    )
    shown = ""
    while True:
        task = _latest_task(queues, source)
        if (line := _progress(task)) != shown:
            on_progress(line)
            shown = line
        if task.get("Status") in _ENDED:
            return task.get("Status") == "COMPLETED"
        time.sleep(_POLL_SECONDS)


def _latest_task(queues: Any, source: str) -> Mapping[str, Any]:
    listed = call(queues, "list_message_move_tasks", SourceArn=source, MaxResults=1)
    if isinstance(listed, FailedCall):
        raise OperationsError(
            f"The move has started, but its progress is unknown: {listed.with_cure}"
        )
    return as_dict(next(iter(as_list(listed.get("Results"))), None))


def _progress(task: Mapping[str, Any]) -> str:
    moved = task.get("ApproximateNumberOfMessagesMoved", 0)
    total = task.get("ApproximateNumberOfMessagesToMove")
    status = one_line(task.get("Status", "of no status"), 60).lower()
    reason = f": {one_line(task['FailureReason'], 200)}" if task.get("FailureReason") else ""
    return f"{status}: {moved}{'' if total is None else f' of {total}'} moved{reason}"
