"""Templates in the sandbox: what they may hold, their events and outputs, and failures."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from moto.cloudformation import parsing

from sandbox.services import RESOURCE_TYPES
from tests.support.paths import REPOSITORY
from tests.support.service_sandbox import ServiceSandbox, refusal
from tests.support.templates import (
    ACCOUNT,
    PROJECT,
    REGION,
    Template,
    cdk_template,
    joined,
    output,
    outputs,
    resource,
    template,
    topic,
)

CANARY = "canary-of-a-secret"
FAULTY = resource("Lambda::Alias", FunctionName="nobodys", FunctionVersion="1", Name="live")


# Valid and invalid templates.


def test_an_unknown_resource_type_is_refused_and_named(sandbox: ServiceSandbox) -> None:
    unknown = {"Topic": topic(), "New": resource("Push::Pigeon")}

    assert "Unrecognized resource types: [AWS::Push::Pigeon]" in refusal(sandbox.create, unknown)
    assert sandbox.topics() == []
    assert "does not exist" in refusal(sandbox.stack)
    sandbox.create({"Topic": topic()})
    assert "AWS::Push::Pigeon" in refusal(sandbox.update, unknown)
    assert sandbox.stack()["StackStatus"] == "CREATE_COMPLETE"


def test_a_type_of_ec2_is_refused_as_an_unknown_one(sandbox: ServiceSandbox) -> None:
    unknown = {"Machine": resource("EC2::Instance")}

    assert "Unrecognized resource types: [AWS::EC2::Instance]" in refusal(sandbox.create, unknown)


def test_the_sandbox_starts_without_ec2_and_leaves_nothing_in_its_place() -> None:
    program = """
