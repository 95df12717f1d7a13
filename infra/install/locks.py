"""Write and read the locks: every package at one version, with the hashes of its files.

``pyproject.toml`` lists the direct packages in groups. ``make lock`` runs this module, which lets
uv write the locks. It imports only the standard library.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.install import package_index

REPOSITORY: Final = Path(__file__).resolve().parents[2]
EVERYTHING: Final = REPOSITORY / "requirements.txt"
FUNCTION: Final = REPOSITORY / "lambda_src" / "requirements.txt"
PEERS: Final = REPOSITORY / "bench" / "peers.txt"

# Each lock with its groups and the oldest Python that it supports. The first constrains the
# second, so that the tested versions are those that ship.
_LOCKS: Final = (
    (FUNCTION, ("function",), "3.11"),
    (EVERYTHING, ("all", "docs", "lock"), "3.11"),
    (PEERS, ("bench",), "3.12"),
)

_ENTRY: Final = re.compile(r"^([a-z0-9][a-z0-9._-]*)(==(?:.*\\\n)*.*)$", re.MULTILINE)
_NAME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?")


class LockError(Exception):
    """A lock lacks a package; the message names it and the cure."""


def entries(lock: str, *requirements: str) -> list[str]:
    """Return entries of a lock in the format of pip and uv: version, marker and hashes.

    Parameters
    ----------
    lock
        The lock's text.
    requirements
        Names of packages, optionally with extras; by default all packages.

    Raises
    ------
    LockError
        If a package is not in the lock.
    """
    found: dict[str, list[str]] = {}
    for name, rest in _ENTRY.findall(lock):
        found.setdefault(name, []).append(rest)
    if not requirements:
        return [f"{name}{rest}" for name, rests in found.items() for rest in rests]
    chosen = []
    for requirement in requirements:
        match = _NAME.match(requirement)
        name, extras = match.groups("") if match else (requirement, "")
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name not in found:
            raise LockError(f"the lock does not name {name}: run `make lock`")
        chosen += [f"{name}{extras}{rest}" for rest in found[name]]
    return chosen


def group(name: str) -> list[str]:
    """Return the requirements of a group in ``pyproject.toml`` and of the groups in it."""
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]

    def flat(name: str) -> Iterator[str]:
        for item in groups[name]:
            if isinstance(item, str):
                yield item
            else:
                yield from flat(item["include-group"])

    return list(dict.fromkeys(flat(name)))


def main(arguments: list[str]) -> int:
    """Write the locks and return the exit status; ``--upgrade`` chooses the newest versions."""
    uv = package_index.for_uv(sys.executable)
    # Only from the index itself, because an additional mirror may lack files for other machines.
    for additional in ("UV_INDEX", "UV_FIND_LINKS"):
        uv.environment.pop(additional, None)
    binaries = Path(sys.executable).parent
    for lock, groups, python in _LOCKS:
        command = [str(binaries / "uv"), "pip", "compile", "pyproject.toml", *uv.options]
        command += [f"--group={name}" for name in groups]
        command += ["--universal", "--generate-hashes", "--no-build", "--quiet"]
        command += ["--python", sys.executable, "--python-version", python]
        command += ["--constraint", str(FUNCTION)] if lock == EVERYTHING else []
        command += ["--custom-compile-command", "make lock", "--output-file", str(lock)]
        done = subprocess.run(  # noqa: S603  our own command, no shell
            [*command, *arguments], cwd=REPOSITORY, env=uv.environment, check=False
        )
        if done.returncode:
            return done.returncode
    npm = package_index.for_npm()
    verb = "update" if "--upgrade" in arguments else "install"
    return subprocess.run(  # noqa: S603  our own command, no shell
        [str(binaries / "npm"), verb, "--package-lock-only", *npm.options],
        cwd=REPOSITORY,
        env=npm.environment,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
