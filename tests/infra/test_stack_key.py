"""The customer's key: what it encrypts, and who may use it for what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.key_policy.statements import Place, needed
from tests.support.synthesized_stack import (
    GUARDED,
    KEY,
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


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is, with a key."""
    return synthesize(tmp_path_factory.mktemp("guarded"), GUARDED)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """No setting at all."""
    return synthesize(tmp_path_factory.mktemp("bare"), {})


@pytest.mark.parametrize(
    ("type_", "number", "path"),
    [
        ("AWS::SQS::Queue", 3, ["KmsMasterKeyId"]),
        ("AWS::Logs::LogGroup", 3, ["KmsKeyId"]),
        ("AWS::SNS::Topic", 1, ["KmsMasterKeyId"]),
        ("AWS::DynamoDB::Table", 2, ["SSESpecification", "KMSMasterKeyId"]),
        (
            "AWS::S3::Bucket",
            1,
            [
                *("BucketEncryption", "ServerSideEncryptionConfiguration", 0),
                *("ServerSideEncryptionByDefault", "KMSMasterKeyID"),
            ],
        ),
    ],
)
def test_the_key_encrypts_each_resource_with_data(
    type_: str, number: int, path: list[str | int], guarded: Synthesis
) -> None:
    found = [each for each in guarded.of_type(type_).values() if each["Type"] == type_]

    assert len(found) == number
    for resource in found:
        value: Any = resource["Properties"]
        for name in path:
            value = value[name]
        assert value == KEY


def test_the_bucket_has_a_key_of_its_own_and_the_tables_use_kms(guarded: Synthesis) -> None:
    bucket = guarded.only("AWS::S3::Bucket")["Properties"]["BucketEncryption"]
    (rule,) = bucket["ServerSideEncryptionConfiguration"]

    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    for table in guarded.of_type("AWS::DynamoDB::Table").values():
        specification = table["Properties"]["SSESpecification"]
        assert (specification["SSEEnabled"], specification["SSEType"]) == (True, "KMS")


def test_the_outputs_name_the_key(guarded: Synthesis, bare: Synthesis) -> None:
    assert guarded.template["Outputs"]["KmsKeyArn"]["Value"] == KEY
    assert "KmsKeyArn" not in bare.template["Outputs"]


def test_without_the_setting_no_resource_names_a_key(bare: Synthesis) -> None:
    assert "kms" not in json.dumps(bare.template).lower()


# What a call of a service needs on the key, for the resource that the call names.
BOTH = ["kms:Decrypt", "kms:GenerateDataKey"]
SERVICES: dict[str, tuple[str, list[str]]] = {
    "sqs": ("aws:sqs:arn", BOTH),
    "dynamodb": ("aws:dynamodb:tableName", ["kms:Decrypt"]),
    "s3": ("aws:s3:arn", BOTH),
    "logs": ("aws:logs:arn", BOTH),
}
# What AWS documents in addition: for the results of a Distributed Map, and for the logs.
MACHINE = "PushSenderJobsRole"
WITHOUT_CONTEXT = ("kms:DescribeKey", "logs")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def owner(arn: Any, resources: dict[str, Any]) -> str | None:
    """Find the resource of the stack that an ARN names; None for any other."""
    names = [name for name in resources if f'"{name}"' in json.dumps(arn)]
    return names[0] if names else None


