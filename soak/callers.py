"""Callers as docs/request.md and docs/http.md tell them to be: they repeat what they may.

Whoever has a key repeats a request until there is a report. Whoever has none repeats only
where nothing was sent for sure, and stays with "I do not know" elsewhere.
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
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from sandbox.stack.account import REGION
from sandbox.stack.deployment import Deployment
from soak.ledger import Ledger
from soak.plan import Asked, Door

DETAIL_TYPE: Final = "Push Notification Requested"

_TRIES: Final = 60
_PAUSE_SECONDS: Final = 1.0
_ADMINISTRATOR: Final = Credentials("sandbox", "sandbox")

NOTHING_WAS_SENT: Final = frozenset({"IdempotencyInProgress", "IdempotencyStoreUnavailable"})
"""Errors of the function after which anybody may repeat a request."""

_PROBLEMS_TO_REPEAT: Final = frozenset(
    {"key-in-use", "keys-unavailable", "throttled", "queue-unavailable"}
)


class UnexpectedError(Exception):
    """Something is not on this machine alone, and the run ends."""


class Callers:
    """Hands in requests, at whatever door they ask for.

    Parameters
    ----------
    deployment
        Whose doors.
    ledger
        Is told every answer.
    """

    def __init__(self, deployment: Deployment, ledger: Ledger) -> None:
        self._deployment = deployment
        self._ledger = ledger
        self._lambda = _client("lambda", deployment.url)
        self._sqs = _client("sqs", deployment.url)
        self._events = _client("events", deployment.url)
        self._http = URLLib3Session(timeout=60, max_pool_connections=64)
        self._doors: Mapping[Door, Callable[[Asked], None]] = {
            Door.DIRECT: self._invoke,
            Door.REQUEUEING: self._invoke,
            Door.ASYNCHRONOUS: self._invoke_later,
            Door.EVENTBRIDGE: self._put_event,
            Door.QUEUE: self._send_message,
            Door.HTTP: self._post,
            Door.HTTP_LATER: self._post,
        }

    def ask(self, asked: Asked) -> None:
        """Hand in one request, twice if it asks for that."""
        self._ledger.note([request_name(asked)], f"handed in: {asked.door}")
        self._doors[asked.door](asked)
        # A queue and a bus deliver twice by themselves.
        if asked.twice and asked.door not in (Door.QUEUE, Door.EVENTBRIDGE):
            self._doors[asked.door](asked)

    def _invoke(self, asked: Asked) -> None:
        for _ in range(_TRIES):
            answer = self._retrying_throttles(
                lambda: self._lambda.invoke(
                    FunctionName=self._deployment.function_name,
                    Payload=json.dumps(asked.request),
                )
            )
            told = json.loads(answer["Payload"].read())
            if "FunctionError" not in answer:
                self._take_report(asked, told)
                return
            error = str(told.get("errorType"))
            self._ledger.note([request_name(asked)], f"answered: {error}")
            if error in NOTHING_WAS_SENT or (_was_killed(error) and asked.key):
                time.sleep(_PAUSE_SECONDS)
            elif _was_killed(error):
                self._ledger.fail(asked.number, "its process was killed, and it has no key")
                return
            else:
                self._ledger.break_contract(asked.number, f"{error}: {told.get('errorMessage')}")
                return
        self._ledger.break_contract(asked.number, f"no report after {_TRIES} tries")

    def _invoke_later(self, asked: Asked) -> None:
        self._retrying_throttles(
            lambda: self._lambda.invoke(
                FunctionName=self._deployment.function_name,
                InvocationType="Event",
                Payload=json.dumps(asked.request),
            )
        )
        self._ledger.hand_in(asked.number)

    def _send_message(self, asked: Asked) -> None:
        self._sqs.send_message(
            QueueUrl=self._deployment.outputs["QueueUrl"], MessageBody=json.dumps(asked.request)
        )
        self._ledger.hand_in(asked.number)

    def _put_event(self, asked: Asked) -> None:
        detail = json.dumps(asked.request)
        if len(detail) > 900_000:  # what a bus takes
            self._send_message(asked)
            return
        entry = {"Source": "soak", "DetailType": DETAIL_TYPE, "Detail": detail}
        (put,) = self._events.put_events(
            Entries=[{**entry, "EventBusName": self._deployment.outputs["EventBusName"]}]
        )["Entries"]
        self._ledger.hand_in(asked.number)
        if asked.twice:  # the same event, as a bus may deliver it
            again = {
                "version": "0",
                "id": put["EventId"],
                "source": "soak",
                "detail-type": DETAIL_TYPE,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "detail": asked.request,
            }
            self._sqs.send_message(
                QueueUrl=self._deployment.outputs["QueueUrl"], MessageBody=json.dumps(again)
            )

    def _post(self, asked: Asked) -> None:
        url = f"{self._deployment.outputs['ApiUrl']}/messages"
        headers = {"Content-Type": "application/json"}
        if asked.door is Door.HTTP_LATER:
            headers["Prefer"] = "respond-async"
        body = json.dumps(asked.request).encode()
        for _ in range(_TRIES):
            request = AWSRequest("POST", url, headers, body)
            SigV4Auth(_ADMINISTRATOR, "execute-api", REGION).add_auth(request)
            answer = self._http.send(request.prepare())
            told = json.loads(answer.content)
            if answer.status_code == 200:
                self._take_report(asked, told)
                return
            if answer.status_code == 202:
                self._ledger.hand_in(asked.number)
                return
            problem = str(told.get("type", "")).rpartition(":")[2]
            self._ledger.note(
                [request_name(asked)], f"answered: {answer.status_code} {problem or told}"
            )
            # API Gateway's own 500 and 503 leave it open whether something was sent.
            if problem in _PROBLEMS_TO_REPEAT or (answer.status_code in (500, 503) and asked.key):
                wait = float(answer.headers.get("Retry-After", _PAUSE_SECONDS))
                time.sleep(min(wait, _PAUSE_SECONDS))
            elif answer.status_code in (500, 503) and not problem:
                self._ledger.fail(asked.number, "its process was killed, and it has no key")
                return
            else:
                self._ledger.break_contract(asked.number, f"{answer.status_code} {told}")
                return
        self._ledger.break_contract(asked.number, f"no report after {_TRIES} tries")

    def _take_report(self, asked: Asked, report: Mapping[str, Any]) -> None:
        self._ledger.answer(asked.number, report)
        for result in report["results"]:
            self._ledger.note([result["token"]], f"reported: {result['outcome']}")

    def _retrying_throttles(self, call: Callable[[], Any]) -> Any:
        """Wait for a free copy of the function, as SDKs do."""
        while True:
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] != "TooManyRequestsException":
                    raise
                time.sleep(_PAUSE_SECONDS / 5)


def request_name(asked: Asked) -> str:
    """Name a request in histories."""
    return f"request-{asked.number}"


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
        aws_secret_access_key="sandbox",  # noqa: S106  of the sandbox, which opens nothing
        config=Config(read_timeout=90, max_pool_connections=64, retries={"total_max_attempts": 1}),
    )
