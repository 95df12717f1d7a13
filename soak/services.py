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

from soak.faults import Faults, ServiceFault
from soak.ledger import Ledger
from soak.provider import Kill, Wire, process_of

_PATIENCE_SECONDS: Final = 30

_REFUSALS: Final[Mapping[ServiceFault, tuple[int, str]]] = {
    ServiceFault.FAILED: (500, "InternalServerError"),
    ServiceFault.THROTTLED: (400, "ThrottlingException"),
}

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
            case ServiceFault.FAILED | ServiceFault.THROTTLED:
                status, code = _REFUSALS[fault]
                told = json.dumps({"__type": code, "message": "refused"}).encode()
                wire.pass_on(status, {"Content-Type": "application/x-amz-json-1.0"}, told)
            case ServiceFault.REFUSED_ENTRIES:
                entries = [{"ErrorCode": "InternalFailure"} for _ in json.loads(body)["Entries"]]
                told = json.dumps({"FailedEntryCount": len(entries), "Entries": entries}).encode()
                wire.pass_on(200, {"Content-Type": "application/x-amz-json-1.1"}, told)
            case ServiceFault.RESET:
                wire.hang_up()
            case ServiceFault.KILLED_BEFORE:
                self._kill(caller)
                wire.hang_up()
            case _:
                status, headers, told = self._ask(handler, body)
                if fault is None:
                    wire.pass_on(status, headers, told)
                    return
                if fault is ServiceFault.KILLED_AFTER:
                    self._kill(caller)
                wire.hang_up()

    def _ask(
        self, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_SECONDS)
        try:
            connection.request("POST", handler.path, body, dict(handler.headers.items()))
            answer = connection.getresponse()
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in _NOT_PASSED_ON
            }
            return answer.status, headers, answer.read()
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
