"""The registry of devices in the stack: what it may do, what feeds it, and that it can be left out.

``test_stack_http.py`` tests its routes, ``test_stack_jobs.py`` what it does for jobs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.synthesized_stack import (
    FULL,
    OTHER_PROJECT,
    PROJECT,
    Synthesis,
    new_app,
    read,
    stub_bundle,
    synthesize,
)

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra.push_sender import PushSender
from infra.settings import Settings

DEVICES = "PushSenderDevices"
WITHOUT_JOBS = {"jobs": "false"}

# What the code of the registry calls; TransactWriteItems needs the permissions of its parts.
CALLED = {
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is."""
    return synthesize(tmp_path_factory.mktemp("full"), {**FULL, **WITHOUT_JOBS})


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """No other setting at all."""
    return synthesize(tmp_path_factory.mktemp("bare"), WITHOUT_JOBS)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Nothing but the registry left out."""
    return synthesize(tmp_path_factory.mktemp("without"), {**WITHOUT_JOBS, "devices": "false"})


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Keep as little as can be, in a stage."""
    settings = {
        **WITHOUT_JOBS,
        "stage": "dev",
        "retain_data": "false",
        "device_expiry_days": "30",
        "architecture": "x86_64",
        "memory_mb": "3008",
        "log_level": "DEBUG",
        "log_retention_days": "731",
    }
    return synthesize(tmp_path_factory.mktemp("dev"), settings)


def own(of: Synthesis, type_: str) -> dict[str, dict[str, Any]]:
    """Find the registry's own resources of a type, by logical id."""
    return {
        id_: made
        for id_, made in of.of_type(type_).items()
        if made["Type"] == type_ and id_.startswith(DEVICES)
    }


def the_id(of: Synthesis, type_: str) -> str:
    (id_,) = own(of, type_)
    return id_


def properties(of: Synthesis, type_: str) -> dict[str, Any]:
    (made,) = own(of, type_).values()
    found: dict[str, Any] = made["Properties"]
    return found


def arn(of: Synthesis, type_: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [the_id(of, type_), "Arn"]}


# ------------------------------------------------------------------ its parts


def test_the_table_is_on_demand_and_can_be_restored_and_its_items_expire(full: Synthesis) -> None:
    # No name, which a retained table would still have; no index and no stream.
    assert properties(full, "AWS::DynamoDB::Table") == {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expiration", "Enabled": True},
        "DeletionProtectionEnabled": False,
    }


@pytest.mark.parametrize(
    ("type_", "is_data"),
    [("AWS::DynamoDB::Table", True), ("AWS::Logs::LogGroup", True), ("AWS::SQS::Queue", False)],
)
def test_table_and_log_are_retained_by_default_and_updates_of_tokens_never(
    type_: str, is_data: bool, full: Synthesis, dev: Synthesis
) -> None:
    kept, removed = ("RetainExceptOnCreate", "Retain"), ("Delete", "Delete")
    for made, expected in ((full, kept if is_data else removed), (dev, removed)):
        (found,) = own(made, type_).values()
        assert (found["DeletionPolicy"], found["UpdateReplacePolicy"]) == expected


def test_the_function_has_a_handler_and_names_of_its_own(full: Synthesis, dev: Synthesis) -> None:
    for made, name, days in (
        (full, "push-sender-devices", "270"),
        (dev, "push-sender-dev-devices", "30"),
    ):
        function = properties(made, "AWS::Lambda::Function")
        sender = made.without("Devices").only("AWS::Lambda::Function")["Properties"]
        environment = dict(function["Environment"]["Variables"])
        assert function["FunctionName"] == name
        assert function["Handler"] == "push_sender.devices_handler.handler"
        assert (
            environment.pop("APPLICATION_IDS")
            == (sender["Environment"]["Variables"]["APPLICATION_IDS"])
        )
        assert environment == {
            "DEVICES_TABLE": {"Ref": the_id(made, "AWS::DynamoDB::Table")},
            "DEVICE_EXPIRY_DAYS": days,
            "POWERTOOLS_SERVICE_NAME": name,
        }
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": the_id(made, "AWS::Logs::LogGroup")}
        assert function["MemorySize"] == 512
        same = ("Code", "Runtime", "Architectures", "Timeout", "TracingConfig")
        assert {key: function[key] for key in same} == {key: sender[key] for key in same}
        levels = [one["LoggingConfig"]["ApplicationLogLevel"] for one in (function, sender)]
        assert levels[0] == levels[1]
    projects = properties(full, "AWS::Lambda::Function")["Environment"]["Variables"]
    assert PROJECT in json.dumps(projects)
    assert OTHER_PROJECT in json.dumps(projects)
    assert properties(dev, "AWS::Logs::LogGroup") == {"RetentionInDays": 731}


