"""One sandbox for each file of this folder, with a function that APIs stand in front of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.http_apis import Api, HttpApiSandbox, create_function
from tests.support.service_sandbox import running_services


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpApiSandbox]:
    with running_services(HttpApiSandbox, tmp_path_factory.mktemp("place")) as sandbox:
        create_function(sandbox)
        yield sandbox


@pytest.fixture
def sandbox(_running: HttpApiSandbox) -> HttpApiSandbox:
    return _running.cleared()


@pytest.fixture(scope="module")
def _api(_running: HttpApiSandbox) -> Api:
    return _running.api(
        routes={"POST /messages": "AWS_IAM", "GET /openapi.json": "NONE", "$default": "NONE"}
    )


@pytest.fixture
def api(_api: Api, sandbox: HttpApiSandbox) -> Api:
    """Give an API in front of the function, which was not invoked yet."""
    return _api
