"""The patches of moto's CloudWatch and CloudWatch Logs."""

from __future__ import annotations

from functools import wraps
from typing import Any, Final

from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.logs.models import LogStream

from sandbox.patches import Patch, isolated


def _in_the_state(original: Any) -> Any:
    """Also filter by state alarms that are named, which moto does not do."""

    @wraps(original)
    def describe_alarms(self: CloudWatchResponse) -> ActionResult:
        found: Any = original(self).result
        state = self._get_param("StateValue")
        return ActionResult(
            {
                kind: [each for each in alarms if state in (None, each.state_value)]
                for kind, alarms in found.items()
            }
        )

    return describe_alarms


PATCHES: Final = (
    Patch(LogStream, "_send_log_events", isolated(LogStream._send_log_events)),
    Patch(CloudWatchResponse, "describe_alarms", _in_the_state(CloudWatchResponse.describe_alarms)),
)
