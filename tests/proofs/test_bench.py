"""The benchmark: its measurements, and that a failed run gives no figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.client_list import (
    BARE_BOTO3,
    BOTO3_THREADS,
    EXPORT_ROWS,
    KEYED,
    KEYED_REQUEST,
    OURS,
    OURS_16_CALLS,
    PLAIN_ROWS,
    REQUEST,
    USERS,
)
from bench.job_run import Handled, JobRun, slope
from bench.packages import Zipped
from bench.processes import BenchError, Client, Cost, draw, running_client, simulated_service
from bench.queue_run import Memory, QueueRun
from bench.results import Case, Goal, Results
from bench.rows import EXPORT, write_rows
from bench.samples import Samples
from bench.service import answer
from bench.summary import as_json, show

BOTO3 = """
class Client:
    def send_messages(self, ApplicationId, MessageRequest):
        status = {status!r}
        results = {{token: {{"DeliveryStatus": status}} for token in MessageRequest["Addresses"]}}
        return {{"MessageResponse": {{"Result": results}}}}

def client(name):
    return Client()
"""


def client_with_boto3(packages: Path, status: str) -> Client:
    """Make a client with a fake boto3 that always gives the same answer."""
    (packages / "boto3.py").write_text(BOTO3.format(status=status))
    return Client("a client", "bare_boto3", "Threads", packages)


def test_a_round_has_its_time_and_memory(tmp_path: Path) -> None:
    with running_client(client_with_boto3(tmp_path, "SUCCESSFUL"), {}) as client:
        small, large = client.run_round(1, 1), client.run_round(1, 5_000)

    assert client.cold_start.cpu > 0
    assert client.cold_start.wall > 0
    assert small.cpu < large.cpu
    assert 5e6 < small.peak_bytes < 1e9


def test_a_push_that_is_not_accepted_ends_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(BenchError, match="a client ended"),
        running_client(client_with_boto3(tmp_path, "OPT_OUT"), {}),
    ):
        pass
    assert "not accepted" in capfd.readouterr().err


def test_a_library_that_cannot_run_ends_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(BenchError, match="a library ended"),
        running_client(Client("a library", "firebase", "Client", tmp_path), {}),
    ):
        pass
    assert "No module named 'firebase_admin'" in capfd.readouterr().err


def test_the_simulated_service_answers_as_each_service_does() -> None:
    def parsed(head: bytes, body: dict[str, Any]) -> Any:
        return json.loads(answer(head, json.dumps(body).encode()).partition(b"\r\n\r\n")[2])

    sent = parsed(b"POST /v1/apps/bench/messages HTTP/1.1", {"Addresses": {"t": {}, "u": {}}})
    assert {token: each["StatusCode"] for token, each in sent["Result"].items()} == {
        "t": 200,
        "u": 200,
    }
    assert "name" in parsed(b"POST /v1/projects/bench/messages:send HTTP/1.1", {"message": {}})
    dynamodb = b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810."
    assert parsed(dynamodb + b"PutItem", {}) == {"Responses": {}}
    keys = [{"id": {"S": f"U#bench#{n}"}} for n in range(3)]
    found = parsed(dynamodb + b"BatchGetItem", {"RequestItems": {"table": {"Keys": keys}}})
    devices = [json.loads(each["value"]["S"])["devices"] for each in found["Responses"]["table"]]
    assert [len(each) for each in devices] == [2, 2, 2]


def test_the_simulated_service_reads_files_and_takes_no_list_of_refused_rows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "rows.csv"
    write_rows(file, EXPORT, 3)
    size = file.stat().st_size

    part = answer(b"GET /jobs%b HTTP/1.1\r\nRange: bytes=10-19" % bytes(file), b"")
    index = answer(b"PUT /jobs/jobs/a/index.json HTTP/1.1", b"[]")
    lists = [answer(b"PUT /jobs/jobs/a/rows/1.jsonl HTTP/1.1", body) for body in (b"", b"{}")]

    head, _, body = part.partition(b"\r\n\r\n")
    assert body == file.read_bytes()[10:20]
    assert b"Content-Range: bytes 10-19/%d\r\n" % size in head
    assert [each.split()[1] for each in (index, *lists)] == [b"200", b"200", b"409"]


def test_the_simulated_service_runs_until_the_block_ends() -> None:
    with simulated_service(0.0) as port:
        assert 1_024 <= port <= 65_535


def test_a_ratio_compares_the_same_round() -> None:
    assert Samples([2.0, 9.0, 4.0]).over(Samples([1.0, 3.0, 4.0])).values == [2.0, 3.0, 1.0]


def costs(cpu: float, wall: float | None = None) -> list[Cost]:
    return [Cost(wall or cpu, cpu, 1e6)] * 3


@pytest.fixture
def results() -> Results:
    """Make results with known figures: ours cost 1.2 times boto3's."""
    many = {
        Case(latency, size): {
            BOTO3_THREADS: costs(0.001 + size * 10e-6, 2.0),
            OURS: costs((0.001 + size * 10e-6) * 1.2, 1.0),
            OURS_16_CALLS: costs(0.001 + size * 10e-6, 0.5),
        }
        for latency in (0.0, 0.05)
        for size in (1, 100, 5_000)
    }
    cold = {OURS: costs(1.2), BARE_BOTO3: costs(1.0)}
    memory = [Memory(float(at), 1_000 * min(at, 4), at) for at in range(9)]
    children = [Handled(float(second), 1_000) for second in range(41)]
    job = JobRun(
        rows=41_000,
        file_bytes=4_000_000,
        tokens_per_second=1_000,
        stages={"index": 0.5, "children": 40.0, "report": 1.0},
        handled=children,
        memory=memory,
        sandbox_memory=memory,
        idle_pushes=Samples([0.1, 0.1, 0.3]),
        flood_pushes=Samples([0.13]),
        pushes=Samples([0.11]),
        cpu_seconds=1.0,
    )
    rows = {
        REQUEST: costs(1.0),
        KEYED_REQUEST: costs(1.5),
        PLAIN_ROWS: costs(1.8),
        EXPORT_ROWS: costs(2),
    }
    return Results(
        rows=rows,
        job=job,
        children=1,
        cold=cold,
        warm=cold,
        many=many,
        peers={},
        tls={},
        keyed={1: {OURS: costs(2.0), KEYED: costs(5.0)}},
        users={OURS: costs(1.0, 0.4), USERS: costs(1.0, 0.6)},
        queue=QueueRun(9, 9.0, memory),
        zipped=Zipped(5_000_000, 4_000_000, 20_000_000),
        ceilings={},
        warm_pushes=10,
    )


