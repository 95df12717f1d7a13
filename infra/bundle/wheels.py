"""Fetch the wheels for a target: Lambda, or this machine for the sandbox.

Docker is not needed: pip fetches wheels for any target, nothing is compiled from source, and only
files with a hash of the lock are installed. ``refuse_foreign`` finally checks the compiled files.
The module imports only the standard library.
"""

from __future__ import annotations

import json
import logging
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from infra.install import package_index

UNFINISHED = ".unfinished-"  # starts the name of every directory of work in progress

log = logging.getLogger(__name__)


class BundleError(Exception):
    """The archive cannot be built; the message says why and the cure."""


# --------------------------------------------------------------------------- targets


@dataclass(frozen=True)
class Target:
    """The platform of wheels and archives: a CPython on a machine.

    Attributes
    ----------
    name
        Part of the archive's file name.
    python
        Version as ``major.minor``.
    abi, platforms
        Tags of the matching wheels in pip's form; the best platform first.
    machine
        The processor's name in the operating system.
    soabi
        The tag in the name of a compiled module, ``x.<soabi>.so``.
    """

    name: str
    python: str
    abi: str
    platforms: tuple[str, ...]
    machine: str
    soabi: str

    def __str__(self) -> str:
        return f"CPython {self.python} on {self.machine} ({self.platforms[0]} or older)"


def platform_tags(system: str, machine: str, version: str) -> tuple[str, ...]:
    """List the platform tags of wheels that run on a system, the best first.

    Parameters
    ----------
    system, machine
        From ``platform.system()`` and ``platform.machine()``.
    version
        Of glibc on Linux (empty: musl), of macOS on Darwin.
    """
    if system == "Darwin":
        major, minor = version.split(".")[:2]
        # pip adds the older releases and universal2 by itself.
        return (f"macosx_{major}_{minor if major == '10' else 0}_{machine}",)
    if system != "Linux":
        return (sysconfig.get_platform().replace("-", "_").replace(".", "_"),)
    if not version:
        return (f"musllinux_1_2_{machine}", f"musllinux_1_1_{machine}")
    # The oldest tags exist only for some machines; for others they have no effect.
    numbered = [f"manylinux_2_{minor}" for minor in range(int(version.split(".")[1]), 4, -1)]
    aliases = ["manylinux2014", "manylinux2010", "manylinux1"]
    return tuple(f"{tag}_{machine}" for tag in numbered + aliases)


def _lambda_target(architecture: str, machine: str) -> Target:
    return Target(
        name=f"lambda-{architecture}",
        python="3.13",
        abi="cp313",
        platforms=platform_tags("Linux", machine, "2.34"),  # Amazon Linux 2023
        machine=machine,
        soabi=f"cpython-313-{machine}-linux-gnu",
    )


LAMBDA_ARM64 = _lambda_target("arm64", "aarch64")
LAMBDA_X86_64 = _lambda_target("x86_64", "x86_64")


def this_machine() -> Target:
    """Describe this interpreter on this machine, for the sandbox."""
    if sys.implementation.name != "cpython":
        raise BundleError(f"the sandbox needs CPython, and this is {sys.implementation.name}")
    major, minor = sys.version_info[:2]
    system, machine = platform.system(), platform.machine()
    version = platform.mac_ver()[0] if system == "Darwin" else platform.libc_ver()[1]
    soabi = str(sysconfig.get_config_var("SOABI") or "")
    return Target(
        name="local",
        python=f"{major}.{minor}",
        abi=f"cp{major}{minor}{getattr(sys, 'abiflags', '')}",
        platforms=platform_tags(system, machine, "" if "musl" in soabi else version),
        machine=machine,
        soabi=soabi,
    )


# --------------------------------------------------------------------------- installing


