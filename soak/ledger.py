"""What each side saw: the provider its pushes, the callers their answers, the bus its events.

Many threads write it; it is read at the end. A recipient with a token is named by the token, and
a phone by its name with its request (``phones.result_name``).
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from soak.faults import CallFault
from soak.ownership import Ownership

_NO_DEVICE: Final = "no_device"


class Acceptance(NamedTuple):
    """A push that the provider accepted.

    Attributes
    ----------
    call
        The SendMessages call, counted from 0.
    fault
        The fault of that call.
    run
        The function's invocation that made it.
    at
        When it was accepted, on ``time.monotonic``.
    address
        The token.
    """

    call: int
    fault: CallFault | None
    run: str
    at: float = math.inf
    address: str = ""


class PhonePush(NamedTuple):
    """An address of a phone in a SendMessages call, whatever became of it.

    Attributes
    ----------
    token, request
        The address, and the number of the request.
    run
        The invocation that made the call.
    at
        When the call arrived, on ``time.monotonic``.
    """

    token: str
    request: int
    run: str
    at: float


class JobEnd(NamedTuple):
    """What a job left behind, after its last end.

    Attributes
    ----------
    statuses
        How each of its runs ended, in order.
    counts
        Those of its item that are not zero.
    rows
        The number of rows in its item.
    lines
        The lines of its lists of rows, in order.
    """

    statuses: Sequence[str]
    counts: Mapping[str, int]
    rows: int
    lines: Sequence[Mapping[str, Any]]


@dataclass
class Ledger:
    """The record of a run.

    Attributes
    ----------
    keep_history
        Whether histories are kept; a long run has no memory for them.
    accepted
        By token, the pushes that the provider accepted, in order.
    answered
        By request, the reports that its caller got, in order.
    opted_out
        Devices whose users opted out.
    logged
        By the digest of a token in the function's log, the invocations that logged it.
    killed_runs
        Invocations whose process was killed.
    timed_out_runs
        Those that Lambda killed after their timeout.
    failed
        By request, what its caller finally got instead of a report.
    contract_breaks
        By request, an answer to its caller that no document describes.
    events
        By token, the changes and failures in events.
    log_bytes
        The size of the function's log, in bytes.
    fault_counts
        How often each fault happened.
    uncertain
        By token, why the result at the provider cannot be known.
    pushed
        Every address of a phone that the provider got.
    began
        By request, when it was sent first, on ``time.monotonic``.
    ids
        By request, the ids under which the function reports it.
    missing
        By id of a request, the results ``no_device`` of each of its parts.
    odd_events
        An id of a request, and what is wrong with an event about it.
    ownership
        Whose device a token was.
    job_ends
        By request, what a job left behind.
    job_reports
        By job, its reports on the bus, in order.
    parts
        By id of a request, the reports about it or a part of it on the bus.
    due
        When the time of the schedules came, on ``time.monotonic``.
    """

    accepted: defaultdict[str, list[Acceptance]] = field(default_factory=lambda: defaultdict(list))
    answered: defaultdict[int, list[Mapping[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    opted_out: set[str] = field(default_factory=set)
    logged: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    killed_runs: set[str] = field(default_factory=set)
    timed_out_runs: set[str] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    contract_breaks: dict[int, str] = field(default_factory=dict)
    events: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    fault_counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    log_bytes: int = 0
    keep_history: bool = True
    uncertain: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    pushed: list[PhonePush] = field(default_factory=list)
    began: dict[int, float] = field(default_factory=dict)
    ids: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    missing: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    odd_events: list[tuple[str, str]] = field(default_factory=list)
    ownership: Ownership = field(default_factory=Ownership)
    job_ends: dict[int, JobEnd] = field(default_factory=dict)
    job_reports: defaultdict[str, list[Mapping[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    parts: Counter[str] = field(default_factory=Counter)
    due: float = math.inf
    _traces: dict[str, str] = field(default_factory=dict)
    _history: defaultdict[str, list[tuple[float, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = field(default_factory=time.monotonic)

    def note(self, about: Iterable[str], what: str) -> None:
        """Add a line to the history of some devices or requests."""
        if not self.keep_history:
            return
        moment = time.monotonic() - self._began
        with self._lock:
            for each in about:
                self._history[each].append((moment, what))

    def accept(self, token: str, acceptance: Acceptance) -> None:
        """Record a push that the provider accepted."""
        with self._lock:
            self.accepted[token].append(acceptance)

    def mark_unheard(self, tokens: Iterable[str], call: int, fault: CallFault) -> None:
        """Correct the fault of a call whose client did not receive the answer after all."""
        with self._lock:
            for token in self.accepted.keys() & set(tokens):
                self.accepted[token] = [
                    each._replace(fault=fault) if each.call == call else each
                    for each in self.accepted[token]
                ]

    def opt_out(self, token: str) -> None:
        """Record that a device's user opted out."""
        with self._lock:
            self.opted_out.add(token)

    def log(self, line: str) -> None:
        """Read a line of the function's log."""
        with self._lock:
            self.log_bytes += len(line) + 1
        if "Task timed out after" in line:
            self._time_out(line)
        if '"batch delivered"' not in line and '"results without a call"' not in line:
            return
        record = json.loads(line)
        id_ = record.get("function_request_id", "")
        without_device = 0
        with self._lock:
            for result in record["results"]:
                without_device += result.get("outcome") == _NO_DEVICE
                if token := result.get("token"):
                    self.logged[token].add(id_)
            self._traces[id_] = record.get("xray_trace_id", "")
        if without_device:
            self.miss(id_, "log", without_device)

    def _time_out(self, line: str) -> None:
        """Record that Lambda killed a process after its timeout, which should never happen."""
        with self._lock:
            self.fault_counts["a process was killed by Lambda's timeout"] += 1
            for request_id, trace in self._traces.items():
                if request_id and request_id in line:
                    self.timed_out_runs.add(trace)

    def was_logged(self, token: str, ids: Set[str] | None = None) -> bool:
        """Whether the function's log has a result of a token, of some invocations or of any."""
        by = self.logged.get(hashlib.sha256(token.encode()).hexdigest()[:12], set())
        return bool(by if ids is None else by & ids)

    def push(self, push: PhonePush) -> None:
        """Record an address of a phone in a call."""
        with self._lock:
            self.pushed.append(push)

    def begin(self, number: int) -> None:
        """Record that a request is sent now."""
        with self._lock:
            self.began.setdefault(number, time.monotonic())

    def know(self, number: int, id_: str) -> None:
        """Record an id of a request: of its invocation, message or event, or its key."""
        with self._lock:
            self.ids[number].add(id_)

    def miss(self, id_: str, part: str, results: int) -> None:
        """Record the results ``no_device`` of a part of a request; it may be reported twice."""
        with self._lock:
            self.missing[id_][part] = results

    def kill(self, run: str) -> None:
        """Record that an invocation's process was killed."""
        with self._lock:
            self.killed_runs.add(run)
            self.fault_counts["a process was killed"] += 1

    def mark_uncertain(self, tokens: Iterable[str], why: str) -> None:
        """Record that the result of some pushes at the provider cannot be known."""
        with self._lock:
            for token in tokens:
                self.uncertain[token].append(why)

    def count_fault(self, what: str) -> None:
        """Count a fault that happened."""
        with self._lock:
            self.fault_counts[what] += 1

    def answer(self, number: int, report: Mapping[str, Any]) -> None:
        """Record a report that a caller got."""
        with self._lock:
            self.answered[number].append(report)
            self.failed.pop(number, None)

    def fail(self, number: int, why: str) -> None:
        """Record what a caller got instead of a report."""
        with self._lock:
            self.failed[number] = why

    def break_contract(self, number: int, why: str) -> None:
        """Record an answer to a caller that no document describes."""
        with self._lock:
            self.contract_breaks[number] = why

    def accept_request(self, number: int) -> None:
        """Record that an entry point without a waiting caller accepted the request."""
        with self._lock:
            self.failed.pop(number, None)

    def report_job(self, detail: Mapping[str, Any]) -> None:
        """Record an event about the end of a job."""
        with self._lock:
            self.job_reports[detail["job"]].append(detail)

    def end_job(self, number: int, end: JobEnd) -> None:
        """Record what a job left behind."""
        with self._lock:
            self.job_ends[number] = end

    def record_event(self, token: str, what: str) -> None:
        """Record a change or a failure of a device in an event."""
        with self._lock:
            if what not in self.events[token]:  # an event may arrive twice
                self.events[token].append(what)

    def history(self, *about: str) -> list[str]:
        """Return the history of devices and requests, in order."""
        with self._lock:
            lines = [line for each in about for line in self._history.get(each, ())]
        return [f"{moment:8.2f} s  {what}" for moment, what in sorted(lines)]
