"""The files of the last release and of this working tree, as a test can run them.

They are those of ``make release``, with an archive for this machine, so that every Python of this
project can run it. The tree of the release makes its own, with the packages that are installed
here.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import REPOSITORY

_OUT = REPOSITORY / ".build" / "releases"
_KEPT = 4  # states of this version
_SOURCES = ("cdk.json", "infra", "lambda_src")
_VERSION_FILE = "lambda_src/push_sender/__init__.py"
_HEADING = re.compile(r"^## \[?(\d[^\]\s]*)\]? - \d{4}-\d{2}-\d{2}$", re.MULTILINE)

_PROGRAM = """
import json, shutil, sys
from pathlib import Path

from infra.bundle import build
from infra.bundle.wheels import this_machine
from infra.release.template import template_of

archives, folder, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
bundle = build(this_machine(), out=archives)
context = json.loads(Path("cdk.json").read_text())["context"]
template = template_of(context, bundle, f"{name}.zip")
shutil.copy(bundle.path, folder / f"{name}.zip")
(folder / f"{name}.template.json").write_text(json.dumps(template, indent=1))
"""


class NoReleaseError(Exception):
    """There is no release to be found; the message says why."""


class Release(NamedTuple):
    """A released version and its commit."""

    version: str
    commit: str


class Files(NamedTuple):
    """What a person deploys of a version."""

    archive: Path
    template: Path


def last_release() -> Release:
    """Find the release before this version.

    A release is the commit that wrote the section of its version into the changelog.

    Raises
    ------
    NoReleaseError
        If there is none, or this clone has no history to find it in.
    """
    versions = _HEADING.findall((REPOSITORY / "CHANGELOG.md").read_text())
    own = _version((REPOSITORY / _VERSION_FILE).read_text())
    version = next((each for each in versions if each != own), None)
    if version is None:
        raise NoReleaseError("no version was released before this one")
    return Release(version, tagged(version) or released(version))


def tagged(version: str, clone: Path = REPOSITORY) -> str | None:
    """Return the commit of a version's tag, or None if the clone does not have it."""
    found = _git(clone, "rev-parse", "--quiet", "--verify", f"v{version}^{{commit}}")
    return found.decode().strip() or None


def released(version: str, clone: Path = REPOSITORY) -> str:
    """Return the commit that wrote the section of a version into the changelog.

    Raises
    ------
    NoReleaseError
        If the history of the clone does not go back so far.
    """
    heading = rf"^## \[?{re.escape(version)}\]? - "
    listed = _git(
        clone, "log", "--format=%H", "--pickaxe-regex", "-S", heading, "--", "CHANGELOG.md"
    ).split()
    commit = listed[-1].decode() if listed else "none"  # the first that has the heading
    # A shallow clone lists its oldest commit, which may be a later one.
    if _version(_git(clone, "show", f"{commit}:{_VERSION_FILE}").decode()) != version:
        raise NoReleaseError(f"this clone has neither the tag v{version} nor the history to it")
    return commit


def files_of_release(release: Release) -> Files:
    """Make the files of a release from its commit, once."""
    folder = _OUT / f"last-{release.commit}-{sys.implementation.cache_tag}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory() as tree:
            content = _git(REPOSITORY, "archive", "--format=zip", release.commit, *_SOURCES)
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(tree)
            _make(Path(tree), folder)
    return _in(folder)


def files_of_working_tree() -> Files:
    """Make the files of this version as it is, once for each state of its sources."""
    digest = hashlib.sha256(str(sys.implementation.cache_tag).encode())
    for path in sorted(_sources()):
        digest.update(f"{path.relative_to(REPOSITORY)}\n".encode() + path.read_bytes())
    folder = _OUT / f"this-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        _make(REPOSITORY, folder)
        made = sorted(_OUT.glob("this-*"), key=lambda each: each.stat().st_mtime)
        for oldest in made[:-_KEPT]:
            shutil.rmtree(oldest)
    return _in(folder)


def _sources() -> Iterator[Path]:
    for name in _SOURCES:
        path = REPOSITORY / name
        found = path.rglob("*") if path.is_dir() else [path]
        yield from (each for each in found if each.is_file() and "__pycache__" not in each.parts)


def _make(tree: Path, folder: Path) -> None:
    """Let a tree make its files. Several processes may do it at the same time."""
    _OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_OUT, prefix=".unfinished-") as scratch:
        made = Path(scratch, "files")
        made.mkdir()
        # As in a release, each archive has its own name, so that an update takes the new one.
        arguments = [str(REPOSITORY / ".build"), str(made), f"push-sender-{folder.name}"]
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *arguments],
            cwd=tree,
            # The CDK's own validation takes 3 s; the tests of the stack do it.
            env={**os.environ, "CDK_VALIDATION": "false"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            assert folder.is_dir()


def _in(folder: Path) -> Files:
    (archive,), (template,) = folder.glob("*.zip"), folder.glob("*.template.json")
    return Files(archive, template)


def _version(module: str) -> str:
    found = re.search(r'^__version__ = "([^"]+)"$', module, re.MULTILINE)
    return found[1] if found else ""


def _git(clone: Path, *arguments: str) -> bytes:
    """Return what git says of a clone; nothing if it fails."""
    # In a container, the folder may belong to another user.
    command = ["git", "-c", f"safe.directory={clone}", *arguments]
    try:
        return subprocess.run(command, cwd=clone, capture_output=True, check=False).stdout
    except FileNotFoundError:  # there is no git here
        return b""
