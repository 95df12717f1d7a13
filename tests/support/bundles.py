"""Invented packages for the tests of the bundle, and a pip without an index."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


def write_function(source: Path) -> None:
    """Write an invented function with the temporary files of a working directory."""
    package = source / "push_sender"
    (package / "doors").mkdir(parents=True)
    (package / "__init__.py").write_text("ANSWER = 42\n")
    (package / "doors" / "__init__.py").write_text("def where():\n    return where.__code__\n")
    (package / "doors" / "table.json").write_text("{}")
    (package / ".editor.swp").write_text("noise")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "__init__.cpython-27.pyc").write_bytes(b"foreign")


def write_wheel(
    directory: Path,
    name: str,
    files: dict[str, bytes],
    *,
    tag: str = "py3-none-any",
    requires: str | None = None,
    program: bool = True,
) -> None:
    """Write a wheel of version 1.0 by hand, with a program that calls ``main``."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(directory / f"{name}-1.0-{tag}.whl", "w") as wheel:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100755 if ".data/scripts/" in path else 0o100644) << 16
            wheel.writestr(entry, content)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        if program:
            script = f"[console_scripts]\n{name} = {name}:main\n"
            wheel.writestr(f"{info}/entry_points.txt", script)
        wheel.writestr(f"{info}/RECORD", "")


def lock_of(wheels: Path, *names: str) -> str:
    """Write a lock of version 1.0 of packages from the wheels in a folder."""
    lines = []
    for name in names:
        files = sorted(wheels.glob(f"{name}-1.0-*.whl"))
        hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        lines += [
            " \\\n".join([f"{name}==1.0", *(f"    --hash=sha256:{hash_}" for hash_ in hashes)])
        ]
    return "\n".join(lines) + "\n"


def keep_pip_offline(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pip from every index; it finds only the wheels of a new directory."""
    wheels.mkdir()
    files = {"tiny/__init__.py": b"SIZE = 1\n", "tiny/py.typed": b""}
    write_wheel(wheels, "tiny", files)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))


def elf(machine: int) -> bytes:
    """Make the start of a 64-bit little-endian shared library."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44)


def run_alone(directory: Path, code: str) -> str:
    """Run code in a fresh interpreter that sees the standard library and a directory only."""
    start = f"import sys; sys.path.append({str(directory)!r}); sys.dont_write_bytecode = True\n"
    command = [sys.executable, "-I", "-S", "-c", start + code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
