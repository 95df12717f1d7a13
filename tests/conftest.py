"""Fixtures for all tests: a provider on loopback and the handler in front of it.

It also sets up the run: the order of files, caches that its processes share, its summary.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import cache_from_source, find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import tests.support.fast_clients  # noqa: F401  before anything makes a client
from sandbox.environment import isolate
from sandbox.server import Server
from sandbox.services import patched_moto
from tests.support.account import Account, running_account
from tests.support.devices import Registry
from tests.support.dynamodb import Table, dynamodb_client, running_table
from tests.support.invocation import OTHER_PROJECT, PROJECT, Invocation, ProcessQueue, Push
from tests.support.jobs import JobRunner, running_proxy
from tests.support.paths import REPOSITORY
from tests.support.provider import Provider, running_provider

# Each worker imports the same modules, and so do the processes that tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# On a busy machine an example may take any time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Imports and the collection of tests only make objects; `pytest_collection_finish` ends this.
gc.disable()

SLOWEST_FIRST = (
    "commands/test_commands.py",
    "proofs/test_soak.py",
    "proofs/test_upgrade.py",
    "commands/test_operations.py",
    "infra/test_bundle.py",
    "deployed/test_function.py",
    "infra/test_install.py",
    "function/test_job_once.py",
    "deployed/test_sandbox_settings.py",
    "sandbox/test_functions.py",
    "infra/test_stack_checks.py",
    "deployed/test_http_callers.py",
    "browser/test_inbox_page.py",
    "deployed/test_http_fuzz.py",
    "function/test_bounded_work.py",
    "commands/test_job.py",
    "commands/test_smoke_registry.py",
    "function/test_requeue.py",
    "function/test_delivery.py",
    "function/test_idempotency_faults.py",
    "commands/test_environment.py",
    "function/test_odd_answers.py",
    "sandbox/step_functions/test_distributed_map.py",
    "deployed/test_jobs.py",
    "sandbox/test_sqs.py",
    "function/test_http_entry_point.py",
    "sandbox/test_events.py",
    "function/test_job_rows.py",
    "infra/test_release.py",
    "function/test_events.py",
    "deployed/test_stack.py",
    "sandbox/test_iam.py",
    "commands/test_why.py",
    "infra/test_wheels.py",
    "commands/test_sandbox_page.py",
)
"""The files that run first, so that no worker ends with a long file while others are idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first; the order within a file stays."""
    tests = Path(__file__).parent
    existing = {str(path.relative_to(tests)) for path in tests.rglob("test_*.py")}
    if unknown := [name for name in SLOWEST_FIRST if name not in existing]:
        raise pytest.UsageError(f"SLOWEST_FIRST in {__file__} names no file: {unknown}")
    places = {name: place for place, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: places.get(str(item.path.relative_to(tests)), len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let the first process alone compile what all import, the others read its bytecode."""
    only_of_tests = find_spec("cdk_nag")
    assert only_of_tests is not None
    assert only_of_tests.origin is not None
    with _one_process_at_a_time("bytecode"):
        if not Path(cache_from_source(only_of_tests.origin)).exists():
            return (yield)
    return (yield)


@contextmanager
def _one_process_at_a_time(name: str) -> Iterator[None]:
    lock = REPOSITORY / ".build" / f"{name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pytest_collection_finish() -> None:
    """Let the garbage collector run, but not over what is imported and collected.

    The CDK, moto and the tests are a million objects that stay to the end, and each full run of
    the collector would look at them all.
    """
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the ten slowest files: the order above follows them."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.location[0]] += report.duration
    terminalreporter.section("slowest files")
    for name, taken in sorted(seconds.items(), key=lambda file: -file[1])[:10]:
        terminalreporter.write_line(f"{taken:6.1f} s  {name}")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Install what package.json names, as the Makefile does, in one worker at a time."""
    with _one_process_at_a_time("node_modules"):
        make = shutil.which("make") or "make"
        subprocess.run(
            [make, "--no-print-directory", "node_modules/.bin/cdk"], cwd=REPOSITORY, check=True
        )
    return REPOSITORY / "node_modules"


# Hide the account, the proxy, the terminal and the make options of the person who runs the tests.
isolate()
for _name in (
    "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PY_COLORS",
    "MAKEFLAGS", "MAKELEVEL", "MFLAGS",
):  # fmt: skip
    os.environ.pop(_name, None)


@pytest.fixture(scope="session")
def _running_provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def provider(_running_provider: Provider) -> Iterator[Provider]:
    yield _running_provider
    _running_provider.reset()


@pytest.fixture
def push(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Push:
    from push_sender.telemetry.log import shared_telemetry

    with redirect_stdout(StringIO()):  # counts of an earlier test that never ended its invocation
        shared_telemetry().flush()
    monkeypatch.setenv("APPLICATION_IDS", f"{PROJECT},{OTHER_PROJECT}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", provider.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")

    def invoke(event: Any, seconds: float = 29) -> dict[str, Any]:
        from push_sender.handler import handler

        report = handler(event, Invocation.of(event, seconds))  # type: ignore[arg-type]  # a context's part
        copy: dict[str, Any] = json.loads(json.dumps(report))
        return copy

    return invoke


@pytest.fixture
def account(push: Push, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Give ``push`` queues, a bus and a table of keys, all empty."""
    with running_account() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def process_queue(account: Account, push: Push) -> ProcessQueue:
    """Process the queue as Lambda does: receive, invoke, delete the messages that did not fail."""

    def once(seconds: float = 29) -> dict[str, Any]:
        event = account.receive()
        answer = push(event, seconds)
        account.delete(event, answer)
        return answer

    return once


@pytest.fixture
def jobs(account: Account, push: Push, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobRunner]:
    """Run jobs in the account, behind a proxy that can misbehave."""
    with running_proxy(account.url) as proxy:
        for service in ("DYNAMODB", "EVENTBRIDGE", "S3", "SQS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", proxy.url)
        yield JobRunner(account, proxy, push)


@pytest.fixture(scope="module")
def _dynamodb() -> Iterator[Any]:
    # Not for the whole session: the next of the sandbox's servers empties moto's account.
    with patched_moto(), Server(port=0) as server:
        yield dynamodb_client(server.url)


@pytest.fixture
def table(push: Push, _dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """Give ``push`` a table of keys, new and empty."""
    with running_table(_dynamodb, f"keys-{uuid.uuid4().hex}") as running:
        monkeypatch.setenv("IDEMPOTENCY_TABLE", running.name)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", running.url)
        yield running


@pytest.fixture
def registry(push: Push, _dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Run the registry's function in front of a table, new and empty."""
    with running_table(_dynamodb, f"devices-{uuid.uuid4().hex}") as running:
        monkeypatch.setenv("DEVICES_TABLE", running.name)
        monkeypatch.setenv("DEVICE_EXPIRY_DAYS", "270")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", running.url)
        yield Registry(running)
