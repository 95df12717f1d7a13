"""A finding of a checker that is right as it stands, acknowledged where it stands.

The reason stands beside it, in the form that each checker reads: the CDK's own validation
and cdk-nag read construct metadata, cfn-lint the resource's ``Metadata`` in the template.
Tests see that none covers more than one resource, and none has outlived its finding.
"""

from __future__ import annotations

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, reason: str, *findings: str) -> None:
    """Acknowledge findings of cdk-nag or the CDK's own validation on one construct.

    Parameters
    ----------
    construct
        What the findings are about.
    reason
        Why it is right as it stands.
    findings
        Their ids, as exact as the checker tells them: ``AwsSolutions-L1``,
        ``AwsSolutions-IAM5[Resource::*]``, ``CloudFormation-Validate::W3696``.
    """
    validations = cdk.Validations.of(construct)
    validations.acknowledge(*(cdk.Acknowledgment(id=id_, reason=reason) for id_ in findings))


def acknowledge_lint(resource: cdk.CfnResource, reason: str, *checks: str) -> None:
    """Acknowledge checks of cfn-lint on one resource.

    Parameters
    ----------
    resource
        What the checks are about.
    reason
        Why it is right as it stands.
    checks
        Their ids, such as ``W3696``.
    """
    resource.add_metadata("cfn-lint", {"config": {"ignore_checks": list(checks)}, "reason": reason})
