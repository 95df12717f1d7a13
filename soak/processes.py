"""What Linux says of processes: connections beyond this machine, memory, and their end."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TABLES: Final = ("tcp", "tcp6")
_REMOTE: Final = 2
_INODE: Final = 9
_END_SECONDS: Final = 5.0


def outside_connections(pids: Iterable[int], proc: Path = Path("/proc")) -> list[str]:
    """List the addresses beyond loopback to which processes have a TCP connection.

    Linux names the socket of each connection (proc(5), ``/proc/net/tcp``), for all processes of
    this one's network namespace at once. A process that has ended has none.
    """
    sockets = {inode for pid in pids for inode in _living(proc / str(pid))}
    lines = [
        line.split()
        for table in _TABLES
        for line in (proc / "net" / table).read_text().splitlines()[1:]
    ]
    addresses = [
        _address(columns[_REMOTE].partition(":")[0])
        for columns in lines
        if columns[_INODE] in sockets
    ]
    return [
        str(address)
        for address in addresses
        if not address.is_loopback and not address.is_unspecified  # such as a listening socket
    ]


def _living(folder: Path) -> set[str]:
    """Return the inodes of a process's sockets, or none if it has ended."""
    try:
        return sockets_of(folder)
    except (FileNotFoundError, ProcessLookupError):
        return set()


def sockets_of(folder: Path) -> set[str]:
    """Return the inodes of a process's sockets, by its folder in /proc."""
    return {inode for each in (folder / "fd").iterdir() for inode in _socket(each)}


def _socket(descriptor: Path) -> list[str]:
    """Return the inode of a descriptor if it is a socket."""
    try:
        return re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink()))
    except FileNotFoundError:  # closed meanwhile
        return []


def _address(words: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse the kernel's form of an address: words of four bytes, each in the host's order."""
    packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def usage_of(pid: int) -> tuple[float, int, int] | None:
    """Return a process's resident MB, threads and open sockets; None if it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(
            line.split(":", 1)
            for line in (folder / "status").read_text().splitlines()
            if ":" in line
        )
        sockets = len(sockets_of(folder))
    except FileNotFoundError:
        return None
    if "VmRSS" not in status:  # a zombie
        return None
    memory = int(status["VmRSS"].split()[0]) / 1_000
    return round(memory, 1), int(status["Threads"]), sockets


def wait_until_ended(pid: int) -> None:
    """Wait until a killed process has ended, or is a zombie."""
    end = time.monotonic() + _END_SECONDS
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.001)
    raise TimeoutError("a killed process did not end")
