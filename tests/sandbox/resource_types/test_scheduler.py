"""Resource types of the sandbox: groups of schedules."""

from __future__ import annotations

from typing import Any

from tests.support.service_sandbox import ServiceSandbox, refusal
from tests.support.templates import ACCOUNT, REGION, Template, output, outputs, resource

OUTPUTS = output(Ref={"Ref": "Group"}, Arn={"Fn::GetAtt": ["Group", "Arn"]})


def group(**properties: Any) -> Template:
    return {"Group": resource("Scheduler::ScheduleGroup", **properties)}


def names(sandbox: ServiceSandbox) -> list[str]:
    groups = sandbox.client("scheduler").list_schedule_groups()["ScheduleGroups"]
    return [each["Name"] for each in groups]


def test_a_group_has_its_name_and_tags(sandbox: ServiceSandbox) -> None:
    tags = [{"Key": "team", "Value": "push"}]

    made = outputs(sandbox.create(group(Name="pushes", Tags=tags), Outputs=OUTPUTS))

    arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/pushes"
    assert made == {"Ref": "pushes", "Arn": arn}
    schedules = sandbox.client("scheduler")
    assert schedules.list_tags_for_resource(ResourceArn=arn)["Tags"] == tags
    sandbox.update(group(Name="pushes"))
    assert schedules.list_tags_for_resource(ResourceArn=arn)["Tags"] == []


def test_a_group_without_a_name_gets_one(sandbox: ServiceSandbox) -> None:
    made = outputs(sandbox.create(group(), Outputs=OUTPUTS))

    assert made["Ref"].startswith("stack-Group-")
    assert len(made["Ref"]) <= 64


def test_another_name_replaces_the_group_and_a_deleted_stack_deletes_it_with_its_schedules(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(group(Name="first"))
    sandbox.update(group(Name="second"))
    assert names(sandbox) == ["default", "second"]
    schedules = sandbox.client("scheduler")
    role = sandbox.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]
    schedules.create_schedule(
        Name="one",
        GroupName="second",
        ScheduleExpression="at(2100-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": sandbox.queue(), "RoleArn": role["Arn"], "Input": "{}"},
    )

    sandbox.delete()

    assert names(sandbox) == ["default"]
    assert schedules.list_schedules()["Schedules"] == []


def test_a_group_that_exists_fails_the_stack(sandbox: ServiceSandbox) -> None:
    sandbox.client("scheduler").create_schedule_group(Name="pushes")

    stack = sandbox.create(group(Name="pushes"))

    assert "already exists" in stack["StackStatusReason"]
    assert names(sandbox) == ["default", "pushes"]


def test_a_schedule_in_a_template_is_refused_by_name(sandbox: ServiceSandbox) -> None:
    error = refusal(sandbox.create, {"Schedule": resource("Scheduler::Schedule", Name="one")})

    assert "AWS::Scheduler::Schedule" in error
