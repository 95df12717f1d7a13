"""The measurements, each of several clients in turn.

A round measures every client once, so that other load on the machine affects all of them equally.
A ratio is the median over the rounds of ours over bare boto3's in the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from bench.authority import Authority
from bench.client_list import (
    BARE_BOTO3,
    BOTO3_SINGLE,
    BOTO3_THREADS,
    EXPORT_ROWS,
    FIREBASE,
    HTTP,
    KEYED,
    KEYED_REQUEST,
    NO_BYTECODE,
    OURS,
    OURS_16_CALLS,
    PLAIN_ROWS,
    POWERTOOLS,
    REQUEST,
    USERS,
    Clients,
)
from bench.processes import Client, Cost, RunningClient, running_client, simulated_service
from bench.results import ROWS_A_CHILD, Case, Measured, Peer
from bench.rows import EXPORT, TOKENS, write_rows

PUSHES: Final = 100
"""Warm pushes in a round."""

LATENCIES: Final = (0.0, 0.05, 0.2)
RECIPIENTS: Final = (1, 100, 1_000, 5_000)
TABLE_LATENCY: Final = 0.005
OBJECT_LATENCY: Final = 0.02
DEVICES: Final = 2_000
"""Devices of the users of a request, two of each."""

CHILDREN: Final = 3
"""Children of a job in a round."""

BEGINNING: Final = (
    "cold start to the first report",
    "then a request to 5,000",
    "another request to 5,000",
)
"""The first steps of a process over TLS."""

COLD: Final = (OURS, HTTP, BARE_BOTO3, POWERTOOLS)

PEERS: Final = {OURS: 5_000, BOTO3_THREADS: 5_000, FIREBASE: 500, BOTO3_SINGLE: 20}
"""The tokens of a round: as many as each client sends in a second or two."""

_T = TypeVar("_T")

Progress = Callable[[int, int], None]
"""Gets the number of finished rounds, and of all rounds."""


def cold_start(clients: Clients, rounds: int, progress: Progress) -> Measured:
    """Start an interpreter, load a client and send one push, in a new process each time."""

    def start(name: str) -> Callable[[], Cost]:
        def once() -> Cost:
            endpoints = {"AWS_ENDPOINT_URL_PINPOINT": url(port)}
            with running_client(clients[name], endpoints) as client:
                return client.cold_start

        return once

    names = [*COLD, *(name + NO_BYTECODE for name in COLD)]
    with simulated_service(latency=0) as port:
        return _in_turn({name: start(name) for name in names}, rounds, progress)


def warm_push(clients: Clients, rounds: int, progress: Progress) -> Measured:
    """Send one push at a time in warm processes; the service answers immediately."""
    with ExitStack() as stack:
        port = stack.enter_context(simulated_service(latency=0))
        running = _run_all(stack, clients, (OURS, HTTP, BARE_BOTO3), port)
        return _in_turn(
            {name: _round(client, PUSHES, 1) for name, client in running.items()},
            rounds,
            progress,
        )


def many(clients: Clients, rounds: int, progress: Progress) -> dict[Case, Measured]:
    """Send requests of every size to services with every latency."""
    measured: dict[Case, Measured] = {}
    cases = [Case(latency, size) for latency in LATENCIES for size in RECIPIENTS]
    for number, latency in enumerate(LATENCIES):
        with ExitStack() as stack:
            port = stack.enter_context(simulated_service(latency))
            running = _run_all(stack, clients, (OURS, OURS_16_CALLS, BOTO3_THREADS), port)
            for place, size in enumerate(RECIPIENTS):
                before = (number * len(RECIPIENTS) + place) * rounds

                def report(done: int, _: int, before: int = before) -> None:
                    progress(before + done, rounds * len(cases))

                measured[Case(latency, size)] = _in_turn(
                    {name: _round(client, 1, size) for name, client in running.items()},
                    rounds,
                    report,
                )
    return measured


def over_tls(clients: Clients, rounds: int, progress: Progress) -> dict[str, Measured]:
    """Start a process that sends over TLS: one push, then two requests to 5,000.

    It trusts botocore's own authorities and one more, so that it reads as many as usual.
    """

    def begin(client: Client) -> Callable[[], Sequence[Cost]]:
        def once() -> Sequence[Cost]:
            with running_client(client, endpoints) as running:
                return [
                    running.cold_start,
                    *(running.run_round(1, RECIPIENTS[-1]) for _ in range(2)),
                ]

        return once

    with TemporaryDirectory() as directory, ExitStack() as stack:
        authority = Authority()
        bundle, server = Path(directory, "bundle.pem"), Path(directory, "server.pem")
        others = clients[BOTO3_THREADS].packages / "botocore" / "cacert.pem"
        bundle.write_bytes(others.read_bytes() + authority.certificate)
        server.write_bytes(authority.certify("127.0.0.1"))
        port = stack.enter_context(simulated_service(0.05, server))
        endpoints = {
            "AWS_CA_BUNDLE": str(bundle),
            "AWS_ENDPOINT_URL_PINPOINT": url(port).replace("http:", "https:"),
        }
        measured = _in_turn(
            {name: begin(clients[name]) for name in (OURS, BOTO3_THREADS)}, rounds, progress
        )
    return {
        moment: {name: [each[place] for each in costs] for name, costs in measured.items()}
        for place, moment in enumerate(BEGINNING)
    }


def peers(clients: Clients, rounds: int, progress: Progress) -> dict[str, Peer]:
    """Send with other libraries, each with 50 ms for a call."""
    with ExitStack() as stack:
        port = stack.enter_context(simulated_service(0.05))
        endpoints = {
            "AWS_ENDPOINT_URL_PINPOINT": url(port),
            "FCM_URL": url(port) + "/v1/projects/{0}/messages:send",
        }
        rounds_of = {
            name: _round(stack.enter_context(running_client(clients[name], endpoints)), 1, tokens)
            for name, tokens in PEERS.items()
        }
        measured = _in_turn(rounds_of, rounds, progress)
    return {name: Peer(PEERS[name], costs) for name, costs in measured.items()}


def keyed(clients: Clients, rounds: int, progress: Progress) -> dict[int, Measured]:
    """Send requests without a key and with one, which the table stores."""
    measured: dict[int, Measured] = {}
    with ExitStack() as stack:
        endpoints = {
            "AWS_ENDPOINT_URL_PINPOINT": url(stack.enter_context(simulated_service(0.05))),
            "AWS_ENDPOINT_URL_DYNAMODB": url(stack.enter_context(simulated_service(TABLE_LATENCY))),
        }
        client = stack.enter_context(running_client(clients[KEYED], endpoints))
        for place, size in enumerate(RECIPIENTS):

            def report(done: int, _: int, before: int = place * rounds) -> None:
                progress(before + done, rounds * len(RECIPIENTS))

            measured[size] = _in_turn(
                {OURS: _round(client, 1, size), KEYED: _round(client, 1, size, keyed=True)},
                rounds,
                report,
            )
    return measured


def users(clients: Clients, rounds: int, progress: Progress) -> Measured:
    """Send requests to users, and to the tokens of as many devices."""
    with ExitStack() as stack:
        table = stack.enter_context(simulated_service(TABLE_LATENCY))
        endpoints = {
            "AWS_ENDPOINT_URL_PINPOINT": url(stack.enter_context(simulated_service(0.05))),
            "AWS_ENDPOINT_URL_DYNAMODB": url(table),
        }
        running = {
            name: stack.enter_context(running_client(clients[name], endpoints))
            for name in (OURS, USERS)
        }
        return _in_turn(
            {name: _round(client, 1, DEVICES) for name, client in running.items()},
            rounds,
            progress,
        )


def rows(clients: Clients, rounds: int, progress: Progress) -> Measured:
    """Send the rows of children, and direct requests to as many recipients.

    An event is text until the clock starts, and the answer is written as text: a request holds
    its recipients, and the payload of a child does not.
    """
    with TemporaryDirectory() as directory, ExitStack() as stack:
        table = stack.enter_context(simulated_service(TABLE_LATENCY))
        endpoints = {
            "AWS_ENDPOINT_URL_PINPOINT": url(stack.enter_context(simulated_service(0.05))),
            "AWS_ENDPOINT_URL_DYNAMODB": url(table),
            "AWS_ENDPOINT_URL_S3": url(stack.enter_context(simulated_service(OBJECT_LATENCY))),
        }
        files = {PLAIN_ROWS: TOKENS, EXPORT_ROWS: EXPORT}
        running = {}
        for name in (REQUEST, KEYED_REQUEST, *files):
            file = Path(directory, f"{files.get(name, TOKENS)}.csv")
            write_rows(file, files.get(name, TOKENS), ROWS_A_CHILD)
            client = running_client(clients[name], {**endpoints, "JOB_FILE": str(file)})
            running[name] = stack.enter_context(client)
        return _in_turn(
            {
                name: _round(client, CHILDREN, ROWS_A_CHILD, keyed=name == KEYED_REQUEST)
                for name, client in running.items()
            },
            rounds,
            progress,
        )


def url(port: int) -> str:
    """Return the URL of a port on loopback."""
    return f"http://127.0.0.1:{port}"


def _run_all(
    stack: ExitStack, clients: Clients, names: Sequence[str], port: int
) -> dict[str, RunningClient]:
    endpoints = {"AWS_ENDPOINT_URL_PINPOINT": url(port)}
    return {name: stack.enter_context(running_client(clients[name], endpoints)) for name in names}


def _round(
    client: RunningClient, requests: int, recipients: int, *, keyed: bool = False
) -> Callable[[], Cost]:
    return lambda: client.run_round(requests, recipients, keyed=keyed)


def _in_turn(
    clients: Mapping[str, Callable[[], _T]], rounds: int, progress: Progress
) -> dict[str, list[_T]]:
    """Measure every client once a round, in the opposite order in each next round.

    The first round is not counted: it fills the disk's cache and makes connections and workers.
    """
    measured: dict[str, list[_T]] = {name: [] for name in clients}
    order = list(clients)
    for number in range(rounds + 1):
        progress(number, rounds)
        for name in order:
            costs = clients[name]()
            if number:
                measured[name].append(costs)
        order.reverse()
    return measured
