"""One sandbox with the stack deployed for each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.deployment import Deployment


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def deployment(sandbox: Sandbox) -> Deployment:
    return sandbox.deployment
