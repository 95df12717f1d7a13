"""Watch the function's source for changes, so that the sandbox needs no restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from threading import Event, Thread
from typing import Final

LOOK_SECONDS: Final = 0.5

Snapshot = dict[Path, tuple[int, int]]


@contextmanager
def watched(folder: Path, changed: Callable[[], None]) -> Iterator[None]:
    """Call a function after each change of a file under a folder, inside a ``with`` block.

    It is called in another thread, once for changes at the same time, and never during an
    earlier call. The folder is polled: it is small, and polling works on every kind of disk.

    Parameters
    ----------
    folder
        The folder with all its subfolders, except hidden files and compiled ones.
    changed
        The function to call. An exception ends the watching.
    """
    closing = Event()
    seen = snapshot(folder)

    def watch() -> None:
        nonlocal seen
        while not closing.wait(LOOK_SECONDS):
            if (now := snapshot(folder)) == seen:
                continue
            # An editor or a checkout may still be writing.
            while not closing.wait(LOOK_SECONDS / 2) and (later := snapshot(folder)) != now:
                now = later
            seen = now
            if not closing.is_set():
                changed()

    thread = Thread(target=watch, name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()


def snapshot(folder: Path) -> Snapshot:
    """Return when each source file under a folder was changed, and its size.

    Folders are left out: Python changes their time when it writes compiled files.
    """
    found = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix == ".pyc" or any(p.startswith(".") or p == "__pycache__" for p in parts):
            continue
        try:
            state = path.stat()
        except FileNotFoundError:  # removed at the same time
            continue
        if S_ISREG(state.st_mode):
            found[path] = (state.st_mtime_ns, state.st_size)
    return found
