"""The HTTP entry point of requests, behind API Gateway, and its OpenAPI document.

A report has the status 200, whatever its outcomes. A request that is not valid, or that the
push service refused as a whole, gets a problem document. API Gateway checks the caller's
permissions; this module reads no credentials. Payload format 2.0.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.queue_and_bus import CALL_SECONDS
from push_sender.entry_points import problems
from push_sender.entry_points.json_body import json_body
from push_sender.entry_points.problems import HttpProblem
from push_sender.entry_points.remaining_time import end_of_http
from push_sender.entry_points.timing import Timing
from push_sender.follow_up.queue_messages import (
    MESSAGE_BYTES,
    Queue,
    QueueMessage,
    QueueUnavailable,
    message_body,
)
from push_sender.follow_up.signed_attributes import usable_id
from push_sender.follow_up.submission import Submission
from push_sender.outcomes.classification import refusal_of
from push_sender.outcomes.outcome import Outcome, Refusal
from push_sender.report import Report, changes_tokens
from push_sender.request.errors import (
    Finding,
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
    InvalidRequest,
    RegistryUnavailable,
    SchedulerUnavailable,
)
from push_sender.request.model import known_fields
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry
from push_sender.validation.combinations import PROJECT_NOT_ALLOWED

if TYPE_CHECKING:
    from push_sender.follow_up.destinations import FollowUp
    from push_sender.schedules.group import ScheduleGroup

RETRY_AFTER_SECONDS: Final = 5
"""When to retry if the error gives no time: the function itself has tried for seconds."""

SEND_PATHS: Final = ("/messages", "/jwt/messages")
"""The paths to post a request to: for callers with AWS credentials, and for those with a JWT."""

KEY_HEADER: Final = "Idempotency-Key"
PREFER_HEADER: Final = "Prefer"
RESPOND_ASYNC: Final = "respond-async"

_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')

_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
"""A quoted text, even without its end, so that each character of a header is read only once."""

_JSON: Final = "application/json"

_SESSION: Final = re.compile(r"(:assumed-role/[^/]+|:federated-user)/.*")
"""The end of an ARN that a person's name may be in: its caller chooses the name of a session."""


