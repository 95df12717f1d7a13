"""Jobs that start later, against the sandbox's Scheduler, whose clock the tests move."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest

from operations.account import OperationsError
from operations.jobs import moments
from operations.jobs.input_files import InputFiles
from operations.jobs.moments import LocalTimes
from operations.jobs.split import Split
from tests.commands.test_job import Operator, Result, words
from tests.support.job_sandbox import GROUP, JobSandbox
from tests.support.service_sandbox import eventually, running_services

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LOCAL = datetime.now().replace(hour=18, minute=0, second=0, microsecond=0) + timedelta(days=3)
AT = f"{LOCAL:%Y-%m-%dT%H:%M}"
OFFSETS = {"Asia/Tokyo": 9, "Asia/Kathmandu": 5.75, "Africa/Nairobi": 3}
"""Time zones that never change their clocks, in the order of their moments."""

HEADER = "token,service,time_zone\n"
TITLE = "Save <b>10</b>: <aws.scheduler.execution-id>"


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobSandbox]:
    place = tmp_path_factory.mktemp("place")
    with running_services(JobSandbox, place, express_seconds=20) as sandbox:
        yield sandbox.prepared()


@pytest.fixture
def sandbox(_running: JobSandbox) -> Iterator[JobSandbox]:
    """Give the sandbox with no schedules and an empty bucket, and set its clock back."""
    (_running.place / "allowed").unlink(missing_ok=True)
    yield _running
    move_clock(_running, 0)
    for name in _running.schedules():
        _running.client("scheduler").delete_schedule(GroupName=GROUP, Name=name)
    for key in _running.objects():
        _running.client("s3").delete_object(Bucket="jobs-bucket", Key=key)


@pytest.fixture
def operator(tmp_path: Path, sandbox: JobSandbox) -> Operator:
    return Operator(tmp_path, sandbox)


def move_clock(sandbox: JobSandbox, seconds: float) -> None:
    """Move the clock of the sandbox ahead."""
    body = json.dumps({"ahead_seconds": round(seconds)}).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{sandbox.url}/sandbox/clock", body, headers)):  # noqa: S310  loopback
        pass


def move_to(sandbox: JobSandbox, moment: datetime) -> None:
    """Move the clock of the sandbox to just after a moment."""
    move_clock(sandbox, (moment - datetime.now(UTC)).total_seconds() + 1)


def moment_of(zone: str) -> datetime:
    """Return when it is ``AT`` in a time zone."""
    return (LOCAL - timedelta(hours=OFFSETS[zone])).replace(tzinfo=UTC)


def rows(*zones: str) -> str:
    """Write a row for each time zone."""
    return "".join(f"a-token-of-a-phone-with-{n:04},GCM,{zone}\n" for n, zone in enumerate(zones))


def schedule(
    operator: Operator, content: str, name: str, *arguments: object, **data: str
) -> Result:
    """Run the command with a file."""
    request = {"title": TITLE, "message": "News", "data": data}
    options = ["--request", operator.file("push.json", json.dumps(request)), "--name", name]
    file = operator.file("people.csv", content)
    return operator.job("run", file, *options, *arguments)


def status_of(sandbox: JobSandbox, name: str) -> str | None:
    """Return the status of an execution; None if there is none."""
    try:
        return str(sandbox.job(name)["status"])
    except sandbox.client("stepfunctions").exceptions.ClientError:
        return None


def succeeded(sandbox: JobSandbox, name: str) -> None:
    eventually(lambda: status_of(sandbox, name) == "SUCCEEDED")


# --- one moment


def test_a_job_starts_at_its_moment(sandbox: JobSandbox, operator: Operator) -> None:
    zone = ("--at", AT, "--time-zone", "Asia/Kathmandu")
    result = schedule(operator, HEADER + rows("", ""), "later", "--yes", *zone)

    moment = moment_of("Asia/Kathmandu")
    assert (result.returncode, result.stderr) == (0, "")
    shown = words(result.stdout)
    starts = f"{moment:%Y-%m-%d %H:%M} UTC"
    assert f"starts {LOCAL:%Y-%m-%d %H:%M} in Asia/Kathmandu, {starts}" in shown
    assert f"The job later is scheduled. It starts at {starts}" in shown
    assert sandbox.objects() == ["scheduled/later/people.csv"]
    assert sandbox.schedules() == ["job-later"]
    waiting = operator.job("status", "later")
    assert waiting.returncode == 0
    assert f"later is scheduled: it starts at {starts}" in words(waiting.stdout)
    assert "Scheduled: later" in operator.job("status").stdout
    again = schedule(operator, HEADER + rows(""), "later", "--yes")
    assert again.returncode == 1
    assert "There is a scheduled job later already" in again.stderr

    move_to(sandbox, moment - timedelta(minutes=2))
    assert sandbox.schedules() == ["job-later"]
    move_to(sandbox, moment)
    succeeded(sandbox, "later")
    assert sandbox.input_of("later") == {
        "job": "later",
        "action": "send",
        "source": {"key": "scheduled/later/people.csv", "format": "csv"},
        "request": {"title": TITLE, "message": "News", "data": {}},
    }
    assert sandbox.schedules() == []
    assert "later succeeded after" in operator.job("status", "later").stdout


def test_a_job_that_is_stopped_before_its_moment_never_starts(
    sandbox: JobSandbox, operator: Operator
) -> None:
    schedule(operator, HEADER + rows(""), "cancelled", "--yes", "--at", f"{AT}:30+05:45")
    redriven = operator.job("redrive", "cancelled")
    stopped = operator.job("stop", "cancelled")

    assert redriven.returncode == 1
    assert "has not started" in redriven.stderr
    assert stopped.returncode == 0
    assert "cancelled is cancelled. It had not started" in words(stopped.stdout)
    assert (sandbox.schedules(), sandbox.objects()) == ([], [])
    assert "There is no job cancelled." in operator.job("status", "cancelled").stderr


# --- the time zone of each row


def test_each_part_starts_at_its_moment_and_all_are_summed(
    sandbox: JobSandbox, operator: Operator, tmp_path: Path
) -> None:
    content = HEADER + rows("Asia/Tokyo", "Africa/Nairobi", "", "Asia/Tokyo", "Mars/Olympus")
    given = ("--at", AT, "--local-time", "--time-zone", "Asia/Kathmandu", "--yes")
    result = schedule(operator, content, "xmas", *given)

    assert (result.returncode, result.stderr) == (0, "")
    shown = words(result.stdout)
    assert f"starts {LOCAL:%Y-%m-%d %H:%M} in the time zone of each row" in shown
    assert "rows without a time zone that is known: 2; Asia/Kathmandu counts" in shown
    assert "Columns that a job does not use" not in shown
    parts = [(f"xmas-{n:02}", zone, 1 + (n < 3)) for n, zone in enumerate(OFFSETS, 1)]
    for name, zone, number in parts:
        assert f"{name} {moment_of(zone):%Y-%m-%d %H:%M} {number} {zone}" in shown
    assert "xmas is scheduled in 3 parts." in shown
    lines = content.splitlines(keepends=True)
    assert sandbox.content("scheduled/xmas/xmas-01.csv").decode() == lines[0] + lines[1] + lines[4]
    assert sandbox.content("scheduled/xmas/xmas-02.csv").decode() == lines[0] + lines[3] + lines[5]
    assert json.loads(sandbox.content("scheduled/xmas/parts.json"))["parts"][2] == {
        "job": "xmas-03",
        "at": f"{moment_of('Africa/Nairobi'):%Y-%m-%dT%H:%M:%SZ}",
        "time_zones": ["Africa/Nairobi"],
        "rows": 1,
        "key": "scheduled/xmas/xmas-03.csv",
    }

    for number, (name, zone, _) in enumerate(parts, 1):
        move_to(sandbox, moment_of(zone))
        succeeded(sandbox, name)
        assert len(sandbox.schedules()) == 3 - number
    assert sandbox.input_of("xmas-02")["source"]["key"] == "scheduled/xmas/xmas-02.csv"
    status = operator.job("status", "xmas", "--follow")
    assert (status.returncode, status.stderr) == (0, "")
    # The function of this sandbox counts four results for each file.
    assert "xmas, 3 parts: 12 of 5 rows" in status.stdout
    assert "accepted 6 The provider accepted" in words(status.stdout)
    results = operator.job("results", "xmas", "--output", tmp_path / "rows.jsonl")
    assert results.returncode == 0
    found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(each["job"], each["row"]) for each in found] == [
        (name, row) for name, *_ in parts for row in (1, 3)
    ]


def test_stop_cancels_the_parts_that_wait_and_redrive_continues_the_others(
    sandbox: JobSandbox, operator: Operator
) -> None:
    content = HEADER + rows("Asia/Tokyo", "Africa/Nairobi")
    schedule(operator, content, "half", "--yes", "--at", AT, "--local-time", do="wait")
    move_to(sandbox, moment_of("Asia/Tokyo"))
    eventually(lambda: "jobs/half-01/rows/000000000001.jsonl" in sandbox.objects())

    running = operator.job("status", "half")
    stopped = operator.job("stop", "half")
    status = operator.job("status", "half")

    assert running.returncode == 0
    assert "half-02" in running.stdout
    assert words(running.stdout).count("is scheduled") == 1
    assert "1 cancelled before their start, 1 stopped. Children" in words(stopped.stdout)
    assert sandbox.schedules() == []
    assert "scheduled/half/half-02.csv" not in sandbox.objects()
    assert status.returncode == 1
    assert "was cancelled before its start" in words(status.stdout)
    for verb, code in (("status", 1), ("stop", 0)):
        part = operator.job(verb, "half-02")
        assert (part.returncode, part.stderr) == (code, "")
        assert "half-02, a part of the job half, was cancelled" in words(part.stdout)
    assert "There is no job half-03." in operator.job("stop", "half-03").stderr
    move_to(sandbox, moment_of("Africa/Nairobi"))
    sandbox.let_through()
    redriven = operator.job("redrive", "half")
    assert (redriven.returncode, redriven.stderr) == (0, "")
    assert "half-01 continue." in redriven.stdout
    succeeded(sandbox, "half-01")
    assert status_of(sandbox, "half-02") is None
    assert "No part of the job half can be continued" in operator.job("redrive", "half").stderr


def test_one_part_is_counted_and_without_children_none_are_named(
    sandbox: JobSandbox, operator: Operator
) -> None:
    given = ("--yes", "--at", AT, "--local-time")
    made = schedule(operator, HEADER + rows("Asia/Tokyo"), "single", *given)
    status = operator.job("status", "single")
    stopped = operator.job("stop", "single")

    assert "single is scheduled in 1 part. " in words(made.stdout)
    assert "single, 1 part: 0 of 1 rows" in status.stdout
    assert "1 cancelled before their start, 0 stopped." in words(stopped.stdout)
    assert "Children" not in stopped.stdout


def test_a_dry_run_shows_the_parts_and_keeps_nothing(
    sandbox: JobSandbox, operator: Operator
) -> None:
    content = HEADER + rows("Asia/Tokyo", "Africa/Nairobi")
    result = schedule(operator, content, "dry", "--dry-run", "--at", AT, "--local-time")

    assert (result.returncode, result.stderr) == (0, "")
    assert "dry-02" in result.stdout
    assert "no job is scheduled" in result.stdout
    assert (sandbox.schedules(), sandbox.objects()) == ([], [])


def test_if_a_part_cannot_be_scheduled_none_is(sandbox: JobSandbox, operator: Operator) -> None:
    content = HEADER + rows("Asia/Tokyo", "Africa/Nairobi")
    given = ("--yes", "--at", AT, "--local-time")
    schedule(operator, HEADER + rows(""), "taken-02", "--yes", "--at", f"{AT}Z")
    taken = schedule(operator, content, "taken", *given)
    refused = schedule(operator, content, "refused", *given, "--stack", "without-role")

    assert taken.returncode == 1
    assert "There is a scheduled job taken-02 already" in taken.stderr
    assert refused.returncode == 1
    assert "The job refused-01 cannot be scheduled" in refused.stderr
    assert sandbox.schedules() == ["job-taken-02"]
    assert sandbox.objects() == ["scheduled/taken-02/people.csv"]


REFUSED: dict[str, tuple[list[str], str]] = {
    "no time": (["--at", "tomorrow"], "must be a time such as 2026-12-24T18:00"),
    "a day that is none": (["--at", "2027-02-29T18:00Z"], "must be a time such as"),
    "no offset": (["--at", AT], "has no offset: give TIME_ZONE= (--time-zone)"),
    "an offset and a time zone": (
        ["--at", f"{AT}Z", "--time-zone", "Europe/Berlin"],
        "has an offset, so it is the same moment",
    ),
    "an offset and local times": (["--at", f"{AT}Z", "--local-time"], "has an offset"),
    "no time, only a zone": (["--time-zone", "Europe/Berlin"], "need AT= (--at)"),
    "the past": (["--at", "2026-01-01T00:00Z"], "is over: it was at 2026-01-01 00:00 UTC"),
    "the past at a local time": (
        ["--at", "2026-01-01T00:00", "--local-time"],
        "is over for some rows. Choose a later time",
    ),
    "two years ahead": (
        ["--at", f"{LOCAL.year + 2}-01-01T00:00Z"],
        "is more than 366 days ahead. Choose an earlier time",
    ),
    "two years ahead at a local time": (
        ["--at", f"{LOCAL.year + 2}-01-01T00:00", "--local-time"],
        "is more than 366 days ahead. Choose an earlier time (time zone Asia/Tokyo)",
    ),
    "an unknown time zone": (
        ["--at", AT, "--time-zone", "Europe/Berlim"],
        "is no time zone. Did you mean Europe/Berlin?",
    ),
    "rows without a time zone": (
        ["--at", AT, "--local-time"],
        "1 row has no time zone that is known. Give TIME_ZONE= (--time-zone)",
    ),
    "a long name": (["--at", f"{AT}Z", "--name", "n" * 61], "has 61 characters"),
    "a long name of parts": (["--at", AT, "--local-time", "--name", "n" * 58], "it can have 57"),
    "a stack without schedules": (
        ["--at", f"{AT}Z", "--stack", "without-devices"],
        "has no outputs ScheduleGroupName and JobScheduleRoleArn",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_time_at_which_no_job_can_start_is_refused(
    sandbox: JobSandbox, operator: Operator, case: str
) -> None:
    arguments, expected = REFUSED[case]
    content = HEADER + rows("Asia/Tokyo", "")

    result = schedule(operator, content, "never", "--yes", *arguments)

    assert result.returncode == 1
    assert expected in words(result.stderr)
    assert (sandbox.schedules(), sandbox.objects()) == ([], [])


def test_a_request_that_is_too_large_for_a_schedule_is_refused(
    sandbox: JobSandbox, operator: Operator
) -> None:
    data = {"a": '"' * 90_000}  # each is four bytes in a text of JSON within JSON
    result = schedule(operator, HEADER + rows(""), "large", "--yes", "--at", f"{AT}Z", **data)

    assert result.returncode == 1
    assert "too large for a job that starts later" in result.stderr
    assert sandbox.objects() == []


def test_the_name_of_the_file_is_cut_to_the_length_of_a_schedule(
    sandbox: JobSandbox, operator: Operator
) -> None:
    file = operator.file(f"{'n' * 90}.csv", HEADER + rows("Asia/Tokyo"))
    request = operator.file("push.json", '{"title": "t"}')
    result = operator.job("run", file, "--request", request, "--at", AT, "--local-time", "--yes")

    assert (result.returncode, result.stderr) == (0, "")
    assert [len(name) for name in sandbox.schedules()] == [64]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_is_asked_before_a_job_is_scheduled(
    sandbox: JobSandbox, operator: Operator
) -> None:
    with patch("sys.stdin", _Terminal("n\n")):
        result = schedule(operator, HEADER + rows("", ""), "asked", "--at", f"{AT}Z")

    assert result.returncode == 1
    assert "Schedule a push to 2 rows? [y/N]" in result.stdout
    assert (sandbox.schedules(), sandbox.objects()) == ([], [])


# --- times


MOMENTS = [
    ("Europe/Berlin", "2026-12-24T18:00", "2026-12-24T17:00"),
    ("Europe/Berlin", "2027-03-28T01:59", "2027-03-28T00:59"),
    ("Europe/Berlin", "2027-03-28T03:00", "2027-03-28T01:00"),
    ("Europe/Berlin", "2027-10-31T01:59", "2027-10-30T23:59"),
    ("Europe/Berlin", "2027-10-31T03:00", "2027-10-31T02:00"),
    ("Asia/Kathmandu", "2026-12-24T18:00", "2026-12-24T12:15"),
    ("Pacific/Apia", "2026-12-24T18:00", "2026-12-24T05:00"),
    ("Pacific/Kiritimati", "2026-12-24T18:00", "2026-12-24T04:00"),
    ("Antarctica/Troll", "2026-12-24T18:00", "2026-12-24T18:00"),
    ("Antarctica/Troll", "2027-06-01T18:00", "2027-06-01T16:00"),
]


@pytest.mark.parametrize(("zone", "local", "utc"), MOMENTS)
def test_a_local_time_is_a_moment(zone: str, local: str, utc: str) -> None:
    moment = moments.moment_in(datetime.fromisoformat(local), ZoneInfo(zone))

    assert moment == datetime.fromisoformat(f"{utc}Z")


NO_MOMENTS = [
    ("Europe/Berlin", "2027-03-28T02:30", "is skipped", "2027-03-28 02:00", "2027-03-28 03:00"),
    ("Europe/Berlin", "2027-03-28T02:00", "is skipped", "2027-03-28 02:00", "2027-03-28 03:00"),
    ("Europe/Berlin", "2027-10-31T02:30", "comes twice", "2027-10-31 03:00", "2027-10-31 02:00"),
    ("Europe/Berlin", "2027-10-31T02:00", "comes twice", "2027-10-31 03:00", "2027-10-31 02:00"),
    ("Antarctica/Troll", "2027-03-28T02:30", "is skipped", "2027-03-28 01:00", "2027-03-28 03:00"),
    ("Antarctica/Troll", "2027-10-31T01:30", "comes twice", "2027-10-31 03:00", "2027-10-31 01:00"),
    ("Australia/Lord_Howe", "2027-10-03T02:10", "is skipped", "2027-10-03 02:00", "02:30"),
    # It went over the date line, from one end of a day to the other.
    ("Pacific/Apia", "2011-12-30T18:00", "is skipped", "2011-12-30 00:00", "2011-12-31 00:00"),
]


@pytest.mark.parametrize(("zone", "local", "what", "before", "after"), NO_MOMENTS)
def test_a_local_time_that_is_skipped_or_repeated_is_refused_with_the_cure(
    zone: str, local: str, what: str, before: str, after: str
) -> None:
    time = datetime.fromisoformat(local)
    with pytest.raises(OperationsError) as refused:
        moments.local_moment(time, ZoneInfo(zone))

    said = str(refused.value)
    assert what in said
    assert f" {before} to " in said
    assert after in said
    assert f"(time zone {zone})" in said
    offered = [
        datetime.fromisoformat(word)
        for word in said.split()
        if word.startswith(f"{time:%Y-%m-%dT%H:%M:%S}")
    ]
    assert len({each.astimezone(UTC) for each in offered}) == (2 if what == "comes twice" else 0)


def test_an_evening_comes_at_few_moments_in_the_whole_world() -> None:
    times = LocalTimes(datetime(2026, 12, 24, 18), None, NOW)
    found = {times.find(name) for name in moments.zone_names()}
    times.check()

    assert None not in found
    assert 30 < len({each[0] for each in found if each}) <= 40


def test_what_is_offered_as_a_later_time_is_over_nowhere() -> None:
    past = LocalTimes(datetime(2026, 11, 27, 13), None, NOW)
    past.find("Asia/Tokyo")
    with pytest.raises(OperationsError) as refused:
        past.check()
    (offered,) = [word for word in str(refused.value).split() if word.startswith("2026-")]

    later = LocalTimes(datetime.fromisoformat(offered), None, NOW)
    assert all(later.find(name) for name in moments.zone_names())


# --- files


def split_of(path: Path, default: str | None = None) -> dict[datetime, bytes]:
    """Split a file; give the content of each part."""
    with ExitStack() as closing:
        files = InputFiles([path])
        zone = ZoneInfo(default) if default else None
        split = Split(files.header, LocalTimes(datetime(2026, 12, 24, 18), zone, NOW), closing)
        files.count(lambda _: None, split.add)
        return {part.moment: part.file.read() for part in split.parts()}


FILES: dict[str, tuple[str, bytes, list[bytes]]] = {
    "quoted line breaks, CRLF, a byte order mark, blank lines": (
        "a.csv",
        b'\xef\xbb\xbftoken;service;title;Demographic.Timezone\r\n\r\nt1;GCM;"a;\r\nb";Asia/Tokyo\r\n'
        b"\r\nt2;GCM;;Africa/Nairobi\r\nt3;GCM;;Asia/Tokyo",
        [
            b"\xef\xbb\xbftoken;service;title;Demographic.Timezone\r\n"
            b't1;GCM;"a;\r\nb";Asia/Tokyo\r\nt3;GCM;;Asia/Tokyo\n',
            b"\xef\xbb\xbftoken;service;title;Demographic.Timezone\r\nt2;GCM;;Africa/Nairobi\r\n",
        ],
    ),
    "JSON Lines, as Pinpoint exports them": (
        "a.jsonl",
        b'{"Address": "t1", "Demographic": {"Timezone": "Africa/Nairobi"}}\n'
        b'{"Address": "t2", "Demographic": {"Timezone": "Asia/Tokyo"}}',
        [
            b'{"Address": "t2", "Demographic": {"Timezone": "Asia/Tokyo"}}\n',
            b'{"Address": "t1", "Demographic": {"Timezone": "Africa/Nairobi"}}\n',
        ],
    ),
    "rows that cannot be read, and a zone that stands twice": (
        "a.csv",
        b"token,service,time_zone,time_zone\nt1,GCM,Asia/Tokyo,Africa/Nairobi\n\xff,GCM,,\n"
        b"t2,GCM,Asia/Tokyo\nt3,GCM,../Asia/Tokyo,\n",
        [
            b"token,service,time_zone,time_zone\nt2,GCM,Asia/Tokyo\n",
            b"token,service,time_zone,time_zone\nt1,GCM,Asia/Tokyo,Africa/Nairobi\n\xff,GCM,,\n"
            b"t3,GCM,../Asia/Tokyo,\n",
        ],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_each_row_is_in_the_part_of_its_moment_as_it_was(tmp_path: Path, case: str) -> None:
    name, content, expected = FILES[case]
    (tmp_path / name).write_bytes(content)

    split = split_of(tmp_path / name, "Africa/Nairobi")

    assert list(split.values()) == expected


def test_a_large_file_is_split_with_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    zones = [*OFFSETS, ""]
    with path.open("w") as file:
        file.write("token,service,title,time_zone\n" + "\n" * 5_000_000)
        for number in range(4_000):
            file.write(f"token,GCM,{'x' * 10_000},{zones[number % 4]}\n")
    tracemalloc.start()
    with ExitStack() as closing:
        files = InputFiles([path])
        split = Split(files.header, LocalTimes(LOCAL, ZoneInfo("Asia/Tokyo"), NOW), closing)
        counted = files.count(lambda _: None, split.add)
        parts = split.parts()
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [part.rows for part in parts] == [2_000, 1_000, 1_000]
    assert split.times.without_zone == 1_000
    assert sum(part.size for part in parts) > 40_000_000
    assert peak < counted.size / 2


def test_a_full_disk_is_told_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(HEADER + rows("Asia/Tokyo"))
    opened: list[Any] = []

    def full(*_: Any) -> Any:
        opened.append(open("/dev/full", "w+b", buffering=0))  # noqa: SIM115  the split closes it
        return opened[-1]

    with patch("operations.jobs.split.TemporaryFile", full), pytest.raises(OperationsError) as told:
        split_of(path)

    assert "No space left on device. Set TMPDIR" in str(told.value)
