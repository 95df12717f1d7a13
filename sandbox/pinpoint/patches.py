"""The patches of moto's Pinpoint: the paths of the operations that it lacks.

Apply them before moto's server application is created, which copies the table of paths.
"""

from __future__ import annotations

from typing import Final

from moto.pinpoint import urls

from sandbox.patches import Patch
from sandbox.pinpoint import retired
from sandbox.pinpoint.service import PushResponse

_PROJECT: Final = "/v1/apps/(?P<app_id>[^/]+)"
_PATHS: Final = (
    *(
        f"{_PROJECT}/{path}$"
        for path in ("messages", "channels", "channels/(?P<channel_type>[^/]+)")
    ),
    *(f"{path}$" for path in retired.other_operations().values()),
)

# The end of moto's pattern is open, so it would also match requests to /events.
_WITHOUT: Final = f"{{0}}{_PROJECT}/eventstream"

PATCHES: Final = (
    Patch(
        urls,
        "url_paths",
        {path: handler for path, handler in urls.url_paths.items() if path != _WITHOUT}
        | {"{0}" + path: PushResponse.dispatch for path in _PATHS},
    ),
)
