"""The command line ``python -m infra.release``, which ``make release`` calls."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.bundle import BundleError, build
from infra.bundle.archive import REPOSITORY
from infra.bundle.wheels import LAMBDA_ARM64, LAMBDA_X86_64
from infra.release.bill_of_materials import bill_of_materials
from infra.release.errors import ReleaseError
from infra.release.provenance import provenance
from infra.release.source import Source, read_source
from infra.release.template import template_of
from infra.settings import SettingsError

_TARGETS: Final = {"arm64": LAMBDA_ARM64, "x86_64": LAMBDA_X86_64}
_SUMS: Final = "SHA256SUMS"


def main(arguments: list[str] | None = None) -> int:
    """Build the release, print its files and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.release", description="Build the files of a release."
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="their folder")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        source = read_source(REPOSITORY)
        folder = chosen.out / source.version
        write_release(source, folder)
    except (ReleaseError, BundleError, SettingsError) as error:
        sys.stderr.write(f"No release was built: {error}\n")
        return 1
    sys.stdout.write(f"{folder}, from commit {source.commit}:\n{(folder / _SUMS).read_text()}")
    return 0


def write_release(source: Source, folder: Path) -> None:
    """Write all files of a release into a folder, which is made anew."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as scratch:
        files = Path(scratch, "files")
        files.mkdir()
        for name, content in _contents(source):
            (files / name).write_bytes(content)
        statement = provenance(source, _digests(files))
        (files / f"push-sender-{source.version}.provenance.json").write_bytes(_json(statement))
        lines = [f"{digest}  {name}\n" for name, digest in _digests(files).items()]
        (files / _SUMS).write_text("".join(lines))
        shutil.rmtree(folder, ignore_errors=True)
        files.rename(folder)


def _contents(source: Source) -> Iterator[tuple[str, bytes]]:
    """Make each file: its name and content."""
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    yield f"push-sender-{source.version}.notes.md", source.notes.encode()
    for architecture, target in _TARGETS.items():
        bundle = build(target)
        if not bundle.bytecode or sys.version_info[:2] != (3, 13):
            raise ReleaseError(
                "a release has the bytecode of Python 3.13, and must be built with it: "
                "make clean, then make PYTHON=python3.13 release"
            )
        name = f"push-sender-{source.version}-{architecture}"
        archive = f"{name}.zip"
        yield archive, bundle.path.read_bytes()
        listed = bill_of_materials(bundle, name=archive, version=source.version, time=source.time)
        yield f"{name}.cdx.json", listed.encode()
        template = template_of({**context, "architecture": architecture}, bundle, archive)
        yield f"{name}.template.json", _json(template)


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(folder.iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _json(content: object) -> bytes:
    return f"{json.dumps(content, indent=1)}\n".encode()


if __name__ == "__main__":
    sys.exit(main())
