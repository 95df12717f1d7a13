"""Compiles Python sources into the bytecode that Lambda runs, so that no cold start has to.

Bytecode belongs to one version of Python, so an interpreter of just that version compiles,
if this machine has one. It is unchecked (PEP 552): never compared with a source or its
date, which an archive does not keep. The same sources give the same bytes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infra.wheels import BundleError

TASK_ROOT = "/var/task"  # where Lambda unpacks the archive: the files' place in tracebacks


@dataclass(frozen=True)
class Compiler:
    """An interpreter of a version, ``major.minor``; those of equal identity compile alike."""

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
    """Find an interpreter of a version: this one, or else one on the PATH.

    Each is asked, as a name proves little: a version manager's shim may stand for nothing.
    Only final releases of a version share one bytecode format.
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
    """Compile every source under a directory as if it lay in Lambda.

    In one fresh process, in sorted order and with fixed hashing: CPython does not promise
    that marshalled code is free of what else the process holds.

    Parameters
    ----------
    site
        The directory.
    compiler
        The interpreter that does it.
    keep_source
        Whether ``x.py`` stays, with ``__pycache__/x.cpython-313.pyc``. Otherwise ``x.pyc``
        takes its place, which runs alone.

    Raises
    ------
    BundleError
        A source does not compile; the message names its file and line.
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
    """Run an interpreter free of the caller's PYTHON* settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(  # noqa: S603  our own command, no shell
        command,
        env={**environment, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        # A version manager's shim obeys the repository's .python-version.
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
