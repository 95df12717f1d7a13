"""The commands of jobs, against Step Functions and S3 of the sandbox."""

from __future__ import annotations

import gzip
import io
import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from rich.console import Console

from operations.account import OperationsError
from operations.jobs.input_files import InputFiles
from operations.jobs.meter import metering
from tests.commands.test_operations import CREDENTIALS, Commands
from tests.support.job_sandbox import JobSandbox
from tests.support.service_sandbox import eventually, running_services

HEADER = "token,service,title\n"
ROWS = "".join(f"a-token-of-a-phone-with-{n:04},GCM,Hello {n}\n" for n in range(4))
REQUEST = {"title": "Hello", "message": "News"}

Result = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobSandbox]:
    place = tmp_path_factory.mktemp("place")
    with running_services(JobSandbox, place, express_seconds=20) as sandbox:
        yield sandbox.prepared()


@pytest.fixture
def sandbox(_running: JobSandbox) -> Iterator[JobSandbox]:
    """Give the sandbox with an empty bucket. Each test names its job differently."""
    (_running.place / "allowed").unlink(missing_ok=True)
    yield _running
    for key in _running.objects():
        _running.client("s3").delete_object(Bucket="jobs-bucket", Key=key)


class Operator(Commands):
    """Runs commands in the folder of a test, against the sandbox."""

    def __init__(self, folder: Path, sandbox: JobSandbox) -> None:
        super().__init__(folder)
        self._folder = folder
        self._place = {
            "AWS_ENDPOINT_URL": sandbox.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            **CREDENTIALS,
        }

    def job(self, *arguments: object) -> Result:
        return self.run("job", *arguments, **self._place)

    def start(self, name: str, *arguments: object, do: str = "") -> Result:
        """Run a job over a file with four rows."""
        request = {**REQUEST, "data": {"do": do}} if do else REQUEST
        return self.job(
            "run",
            self.file("people.csv", HEADER + ROWS),
            *("--request", self.file("push.json", json.dumps(request))),
            *("--name", name, "--yes", *arguments),
        )

    def file(self, name: str, content: str | bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def process(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(*arguments),
            env=self._environment(**self._place),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def operator(tmp_path: Path, sandbox: JobSandbox) -> Operator:
    return Operator(tmp_path, sandbox)


def words(text: str) -> str:
    return " ".join(text.split())


# --- run


def test_a_job_is_shown_uploaded_run_and_told(sandbox: JobSandbox, operator: Operator) -> None:
    result = operator.start("first", "--tokens-per-second", 200)

    assert (result.returncode, result.stderr) == (0, "")
    shown = words(result.stdout)
    assert "rows 4 of " in shown
    assert "project project of push-sender in us-east-1" in shown
    assert "time a few seconds at 200 tokens a second" in shown
    assert "cost below 0.01 US dollars" in shown
    assert "1 GCM a-toke… - Hello 0 News" in shown
    assert "All rows: 4 good." in shown
    assert "first succeeded after " in shown
    assert "4 of 4 rows" in shown
    assert "accepted 2 The provider accepted the push." in shown
    assert "dead_token 2 The app is no longer on the device." in shown
    assert "To list the 2 that were not accepted: .venv/bin/python -m operations job" in shown
    assert "a-token-of" not in shown
    assert sandbox.content("uploads/first/people.csv").decode() == HEADER + ROWS
    assert sandbox.input_of("first") == {
        "job": "first",
        "action": "send",
        "source": {"key": "uploads/first/people.csv", "format": "csv"},
        "request": REQUEST,
        "tokens_per_second": 200,
    }


def test_output_fits_a_terminal_of_80_columns(operator: Operator) -> None:
    with patch("operations.__main__.WIDTH", 80):
        result = operator.start("narrow", "--dry-run")

    long = [line for line in result.stdout.splitlines() if len(line) > 80]
    assert [line for line in long if "python -m operations" not in line and "/" not in line] == []


def test_files_are_unpacked_and_joined(sandbox: JobSandbox, operator: Operator) -> None:
    rows = ROWS.splitlines()
    files = [
        operator.file("a.csv", f"\ufeff{HEADER}{rows[0]}"),
        operator.file("b.csv.gz", gzip.compress(f"{HEADER}{rows[1]}\r\n".encode())),
        operator.file("c.gz", gzip.compress(f"\ufeff{HEADER}{rows[2]}\n\n{rows[3]}\n".encode())),
    ]
    request = operator.file("push.json", "\ufeff" + json.dumps(REQUEST))

    result = operator.job("run", *files, "--request", request, "--name", "joined", "--yes")

    assert (result.returncode, result.stderr) == (0, "")
    assert "All rows: 4 good." in result.stdout
    assert sandbox.content("uploads/joined/a.csv").decode() == (
        f"\ufeff{HEADER}{rows[0]}\n{rows[1]}\r\n{rows[2]}\n\n{rows[3]}\n"
    )


def test_pinpoints_exports_are_imported_as_they_are(
    sandbox: JobSandbox, operator: Operator
) -> None:
    endpoint = {
        "Id": "device-1",
        "Address": "a-token-of-a-phone-with-0001",
        "ChannelType": "APNS",
        "User": {"UserId": "secret-user"},
        "Demographic": {"Locale": "de_AT", "Timezone": "Europe/Vienna", "Make": "Apple"},
    }
    mail = {"Id": "2", "Address": "somebody@example.com", "ChannelType": "EMAIL"}
    lines = "".join(json.dumps(each) + "\n" for each in (endpoint, mail))

    result = operator.run(
        "import-devices",
        operator.file("export-1.gz", gzip.compress(lines.encode())),
        *("--name", "import", "--yes", "--rows-per-second", 50),
        **operator._place,
    )

    assert (result.returncode, result.stderr) == (0, "")
    shown = words(result.stdout)
    assert "does registers devices" in shown
    assert "1 APNS a-toke… yes de-AT Europe/Vienna - no" in shown
    assert "All rows: 1 good. 1 skipped: 1 no_push_channel." in shown
    assert "secret-user" not in shown
    assert sandbox.input_of("import") == {
        "job": "import",
        "action": "register_devices",
        "source": {"key": "uploads/import/export-1.jsonl", "format": "jsonl"},
        "tokens_per_second": 50,
    }


def test_an_import_needs_a_registry(operator: Operator) -> None:
    file = operator.file("people.csv", HEADER + ROWS)
    result = operator.run(
        "import-devices", file, "--yes", "--stack", "without-devices", **operator._place
    )

    assert result.returncode == 1
    assert "has no registry of devices" in result.stderr


def test_a_dry_run_asks_nothing_and_says_so(sandbox: JobSandbox, operator: Operator) -> None:
    files = operator.file("people.csv", HEADER + ROWS)
    request = operator.file("push.json", json.dumps(REQUEST))

    result = operator.job("run", files, "--request", request, "--name", "dry", "--dry-run")

    assert result.returncode == 0
    assert "dry, a dry run: nothing is sent" in words(result.stdout)
    assert sandbox.input_of("dry")["dry_run"] is True


def test_the_preview_tells_what_the_rows_are(operator: Operator) -> None:
    file = operator.file(
        "people.csv",
        "Address;ChannelType;OptOut;User.UserId;Demographic.Locale;Attributes.name;shoe size\n"
        "a-token-of-a-phone-with-0001;GCM;NONE;;de_DE;Ada;38\n"
        "a-token-of-a-phone-with-0002;APNS;ALL;;;Bo;39\n"
        "somebody@example.com;EMAIL;;;;;\n"
        "a token;GCM;;;;;\n"
        ";;;;;;40\n"
        "a-token-of-a-phone-with-0001;GCM;;;;;\n"
        ";;;secret-user;;;\n",
    )
    request = {
        "title": "Hello {{name}}",
        "message": "News",
        "translations": {"de": {"title": "Hallo {{name}}"}},
        "substitutions": {"name": ["you"]},
    }
    result = operator.job(
        "run", file, "--request", operator.file("push.json", json.dumps(request)), "--dry-run"
    )

    shown = words(result.stdout)
    assert "1 GCM a-toke… de-DE Hallo Ada News" in shown
    assert "7 a user - Hello you News" in shown
    assert "All rows: 2 good. 2 skipped: 1 opted_out, 1 no_push_channel." in shown
    assert "2 invalid_row: 1 no_token, 1 token: must be 1 to 2,048" in shown
    assert "1 duplicate: 1 listed before." in shown
    assert "secret-user" not in shown
    assert "somebody" not in shown


def test_without_a_terminal_a_job_needs_yes(sandbox: JobSandbox, operator: Operator) -> None:
    files = operator.file("people.csv", HEADER + ROWS)
    request = operator.file("push.json", json.dumps(REQUEST))

    with patch("sys.stdin", io.StringIO()):
        result = operator.job("run", files, "--request", request, "--name", "unasked")

    assert result.returncode == 1
    assert "YES=1 (--yes)" in result.stderr
    assert sandbox.objects() == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "status"), [("no\n", 1), ("\n", 1), ("", 1), ("y\n", 0)])
