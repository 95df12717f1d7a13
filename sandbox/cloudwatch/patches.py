"""The patches of moto's CloudWatch Logs."""

from __future__ import annotations

from typing import Final

from moto.logs.models import LogStream

from sandbox.patches import Patch, isolated

PATCHES: Final = (Patch(LogStream, "_send_log_events", isolated(LogStream._send_log_events)),)
