"""Watch the function's source for changes, so that the sandbox needs no restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Final

LOOK_SECONDS: Final = 0.5

_Snapshot = dict[Path, tuple[int, int]]


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
    seen = _look(folder)

    def watch() -> None:
        nonlocal seen
        while not closing.wait(LOOK_SECONDS):
            if (now := _look(folder)) == seen:
                continue
            # An editor or a checkout may still be writing.
            while not closing.wait(LOOK_SECONDS / 2) and (later := _look(folder)) != now:
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


def _look(folder: Path) -> _Snapshot:
    snapshot = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
            continue
        try:
            state = path.stat()
        except FileNotFoundError:  # removed at the same time
            continue
        snapshot[path] = (state.st_mtime_ns, state.st_size)
    return snapshot
