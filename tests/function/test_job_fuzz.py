"""Jobs of any input over any file: a job is refused with every error, or each row has an outcome.

A few cases here; ``make fuzz`` runs 5,000 each, different ones each time.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from push_sender.jobs.columns import Invalid, Skipped, registration_of
from push_sender.jobs.files import RowIndex, layout_of, rows_of
from push_sender.jobs.plan import JobInput
from push_sender.request.errors import InvalidRequest
from tests.support.jobs import JobRunner

CASES = int(os.environ.get("FUZZ_CASES", "0"))
SECRET = "the-value-that-no-error-shows"


def cases(few: int) -> settings:
    """Run a few cases, or as many as are asked for. Only the latter differ each time."""
    return settings(
        max_examples=CASES or few,
        database=None,
        derandomize=not CASES,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


names = st.text(max_size=20)  # an error may show the name of an unknown field
texts = names | st.just(SECRET)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)

VALID: dict[str, Any] = {
    "job": "spring",
    "action": "send",
    "source": {"key": "uploads/people.csv", "format": "csv", "bucket": "b"},
    "request": {"title": "t", "message": "m", "application_id": "a"},
    "tokens_per_second": 100,
    "tolerated_failure_percentage": 0.5,
    "dry_run": True,
    "ignore_opt_out": False,
    "application_id": "a",
}
VALUES_OF_ERRORS = {
    "action": st.sampled_from(["send", "register_devices"]),
    "tokens_per_second": st.integers(-1, 200_000),
    "tolerated_failure_percentage": st.floats(-1, 101),
}


@st.composite
def inputs(draw: st.DrawFn) -> Any:
    """Make an input that differs from a valid one in a few places."""
    made: dict[str, Any] = json.loads(json.dumps(VALID))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from([made, made.get("source"), made.get("request")]))
        if not isinstance(place, dict):
            continue
        name = draw(st.sampled_from(sorted({*VALID, *place})) | names)
        if draw(st.booleans()):
            place[name] = draw(values | VALUES_OF_ERRORS.get(name, values))
        else:
            place.pop(name, None)
    return made


@cases(few=200)
@given(given_=inputs() | values)
def test_an_input_is_accepted_or_refused_without_its_values(given_: Any) -> None:
    try:
        checked = JobInput.of(given_, "spring")
    except InvalidRequest as refusal:
        message = str(refusal)
    else:
        message = "accepted"
        assert (checked.job, checked.format in ("csv", "jsonl")) == ("spring", True)
        assert checked.pace >= 20

    assert message
    assert SECRET not in message


# ------------------------------------------------------------------ files

COLUMNS = (
    *("token", "service", "user_id", "device_id", "title", "message", "language", "badge", "url"),
    *("data.a", "User.UserId", "OptOut", "Attributes.a"),
)
cells = st.sampled_from(
    ["GCM", "APNS", "t-1", "u-1", "de", "1", "ALL", "", '"', "\x00", "\u2028"]
) | st.text(st.characters(codec="utf-8"), max_size=8)
columns = st.lists(st.sampled_from(COLUMNS[2:]), max_size=4).map(lambda more: [*COLUMNS[:2], *more])


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Make a file whose rows have about as many cells as its header.

    The first row is valid, because a job over another file is refused.
    """
    header = draw(columns)
    rows = [draw(st.lists(cells, min_size=2, max_size=len(header))) for _ in range(3)]
    text = io.StringIO()
    write = csv.writer(text, quoting=draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])))
    write.writerows([header, ["t-0", "GCM", *[""] * len(header[2:])], *rows])
    return text.getvalue().encode()


objects = st.dictionaries(st.sampled_from(COLUMNS), cells | values, max_size=4)
json_lines = st.lists(objects, min_size=1, max_size=3).map(
    lambda rows: "\n".join(map(json.dumps, [{"token": "t-0", "service": "GCM"}, *rows])).encode()
)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, str]:
    """Make a file and its format, in a few cases with other bytes somewhere."""
    form = draw(st.sampled_from(["csv", "jsonl"]))
    data = draw(csv_files() if form == "csv" else json_lines)
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(max_size=4)) + data[place:]
    return data, form


def test_a_file_is_refused_or_each_of_its_rows_has_an_outcome(jobs: JobRunner) -> None:
    number = itertools.count()
    ended: Counter[str] = Counter()

    @cases(few=30)
    @given(file=files())
    def send(file: tuple[bytes, str]) -> None:
        data, form = file
        job, key = f"fuzz-{next(number)}", f"uploads/people.{form}"
        jobs.upload(data, key)
        try:
            output = jobs.begin(job, key=key)
        except InvalidRequest:
            ended["refused"] += 1
            return
        for child in jobs.children(output):
            jobs.child(child)
        counts = Counter(jobs.summary(job))
        del counts["warnings"]
        assert counts.pop("rows", 0) == output["rows"] == counts.total()
        ended.update(counts, run=1)

    send()

    assert ended["run"] > ended["refused"], ended


@cases(few=100)
@given(file=files(), ignore_opt_out=st.booleans())
def test_a_row_of_an_import_is_a_registration_or_has_a_reason(
    file: tuple[bytes, str],
    ignore_opt_out: bool,
) -> None:
    data, form = file
    try:
        layout = layout_of(data, form, is_whole=True)
    except InvalidRequest:
        return
    finder = RowIndex(layout, layout.start, 1)
    for each in finder.feed(data[layout.start :]) + finder.finish():
        for row in rows_of(layout, data[each.start : each.end], each.first_row):
            found = registration_of(row, ignore_opt_out=ignore_opt_out)
            if isinstance(found, Skipped | Invalid):
                assert found.reason
            else:
                assert found
