"""The step that begins a job: it checks the job and finds the rows of its file."""

from __future__ import annotations

import json
import re

import pytest

from push_sender.jobs.errors import JobConflict, JobStoreUnavailable, SourceChanged
from push_sender.jobs.plan import wait_after, wait_before
from push_sender.request.errors import InvalidRequest
from tests.support.devices import Registry
from tests.support.invocation import OTHER_PROJECT, PROJECT
from tests.support.jobs import BUCKET, JobRunner, index_event, rows_of_tokens
from tests.support.provider import Json, Provider

MEGABYTE = 1024 * 1024


def test_the_plan_holds_what_the_children_need(jobs: JobRunner) -> None:
    jobs.upload("token;service;plan\na;GCM;x\n")

    output = jobs.begin(tokens_per_second=250, tolerated_failure_percentage=5)

    etag = output["plan"]["source"].pop("etag")
    assert output == {
        "is_complete": True,
        "position": 27,
        "rows": 1,
        "index_key": "jobs/spring/index.json",
        "children": 3,
        "tolerated_failure_percentage": 5,
        "plan": {
            "job": "spring",
            "action": "send",
            "application_id": PROJECT,
            "source": {
                "bucket": BUCKET,
                "key": "uploads/people.csv",
                "format": "csv",
                "delimiter": ";",
                "columns": ["token", "service", ""],  # no message has a use for plan
            },
            "request": {"title": "t", "message": "m"},
            "tokens_per_second": 250,
            "children": 3,
            "dry_run": False,
            "ignore_opt_out": False,
            "results_prefix": "jobs/spring/map",
        },
    }
    assert jobs.read("jobs/spring/index.json") == [
        {"start": 19, "end": 27, "first_row": 1, "wait": 0}
    ]
    item = jobs.item()
    assert (item["etag"], item["rows"], item["action"]) == (etag, 1, "send")
    assert item["started_at"] == 1795773600000


def large_file() -> bytes:
    """Make a file of 9 MB whose rows have quoted line breaks."""
    row = 'token-{:06},GCM,"' + "first\nsecond " * 70 + '"\n'
    return ("token,service,message\n" + "".join(row.format(n) for n in range(9_500))).encode()


def test_a_large_file_is_read_in_passes_and_a_repeated_pass_changes_nothing(
    jobs: JobRunner, provider: Provider
) -> None:
    content = large_file()
    jobs.upload(content)
    whole = jobs.begin("whole")
    entries = jobs.read(whole["index_key"])

    before: Json = {"position": 0, "rows": 0}
    passes = 0
    while not before.get("is_complete"):
        jobs.proxy.fail("PutObject", lost=True)
        with pytest.raises(JobStoreUnavailable):
            jobs.index("parts", before, seconds=7)
        jobs.proxy.recover()
        before = jobs.index("parts", before, seconds=7)  # the time for one part of the file
        passes += 1
    assert passes > 2

    assert jobs.read(before["index_key"]) == entries
    assert entries[0]["start"] == len("token,service,message\n")
    assert [each["start"] for each in entries[1:]] == [each["end"] for each in entries[:-1]]
    assert entries[-1]["end"] == len(content)
    assert [each["first_row"] for each in entries] == list(range(1, 9_501, 1_000))
    assert before["rows"] == whole["rows"] == 9_500
    assert provider.calls == []


