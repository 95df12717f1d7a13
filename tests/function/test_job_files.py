"""Files of rows: how they are written, where their rows are, and what the rows hold."""

from __future__ import annotations

import csv
import io
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from push_sender.jobs.files import (
    RANGE_BYTES,
    RANGE_ROWS,
    ROW_BYTES,
    Layout,
    Range,
    Row,
    RowIndex,
    layout_of,
    rows_of,
)
from push_sender.request.errors import InvalidRequest

BOM = b"\xef\xbb\xbf"


def plain(delimiter: str = ",", columns: str = "abcdefgh") -> Layout:
    return Layout("csv", delimiter, tuple(columns), 0)


LINES = Layout("jsonl", "", (), 0)


def index(layout: Layout, data: bytes, size: int = 1 << 20) -> list[Range]:
    finder = RowIndex(layout, layout.start, 1)
    ranges = []
    for start in range(layout.start, len(data), size):
        ranges += finder.feed(data[start : start + size])
    return ranges + finder.finish()


def rows_in(layout: Layout, data: bytes) -> list[Row]:
    """Read a file as a job does: find its ranges, read each of them."""
    return [
        row
        for each in index(layout, data)
        for row in rows_of(layout, data[each.start : each.end], each.first_row)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", BOM])
def test_csv_is_read_by_its_header(delimiter: str, line_break: str, bom: bytes) -> None:
    cells = [["token", "service", "title"], ["t-1", "GCM", "a"], ["t-2", "APNS", "b"]]
    text = line_break.join(delimiter.join(row) for row in cells)
    data = bom + text.encode()

    layout = layout_of(data, "csv", is_whole=True)

    assert layout[:3] == ("csv", delimiter, ("token", "service", "title"))
    assert [row.fields for row in rows_in(layout, data)] == [
        {"token": ["t-1"], "service": ["GCM"], "title": ["a"]},
        {"token": ["t-2"], "service": ["APNS"], "title": ["b"]},
    ]


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("token", ","),
        ("user_id;title", ";"),
        ("token;service;Attributes.a,b,c,d", ";"),
        ('token\tservice\t"data.a,b;c"', "\t"),
        ("Address,ChannelType,a;b;c;d", ","),
    ],
)
def test_the_delimiter_is_the_one_that_gives_the_most_known_columns(
    header: str, delimiter: str
) -> None:
    assert layout_of(f"{header}\nx".encode(), "csv", is_whole=True).delimiter == delimiter


def test_quoted_fields_keep_line_breaks_quotation_marks_and_backslashes() -> None:
    data = (
        b'token,title,message\r\n"t-1","say ""hi""","one\r\ntwo\nthree"\r\nt-2,C:\\n\\",5" wide\r\n'
    )

    first, second = rows_in(layout_of(data, "csv", is_whole=True), data)

    assert first.fields == {
        "token": ["t-1"],
        "title": ['say "hi"'],
        "message": ["one\r\ntwo\nthree"],
    }
    assert second.fields == {"token": ["t-2"], "title": ['C:\\n\\"'], "message": ['5" wide']}


def test_a_repeated_header_gives_several_values_and_an_empty_cell_none() -> None:
    data = b"Address,Attributes.a,Attributes.a,Attributes.b\nt,x,y,\nt,,z\n"

    first, second = rows_in(layout_of(data, "csv", is_whole=True), data)

    assert first.fields == {"Address": ["t"], "Attributes.a": ["x", "y"]}
    assert second.fields == {"Address": ["t"], "Attributes.a": ["z"]}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            '{"User": {"UserId": "u", "UserAttributes": {"a": ["x", "y"], "b.c": "z"}}}',
            {
                "User.UserId": ["u"],
                "User.UserAttributes.a": ["x", "y"],
                "User.UserAttributes.b.c": ["z"],
            },
        ),
        (
            '{"User.UserId": "u", "User": {"UserAttributes.a": "x"}}',
            {"User.UserId": ["u"], "User.UserAttributes.a": ["x"]},
        ),
        ('{"badge": 5, "a": 1.50, "b": true}', {"badge": ["5"], "a": ["1.50"], "b": ["true"]}),
        ('{"a": null, "b": "", "c": [], "d": [null, "x"], "e": {}}', {"d": ["x"]}),
        ('{"a": [{"b": "c"}, ["d"]]}', {"a": ['{"b":"c"}', '["d"]']}),
    ],
)
def test_json_lines_are_columns_by_path(line: str, fields: dict[str, list[str]]) -> None:
    data = f"\n  {line}\r\n\n".encode()
    layout = layout_of(data, "jsonl", is_whole=True)

    assert rows_in(layout, data) == [Row(1, fields, None)]


