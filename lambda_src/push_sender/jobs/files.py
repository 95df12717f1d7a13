"""Read files of rows: CSV (RFC 4180) and JSON Lines, in UTF-8.

``RowIndex`` finds where rows begin, ``rows_of`` reads them. Both find the end of a row with the
same pattern, so that they always number the rows alike. What a row may hold is not checked here.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from push_sender.jobs import column_names
from push_sender.request.errors import Finding, InvalidRequest
from push_sender.request.json_text import compact_json

ROW_BYTES: Final = 65_536
"""Maximum size of a row, without its line break. Also the size of the head of a file."""

RANGE_ROWS: Final = 1_000
RANGE_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of a range, in rows and in bytes."""

_DELIMITERS: Final = ",;\t"
_BOM: Final = b"\xef\xbb\xbf"
_OTHER_FILES: Final[Mapping[bytes, str]] = {
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
    b"\x1f\x8b": "is compressed with gzip; unpack it",
    b"PK\x03\x04": "is a ZIP archive or a workbook; save it as CSV in UTF-8",
}
"""The first bytes of files of other kinds."""

_NOT_A_BREAK: Final = {"csv": re.compile(rb"[^\r\n]"), "jsonl": re.compile(rb"[^ \t\r\n]")}
_LINE: Final = re.compile(rb"[^ \t\r\n][^\n]*+\n")
_NAME_CHARACTERS: Final = 512
"""Maximum length of the path of a member. Each of the members in an object repeats its path, so
that a row of 64 KiB could take hundreds of megabytes."""

_REACH: Final = ROW_BYTES + 3
"""How far the pattern of a row looks: a row, its line break, and the byte after a CR."""


def _csv_row(delimiter: str) -> re.Pattern[bytes]:
    """Write the pattern of a row.

    It ends a row where Python's ``csv.reader`` does: a quotation mark counts only at the start of
    a field, and a line break is LF, CRLF or CR. A CR at the end of the data matches only when the
    next byte is known. A text matches in one way at most, so that time stays linear. Only sets of
    characters have possessive quantifiers: before Python 3.11.5 those of groups have an error
    (https://github.com/python/cpython/issues/106052).
    """
    mark = re.escape(delimiter.encode())
    field = rb'(?:"[^"]*+(?:""[^"]*+)*"(?!")|(?!"))[^%b\r\n]*+' % mark
    return re.compile(rb"(?=[^\r\n])%b(?:%b%b)*(?:\r?\n|\r(?=.))" % (field, mark, field), re.S)


_CSV_ROW: Final = {delimiter: _csv_row(delimiter) for delimiter in _DELIMITERS}


class Layout(NamedTuple):
    """How a file is written.

    Attributes
    ----------
    format
        ``csv`` or ``jsonl``.
    delimiter
        What stands between two fields of CSV; empty for JSON Lines.
    columns
        The header of CSV; empty for JSON Lines. A column without a name is not read.
    start
        The byte where the rows begin, after a byte order mark and the header.
    """

    format: str
    delimiter: str
    columns: tuple[str, ...]
    start: int


class Range(NamedTuple):
    """A part of a file that holds whole rows.

    Attributes
    ----------
    start, end
        The first byte, and the one after the last.
    first_row, rows
        The number of the first row, and how many rows there are. Blank lines do not count.
    """

    start: int
    end: int
    first_row: int
    rows: int


class Row(NamedTuple):
    """A row of a file.

    Attributes
    ----------
    number
        Its number in the file, from 1; the header does not count.
    fields
        The values of each column that has any. A column has several values if the header of CSV
        repeats it, or if JSON has an array.
    reason
        Why the row cannot be read; None if it can.
    """

    number: int
    fields: Mapping[str, list[str]] | None
    reason: str | None


class _LongNameError(Exception):
    """The path of a member is too long."""