import sys
import sandbox.running
print([name for name in sys.modules if name.startswith("moto.ec2")])
import moto.ec2.models
print(moto.ec2.models.EC2Backend.__module__)
"""

    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )

    assert process.stdout.split() == ["[]", "moto.ec2.models"]


def test_a_wait_condition_handle_is_accepted(sandbox: ServiceSandbox) -> None:
    handle = {"Type": "AWS::CloudFormation::WaitConditionHandle"}

    stack = sandbox.create({"Handle": handle, "Topic": topic()})

    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert sandbox.topics() == ["topic"]


def test_a_custom_resource_is_left_to_its_function(sandbox: ServiceSandbox) -> None:
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:nobodys"
    custom = {"Type": "Custom::Thing", "Properties": {"ServiceToken": function}}

    stack = sandbox.create({"Custom": custom})

    assert "[Custom]. Function not found" in stack["StackStatusReason"]


def test_motos_own_types_are_created_replaced_and_deleted(sandbox: ServiceSandbox) -> None:
    def buckets() -> list[str]:
        return [bucket["Name"] for bucket in sandbox.client("s3").list_buckets()["Buckets"]]

    stack = sandbox.create({"Bucket": resource("S3::Bucket", BucketName="first")})
    sandbox.update({"Bucket": resource("S3::Bucket", BucketName="second")})
    after_update = buckets()
    sandbox.delete()

    assert (after_update, buckets()) == (["second"], [])
    assert ("Bucket", "DELETE_FAILED") not in sandbox.events(stack["StackId"])


@pytest.mark.parametrize(
    ("resources", "expected", "reason"),
    [
        ({"T": topic(DisplayName={"Ref": "X"})}, {}, "[X] in the Resources block"),
        ({"T": topic(DisplayName={"Fn::Sub": "a ${X.Arn}"})}, {}, "[X] in the Resources block"),
        ({"T": {**topic(), "DependsOn": "X"}}, {}, "[X] in the Resources block"),
        ({"T": topic()}, joined("a", {"Ref": "X"}), "[X] in the Outputs block"),
        (
            {"T": topic()},
            joined("a", {"Fn::GetAtt": ["T", "Height"]}),
            "resource T does not support attribute type Height",
        ),
        (
            {"T": topic(), "U": topic("u", DisplayName={"Fn::Sub": "${T.Height}"})},
            {},
            "resource T does not support attribute type Height",
        ),
        (
            {
                "A": topic("a", DisplayName={"Ref": "B"}),
                "B": topic("b", DisplayName={"Fn::GetAtt": "A.TopicName"}),
            },
            {},
            "Circular dependency between resources: [A, B]",
        ),
    ],
)
def test_an_invalid_template_is_refused(
    sandbox: ServiceSandbox, resources: Template, expected: Template, reason: str
) -> None:
    assert reason in refusal(sandbox.create, resources, Outputs=output(Told=expected))
    assert sandbox.topics() == []
    assert "does not exist" in refusal(sandbox.stack)


def test_resources_are_created_after_their_dependencies(sandbox: ServiceSandbox) -> None:
    sandbox.create(
        {
            "Last": topic(
                "last", DisplayName={"Fn::Sub": ["${Own} ${Second}", {"Own": {"Ref": "Third"}}]}
            ),
            "Second": {**topic("second"), "DependsOn": ["First"]},
            "First": topic("first"),
            "Third": {**topic("third"), "DependsOn": "Second"},
        }
    )

    made = [name for name, status in sandbox.events() if status == "CREATE_COMPLETE"]
    assert made == ["First", "Second", "Third", "Last", "stack"]
    assert sandbox.display_name("last") == f"{sandbox.id_of('Third')} {sandbox.id_of('Second')}"


def test_parameters_conditions_and_rules_work(sandbox: ServiceSandbox) -> None:
    sandbox.client("ssm").put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String"
    )
    version = {
        "Type": "AWS::SSM::Parameter::Value<String>",
        "Default": "/cdk-bootstrap/hnb659fds/version",
    }
    rule = {"Assertions": [{"Assert": {"Fn::Equals": [{"Ref": "BootstrapVersion"}, "1"]}}]}
    resources = {
        "Topic": topic(DisplayName={"Ref": "Stage"}),
        "Never": {**topic("never"), "Condition": "IsProduction"},
    }
    others: Template = {
        "Parameters": {
            "BootstrapVersion": version,
            "Stage": {"Type": "String", "Default": "test"},
        },
        "Rules": {"CheckBootstrapVersion": rule},
        "Conditions": {"IsProduction": {"Fn::Equals": [{"Ref": "Stage"}, "production"]}},
        "Outputs": {
            **output(Bootstrap={"Ref": "BootstrapVersion"}, Topic={"Ref": "Topic"}),
            "Never": {"Condition": "IsProduction", "Value": {"Ref": "Never"}},
        },
    }

    stack = sandbox.create(resources, **others)

    assert outputs(stack) == {"Bootstrap": "30", "Topic": sandbox.id_of("Topic")}
    assert sandbox.display_name() == "test"
    assert sandbox.topics() == ["topic"]
    sandbox.client("cloudformation").update_stack(
        StackName="stack",
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Stage", "ParameterValue": "production"}],
    )
    assert sorted(sandbox.topics()) == ["never", "topic"]
    assert sandbox.display_name() == "production"


def test_a_parameter_that_is_not_in_the_store_is_refused(sandbox: ServiceSandbox) -> None:
    missing = {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/nowhere"}

    refused = refusal(sandbox.create, {"Topic": topic()}, Parameters={"P": missing})

    assert "Unable to fetch parameters [/nowhere]" in refused


def test_a_template_can_come_from_s3_at_the_sandboxs_address(sandbox: ServiceSandbox) -> None:
    s3, stacks = sandbox.client("s3"), sandbox.client("cloudformation")
    s3.create_bucket(Bucket="templates")
    s3.put_object(Bucket="templates", Key="t.json", Body=template({"Topic": topic()}).encode())

    stacks.create_stack(StackName="stack", TemplateURL=f"{sandbox.url}/templates/t.json")

    assert sandbox.topics() == ["topic"]
    for nowhere in (f"{sandbox.url}/templates/x.json", f"{sandbox.url}/nowhere/x.json"):
        refused = refusal(stacks.create_stack, StackName="other", TemplateURL=nowhere)
        assert f"there is nothing at {nowhere}" in refused


def test_a_template_can_be_yaml(sandbox: ServiceSandbox) -> None:
    policy = "{Version: 2012-10-17, Statement: [{Sid: own}]}"
    sandbox.client("cloudformation").create_stack(
        StackName="stack",
        TemplateBody=f"""
