"""The places where moto tells subscribers, so that one's failure is nobody else's.

In AWS, Publish, PutLogEvents and PutObject are done once the service has the message; it reaches
each subscriber by itself. moto delivers within the call, and what one subscriber raises fails it:
those after it get nothing, and a client that tries again doubles those before it.
"""

from __future__ import annotations

import logging
from typing import Any

from moto.logs.models import LogStream
from moto.sns.models import Subscription

_logger = logging.getLogger(__name__)


def corrections() -> list[tuple[type, str, Any]]:
    """Make the methods that put this right: the class of moto's, the name, the new one."""
    return [
        (Subscription, "publish", _alone(Subscription.publish)),
        (LogStream, "_send_log_events", _alone(LogStream._send_log_events)),
    ]


def _alone(motos: Any) -> Any:
    def deliver(self: Any, *arguments: Any, **named: Any) -> None:
        try:
            motos(self, *arguments, **named)
        except Exception as failure:  # noqa: BLE001  whatever it is, it is this subscriber's alone
            subscriber = named.get("destination_arn") or getattr(self, "endpoint", "")
            _logger.warning("%s got nothing: %s", subscriber, type(failure).__name__)

    return deliver
