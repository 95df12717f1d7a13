"""What each side saw: the provider its pushes, the callers their answers, the bus its events.

Written by many threads, read when all is quiet.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from soak.faults import CallFault


class Acceptance(NamedTuple):
    """A push that the provider took.

    Attributes
    ----------
    call
        The SendMessages call, counted from 0.
    fault
        What became of that call.
    run
        The invocation of the function that made it.
    """

    call: int
    fault: CallFault | None
    run: str


@dataclass
class Ledger:
    """Everything that was seen.

    Attributes
    ----------
    remembers
        Whether histories are kept, which a long run has no memory for.
    accepted
        By token, what the provider took, in order.
    answered
        By request, the reports that its caller got, in order.
    opted_out
        Devices whose users do not want it.
    logged
        Devices that the function's log names, by the digest that stands for them there.
    killed_runs
        Invocations whose process was killed.
    timed_out_runs
        Those of which Lambda killed it, because their time was up.
    failed
        By request, what its caller got in place of a report, and stayed with.
    contract_breaks
        By request, an answer to its caller that no document has.
    told
        By token, what events said of it: a change, or a failure.
    log_bytes
        What the function has logged, in bytes.
    troubles
        How often each fault struck.
    doubts
        By token, why nobody can know what became of it at the provider.
    """

    accepted: defaultdict[str, list[Acceptance]] = field(default_factory=lambda: defaultdict(list))
    answered: defaultdict[int, list[Mapping[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    opted_out: set[str] = field(default_factory=set)
    logged: set[str] = field(default_factory=set)
    killed_runs: set[str] = field(default_factory=set)
    timed_out_runs: set[str] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    contract_breaks: dict[int, str] = field(default_factory=dict)
    told: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    troubles: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    log_bytes: int = 0
    remembers: bool = True
    doubts: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _traces: dict[str, str] = field(default_factory=dict)
    _history: defaultdict[str, list[tuple[float, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = field(default_factory=time.monotonic)

    def note(self, about: Iterable[str], what: str) -> None:
        """Write into the history of some devices or requests."""
        if not self.remembers:
            return
        moment = time.monotonic() - self._began
        with self._lock:
            for each in about:
                self._history[each].append((moment, what))

    def accept(self, token: str, acceptance: Acceptance) -> None:
        """Write down that the provider took a push."""
        with self._lock:
            self.accepted[token].append(acceptance)

    def unhear(self, tokens: Iterable[str], call: int, fault: CallFault) -> None:
        """Correct what became of a call: its answer has turned out to be heard by nobody."""
        with self._lock:
            for token in tokens:
                self.accepted[token] = [
                    each._replace(fault=fault) if each.call == call else each
                    for each in self.accepted[token]
                ]

    def opt_out(self, token: str) -> None:
        """Write down that a device's user does not want it."""
        with self._lock:
            self.opted_out.add(token)

    def log(self, line: str) -> None:
        """Take in a line of the function's log."""
        with self._lock:
            self.log_bytes += len(line) + 1
        if "Task timed out after" in line:
            self._time_out(line)
        if '"batch delivered"' not in line:
            return
        record = json.loads(line)
        with self._lock:
            self.logged |= {result["token"] for result in record["results"]}
            self._traces[record.get("function_request_id", "")] = record.get("xray_trace_id", "")

    def _time_out(self, line: str) -> None:
        """Take note that Lambda has killed a process whose time was up, as none should be."""
        with self._lock:
            self.troubles["a process was killed by Lambda's timeout"] += 1
            for request_id, trace in self._traces.items():
                if request_id and request_id in line:
                    self.timed_out_runs.add(trace)

    def was_logged(self, token: str) -> bool:
        """Tell whether the function's log says what became of a device."""
        return hashlib.sha256(token.encode()).hexdigest()[:12] in self.logged

    def kill(self, run: str) -> None:
        """Write down that an invocation's process was killed."""
        with self._lock:
            self.killed_runs.add(run)
            self.troubles["a process was killed"] += 1

    def doubt(self, tokens: Iterable[str], why: str) -> None:
        """Write down that nobody can know what became of some pushes at the provider."""
        with self._lock:
            for token in tokens:
                self.doubts[token].append(why)

    def trouble(self, what: str) -> None:
        """Count a fault that struck."""
        with self._lock:
            self.troubles[what] += 1

    def answer(self, number: int, report: Mapping[str, Any]) -> None:
        """Write down a report that a caller got."""
        with self._lock:
            self.answered[number].append(report)
            self.failed.pop(number, None)

    def fail(self, number: int, why: str) -> None:
        """Write down that a caller got no report, and what instead."""
        with self._lock:
            self.failed[number] = why

    def break_contract(self, number: int, why: str) -> None:
        """Write down that a caller got an answer that no document has."""
        with self._lock:
            self.contract_breaks[number] = why

    def hand_in(self, number: int) -> None:
        """Forget what a caller stayed with: a door at which nobody waits has taken its request."""
        with self._lock:
            self.failed.pop(number, None)

    def tell(self, token: str, what: str) -> None:
        """Write down what an event said of a device."""
        with self._lock:
            if what not in self.told[token]:  # an event may come twice
                self.told[token].append(what)

    def history(self, *about: str) -> list[str]:
        """Give what happened to devices and requests, in order."""
        with self._lock:
            lines = [line for each in about for line in self._history.get(each, ())]
        return [f"{moment:8.2f} s  {what}" for moment, what in sorted(lines)]