def test_at_a_terminal_a_job_is_asked_for(
    sandbox: JobSandbox, operator: Operator, answer: str, status: int
) -> None:
    files = operator.file("asked.csv", HEADER + ROWS)
    request = operator.file("push.json", json.dumps(REQUEST))

    with patch("sys.stdin", _Terminal(answer)):
        result = operator.job("run", files, "--request", request)

    assert result.returncode == status
    assert "Send to 4 rows? [y/N]" in result.stdout
    uploads = [key for key in sandbox.objects() if key.startswith("uploads/")]
    assert len(uploads) == (1 if status == 0 else 0)
    # The name is the file's and the time's.
    assert all(key.startswith("uploads/asked-20") for key in uploads)


FILES: dict[str, tuple[dict[str, str | bytes], str]] = {
    "empty": ({"a.csv": ""}, "a.csv: is empty"),
    "only a header": ({"a.csv": HEADER}, "a.csv: has only a header and no rows"),
    "no known column": ({"a.csv": "name,size\nAda,38\n"}, "a.csv: has no header that names"),
    "UTF-16": ({"a.csv": (HEADER + ROWS).encode("utf-16")}, "a.csv: is UTF-16; save it as UTF-8"),
    "another ending": ({"a.txt": HEADER + ROWS}, "a.txt has none of the endings .csv, .jsonl"),
    "other columns": (
        {"a.csv": HEADER + ROWS, "b.csv": "token,title\nx,y\n"},
        "b.csv has other columns",
    ),
    "another delimiter": (
        {"a.csv": HEADER + ROWS, "b.csv": (HEADER + ROWS).replace(",", ";")},
        "b.csv has ';' between its fields",
    ),
    "another format": (
        {"a.csv": HEADER + ROWS, "b.jsonl": '{"token": "x", "service": "GCM"}\n'},
        "b.jsonl is jsonl",
    ),
    "a gzip file that is cut": (
        {"a.csv.gz": gzip.compress((HEADER + ROWS).encode())[:-12]},
        "a.csv.gz is damaged",
    ),
    "a gzip file that was changed": (
        {"a.csv.gz": gzip.compress((HEADER + ROWS).encode())[:-8] + bytes(8)},
        "a.csv.gz is damaged",
    ),
    "an open quotation mark in the first file": (
        {"a.csv": f'{HEADER}t,GCM,"never ends\n', "b.csv": HEADER + ROWS},
        "a.csv: row 1 has a quotation mark that is not closed",
    ),
    "a row that is too long": (
        {"a.csv": HEADER + ROWS, "b.csv": HEADER + ROWS + "t,GCM," + "x" * 70_000},
        "b.csv: row 5 is longer than 65,536 bytes",
    ),
    "no good row": (
        {"a.csv": f"{HEADER},GCM,Hello\nt,PIGEON,Hello\n"},
        "None of the first 2 rows can be used: 1 no_token, 1 unknown_service.",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_no_job_can_read_is_refused(
    sandbox: JobSandbox, operator: Operator, case: str
) -> None:
    files, expected = FILES[case]
    paths = [operator.file(name, content) for name, content in files.items()]
    request = operator.file("push.json", json.dumps(REQUEST))

    result = operator.job("run", *paths, "--request", request, "--name", "bad-file", "--yes")

    assert result.returncode == 1
    assert expected in result.stderr
    assert sandbox.objects() == []


REQUESTS: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ('{"title": "Hello",\n "message"}', "push.json is not JSON: Expecting ':'"),
    "place of the error": ('{"title": "Hello",\n "message"}', "at line 2, column 11"),
    "a list": ("[]", "push.json must hold a request, a JSON object"),
    "UTF-16": ("{}".encode("utf-16"), "push.json is not UTF-8"),
    "deep": ("[" * 100_000, "push.json is not JSON that can be read"),
    "errors": ('{"titel": "x", "ttl": "1"}', "titel: unknown field; did you mean title?\n"),
    "recipients": ('{"title": "x", "recipients": []}', "recipients: "),
    "a key": ('{"title": "x", "idempotency_key": "k"}', "idempotency_key: "),
    "two projects": (
        '{"title": "x", "application_id": "a"}',
        "application_id: differs from that of the request",
    ),
    "large": (json.dumps({"title": "x", "data": {"a": "x" * 300_000}}), "200,000"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_that_no_job_can_send_is_refused(
    sandbox: JobSandbox, operator: Operator, case: str
) -> None:
    text, expected = REQUESTS[case]
    file = operator.file("people.csv", HEADER + ROWS)
    request = operator.file("push.json", text)

    options = ("--name", "bad-request", "--yes", "--application-id", "project")
    result = operator.job("run", file, "--request", request, *options)

    assert result.returncode == 1
    assert expected in result.stderr
    assert sandbox.objects() == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "missing.csv", "--request", "missing.json"], "missing.json cannot be read"),
        (
            ["run", "people.csv", "--request", "push.json", "--name", "a b"],
            "NAME= (--name): must be",
        ),
        (["run", "people.csv", "--request", "push.json", "--tokens-per-second", "5"], "from 20"),
        (["run", "people.csv"], "REQUEST= is missing: make job FILE=people.csv REQUEST="),
        (["run", "people.csv", "--request", ""], "REQUEST= is missing"),
        (["run", "--request", "push.json"], "FILE= is missing"),
        (["run"], "FILE= and REQUEST= are missing"),
        ([], "{run,status,stop,redrive,results}"),
        (["run", "missing.csv", "--request", "push.json"], "missing.csv cannot be read: No such"),
        (["run", ".", "--request", "push.json"], ". cannot be read: Is a directory"),
        (["status", "nobody"], "list the last ones:\n.venv/bin/python -m operations job status\n"),
        (["stop", "nobody"], "There is no job nobody."),
        (["redrive", "nobody"], "There is no job nobody."),
        (["results", "nobody"], "There is no job nobody."),
        (["status", "--stack", "without-jobs"], "has no outputs JobBucketName and JobState"),
    ],
)
def test_what_cannot_be_done_is_said(
    operator: Operator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: str,
) -> None:
    operator.file("people.csv", HEADER + ROWS)
    operator.file("push.json", json.dumps(REQUEST))
    monkeypatch.chdir(tmp_path)

    result = operator.job(*arguments)

    assert result.returncode != 0
    assert expected in result.stderr


