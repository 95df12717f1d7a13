"""The measurements, each taken of all its sides in turn.

A round takes every side once, so that whatever else the machine does meets all of them
alike. A ratio is the median over the rounds of ours over bare boto3's in the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from bench.authority import Authority
from bench.lineup import (
    AIOAPNS,
    BARE,
    FIREBASE,
    GOOD,
    HTTP,
    KEYED,
    OURS,
    PLAIN,
    POWERTOOLS,
    SIXTEEN,
    UNCOMPILED,
    Lineup,
)
from bench.processes import Player, Side, Spent, apns_service, playing, service
from bench.results import Case, Peer, Taken

PUSHES: Final = 100
"""Warm pushes in a round."""

LATENCIES: Final = (0.0, 0.05, 0.2)
RECIPIENTS: Final = (1, 100, 1_000, 5_000)
TABLE_LATENCY: Final = 0.005

BEGINNING: Final = ("cold start to the first report", "then to 5,000", "to 5,000 once more")
"""What a process does first, over TLS."""

COLD: Final = (OURS, HTTP, BARE, POWERTOOLS)

PEERS: Final = {OURS: 5_000, GOOD: 5_000, AIOAPNS: 5_000, FIREBASE: 500, PLAIN: 20}
"""Tokens in a round: as many as each sends in a second or two."""

_T = TypeVar("_T")

Progress = Callable[[int, int], None]
"""Told the rounds done, and the rounds in all."""


def cold_start(lineup: Lineup, rounds: int, progress: Progress) -> Taken:
    """Start an interpreter, load a side and send one push; each time anew."""

    def start(name: str) -> Callable[[], Spent]:
        def once() -> Spent:
            with playing(lineup[name], {"AWS_ENDPOINT_URL_PINPOINT": url(port)}) as player:
                return player.cold_start

        return once

    names = [*COLD, *(name + UNCOMPILED for name in COLD)]
    with service(latency=0) as port:
        return _in_turn({name: start(name) for name in names}, rounds, progress)


def warm_push(lineup: Lineup, rounds: int, progress: Progress) -> Taken:
    """Send one push at a time in processes that are warm; the service answers at once."""
    with ExitStack() as stack:
        port = stack.enter_context(service(latency=0))
        players = _players(stack, lineup, (OURS, HTTP, BARE), port)
        return _in_turn(
            {name: _round(player, PUSHES, 1) for name, player in players.items()}, rounds, progress
        )


def many(lineup: Lineup, rounds: int, progress: Progress) -> dict[Case, Taken]:
    """Send requests of every size to services of every latency."""
    taken: dict[Case, Taken] = {}
    cases = [Case(latency, size) for latency in LATENCIES for size in RECIPIENTS]
    for number, latency in enumerate(LATENCIES):
        with ExitStack() as stack:
            port = stack.enter_context(service(latency))
            players = _players(stack, lineup, (OURS, SIXTEEN, GOOD), port)
            for place, size in enumerate(RECIPIENTS):
                before = (number * len(RECIPIENTS) + place) * rounds

                def tell(done: int, _: int, before: int = before) -> None:
                    progress(before + done, rounds * len(cases))

                taken[Case(latency, size)] = _in_turn(
                    {name: _round(player, 1, size) for name, player in players.items()},
                    rounds,
                    tell,
                )
    return taken


def over_tls(lineup: Lineup, rounds: int, progress: Progress) -> dict[str, Taken]:
    """Start a process that sends over TLS: one push, then to 5,000, and to 5,000 again.

    It trusts botocore's own authorities and one more, so that it has as many to read.
    """

    def begin(side: Side) -> Callable[[], Sequence[Spent]]:
        def once() -> Sequence[Spent]:
            with playing(side, endpoints) as player:
                return [player.cold_start, *(player.play(1, RECIPIENTS[-1]) for _ in range(2))]

        return once

    with TemporaryDirectory() as directory, ExitStack() as stack:
        authority = Authority()
        bundle, server = Path(directory, "bundle.pem"), Path(directory, "server.pem")
        others = lineup[GOOD].packages / "botocore" / "cacert.pem"
        bundle.write_bytes(others.read_bytes() + authority.certificate)
        server.write_bytes(authority.certify("127.0.0.1"))
        port = stack.enter_context(service(0.05, server))
        endpoints = {
            "AWS_CA_BUNDLE": str(bundle),
            "AWS_ENDPOINT_URL_PINPOINT": url(port).replace("http:", "https:"),
        }
        taken = _in_turn({name: begin(lineup[name]) for name in (OURS, GOOD)}, rounds, progress)
    return {
        moment: {name: [each[place] for each in spent] for name, spent in taken.items()}
        for place, moment in enumerate(BEGINNING)
    }


def peers(lineup: Lineup, rounds: int, progress: Progress) -> dict[str, Peer]:
    """Send with other libraries, each to an endpoint that takes 50 ms for each of its calls."""
    with ExitStack() as stack:
        port = stack.enter_context(service(0.05))
        apns_port = stack.enter_context(apns_service(lineup.peers, 0.05))
        endpoints = {
            "AWS_ENDPOINT_URL_PINPOINT": url(port),
            "FCM_URL": url(port) + "/v1/projects/{0}/messages:send",
            "APNS_PORT": str(apns_port),
        }
        rounds_of = {
            name: _round(stack.enter_context(playing(lineup[name], endpoints)), 1, tokens)
            for name, tokens in PEERS.items()
        }
        taken = _in_turn(rounds_of, rounds, progress)
    return {name: Peer(PEERS[name], spent) for name, spent in taken.items()}


def keyed(lineup: Lineup, rounds: int, progress: Progress) -> dict[int, Taken]:
    """Send requests without a key and with one, which a table then remembers."""
    taken: dict[int, Taken] = {}
    with ExitStack() as stack:
        endpoints = {
            "AWS_ENDPOINT_URL_PINPOINT": url(stack.enter_context(service(0.05))),
            "AWS_ENDPOINT_URL_DYNAMODB": url(stack.enter_context(service(TABLE_LATENCY))),
        }
        player = stack.enter_context(playing(lineup[KEYED], endpoints))
        for place, size in enumerate(RECIPIENTS):

            def tell(done: int, _: int, before: int = place * rounds) -> None:
                progress(before + done, rounds * len(RECIPIENTS))

            taken[size] = _in_turn(
                {OURS: _round(player, 1, size), KEYED: _round(player, 1, size, keyed=True)},
                rounds,
                tell,
            )
    return taken


def url(port: int) -> str:
    """Name a port of loopback."""
    return f"http://127.0.0.1:{port}"


def _players(
    stack: ExitStack, lineup: Lineup, names: Sequence[str], port: int
) -> dict[str, Player]:
    endpoints = {"AWS_ENDPOINT_URL_PINPOINT": url(port)}
    return {name: stack.enter_context(playing(lineup[name], endpoints)) for name in names}


def _round(
    player: Player, requests: int, recipients: int, *, keyed: bool = False
) -> Callable[[], Spent]:
    return lambda: player.play(requests, recipients, keyed=keyed)


def _in_turn(
    sides: Mapping[str, Callable[[], _T]], rounds: int, progress: Progress
) -> dict[str, list[_T]]:
    """Take every side once a round, in an order that turns around with each round.

    A first round is not counted: it fills the disk's cache, the connections and the workers.
    """
    taken: dict[str, list[_T]] = {name: [] for name in sides}
    order = list(sides)
    for number in range(rounds + 1):
        progress(number, rounds)
        for name in order:
            spent = sides[name]()
            if number:
                taken[name].append(spent)
        order.reverse()
    return taken
