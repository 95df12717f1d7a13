"""Bytecode: whose it is, that it runs, and that nothing is compared with its source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import infra
from infra.bundle.bytecode import Compiler, compile_all, find_compiler
from infra.bundle.wheels import BundleError
from tests.support.bundles import run_alone

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
INFRA = Path(infra.__file__).parent
CACHE_TAG = sys.implementation.cache_tag


@pytest.fixture
def site(tmp_path: Path) -> Path:
    package = tmp_path / "site" / "tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("ANSWER = 42\n")
    return package.parent


@pytest.fixture
def compiler() -> Compiler:
    found = find_compiler(THIS)
    assert found
    return found


def files(site: Path) -> set[str]:
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


def test_bytecode_beside_its_source_is_used_unchecked(site: Path, compiler: Compiler) -> None:
    compile_all(site, compiler, keep_source=True)
    assert files(site) == {"tiny/__init__.py", f"tiny/__pycache__/__init__.{CACHE_TAG}.pyc"}
    (site / "tiny" / "__init__.py").write_text("this is no Python")  # also a new date and size
    assert run_alone(site, "import tiny; print(tiny.ANSWER)") == "42\n"


def test_bytecode_runs_without_its_source(site: Path, compiler: Compiler) -> None:
    compile_all(site, compiler, keep_source=False)
    assert files(site) == {"tiny/__init__.pyc"}
    assert run_alone(site, "import tiny; print(tiny.ANSWER)") == "42\n"


def test_a_traceback_names_the_path_in_lambda(site: Path, compiler: Compiler) -> None:
    (site / "tiny" / "__init__.py").write_text("def where():\n    return where.__code__\n")
    compile_all(site, compiler, keep_source=False)
    code = "import tiny; print(tiny.where().co_filename)"
    assert run_alone(site, code) == "/var/task/tiny/__init__.py\n"


def test_a_syntax_error_names_the_file_and_line(site: Path, compiler: Compiler) -> None:
    (site / "tiny" / "doors.py").write_text("X = 1\ndef broken(:\n")
    with pytest.raises(BundleError) as caught:
        compile_all(site, compiler, keep_source=True)
    message = str(caught.value)
    assert message.startswith(f"tiny/doors.py, line 2, does not compile with Python {THIS}: ")
    assert "SyntaxError" in message
    assert "\n" not in message


def test_an_interpreter_is_checked_by_its_version_not_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a PATH whose python3.99 is one shim that fails and one of another version
    for directory in ("shim", "liar"):
        (tmp_path / directory).mkdir()
    shim = tmp_path / "shim" / "python3.99"
    shim.write_text("#!/bin/sh\necho 'python3.99: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    (tmp_path / "liar" / "python3.99").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shim'}:{tmp_path / 'liar'}:{os.environ['PATH']}")
    # Then neither is taken for one
    assert find_compiler("3.99") is None


def test_an_interpreter_of_another_version_on_the_path_compiles(site: Path) -> None:
    other = next(filter(runs, (f"3.{minor}" for minor in range(11, 20))), None)
    if other is None:
        pytest.skip("no other interpreter at hand")
    found = find_compiler(other)
    assert found
    compile_all(site, found, keep_source=True)
    tag = f"cpython-{other.replace('.', '')}"
    assert f"tiny/__pycache__/__init__.{tag}.pyc" in files(site)


def runs(python: str) -> bool:
    """Return whether another Python of a version is on the PATH, not a version manager's shim."""
    command = shutil.which(f"python{python}")
    if python == THIS or command is None:
        return False
    final = "import sys; sys.exit(sys.version_info.releaselevel != 'final')"
    return subprocess.run([command, "-c", final], check=False, cwd=INFRA).returncode == 0