IMPOSSIBLE: list[tuple[Json, str]] = [
    ({"job": "other"}, "job: must be the name of the execution"),
    ({"job": "spring#1"}, "job: must be 1 to 80 of letters"),
    ({"action": "delete"}, "action: must be 'send' or 'register_devices'"),
    ({"source": {}}, "source.key: is missing"),
    ({"source": {"key": "uploads/people.xlsx"}}, "source.format: is missing, and the key"),
    ({"source": {"key": "uploads/a.csv", "kye": 1}}, "source.kye: unknown field; did you mean"),
    ({"source": {"key": f"{'é' * 513}.csv"}}, "source.key: must be at most 1,024 bytes"),
    *(
        ({"source": {"key": "a.csv", "bucket": name}}, "source.bucket: must be the name of a buc")
        for name in ("", "../jobs", "A B", "é", "x" * 64, "arn:aws:s3:::exports", "exports\n")
    ),
    ({"source": "people.csv"}, "source: must be an object, not text"),
    ({"tokens_per_second": 19}, "tokens_per_second: must be at least 20"),
    ({"tokens_per_second": 5_000.5}, "tokens_per_second: must be a whole number"),
    (
        {"tolerated_failure_percentage": 101},
        "tolerated_failure_percentage: must be at most 100",
    ),
    (
        {"toknes_per_second": 5_000},
        "toknes_per_second: unknown field; did you mean tokens_per_",
    ),
    ({"dry_run": "yes"}, "dry_run: must be true or false, not text"),
    ({"request": None}, "request: is missing"),
    ({"request": {}}, "message: "),
    (
        {"request": {"message": "m", "recipients": []}},
        "request.recipients: has no place in a job",
    ),
    ({"request": {"message": "m", "send_at": "x"}}, "request.send_at: has no place in a job"),
    ({"request": {"message": "m" * 200_000}}, "request: must be at most 200,000 bytes"),
    ({"request": {"message": "m", "titel": "t"}}, "titel: unknown field; did you mean title?"),
    ({"application_id": "x"}, "application_id: not a project"),
    (
        {
            "application_id": PROJECT,
            "request": {"message": "m", "application_id": OTHER_PROJECT},
        },
        "application_id: differs from that of the request",
    ),
    ({"action": "register_devices"}, "request: has no place in an import"),
    ({"action": "register_devices", "request": None}, "action: register_devices needs the reg"),
    ({"source": {"key": "uploads/none.csv"}}, "source: names no file that the function may read"),
    (
        {"source": {"key": "uploads/people.csv", "bucket": "of-others"}},
        "source: names no file that the function may read",
    ),
]


