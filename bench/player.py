"""One side of the comparison in an interpreter of its own.

    python -I -S -B player.py MODULE_OF_SIDES CLASS DIRECTORY_OF_PACKAGES

It sends one push at once and tells when its report was there, and the CPU and the memory
used by then: that line is the cold start. From then on each line ``REQUESTS RECIPIENTS KEYED``
on standard input is a round, answered with its wall clock, its CPU and the process's memory.
Answers go to the file descriptor ``ANSWERS``, in seconds and bytes. What a side writes to
standard output goes where that leads: to a pipe, as in Lambda.

Nothing is imported before the first report but what the side itself needs.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    class Side(Protocol):
        """Something that sends pushes."""

        def arrive(self, request: dict[str, Any]) -> Mapping[str, Any]:
            """Make what a request is when it reaches this side: before the clock starts."""

        def send(self, event: Mapping[str, Any]) -> Any:
            """Send a request and give back what the caller gets: this is what is timed."""

        def accepted(self, answer: Any) -> int:
            """Count the pushes that an answer says were accepted."""


CONTENT = {
    "title": "Test message sent from Amazon Pinpoint.",
    "message": (
        "This is a sample message sent from Amazon Pinpoint by using the AWS SDK for Python "
        "(Boto 3)."
    ),
    "action": "URL",
    "url": "https://www.example.com",
    "priority": "normal",
    "ttl": 30,
    "silent": False,
}
"""The message of AWS's own example."""


def load(module: str, name: str) -> Side:
    """Make a side of one of the modules in ``sides``."""
    sys.path.append(f"{os.path.dirname(os.path.abspath(__file__))}/sides")
    side: Side = getattr(__import__(module), name)()
    return side


def make_request(recipients: int, key: str | None = None) -> dict[str, Any]:
    """Make a request of new objects, as a caller's JSON gives it."""
    everyone = [{"token": f"{n:064x}", "service": "GCM"} for n in range(recipients)]
    who = {"recipient": everyone[0]} if recipients == 1 else {"recipients": everyone}
    keyed = {} if key is None else {"idempotency_key": key}
    return {**who, **keyed, **CONTENT}


def peak_bytes() -> int:
    """Give the most memory that this process has held, in bytes; 0 where the system cannot tell.

    Linux's ``VmHWM``: what ``getrusage`` gives counts the parent's, too, from before the start.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1_024 for line in file if line.startswith("VmHWM"))
    except FileNotFoundError:
        return 0


def play(side: Side, requests: int, recipients: int, *, keyed: bool) -> tuple[float, float]:
    """Send some requests, one after the other; give their wall clock and CPU in seconds."""
    events = [
        side.arrive(make_request(recipients, f"{time.time_ns()}-{n}" if keyed else None))
        for n in range(requests)
    ]
    answers = []
    wall, cpu = time.perf_counter(), time.process_time()
    for event in events:
        answers.append(side.send(event))
    spent = time.perf_counter() - wall, time.process_time() - cpu
    if sum(map(side.accepted, answers)) != requests * recipients:
        sys.exit("not every push was accepted, so the figures would mean nothing")
    return spent


def main() -> None:
    """Report the cold start, then play the rounds asked for."""
    _, module, name, packages = sys.argv
    sys.path.insert(0, packages)
    side = load(module, name)
    first = side.send(side.arrive(make_request(1)))
    # The clock is the system's own, so that the parent can take its own start from it.
    reported_at, cpu = time.perf_counter(), time.process_time()
    if side.accepted(first) != 1:
        sys.exit("the first push was not accepted")
    answers = os.fdopen(int(os.environ["ANSWERS"]), "w", encoding="utf-8")
    print(reported_at, cpu, peak_bytes(), file=answers, flush=True)
    for line in sys.stdin:
        requests, recipients, keyed = map(int, line.split())
        print(
            *play(side, requests, recipients, keyed=bool(keyed)),
            peak_bytes(),
            file=answers,
            flush=True,
        )


if __name__ == "__main__":
    main()
