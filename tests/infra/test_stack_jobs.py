"""Jobs in the stack: bucket, state machine, who may do what, and the stack without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.step_functions.definition import check
from tests.support.synthesized_stack import FULL, Synthesis, new_app, read, stub_bundle, synthesize

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra.jobs import definition
from infra.push_sender import PushSender
from infra.settings import Settings

OTHERS = ("arn:aws:s3:::exports", "arn:aws:s3:::campaigns.example.com")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is, and other buckets."""
    settings = {**FULL, "job_bucket_arns": ",".join(OTHERS)}
    return synthesize(tmp_path_factory.mktemp("full"), settings)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """No setting at all."""
    return synthesize(tmp_path_factory.mktemp("bare"), {})


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Nothing but jobs left out."""
    return synthesize(tmp_path_factory.mktemp("without"), {"jobs": "false"})


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Keep nothing and have no registry, in a stage with a bus of its own."""
    settings = {"stage": "dev", "retain_data": "false", "devices": "false"}
    return synthesize(tmp_path_factory.mktemp("dev"), settings)


def own(of: Synthesis, type_: str) -> tuple[str, dict[str, Any]]:
    """Find the one resource of a type among those of jobs: its id and itself."""
    ((id_, made),) = (
        (id_, made)
        for id_, made in of.of_type(type_).items()
        if made["Type"] == type_ and id_.startswith("PushSenderJobs")
    )
    return id_, made


def in_words(value: Any) -> Any:
    """Read what CloudFormation would join: ``{a}`` is a reference, ``{a.b}`` an attribute."""
    match value:
        case {"Ref": str(name)}:
            return f"{{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{{{name}.{attribute}}}"
        case {"Fn::Join": ["", list(parts)]}:
            return "".join(map(in_words, parts))
    return value


def allowed(of: Synthesis, start: str) -> dict[str, set[str]]:
    """Give every action that the policies of a part allow, with its resources."""
    found: dict[str, set[str]] = {}
    for id_, policy in of.of_type("AWS::IAM::Policy").items():
        if not id_.startswith(start):
            continue
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            actions, resources = (
                value if isinstance(value, list) else [value]
                for value in (statement["Action"], statement["Resource"])
            )
            for action in actions:
                found.setdefault(action, set()).update(map(in_words, resources))
    return found


def alias(of: Synthesis, *, of_devices: bool) -> str:
    """Name the alias that the state machine invokes."""
    part = "Devices" if of_devices else "Jobs"
    (id_,) = (id_ for id_ in of.of_type("AWS::Lambda::Alias") if part in id_)
    return f"{{{id_}}}"


def machine(of: Synthesis) -> dict[str, Any]:
    """Read the definition of the state machine, with the names in words."""
    _, made = own(of, "AWS::StepFunctions::StateMachine")
    read: dict[str, Any] = json.loads(in_words(made["Properties"]["DefinitionString"]))
    return read


# ------------------------------------------------------------------ the bucket


def test_the_bucket_is_encrypted_and_private_and_forgets_each_folder_in_its_time(
    full: Synthesis,
) -> None:
    _, bucket = own(full, "AWS::S3::Bucket")
    # No name, which a retained bucket would still have; no versions, no key of KMS.
    assert bucket["Properties"] == {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            ]
        },
        "LifecycleConfiguration": {
            "Rules": [
                *(
                    {"ExpirationInDays": days, "Prefix": prefix, "Status": "Enabled"}
                    for prefix, days in (("uploads/", 30), ("jobs/", 30), ("scheduled/", 400))
                ),
                {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}, "Status": "Enabled"},
            ]
        },
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "PublicAccessBlockConfiguration": dict.fromkeys(
            (
                *("BlockPublicAcls", "BlockPublicPolicy"),
                *("IgnorePublicAcls", "RestrictPublicBuckets"),
            ),
            True,
        ),
    }


