"""Compile Python sources to the bytecode that Lambda runs, which shortens the cold start.

Bytecode belongs to one version of Python, so an interpreter of that version compiles, if this
machine has one. The bytecode is unchecked (PEP 552): Python never compares it with a source or its
date, because an archive does not keep dates. The same sources give the same bytes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.bundle.wheels import BundleError

TASK_ROOT = "/var/task"  # where Lambda unpacks the archive: the files' place in tracebacks


@dataclass(frozen=True)
class Compiler:
    """An interpreter of a version, ``major.minor``. Equal identities give equal bytecode."""

    executable: str
    python: str
    identity: str


_PROBE = """
import importlib.util, sys
print(sys.executable)
print(sys.implementation.cache_tag, sys.version_info.releaselevel)
print(importlib.util.MAGIC_NUMBER.hex(), *sys.version.split())
"""


def find_compiler(python: str) -> Compiler | None:
    """Find an interpreter of a version: this one, or one on PATH.

    Each candidate is run, because a version manager's shim may have no interpreter behind it. Only
    final releases of a version share one bytecode format.
    """
    if python == "{}.{}".format(*sys.version_info):
        candidates = [sys.executable]
    else:
        candidates = [f"{path}/python{python}" for path in os.get_exec_path()]
    wanted = f"cpython-{python.replace('.', '')} final"
    for candidate in candidates:
        try:
            answer = _run_plain([candidate, "-s", "-S", "-c", _PROBE], timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        lines = answer.stdout.splitlines()
        if answer.returncode == 0 and len(lines) == 3 and lines[1] == wanted:
            return Compiler(executable=lines[0], python=python, identity=lines[2])
    return None


def compile_all(site: Path, compiler: Compiler, *, keep_source: bool) -> None:
    """Compile every source under a directory, with its path in Lambda.

    In one new process, in sorted order and with fixed hashing, because marshalled code may depend
    on the state of the process.

    Parameters
    ----------
    site
        The directory.
    compiler
        The interpreter.
    keep_source
        Whether ``x.py`` stays, with ``__pycache__/x.cpython-313.pyc``. Otherwise ``x.pyc``
        replaces it.

    Raises
    ------
    BundleError
        If a source does not compile; the message names its file and line.
    """
    result = _run_plain(
        [compiler.executable, "-s", "-S", "-P", "-W", "ignore", "-m", "compileall", "-q", "-f"]
        + ([] if keep_source else ["-b"])
        + ["--invalidation-mode", "unchecked-hash", "-s", str(site), "-p", TASK_ROOT, str(site)]
    )
    if result.returncode:
        output = result.stdout + result.stderr
        last = (output.split("\n\n")[0].strip().splitlines() or ["no output"])[-1]
        place = re.search(rf'File "{TASK_ROOT}/(.+?)", line (\d+)', output)
        where = f"{place[1]}, line {place[2]}," if place else "the bundle"
        raise BundleError(f"{where} does not compile with Python {compiler.python}: {last}")
    if not keep_source:
        for source in list(site.rglob("*.py")):
            source.unlink()


def _run_plain(
    command: list[str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an interpreter without the caller's PYTHON* variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(  # noqa: S603  our own command, no shell
        command,
        env={**environment, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        # A version manager's shim reads the repository's .python-version.
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