def test_jobs_of_the_same_file_get_other_names_in_the_same_minute(
    sandbox: JobSandbox, operator: Operator
) -> None:
    files = operator.file("people.csv", HEADER + ROWS)
    request = operator.file("push.json", json.dumps(REQUEST))

    for second in (5, 6):
        clock = Mock(wraps=datetime, **{"now.return_value": datetime(2027, 3, 1, 14, 12, second)})
        with patch("operations.jobs.run.datetime", clock):
            result = operator.job("run", files, "--request", request, "--yes")
        assert (result.returncode, result.stderr) == (0, "")

    names = {key.split("/")[1] for key in sandbox.objects() if key.startswith("uploads/")}
    assert names == {"people-20270301-141205", "people-20270301-141206"}


# --- after the start


def test_a_name_counts_once(sandbox: JobSandbox, operator: Operator) -> None:
    operator.start("twice")
    before = sandbox.job("twice")["startDate"]

    result = operator.start("twice")

    assert result.returncode == 1
    assert "There is a job twice already. It succeeded:" in result.stderr
    assert "job results twice" in result.stderr
    assert sandbox.job("twice")["startDate"] == before


def test_errors_of_the_request_are_listed(operator: Operator) -> None:
    result = operator.start("invalid", do="invalid")

    assert result.returncode == 1
    shown = result.stdout
    assert "InvalidRequest\n  title: is missing\n  ttl: must be a whole number, not text\n" in shown
    assert "Nothing was sent or registered." in shown
    assert "job redrive" not in shown
    again = operator.job("redrive", "invalid")
    assert "failed as InvalidRequest, and would again" in again.stderr