class HttpEntryPoint:
    """Answers the HTTP requests that API Gateway passes to the function.

    Parameters
    ----------
    sender
        Sends the requests.
    follow_up
        Returns the follow-up; called only for a request with ``requeue``.
    queue
        Returns the queue; called only for ``respond-async``. None if there is no queue.
    schedules
        Returns the group of schedules, or None if there is none; called only to cancel one.
    has_registry
        Whether there is a registry of devices, which gets events about tokens.
    telemetry
        Logs which requests were refused and which were queued.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        follow_up: Callable[[], FollowUp],
        queue: Callable[[], Queue] | None,
        schedules: Callable[[], ScheduleGroup | None],
        has_registry: bool,
        telemetry: Telemetry,
    ) -> None:
        self._sender = sender
        self._follow_up = follow_up
        self._queue = queue
        self._schedules = schedules
        self._has_registry = has_registry
        self._telemetry = telemetry
        # Never debug, whatever Powertools' variables say: it would respond with stack traces.
        self._app = APIGatewayHttpResolver(debug=False)
        for path in SEND_PATHS:
            self._app.post(path)(self._messages)
        self._app.delete("/schedules/<schedule_id>")(self._cancel)
        self._app.get(r"/openapi\.json")(self._openapi)
        self._app.not_found(self._not_found)
        self._app.exception_handler(HttpProblem)(self._problem)

    def answer(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Answer one request, in the form that API Gateway expects."""
        self._telemetry.sent_by(_caller(event))
        return self._app.resolve(event, context)

    def _messages(self) -> Response[str]:
        event: Mapping[str, Any] = self._app.current_event.raw_event
        headers = event.get("headers", {})
        timing = Timing.until(end_of_http(event, self._app.lambda_context))
        prefers_async = _prefers_async(headers.get(PREFER_HEADER.lower(), ""))
        try:
            body = json_body(event, known_fields())
            request = _with_key(body, headers.get(KEY_HEADER.lower()), self._sender)
            dry_run = isinstance(request, dict) and request.get("dry_run") is True
            if prefers_async and self._queue is not None and not dry_run:
                return self._enqueue(self._queue(), request, timing)
            report = self._send(request, timing)
        except InvalidRequest as refusal:
            raise _invalid(refusal, key_in_header=KEY_HEADER.lower() in headers) from None
        except IdempotencyConflict as conflict:
            raise HttpProblem(problems.KEY_REUSED, _without_path(conflict)) from None
        except IdempotencyInProgress as busy:
            raise HttpProblem(
                problems.KEY_IN_USE,
                _without_path(busy),
                headers=_retry_after(math.ceil(busy.seconds)),
            ) from None
        except IdempotencyStoreUnavailable as unavailable:
            raise HttpProblem(
                problems.KEYS_UNAVAILABLE,
                _without_path(unavailable),
                headers=_retry_after(RETRY_AFTER_SECONDS),
            ) from None
        except RegistryUnavailable as unavailable:
            raise HttpProblem(
                problems.REGISTRY_UNAVAILABLE,
                f"Nothing was sent ({unavailable.reason}); repeat the request",
                headers=_retry_after(RETRY_AFTER_SECONDS),
            ) from None
        except SchedulerUnavailable as unavailable:
            raise HttpProblem(
                problems.SCHEDULER_UNAVAILABLE,
                _without_path(unavailable),
                headers=_retry_after(RETRY_AFTER_SECONDS),
            ) from None
        if prefers_async and not dry_run:
            report["warnings"].append({"path": PREFER_HEADER, "message": _NO_QUEUE})
        _raise_if_nothing_was_tried(report)
        return Response(HTTPStatus.OK, _JSON, json.dumps(report))

    def _cancel(self, schedule_id: str) -> Response[str]:
        """Delete the schedule of a request."""
        app = self._app
        end = end_of_http(app.current_event.raw_event, app.lambda_context)
        schedules = self._schedules()
        try:
            was_there = schedules is not None and schedules.cancel(schedule_id, end=end)
        except SchedulerUnavailable as unavailable:
            raise HttpProblem(
                problems.SCHEDULER_UNAVAILABLE,
                f"The schedule is not known to be deleted ({unavailable.reason}); repeat the "
                "request",
                headers=_retry_after(RETRY_AFTER_SECONDS),
            ) from None
        if not was_there:
            raise HttpProblem(
                problems.SCHEDULE_NOT_FOUND, "It was cancelled, its time is over, or it never was"
            )
        self._telemetry.info("schedule cancelled", schedule_id=schedule_id)
        return Response(HTTPStatus.NO_CONTENT, body="")

    def _send(self, request: Any, timing: Timing) -> Report:
        requeues = isinstance(request, dict) and request.get("requeue") is True
        submission = self._submission(request)
        report = self._sender.send(
            request,
            deadline=timing.deadline if requeues else timing.end,
            as_text=True,
            forget_untried=True,
            requeue=partial(self._requeue, submission, timing) if requeues else None,
        )
        if self._has_registry and changes_tokens(report):
            last_start = timing.end - CALL_SECONDS
            self._follow_up().update_tokens(submission, report, last_start=last_start)
        return report

    def _requeue(self, submission: Submission, timing: Timing, report: Report) -> bool:
        return self._follow_up().requeue(submission, report, last_start=timing.last_start)

    def _enqueue(self, queue: Queue, request: Any, timing: Timing) -> Response[str]:
        """Put a request on the queue, and respond with its id and key."""
        self._sender.check(request)
        submission = self._submission(request)
        message = QueueMessage(
            message_body(request), steering=submission.steering(), group=submission.group
        )
        if message.size > MESSAGE_BYTES:
            raise HttpProblem(
                problems.TOO_LARGE,
                f"With {RESPOND_ASYNC} a request has at most 1 MiB (this one {message.size:,} "
                "bytes); split it, or wait for the answer",
            )
        try:
            queue.post(message, last_start=timing.last_start)
        except QueueUnavailable as unavailable:
            raise HttpProblem(
                problems.QUEUE_UNAVAILABLE,
                f"It is not known to be queued ({unavailable.reason}); repeat it, with a key so "
                "that it is sent once",
                headers=_retry_after(RETRY_AFTER_SECONDS),
            ) from None
        self._telemetry.info("request queued", request_id=submission.request_id)
        accepted = {"id": submission.request_id, "idempotency_key": submission.key}
        return Response(
            HTTPStatus.ACCEPTED,
            _JSON,
            json.dumps(accepted),
            headers={"Preference-Applied": RESPOND_ASYNC},
        )

    def _submission(self, request: Any) -> Submission:
        id_ = self._app.lambda_context.aws_request_id
        caller = _caller(self._app.current_event.raw_event)
        return Submission(request, id_, round(time.time() * 1_000), sent_by=caller)

    def _openapi(self) -> Response[str]:
        from push_sender.entry_points.openapi import (
            document,
        )  # rarely requested

        return Response(HTTPStatus.OK, _JSON, json.dumps(document()))

    def _not_found(self, _: Exception) -> NoReturn:
        raise HttpProblem(
            problems.NOT_FOUND,
            "There are POST /messages, DELETE /schedules/{schedule_id} and GET /openapi.json, and "
            "nothing else",
        )

    def _problem(self, problem: HttpProblem) -> Response[str]:
        self._telemetry.info(
            "request refused over HTTP",
            problem=problem.kind.type,
            status=problem.kind.status.value,
            faults=len(problem.errors),
        )
        return Response(
            problem.kind.status,
            problems.MEDIA_TYPE,
            json.dumps(problem.document()),
            headers=problem.headers,
        )


