"""The process of one client.

    python -I -S -B client_process.py MODULE CLASS DIRECTORY_OF_PACKAGES

It immediately sends one push, then writes the time of the report, and the CPU time and memory
until then: the cold start. Each line ``REQUESTS RECIPIENTS KEYED`` on standard input is a round,
answered with its wall clock time, its CPU time and the process's memory. Answers go to the file
descriptor ``ANSWERS``, in seconds and bytes. Standard output is a pipe for the client's log, as in
Lambda.

Before the first report it imports only what the client itself needs.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    class Client(Protocol):
        """Sends pushes."""

        def prepare(self, request: dict[str, Any]) -> Mapping[str, Any]:
            """Make the event of a request, before the clock starts."""

        def send(self, event: Mapping[str, Any]) -> Any:
            """Send a request and return the caller's answer; only this is timed."""

        def accepted(self, answer: Any) -> int:
            """Count the accepted pushes of an answer."""


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


def load(module: str, name: str) -> Client:
    """Make a client of one of the modules in ``clients``."""
    sys.path.append(f"{os.path.dirname(os.path.abspath(__file__))}/clients")
    client: Client = getattr(__import__(module), name)()
    return client


def make_request(recipients: int, key: str | None = None) -> dict[str, Any]:
    """Make a request of new objects, as parsed JSON has them."""
    everyone = [{"token": f"{n:064x}", "service": "GCM"} for n in range(recipients)]
    who = {"recipient": everyone[0]} if recipients == 1 else {"recipients": everyone}
    keyed = {} if key is None else {"idempotency_key": key}
    return {**who, **keyed, **CONTENT}


def peak_bytes() -> int:
    """Return this process's peak memory in bytes; 0 if the system does not report it.

    From Linux's ``VmHWM``, because ``getrusage`` includes the parent's from before the start.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1_024 for line in file if line.startswith("VmHWM"))
    except FileNotFoundError:
        return 0


def run_round(
    client: Client, requests: int, recipients: int, *, keyed: bool
) -> tuple[float, float]:
    """Send some requests, one after the other; give their wall clock and CPU in seconds."""
    events = [
        client.prepare(make_request(recipients, f"{time.time_ns()}-{n}" if keyed else None))
        for n in range(requests)
    ]
    answers = []
    wall, cpu = time.perf_counter(), time.process_time()
    for event in events:
        answers.append(client.send(event))
    costs = time.perf_counter() - wall, time.process_time() - cpu
    if sum(map(client.accepted, answers)) != requests * recipients:
        sys.exit("not every push was accepted, so the figures would mean nothing")
    return costs


def main() -> None:
    """Report the cold start, then run the requested rounds."""
    _, module, name, packages = sys.argv
    sys.path.insert(0, packages)
    client = load(module, name)
    first = client.send(client.prepare(make_request(1)))
    # This clock is the system's, so the parent can subtract its own start time.
    reported_at, cpu = time.perf_counter(), time.process_time()
    if client.accepted(first) != 1:
        sys.exit("the first push was not accepted")
    answers = os.fdopen(int(os.environ["ANSWERS"]), "w", encoding="utf-8")
    print(reported_at, cpu, peak_bytes(), file=answers, flush=True)
    for line in sys.stdin:
        requests, recipients, keyed = map(int, line.split())
        print(
            *run_round(client, requests, recipients, keyed=bool(keyed)),
            peak_bytes(),
            file=answers,
            flush=True,
        )


if __name__ == "__main__":
    main()