def test_a_request_that_is_wrong_further_down_tells_how_many_rows_are_done(
    operator: Operator,
) -> None:
    result = operator.start("further", do="wrong further down")

    assert result.returncode == 1
    assert "InvalidRequest\n  adm.message: is too long\n" in result.stdout
    assert "2 other rows are done." in words(result.stdout)
    assert "Nothing was sent" not in result.stdout
    again = operator.start("further")
    assert "There is a job further already. It failed:" in again.stderr
    assert "job status further\n" in again.stderr


def test_a_failed_job_names_its_cure_and_continues(sandbox: JobSandbox, operator: Operator) -> None:
    result = operator.start("refused", do="refused")

    assert result.returncode == 1
    assert "refused failed after " in result.stdout
    assert "2 of 4 rows" in result.stdout
    assert "MostlyRefused\n  over half of the rows were rejected\n" in result.stdout
    assert "correct it and redrive" in words(result.stdout)
    assert "job redrive refused" in result.stdout

    sandbox.let_through()
    again = operator.job("redrive", "refused")

    assert (again.returncode, again.stderr) == (0, "")
    assert "Rows that were accepted get no second push." in again.stdout
    assert "4 of 4 rows" in again.stdout
    more = operator.job("redrive", "refused")
    assert more.returncode == 1
    assert "succeeded, so there is nothing to continue" in more.stderr


