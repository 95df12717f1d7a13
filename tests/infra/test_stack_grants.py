"""Grants: what a caller of another stack is given, and what is refused because it gives nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

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


def new_sender(folder: Path) -> PushSender:
    """Put a push sender into a stack of a new app."""
    environment = cdk.Environment(account=ACCOUNT, region="us-east-1")
    stack = cdk.Stack(new_app(folder), "Orders", env=environment)
    settings = Settings.from_context({"stage": "orders"})
    return PushSender(stack, "PushSender", settings=settings, bundle=stub_bundle(folder))


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> PushSender:
    """Make one for all tests: each has grantees of its own."""
    return new_sender(tmp_path_factory.mktemp("orders"))


@pytest.fixture
def place(sender: PushSender) -> Construct:
    """Give the place of a test's grantees, in the stack of the push sender."""
    return Construct(cdk.Stack.of(sender), f"Test{uuid.uuid4().hex}")


Grantee = Callable[[Construct], iam.IGrantable]

WITHOUT_EFFECT: dict[str, Grantee] = {
    "a role that is not to be changed": lambda place: iam.Role.from_role_arn(
        place, "Role", CALLER, mutable=False
    ),
    "a role without policy updates": lambda place: iam.Role(
        place, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")
    ).without_policy_updates(),
    "a function imported without its role": lambda place: lambda_.Function.from_function_arn(
        place, "Function", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:caller"
    ),
}
ELSEWHERE: dict[str, Grantee] = {
    "an account": lambda _: iam.AccountPrincipal(ACCOUNT),
    "another account": lambda _: iam.AccountPrincipal(OTHER_ACCOUNT),
    "an ARN": lambda _: iam.ArnPrincipal(CALLER),
    "a service": lambda _: iam.ServicePrincipal("events.amazonaws.com"),
    "another account's role": lambda place: iam.Role.from_role_arn(
        place, "Role", f"arn:aws:iam::{OTHER_ACCOUNT}:role/caller"
    ),
    "another stack's role in another account": lambda place: iam.Role(
        cdk.Stack(place, "Other", env=cdk.Environment(account=OTHER_ACCOUNT, region="us-east-1")),
        "Role",
        role_name="caller",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
    ),
}


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("grantee", WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT.keys())
def test_a_grant_that_would_have_no_effect_is_refused(
    place: Construct, sender: PushSender, grant: str, grantee: Grantee
) -> None:
    with pytest.raises(GrantError, match=r"was not granted.* Grant it to a role, user or group"):
        attrgetter(grant)(sender)(grantee(place))


@pytest.mark.parametrize("grant", GRANTS[1:])
@pytest.mark.parametrize("grantee", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_grant_to_a_principal_without_a_policy_in_the_stack_is_refused(
    place: Construct, sender: PushSender, grant: str, grantee: Grantee
) -> None:
    with pytest.raises(GrantError, match=r"granted.* [Gg]rant it to a role"):
        attrgetter(grant)(sender)(grantee(place))


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize(
    "grantee",
    [
        lambda place: iam.Role.from_role_arn(place, "Role", CALLER),
        lambda place: iam.Role(place, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")),
        lambda place: iam.LazyRole(
            place, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")
        ),
        lambda place: lambda_.Function(
            place,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline("x"),
        ),
        lambda place: iam.User.from_user_name(place, "User", "caller"),
        lambda place: iam.Group(place, "Group"),
        lambda place: iam.ManagedPolicy(place, "Policy"),
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
    place: Construct, sender: PushSender, grant: str, grantee: Grantee
) -> None:
    attrgetter(grant)(sender)(grantee(place)).assert_success()


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
    tmp_path: Path,
) -> None:
    sender = new_sender(tmp_path)
    stack = cdk.Stack.of(sender)
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
