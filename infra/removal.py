"""What becomes of data when it leaves the stack."""

from __future__ import annotations

import aws_cdk as cdk

from infra.settings import Settings


def removal_policy(settings: Settings) -> cdk.RemovalPolicy:
    """Keep what holds data, unless told otherwise; never what a failed deployment had begun."""
    if settings.retain_data:
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
    return cdk.RemovalPolicy.DESTROY
