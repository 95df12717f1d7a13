"""The devices that a request under a key chose: kept so that a repetition chooses no others.

A device stands there as a digest of its id. 5,000 devices take 40 KB.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from push_sender.idempotency.records import UnknownFormatError

_FORMAT: Final = b"1"
DIGEST_BYTES: Final = 8
"""The length of ``recipients.resolution.digest``."""


class Targets(NamedTuple):
    """The chosen devices, and the batches that they were planned in.

    Attributes
    ----------
    devices
        For each recipient who is a user, the digests of the devices, in their order.
    parts
        The first position of each batch of each run.
    """

    devices: Sequence[Sequence[bytes]]
    parts: Sequence[int]

    def pack(self) -> bytes:
        """Write them: the counts as JSON, a line break, and all digests."""
        counts = [len(each) for each in self.devices]
        head = json.dumps([counts, list(self.parts)], separators=(",", ":"))
        digests = b"".join(digest for each in self.devices for digest in each)
        return _FORMAT + head.encode() + b"\n" + digests

    @classmethod
    def unpack(cls, packed: bytes) -> Targets:
        """Read what ``pack`` wrote.

        Raises
        ------
        UnknownFormatError
            If another release wrote another format.
        """
        if packed[:1] != _FORMAT:
            raise UnknownFormatError
        head, _, digests = packed[1:].partition(b"\n")
        counts, parts = json.loads(head)
        devices, start = [], 0
        for count in counts:
            end = start + count * DIGEST_BYTES
            devices.append(
                [digests[at : at + DIGEST_BYTES] for at in range(start, end, DIGEST_BYTES)]
            )
            start = end
        return cls(devices, parts)
