"""Callers that follow docs/request.md and docs/http.md.

With a key, a caller repeats a request until it gets a report. Without one, it repeats the request
only if nothing was sent for certain; otherwise it never knows the outcome.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from sandbox.stack.account import REGION
from sandbox.stack.deployment import Deployment
from soak.ledger import Ledger
from soak.phones import result_name
from soak.plan import EntryPoint, PlannedRequest, request_name

DETAIL_TYPE: Final = "Push Notification Requested"

_TRIES: Final = 180
_PAUSE_SECONDS: Final = 1.0
_ADMINISTRATOR: Final = Credentials("sandbox", "sandbox")

NOTHING_WAS_SENT: Final = frozenset(
    {"IdempotencyInProgress", "IdempotencyStoreUnavailable", "RegistryUnavailable"}
)
"""Errors of the function after which a caller without a key may repeat a request, too."""

_PROBLEMS_TO_REPEAT: Final = frozenset(
    {"key-in-use", "keys-unavailable", "throttled", "queue-unavailable", "registry-unavailable"}
)

_MAY_BE_SCHEDULED: Final = frozenset({"SchedulerUnavailable", "scheduler-unavailable"})
"""After these, a schedule may exist. Only with its key may the request be repeated."""


class UnexpectedError(Exception):
    """The run would use another machine, so it ends."""


class Callers:
    """Sends requests, each through its entry point.

    Parameters
    ----------
    deployment
        The deployed stack.
    ledger
        Gets every answer.
    """

    def __init__(self, deployment: Deployment, ledger: Ledger) -> None:
        self._deployment = deployment
        self._ledger = ledger
        self._lambda = _client("lambda", deployment.url)
        self._sqs = _client("sqs", deployment.url)
        self._events = _client("events", deployment.url)
        self._http = URLLib3Session(timeout=60, max_pool_connections=64)
        self._entry_points: Mapping[EntryPoint, Callable[[PlannedRequest], None]] = {
            EntryPoint.DIRECT: self._invoke,
            EntryPoint.REQUEUEING: self._invoke,
            EntryPoint.ASYNCHRONOUS: self._invoke_later,
            EntryPoint.EVENTBRIDGE: self._put_event,
            EntryPoint.QUEUE: self._send_message,
            EntryPoint.HTTP: self._post,
            EntryPoint.HTTP_ASYNCHRONOUS: self._post,
        }

    def send(self, planned: PlannedRequest) -> None:
        """Send one request, or twice if the plan says so."""
        self._ledger.begin(planned.number)
        self._ledger.note([request_name(planned)], f"sent: {planned.entry_point}")
        self._entry_points[planned.entry_point](planned)
        # A queue and a bus deliver a request twice by themselves.
        if planned.delivered_twice and planned.entry_point not in (
            EntryPoint.QUEUE,
            EntryPoint.EVENTBRIDGE,
        ):
            self._entry_points[planned.entry_point](planned)

    def _invoke(self, planned: PlannedRequest) -> None:
        for _ in range(_TRIES):
            answer = self._retrying_throttles(
                lambda: self._lambda.invoke(
                    FunctionName=self._deployment.function_name,
                    Payload=json.dumps(planned.request),
                )
            )
            self._know(planned, answer["ResponseMetadata"]["RequestId"])
            payload = json.loads(answer["Payload"].read())
            if "FunctionError" not in answer:
                self._record_report(planned, payload)
                return
            error = str(payload.get("errorType"))
            self._ledger.note([request_name(planned)], f"answered: {error}")
            is_unknown = _was_killed(error) or error in _MAY_BE_SCHEDULED
            if error in NOTHING_WAS_SENT or (is_unknown and planned.key):
                time.sleep(_PAUSE_SECONDS)
            elif error in _MAY_BE_SCHEDULED:
                self._ledger.fail(planned.number, "it may be scheduled, and it has no key")
                return
            elif _was_killed(error):
                self._ledger.fail(planned.number, "its process was killed, and it has no key")
                return
            else:
                message = payload.get("errorMessage")
                self._ledger.break_contract(planned.number, f"{error}: {message}")
                return
        self._ledger.break_contract(planned.number, f"no report after {_TRIES} tries")

    def _invoke_later(self, planned: PlannedRequest) -> None:
        answer = self._retrying_throttles(
            lambda: self._lambda.invoke(
                FunctionName=self._deployment.function_name,
                InvocationType="Event",
                Payload=json.dumps(planned.request),
            )
        )
        self._know(planned, answer["ResponseMetadata"]["RequestId"])
        self._ledger.accept_request(planned.number)

    def _send_message(self, planned: PlannedRequest) -> None:
        answer = self._sqs.send_message(
            QueueUrl=self._deployment.outputs["QueueUrl"], MessageBody=json.dumps(planned.request)
        )
        self._know(planned, answer["MessageId"])
        self._ledger.accept_request(planned.number)

    def _put_event(self, planned: PlannedRequest) -> None:
        detail = json.dumps(planned.request)
        if len(detail) > 900_000:  # the bus's limit
            self._send_message(planned)
            return
        entry = {"Source": "soak", "DetailType": DETAIL_TYPE, "Detail": detail}
        (put,) = self._events.put_events(
            Entries=[{**entry, "EventBusName": self._deployment.outputs["EventBusName"]}]
        )["Entries"]
        self._know(planned, put["EventId"])
        self._ledger.accept_request(planned.number)
        if planned.delivered_twice:  # the same event, as a bus may deliver it again
            again = {
                "version": "0",
                "id": put["EventId"],
                "source": "soak",
                "detail-type": DETAIL_TYPE,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "detail": planned.request,
            }
            self._sqs.send_message(
                QueueUrl=self._deployment.outputs["QueueUrl"], MessageBody=json.dumps(again)
            )

    def _post(self, planned: PlannedRequest) -> None:
        url = f"{self._deployment.outputs['ApiUrl']}/messages"
        headers = {"Content-Type": "application/json"}
        if planned.entry_point is EntryPoint.HTTP_ASYNCHRONOUS:
            headers["Prefer"] = "respond-async"
        body = json.dumps(planned.request).encode()
        for _ in range(_TRIES):
            answer = self._http.send(signed("POST", url, headers, body))
            document = json.loads(answer.content)
            if answer.status_code == 200:
                self._record_report(planned, document)
                return
            if answer.status_code == 202:
                self._know(planned, document["id"])
                self._ledger.accept_request(planned.number)
                return
            problem = str(document.get("type", "")).rpartition(":")[2]
            self._ledger.note(
                [request_name(planned)], f"answered: {answer.status_code} {problem or document}"
            )
            # After API Gateway's own 500 and 503 it is unknown whether something was sent.
            if problem in _PROBLEMS_TO_REPEAT or (answer.status_code in (500, 503) and planned.key):
                wait = float(answer.headers.get("Retry-After", _PAUSE_SECONDS))
                time.sleep(min(wait, _PAUSE_SECONDS))
            elif problem in _MAY_BE_SCHEDULED:
                self._ledger.fail(planned.number, "it may be scheduled, and it has no key")
                return
            elif answer.status_code in (500, 503) and not problem:
                self._ledger.fail(planned.number, "its process was killed, and it has no key")
                return
            else:
                self._ledger.break_contract(planned.number, f"{answer.status_code} {document}")
                return
        self._ledger.break_contract(planned.number, f"no report after {_TRIES} tries")

    def _record_report(self, planned: PlannedRequest, report: Mapping[str, Any]) -> None:
        self._ledger.answer(planned.number, report)
        if "schedule_id" in report:
            self._know(planned, report["schedule_id"])
        for result in report["results"]:
            token = result["token"]
            name = result.get("user_id") if token is None else result_name(token, planned.number)
            self._ledger.note([str(name)], f"reported: {result['outcome']}")

    def _know(self, planned: PlannedRequest, id_: str) -> None:
        self._ledger.know(planned.number, id_)

    def _retrying_throttles(self, call: Callable[[], Any]) -> Any:
        """Wait for free concurrency, as SDKs do."""
        while True:
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] != "TooManyRequestsException":
                    raise
                time.sleep(_PAUSE_SECONDS / 5)


def signed(method: str, url: str, headers: Mapping[str, str], body: bytes) -> AWSPreparedRequest:
    """Sign a request to the HTTP API as an administrator of the account."""
    request = AWSRequest(method, url, dict(headers), body)
    SigV4Auth(_ADMINISTRATOR, "execute-api", REGION).add_auth(request)
    return request.prepare()


def _was_killed(error: str) -> bool:
    return error in ("Runtime.ExitError", "Sandbox.Timedout", "None")


def _client(service: str, url: str) -> Any:
    if urlsplit(url).hostname != "127.0.0.1":
        raise UnexpectedError(f"{url} is not on loopback")
    return boto3.client(
        service,  # type: ignore[call-overload]  # by name, which stubs know only as literals
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106  of the sandbox; it protects nothing
        config=Config(read_timeout=90, max_pool_connections=64, retries={"total_max_attempts": 1}),
    )
