"""Who takes part in a measurement, and with which packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.packages import Compiled, bare_boto3, peers, powertools, unpacked_bundle
from bench.processes import Side

OURS: Final = "push sender"
SIXTEEN: Final = "push sender, 16 calls at once"
HTTP: Final = "push sender over HTTP"
BARE: Final = "boto3 alone"
GOOD: Final = "boto3, 100 a call, 8 threads"
PLAIN: Final = "boto3, one call a token"
POWERTOOLS: Final = "boto3 with all of Powertools"
FIREBASE: Final = "firebase-admin send_each"
AIOAPNS: Final = "aioapns"
KEYED: Final = "push sender with a key"
UNCOMPILED: Final = ", without bytecode"
"""What ends the name of a side whose packages are source alone."""


@dataclass(frozen=True)
class Lineup:
    """Every side, ready to run.

    Attributes
    ----------
    by_name
        The sides.
    peers
        The directory of the other libraries.
    """

    by_name: dict[str, Side]
    peers: Path

    def __getitem__(self, name: str) -> Side:
        return self.by_name[name]


def make_lineup() -> Lineup:
    """Install what each side needs, where it is not there yet."""
    others = peers()
    sides = [
        Side(FIREBASE, "firebase", "Side", others),
        Side(AIOAPNS, "aioapns_", "Side", others),
    ]
    ours, boto3 = unpacked_bundle(Compiled.YES), bare_boto3(Compiled.YES)
    alone = {"APPLICATION_IDS": "bench"}
    sides += [
        Side(SIXTEEN, "ours", "Direct", ours, {**alone, "SEND_CONCURRENCY": "16"}),
        Side(KEYED, "ours", "Direct", ours, {**alone, "IDEMPOTENCY_TABLE": "bench"}),
        Side(GOOD, "boto3_alone", "Good", boto3),
        Side(PLAIN, "boto3_alone", "Plain", boto3),
    ]
    for ending, compiled in (("", Compiled.YES), (UNCOMPILED, Compiled.NO)):
        ours, boto3 = unpacked_bundle(compiled), bare_boto3(compiled)
        sides += [
            Side(OURS + ending, "ours", "Direct", ours, alone),
            Side(HTTP + ending, "ours", "Http", ours, alone),
            Side(BARE + ending, "boto3_alone", "Good", boto3),
            Side(POWERTOOLS + ending, "powertools", "Whole", powertools(compiled)),
        ]
    return Lineup({side.name: side for side in sides}, others)