def _caller(event: Mapping[str, Any]) -> str | None:
    """Name the caller: the ARN of an IAM caller, or the client of a JWT or its issuer; no user."""
    authorizer = event["requestContext"].get("authorizer") or {}
    arn = (authorizer.get("iam") or {}).get("userArn")
    if arn is not None:
        return usable_id(_SESSION.sub(r"\1", str(arn)))
    claims = (authorizer.get("jwt") or {}).get("claims") or {}
    names = (usable_id(f"jwt/{claims[name]}") for name in _CLIENT if claims.get(name))
    return next(filter(None, names), None)


_CLIENT: Final = ("client_id", "azp", "iss")
"""The claims that may name the program of a JWT, the best first; ``sub`` names its user."""

_NO_QUEUE: Final = f"{RESPOND_ASYNC} has no effect: this function has no queue (QUEUE_URL)"


def _with_key(request: Any, header: str | None, sender: Sender) -> Any:
    """Add the key from its header, which holds it as text or as a quoted string."""
    if header is None or not isinstance(request, dict):
        return request
    quoted = _QUOTED.fullmatch(header)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header
    own = request.get("idempotency_key")
    if own is not None and own != key:
        errors = [Finding("idempotency_key", f"differs from the header {KEY_HEADER}; give one")]
        try:
            sender.check(request)
        except InvalidRequest as refusal:
            errors.extend(refusal.errors)
        raise _invalid(InvalidRequest(errors), key_in_header=False)
    return {**request, "idempotency_key": key}


def _prefers_async(header: str) -> bool:
    """Find ``respond-async`` in a Prefer header (RFC 7240)."""
    without_texts = _TEXT.sub("", header)
    preferences = (each.split(";")[0].strip() for each in without_texts.split(","))
    return any(preference.lower() == RESPOND_ASYNC for preference in preferences)


def _invalid(refusal: InvalidRequest, *, key_in_header: bool) -> HttpProblem:
    if refusal.errors == (PROJECT_NOT_ALLOWED,):
        return HttpProblem(problems.PROJECT_NOT_ALLOWED, "Nothing was sent", errors=refusal.errors)
    errors = [
        error._replace(path=KEY_HEADER)
        if key_in_header and error.path == "idempotency_key"
        else error
        for error in refusal.errors
    ]
    return HttpProblem(
        problems.INVALID_REQUEST, "Nothing was sent; correct what faults lists", errors=errors
    )


def _raise_if_nothing_was_tried(report: Report) -> None:
    """Raise a problem if the push service refused every call for the same reason.

    A replayed report stays a report: a retry with its key would not change it.
    """
    refusals = {
        refusal_of(
            result["outcome"], result["delivery_status"], result["status_code"], result["reason"]
        )
        for result in report["results"]
        if result["outcome"] != Outcome.DUPLICATE or result["delivery_status"] is not None
    }
    if report["replayed"] or len(refusals) > 1:
        return
    reason = report["results"][0]["reason"] or "no reason that is known"
    match refusals.pop():
        case Refusal.THROTTLED:
            raise HttpProblem(
                problems.THROTTLED,
                f"No push was tried ({reason}); repeat the request, with the same key if it has "
                "one",
                headers=_retry_after(RETRY_AFTER_SECONDS),
            )
        case Refusal.REFUSED:
            raise HttpProblem(
                problems.REFUSED,
                f"No push was tried ({reason}); it is not the request's fault, and whoever runs "
                "this service must mend it",
            )


def _without_path(error: Exception) -> str:
    """Return an error's text without the path of the field before it."""
    return str(error).partition(": ")[2]


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
