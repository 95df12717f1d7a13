"""One sandbox for each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service_sandbox import running_services
from tests.support.state_machines import MachineSandbox


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineSandbox]:
    place = tmp_path_factory.mktemp("place")
    # Long enough for a new process of a function, short enough for a test of the limit.
    with running_services(MachineSandbox, place, express_seconds=8) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running: MachineSandbox, tmp_path: Path) -> MachineSandbox:
    """Give the sandbox with a function, a bucket, and a role for machines."""
    _running.emptied(tmp_path)
    return _running.prepared()
