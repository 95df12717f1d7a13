"""What the two sides import, laid out as each would have it, and what it weighs zipped.

Ours is the bundle, unpacked as Lambda unpacks it. Bare boto3 is the same pinned version,
installed whole, with bytecode compiled in as ours has. Everything is kept under ``.build``,
by a key of what it was made from, and made again only when that changes. It is made for
one run at a time: two at once would disturb each other's figures anyway.
"""

from __future__ import annotations

import compileall
import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.bundle import OUT, SOURCE, build
from infra.wheels import LAMBDA_ARM64, install_wheels, this_machine

BENCH = OUT / "bench"
REQUIREMENTS = SOURCE / "requirements.txt"
OF_BOTO3 = frozenset(
    {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
)
"""boto3 and what it requires."""


def unpacked_bundle() -> Path:
    """Build the function's bundle for this machine and unpack it."""
    bundle = build(this_machine())

    def unpack(directory: Path) -> None:
        with zipfile.ZipFile(bundle.path) as archive:
            archive.extractall(directory)

    return _kept(f"bundle-{bundle.digest[:16]}", unpack)


def bare_boto3() -> Path:
    """Install boto3 whole, at the bundle's version, with compiled bytecode."""
    pins = [pin for pin in _pins() if pin.split("==")[0] in OF_BOTO3]

    def install(directory: Path) -> None:
        install_wheels(pins, this_machine(), directory)
        compileall.compile_dir(
            directory, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )

    return _kept(f"boto3-{_key(*pins, repr(this_machine()))}", install)


def zipped_bytes() -> tuple[int, int]:
    """Weigh the bundle for Lambda, and the same packages whole, in bytes zipped."""
    pins = _pins()

    def install(directory: Path) -> None:
        install_wheels(pins, LAMBDA_ARM64, directory / "packages")
        shutil.make_archive(str(directory / "whole"), "zip", directory / "packages")
        shutil.rmtree(directory / "packages")

    whole = _kept(f"whole-{_key(*pins, repr(LAMBDA_ARM64))}", install)
    return build(LAMBDA_ARM64).size, (whole / "whole.zip").stat().st_size


def _pins() -> list[str]:
    return re.findall(r"^[\w.-]+==\S+", REQUIREMENTS.read_text(), re.MULTILINE)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """Give a directory under ``.build``, made before or made now, and never half of it."""
    directory = BENCH / name
    if not directory.exists():
        unfinished = BENCH / f".unfinished-{name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        for outdated in BENCH.glob(f"{name.split('-')[0]}-*"):
            shutil.rmtree(outdated)
        unfinished.rename(directory)
    return directory
