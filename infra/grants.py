"""Errors for permissions that would have no effect, or would allow too much.

If the CDK cannot add a permission, it reports success and writes nothing. The caller would notice
only when a call is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Dependable, IConstruct

_SOURCES: Final = {"ArnLike": "aws:SourceArn", "StringEquals": "aws:SourceAccount"}
"""The conditions that a function's permission can have: operator to key."""


class GrantError(ValueError):
    """A permission would have no effect, or would allow more than intended."""


def check_source(grantee: iam.IGrantable) -> None:
    """Refuse an AWS service as a caller unless a condition limits its source.

    Without a condition, any AWS account could let the service call the function.

    Raises
    ------
    GrantError
        If the principal is a service without a source, or with a condition that a
        permission of a function cannot have.
    """
    principal = grantee.grant_principal
    if isinstance(principal, iam.UnknownPrincipal):  # it has no policy fragment
        raise GrantError(_no_effect("lambda:InvokeFunction"))
    fragment = principal.policy_fragment
    if "Service" not in fragment.principal_json:
        return
    conditions = fragment.conditions
    given = {(operator, key) for operator, keys in conditions.items() for key in keys}
    values = [value for keys in conditions.values() for value in keys.values()]
    # The CDK drops a condition whose value is a list.
    are_single = all(isinstance(value, str) and value.strip("*") for value in values)
    if not (given and given <= _SOURCES.items() and are_single):
        raise GrantError(
            "An AWS service may invoke the function only for a source of yours: give the "
            "principal the condition ArnLike aws:SourceArn, StringEquals aws:SourceAccount, or "
            "both, each with one value, as in iam.ServicePrincipal('events.amazonaws.com', "
            "conditions={'ArnLike': {'aws:SourceArn': rule.rule_arn}})"
        )


def check_account(grantee: iam.IGrantable, scope: IConstruct, action: str) -> None:
    """Refuse a principal of another account, for which a policy of its own is not enough.

    Raises
    ------
    GrantError
        If both accounts are known and differ.
    """
    # Not every principal has an account, whatever its type says.
    theirs = getattr(grantee.grant_principal, "principal_account", None)
    ours = cdk.Stack.of(scope).account
    known = theirs is not None and not cdk.Token.is_unresolved(theirs)
    if known and not cdk.Token.is_unresolved(ours) and theirs != ours:
        raise GrantError(
            f"{action} cannot be granted to another account, because a policy in that account is "
            "not enough. Grant it to a role in the stack's account that the caller may assume"
        )


def has_effect(grant: iam.Grant, grantee: iam.IGrantable, action: str) -> iam.Grant:
    """Return a grant if it writes a policy or a permission.

    Raises
    ------
    GrantError
        If it does not.
    """
    # A grant that writes something is a dependency root. A role of this app writes its policy
    # only at the end of the synthesis.
    if not (
        isinstance(grantee.grant_principal, (iam.Role, iam.LazyRole))
        or Dependable.of(grant).dependency_roots
    ):
        raise GrantError(_no_effect(action))
    return grant


def grant_by_policy(
    grantee: iam.IGrantable,
    scope: IConstruct,
    grant: Callable[[iam.IGrantable], iam.Grant],
    action: str,
) -> iam.Grant:
    """Add a permission to the grantee's own policy.

    Raises
    ------
    GrantError
        If the grantee is of another account than the scope, or the grant has no effect.
    """
    check_account(grantee, scope, action)
    return has_effect(grant(grantee), grantee, action)


def _no_effect(action: str) -> str:
    return (
        f"{action} was not granted: this app writes no policy of the grantee (a role imported "
        "with mutable=False or from another account, a resource imported without its role, a "
        "service, an account). Grant it to a role, user or group whose policies this app writes, "
        "or add the action to the grantee's policy where that is written (docs/security.md)"
    )
