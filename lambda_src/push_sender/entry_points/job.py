"""The entry point for the steps of a job, which its state machine calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.entry_points.remaining_time import end_of
from push_sender.follow_up.destinations import FollowUp
from push_sender.jobs.child import Stores
from push_sender.jobs.index_step import IndexStep
from push_sender.jobs.objects import Objects
from push_sender.jobs.plan import Plan, RowRange
from push_sender.jobs.progress import Progress
from push_sender.jobs.rows_step import RowsStep
from push_sender.request.errors import Finding, InvalidRequest, UnlistedFindings, that_fit
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry

ERROR_CHARACTERS: Final = 16_000
"""Limit of the text of an ``InvalidRequest``. Step Functions keeps 32,768 characters of a cause
(API Reference, "TaskFailedEventDetails"), which also holds the stack."""


ALIAS: Final = "jobs"
"""The alias that only the state machine may invoke. Callers of ``live`` could write any step."""

_NOT_A_STEP: Final = Finding(
    "job_step", "only the state machine of jobs asks for a step; start a job: docs/jobs.md"
)


class Jobs:
    """Makes the steps of jobs.

    Parameters
    ----------
    sender, follow_up, telemetry
        Send, follow up and log.
    objects, progress
        The objects of S3, and the progress of jobs.
    application_ids
        The projects that may be used; the first is the default.
    has_registry
        Whether there is a registry of devices.
    """

    def __init__(
        self,
        sender: Sender,
        follow_up: FollowUp,
        *,
        objects: Objects,
        progress: Progress,
        telemetry: Telemetry,
        application_ids: Sequence[str],
        has_registry: bool,
    ) -> None:
        self._sender = sender
        self._follow_up = follow_up
        self._objects = objects
        self._progress = progress
        self._telemetry = telemetry
        self._application_ids = application_ids
        self._has_registry = has_registry

    def step(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Make one step.

        Raises
        ------
        InvalidRequest
            If another than the state machine asks, if the step is not known, or if what it needs
            is missing.
        Exception
            As ``IndexStep.run`` and ``RowsStep.run``.
        """
        if context.invoked_function_arn.rpartition(":")[2] != ALIAS:
            raise InvalidRequest([_NOT_A_STEP])
        try:
            return self._step(event, end_of(context))
        except InvalidRequest as error:
            listed, more = that_fit(
                error.errors, ERROR_CHARACTERS, lambda each: len(str(each)) + len("\n")
            )
            raise InvalidRequest([*listed, *([UnlistedFindings(more)] if more else ())]) from None

    def _step(self, event: Mapping[str, Any], end: float) -> dict[str, Any]:
        match event:
            case {"job_step": "index", "bucket": str(bucket)}:
                stores = Stores(bucket, self._objects, self._progress)
                index = IndexStep(
                    self._sender, self._application_ids, self._has_registry, stores, self._telemetry
                )
                return index.run(event, end=end)
            case {"job_step": "rows", "bucket": str(bucket), "plan": plan, "range": rows}:
                stores = Stores(bucket, self._objects, self._progress)
                step = RowsStep(self._sender, self._follow_up, stores, self._telemetry)
                return step.run(Plan.of(plan), RowRange.of(rows), end=end)
        raise InvalidRequest([Finding("job_step", "must be one of the state machine's")])
