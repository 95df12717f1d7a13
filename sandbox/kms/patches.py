"""The patches of moto's KMS: four operations look a key up by its id, also if they get an ARN."""

from __future__ import annotations

from functools import wraps
from typing import Any, Final

from moto.kms.models import KmsBackend

from sandbox.patches import Patch


def _by_id(original: Any) -> Any:
    @wraps(original)
    def call(backend: KmsBackend, key_id: str, *arguments: Any) -> Any:
        return original(backend, backend.get_key_id(key_id), *arguments)

    return call


PATCHES: Final = tuple(
    Patch(KmsBackend, name, _by_id(getattr(KmsBackend, name)))
    for name in ("enable_key", "disable_key", "schedule_key_deletion", "cancel_key_deletion")
)
