"""The clients that are compared, and their packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.packages import Compiled, bare_boto3, peers, powertools, unpacked_bundle
from bench.processes import Client

OURS: Final = "push sender"
OURS_16_CALLS: Final = "push sender, 16 calls at once"
HTTP: Final = "push sender over HTTP"
BARE_BOTO3: Final = "bare boto3"
BOTO3_THREADS: Final = "boto3, 100 a call, 8 threads"
BOTO3_SINGLE: Final = "boto3, one call a token"
POWERTOOLS: Final = "boto3 with all of Powertools"
FIREBASE: Final = "firebase-admin send_each"
KEYED: Final = "push sender with a key"
REQUEST: Final = "direct request"
KEYED_REQUEST: Final = "direct request with a key"
USERS: Final = "users with two devices"
PLAIN_ROWS: Final = "rows with a token"
EXPORT_ROWS: Final = "rows of Pinpoint's export"
NO_BYTECODE: Final = ", without bytecode"
"""The end of the name of a client whose packages have no bytecode."""


@dataclass(frozen=True)
class Clients:
    """The clients, ready to run.

    Attributes
    ----------
    by_name
        By their names.
    peers
        The directory of the other libraries.
    """

    by_name: dict[str, Client]
    peers: Path

    def __getitem__(self, name: str) -> Client:
        return self.by_name[name]


def install_clients() -> Clients:
    """Install what each client needs, if it is missing."""
    others = peers()
    clients = [Client(FIREBASE, "firebase", "Client", others)]
    ours, boto3 = unpacked_bundle(Compiled.YES), bare_boto3(Compiled.YES)
    settings = {"APPLICATION_IDS": "bench"}
    with_table = {**settings, "IDEMPOTENCY_TABLE": "bench"}
    clients += [
        Client(OURS_16_CALLS, "function", "Direct", ours, {**settings, "SEND_CONCURRENCY": "16"}),
        Client(KEYED, "function", "Direct", ours, with_table),
        Client(REQUEST, "function", "Parsed", ours, settings),
        Client(KEYED_REQUEST, "function", "Parsed", ours, with_table),
        Client(USERS, "function", "Users", ours, {**settings, "DEVICES_TABLE": "bench"}),
        Client(PLAIN_ROWS, "function", "Rows", ours, with_table),
        Client(EXPORT_ROWS, "function", "Rows", ours, with_table),
        Client(BOTO3_THREADS, "bare_boto3", "Threads", boto3),
        Client(BOTO3_SINGLE, "bare_boto3", "Single", boto3),
    ]
    for ending, compiled in (("", Compiled.YES), (NO_BYTECODE, Compiled.NO)):
        ours, boto3 = unpacked_bundle(compiled), bare_boto3(compiled)
        clients += [
            Client(OURS + ending, "function", "Direct", ours, settings),
            Client(HTTP + ending, "function", "Http", ours, settings),
            Client(BARE_BOTO3 + ending, "bare_boto3", "Threads", boto3),
            Client(POWERTOOLS + ending, "powertools", "Handler", powertools(compiled)),
        ]
    return Clients({client.name: client for client in clients}, others)
