"""The files of a job, unpacked and joined to one: the header of the first, the rows of all."""

from __future__ import annotations

import gzip
import io
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from operations.account import OperationsError
from operations.redaction import printable
from push_sender.jobs.files import Layout, Range, RowIndex, layout_of
from push_sender.request.errors import InvalidRequest

FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
"""By the ending of a file's name. Pinpoint calls JSON Lines JSON."""

_CHUNK_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 64 * 1024
"""How much of a file ``layout_of`` gets."""

_PACKED: Final = b"\x1f\x8b"
"""The first bytes of a gzip file."""

_LINE_BREAKS: Final = (b"\n", b"\r")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Counted(NamedTuple):
    """What the joined files hold.

    Attributes
    ----------
    rows
        How many rows there are.
    size
        Bytes of the joined files.
    first
        The bytes of the first rows, up to 1,000.
    """

    rows: int
    size: int
    first: bytes


class InputFiles:
    """One file, or several of the same format and with the same columns.

    Attributes
    ----------
    layout
        That of the joined files: of the first one.
    header
        What stands before the rows of the first one.
    stem
        The first file's name without its endings, of letters, digits, ``_`` and ``-``.

    Raises
    ------
    OperationsError
        If a file cannot be read, or does not fit to the first one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files: list[tuple[Path, Layout]] = []
        for path in paths:
            head = _head(path)
            self._files.append((path, _layout(path, head)))
            if len(self._files) == 1:
                self.layout: Layout = self._files[0][1]
                self.header: bytes = head[: self.layout.start]
            elif difference := _difference(self._files[-1][1], self.layout):
                raise OperationsError(
                    f"{_shown(path)} {difference}, unlike {_shown(paths[0])}. "
                    "Run a job for each kind of file."
                )
        self.stem: str = _UNSAFE.sub("-", _plain_name(paths[0]).stem).strip("-") or "job"

    @property
    def names(self) -> list[str]:
        """The files' names, for a person."""
        return [_shown(path) for path, _ in self._files]

    @property
    def key_name(self) -> str:
        """The name of the joined file, with the ending of its format."""
        return f"{self.stem}.{self.layout.format}"

    def count(
        self,
        on_rows: Callable[[int], None],
        on_range: Callable[[Layout, bytes], None] | None = None,
    ) -> Counted:
        """Read all rows once, as the run will find them.

        Parameters
        ----------
        on_rows
            Gets the number of rows so far, now and then.
        on_range
            Gets the rows, up to 1,000 at once, and how they are written.

        Raises
        ------
        OperationsError
            If a file cannot be read, or has a row that a job cannot have.
        """
        rows, size = 0, len(self.header)
        # Each file has an index of its own, so that none ends within a row, and an error counts
        # the rows as an editor does. One for all finds the first rows.
        joined = RowIndex(self.layout, self.layout.start, 1)
        first, first_at, found = bytearray(), self.layout.start, None
        for path, layout in self._files:
            index = RowIndex(layout, layout.start, 1)
            unseen, unseen_at = bytearray(), layout.start
            try:
                for ranges, part in _ranges(index, _rows_of(path, layout)):
                    size += len(part)
                    unseen += part
                    for each in ranges:
                        if on_range is not None:
                            found_rows = unseen[each.start - unseen_at : each.end - unseen_at]
                            on_range(layout, bytes(found_rows))
                        rows += each.rows
                    del unseen[: index.position - unseen_at]
                    unseen_at = index.position
                    on_rows(rows)
                    if found is None and part:
                        first += part
                        found = next(iter(joined.feed(part)), None)
                        if found is None:
                            del first[: joined.position - first_at]
                            first_at = joined.position
            except InvalidRequest as error:
                raise _refused(path, error) from None
        if found is None:
            found = joined.finish()[0]  # a layout has rows
        start = found.start - first_at
        return Counted(rows, size, bytes(first[start : start + found.end - found.start]))

    def joined(self, size: int) -> io.BufferedReader:
        """Read the joined files as one stream, which fails unless it has this size."""
        parts = chain([self.header], *(_rows_of(path, layout) for path, layout in self._files))
        return io.BufferedReader(_Stream(parts, size), _CHUNK_BYTES)


