"""Which changes of the source the sandbox deploys."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.stack.watching import snapshot


def compile_it(folder: Path) -> None:
    cache = folder / "package" / "__pycache__"
    cache.mkdir()
    (cache / "module.cpython-313.pyc").write_bytes(b"code")
    (folder / "package" / "module.pyc").write_bytes(b"code")
    (folder / "package" / ".module.py.swp").write_bytes(b"an editor's")


@pytest.mark.parametrize(
    ("change", "is_change"),
    [
        (compile_it, False),
        (lambda folder: (folder / "package" / "module.py").write_text("longer"), True),
        (lambda folder: (folder / "package" / "other.py").touch(), True),
        (lambda folder: (folder / "package" / "module.py").unlink(), True),
    ],
)
def test_compiled_and_hidden_files_are_no_change(
    tmp_path: Path, change: Callable[[Path], object], is_change: bool
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("old")
    os.utime(package, ns=(0, 0))
    before = snapshot(tmp_path)

    change(tmp_path)

    assert (snapshot(tmp_path) != before) == is_change