def test_ctrl_c_leaves_the_job_running_until_it_is_stopped(
    sandbox: JobSandbox, operator: Operator
) -> None:
    request = operator.file("push.json", json.dumps({**REQUEST, "data": {"do": "wait"}}))
    file = operator.file("people.csv", HEADER + ROWS)
    with operator.process(
        "job", "run", file, "--request", request, "--name", "long", "--yes"
    ) as process:
        try:
            assert process.stdout
            assert any("After Ctrl-C it continues." in line for line in process.stdout)
            eventually(lambda: "jobs/long/rows/000000000001.jsonl" in sandbox.objects())
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, "")
    for verb in ("status long --follow", "stop long", "redrive long"):
        assert f".venv/bin/python -m operations job {verb}\n" in output

    running = operator.job("status", "long")
    assert running.returncode == 0
    assert "long runs after " in running.stdout
    assert "2 of 4 rows" in running.stdout
    stopped = operator.job("stop", "long")
    assert stopped.returncode == 0
    assert "end by themselves within five minutes" in words(stopped.stdout)
    status = operator.job("status", "long")
    assert status.returncode == 1
    assert "long was stopped after " in status.stdout
    sandbox.let_through()
    again = operator.job("redrive", "long")
    assert again.returncode == 0
    assert "long succeeded" in again.stdout
    assert "The job long does not run: it succeeded." in operator.job("stop", "long").stdout
    assert " long " in f" {words(operator.job('status').stdout)} "


def test_results_are_rows_for_the_owner_only(
    sandbox: JobSandbox, operator: Operator, tmp_path: Path
) -> None:
    operator.start("told")

    shown = operator.job("results", "told")
    written = operator.job("results", "told", "--output", tmp_path / "rows.jsonl")
    again = operator.job("results", "told", "--output", tmp_path / "rows.jsonl")

    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["row"] for row in rows] == [1, 3]
    assert "2 results of the job told." in shown.stderr
    assert written.returncode == 0
    assert (tmp_path / "rows.jsonl").read_text() == shown.stdout
    assert stat.S_IMODE((tmp_path / "rows.jsonl").stat().st_mode) == 0o600
    assert again.returncode == 1
    assert "rows.jsonl exists already. Name a new file." in again.stderr


# --- large files, and terminals


def test_a_file_that_changes_between_two_readings_is_not_uploaded(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(HEADER + ROWS)
    files = InputFiles([path])
    counted = files.count(lambda _: None)

    for content in (HEADER + ROWS + ROWS, HEADER):
        path.write_text(content)
        with files.joined(counted.size) as stream, pytest.raises(OperationsError, match="changed"):
            stream.read()


def test_a_large_file_is_read_in_parts(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "people.csv.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(HEADER)
        for _ in range(40):
            file.write(f"token,GCM,{'x' * 1_000}\n" * 1_000)
    tracemalloc.start()
    files = InputFiles([path])
    counted = files.count(lambda _: None)
    size = 0
    with files.joined(counted.size) as stream:
        while part := stream.read(1 << 20):
            size += len(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert counted.rows == 40_000
    assert size == counted.size
    assert peak < counted.size / 4


def test_a_terminal_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with metering(console, "Rows", lambda number: f"{number:,.0f}") as meter:
        meter.show(0, None)
        meter.show(25, 100, {"accepted": 20, "dead_token": 5})

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "━" in shown
    assert "25 of 100" in shown
    assert "accepted 20, dead_token 5" in shown