Resources:
  Topic: {{Type: AWS::SNS::Topic, Properties: {{TopicName: topic}}}}
  Policy:
    Type: AWS::SNS::TopicPolicy
    Properties: {{Topics: [!Ref Topic], PolicyDocument: {policy}}}
""",
    )

    attributes = sandbox.client("sns").get_topic_attributes(TopicArn=sandbox.id_of("Topic"))
    assert json.loads(attributes["Attributes"]["Policy"])["Version"] == "2012-10-17"


def test_generated_names_fit_the_limits_of_their_services(sandbox: ServiceSandbox) -> None:
    long = "ConstructOfAConstructOfAConstructOfAConstructOfAConstruct8A7B6C5D"
    stack = "a-name-of-a-stack-that-is-not-so-short-either"
    role = cdk_template()["Role"]

    sandbox.create(
        {
            f"{long}Role": role,
            f"{long}Queue": resource("SQS::Queue"),
            f"{long}Queue2": resource("SQS::Queue"),
        },
        name=stack,
    )

    name = sandbox.id_of(f"{long}Role", stack)
    assert len(name) == 64
    assert sandbox.client("iam").get_role(RoleName=name)
    names = {sandbox.id_of(f"{long}{end}", stack).rpartition("/")[2] for end in ("Queue", "Queue2")}
    assert {len(name) for name in names} == {80}
    assert len(names) == 2


# Secrets.

SECRETS = {
    "json": json.dumps({"key": CANARY, "port": 5, "": "empty"}),
    "plain": CANARY,
}


@pytest.fixture
def secret_arn(sandbox: ServiceSandbox) -> str:
    secrets = sandbox.client("secretsmanager")
    for name, value in SECRETS.items():
        arn = secrets.create_secret(Name=f"app/{name}", SecretString="before")["ARN"]
        secrets.put_secret_value(SecretId=arn, SecretString=value)
    secrets.create_secret(Name="app/binary", SecretBinary=b"binary")
    return str(secrets.describe_secret(SecretId="app/json")["ARN"])


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("{{resolve:secretsmanager:app/plain}}", CANARY),
        ("{{resolve:secretsmanager:app/plain:SecretString}}", CANARY),
        ("{{resolve:secretsmanager:app/json}}", SECRETS["json"]),
        ("{{resolve:secretsmanager:app/json:SecretString:::}}", SECRETS["json"]),
        ("{{resolve:secretsmanager:app/json::::}}", SECRETS["json"]),
        ("{{resolve:secretsmanager:app/json:SecretString:key}}", CANARY),
        ("{{resolve:secretsmanager:app/json:SecretString:key::}}", CANARY),
        ("{{resolve:secretsmanager:app/json:SecretString:port}}", "5"),
        ("{{resolve:secretsmanager:app/plain:SecretString::AWSPREVIOUS}}", "before"),
        ("{{resolve:secretsmanager:app/plain:SecretString::AWSCURRENT:}}", CANARY),
        ("{{resolve:secretsmanager:ARN:SecretString:key}}", CANARY),
        ("{{resolve:secretsmanager:ARN}}", SECRETS["json"]),
        (
            "a {{resolve:secretsmanager:app/plain}} and"
            " {{resolve:secretsmanager:app/json:SecretString:key}}",
            f"a {CANARY} and {CANARY}",
        ),
        (joined("{{resolve:secretsmanager:", {"Ref": "Secret"}, "}}"), CANARY),
        ({"Fn::Sub": "{{resolve:secretsmanager:${Secret}:SecretString}}"}, CANARY),
        ("{{resolve}} {no} {{reference}}", "{{resolve}} {no} {{reference}}"),
    ],
)
def test_a_secret_reference_is_resolved_to_its_value(
    sandbox: ServiceSandbox, secret_arn: str, value: Any, resolved: str
) -> None:
    written = json.loads(json.dumps(value).replace("ARN", secret_arn))
    parameters = {"Secret": {"Type": "String", "Default": "app/plain"}}

    stack = sandbox.create({"Topic": topic(DisplayName=written)}, Parameters=parameters)

    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert sandbox.display_name() == resolved


@pytest.mark.usefixtures("secret_arn")
def test_a_secret_reference_may_be_nested_in_a_property(sandbox: ServiceSandbox) -> None:
    tags = [{"Key": "tag", "Value": "{{resolve:secretsmanager:app/plain}}"}]

    sandbox.create({"Topic": topic(Tags=tags)})

    result = sandbox.client("sns").list_tags_for_resource(ResourceArn=sandbox.id_of("Topic"))
    assert result["Tags"] == [{"Key": "tag", "Value": CANARY}]


@pytest.mark.usefixtures("secret_arn")
def test_a_secret_reference_may_name_a_version(sandbox: ServiceSandbox) -> None:
    secrets = sandbox.client("secretsmanager")
    version = secrets.put_secret_value(SecretId="app/plain", SecretString="wanted")["VersionId"]
    secrets.put_secret_value(SecretId="app/plain", SecretString="newer")
    reference = f"{{{{resolve:secretsmanager:app/plain:SecretString:::{version}}}}}"

    sandbox.create({"Topic": topic(DisplayName=reference)})

    assert sandbox.display_name() == "wanted"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("secretsmanager:app/missing", "can't find the specified secret"),
        (
            f"secretsmanager:arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:app/no-AbCdEf:S",
            "only be SecretString",
        ),
        (
            f"secretsmanager:arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:app/no-AbCdEf",
            "can't find the specified secret",
        ),
        ("secretsmanager:app/json:SecretString:missing", "Could not find a value associated"),
        ("secretsmanager:app/plain:SecretString:key", "Could not parse SecretString JSON"),
        ("secretsmanager:app/binary", "has no SecretString"),
        ("secretsmanager:app/plain:SecretBinary", "can only be SecretString"),
        ("secretsmanager:app/plain:SecretString::A:b", "not both"),
        ("secretsmanager:app/plain:SecretString::::x", "too many parts"),
        ("secretsmanager:app/plain:SecretString::OLDER", "can't find"),
        ("ssm:/parameter", "resolves only secretsmanager"),
    ],
)
@pytest.mark.usefixtures("secret_arn")
def test_an_unresolvable_reference_fails_the_stack_without_showing_a_value(
    sandbox: ServiceSandbox, reference: str, reason: str
) -> None:
    stack = sandbox.create({"Topic": topic(DisplayName=f"{{{{resolve:{reference}}}}}")})

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert f"[Topic]. {{{{resolve:{reference}}}}}: " in stack["StackStatusReason"]
    assert reason in stack["StackStatusReason"]
    events = sandbox.client("cloudformation").describe_stack_events(StackName="stack")
    assert CANARY not in json.dumps([stack, events], default=str)


@pytest.mark.usefixtures("secret_arn")
def test_the_template_and_the_outputs_show_the_reference(sandbox: ServiceSandbox) -> None:
    reference = "{{resolve:secretsmanager:app/plain}}"

    stack = sandbox.create(
        {"Topic": topic(DisplayName=reference)}, Outputs=output(Secret=reference)
    )

    shown = sandbox.client("cloudformation").get_template(StackName="stack")["TemplateBody"]
    assert reference in json.dumps(shown)
    assert CANARY not in json.dumps(shown)
    assert outputs(stack) == {"Secret": reference}


@pytest.mark.usefixtures("secret_arn")
def test_a_rotated_secret_reaches_only_a_resource_that_has_another_change(
    sandbox: ServiceSandbox,
) -> None:
    reference = "{{resolve:secretsmanager:app/plain}}"
    sandbox.create({"Topic": topic(DisplayName=reference)})
    secrets = sandbox.client("secretsmanager")
    secrets.put_secret_value(SecretId="app/plain", SecretString="rotated")

    sandbox.update({"Topic": topic(DisplayName=reference), "Other": topic("other")})
    unchanged = sandbox.display_name()
    sandbox.update({"Topic": topic(DisplayName=f"{reference}!"), "Other": topic("other")})

    assert (unchanged, sandbox.display_name()) == (CANARY, "rotated!")


# What stays, and what fails.


def test_a_retained_resource_outlives_its_template_and_stack(
    sandbox: ServiceSandbox,
) -> None:
    def kept(name: str, policy: str = "Retain") -> Template:
        return {**topic(name), "DeletionPolicy": policy}

    sandbox.create(
        {
            "A": kept("left"),
            "B": topic("gone"),
            "C": kept("kept"),
            "D": kept("excepted", "RetainExceptOnCreate"),
            "E": topic("deleted"),
        }
    )
    sandbox.update(
        {
            "C": kept("kept"),
            "D": kept("excepted", "RetainExceptOnCreate"),
            "E": topic("deleted"),
        }
    )
    after_update = sorted(sandbox.topics())
    sandbox.delete()

    assert after_update == ["deleted", "excepted", "kept", "left"]
    assert sorted(sandbox.topics()) == ["excepted", "kept", "left"]


@pytest.mark.parametrize(("policy", "left"), [("Retain", ["new", "old"]), ("Delete", ["new"])])
def test_a_replaced_resource_remains_if_its_policy_is_retain(
    sandbox: ServiceSandbox, policy: str, left: list[str]
) -> None:
    sandbox.create({"Topic": {**topic("old"), "UpdateReplacePolicy": policy}})

    sandbox.update({"Topic": {**topic("new"), "UpdateReplacePolicy": policy}})

    assert sorted(sandbox.topics()) == left


def test_a_failed_creation_is_rolled_back_and_says_why(sandbox: ServiceSandbox) -> None:
    resources = {
        "Topic": topic(),
        "Kept": {**topic("kept"), "DeletionPolicy": "Retain"},
        "Excepted": {**topic("excepted"), "DeletionPolicy": "RetainExceptOnCreate"},
        "Faulty": {**FAULTY, "DependsOn": ["Topic", "Kept", "Excepted"]},
    }

    stack = sandbox.create(resources, Outputs=output(Topic={"Ref": "Topic"}))

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "failed to create: [Faulty]. Function not found:" in stack["StackStatusReason"]
    assert "Outputs" not in stack
    assert sandbox.topics() == ["kept"]
    assert sandbox.events()[-6:] == [
        ("Faulty", "CREATE_FAILED"),
        ("stack", "ROLLBACK_IN_PROGRESS"),
        *sorted([("Excepted", "DELETE_COMPLETE"), ("Kept", "DELETE_SKIPPED")]),
        ("Topic", "DELETE_COMPLETE"),
        ("stack", "ROLLBACK_COMPLETE"),
    ]
    stacks = sandbox.client("cloudformation")
    with pytest.raises(WaiterError):
        stacks.get_waiter("stack_create_complete").wait(
            StackName="stack", WaiterConfig={"Delay": 0, "MaxAttempts": 1}
        )
    assert "ROLLBACK_COMPLETE state and can not be updated" in refusal(sandbox.update, resources)
    sandbox.delete()
    assert sandbox.create({"Topic": topic()})["StackStatus"] == "CREATE_COMPLETE"


def test_a_missing_required_property_is_named(sandbox: ServiceSandbox) -> None:
    stack = sandbox.create({"Alias": resource("Lambda::Alias", Name="live")})

    assert (
        "[Alias]. AWS::Lambda::Alias needs FunctionName, FunctionVersion."
        in (stack["StackStatusReason"])
    )


def test_a_failed_update_restores_the_previous_state(sandbox: ServiceSandbox) -> None:
    before = {"Changed": topic(DisplayName="before"), "Renamed": topic("old")}
    result = output(Renamed={"Ref": "Renamed"})
    sandbox.create(before, Outputs=result)
    after = {
        "Changed": topic(DisplayName="after"),
        "Renamed": topic("new"),
        "Added": {**topic("added"), "DeletionPolicy": "RetainExceptOnCreate"},
        "Faulty": {**FAULTY, "DependsOn": ["Changed", "Renamed", "Added"]},
    }

    stack = sandbox.update(after, Outputs=result)

    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "failed to create: [Faulty]" in stack["StackStatusReason"]
    assert sandbox.display_name() == "before"
    assert sorted(sandbox.topics()) == ["old", "topic"]
    assert outputs(stack)["Renamed"].endswith(":old")
    shown = sandbox.client("cloudformation").get_template
    assert shown(StackName="stack")["TemplateBody"]["Resources"] == before
    del after["Faulty"]
    stack = sandbox.update(after, Outputs=result)
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert outputs(stack)["Renamed"].endswith(":new")
    assert sorted(sandbox.topics()) == ["added", "new", "topic"]
    assert shown(StackName="stack")["TemplateBody"]["Resources"] == after


def test_a_failed_update_keeps_the_resource_that_it_would_have_replaced(
    sandbox: ServiceSandbox,
) -> None:
    project = output(Id={"Ref": "App"})
    before = outputs(sandbox.create({"App": PROJECT}, Outputs=project))["Id"]
    renamed = resource("Pinpoint::App", Name="renamed")

    stack = sandbox.update(
        {"App": renamed, "Faulty": {**FAULTY, "DependsOn": "App"}}, Outputs=project
    )

    apps = sandbox.client("pinpoint").get_apps()["ApplicationsResponse"]["Item"]
    assert [(app["Id"], app["Name"]) for app in apps] == [(before, "demo")]
    assert outputs(stack)["Id"] == before


def test_a_half_updated_resource_is_rolled_back_too(sandbox: ServiceSandbox) -> None:
    def resources(sid: str, *queues: Any) -> Template:
        own = {"Statement": [{"Sid": sid}]}
        policy = resource("SQS::QueuePolicy", Queues=list(queues), PolicyDocument=own)
        return {"Queue": resource("SQS::Queue"), "Policy": policy}

    sandbox.create(resources("before", {"Ref": "Queue"}))

    stack = sandbox.update(resources("after", {"Ref": "Queue"}, "https://nowhere/1/nobodys"))

    assert "failed to update: [Policy]" in stack["StackStatusReason"]
    attributes = sandbox.client("sqs").get_queue_attributes(
        QueueUrl=sandbox.id_of("Queue"), AttributeNames=["Policy"]
    )["Attributes"]
    assert json.loads(attributes["Policy"])["Statement"] == [{"Sid": "before"}]


def test_resources_are_deleted_before_their_current_dependencies(sandbox: ServiceSandbox) -> None:
    sandbox.create({"First": topic("first")})
    stack = sandbox.update(
        {"First": topic("first", DisplayName={"Ref": "Later"}), "Later": topic("later")}
    )

    sandbox.delete()

    deleted = [name for name, status in sandbox.events(stack["StackId"]) if "DELETE_C" in status]
    assert deleted == ["First", "Later", "stack"]


def test_a_resource_cannot_change_its_type(sandbox: ServiceSandbox) -> None:
    sandbox.create({"Thing": topic()})

    stack = sandbox.update({"Thing": resource("SQS::Queue")})

    assert "[Thing]. Update of resource type is not permitted" in stack["StackStatusReason"]
    assert sandbox.topics() == ["topic"]


def test_an_update_that_changes_nothing_is_refused(sandbox: ServiceSandbox) -> None:
    sandbox.create({"Topic": topic()})

    assert "No updates are to be performed" in refusal(sandbox.update, {"Topic": topic()})
    assert sandbox.stack()["StackStatus"] == "CREATE_COMPLETE"


def test_a_failed_stack_deletion_keeps_the_stack_with_the_reason(sandbox: ServiceSandbox) -> None:
    sandbox.create({"Role": cdk_template()["Role"], "Topic": topic()})
    iam, role = sandbox.client("iam"), sandbox.id_of("Role")
    iam.create_instance_profile(InstanceProfileName="p")
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName=role)

    sandbox.delete()
    stack = sandbox.stack()
    refused = refusal(sandbox.update, {"Topic": topic()})
    iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName=role)
    sandbox.delete()

    assert stack["StackStatus"] == "DELETE_FAILED"
    assert "is in DELETE_FAILED state and can not be updated" in refused
    assert stack["StackStatusReason"] == "The following resource(s) failed to delete: [Role]."
    assert sandbox.topics() == []
    assert "does not exist" in refusal(sandbox.stack)


def test_a_stack_with_an_already_deleted_resource_can_be_deleted(sandbox: ServiceSandbox) -> None:
    sandbox.create(
        {
            "App": PROJECT,
            "Adm": resource(
                "Pinpoint::ADMChannel",
                ApplicationId={"Ref": "App"},
                ClientId="i",
                ClientSecret="s",
            ),
            "Queue": resource("SQS::Queue"),
            "Policy": resource(
                "SQS::QueuePolicy", Queues=[{"Ref": "Queue"}], PolicyDocument={"Statement": []}
            ),
            "Log": resource("Logs::LogGroup"),
            "Role": cdk_template()["Role"],
        }
    )
    sandbox.client("pinpoint").delete_app(ApplicationId=sandbox.id_of("App"))
    sandbox.client("sqs").delete_queue(QueueUrl=sandbox.id_of("Queue"))
    sandbox.client("logs").delete_log_group(logGroupName=sandbox.id_of("Log"))
    sandbox.client("iam").delete_role(RoleName=sandbox.id_of("Role"))

    sandbox.delete()

    assert "does not exist" in refusal(sandbox.stack)


# Several stacks, and change sets.


def test_a_stack_can_import_anothers_exports(sandbox: ServiceSandbox) -> None:
    exported = {"Topic": {"Value": {"Ref": "Topic"}, "Export": {"Name": "the-topic"}}}
    sandbox.create({"Topic": topic()}, Outputs=exported)
    imported = {"Topic": topic("other", DisplayName={"Fn::ImportValue": "the-topic"})}

    sandbox.create(imported, name="other")

    assert sandbox.display_name("other").endswith(":topic")
    exports = sandbox.client("cloudformation").list_exports
    assert [export["Name"] for export in exports()["Exports"]] == ["the-topic"]
    sandbox.update({"Topic": topic()})
    assert exports()["Exports"] == []
    sandbox.update({"Topic": topic()}, Outputs=exported)
    sandbox.delete()
    assert exports()["Exports"] == []


def test_change_sets_deploy_and_fail_as_stacks_do(sandbox: ServiceSandbox) -> None:
    stacks = sandbox.client("cloudformation")

    def execute(kind: str, name: str, resources: Template) -> dict[str, Any]:
        stacks.create_change_set(
            StackName="stack",
            ChangeSetName=name,
            ChangeSetType=kind,
            TemplateBody=template(resources, Outputs=output(Topic={"Ref": "Topic"})),
        )
        stacks.execute_change_set(StackName="stack", ChangeSetName=name)
        return sandbox.stack()

    created = execute("CREATE", "first", {"Topic": topic()})
    changed = execute("UPDATE", "second", {"Topic": topic(DisplayName="changed")})
    failed = execute("UPDATE", "third", {"Topic": topic(), "Faulty": FAULTY})

    assert [each["StackStatus"] for each in (created, changed, failed)] == [
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
    ]
    assert outputs(created)["Topic"].endswith(":topic")
    assert sandbox.display_name() == "changed"


def test_a_change_set_without_changes_fails_as_the_command_line_expects(
    sandbox: ServiceSandbox,
) -> None:
    stacks = sandbox.client("cloudformation")
    sandbox.create({"Topic": topic()})
    named = {"StackName": "stack", "ChangeSetName": "same"}

    stacks.create_change_set(
        **named, ChangeSetType="UPDATE", TemplateBody=template({"Topic": topic()})
    )

    made = stacks.describe_change_set(**named)
    assert (made["Status"], made["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    # `aws cloudformation deploy` looks for this text, and says "No changes to deploy".
    assert "The submitted information didn't contain changes." in made["StatusReason"]


def test_of_two_models_for_a_type_only_the_sandboxs_is_used(sandbox: ServiceSandbox) -> None:
    types = [model.cloudformation_type() for model in parsing.get_model_list()]

    assert {types.count(model.type_name) for model in RESOURCE_TYPES} == {1}


def test_deleting_a_change_set_works_also_if_it_does_not_exist(
    sandbox: ServiceSandbox,
) -> None:
    stacks = sandbox.client("cloudformation")
    sandbox.create({"Topic": topic()})
    named = {"StackName": "stack", "ChangeSetName": "later"}
    changed = template({"Topic": topic(DisplayName="changed")})
    stacks.create_change_set(**named, ChangeSetType="UPDATE", TemplateBody=changed)

    for _ in range(2):
        stacks.delete_change_set(**named)

    with pytest.raises(ClientError, match="later"):
        stacks.describe_change_set(**named)
