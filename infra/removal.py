"""What happens to data when it leaves the stack."""

from __future__ import annotations

import aws_cdk as cdk

from infra.settings import Settings


def removal_policy(settings: Settings) -> cdk.RemovalPolicy:
    """Retain data unless the settings say otherwise, but not after a failed first deployment."""
    if settings.retain_data:
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
    return cdk.RemovalPolicy.DESTROY
