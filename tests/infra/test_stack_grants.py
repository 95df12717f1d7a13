"""Grants: what a caller of another stack is given, and what is refused because it gives nothing."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.synthesized_stack import new_app, read, stub_bundle

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.grants import GrantError
from infra.push_sender import PushSender
from infra.settings import Settings

ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
GRANTS = (
    *("grant_invoke", "grant_post_messages", "grant_send_messages", "grant_put_events"),
    *("devices.grant_register", "devices.grant_read", "devices.grant_erase"),
    "jobs.grant_start",
)
CALLER = f"arn:aws:iam::{ACCOUNT}:role/caller"


@pytest.fixture
def stack(tmp_path: Path) -> cdk.Stack:
    environment = cdk.Environment(account=ACCOUNT, region="us-east-1")
    return cdk.Stack(new_app(tmp_path), "Orders", env=environment)


@pytest.fixture
def sender(stack: cdk.Stack, tmp_path: Path) -> PushSender:
    settings = Settings.from_context({"stage": "orders"})
    return PushSender(stack, "PushSender", settings=settings, bundle=stub_bundle(tmp_path))


Grantee = Callable[[cdk.Stack], iam.IGrantable]

WITHOUT_EFFECT: dict[str, Grantee] = {
    "a role that is not to be changed": lambda stack: iam.Role.from_role_arn(
        stack, "Role", CALLER, mutable=False
    ),
    "a role without policy updates": lambda stack: iam.Role(
        stack, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")
    ).without_policy_updates(),
    "a function imported without its role": lambda stack: lambda_.Function.from_function_arn(
        stack, "Function", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:caller"
    ),
}
ELSEWHERE: dict[str, Grantee] = {
    "an account": lambda _: iam.AccountPrincipal(ACCOUNT),
    "another account": lambda _: iam.AccountPrincipal(OTHER_ACCOUNT),
    "an ARN": lambda _: iam.ArnPrincipal(CALLER),
    "a service": lambda _: iam.ServicePrincipal("events.amazonaws.com"),
    "another account's role": lambda stack: iam.Role.from_role_arn(
        stack, "Role", f"arn:aws:iam::{OTHER_ACCOUNT}:role/caller"
    ),
    "another stack's role in another account": lambda stack: iam.Role(
        cdk.Stack(
            cast(Construct, stack.node.root),
            "Other",
            env=cdk.Environment(account=OTHER_ACCOUNT, region="us-east-1"),
        ),
        "Role",
        role_name="caller",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
    ),
}


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("grantee", WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT.keys())
def test_a_grant_that_would_have_no_effect_is_refused(
    stack: cdk.Stack, sender: PushSender, grant: str, grantee: Grantee
) -> None:
    with pytest.raises(GrantError, match=r"was not granted.* Grant it to a role, user or group"):
        attrgetter(grant)(sender)(grantee(stack))


@pytest.mark.parametrize("grant", GRANTS[1:])
@pytest.mark.parametrize("grantee", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_grant_to_a_principal_without_a_policy_in_the_stack_is_refused(
    stack: cdk.Stack, sender: PushSender, grant: str, grantee: Grantee
) -> None:
    with pytest.raises(GrantError, match=r"granted.* [Gg]rant it to a role"):
        attrgetter(grant)(sender)(grantee(stack))


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize(
    "grantee",
    [
        lambda stack: iam.Role.from_role_arn(stack, "Role", CALLER),
        lambda stack: iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")),
        lambda stack: iam.LazyRole(
            stack, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")
        ),
        lambda stack: lambda_.Function(
            stack,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline("x"),
        ),
        lambda stack: iam.User.from_user_name(stack, "User", "caller"),
        lambda stack: iam.Group(stack, "Group"),
        lambda stack: iam.ManagedPolicy(stack, "Policy"),
    ],
    ids=[
        "an imported role",
        "a role",
        "a lazy role",
        "a function",
        "a user",
        "a group",
        "a policy",
    ],
)
def test_a_grant_that_writes_a_policy_succeeds(
    stack: cdk.Stack, sender: PushSender, grant: str, grantee: Grantee
) -> None:
    attrgetter(grant)(sender)(grantee(stack)).assert_success()


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        {},
        {"ArnLike": {"aws:SourceArn": "*"}},
        {"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::a", "arn:aws:s3:::b"]}},
        {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::a"}},
        {"StringLike": {"aws:SourceAccount": ACCOUNT}},
        {
            "ArnLike": {"aws:SourceArn": "arn:aws:s3:::a"},
            "StringEquals": {"aws:PrincipalTag/team": "x"},
        },
    ],
    ids=["none", "empty", "any", "several", "operator", "wildcards", "unknown"],
)
def test_a_service_without_a_source_cannot_invoke(sender: PushSender, conditions: Any) -> None:
    service = iam.ServicePrincipal("s3.amazonaws.com", conditions=conditions)

    with pytest.raises(GrantError, match=r"give the principal the condition ArnLike aws:SourceArn"):
        sender.grant_invoke(service)


def test_a_service_can_invoke_only_for_its_source(
    stack: cdk.Stack, sender: PushSender, tmp_path: Path
) -> None:
    bucket = "arn:aws:s3:::bucket"
    conditions = {
        "ArnLike": {"aws:SourceArn": bucket},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }
    sender.grant_invoke(iam.ServicePrincipal("s3.amazonaws.com", conditions=conditions))
    rule = events.CfnRule(stack, "Rule", schedule_expression="rate(1 day)")
    source = {"ArnLike": {"aws:SourceArn": rule.attr_arn}}
    sender.grant_invoke(iam.ServicePrincipal("events.amazonaws.com").with_conditions(source))
    cdk.App.of(stack).synth()  # type: ignore[union-attr]  # it is in one

    permissions = [
        found["Properties"]
        for found in read(tmp_path / "cdk.out", "Orders")
        .without("Devices")
        .of_type("AWS::Lambda::Permission")
        .values()
        if found["Properties"]["Principal"] != "apigateway.amazonaws.com"
    ]
    assert [
        (one["Principal"], one.get("SourceArn"), one.get("SourceAccount")) for one in permissions
    ] == [
        ("s3.amazonaws.com", bucket, ACCOUNT),
        ("events.amazonaws.com", {"Fn::GetAtt": ["Rule", "Arn"]}, None),
    ]


def test_another_account_can_be_allowed_to_invoke(sender: PushSender) -> None:
    grant = sender.grant_invoke(iam.AccountPrincipal(OTHER_ACCOUNT))

    assert grant.resource_statement is not None
