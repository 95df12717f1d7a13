"""What is logged and counted, and what never is.

One log record a batch, one metric record a push service, which counts for that service and
for the sum of all: alarms cannot search for the services there are. Tokens appear as the
first 12 hex digits of their SHA-256, so that a caller who has a token finds its lines; texts
and the providers' messages, which may repeat texts, never appear.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TextIO

from aws_lambda_powertools.logging import Logger

from push_sender import __version__
from push_sender.delivery.run import Delivered
from push_sender.request.model import Recipient
from push_sender.telemetry.metrics import Metric, Unit, records

NAMESPACE: Final = "PushSender"
SERVICE: Final = "push-sender"

_TALKATIVE: Final = (
    "botocore",
    "urllib3",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.batch",
)
"""Loggers that write whole requests at DEBUG, or errors that hold a part of one."""


def token_digest(token: str) -> str:
    """Give the 12 hex digits that stand for a token in the logs."""
    return sha256(token.encode()).hexdigest()[:12]


def _as_it_is(message: Any) -> Any:
    """Leave a message alone: the logger would try to read each as JSON, and none of ours is."""
    return message


class _StandardOutput(logging.StreamHandler[TextIO]):
    """Writes where ``print`` writes now: runtimes and tests replace that stream."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # read-only on purpose, as logging's own lastResort
        return sys.stdout


class Telemetry:
    """Writes the logs and metrics of one execution environment.

    Namespace, service and log level can be set by Powertools' own variables.
    """

    def __init__(self) -> None:
        self._service = os.environ.get("POWERTOOLS_SERVICE_NAME", SERVICE)
        self._namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", NAMESPACE)
        silence = os.environ.get("POWERTOOLS_METRICS_DISABLED", "false")
        self._is_silent = silence.lower() in ("true", "1")
        self._logger = Logger(
            service=self._service,
            use_rfc3339=True,
            version=__version__,
            logger_handler=_StandardOutput(),
            json_deserializer=_as_it_is,
        )
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._done: list[Delivered] = []
        self._counts: Counter[str] = Counter()

    def invoked(self, request_id: str) -> None:
        """Begin an invocation: every log record will name it."""
        self._logger.append_keys(function_request_id=request_id)

    def delivered(self, delivered: Delivered, recipients: Sequence[Recipient]) -> None:
        """Log a batch that is done: each result as outcome, code and closed-list reason."""
        self._done.append(delivered)
        results = []
        for position, verdict in delivered.verdicts.items():
            line: dict[str, str | int | None] = {
                "token": token_digest(recipients[position].token),
                "outcome": verdict.outcome,
                "status_code": verdict.status_code,
            }
            if verdict.reason is not None:
                line["reason"] = verdict.reason
            results.append(line)
        self._logger.info(
            "batch delivered",
            push_service=delivered.batch.service.name,
            calls=delivered.calls,
            results=results,
        )

    def not_remembered(self, reason: str) -> None:
        """Log and count that what became of a request with a key was not written down."""
        self.count("SendsNotRemembered", 1)
        self.warn("send not remembered", reason=reason)

    def tell(self, message: str, **fields: object) -> None:
        """Log what an entry point did. The fields hold ids, names and numbers only."""
        self._logger.info(message, extra=fields, stacklevel=3)

    def warn(self, message: str, **fields: object) -> None:
        """Log what an entry point could not do, or what somebody should look at."""
        self._logger.warning(message, extra=fields, stacklevel=3)

    def count(self, name: str, number: int) -> None:
        """Add to a metric that is of no one push service."""
        self._counts[name] += number

    def flush(self) -> None:
        """Write the invocation's metrics.

        One record for each push service that was sent to, and one for what the entry points did.
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
        """Write metrics, to be found by all dimensions and by the function's name alone."""
        if self._is_silent:
            return
        sets = [list(dimensions), ["service"]] if len(dimensions) > 1 else [["service"]]
        for record in records(self._namespace, dimensions, sets, metrics):
            print(record)  # noqa: T201  where Lambda reads metrics from


def _metrics_of(batches: Sequence[Delivered]) -> list[Metric]:
    outcomes = Counter(
        verdict.outcome for delivered in batches for verdict in delivered.verdicts.values()
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
