"""DynamoDB, SQS and EventBridge as the function sees them: the sandbox's, with faults added."""

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

from soak.answers import OF_SERVICE, Answer
from soak.faults import SERVICE_REFUSED, SERVICE_UNREADABLE, Faults, ServiceFault
from soak.ledger import Ledger
from soak.provider import Kill, Wire, process_of

_PATIENCE_SECONDS: Final = 30

_NOT_PASSED_ON: Final = frozenset({"connection", "content-length", "transfer-encoding"})


class Services:
    """Passes calls on to the sandbox, but for those that go wrong.

    Parameters
    ----------
    url
        The sandbox's.
    faults
        What goes wrong.
    ledger
        Is told what struck.
    kill
        Ends the process that is calling.
    """

    def __init__(self, url: str, faults: Faults, ledger: Ledger, kill: Kill) -> None:
        self._address = urlsplit(url).netloc
        self._faults = faults
        self._ledger = ledger
        self._kill = kill
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str]] = Counter()

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes, wire: Wire) -> None:
        """Answer one call."""
        target = handler.headers["X-Amz-Target"]
        service, thing = _thing(target, json.loads(body))
        with self._lock:
            number = self._seen[service, thing]
            self._seen[service, thing] += 1
        fault = self._faults.of_service(service, thing, number)
        if fault is not None:
            self._ledger.trouble(f"{target.rpartition('.')[2]}: {fault}")
        caller = process_of(handler)
        match fault:
            case _ if fault in SERVICE_REFUSED:
                wire.give(OF_SERVICE[fault])
            case ServiceFault.REFUSED_ENTRIES:
                entries = [{"ErrorCode": "InternalFailure"} for _ in json.loads(body)["Entries"]]
                told = json.dumps({"FailedEntryCount": len(entries), "Entries": entries}).encode()
                wire.give(Answer(200, told))
            case ServiceFault.RESET:
                wire.hang_up()
            case ServiceFault.KILLED_BEFORE:
                self._kill(caller)
                wire.hang_up()
            case _:
                answer = self._ask(handler, body)
                if fault is None:
                    wire.give(answer)
                elif fault in SERVICE_UNREADABLE:
                    # A refusal is no success: a condition that does not hold must be heard.
                    wire.give(OF_SERVICE[fault] if answer.status == 200 else answer)
                else:
                    if fault is ServiceFault.KILLED_AFTER:
                        self._kill(caller)
                    wire.hang_up()

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_SECONDS)
        try:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() != "host"  # the sandbox answers to its own address alone
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


def _thing(target: str, call: Mapping[str, Any]) -> tuple[str, str]:
    """Name the service of a call, and what it is about: the same when it is repeated."""
    prefix, _, operation = target.partition(".")
    if prefix.startswith("DynamoDB"):
        item = call.get("Item")
        if item is None:
            return "dynamodb", _digest(call.get("RequestItems"))
        if "fingerprint" in item and "done" not in item:
            return "key", str(item["id"]["S"])
        # A request's last word and a batch's record are two more things.
        return "dynamodb", f"{item['id']['S']} {operation}"
    if prefix == "AmazonSQS":
        return "sqs", _digest([call.get("QueueUrl"), call.get("MessageBody")])
    return "events", _digest(call.get("Entries"))


def _digest(about: object) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
