"""Schedules in the stack: the group, its two roles, and what the function may do with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.synthesized_stack import Synthesis, synthesize

SCHEDULER = "scheduler.amazonaws.com"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """No setting at all."""
    return synthesize(tmp_path_factory.mktemp("bare"), {})


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Make a stage without jobs and without the HTTP API."""
    settings = {"stage": "dev", "jobs": "false", "http_api": "false"}
    return synthesize(tmp_path_factory.mktemp("dev"), settings)


def one(of: Synthesis, type_: str, start: str) -> str:
    """Find the one resource of a type whose id begins so."""
    (id_,) = (
        id_
        for id_, found in of.of_type(type_).items()
        if found["Type"] == type_ and id_.startswith(start)
    )
    return id_


def statements(of: Synthesis, role: str) -> list[dict[str, Any]]:
    """Read what the policies of a role allow."""
    return [
        statement
        for policy in of.of_type("AWS::IAM::Policy").values()
        if policy["Properties"]["Roles"] == [{"Ref": role}]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def attribute(id_: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [id_, "Arn"]}


def queues(of: Synthesis) -> list[dict[str, Any]]:
    return [
        attribute(one(of, "AWS::SQS::Queue", f"PushSender{name}"))
        for name in ("DeadLetters", "Requests")
    ]


def group(of: Synthesis) -> str:
    return one(of, "AWS::Scheduler::ScheduleGroup", "PushSender")


def request_role(of: Synthesis) -> str:
    return one(of, "AWS::IAM::Role", "PushSenderSchedulesRole")


def test_the_group_has_the_stacks_name(bare: Synthesis, dev: Synthesis) -> None:
    for made, name in ((bare, "push-sender"), (dev, "push-sender-dev")):
        found = made.only("AWS::Scheduler::ScheduleGroup")
        assert found["Properties"] == {"Name": name}
        assert "DeletionPolicy" not in found  # its schedules could not be delivered any more
        assert made.template["Outputs"]["ScheduleGroupName"]["Value"] == {"Ref": group(made)}


def test_scheduler_alone_assumes_the_roles_for_schedules_of_this_group(bare: Synthesis) -> None:
    for start in ("PushSenderSchedulesRole", "PushSenderSchedulesJobRole"):
        role = bare.template["Resources"][one(bare, "AWS::IAM::Role", start)]["Properties"]
        assert "ManagedPolicyArns" not in role
        assert role["AssumeRolePolicyDocument"]["Statement"] == [
            {
                "Action": "sts:AssumeRole",
                "Effect": "Allow",
                "Principal": {"Service": SCHEDULER},
                "Condition": {
                    "StringEquals": {
                        "aws:SourceAccount": {"Ref": "AWS::AccountId"},
                        "aws:SourceArn": attribute(group(bare)),
                    }
                },
            }
        ]


def test_each_role_may_do_one_thing(bare: Synthesis) -> None:
    machine = one(bare, "AWS::StepFunctions::StateMachine", "PushSenderJobs")
    assert statements(bare, request_role(bare)) == [
        {"Action": "sqs:SendMessage", "Effect": "Allow", "Resource": queues(bare)}
    ]
    job_role = one(bare, "AWS::IAM::Role", "PushSenderSchedulesJobRole")
    assert statements(bare, job_role) == [
        {"Action": "states:StartExecution", "Effect": "Allow", "Resource": attribute(machine)}
    ]
    assert bare.template["Outputs"]["JobScheduleRoleArn"]["Value"] == attribute(job_role)


def test_the_function_makes_schedules_of_its_group_and_passes_only_the_role_of_requests(
    bare: Synthesis, dev: Synthesis
) -> None:
    for made, name in ((bare, "push-sender"), (dev, "push-sender-dev")):
        sender = one(made, "AWS::IAM::Role", "PushSenderRole")
        found = [
            statement
            for statement in statements(made, sender)
            if '"scheduler:' in json.dumps(statement) or '"iam:' in json.dumps(statement)
        ]
        arn = ":scheduler:", {"Ref": "AWS::Region"}, ":", {"Ref": "AWS::AccountId"}
        assert found == [
            {
                "Action": [f"scheduler:{verb}Schedule" for verb in ("Create", "Delete", "Get")],
                "Effect": "Allow",
                "Resource": {
                    "Fn::Join": [
                        "",
                        ["arn:", {"Ref": "AWS::Partition"}, *arn, f":schedule/{name}/*"],
                    ]
                },
            },
            {
                "Action": "iam:PassRole",
                "Effect": "Allow",
                "Resource": attribute(request_role(made)),
                "Condition": {"StringEquals": {"iam:PassedToService": SCHEDULER}},
            },
        ]


def test_nobody_else_may_pass_a_role(bare: Synthesis) -> None:
    policies = json.dumps(bare.of_type("AWS::IAM::Policy"))
    assert policies.count("iam:PassRole") == 1


def test_the_function_knows_the_group_and_the_role(bare: Synthesis) -> None:
    function = bare.template["Resources"][one(bare, "AWS::Lambda::Function", "PushSenderFunction")]
    variables = function["Properties"]["Environment"]["Variables"]
    assert variables["SCHEDULE_GROUP"] == "push-sender"
    assert variables["SCHEDULE_ROLE_ARN"] == attribute(request_role(bare))


def test_without_jobs_there_is_no_role_that_starts_them(dev: Synthesis) -> None:
    assert not [id_ for id_ in dev.of_type("AWS::IAM::Role") if "JobRole" in id_]
    assert "JobScheduleRoleArn" not in dev.template["Outputs"]
