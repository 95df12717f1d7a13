"""The events that Step Functions puts onto the default bus.

Their form is that of the developer guide, "Automating Step Functions event delivery with
EventBridge".
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from moto.events.models import events_backends

from sandbox.step_functions.executions import Execution

_MOST_BYTES: Final = 248 * 1024
"""Of input and output in an event; longer ones are left out."""


def publish(execution: Execution) -> None:
    """Put an event about the status of an execution onto the default bus."""
    region, account = execution.execution_arn.split(":")[3:5]
    entry = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Resources": [execution.execution_arn],
        "Detail": json.dumps(_detail(execution)),
    }
    events_backends[account][region].put_events([entry])


def _detail(execution: Execution) -> dict[str, Any]:
    texts = {"input": execution.execution_input, "output": execution.output}
    included = sum(len((text or "").encode()) for text in texts.values()) <= _MOST_BYTES
    reason = execution.not_redrivable_reason()
    return {
        "executionArn": execution.execution_arn,
        "stateMachineArn": execution.state_machine_arn,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(execution.stop_date),
        "input": texts["input"] if included else None,
        "inputDetails": {"included": included},
        "output": texts["output"] if included else None,
        "outputDetails": None if execution.output is None else {"included": included},
        "error": execution.error,
        "cause": execution.cause,
        "redriveCount": execution.redrive_count,
        "redriveDate": _milliseconds(execution.redrive_date),
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
        "redriveStatusReason": reason,
    }


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)