def test_a_job_that_cannot_be_done_is_refused_before_anything_is_sent(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    for given, error in IMPOSSIBLE:
        event = index_event("spring", {"position": 0, "rows": 0})
        event["input"] = {**event["input"], **given}

        with pytest.raises(InvalidRequest) as refused:
            jobs.child(event)

        found = str(refused.value).splitlines()
        assert [line for line in found if line.startswith(error)], (error, found)
    assert provider.calls == []
    assert jobs.item() == {}


USELESS: list[tuple[bytes, str]] = [
    (b"", "source: is empty"),
    (b"token,service\n", "source: has only a header"),
    (b"name,age\nada,36\n", "source: has no header that names recipients"),
    (b"token,service\n,GCM\nx,PIGEON\n", "source: row 1 is of no use: no_token"),
    (b"token,service\n,GCM\n" + b"a b,GCM\n" * 2, "source: row 1 is of no use: no_token"),
    (b"token,service\na b,GCM\n", "source: row 1 is of no use: token: must be 1 to 2,048"),
    ("token,service\na,GCM\n".encode("utf-16"), "source: is UTF-16"),
    (b'token,service\n"a,GCM\n' + b"x" * 70_000, "source: row 1 is longer than 65,536"),
    (b'token,service\n"a,GCM\n', "source: row 1 has a quotation mark that is not closed"),
    (b"token,service\n" + b"\n" * 4 * MEGABYTE, "source: has no rows in its first 3,145,728"),
]


def test_a_file_without_rows_of_use_is_refused(jobs: JobRunner) -> None:
    for content, error in USELESS:
        jobs.upload(content)

        with pytest.raises(InvalidRequest) as refused:
            jobs.begin()

        assert str(refused.value).startswith(error)


def test_a_file_whose_first_rows_are_all_skipped_is_no_error(jobs: JobRunner) -> None:
    jobs.upload("Address,ChannelType\na@example.com,EMAIL\n")

    jobs.run()

    assert jobs.summary() == {"rows": 1, "skipped": 1}


def test_a_name_stands_for_one_file_and_execution(jobs: JobRunner) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    jobs.run()
    kept = jobs.item()
    jobs.begin()
    assert jobs.item() == kept

    jobs.upload(rows_of_tokens(["b"]))
    with pytest.raises(JobConflict):
        jobs.begin()
    jobs.move_clock(31 * 24)
    jobs.begin()

    assert jobs.summary() == {}


def test_a_pass_that_ends_within_blank_lines_is_continued(jobs: JobRunner) -> None:
    jobs.upload(b"token,service\na,GCM\n" + b"\n" * 7 * MEGABYTE + b"b,GCM\n")

    first = jobs.index(seconds=7)  # the time for one part of the file
    second = jobs.index(before=first, seconds=7)
    assert first["position"] < second["position"]
    last = jobs.begin()

    assert (first["is_complete"], second["is_complete"], last["rows"]) == (False, False, 2)
    assert len(jobs.read(last["index_key"])) == 2


def test_a_file_that_changes_between_two_passes_fails_the_job(jobs: JobRunner) -> None:
    jobs.upload(large_file())
    source = jobs.begin()["plan"]["source"]
    jobs.upload(rows_of_tokens(["a"]))

    (first, *_) = jobs.read("jobs/spring/index.json")
    before = {"position": first["end"], "rows": 1_000, "end": first["end"], "source": source}
    with pytest.raises(SourceChanged):
        jobs.index(before=before)


def test_an_index_that_is_no_longer_there_fails_the_pass(jobs: JobRunner) -> None:
    jobs.upload(large_file())
    source = jobs.begin()["plan"]["source"]
    (first, *_) = jobs.read("jobs/spring/index.json")
    before = {"position": first["end"], "rows": 1_000, "end": first["end"], "source": source}
    for stored in (b"", b"[]", b"odd", b'{"a": 1}', b"[1]"):
        jobs.upload(stored, "jobs/spring/index.json")

        with pytest.raises(JobStoreUnavailable):
            jobs.index(before=before)


def test_starts_are_spread_and_the_waits_of_a_child_fill_its_slot() -> None:
    assert [wait_before(item, 1_000, 500) for item in range(7)] == [0, 2, 4, 6, 8, 0, 2]
    assert {wait_before(item, 1_000, 5_000) for item in range(50)} == set(range(10))
    means = [
        sum(wait_after(1_000, 5_000, waited=3, seconds=1.4) for _ in range(2_000)) / 2_000,
        wait_after(1_000, 5_000, waited=9, seconds=4),
    ]
    assert 5.5 < means[0] < 5.7
    assert means[1] == 0


def test_the_input_is_checked_in_full(jobs: JobRunner) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    with pytest.raises(InvalidRequest) as refused:
        jobs.begin(tokens_per_second=1, request={"message": "m"}, dry_run=3, unknown=json.dumps({}))

    assert len(str(refused.value).splitlines()) == 3


def test_a_filter_of_devices_is_checked_although_no_user_is_among_the_first_rows(
    jobs: JobRunner, registry: Registry
) -> None:
    jobs.upload(rows_of_tokens([f"t{number}" for number in range(1_000)]) + "u,,\n")
    with pytest.raises(InvalidRequest) as refused:
        jobs.begin(request={"message": "m", "device_filter": {"tag": ["a"]}})

    assert str(refused.value).startswith("device_filter.tag: unknown field")
    jobs.begin(request={"message": "m", "device_filter": {"services": ["GCM"]}})


def test_an_error_is_short_enough_for_step_functions(jobs: JobRunner) -> None:
    jobs.upload(rows_of_tokens(["a"]))

    with pytest.raises(InvalidRequest) as refused:
        jobs.begin("spring", **{f"unknown{number}": 1 for number in range(2_000)})

    message = str(refused.value)
    assert len(message) < 16_100
    assert message.startswith("unknown0: unknown field")
    assert re.search(r"and 1,[0-9]{3} more$", message)