def test_the_alias_points_to_the_version_of_this_deployment_and_earlier_ones_remain(
    full: Synthesis,
) -> None:
    version = the_id(full, "AWS::Lambda::Version")
    alias = properties(full, "AWS::Lambda::Alias")
    assert alias["Name"] == "live"
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    assert own(full, "AWS::Lambda::Version")[version]["DeletionPolicy"] == "Retain"


def test_lambda_tries_a_failed_event_twice_more_and_then_it_is_a_dead_letter(
    full: Synthesis,
) -> None:
    configured = own(full, "AWS::Lambda::EventInvokeConfig").values()
    assert [made["Properties"]["MaximumRetryAttempts"] for made in configured] == [2, 2]
    function = properties(full, "AWS::Lambda::Function")
    assert function["DeadLetterConfig"] == {"TargetArn": arn(full, "AWS::SQS::Queue")}
    assert properties(full, "AWS::SQS::Queue") == {
        "QueueName": "push-sender-devices-dead-letters",
        "MessageRetentionPeriod": 14 * 24 * 3600,
        "SqsManagedSseEnabled": True,
    }


# ------------------------------------------------------------------ what feeds it


def test_the_rule_invokes_the_alias_with_updates_of_tokens_from_the_function_only(
    full: Synthesis, dev: Synthesis
) -> None:
    bus = {"Ref": dev.of_type("AWS::Events::EventBus").popitem()[0]}
    for made, name, expected in (
        (full, "push-sender-devices", "default"),
        (dev, "push-sender-dev-devices", bus),
    ):
        alias = {"Ref": the_id(made, "AWS::Lambda::Alias")}
        rule = properties(made, "AWS::Events::Rule")
        assert (rule["Name"], rule["EventBusName"]) == (name, expected)
        assert rule["EventPattern"] == {
            "source": ["push-sender"],
            "detail-type": ["Push Token Update"],
        }
        assert rule["Targets"] == [
            {
                "Id": "Devices",
                "Arn": alias,
                "DeadLetterConfig": {"Arn": arn(made, "AWS::SQS::Queue")},
            }
        ]
        assert properties(made, "AWS::Lambda::Permission") == {
            "Action": "lambda:InvokeFunction",
            "FunctionName": alias,
            "Principal": "events.amazonaws.com",
            "SourceArn": arn(made, "AWS::Events::Rule"),
        }


def test_the_dead_letter_queue_needs_tls_and_allows_only_the_rule_among_services(
    full: Synthesis,
) -> None:
    queue = arn(full, "AWS::SQS::Queue")
    policy = properties(full, "AWS::SQS::QueuePolicy")
    assert policy["Queues"] == [{"Ref": the_id(full, "AWS::SQS::Queue")}]
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "sqs:*",
            "Resource": queue,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {
            "Sid": "EventsOfTheRule",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": arn(full, "AWS::Events::Rule")}},
        },
    ]


# ------------------------------------------------------------------ who may do what


def allowed(policies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give every action of some policies, with its resource."""
    return {
        action: statement["Resource"]
        for policy in policies.values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    }


def test_the_role_allows_the_calls_of_the_code_on_exact_resources(full: Synthesis) -> None:
    assert allowed(own(full, "AWS::IAM::Policy")) == {
        **dict.fromkeys(CALLED, arn(full, "AWS::DynamoDB::Table")),
        "logs:CreateLogStream": arn(full, "AWS::Logs::LogGroup"),
        "logs:PutLogEvents": arn(full, "AWS::Logs::LogGroup"),
        "sqs:SendMessage": arn(full, "AWS::SQS::Queue"),
        "xray:PutTelemetryRecords": "*",
        "xray:PutTraceSegments": "*",
    }
    assert {"Ref": the_id(full, "AWS::IAM::Role")} in properties(full, "AWS::IAM::Policy")["Roles"]


def test_only_lambda_can_assume_the_role(full: Synthesis) -> None:
    role = properties(full, "AWS::IAM::Role")
    assert role.keys() == {"AssumeRolePolicyDocument", "Description"}
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "lambda.amazonaws.com"},
        }
    ]


def test_the_sender_may_only_read_the_table(full: Synthesis) -> None:
    table = the_id(full, "AWS::DynamoDB::Table")
    statements = [
        statement
        for policy in full.without("Devices").of_type("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if table in json.dumps(statement)
    ]

    assert [statement["Action"] for statement in statements] == ["dynamodb:BatchGetItem"]


def new_sender(folder: Path, **settings: str) -> tuple[cdk.App, iam.Role, PushSender]:
    """Begin an app in which another team's stack has the construct and a caller."""
    app = new_app(folder)
    stack = cdk.Stack(app, "Orders")
    sender = PushSender(
        stack,
        "PushSender",
        settings=Settings.from_context({"stage": "orders", **settings}),
        bundle=stub_bundle(folder),
    )
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    return app, caller, sender


GRANTS = {
    "grant_register": {"/*/PUT/devices/*", "/*/DELETE/devices/*"},
    "grant_read": {"/*/GET/devices/*", "/*/GET/users/*/devices"},
    "grant_erase": {"/*/DELETE/users/*"},
}


@pytest.mark.parametrize("grant", GRANTS)
def test_access_to_devices_can_be_granted_alone(grant: str, tmp_path: Path) -> None:
    app, caller, sender = new_sender(
        tmp_path, jwt_issuer="https://id.example.com", jwt_audience="app"
    )
    getattr(sender.devices, grant)(caller)
    app.synth()

    made = read(tmp_path / "cdk.out", "Orders")
    (policy,) = (
        found["Properties"]["PolicyDocument"]["Statement"]
        for id_, found in made.of_type("AWS::IAM::Policy").items()
        if id_.startswith("Caller")
    )
    (statement,) = policy
    (api,) = made.of_type("AWS::ApiGatewayV2::Api")
    resources = statement["Resource"]
    arns = [
        one["Fn::Join"][1] for one in (resources if isinstance(resources, list) else [resources])
    ]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "execute-api:Invoke")
    assert {parts[-1] for parts in arns} == GRANTS[grant]
    assert all(parts[-2] == {"Ref": api} for parts in arns)