def layout_of(head: bytes, format: str, *, is_whole: bool) -> Layout:  # noqa: A002  the field's name
    """Find out how a file is written.

    Parameters
    ----------
    head
        The first 64 KiB of the file.
    format
        ``csv`` or ``jsonl``.
    is_whole
        Whether this is the whole file.

    Raises
    ------
    InvalidRequest
        If no row of the file could be read. The path is ``source``.
    """
    for beginning, error in _OTHER_FILES.items():
        if head.startswith(beginning):
            raise _invalid(error)
    start = len(_BOM) if head.startswith(_BOM) else 0
    begin = _NOT_A_BREAK[format].search(head, start)
    if begin is None:
        raise _invalid("is empty" if is_whole else f"begins with over {ROW_BYTES:,} blank bytes")
    # UTF-16 without a mark has a null byte in each character of a header.
    if b"\0" in head[begin.start() :].partition(b"\n")[0]:
        raise _invalid("has null characters in its first line; if it is UTF-16, save it as UTF-8")
    if format == "jsonl":
        if begin.group() != b"{":
            raise _invalid("must be JSON Lines: an object on each line, and no array around them")
        return Layout(format, "", (), start)
    layouts = [
        layout
        for delimiter in _DELIMITERS
        if (layout := _csv_layout(head, begin.start(), delimiter, is_whole=is_whole))
    ]
    best = max(layouts, key=lambda layout: (_known(layout), len(layout.columns)), default=None)
    if best is None or not column_names.names_recipients(best.columns):
        if len(layouts) < len(_DELIMITERS):
            raise _invalid(
                f"has no header that ends within {ROW_BYTES:,} bytes; look for a quotation mark "
                "that is not closed"
            )
        raise _invalid(
            "has no header that names recipients: it needs the column token (with service) or "
            "user_id, or Pinpoint's Address (with ChannelType) or User.UserId. The columns are "
            f"{column_names.described()}"
        )
    if is_whole and not _NOT_A_BREAK[format].search(head, best.start):
        raise _invalid("has only a header and no rows")
    return best


def _known(layout: Layout) -> int:
    return column_names.known_in(layout.columns)


def _csv_layout(head: bytes, start: int, delimiter: str, *, is_whole: bool) -> Layout | None:
    data = head + b"\n" if is_whole else head
    header = _CSV_ROW[delimiter].match(data, start)
    if header is None:
        return None
    try:
        text = header.group().decode()
    except UnicodeDecodeError:
        raise _invalid("has a header that is not UTF-8; save the file as UTF-8") from None
    columns = tuple(name.strip() for name in _cells(text, delimiter))
    return Layout("csv", delimiter, columns, min(header.end(), len(head)))


class RowIndex:
    """Finds the ranges of a file, in one pass and with constant memory.

    The ranges do not depend on the sizes of the parts in which the file is fed, and an index that
    begins at the end of a range finds the same ones after it.

    Parameters
    ----------
    layout
        How the file is written.
    position, first_row
        Where to begin: the first byte of a row (or ``layout.start``), and the row's number.

    Attributes
    ----------
    position
        The first byte of the rows that are not yet in a returned range.
    first_row
        The number of the first of these rows.
    rows
        How many of these rows are found so far.
    """

    def __init__(self, layout: Layout, position: int, first_row: int) -> None:
        self.position = position
        self.first_row = first_row
        self.rows = 0
        self._layout = layout
        self._end = position
        self._rest = b""
        self._rest_at = position

    def feed(self, data: bytes) -> list[Range]:
        """Take the next bytes of the file, and return the ranges that are complete.

        Raises
        ------
        InvalidRequest
            If a row is too long.
        """
        data = self._rest + data
        ranges = self._ranges(data)
        # Blank lines must not keep the position back: a pass of the index would begin again there.
        if self.rows and self._rest_at - self.position > RANGE_BYTES:
            ranges += self._close()
        if not self.rows:
            self.position = self._rest_at
        # The last byte may be the first half of a line break.
        if len(self._rest) > ROW_BYTES + 1:
            raise self._too_long()
        return ranges

    def finish(self) -> list[Range]:
        """Return the last ranges, at the end of the file.

        Raises
        ------
        InvalidRequest
            If the last row is too long, or a quotation mark in it is not closed.
        """
        size = self._rest_at + len(self._rest)
        ranges = self._ranges(self._rest + b"\n")
        if self._rest:
            raise _invalid(
                f"row {self.first_row + self.rows:,} has a quotation mark that is not closed"
            )
        self._end = min(self._end, size)
        return [*ranges, *self._close()]

    def _ranges(self, data: bytes) -> list[Range]:
        """Add the whole rows of the data, keep the rest, and return the complete ranges."""
        ranges = []
        end = 0
        for start, end in whole_rows(self._layout, data):
            if end - start > ROW_BYTES and len(data[start:end].rstrip(b"\r\n")) > ROW_BYTES:
                raise self._too_long()
            if self.rows == RANGE_ROWS or (
                self.rows and self._rest_at + end - self.position > RANGE_BYTES
            ):
                ranges += self._close()
            if not self.rows:
                self.position = self._rest_at + start
            self.rows += 1
            self._end = self._rest_at + end
        begin = _NOT_A_BREAK[self._layout.format].search(data, end)
        done = begin.start() if begin else len(data)
        self._rest = data[done:]
        self._rest_at += done
        if not self.rows:
            self.position = self._rest_at  # after blank lines, of which there can be any number
        return ranges

    def _close(self) -> list[Range]:
        if not self.rows:
            return []
        closed = Range(self.position, self._end, self.first_row, self.rows)
        self.position = self._end
        self.first_row += self.rows
        self.rows = 0
        return [closed]

    def _too_long(self) -> InvalidRequest:
        return _invalid(
            f"row {self.first_row + self.rows:,} is longer than {ROW_BYTES:,} bytes; look for a "
            "quotation mark that is not closed"
        )


