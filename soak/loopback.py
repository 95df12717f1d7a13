"""Sees whether a process talks to anybody but this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_TABLES: Final = ("tcp", "tcp6")
_REMOTE: Final = 2
_INODE: Final = 9


def strangers(pids: Iterable[int], proc: Path = Path("/proc")) -> list[str]:
    """List the addresses beyond loopback that processes have a TCP connection to.

    Linux tells of each connection whose it is (proc(5), ``/proc/net/tcp``). A process that is
    gone has none.
    """
    return [address for pid in pids for address in _of_process(proc / str(pid))]


def _of_process(place: Path) -> Iterator[str]:
    try:
        sockets = sockets_of(place)
        lines = [
            line.split()
            for table in _TABLES
            for line in (place / "net" / table).read_text().splitlines()[1:]
        ]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return
    for columns in lines:
        address = _address(columns[_REMOTE].partition(":")[0])
        near = address.is_loopback or address.is_unspecified  # as of one that listens
        if columns[_INODE] in sockets and not near:
            yield str(address)


def sockets_of(place: Path) -> set[str]:
    """Give the inodes of a process's sockets, by its place in /proc."""
    return {inode for each in (place / "fd").iterdir() for inode in _socket(each)}


def _socket(descriptor: Path) -> list[str]:
    """Give the inode of a descriptor that is a socket."""
    try:
        return re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink()))
    except FileNotFoundError:  # closed meanwhile
        return []


def _address(words: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address as the kernel writes it: words of four bytes, each in the host's order."""
    packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
