"""Acknowledge a checker's finding at the resource that it is about, with the reason.

The CDK's own validation and cdk-nag read the reason from construct metadata, cfn-lint from the
resource's ``Metadata`` in the template. Tests check that no acknowledgement covers more than one
resource, and that none remains without its finding.
"""

from __future__ import annotations

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, reason: str, *findings: str) -> None:
    """Acknowledge findings of cdk-nag or the CDK's own validation on one construct.

    Parameters
    ----------
    construct
        The subject of the findings.
    reason
        Why nothing has to change.
    findings
        Their ids, as exact as the checker prints them: ``AwsSolutions-L1``,
        ``AwsSolutions-IAM5[Resource::*]``, ``CloudFormation-Validate::W3696``.
    """
    validations = cdk.Validations.of(construct)
    validations.acknowledge(*(cdk.Acknowledgment(id=id_, reason=reason) for id_ in findings))


def acknowledge_lint(resource: cdk.CfnResource, reason: str, *checks: str) -> None:
    """Acknowledge checks of cfn-lint on one resource.

    Parameters
    ----------
    resource
        The subject of the checks.
    reason
        Why nothing has to change.
    checks
        Their ids, such as ``W3696``.
    """
    resource.add_metadata("cfn-lint", {"config": {"ignore_checks": list(checks)}, "reason": reason})
