"""A proxy in front of the sandbox's DynamoDB, SQS, EventBridge, Scheduler and S3, with faults."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import urlsplit

from soak.answers import S3_ANSWERS, SERVICE_ANSWERS, Answer
from soak.faults import SERVICE_REFUSED, SERVICE_UNREADABLE, Faults, ServiceFault
from soak.ledger import Ledger
from soak.server import Connection, Kill, process_of

_PATIENCE_SECONDS: Final = 30

_REGISTRY: Final = "registry"
_REGISTRY_ITEMS: Final = ("D#", "T#", "U#")
"""The beginnings of the ids of devices, tokens and users."""

_JOB: Final = "job"
_REQUEUED_ROWS: Final = "requeued rows"
_SCHEDULER: Final = "scheduler"
_SCHEDULES: Final = "/schedules/"
"""How the path of a call of Scheduler begins."""

_JOB_ITEMS: Final = "J#"
_JOB_KEYS: Final = '"idempotency_key":"job/'
"""How the ids of a job's items begin, and what a message with some of its rows has."""

_NOT_PASSED_ON: Final = frozenset({"connection", "content-length", "transfer-encoding"})


class Services:
    """Passes calls on to the sandbox, except those that fail.

    Parameters
    ----------
    url
        The sandbox's.
    faults
        What fails.
    ledger
        Gets each fault, and each read and transaction of the registry.
    kill
        Ends the calling process.
    """

    def __init__(self, url: str, faults: Faults, ledger: Ledger, kill: Kill) -> None:
        self._address = urlsplit(url).netloc
        self._faults = faults
        self._ledger = ledger
        self._kill = kill
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._marks: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes, connection: Connection) -> None:
        """Answer one call."""
        target = handler.headers.get("X-Amz-Target")
        call = json.loads(body) if target else {}
        caller = process_of(handler)
        is_s3 = False
        if target is not None:
            service, subject = _subject(target, call)
        elif handler.path.startswith(_SCHEDULES):
            service, subject = _SCHEDULER, f"{handler.command} {handler.path}"
        else:
            is_s3 = True
            part = handler.headers.get("Range", "")
            service, subject = _JOB, f"{handler.command} {handler.path} {part}"
        with self._lock:
            is_repeated = False
            if service == _REGISTRY:
                # The same items are read and written all the time, so each time is a subject.
                marks = self._marks[subject]
                time_ = marks.setdefault(call.get("ClientRequestToken", caller.run), len(marks))
                subject, is_repeated = f"{subject} {time_}", time_ > 0
            number = self._seen[service, subject] + is_repeated
            self._seen[service, subject] += 1
        fault = self._faults.service_fault(service, subject, number)
        if fault is not None:
            called = "S3" if is_s3 else "Scheduler"
            operation = target.rpartition(".")[2] if target else f"{called} {handler.command}"
            self._ledger.count_fault(f"{operation}: {fault}")
        match fault:
            case _ if fault in SERVICE_REFUSED:
                connection.write(_instead(fault, Answer(200, b""), is_s3=is_s3))
            case ServiceFault.REFUSED_ENTRIES:
                entries = [{"ErrorCode": "InternalFailure"} for _ in json.loads(body)["Entries"]]
                refused = json.dumps(
                    {"FailedEntryCount": len(entries), "Entries": entries}
                ).encode()
                connection.write(Answer(200, refused))
            case ServiceFault.RESET:
                connection.hang_up()
            case ServiceFault.KILLED_BEFORE:
                self._kill(caller)
                connection.hang_up()
            case _:
                answer = self._perform(handler, body, call)
                if fault is None:
                    connection.write(answer)
                elif fault in SERVICE_UNREADABLE:
                    # Only a success is replaced: the function must see a failed condition.
                    is_success = answer.status in (200, 206)
                    unreadable = _instead(fault, answer, is_s3=is_s3)
                    connection.write(unreadable if is_success else answer)
                else:
                    if fault is ServiceFault.KILLED_AFTER:
                        self._kill(caller)
                    connection.hang_up()

    def _perform(
        self, handler: BaseHTTPRequestHandler, body: bytes, call: Mapping[str, Any]
    ) -> Answer:
        """Pass a call on, and record what it says about the devices of users."""
        is_transaction = "TransactItems" in call
        ownership = self._ledger.ownership
        with ownership.committing if is_transaction else nullcontext():
            began = time.monotonic()
            ownership.read(process_of(handler).run, _ids_read(call), began)
            answer = self._ask(handler, body)
            if is_transaction and answer.status == 200:
                ownership.commit(call, began, time.monotonic())
        return answer

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_SECONDS)
        try:
            headers = {
                name: value
                for name, value in handler.headers.items()
                # The sandbox accepts only its own address, and gets the body at once.
                if name.lower() not in ("host", "expect")
            }
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            passed_on = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in _NOT_PASSED_ON
            }
            return Answer(answer.status, answer.read(), passed_on)
        finally:
            connection.close()


def _instead(fault: ServiceFault, answer: Answer, *, is_s3: bool) -> Answer:
    """Return what is answered in place of an answer."""
    return S3_ANSWERS[fault](answer) if is_s3 else SERVICE_ANSWERS[fault]


def _subject(target: str, call: Mapping[str, Any]) -> tuple[str, str]:
    """Name the service and the subject of a call, both the same for a retry."""
    prefix, _, operation = target.partition(".")
    if prefix.startswith("DynamoDB"):
        item = call.get("Item")
        ids = _ids_read(call) or _ids_written(call)
        if ids and ids[0].startswith(_REGISTRY_ITEMS):
            return _REGISTRY, _digest(sorted(ids))
        if ids and ids[0].startswith(_JOB_ITEMS):
            return _JOB, f"{operation} {ids[0]}"
        if item is None:
            return "dynamodb", _digest(call.get("RequestItems"))
        if "fingerprint" in item and "done" not in item:
            return "key", str(item["id"]["S"])
        # A request's final record and a batch's record are two more subjects.
        return "dynamodb", f"{item['id']['S']} {operation}"
    if prefix == "AmazonSQS":
        is_of_job = _JOB_KEYS in call.get("MessageBody", "").replace(" ", "")
        subject = _digest([call.get("QueueUrl"), call.get("MessageBody")])
        return _REQUEUED_ROWS if is_of_job else "sqs", subject
    return "events", _digest(call.get("Entries"))


def _ids_read(call: Mapping[str, Any]) -> list[str]:
    """Return the ids of the items of a BatchGetItem."""
    tables = call.get("RequestItems", {}).values()
    return [str(key["id"]["S"]) for table in tables for key in table["Keys"]]


def _ids_written(call: Mapping[str, Any]) -> list[str]:
    """Return the ids of the items that a call writes, unless it is a PutItem of a key."""
    if "Key" in call or _of_job(call.get("Item")):
        return [str((call.get("Key") or call["Item"])["id"]["S"])]
    parts = (part for entry in call.get("TransactItems", ()) for part in entry.values())
    return [str((part.get("Key") or part["Item"])["id"]["S"]) for part in parts]


def _of_job(item: Mapping[str, Any] | None) -> bool:
    return item is not None and str(item["id"]["S"]).startswith(_JOB_ITEMS)


def _digest(subject: object) -> str:
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:16]
