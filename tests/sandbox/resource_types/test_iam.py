"""Resource types of the sandbox: roles."""

from __future__ import annotations

import json
from typing import Any

from tests.support.service_sandbox import ServiceSandbox
from tests.support.templates import (
    Template,
    cdk_template,
    resource,
)

CANARY = "canary-of-a-secret"


def test_a_role_has_the_settings_and_policies_of_its_template(sandbox: ServiceSandbox) -> None:
    def statement(action: str) -> Template:
        return {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
        }

    def trust(service: str) -> Template:
        principal = {"Service": f"{service}.amazonaws.com"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def resources(service: str, inline: str, action: str) -> Template:
        return {
            "Role": resource(
                "IAM::Role",
                AssumeRolePolicyDocument=trust(service),
                Description=f"for {service}",
                Policies=[{"PolicyName": inline, "PolicyDocument": statement(action)}],
            ),
            "Policy": resource(
                "IAM::Policy",
                PolicyName="beside",
                PolicyDocument=statement(action),
                Roles=[{"Ref": "Role"}],
            ),
        }

    def result() -> tuple[Any, ...]:
        name, iam = sandbox.id_of("Role"), sandbox.client("iam")
        role = iam.get_role(RoleName=name)["Role"]
        policies = {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }
        return role["AssumeRolePolicyDocument"], role["Description"], policies

    sandbox.create(resources("lambda", "inside", "sqs:SendMessage"))
    before, name = result(), sandbox.id_of("Role")
    sandbox.update(resources("events", "within", "sns:Publish"))

    first, second = statement("sqs:SendMessage"), statement("sns:Publish")
    assert before == (trust("lambda"), "for lambda", {"inside": first, "beside": first})
    assert result() == (trust("events"), "for events", {"within": second, "beside": second})
    assert sandbox.id_of("Role") == name


def test_a_role_with_an_invalid_policy_is_removed_again(sandbox: ServiceSandbox) -> None:
    trust = cdk_template()["Role"]["Properties"]["AssumeRolePolicyDocument"]
    faulty = {"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": []}}

    sandbox.create(
        {"Role": resource("IAM::Role", AssumeRolePolicyDocument=trust, Policies=[faulty])}
    )

    assert sandbox.stack()["StackStatus"] == "ROLLBACK_COMPLETE"
    assert sandbox.client("iam").list_roles()["Roles"] == []


def test_a_role_updates_its_own_attachments_and_keeps_others(
    sandbox: ServiceSandbox,
) -> None:
    iam = sandbox.client("iam")
    allow = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
        }
    )
    first, second, hands = (
        iam.create_policy(PolicyName=name, PolicyDocument=allow)["Policy"]["Arn"]
        for name in ("first", "second", "hands")
    )

    def resources(arn: str) -> Template:
        role = cdk_template()["Role"]["Properties"]
        tags = [{"Key": arn.rpartition("/")[2], "Value": "x"}]
        managed = {"ManagedPolicyArns": [arn], "PermissionsBoundary": arn, "Tags": tags}
        return {"Role": resource("IAM::Role", **role, **managed)}

    def result() -> tuple[Any, ...]:
        role = iam.get_role(RoleName=name)["Role"]
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        return (
            sorted(policy["PolicyName"] for policy in attached),
            role["PermissionsBoundary"]["PermissionsBoundaryArn"],
            [tag["Key"] for tag in role["Tags"]],
        )

    sandbox.create(resources(first))
    name = sandbox.id_of("Role")
    before = result()
    iam.attach_role_policy(RoleName=name, PolicyArn=hands)
    iam.put_role_policy(RoleName=name, PolicyName="by hand", PolicyDocument=allow)
    sandbox.update(resources(second))

    assert before == (["first"], first, ["first"])
    assert result() == (["hands", "second"], second, ["second"])
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["by hand"]
    sandbox.delete()
    assert iam.list_roles()["Roles"] == []
    missing = sandbox.create(resources("arn:aws:iam::aws:policy/Nobodys"))
    assert (
        "[Role]. Policy arn:aws:iam::aws:policy/Nobodys does not exist"
        in (missing["StackStatusReason"])
    )
