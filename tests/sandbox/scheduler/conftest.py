"""One sandbox for each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.schedules import ScheduleSandbox
from tests.support.service_sandbox import running_services


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScheduleSandbox]:
    with running_services(ScheduleSandbox, tmp_path_factory.mktemp("place")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running: ScheduleSandbox, tmp_path: Path) -> ScheduleSandbox:
    """Give the sandbox with a group, an execution role and queues."""
    _running.emptied(tmp_path)
    return _running.prepared()