def test_the_bucket_refuses_requests_without_tls(full: Synthesis) -> None:
    id_, _ = own(full, "AWS::S3::Bucket")
    _, policy = own(full, "AWS::S3::BucketPolicy")
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    resources = [in_words(resource) for resource in statement.pop("Resource")]
    assert resources == [f"{{{id_}.Arn}}", f"{{{id_}.Arn}}/*"]
    assert statement == {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_the_bucket_is_retained_by_default(full: Synthesis, dev: Synthesis) -> None:
    for made, expected in (
        (full, ("RetainExceptOnCreate", "Retain")),
        (dev, ("Delete", "Delete")),
    ):
        _, bucket = own(made, "AWS::S3::Bucket")
        assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == expected


# ------------------------------------------------------------------ the state machine


def test_the_machine_is_named_like_the_stack_and_traced(full: Synthesis, dev: Synthesis) -> None:
    for made, name in ((full, "push-sender-jobs"), (dev, "push-sender-dev-jobs")):
        role, _ = own(made, "AWS::IAM::Role")
        _, found = own(made, "AWS::StepFunctions::StateMachine")
        properties = dict(found["Properties"])
        del properties["DefinitionString"]
        # By default it is of type STANDARD. It is not logged: see docs/security.md.
        assert properties == {
            "StateMachineName": name,
            "RoleArn": {"Fn::GetAtt": [role, "Arn"]},
            "TracingConfiguration": {"Enabled": True},
        }


@pytest.mark.parametrize("devices_arn", ["arn:aws:lambda:r:1:function:d:live", None])
def test_the_sandbox_accepts_the_definition(devices_arn: str | None) -> None:
    states = definition(
        bucket="b",
        partition="aws",
        sender_arn="arn:aws:lambda:r:1:function:f:live",
        devices_arn=devices_arn,
    )
    check(json.dumps(states))


def test_each_step_invokes_the_alias_of_its_function(full: Synthesis, dev: Synthesis) -> None:
    bucket = f"{{{own(full, 'AWS::S3::Bucket')[0]}}}"
    states = machine(full)["States"]
    children = states["Rows"]["ItemProcessor"]["States"]
    for step, of_devices in (
        (states["Index"], False),
        (children["Send"], False),
        (children["Register"], True),
    ):
        parameters = step["Parameters"]
        assert step["Resource"] == "arn:{AWS::Partition}:states:::lambda:invoke"
        assert parameters["FunctionName"] == alias(full, of_devices=of_devices)
        assert parameters["Payload"]["bucket"] == bucket
    assert machine(dev)["States"]["Rows"]["ItemProcessor"]["States"]["Register"] == {
        "Type": "Fail",
        "Error": "InvalidRequest",
        "Cause": "action: there is no registry; set devices to true",
    }


def test_a_step_is_retried_unless_a_repetition_would_fail_in_the_same_way(
    full: Synthesis,
) -> None:
    states = machine(full)["States"]
    children = states["Rows"]["ItemProcessor"]["States"]
    for step in (states["Index"], children["Send"], children["Register"]):
        never, always = step["Retry"]
        assert never["MaxAttempts"] == 0
        assert set(never["ErrorEquals"]) == {
            *("InvalidRequest", "SourceChanged", "MostlyRefused", "JobConflict"),
            "IdempotencyConflict",
        }
        assert always["ErrorEquals"] == ["States.TaskFailed"]


def test_the_longest_child_ends_within_the_time_of_an_express_execution(full: Synthesis) -> None:
    children = machine(full)["States"]["Rows"]["ItemProcessor"]["States"]
    _, retry = children["Send"]["Retry"]
    delays = [
        min(retry["IntervalSeconds"] * retry["BackoffRate"] ** n, retry["MaxDelaySeconds"])
        for n in range(retry["MaxAttempts"])
    ]
    timeouts = {
        made["Properties"]["Timeout"] for made in full.of_type("AWS::Lambda::Function").values()
    }
    # The longest slot: 1,000 rows of one child at the slowest pace, 20 tokens a second.
    longest_slot = 1_000 / 20
    tries = (1 + retry["MaxAttempts"]) * max(timeouts)

    assert longest_slot + tries + sum(delays) < 300  # developer guide of Step Functions, "Quotas"


def test_a_failed_map_ends_the_job_so_that_it_can_be_redriven(full: Synthesis) -> None:
    rows = machine(full)["States"]["Rows"]
    assert not {"Catch", "Retry"} & rows.keys()
    assert rows["Label"] == "Rows"  # in the ARNs of the role


# ------------------------------------------------------------------ who may do what


def test_the_machines_role_allows_its_steps_on_exact_resources(full: Synthesis) -> None:
    bucket = f"{{{own(full, 'AWS::S3::Bucket')[0]}.Arn}}"
    states = "arn:{AWS::Partition}:states:{AWS::Region}:{AWS::AccountId}"
    index, results = f"{bucket}/jobs/*/index.json", f"{bucket}/jobs/*/map/*"
    executions = f"{states}:execution:push-sender-jobs"

    assert allowed(full, "PushSenderJobs") == {
        "lambda:InvokeFunction": {alias(full, of_devices=of) for of in (True, False)},
        "s3:GetObject": {index, results},
        **{
            key: {results}
            for key in ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
        },
        "states:StartExecution": {f"{states}:stateMachine:push-sender-jobs"},
        "states:DescribeExecution": {f"{executions}:*"},
        "states:StopExecution": {f"{executions}:*"},
        "states:RedriveExecution": {f"{executions}/Rows:*"},
        **{
            key: {"*"}
            for key in (
                *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
                *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
            )
        },
    }
    _, role = own(full, "AWS::IAM::Role")
    (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}


def test_without_a_registry_the_machine_invokes_only_the_sender(dev: Synthesis) -> None:
    invoked = allowed(dev, "PushSenderJobs")["lambda:InvokeFunction"]
    assert invoked == {alias(dev, of_devices=False)}


def added(of: Synthesis, without: Synthesis, start: str) -> dict[str, set[str]]:
    """Give what the policies of a part allow for jobs only."""
    before = allowed(without, start)
    return {
        action: new
        for action, resources in allowed(of, start).items()
        if (new := resources - before.get(action, set()))
    }


def test_the_sender_gains_only_what_a_step_needs(
    full: Synthesis, bare: Synthesis, without: Synthesis
) -> None:
    bucket = f"{{{own(bare, 'AWS::S3::Bucket')[0]}.Arn}}"
    (table,) = (id_ for id_ in bare.of_type("AWS::DynamoDB::Table") if "Idempotency" in id_)
    read = {f"{bucket}/{name}" for name in ("uploads/*", "scheduled/*", "jobs/*/index.json")}

    assert added(bare, without, "PushSenderRole") == {
        "s3:GetObject": read,
        "s3:PutObject": {f"{bucket}/jobs/*"},
        "dynamodb:UpdateItem": {f"{{{table}.Arn}}"},
    }
    assert allowed(full, "PushSenderRole")["s3:GetObject"] == {
        *read,
        *(f"{arn}/*" for arn in OTHERS),
    }


def test_the_registry_gains_only_what_an_import_needs(
    full: Synthesis, bare: Synthesis, without: Synthesis
) -> None:
    bucket = f"{{{own(bare, 'AWS::S3::Bucket')[0]}.Arn}}"
    (table,) = (id_ for id_ in bare.of_type("AWS::DynamoDB::Table") if "Idempotency" in id_)
    actions = ("dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")

    assert added(bare, without, "PushSenderDevices") == {
        "s3:GetObject": {f"{bucket}/uploads/*", f"{bucket}/scheduled/*"},
        "s3:PutObject": {f"{bucket}/jobs/*/rows/*"},
        **{key: {f"{{{table}.Arn}}"} for key in actions},
    }
    assert allowed(full, "PushSenderDevices")["s3:GetObject"] == {
        f"{bucket}/uploads/*",
        f"{bucket}/scheduled/*",
        *(f"{arn}/*" for arn in OTHERS),
    }
    environment = {
        made["Properties"]["Handler"]: made["Properties"]["Environment"]["Variables"]
        for made in bare.of_type("AWS::Lambda::Function").values()
    }
    registry = environment["push_sender.devices_handler.handler"]
    assert registry["IDEMPOTENCY_TABLE"] == {"Ref": table}


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


def test_to_upload_a_file_and_start_a_job_can_be_granted_alone(tmp_path: Path) -> None:
    app, caller, sender = new_sender(tmp_path)
    assert sender.jobs is not None
    sender.jobs.grant_start(caller)
    app.synth()

    made = read(tmp_path / "cdk.out", "Orders")
    bucket, _ = own(made, "AWS::S3::Bucket")
    id_, _ = own(made, "AWS::StepFunctions::StateMachine")
    assert allowed(made, "Caller") == {
        "s3:PutObject": {f"{{{bucket}.Arn}}/uploads/*"},
        "states:StartExecution": {f"{{{id_}.Arn}}"},
    }


# ------------------------------------------------------------------ the end of a job


def test_the_end_of_each_job_is_put_on_the_queue_however_it_ended(
    full: Synthesis, dev: Synthesis
) -> None:
    for made, name in ((full, "push-sender-jobs"), (dev, "push-sender-dev-jobs")):
        id_, _ = own(made, "AWS::StepFunctions::StateMachine")
        _, rule = own(made, "AWS::Events::Rule")
        requests, dead_letters = queues(made)
        properties = dict(rule["Properties"])
        assert properties.pop("Name") == name
        del properties["Description"]
        # No bus is named, so it is the default one, also if the stack has a bus of its own: there
        # Step Functions puts its events.
        assert properties == {
            "EventPattern": {
                "source": ["aws.states"],
                "detail-type": ["Step Functions Execution Status Change"],
                "detail": {
                    "stateMachineArn": [{"Fn::GetAtt": [id_, "Arn"]}],
                    "status": ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"],
                },
            },
            "Targets": [
                {
                    "Id": "Requests",
                    "Arn": {"Fn::GetAtt": [requests, "Arn"]},
                    "DeadLetterConfig": {"Arn": {"Fn::GetAtt": [dead_letters, "Arn"]}},
                }
            ],
        }


def queues(of: Synthesis) -> tuple[str, str]:
    """Find the queue of requests and its dead-letter queue."""
    ((requests, made),) = (
        (id_, made)
        for id_, made in of.of_type("AWS::SQS::Queue").items()
        if "RedrivePolicy" in made.get("Properties", {})
    )
    policy = made["Properties"]["RedrivePolicy"]
    return requests, policy["deadLetterTargetArn"]["Fn::GetAtt"][0]


def test_both_queues_accept_the_events_of_this_rule(full: Synthesis) -> None:
    rule, _ = own(full, "AWS::Events::Rule")
    for queue in queues(full):
        (policy,) = (
            made["Properties"]["PolicyDocument"]["Statement"]
            for made in full.of_type("AWS::SQS::QueuePolicy").values()
            if made["Properties"]["Queues"] == [{"Ref": queue}]
        )
        (statement,) = (one for one in policy if one.get("Sid") == "EventsOfJobs")
        assert statement == {
            "Sid": "EventsOfJobs",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": {"Fn::GetAtt": [queue, "Arn"]},
            "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}},
        }


# ------------------------------------------------------------------ without them


def test_without_jobs_the_stack_has_none_of_their_resources(
    bare: Synthesis, without: Synthesis
) -> None:
    added = bare.template["Resources"].keys() - without.template["Resources"].keys()
    ours = ("PushSenderJobs", "PushSenderSchedulesJobRole")
    elsewhere = {id_ for id_ in added if not id_.startswith(ours)}
    types = {bare.template["Resources"][id_]["Type"] for id_ in elsewhere}
    # A version's id has a digest of the environment, which for the registry names one more table.
    assert types == {"AWS::CloudWatch::Alarm", "AWS::Lambda::Version"}
    assert not without.of_type("AWS::S3") | without.of_type("AWS::StepFunctions")


def role_of_schedules(of: Synthesis) -> str:
    roles = of.of_type("AWS::IAM::Role")
    (id_,) = (id_ for id_ in roles if id_.startswith("PushSenderSchedulesJobRole"))
    return id_


def test_the_outputs_name_bucket_and_machine_only_if_there_are_jobs(
    bare: Synthesis, without: Synthesis
) -> None:
    outputs = bare.template["Outputs"]
    bucket, _ = own(bare, "AWS::S3::Bucket")
    id_, _ = own(bare, "AWS::StepFunctions::StateMachine")
    assert {key: outputs[key]["Value"] for key in outputs.keys() - without.template["Outputs"]} == {
        "JobBucketName": {"Ref": bucket},
        "JobStateMachineArn": {"Fn::GetAtt": [id_, "Arn"]},
        "JobScheduleRoleArn": {"Fn::GetAtt": [role_of_schedules(bare), "Arn"]},
    }


def test_a_sender_without_jobs_has_none(tmp_path: Path) -> None:
    _, _, sender = new_sender(tmp_path, jobs="false")
    assert sender.jobs is None