def test_the_figures_are_compared_with_their_goals(results: Results) -> None:
    figures = {figure.name: figure for figure in results.figures()}

    assert figures["cold start to the first report"].ratio.median == pytest.approx(1.2)
    assert {name: figure.reached for name, figure in figures.items()} == {
        "cold start to the first report": False,
        "one push, warm: CPU": True,
        "5,000 recipients, 50 ms a call": False,
        "CPU a token": False,
        "bundle for Lambda, zipped": True,
    }
    assert figures["cold start to the first report"].best == pytest.approx(1.2)
    assert figures["5,000 recipients, 50 ms a call"].best == pytest.approx(2.0)
    assert figures["5,000 recipients, 50 ms a call"].goal == Goal(2.5, "at least")


def test_the_figures_of_keys_and_users_are_compared_with_their_goals(results: Results) -> None:
    key, users = results.own_figures()

    assert (key.ratio.median, key.reached) == (2.5, False)
    assert (users.ours.median, users.reached) == (0.6, True)


def test_the_figures_of_a_job_are_compared_with_their_goals(results: Results) -> None:
    figures = results.job_figures()

    assert [round(figure.ratio.median, 3) for figure in figures] == [1.2, 1.8, 1.0, 1.0, 1.1, 1.3]
    assert [figure.reached for figure in figures] == [True, False, True, True, True, False]


def test_memory_that_grows_with_pushes_has_a_slope() -> None:
    memory = [Memory(0.0, 5, 0), *(Memory(0.0, 1_000 + 3 * n, 100 * n) for n in range(1, 9))]

    assert slope(memory) == pytest.approx(0.03)
    assert slope(memory[:1]) == 0.0


def test_all_results_are_shown_and_stored(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    show(results)

    shown = capsys.readouterr().out
    assert "A job of 41,000 rows" in shown
    assert "The flood of the queue: 2,000 messages" in shown
    assert json.loads(json.dumps(as_json(results)))["job"]["rows"] == 41_000


def test_growth_has_a_slope_and_an_exponent(results: Results) -> None:
    growth = results.growth(BOTO3_THREADS, 0.0)

    assert growth.one == pytest.approx(0.00101)
    assert growth.token == pytest.approx(10e-6)
    assert growth.exponent == pytest.approx(0.828, abs=0.001)


def test_memory_is_that_of_warm_processes(results: Results) -> None:
    assert results.queue.thirds() == (4_000, 4_000)


def test_a_chart_that_cannot_be_drawn_leaves_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BenchError, match="drawn"):
        draw({}, tmp_path, tmp_path / "chart.svg")
    assert not (tmp_path / "chart.svg").exists()
    assert "matplotlib" in capfd.readouterr().err