@pytest.mark.parametrize(
    ("layout", "row", "reason"),
    [
        (plain(), b"a\0b", "nul"),
        (plain(), b"caf\xe9,b", "not_utf8"),
        (plain(columns="ab"), b"1,2,3", "too_many_cells"),
        (LINES, b'{"a": "caf\xe9"}', "not_utf8"),
        (LINES, b'["a"]', "not_an_object"),
        (LINES, b'{"a": 1', "not_json"),
        (LINES, b'{"a":' * 10_000, "not_json"),
        (LINES, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "name_too_long"),
        (LINES, b'{"%b": {"b": 1}}' % (b"a" * 600), "name_too_long"),
        (LINES, b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "not_json"),
    ],
)
def test_a_row_that_cannot_be_read_has_a_reason_and_stops_no_other(
    layout: Layout, row: bytes, reason: str
) -> None:
    good = b"x,y" if layout.format == "csv" else b'{"a": "x"}'

    first, bad, last = rows_in(layout, b"\n".join((good, row, good)))

    assert (first.reason, bad, last.reason) == (None, Row(2, None, reason), None)
    assert (first.number, last.number) == (1, 3)


@pytest.mark.parametrize(
    ("head", "format", "error"),
    [
        (b"", "csv", "is empty"),
        (BOM + b"\r\n\n", "csv", "is empty"),
        (b" \n", "jsonl", "is empty"),
        (b"token,service\r\n\r\n", "csv", "has only a header and no rows"),
        (b"token,service", "csv", "has only a header and no rows"),
        ("token,service\nt,GCM".encode("utf-16"), "csv", "is UTF-16"),
        ("token,service\nt,GCM".encode("utf-16-le"), "csv", "if it is UTF-16"),
        ('{"token": "t"}'.encode("utf-16-be"), "jsonl", "if it is UTF-16"),
        (b"token,\xe9\nt,x", "csv", "not UTF-8"),
        (b"token,to\0ken\nt,x", "csv", "null characters"),
        (b"\x1f\x8b\x08\0", "csv", "gzip"),
        (b"PK\x03\x04\0", "csv", "ZIP"),
        (b'token,"service\nt,GCM', "csv", "a quotation mark that is not closed"),
        (b"name,city\nx,y", "csv", "user_id, or Pinpoint's Address"),
        (b"title,message\nx,y", "csv", "substitutions.NAME, context.NAME"),
        (b"token\nt", "jsonl", "an object on each line"),
        (b'[{"token": "t"}]', "jsonl", "an object on each line"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_cure(
    head: bytes,
    format: str,  # noqa: A002  the field's name
    error: str,
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        layout_of(head, format, is_whole=True)

    (finding,) = refused.value.errors
    assert finding.path == "source"
    assert error in finding.message


def test_an_error_about_a_header_repeats_nothing_of_the_file() -> None:
    with pytest.raises(InvalidRequest) as refused:
        layout_of(b"secret-token,GCM,secret-user\nx,y,z", "csv", is_whole=True)

    assert "secret" not in str(refused.value)


def test_a_header_that_the_head_does_not_end_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no header that ends within 65,536 bytes"):
        layout_of(b"token," + b"a" * ROW_BYTES, "csv", is_whole=False)


@pytest.mark.parametrize("layout", [plain(), LINES])
@pytest.mark.parametrize("line_break", [b"\n", b"\r\n", b""])
def test_a_row_has_at_most_65_536_bytes(layout: Layout, line_break: bytes) -> None:
    longest = b"a" * ROW_BYTES + line_break
    for size in (1_000, 1 << 20):
        assert [each.rows for each in index(layout, longest, size)] == [1]
        with pytest.raises(InvalidRequest, match=r"row 2 is longer than 65,536 bytes"):
            index(layout, b"x\na" + longest + b"x\n", size)


def test_a_quotation_mark_that_is_never_closed_is_refused() -> None:
    short, long = b'x,y\nx,"y\nx,y\n', b'x,y\nx,"y\n' + b"x,y\n" * 100_000

    for data, error in ((short, "not closed"), (long, "row 2 is longer than")):
        with pytest.raises(InvalidRequest, match=error):
            index(plain(), data)


@pytest.mark.parametrize("line", [b"a" * 1_000, b"\n" * 1_000, b'","' * 333 + b"\n"])
@pytest.mark.parametrize("layout", [plain(), LINES])
def test_memory_is_bounded_whatever_the_file_is(layout: Layout, line: bytes) -> None:
    part = line * 100
    finder = RowIndex(layout, 0, 1)
    tracemalloc.start()
    try:
        for _ in range(100):
            finder.feed(part)
    except InvalidRequest:
        pass  # one line without an end
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 1_000_000


def test_the_names_in_a_row_take_little_memory() -> None:
    members = b",".join(b'"%d": 1' % number for number in range(3_000))
    row = b'{"%b": {%b}}\n' % (b"a" * 30_000, members)
    tracemalloc.start()
    try:
        found = rows_in(LINES, row * 2)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert [each.reason for each in found] == ["name_too_long", "name_too_long"]
    assert peak < 5_000_000


def test_the_position_moves_on_over_blank_lines() -> None:
    finder = RowIndex(plain(), 0, 1)
    row, blank = b"a,b\n", b"\n" * RANGE_BYTES

    assert finder.feed(row + blank) == [Range(0, len(row), 1, 1)]
    assert finder.position == len(row + blank)
    assert finder.feed(blank + row) == []
    assert finder.position == len(row + blank + blank)
    assert [each.first_row for each in finder.finish()] == [2]


def test_a_range_has_at_most_1_000_rows_and_2_mib() -> None:
    long, short = b"a" * 60_000 + b"\n", b"a,b\n"
    data = short * 2_500 + long * 100 + b"\n" * 3_000_000 + short * 2

    ranges = index(plain(), data)

    assert [each.rows for each in ranges[:3]] == [RANGE_ROWS, RANGE_ROWS, 500 + 34]
    assert all(each.end - each.start <= RANGE_BYTES for each in ranges)
    assert all(one.first_row + one.rows == other.first_row for one, other in pairwise(ranges))
    assert sum(each.rows for each in ranges) == 2_602
    assert data[ranges[-1].start :] == short * 2


def test_an_index_continues_at_the_end_of_any_range() -> None:
    data = b"\n".join(b'"%d","a\nb"' % number for number in range(3_500)) + b"\n\n"
    ranges = index(plain(), data)
    assert len(ranges) == 4

    for number, each in enumerate(ranges):
        finder = RowIndex(plain(), each.end, each.first_row + each.rows)
        assert finder.feed(data[each.end :]) + finder.finish() == ranges[number + 1 :]


def test_the_rows_that_are_in_no_range_yet_are_told() -> None:
    finder = RowIndex(plain(), 0, 1)

    (found,) = finder.feed(b"a,b\n" * 1_002)

    assert found == Range(0, 4_000, 1, 1_000)
    assert (finder.position, finder.first_row, finder.rows) == (4_000, 1_001, 2)


PIECES = st.lists(
    st.sampled_from(['"', '""', ",", ";", "\n", "\r", "\r\n", "a", " ", "é", "\u2028", '"a\nb"']),
    max_size=30,
).map("".join)
CUTS = st.lists(st.integers(1, 12), min_size=1, max_size=20)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        size = sizes[len(parts) % len(sizes)]
        parts.append(data[position : position + size])
        position += size
    return parts


def result(layout: Layout, parts: list[bytes]) -> list[Range] | str:
    finder = RowIndex(layout, 0, 1)
    try:
        return [each for part in parts for each in finder.feed(part)] + finder.finish()
    except InvalidRequest as refusal:
        return str(refusal)


@given(text=PIECES, sizes=CUTS, layout=st.sampled_from([plain(), plain(";"), LINES]))
@example(text="a\r\n", sizes=[1], layout=plain())
@example(text="a\r\n\r\nb\r", sizes=[1], layout=plain())
@example(text='"a""', sizes=[1], layout=plain())
def test_the_ranges_do_not_depend_on_the_parts(text: str, sizes: list[int], layout: Layout) -> None:
    data = text.encode()

    assert result(layout, cut(data, sizes)) == result(layout, [data])


@given(text=PIECES, delimiter=st.sampled_from(",;"))
def test_csv_is_read_as_python_reads_it(text: str, delimiter: str) -> None:
    layout = plain(delimiter, columns="")._replace(columns=tuple(map(str, range(40))))
    try:
        found = [row.fields for row in rows_in(layout, text.encode())]
    except InvalidRequest:
        *_, last = read_by_python(f"{text}\nend", delimiter)
        assert last[-1].endswith("\nend")  # the quoted field goes on
        return
    assert found == [
        {str(place): [cell] for place, cell in enumerate(row) if cell}
        for row in read_by_python(text, delimiter)
    ]


def read_by_python(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [row for row in reader if row]
