"""Write the function's logs and metrics, without tokens and texts.

There is one log record for each batch and one metric record for each push service. A metric
counts for that service and for the sum of all, because an alarm cannot search for services.
The log holds the first 12 hex digits of a token's SHA-256, so that a caller who has the token
finds its lines. It never holds texts, or the providers' messages, which may repeat texts.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TextIO

from aws_lambda_powertools.logging import Logger

from push_sender import __version__
from push_sender.delivery.batches import ADDRESSES
from push_sender.delivery.run import Delivered
from push_sender.outcomes.outcome import Outcome
from push_sender.request.model import Recipient
from push_sender.telemetry.metrics import Metric, Unit, records

if TYPE_CHECKING:
    from push_sender.outcomes.outcome import AddressResult
    from push_sender.recipients.resolution import Origin

NAMESPACE: Final = "PushSender"
SERVICE: Final = "push-sender"

_QUIETED: Final = (
    "botocore",
    "urllib3",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.batch",
)
"""Loggers that write whole requests at DEBUG, or errors with a part of a request."""


def token_digest(token: str) -> str:
    """Return the 12 hex digits that stand for a token in the logs."""
    return sha256(token.encode()).hexdigest()[:12]


def _unparsed(message: Any) -> Any:
    """Return a message unchanged: by default, the logger tries to parse each as JSON."""
    return message


def _lines(
    results: Mapping[int, AddressResult],
    recipients: Sequence[Recipient],
    origins: Sequence[Origin | None],
) -> list[dict[str, str | int | None]]:
    """Write the results for the log: a token as its digest, a user by the random references."""
    lines = []
    for position, result in results.items():
        line: dict[str, str | int | None] = {
            "token": token_digest(recipients[position].token),
            "outcome": result.outcome,
            "status_code": result.status_code,
        }
        if result.reason is not None:
            line["reason"] = result.reason
        if result.path is not None:
            line["path"] = result.path
        if origins and (origin := origins[position]) is not None:
            line |= {"user_ref": origin.user_ref, "device_ref": origin.device_ref}
            if origin.device_id is None:
                del line["token"]
        lines.append(line)
    return lines


class _StandardOutput(logging.StreamHandler[TextIO]):
    """Writes to the current ``sys.stdout``, which runtimes and tests replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # read-only, like that of logging.lastResort
        return sys.stdout


class Telemetry:
    """Writes the logs and metrics of one execution environment.

    Powertools' own variables can set the namespace, the service and the log level.
    """

    def __init__(self) -> None:
        self._service = os.environ.get("POWERTOOLS_SERVICE_NAME", SERVICE)
        self._namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", NAMESPACE)
        disabled = os.environ.get("POWERTOOLS_METRICS_DISABLED", "false")
        self._is_disabled = disabled.lower() in ("true", "1")
        self._logger = Logger(
            service=self._service,
            use_rfc3339=True,
            version=__version__,
            logger_handler=_StandardOutput(),
            json_deserializer=_unparsed,
        )
        for name in _QUIETED:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._done: list[Delivered] = []
        self._counts: Counter[str] = Counter()

    def invoked(self, request_id: str) -> None:
        """Begin an invocation; every log record of it has its id."""
        self._logger.append_keys(function_request_id=request_id, sender=None)

    def sent_by(self, sender: str | None) -> None:
        """Name who sent the request that is handled from now on; None is not logged."""
        self._logger.append_keys(sender=sender)

    def delivered(
        self,
        delivered: Delivered,
        recipients: Sequence[Recipient],
        origins: Sequence[Origin | None],
    ) -> None:
        """Log a batch that is done: the outcome, status code and reason of each result."""
        self._done.append(delivered)
        self._logger.info(
            "batch delivered",
            push_service=delivered.batch.service.name,
            calls=delivered.calls,
            results=_lines(delivered.results, recipients, origins),
        )

    def without_call(
        self,
        results: Mapping[int, AddressResult],
        recipients: Sequence[Recipient],
        origins: Sequence[Origin | None],
    ) -> None:
        """Log and count the results of a request with users that no call gives."""
        self._counts.update(result.outcome.value for result in results.values())
        items = list(results.items())
        for at in range(0, len(items), ADDRESSES):  # CloudWatch limits the size of a record
            lines = _lines(dict(items[at : at + ADDRESSES]), recipients, origins)
            self._logger.info("results without a call", results=lines)

    def not_remembered(self, reason: str) -> None:
        """Log and count that the results of a request with a key could not be stored."""
        self.count("SendsNotRemembered", 1)
        self.warn("send not remembered", reason=reason)

    def scheduled(self, schedule_id: str, send_at: str, recipients: int) -> None:
        """Log and count a request that is sent later."""
        self.count(Outcome.SCHEDULED.value, recipients)
        self._logger.info(
            "request scheduled",
            extra={"schedule_id": schedule_id, "send_at": send_at, "recipients": recipients},
        )

    def info(self, message: str, **fields: object) -> None:
        """Log an action. The fields may hold only ids, names and numbers."""
        self._logger.info(message, extra=fields, stacklevel=3)

    def warn(self, message: str, **fields: object) -> None:
        """Log a failure, or something that an operator should look at."""
        self._logger.warning(message, extra=fields, stacklevel=3)

    def count(self, name: str, number: int) -> None:
        """Add to a metric without a push service."""
        self._counts[name] += number

    def flush(self) -> None:
        """Write the invocation's metrics.

        One record for each push service that was used, and one for the other counts.
        """
        by_service: defaultdict[str, list[Delivered]] = defaultdict(list)
        for delivered in self._done:
            by_service[delivered.batch.service.name].append(delivered)
        own = {"service": self._service}
        for push_service, batches in by_service.items():
            self._write(_metrics_of(batches), {"push_service": push_service, **own})
        self._done.clear()
        counts = [Metric(name, Unit.COUNT, [count]) for name, count in self._counts.items()]
        self._write(counts, own)
        self._counts.clear()

    def _write(self, metrics: Sequence[Metric], dimensions: Mapping[str, str]) -> None:
        """Write metrics under all dimensions, and again under ``service`` only."""
        if self._is_disabled:
            return
        sets = [list(dimensions), ["service"]] if len(dimensions) > 1 else [["service"]]
        for record in records(self._namespace, dimensions, sets, metrics):
            print(record)  # noqa: T201  Lambda reads metrics from standard output


@lru_cache(maxsize=1)
def shared_telemetry() -> Telemetry:
    """Return the telemetry of this execution environment.

    A second logger of the same service would have no output.
    """
    return Telemetry()


def _metrics_of(batches: Sequence[Delivered]) -> list[Metric]:
    outcomes = Counter(
        result.outcome for delivered in batches for result in delivered.results.values()
    )
    latencies = [
        round(seconds * 1_000, 1) for delivered in batches for seconds in delivered.call_seconds
    ]
    calls = sum(delivered.calls for delivered in batches)
    retries = sum(max(delivered.calls - 1, 0) for delivered in batches)
    return [
        *(Metric(outcome.value, Unit.COUNT, [pushes]) for outcome, pushes in outcomes.items()),
        Metric("SendMessagesLatency", Unit.MILLISECONDS, latencies),
        Metric("SendMessagesCalls", Unit.COUNT, [calls]),
        Metric("SendMessagesRetries", Unit.COUNT, [retries]),
    ]