class _Stream(io.RawIOBase):
    """A stream over parts of any size, which have so many bytes together."""

    def __init__(self, parts: Iterator[bytes], size: int) -> None:
        self._parts = parts
        self._left = size
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of BufferedReader
        """Read up to the next end of a part."""
        while not self._rest:
            if (part := next(self._parts, None)) is None:
                if self._left:
                    raise _changed()
                return 0
            self._left -= len(part)
            if self._left < 0:
                raise _changed()
            self._rest = memoryview(part)
        number = min(len(buffer), len(self._rest))
        buffer[:number], self._rest = self._rest[:number], self._rest[number:]
        return number


def _changed() -> OperationsError:
    return OperationsError(
        "A file was changed while it was read, so nothing is sent. Wait until it is complete."
    )


def _ranges(index: RowIndex, parts: Iterator[bytes]) -> Iterator[tuple[list[Range], bytes]]:
    """Find the ranges of a file, with the parts that complete them; the last part is empty."""
    for part in parts:
        yield index.feed(part), part
    yield index.finish(), b""


def _rows_of(path: Path, layout: Layout) -> Iterator[bytes]:
    """Read the rows of a file part by part, with a line break after the last one."""
    leave_out, last = layout.start, b""
    for part in _parts(path):
        if rows := part[leave_out:]:
            yield rows
            last = rows[-1:]
        leave_out = max(0, leave_out - len(part))
    if last not in _LINE_BREAKS:
        yield b"\n"


def _parts(path: Path) -> Iterator[bytes]:
    """Read a file, unpacked if it is packed, part by part."""
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(path.stat().st_mode):
                raise OperationsError(
                    f"{_shown(path)} is no file. It must be one: it is read twice."
                )
            is_packed = file.read(len(_PACKED)) == _PACKED
            file.seek(0)
            content = gzip.GzipFile(fileobj=file) if is_packed else file
            while chunk := content.read(_CHUNK_BYTES):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise OperationsError(
            f"{_shown(path)} is damaged: its end is missing, or its content was changed. "
            "gzip --test shows the same. Get the file again."
        ) from error
    except OSError as error:
        raise OperationsError(f"{_shown(path)} cannot be read: {error.strerror}") from error


def _head(path: Path) -> bytes:
    head = b""
    for chunk in _parts(path):
        head += chunk
        if len(head) > _HEAD_BYTES:
            break
    return head


def _format(path: Path, head: bytes) -> str:
    plain = _plain_name(path)
    if form := FORMATS.get(plain.suffix.lower()):
        return form
    if plain != path:  # such as Pinpoint's exports, whose names may say no format
        return "jsonl" if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv"
    raise OperationsError(
        f"{_shown(path)} has none of the endings {', '.join(FORMATS)} (each also with .gz). "
        "Save it as CSV or JSON Lines. If it is one already, rename it."
    )


def _layout(path: Path, head: bytes) -> Layout:
    is_whole = len(head) <= _HEAD_BYTES
    try:
        return layout_of(head[:_HEAD_BYTES], _format(path, head), is_whole=is_whole)
    except InvalidRequest as error:
        raise _refused(path, error) from None


def _difference(one: Layout, other: Layout) -> str | None:
    if one.format != other.format:
        return f"is {one.format}"
    if one.delimiter != other.delimiter:
        return f"has {one.delimiter!r} between its fields"
    if one.columns != other.columns:
        return "has other columns, or the same ones in another order"
    return None


def _refused(path: Path, error: InvalidRequest) -> OperationsError:
    return OperationsError("\n".join(f"{_shown(path)}: {each.message}" for each in error.errors))


def _plain_name(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _shown(path: Path) -> str:
    return printable(str(path), 200)
