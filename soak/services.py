"""A proxy in front of the sandbox's DynamoDB, SQS and EventBridge, with faults."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import urlsplit

from soak.answers import SERVICE_ANSWERS, Answer
from soak.faults import SERVICE_REFUSED, SERVICE_UNREADABLE, Faults, ServiceFault
from soak.ledger import Ledger
from soak.server import Connection, Kill, process_of

_PATIENCE_SECONDS: Final = 30

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
        Gets each fault.
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

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes, connection: Connection) -> None:
        """Answer one call."""
        target = handler.headers["X-Amz-Target"]
        service, subject = _subject(target, json.loads(body))
        with self._lock:
            number = self._seen[service, subject]
            self._seen[service, subject] += 1
        fault = self._faults.service_fault(service, subject, number)
        if fault is not None:
            self._ledger.count_fault(f"{target.rpartition('.')[2]}: {fault}")
        caller = process_of(handler)
        match fault:
            case _ if fault in SERVICE_REFUSED:
                connection.write(SERVICE_ANSWERS[fault])
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
                answer = self._ask(handler, body)
                if fault is None:
                    connection.write(answer)
                elif fault in SERVICE_UNREADABLE:
                    # Only a success is replaced: the function must see a failed condition.
                    connection.write(SERVICE_ANSWERS[fault] if answer.status == 200 else answer)
                else:
                    if fault is ServiceFault.KILLED_AFTER:
                        self._kill(caller)
                    connection.hang_up()

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_SECONDS)
        try:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() != "host"  # the sandbox accepts only its own address
            }
            connection.request("POST", handler.path, body, headers)
            answer = connection.getresponse()
            passed_on = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in _NOT_PASSED_ON
            }
            return Answer(answer.status, answer.read(), passed_on)
        finally:
            connection.close()


def _subject(target: str, call: Mapping[str, Any]) -> tuple[str, str]:
    """Name the service and the subject of a call, both the same for a retry."""
    prefix, _, operation = target.partition(".")
    if prefix.startswith("DynamoDB"):
        item = call.get("Item")
        if item is None:
            return "dynamodb", _digest(call.get("RequestItems"))
        if "fingerprint" in item and "done" not in item:
            return "key", str(item["id"]["S"])
        # A request's final record and a batch's record are two more subjects.
        return "dynamodb", f"{item['id']['S']} {operation}"
    if prefix == "AmazonSQS":
        return "sqs", _digest([call.get("QueueUrl"), call.get("MessageBody")])
    return "events", _digest(call.get("Entries"))


def _digest(subject: object) -> str:
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:16]