def uses(statement: dict[str, Any], resources: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name the services and encrypted resources of a statement about queues, tables or files."""
    for action in listed(statement["Action"]):
        service = action.split(":")[0]
        for arn in listed(statement["Resource"]) if service in SERVICES else ():
            if name := owner(arn, resources):
                yield service, name


def of_key(
    statement: dict[str, Any], resources: dict[str, Any], policy: str
) -> Iterator[tuple[str, str]]:
    """Name the services and resources for which a statement allows the key."""
    assert statement["Resource"] == KEY
    via = json.dumps(statement["Condition"]["StringLike"]["kms:ViaService"])
    (service,) = (name for name in SERVICES if f'"{name}.' in via)
    if (statement["Action"], service) == WITHOUT_CONTEXT:
        assert statement["Condition"].keys() == {"StringLike"}
        return
    assert statement["Condition"].keys() == {"StringLike", "StringEquals"}
    ((key, values),) = statement["Condition"]["StringEquals"].items()
    context, actions = SERVICES[service]
    assert key == f"kms:EncryptionContext:{context}"
    more = ["kms:Encrypt"] if policy.startswith(MACHINE) else []
    assert listed(statement["Action"]) == sorted([*actions, *more])
    for value in listed(values):
        name = owner(value, resources)
        assert name is not None
        yield service, name


def policies(of: Synthesis) -> dict[str, list[dict[str, Any]]]:
    return {
        id_: found["Properties"]["PolicyDocument"]["Statement"]
        for id_, found in of.of_type("AWS::IAM::Policy").items()
    }


def test_each_role_may_use_the_key_for_exactly_what_it_may_call(guarded: Synthesis) -> None:
    resources = guarded.template["Resources"]
    checked = 0
    for id_, statements in policies(guarded).items():
        given = [each for each in statements if "kms:" in json.dumps(each["Action"])]
        needed = {pair for each in statements for pair in uses(each, resources)}

        assert {pair for each in given for pair in of_key(each, resources, id_)} == needed, id_
        checked += len(needed)
    # The sender 6 (with bucket and log), the registry 5, the machine 1, the requests' schedules 2.
    assert checked == 14


def test_the_statements_for_the_keys_policy_include_what_the_stack_has(guarded: Synthesis) -> None:
    place = Place("aws", "eu-west-1", "123456789012", "push-sender", "push-sender")
    printed = {each.sid: each.document() for each in needed(place)}
    roles = printed["PushSenderRoles"]
    services = [each.split(".")[0] for each in roles["Condition"]["StringLike"]["kms:ViaService"]]
    given = [
        each
        for statements in policies(guarded).values()
        for each in statements
        if "kms:" in json.dumps(each["Action"])
    ]

    assert {name for each in given for name in listed(each["Action"])} == {*roles["Action"]}
    assert sorted(services) == sorted(SERVICES)
    for type_, name, sid in (
        ("AWS::SQS::Queue", "QueueName", "PushSenderEvents"),
        ("AWS::CloudWatch::Alarm", "AlarmName", "PushSenderAlarms"),
    ):
        ((pattern,),) = (keys.values() for keys in [printed[sid]["Condition"]["ArnLike"]])
        named = [each["Properties"].get(name) for each in guarded.of_type(type_).values()]
        for each in filter(None, named):
            assert each.startswith(pattern.rpartition(":")[2].removesuffix("*"))
        assert any(named)


@pytest.mark.parametrize(
    ("grant", "service"),
    [
        (lambda sender, to: sender.grant_send_messages(to), "sqs"),
        (lambda sender, to: sender.jobs.grant_start(to), "s3"),
        (lambda sender, to: sender.grant_invoke(to), None),
        (lambda sender, to: sender.grant_post_messages(to), None),
        (lambda sender, to: sender.grant_put_events(to), None),
        (lambda sender, to: sender.devices.grant_read(to), None),
    ],
    ids=["messages", "jobs", "invoke", "HTTP", "events", "devices"],
)
def test_a_grant_of_encrypted_data_includes_the_key(
    grant: Any, service: str | None, tmp_path: Path
) -> None:
    app = new_app(tmp_path)
    stack = cdk.Stack(app, "Orders")
    settings = Settings.from_context({"kms_key_arn": KEY})
    sender = PushSender(stack, "PushSender", settings=settings, bundle=stub_bundle(tmp_path))
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    grant(sender, caller).assert_success()
    app.synth()

    made = read(tmp_path / "cdk.out", "Orders")
    ((id_, statements),) = (each for each in policies(made).items() if each[0].startswith("Caller"))
    given = [each for each in statements if "kms:" in json.dumps(each["Action"])]
    resources = made.template["Resources"]
    assert {pair for each in given for pair in of_key(each, resources, id_)} == (
        {pair for each in statements for pair in uses(each, resources)} if service else set()
    )
    assert len(given) == (service is not None)


def test_the_policies_of_a_role_with_a_key_and_all_buckets_fit_into_iams_quota(
    tmp_path: Path,
) -> None:
    """IAM allows 10,240 characters in the policies of a role, without white space."""
    name = "x" * 63
    buckets = [f"arn:aws-us-gov:s3:::{name[:60]}{number:03}" for number in range(20)]
    made = synthesize(tmp_path, {**GUARDED, "job_bucket_arns": ",".join(buckets)})

    for id_, statements in policies(made).items():
        text = json.dumps(statements, separators=(",", ":"))
        assert len(text) < 10_240, id_
