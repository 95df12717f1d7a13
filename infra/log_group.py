"""A log group, kept for as long as the settings say."""

from __future__ import annotations

from typing import cast

from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.customer_key import customer_key
from infra.removal import removal_policy
from infra.settings import Settings


def log_group(scope: Construct, id: str, *, settings: Settings) -> logs.LogGroup:  # noqa: A002  the CDK's name
    """Make a log group. CloudFormation chooses its name, as for the dead-letter queue."""
    group = logs.LogGroup(
        scope,
        id,
        encryption_key=customer_key(scope, f"{id}Key", settings),
        removal_policy=removal_policy(settings),
    )
    # The CDK's own property takes an enumeration, not a number of days.
    cast(logs.CfnLogGroup, group.node.default_child).retention_in_days = settings.log_retention_days
    return group
