"""What a release is built from: a commit, its version, and the version's section of the changelog.

A release names its commit, so the folder must not differ from it.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.release.errors import ReleaseError


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of a release.

    Attributes
    ----------
    version
        The version, as the function logs it.
    commit
        The commit, in hex.
    time
        The time of the commit. Files of a release have no other time, so that they do not change.
    notes
        The section of the changelog, without its heading.
    """

    version: str
    commit: str
    time: datetime
    notes: str


def read_source(folder: Path) -> Source:
    """Read the source of a release from a folder under git.

    Raises
    ------
    ReleaseError
        If the folder is not under git, has changes that are not committed, or if the changelog
        has no section of the version.
    """
    version = _version(folder / "lambda_src" / "push_sender" / "__init__.py")
    notes = notes_of(version, (folder / "CHANGELOG.md").read_text())
    changes = _git(folder, "status", "--porcelain")
    if changes:
        names = ", ".join(line[3:] for line in changes.splitlines()[:5])
        raise ReleaseError(
            f"a release is built from a commit, and these files differ from it: {names}. "
            "Commit or remove them"
        )
    commit, seconds = _git(folder, "log", "-1", "--format=%H %ct").split()
    return Source(version, commit, datetime.fromtimestamp(int(seconds), UTC), notes)


def notes_of(version: str, changelog: str) -> str:
    """Return the section of a version: ``## 1.0.0 - 2026-12-01``, or with ``[1.0.0]``.

    Raises
    ------
    ReleaseError
        If there is none, or it is empty.
    """
    heading = rf"^## (?:{re.escape(version)}|\[{re.escape(version)}\]) - \d{{4}}-\d{{2}}-\d{{2}}\n"
    found = re.search(rf"{heading}(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    notes = found[1].strip() if found else ""
    if not notes:
        raise ReleaseError(
            f"CHANGELOG.md has no section of {version}: move the entries under a heading such as "
            f"'## {version} - 2026-12-01', or change __version__"
        )
    return f"{notes}\n"


def _version(module: Path) -> str:
    """Read the version without importing the function, which needs its packages."""
    found = re.search(r'^__version__ = "([^"]+)"$', module.read_text(), re.MULTILINE)
    if found is None:
        raise ReleaseError(f"{module} has no line __version__ = …")
    return found[1]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  our own command, no shell
            ["git", *arguments],  # noqa: S607  the git of the person who releases
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ReleaseError("git is missing: a release names the commit that it is from") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise ReleaseError(f"git {arguments[0]}: {last}")
    return done.stdout.rstrip("\n")
