"""The patches of moto's API Gateway: the address of an API."""

from __future__ import annotations

from typing import Final

from moto.apigatewayv2.models import Api

from sandbox.http_apis.requests import PREFIX
from sandbox.patches import Patch

_ENDPOINT: Final = "api_endpoint"


def patches(url: str) -> list[Patch]:
    """List the patches with which each API has an address of the sandbox, however it was created.

    Parameters
    ----------
    url
        The server's.
    """
    endpoint = property(
        lambda api: f"{url}{PREFIX}/{api.api_id}",
        # moto sets it on a new API; this value counts after the patch is undone.
        lambda api, value: vars(api).update({_ENDPOINT: value}),
    )
    return [Patch(Api, _ENDPOINT, endpoint)]
