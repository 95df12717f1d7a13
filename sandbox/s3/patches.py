"""The patches of moto's S3."""

from __future__ import annotations

from typing import Any, Final

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from sandbox.patches import Patch


def _without_opinion(self: FakeBucket, action: str, resource: str) -> Any:
    """Let a bucket's policy decide nothing: moto ignores its conditions, such as TLS only."""
    del self, action, resource
    return PermissionResult.NEUTRAL


PATCHES: Final = (Patch(FakeBucket, "get_permission", _without_opinion),)
