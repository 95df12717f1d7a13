"""The synthesized stacks that the sandbox keeps: for the next start, and for who reads them now."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sandbox.stack.synthesis import synthesize
from tests.support.synthesized_stack import stub_bundle

OTHERS = 6  # more than are kept where nobody reads them


def test_a_stack_that_another_process_just_synthesized_is_kept(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path)
    out = tmp_path / "out"
    two_hours_ago = time.time() - 7_200
    # Made before all others, so that only what is asked for again keeps it.
    again = synthesize({}, bundle, out=out).folder
    os.utime(again, (two_hours_ago - 1, two_hours_ago - 1))
    old = [out / f"stack-{number:016x}" for number in range(OTHERS)]
    new = [out / f"stack-{number:016x}" for number in range(OTHERS, 2 * OTHERS)]
    for folder in (*old, *new):
        folder.mkdir()
    for folder in old:
        os.utime(folder, (two_hours_ago, two_hours_ago))

    assert synthesize({}, bundle, out=out).folder == again
    made = synthesize({"stage": "other"}, bundle, out=out).folder

    assert {path for path in out.iterdir() if path.is_dir()} == {again, made, *new}
