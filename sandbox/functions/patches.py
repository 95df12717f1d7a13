"""The patches of moto's Lambda: how it invokes functions, and what it forgets."""

from __future__ import annotations

from sandbox.functions import event_invoke_configs, event_source_mappings, invoke_api, kept_settings
from sandbox.functions.service import LambdaService
from sandbox.patches import Patch


def patches(service: LambdaService) -> list[Patch]:
    """List the patches with which moto's Lambda runs its functions in a service."""
    return [
        *invoke_api.patches(service),
        *kept_settings.PATCHES,
        *event_invoke_configs.PATCHES,
        *event_source_mappings.patches(service.is_allowed),
    ]