def install_wheels(
    lock: str, target: Target, directory: Path, *, name: str = "the lock"
) -> dict[str, str]:
    """Install wheels for a target into a directory, all or none.

    Parameters
    ----------
    lock
        The text of a requirements file with every package, its version and its hashes.
    target
        The platform.
    directory
        The directory; it may exist if it is empty.
    name
        The lock's name, for messages.

    Returns
    -------
    wheels
        The SHA-256 of each wheel, by the name of its file.

    Raises
    ------
    BundleError
        If a wheel is missing or differs from the lock, if the network, pip or the disk fails, or
        if the directory is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise BundleError(f"{directory} is not empty: wheels need a directory of their own")
    directory.parent.mkdir(parents=True, exist_ok=True)
    pip = package_index.for_pip(sys.executable)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=UNFINISHED) as scratch:
        log.info("installing packages for %s", target)
        site, notes, file = (Path(scratch, each) for each in ("site", "pip.log", "lock.txt"))
        report = Path(scratch, "report.json")
        site.mkdir()
        file.write_text(lock)
        options = ["--target", str(site), "--only-binary=:all:", "--no-compile", "--no-deps"]
        options += ["--quiet", "--log", str(notes), "--require-hashes", "-r", str(file)]
        options += ["--report", str(report)]
        options += ["--implementation", "cp", "--python-version", target.python]
        options += ["--abi", target.abi]
        options += [f"--platform={tag}" for tag in target.platforms]
        result = subprocess.run(  # noqa: S603  our own command, no shell
            [sys.executable, "-m", "pip", "install", *pip.options, *options],
            env=pip.environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if result.returncode:
            verbose = notes.read_text(errors="replace") if notes.exists() else ""
            raise BundleError(_explain(result.stdout + result.stderr, verbose, target, name))
        try:
            site.rename(directory)
        except OSError:
            # Another process installed the same there in the meantime.
            if not directory.is_dir() or not any(directory.iterdir()):
                raise
        return _wheels_in(report)


def _wheels_in(report: Path) -> dict[str, str]:
    """Read which files pip installed: https://pip.pypa.io/en/stable/reference/installation-report."""
    chosen = [each["download_info"] for each in json.loads(report.read_text())["install"]]
    return {
        unquote(each["url"].rpartition("/")[2]): each["archive_info"]["hashes"]["sha256"]
        for each in sorted(chosen, key=lambda info: str(info["url"].rpartition("/")[2]))
    }


def _explain(output: str, verbose: str, target: Target, lock: str) -> str:
    """Make one message from pip's output."""
    if "No module named pip" in output:
        return f"{sys.executable} has no pip: run `{sys.executable} -m ensurepip`, or use `make`"
    changed = re.search(r"^ +(\S+==\S+) from (\S+) \(from -r .+ \(line (\d+)\)\):$", output, re.M)
    if changed:
        file = re.split(r"[/#]", changed[2].partition("#")[0])[-1]
        return (
            f"{file} is not a file that {lock}, line {changed[3]}, names for {changed[1]}: it was "
            "changed on its way or at the package index, so nothing of it was installed"
        )
    unpinned = re.search(
        r"^    (\S+?)(?:==\S+)? --hash=|must have their versions pinned", output, re.M
    )
    if unpinned:
        return f"{lock} lacks the hashes of {unpinned[1] or 'a package'}: run `make lock`"
    lines = [line.strip() for line in output.splitlines()]
    lines = [line for line in lines if line and not line.startswith("[notice]")]
    last = lines[-1].removeprefix("ERROR: ") if lines else "no output"
    reason = package_index.unread(verbose) or output
    cause = package_index.explain(reason)
    if cause:
        return f"{cause} (pip: {last if reason == output else reason})"
    missing = re.search(r"No matching distribution found for (\S+)", last)
    if missing:
        return (
            f"no wheel of {missing[1]} for {target}; wheels only, because the bundle must not "
            f"depend on a compiler: pin a version that has one (pip: {last})"
        )
    return f"pip could not install the packages for {target}: {last}"


# --------------------------------------------------------------------------- compiled files


_ELF_MACHINES = {0x03: "i686", 0x28: "armv7l", 0x3E: "x86_64", 0xB7: "aarch64", 0xF3: "riscv64"}
_MACH_O_MACHINES = {0x01000007: "x86_64", 0x0100000C: "arm64"}


def refuse_foreign(name: str, content: bytes, target: Target) -> None:
    """Raise a BundleError if a target cannot load a compiled file, by its content or name.

    A wheel's tags may be wrong, and the function's folder may contain a local build.
    """
    machines = _machines(content)
    if machines is None and not name.endswith(".so"):
        return
    if machines is None or target.machine not in machines:
        made_for = " and ".join(sorted(machines or ())) or "no known machine"
        raise BundleError(f"{name} is made for {made_for}, and the bundle is for {target}")
    tag = re.search(r"\.((?:cpython|pypy)[^./]*)\.so$", name)
    if tag and tag[1] != target.soabi:
        raise BundleError(f"{name} is made for {tag[1]}, and the bundle is for {target.soabi}")


def _machines(content: bytes) -> set[str] | None:
    """List the machines of a compiled file; None if it is not compiled."""
    magic = content[:4]
    if magic == b"\x7fELF":
        code = int.from_bytes(content[18:20], "little" if content[5] == 1 else "big")
        return {_ELF_MACHINES.get(code, f"ELF machine {code:#x}")}
    if magic == b"\xcf\xfa\xed\xfe":  # Mach-O, 64 bits
        codes = [int.from_bytes(content[4:8], "little")]
    elif magic == b"\xca\xfe\xba\xbe":  # Mach-O, several machines in one file
        count = int.from_bytes(content[4:8], "big")
        codes = [int.from_bytes(content[8 + 20 * i :][:4], "big") for i in range(count)]
    else:
        return None
    return {_MACH_O_MACHINES.get(code, f"Mach-O machine {code:#x}") for code in codes}
