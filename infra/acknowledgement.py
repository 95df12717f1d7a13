"""A finding of a checker that is right as it stands, acknowledged where it stands.

One place for the reason, in the form that each checker reads: the CDK's own validation and
cdk-nag read construct metadata, cfn-lint reads the resource's ``Metadata`` in the template.
"""

from __future__ import annotations

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, reason: str, *findings: str) -> None:
    """Acknowledge findings of cdk-nag or the CDK on one construct.

    Parameters
    ----------
    construct
        What the findings are about.
    reason
        Why it is right as it stands.
    findings
        Their ids, such as ``AwsSolutions-SQS3``.
    """
    validations = cdk.Validations.of(construct)
    validations.acknowledge(*(cdk.Acknowledgment(id=id_, reason=reason) for id_ in findings))


def acknowledge_lint(resource: cdk.CfnResource, reason: str, *checks: str) -> None:
    """Acknowledge checks of cfn-lint on one resource, and with them the CDK's, which are its kin.

    Parameters
    ----------
    resource
        What the checks are about.
    reason
        Why it is right as it stands.
    checks
        Their ids, such as ``W3696``.
    """
    acknowledge(resource, reason, *(f"CloudFormation-Validate::{check}" for check in checks))
    resource.add_metadata("cfn-lint", {"config": {"ignore_checks": list(checks)}})
