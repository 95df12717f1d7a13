"""The packages of each client, and the sizes of the archives.

The function uses the bundle, unpacked as in Lambda. Bare boto3 is the same pinned version, fully
installed. The Powertools handler adds Powertools and its tracer. The other libraries have their
own environment. Each is kept under ``.build`` and made again only if its input changes. Only one
run at a time may make them; two would disturb each other's figures anyway.
"""

from __future__ import annotations

import compileall
import hashlib
import shutil
import zipfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final, NamedTuple

from infra.bundle import OUT, build
from infra.bundle.wheels import LAMBDA_ARM64, install_wheels, this_machine
from infra.install.locks import EVERYTHING, FUNCTION, PEERS, entries

BENCH: Final = OUT / "bench"
OF_BOTO3: Final = (
    *("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"),
)
"""boto3 and what it requires."""

TRACER: Final = ("aws-xray-sdk", "wrapt")
"""Powertools' tracer, without boto3."""


class Compiled(Enum):
    """Whether there is bytecode, or each cold start compiles the sources."""

    YES = "compiled"
    NO = "source"


def unpacked_bundle(compiled: Compiled) -> Path:
    """Build the function's bundle for this machine and unpack it."""
    bundle = build(this_machine(), bytecode=compiled is Compiled.YES)

    def unpack(directory: Path) -> None:
        with zipfile.ZipFile(bundle.path) as archive:
            archive.extractall(directory)

    return _kept(f"bundle_{compiled.value}", bundle.digest[:16], unpack)


def bare_boto3(compiled: Compiled) -> Path:
    """Install all of boto3, at the bundle's version."""
    return _installed("boto3", entries(EVERYTHING.read_text(), *OF_BOTO3), compiled)


def powertools(compiled: Compiled) -> Path:
    """Install all files of the function's packages, and Powertools' tracer."""
    ours = {*entries(FUNCTION.read_text()), *entries(EVERYTHING.read_text(), *OF_BOTO3)}
    tracer = entries(PEERS.read_text(), *TRACER)
    return _installed("powertools", [*sorted(ours), *tracer], compiled)


def peers() -> Path:
    """Install the other libraries, and matplotlib for the chart."""
    return _installed("peers", entries(PEERS.read_text()), Compiled.YES)


class Zipped(NamedTuple):
    """The sizes of archives for Lambda, in bytes.

    Attributes
    ----------
    bundle, source
        Ours with bytecode, and without.
    whole
        The same packages with all their files, without bytecode.
    """

    bundle: int
    source: int
    whole: int


def zipped() -> Zipped:
    """Build the archives and return their sizes."""
    lock = entries(FUNCTION.read_text())

    def install(directory: Path) -> None:
        install_wheels("\n".join(lock), LAMBDA_ARM64, directory / "packages")
        shutil.make_archive(str(directory / "complete"), "zip", directory / "packages")
        shutil.rmtree(directory / "packages")

    whole = _kept("complete", _key(*lock, repr(LAMBDA_ARM64)), install)
    return Zipped(
        build(LAMBDA_ARM64).size,
        build(LAMBDA_ARM64, bytecode=False).size,
        (whole / "complete.zip").stat().st_size,
    )


def _installed(name: str, lock: list[str], compiled: Compiled) -> Path:
    def install(directory: Path) -> None:
        install_wheels("\n".join(lock), this_machine(), directory)
        if compiled is Compiled.YES:
            compileall.compile_dir(
                directory, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
            )

    return _kept(f"{name}_{compiled.value}", _key(*lock, repr(this_machine())), install)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _kept(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return a complete directory under ``.build``, and make it if it does not exist.

    It is read-only, as in Lambda.
    """
    directory = BENCH / f"{kind}-{key}"
    if not directory.exists():
        unfinished = BENCH / f".unfinished-{kind}"
        _remove(unfinished)
        unfinished.mkdir(parents=True)
        make(unfinished)
        for outdated in BENCH.glob(f"{kind}-*"):
            _remove(outdated)
        unfinished.rename(directory)
        _protect(directory)
    return directory


def _protect(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


def _remove(directory: Path) -> None:
    if not directory.exists():
        return
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    shutil.rmtree(directory)
