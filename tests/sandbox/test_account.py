"""The settings with which the sandbox deploys the stack."""

from __future__ import annotations

from typing import Any

import pytest

from infra.settings import Settings
from sandbox.stack.account import sandbox_context

OWN = "https://issuer.sandbox.example"


@pytest.mark.parametrize(
    ("context", "issuer"),
    [
        ({}, OWN),
        ({"jwt_issuer": None}, OWN),
        ({"devices": "false"}, OWN),
        ({"jwt_issuer": "https://a.example", "jwt_audience": "a"}, "https://a.example"),
        ({"http_jwt": "false"}, None),
        ({"http_api": "false"}, None),
    ],
)
def test_the_routes_for_apps_take_the_sandboxs_tokens_if_no_setting_is_about_tokens(
    context: dict[str, Any], issuer: str | None
) -> None:
    settings = Settings.from_context(sandbox_context(context))

    assert settings.jwt_issuer == issuer
    assert settings.http_jwt is (issuer == OWN)
