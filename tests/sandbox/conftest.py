"""One sandbox with every service and no stack for each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.running import runtime_packages as installed_packages
from tests.support.service_sandbox import ServiceSandbox, running_services


# Not for the whole session: the next of the sandbox's servers empties moto's account.
@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceSandbox]:
    with running_services(ServiceSandbox, tmp_path_factory.mktemp("place")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running: ServiceSandbox, tmp_path: Path) -> ServiceSandbox:
    """Give the sandbox with an empty account."""
    return _running.emptied(tmp_path)


@pytest.fixture(scope="session")
def runtime_packages() -> Path:
    """Give the folder with AWS's Lambda runtime client."""
    return installed_packages()