def rows_of(layout: Layout, data: bytes, first_row: int) -> Iterator[Row]:
    """Read the rows of a range.

    Parameters
    ----------
    layout
        How the file is written.
    data
        The bytes of the range.
    first_row
        The number of its first row.
    """
    data += b"\n"  # the last row of a file need not have a line break
    number, end = first_row, 0
    for start, end in whole_rows(layout, data):
        fields = _read(layout, data[start:end])
        yield Row(number, None, fields) if isinstance(fields, str) else Row(number, fields, None)
        number += 1
    if _NOT_A_BREAK[layout.format].search(data, end):
        yield Row(number, None, "quotation_mark_not_closed")


def whole_rows(layout: Layout, data: bytes) -> Iterator[tuple[int, int]]:
    """Find the first byte of each row that ends in the data, and the one after its line break.

    A row that is too long ends the search.
    """
    match = (_CSV_ROW[layout.delimiter] if layout.format == "csv" else _LINE).match
    not_a_break = _NOT_A_BREAK[layout.format]
    done = 0
    while True:
        if found := match(data, done, done + _REACH):
            yield done, (done := found.end())
        elif (begin := not_a_break.search(data, done)) and begin.start() > done:
            done = begin.start()
        else:
            return


def _read(layout: Layout, data: bytes) -> Mapping[str, list[str]] | str:
    """Read a row, or name the reason why it cannot be read."""
    if b"\0" in data:
        return "nul"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    if layout.format == "jsonl":
        return _members(text)
    cells = _cells(text, layout.delimiter)
    if any(cells[len(layout.columns) :]):
        return "too_many_cells"
    fields: dict[str, list[str]] = {}
    for column, cell in zip(layout.columns, cells, strict=False):
        if cell and column:
            fields.setdefault(column, []).append(cell)
    return fields


def _cells(row: str, delimiter: str) -> list[str]:
    if '"' not in row:  # as the reader of the standard library, in half of its time
        return row.rstrip("\r\n").split(delimiter)
    return next(csv.reader([row], delimiter=delimiter))


def _members(text: str) -> Mapping[str, list[str]] | str:
    try:
        # Numbers keep the form in which they were written.
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        if not isinstance(value, dict):
            return "not_an_object"
        fields: dict[str, list[str]] = {}
        _flatten(value, "", fields)
    except _LongNameError:
        return "name_too_long"
    except (ValueError, RecursionError):
        return "not_json"
    return fields


def _flatten(value: Mapping[str, Any], place: str, fields: dict[str, list[str]]) -> None:
    """Add the members of an object by their paths, those of inner objects too."""
    for name, member in value.items():
        if len(place) + len(name) > _NAME_CHARACTERS:
            raise _LongNameError
        if isinstance(member, dict):
            _flatten(member, f"{place}{name}.", fields)
            continue
        values = [_text(each) for each in (member if isinstance(member, list) else [member])]
        if given := [each for each in values if each]:
            fields.setdefault(f"{place}{name}", []).extend(given)


def _text(value: Any) -> str:
    """Write a value as text; null is the empty text, as an empty cell is."""
    if isinstance(value, str):
        return value
    return "" if value is None else compact_json(value)


def _invalid(error: str) -> InvalidRequest:
    return InvalidRequest([Finding("source", error)])