@pytest.mark.parametrize("grant", GRANTS)
def test_access_to_devices_cannot_be_granted_without_the_api(grant: str, tmp_path: Path) -> None:
    _, caller, sender = new_sender(tmp_path, http_api="false")
    with pytest.raises(ValueError, match=r"no HTTP API.* set http_api to true"):
        getattr(sender.devices, grant)(caller)


# ------------------------------------------------------------------ without it


def test_without_devices_the_stack_has_none_of_their_resources(
    bare: Synthesis, without: Synthesis
) -> None:
    # All but the HTTP API's routes and the alarms stands in one part, so ids tell them apart.
    added = bare.template["Resources"].keys() - without.template["Resources"].keys()
    elsewhere = {id_ for id_ in added if not id_.startswith(DEVICES)}
    types = {bare.template["Resources"][id_]["Type"] for id_ in elsewhere}
    assert types == {
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::CloudWatch::Alarm",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",  # its id has a digest of the environment
    }
    assert "device" not in json.dumps(without.template).lower()


def test_the_registry_changes_nothing_else(bare: Synthesis, without: Synthesis) -> None:
    """A stack with it deploys over one without it, and back: every logical id stays the same."""
    changed = {
        id_: made
        for id_, made in without.template["Resources"].items()
        if bare.template["Resources"].get(id_) != made
    }
    assert {made["Type"] for made in changed.values()} == {
        "AWS::ApiGatewayV2::Stage",  # with the limits of the registry's routes
        "AWS::CloudWatch::Dashboard",
        "AWS::Lambda::Alias",  # of the new version
        "AWS::Lambda::Function",
        "AWS::Lambda::Version",
        "AWS::IAM::Policy",  # of the sender, which reads the registry
    }
    function = the_function(without)
    environment = the_function(bare)["Environment"]["Variables"]
    assert environment.pop("DEVICES_TABLE") == {"Ref": the_id(bare, "AWS::DynamoDB::Table")}
    assert environment == function["Environment"]["Variables"]


def the_function(of: Synthesis) -> dict[str, Any]:
    """Copy the properties of the function that sends, without the archive."""
    found = of.without("Devices").only("AWS::Lambda::Function")["Properties"]
    copied: dict[str, Any] = json.loads(json.dumps({**found, "Code": None}))
    return copied


def test_the_outputs_name_the_registrys_parts_only_if_there_is_one(
    bare: Synthesis, without: Synthesis
) -> None:
    outputs = bare.template["Outputs"]
    function = {"Ref": the_id(bare, "AWS::Lambda::Function")}
    assert {key: outputs[key]["Value"] for key in outputs.keys() - without.template["Outputs"]} == {
        "DevicesFunctionName": {"Fn::Join": ["", [function, ":live"]]},
        "DevicesTableName": {"Ref": the_id(bare, "AWS::DynamoDB::Table")},
        "DevicesLogGroupName": {"Ref": the_id(bare, "AWS::Logs::LogGroup")},
        "DevicesDeadLetterQueueUrl": {"Ref": the_id(bare, "AWS::SQS::Queue")},
    }


def test_a_sender_without_devices_has_no_registry(tmp_path: Path) -> None:
    _, _, sender = new_sender(tmp_path, devices="false")
    assert sender.devices is None
