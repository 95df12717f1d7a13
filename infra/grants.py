"""Permissions that let callers send, and errors where one would have no effect.

The CDK is silent where it cannot give a permission: it says that a grant succeeded and writes
nothing. A caller would find out by being refused.
"""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Dependable, IConstruct

_SOURCES: Final = {"ArnLike": "aws:SourceArn", "StringEquals": "aws:SourceAccount"}
"""The conditions that a permission of a function can have, each with its operator."""


class GrantError(ValueError):
    """A permission would have no effect, or let in more than is meant."""


def check_source(grantee: iam.IGrantable) -> None:
    """Refuse an AWS service as a caller unless it is told for whom it may call.

    Without that anybody can have the service call, from an account of their own.

    Raises
    ------
    GrantError
        If the principal is a service without a source, or with a condition that a
        permission of a function cannot have.
    """
    principal = grantee.grant_principal
    if isinstance(principal, iam.UnknownPrincipal):  # has no fragment; has_effect says why
        raise GrantError(_no_effect("lambda:InvokeFunction"))
    fragment = principal.policy_fragment
    if "Service" not in fragment.principal_json:
        return
    conditions = fragment.conditions
    given = {(operator, key) for operator, keys in conditions.items() for key in keys}
    values = [value for keys in conditions.values() for value in keys.values()]
    # The CDK drops a value that is a list, and with it the condition.
    sound = all(isinstance(value, str) and value.strip("*") for value in values)
    if not (given and given <= _SOURCES.items() and sound):
        raise GrantError(
            "An AWS service may invoke the function only for a source of yours: give the "
            "principal the condition ArnLike aws:SourceArn, StringEquals aws:SourceAccount, or "
            "both, each with one value, as in iam.ServicePrincipal('events.amazonaws.com', "
            "conditions={'ArnLike': {'aws:SourceArn': rule.rule_arn}})"
        )


def check_account(grantee: iam.IGrantable, scope: IConstruct, action: str) -> None:
    """Refuse a principal of another account, where only its own policy would let it in.

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
            f"{action} cannot be granted to another account: its own policy alone lets nobody in "
            "here. Grant it to a role of the stack's account that the caller may assume"
        )


def has_effect(grant: iam.Grant, grantee: iam.IGrantable, action: str) -> iam.Grant:
    """Give a grant back that writes a policy or a permission.

    Raises
    ------
    GrantError
        If it does not.
    """
    # Whoever writes something names it, so that others wait for it. A role of this app writes
    # its policy at the end of the synthesis.
    if not (
        isinstance(grantee.grant_principal, (iam.Role, iam.LazyRole))
        or Dependable.of(grant).dependency_roots
    ):
        raise GrantError(_no_effect(action))
    return grant


def _no_effect(action: str) -> str:
    return (
        f"{action} was not granted: this app writes no policy of the grantee (a role imported "
        "with mutable=False or from another account, a resource imported without its role, a "
        "service, an account). Grant it to a role, user or group whose policies this app writes, "
        "or add the action to the grantee's policy where that is written (docs/security.md)"
    )
