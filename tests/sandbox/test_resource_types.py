"""What each resource type of the sandbox makes of its properties, in the service's own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.service_sandbox import ServiceSandbox, refusal
from tests.support.templates import (
    ACCOUNT,
    ARN,
    PROJECT,
    REGION,
    Template,
    cdk_template,
    joined,
    output,
    outputs,
    resource,
    topic,
)

CANARY = "canary-of-a-secret"


# Push projects.

TOKEN = {"TokenKey": "k", "TokenKeyId": "i", "TeamId": "t", "BundleId": "b"}
CERTIFICATE = {"Certificate": "c", "PrivateKey": "p"}
CREDENTIALS: dict[str, dict[str, str]] = {
    "GCM": {"DefaultAuthenticationMethod": "TOKEN", "ServiceJson": '{"type": "made up"}'},
    "APNS": {"DefaultAuthenticationMethod": "TOKEN", **TOKEN},
    "APNSSandbox": {"DefaultAuthenticationMethod": "KEY", **TOKEN},
    "APNSVoip": {"DefaultAuthenticationMethod": "certificate", **CERTIFICATE},
    "APNSVoipSandbox": CERTIFICATE,
    "Baidu": {"ApiKey": "k", "SecretKey": "s"},
    "ADM": {"ClientId": "i", "ClientSecret": "s"},
}


def channel(kind: str, **properties: Any) -> Template:
    return resource(f"Pinpoint::{kind}Channel", ApplicationId={"Ref": "App"}, **properties)


def test_a_stack_creates_a_project_with_every_channel(sandbox: ServiceSandbox) -> None:
    channels = {kind: channel(kind, Enabled=True, **own) for kind, own in CREDENTIALS.items()}
    arn = {"Fn::GetAtt": ["App", "Arn"]}

    stack = sandbox.create({**channels, "App": PROJECT}, Outputs=output(Id={"Ref": "App"}, Arn=arn))

    assert stack["StackStatus"] == "CREATE_COMPLETE"
    project = outputs(stack)["Id"]
    pinpoint = sandbox.client("pinpoint")
    assert pinpoint.get_app(ApplicationId=project)["ApplicationResponse"]["Name"] == "demo"
    assert outputs(stack)["Arn"] == f"arn:aws:mobiletargeting:{REGION}:{ACCOUNT}:apps/{project}"
    assert pinpoint.list_tags_for_resource(ResourceArn=outputs(stack)["Arn"])["TagsModel"][
        "tags"
    ] == {"team": "push"}
    made = pinpoint.get_channels(ApplicationId=project)["ChannelsResponse"]["Channels"]
    assert {
        name: (one["Enabled"], one["HasCredential"], one["ApplicationId"])
        for name, one in made.items()
    } == dict.fromkeys(
        ["ADM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "GCM"],
        (True, True, project),
    )
    gcm = pinpoint.get_gcm_channel(ApplicationId=project)["GCMChannelResponse"]
    assert (gcm["DefaultAuthenticationMethod"], gcm["HasFcmServiceCredentials"]) == ("TOKEN", True)
    assert sandbox.id_of("GCM") == project


@pytest.mark.parametrize(
    ("kind", "properties", "reason"),
    [
        ("GCM", {"DefaultAuthenticationMethod": "TOKEN"}, "needs ServiceJson"),
        ("GCM", {"DefaultAuthenticationMethod": "TOKEN", "ServiceJson": ""}, "needs ServiceJson"),
        ("GCM", {"ServiceJson": "{}"}, "DefaultAuthenticationMethod KEY needs ApiKey"),
        (
            "GCM",
            {"DefaultAuthenticationMethod": "TOKEN", "ServiceJson": f"{{{CANARY}"},
            "ServiceJson is not a JSON object",
        ),
        ("GCM", {"DefaultAuthenticationMethod": CANARY}, "must be KEY or TOKEN"),
        (
            "APNS",
            {"DefaultAuthenticationMethod": "TOKEN", "TokenKey": CANARY, "TeamId": "t"},
            "needs TokenKeyId, BundleId",
        ),
        ("APNSSandbox", {"Certificate": CANARY}, "needs PrivateKey"),
        ("APNSVoip", TOKEN, "DefaultAuthenticationMethod CERTIFICATE needs Certificate, Priv"),
        ("APNSVoipSandbox", {}, "needs Certificate, PrivateKey"),
        ("Baidu", {"ApiKey": CANARY}, "The BAIDU channel needs SecretKey"),
        ("ADM", {"ClientSecret": CANARY}, "The ADM channel needs ClientId"),
    ],
)
def test_a_channel_without_its_credentials_fails_the_stack(
    sandbox: ServiceSandbox, kind: str, properties: dict[str, str], reason: str
) -> None:
    stack = sandbox.create({"App": PROJECT, "Faulty": channel(kind, Enabled=True, **properties)})

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "[Faulty]" in stack["StackStatusReason"]
    assert reason in stack["StackStatusReason"]
    assert CANARY not in stack["StackStatusReason"]
    assert sandbox.client("pinpoint").get_apps()["ApplicationsResponse"]["Item"] == []


def test_a_channel_of_an_unknown_project_fails_the_stack(sandbox: ServiceSandbox) -> None:
    lost = resource("Pinpoint::ADMChannel", ApplicationId="nobodys", **CREDENTIALS["ADM"])

    stack = sandbox.create({"Lost": lost})

    assert "[Lost]. ApplicationId names no project" in stack["StackStatusReason"]


def test_a_channel_is_updated_and_deleted_with_its_stack(sandbox: ServiceSandbox) -> None:
    def sent() -> str:
        project = sandbox.id_of("App")
        answer = sandbox.client("pinpoint").send_messages(
            ApplicationId=project,
            MessageRequest={
                "Addresses": {"t": {"ChannelType": "ADM"}},
                "MessageConfiguration": {"ADMMessage": {"Body": "hello"}},
            },
        )
        return str(answer["MessageResponse"]["Result"]["t"]["DeliveryStatus"])

    adm = CREDENTIALS["ADM"]
    sandbox.create({"App": PROJECT, "Adm": channel("ADM", **adm)})
    statuses = [sent()]
    for enabled in (True, "false", "true"):
        sandbox.update({"App": PROJECT, "Adm": channel("ADM", Enabled=enabled, **adm)})
        statuses.append(sent())
    sandbox.update({"App": PROJECT})

    no, yes = "PERMANENT_FAILURE", "SUCCESSFUL"
    assert [*statuses, sent()] == [no, yes, no, yes, no]


def test_a_project_keeps_its_id_when_its_tags_change(sandbox: ServiceSandbox) -> None:
    project = outputs(sandbox.create({"App": PROJECT}, Outputs=output(Id={"Ref": "App"})))["Id"]
    tags = [{"Key": "stage", "Value": "test"}]

    arn = outputs(
        sandbox.update(
            {"App": resource("Pinpoint::App", Name="demo", Tags=tags)},
            Outputs=output(Arn={"Fn::GetAtt": ["App", "Arn"]}),
        )
    )["Arn"]

    assert arn.endswith(f"apps/{project}")
    told = sandbox.client("pinpoint").list_tags_for_resource(ResourceArn=arn)["TagsModel"]
    assert told["tags"] == {"stage": "test"}


def test_a_new_name_creates_a_new_project_and_its_channels_move(sandbox: ServiceSandbox) -> None:
    resources = {"App": PROJECT, "Adm": channel("ADM", Enabled=True, **CREDENTIALS["ADM"])}
    before = outputs(sandbox.create(resources, Outputs=output(Id={"Ref": "App"})))["Id"]

    renamed = {**resources, "App": resource("Pinpoint::App", Name="renamed")}
    after = outputs(sandbox.update(renamed, Outputs=output(Id={"Ref": "App"})))["Id"]

    pinpoint = sandbox.client("pinpoint")
    apps = pinpoint.get_apps()["ApplicationsResponse"]["Item"]
    assert [(app["Id"], app["Name"]) for app in apps] == [(after, "renamed")]
    assert after != before
    assert pinpoint.get_adm_channel(ApplicationId=after)["ADMChannelResponse"]["Enabled"]


# Functions, from a template such as the CDK writes.


@pytest.fixture
def code(sandbox: ServiceSandbox) -> None:
    sandbox.client("s3").create_bucket(Bucket="code")
    for key in ("first", "second", "third"):
        sandbox.put_code(f"{key}.zip", answer=key)


@pytest.mark.usefixtures("code")
def test_a_cdk_template_deploys_a_running_function(sandbox: ServiceSandbox) -> None:
    stack = sandbox.create(
        cdk_template(),
        Outputs=output(
            Alias={"Ref": "Alias"},
            Name=joined({"Ref": "Function"}, ":live"),
            Group={"Ref": "Log"},
            Version={"Ref": "Version1a2b"},
        ),
    )

    told = outputs(stack)
    project = sandbox.id_of("App")
    assert sandbox.invoke(told["Name"]) == {"answer": "first", "variable": project, "version": "1"}
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:push-sender"
    assert (told["Alias"], told["Version"]) == (f"{function}:live", f"{function}:1")
    alias = sandbox.client("lambda").get_alias(FunctionName="push-sender", Name="live")
    assert (alias["AliasArn"], alias["FunctionVersion"]) == (told["Alias"], "1")
    assert told["Group"].startswith("stack-Log-")
    logs = sandbox.client("logs")
    events = logs.filter_log_events(logGroupName=told["Group"])["events"]
    lines = [json.loads(event["message"]) for event in events]
    assert [line["message"] for line in lines if "message" in line] == ["said at warning"]
    assert lines[-1]["type"] == "platform.report"
    groups = logs.describe_log_groups()["logGroups"]
    assert [(group["logGroupName"], group["retentionInDays"]) for group in groups] == [
        (told["Group"], 30)
    ]


@pytest.mark.usefixtures("code")
def test_a_function_and_its_versions_keep_all_settings_of_the_template(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(cdk_template())

    functions = sandbox.client("lambda")
    for qualifier in ("$LATEST", "1", "live"):
        told = functions.get_function_configuration(FunctionName="push-sender", Qualifier=qualifier)
        assert told["Architectures"] == ["arm64"]
        assert told["DeadLetterConfig"]["TargetArn"].startswith(f"arn:aws:sqs:{REGION}:")
        assert told["EphemeralStorage"] == {"Size": 1024}
        assert told["LoggingConfig"] == {
            "ApplicationLogLevel": "WARN",
            "LogFormat": "JSON",
            "LogGroup": sandbox.id_of("Log"),
        }
        assert told["TracingConfig"] == {"Mode": "Active"}
        assert (told["MemorySize"], told["Timeout"]) == (256, 29)
        role = sandbox.client("iam").get_role(RoleName=sandbox.id_of("Role"))["Role"]
        assert told["Role"] == role["Arn"]
    assert functions.get_function(FunctionName="push-sender")["Tags"] == {"team": "push"}


@pytest.mark.usefixtures("code")
def test_each_qualifier_has_its_own_retry_settings(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())

    functions = sandbox.client("lambda")
    config = functions.get_function_event_invoke_config(
        FunctionName="push-sender", Qualifier="live"
    )
    assert config["MaximumRetryAttempts"] == 0
    assert config["FunctionArn"].endswith(":push-sender:live")
    unqualified = refusal(functions.get_function_event_invoke_config, FunctionName="push-sender")
    assert "ResourceNotFound" in unqualified

    functions.put_function_event_invoke_config(FunctionName="push-sender", MaximumRetryAttempts=2)
    functions.put_function_event_invoke_config(
        FunctionName="push-sender", Qualifier="live", MaximumRetryAttempts=1
    )
    listed = functions.list_function_event_invoke_configs(FunctionName="push-sender")
    assert sorted(
        (config["FunctionArn"].rpartition(":")[2], config["MaximumRetryAttempts"])
        for config in listed["FunctionEventInvokeConfigs"]
    ) == [("$LATEST", 2), ("live", 1)]
    functions.delete_function_event_invoke_config(FunctionName="push-sender", Qualifier="live")
    (left,) = functions.list_function_event_invoke_configs(FunctionName="push-sender")[
        "FunctionEventInvokeConfigs"
    ]
    assert left["MaximumRetryAttempts"] == 2


@pytest.mark.usefixtures("code")
def test_new_code_becomes_a_new_version_that_the_alias_points_to(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())
    answers = [sandbox.invoke("push-sender:live")]

    for number, key in enumerate(("second", "third"), start=2):
        stack = sandbox.update(cdk_template(version=f"Version{number}", key=f"{key}.zip"))
        assert stack["StackStatus"] == "UPDATE_COMPLETE"
        answers.append(sandbox.invoke("push-sender:live"))

    assert [(each["answer"], each["version"]) for each in answers] == [
        ("first", "1"),
        ("second", "2"),
        ("third", "3"),
    ]
    versions = sandbox.client("lambda").list_versions_by_function(FunctionName="push-sender")
    assert [version["Version"] for version in versions["Versions"]] == ["$LATEST", "3"]
    kept = cdk_template(version="Version3", key="third.zip")
    kept["Version3"]["DeletionPolicy"] = "Retain"
    sandbox.update(kept)
    sandbox.delete()
    assert sandbox.client("lambda").list_functions()["Functions"] == []


@pytest.mark.usefixtures("code")
def test_a_retained_version_does_not_change(sandbox: ServiceSandbox) -> None:
    first = cdk_template()
    first["Version1a2b"]["DeletionPolicy"] = "Retain"
    sandbox.create(first)
    second = cdk_template(version="Version3c4d", key="second.zip")
    del second["Function"]["Properties"]["TracingConfig"]
    second["Function"]["Properties"]["Environment"] = {"Variables": {"VARIABLE": "changed"}}

    sandbox.update(second)

    assert sandbox.invoke("push-sender:1")["answer"] == "first"
    assert sandbox.invoke("push-sender:2")["variable"] == "changed"
    assert sandbox.invoke("push-sender:1")["variable"] == sandbox.id_of("App")
    functions = sandbox.client("lambda")
    modes = [
        functions.get_function(FunctionName=f"push-sender:{number}")["Configuration"][
            "TracingConfig"
        ]["Mode"]
        for number in (1, 2)
    ]
    assert modes == ["Active", "PassThrough"]


@pytest.mark.usefixtures("code")
def test_a_setting_removed_from_the_template_is_unset(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())
    bare = cdk_template(version="Version3c4d")
    for name in ("DeadLetterConfig", "LoggingConfig", "MemorySize", "Architectures"):
        del bare["Function"]["Properties"][name]

    sandbox.update(bare)

    told = sandbox.client("lambda").get_function_configuration(FunctionName="push-sender:live")
    assert "DeadLetterConfig" not in told
    assert told["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/push-sender"}
    assert (told["MemorySize"], told["Architectures"]) == (128, ["x86_64"])


@pytest.mark.usefixtures("code")
def test_a_new_version_of_an_unchanged_function_fails_as_in_aws(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())

    stack = sandbox.update(cdk_template(version="Version3c4d"))

    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert (
        "[Version3c4d]. A version for this Lambda function exists ( 1 )"
        in (stack["StackStatusReason"])
    )
    assert sandbox.invoke("push-sender:live")["version"] == "1"


@pytest.mark.usefixtures("code")
def test_missing_code_fails_the_stack(sandbox: ServiceSandbox) -> None:
    stack = sandbox.create(cdk_template(key="nowhere.zip"))

    assert "[Function]. Error occurred while GetObject" in stack["StackStatusReason"]


@pytest.mark.usefixtures("code")
def test_an_update_with_missing_code_keeps_the_old_code(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())

    stack = sandbox.update(cdk_template(version="Version2", key="nowhere.zip"))

    assert "[Function]. Error occurred while GetObject" in stack["StackStatusReason"]
    assert sandbox.invoke("push-sender")["answer"] == "first"


@pytest.mark.usefixtures("code")
def test_a_function_is_not_taken_over_from_another_stack(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())

    stack = sandbox.create(cdk_template(key="second.zip"), name="other")

    assert "[Function]. Function already exist: push-sender" in stack["StackStatusReason"]
    assert sandbox.invoke("push-sender:live")["answer"] == "first"


@pytest.mark.usefixtures("code")
def test_a_version_describes_its_own_code(sandbox: ServiceSandbox) -> None:
    functions = sandbox.client("lambda")
    resources = cdk_template()
    resources["Version1a2b"]["Properties"]["Description"] = "the first"
    resources["Version1a2b"]["DeletionPolicy"] = "Retain"
    sandbox.create(resources)
    sandbox.update(cdk_template(version="Version2", key="second.zip"))

    first, second = (
        functions.get_function(FunctionName=f"push-sender:{number}") for number in (1, 2)
    )

    assert first["Configuration"]["Description"] == "the first"
    assert first["Code"]["Location"].endswith("first.zip")
    assert second["Code"]["Location"].endswith("second.zip")


@pytest.mark.usefixtures("code")
def test_layers_tags_and_reserved_concurrency_follow_the_template(sandbox: ServiceSandbox) -> None:
    functions = sandbox.client("lambda")
    layer = functions.publish_layer_version(LayerName="l", Content={"ZipFile": b"PK"})
    arn = layer["LayerVersionArn"]

    def told() -> tuple[Any, ...]:
        function = functions.get_function(FunctionName="push-sender")
        layers = [layer["Arn"] for layer in function["Configuration"]["Layers"]]
        reserved = function.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        return layers, reserved, function["Tags"]

    sandbox.create(cdk_template(Layers=[arn], ReservedConcurrentExecutions=5))
    before = told()
    tagged = cdk_template(ReservedConcurrentExecutions=7)
    tagged["Function"]["Properties"]["Tags"] = [{"Key": "stage", "Value": "test"}]
    sandbox.update(tagged)

    assert before == ([arn], 5, {"team": "push"})
    assert told() == ([], 7, {"stage": "test"})


@pytest.mark.usefixtures("code")
def test_an_alias_and_its_retry_settings_are_deleted_with_the_template(
    sandbox: ServiceSandbox,
) -> None:
    functions = sandbox.client("lambda")
    sandbox.create(cdk_template())
    less = cdk_template()
    del less["AliasEventInvokeConfig"]
    sandbox.update(less)
    configs = functions.list_function_event_invoke_configs(FunctionName="push-sender")
    del less["Alias"]
    sandbox.update(less)

    assert configs["FunctionEventInvokeConfigs"] == []
    assert functions.list_aliases(FunctionName="push-sender")["Aliases"] == []


@pytest.mark.usefixtures("code")
def test_retry_limits_may_be_text(sandbox: ServiceSandbox) -> None:
    resources = cdk_template()
    resources["AliasEventInvokeConfig"]["Properties"]["MaximumRetryAttempts"] = "1"
    sandbox.create(resources)

    config = sandbox.client("lambda").get_function_event_invoke_config(
        FunctionName="push-sender", Qualifier="live"
    )

    assert config["MaximumRetryAttempts"] == 1


def test_inline_code_can_be_changed(sandbox: ServiceSandbox) -> None:
    def resources(answer: int) -> Template:
        code = {"ZipFile": f"def handler(event, context): return {{'answer': {answer}}}"}
        function = cdk_template()["Function"]["Properties"] | {"Code": code}
        function["Handler"] = "index.handler"
        full = cdk_template(version=f"V{answer}")
        return {**full, "Function": {**full["Function"], "Properties": function}}

    sandbox.create(resources(1))
    first = sandbox.invoke("push-sender:live")
    sandbox.update(resources(2))

    assert (first, sandbox.invoke("push-sender:live")) == ({"answer": 1}, {"answer": 2})


@pytest.mark.usefixtures("code")
def test_an_alias_can_split_traffic_between_versions(sandbox: ServiceSandbox) -> None:
    resources = cdk_template()
    resources["Alias"]["Properties"] |= {
        "Description": "half and half",
        "RoutingConfig": {
            "AdditionalVersionWeights": [{"FunctionVersion": "1", "FunctionWeight": 0.5}]
        },
    }

    sandbox.create(resources)

    alias = sandbox.client("lambda").get_alias(FunctionName="push-sender", Name="live")
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"1": 0.5}}
    assert alias["Description"] == "half and half"


@pytest.mark.usefixtures("code")
def test_deleting_a_stack_deletes_its_function(sandbox: ServiceSandbox) -> None:
    sandbox.create(cdk_template())
    role = sandbox.id_of("Role")

    sandbox.delete()

    assert sandbox.client("lambda").list_functions()["Functions"] == []
    assert "NoSuchEntity" in refusal(sandbox.client("iam").get_role, RoleName=role)
    assert sandbox.client("logs").describe_log_groups()["logGroups"] == []
    assert "does not exist" in refusal(sandbox.stack)


# Roles.


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

    def told() -> tuple[Any, ...]:
        name, iam = sandbox.id_of("Role"), sandbox.client("iam")
        role = iam.get_role(RoleName=name)["Role"]
        policies = {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }
        return role["AssumeRolePolicyDocument"], role["Description"], policies

    sandbox.create(resources("lambda", "inside", "sqs:SendMessage"))
    before, name = told(), sandbox.id_of("Role")
    sandbox.update(resources("events", "within", "sns:Publish"))

    first, second = statement("sqs:SendMessage"), statement("sns:Publish")
    assert before == (trust("lambda"), "for lambda", {"inside": first, "beside": first})
    assert told() == (trust("events"), "for events", {"within": second, "beside": second})
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

    def told() -> tuple[Any, ...]:
        role = iam.get_role(RoleName=name)["Role"]
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        return (
            sorted(policy["PolicyName"] for policy in attached),
            role["PermissionsBoundary"]["PermissionsBoundaryArn"],
            [tag["Key"] for tag in role["Tags"]],
        )

    sandbox.create(resources(first))
    name = sandbox.id_of("Role")
    before = told()
    iam.attach_role_policy(RoleName=name, PolicyArn=hands)
    iam.put_role_policy(RoleName=name, PolicyName="by hand", PolicyDocument=allow)
    sandbox.update(resources(second))

    assert before == (["first"], first, ["first"])
    assert told() == (["hands", "second"], second, ["second"])
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["by hand"]
    sandbox.delete()
    assert iam.list_roles()["Roles"] == []
    missing = sandbox.create(resources("arn:aws:iam::aws:policy/Nobodys"))
    assert (
        "[Role]. Policy arn:aws:iam::aws:policy/Nobodys does not exist"
        in (missing["StackStatusReason"])
    )


# Queues and topics.


def test_a_queue_has_its_attributes_and_a_url_that_works(sandbox: ServiceSandbox) -> None:
    def resources(retention: int, **more: Any) -> Template:
        return {
            "Dead": resource("SQS::Queue", RedriveAllowPolicy={"redrivePermission": "allowAll"}),
            "Queue": resource(
                "SQS::Queue",
                MessageRetentionPeriod=retention,
                SqsManagedSseEnabled=True,
                RedrivePolicy={
                    "deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]},
                    "maxReceiveCount": 3,
                },
                **more,
            ),
            "Policy": resource(
                "SQS::QueuePolicy",
                Queues=[{"Ref": "Queue"}],
                PolicyDocument={"Statement": [{"Sid": {"Fn::GetAtt": ["Queue", "QueueName"]}}]},
            ),
        }

    def attributes(logical_id: str) -> dict[str, str]:
        answer = sqs.get_queue_attributes(
            QueueUrl=sandbox.id_of(logical_id), AttributeNames=["All"]
        )
        return dict(answer["Attributes"])

    sqs = sandbox.client("sqs")
    stack = sandbox.create(
        resources(1209600, VisibilityTimeout=180), Outputs=output(Url={"Ref": "Queue"})
    )
    before = attributes("Queue")
    sqs.send_message(QueueUrl=outputs(stack)["Url"], MessageBody="kept over the update")
    sandbox.update(resources(60))

    after = attributes("Queue")
    assert (before["MessageRetentionPeriod"], before["VisibilityTimeout"]) == ("1209600", "180")
    assert (after["MessageRetentionPeriod"], after["VisibilityTimeout"]) == ("60", "30")
    name = after["QueueArn"].rpartition(":")[2]
    for told in (before, after):
        assert told["SqsManagedSseEnabled"] == "true"
        assert json.loads(told["RedrivePolicy"])["maxReceiveCount"] == 3
        assert json.loads(told["Policy"]) == {"Statement": [{"Sid": name}]}
        assert "RedriveAllowPolicy" not in told
    assert json.loads(attributes("Dead")["RedriveAllowPolicy"]) == {"redrivePermission": "allowAll"}
    (message,) = sqs.receive_message(QueueUrl=outputs(stack)["Url"])["Messages"]
    assert message["Body"] == "kept over the update"
    without = resources(60)
    del without["Policy"]
    sandbox.update(without)
    assert "Policy" not in attributes("Queue")


def test_an_existing_queue_is_not_taken_over(sandbox: ServiceSandbox) -> None:
    sandbox.client("sqs").create_queue(QueueName="taken")

    stack = sandbox.create({"Queue": resource("SQS::Queue", QueueName="taken")})

    assert "[Queue]. taken already exists" in stack["StackStatusReason"]
    assert sandbox.client("sqs").get_queue_url(QueueName="taken")


def test_a_published_message_reaches_a_subscribed_queue(sandbox: ServiceSandbox) -> None:
    def resources(display_name: str, raw: bool, wanted: str) -> Template:
        return {
            "Topic": topic(DisplayName=display_name),
            "Queue": resource("SQS::Queue"),
            "Subscription": resource(
                "SNS::Subscription",
                TopicArn={"Ref": "Topic"},
                Protocol="sqs",
                Endpoint={"Fn::GetAtt": ["Queue", "Arn"]},
                RawMessageDelivery=raw,
                FilterPolicy={"kind": [wanted]},
            ),
        }

    def arrived(stack: dict[str, Any]) -> list[str]:
        assert stack["StackStatus"].endswith("E_COMPLETE")
        for kind in ("first", "second"):
            sandbox.client("sns").publish(
                TopicArn=sandbox.id_of("Topic"),
                Message=f"of the {kind}",
                MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}},
            )
        answer = sandbox.client("sqs").receive_message(
            QueueUrl=sandbox.id_of("Queue"), MaxNumberOfMessages=10
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    assert arrived(sandbox.create(resources("before", True, "first"))) == ["of the first"]
    (wrapped,) = arrived(sandbox.update(resources("after", False, "second")))
    assert json.loads(wrapped)["Message"] == "of the second"
    assert sandbox.display_name() == "after"
    unfiltered = resources("after", True, "any")
    del unfiltered["Subscription"]["Properties"]["FilterPolicy"]
    assert arrived(sandbox.update(unfiltered)) == ["of the first", "of the second"]
    del unfiltered["Subscription"]
    assert arrived(sandbox.update(unfiltered)) == []


def test_a_subscription_can_filter_by_message_body(sandbox: ServiceSandbox) -> None:
    sandbox.create(
        {
            "Topic": topic(),
            "Queue": resource("SQS::Queue"),
            "Subscription": resource(
                "SNS::Subscription",
                TopicArn={"Ref": "Topic"},
                Protocol="sqs",
                Endpoint={"Fn::GetAtt": ["Queue", "Arn"]},
                # Nested as this, it is legal in that scope alone.
                FilterPolicy={"kind": {"of": ["push"]}},
                FilterPolicyScope="MessageBody",
            ),
        }
    )

    told = sandbox.client("sns").get_subscription_attributes(
        SubscriptionArn=sandbox.id_of("Subscription")
    )["Attributes"]
    assert json.loads(told["FilterPolicy"]) == {"kind": {"of": ["push"]}}
    assert told["FilterPolicyScope"] == "MessageBody"


def test_queues_and_topics_have_tags_and_may_be_fifo(sandbox: ServiceSandbox) -> None:
    def resources(tag: str) -> Template:
        tags = [{"Key": tag, "Value": "x"}]
        return {
            "Queue": resource(
                "SQS::Queue",
                QueueName="q.fifo",
                FifoQueue=True,
                ContentBasedDeduplication=True,
                Tags=tags,
            ),
            "Topic": resource(
                "SNS::Topic",
                TopicName="t.fifo",
                FifoTopic=True,
                ContentBasedDeduplication=True,
                Tags=tags,
                Subscription=[{"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Queue", "Arn"]}}],
            ),
        }

    def told() -> list[list[str]]:
        topic_tags = sns.list_tags_for_resource(ResourceArn=sandbox.id_of("Topic"))["Tags"]
        queue_tags = sqs.list_queue_tags(QueueUrl=sandbox.id_of("Queue"))["Tags"]
        return [[tag["Key"] for tag in topic_tags], list(queue_tags)]

    sns, sqs = sandbox.client("sns"), sandbox.client("sqs")
    sandbox.create(resources("before"))
    before = told()
    sandbox.update(resources("after"))

    assert (before, told()) == ([["before"], ["before"]], [["after"], ["after"]])
    attributes = sqs.get_queue_attributes(
        QueueUrl=sandbox.id_of("Queue"), AttributeNames=["FifoQueue"]
    )
    assert attributes["Attributes"] == {"FifoQueue": "true"}
    sns.publish(TopicArn=sandbox.id_of("Topic"), Message="in order", MessageGroupId="g")
    (message,) = sqs.receive_message(QueueUrl=sandbox.id_of("Queue"))["Messages"]
    assert json.loads(message["Body"])["Message"] == "in order"


def test_a_policy_moves_to_another_queue_or_topic(sandbox: ServiceSandbox) -> None:
    def resources(holder: str) -> Template:
        own = {"Statement": [{"Sid": "own"}]}
        return {
            **{f"Queue{name}": resource("SQS::Queue") for name in "AB"},
            **{f"Topic{name}": topic(name) for name in "AB"},
            "QueuePolicy": resource(
                "SQS::QueuePolicy", Queues=[{"Ref": f"Queue{holder}"}], PolicyDocument=own
            ),
            "TopicPolicy": resource(
                "SNS::TopicPolicy", Topics=[{"Ref": f"Topic{holder}"}], PolicyDocument=own
            ),
        }

    def holders() -> list[str]:
        sns, sqs = sandbox.client("sns"), sandbox.client("sqs")
        policies = {}
        for name in "AB":
            policies[f"Queue{name}"] = sqs.get_queue_attributes(
                QueueUrl=sandbox.id_of(f"Queue{name}"), AttributeNames=["All"]
            )
            policies[f"Topic{name}"] = sns.get_topic_attributes(
                TopicArn=sandbox.id_of(f"Topic{name}")
            )
        return [
            name
            for name, answer in policies.items()
            if '"own"' in answer["Attributes"].get("Policy", "")
        ]

    sandbox.create(resources("A"))
    before = holders()
    sandbox.update(resources("B"))

    assert (before, holders()) == (["QueueA", "TopicA"], ["QueueB", "TopicB"])


def test_a_topic_has_the_default_policy_before_and_after_its_own(sandbox: ServiceSandbox) -> None:
    def policy() -> Any:
        arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
        attributes = sandbox.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
        return json.loads(attributes["Policy"])

    own = {"Statement": [{"Sid": "own"}]}
    sandbox.create({"Topic": topic()})
    usual = policy()

    sandbox.update(
        {
            "Topic": topic(),
            "Policy": resource("SNS::TopicPolicy", Topics=[{"Ref": "Topic"}], PolicyDocument=own),
        }
    )
    during = policy()
    sandbox.update({"Topic": topic()})

    assert (during, policy()) == (own, usual)
    assert usual != own


# Monitoring.


def test_an_alarm_watches_a_metric_or_an_expression(
    sandbox: ServiceSandbox,
) -> None:
    def resources(threshold: float) -> Template:
        common = {
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": 3,
            "Threshold": threshold,
            "TreatMissingData": "notBreaching",
            "AlarmActions": [{"Ref": "Topic"}],
        }
        failed = {
            "Id": "failed",
            "MetricStat": {
                "Metric": {
                    "MetricName": "Pushes",
                    "Namespace": "push-sender",
                    "Dimensions": [{"Name": "outcome", "Value": "rejected"}],
                },
                "Period": 300,
                "Stat": "Sum",
            },
            "ReturnData": False,
        }
        share = {"Id": "share", "Expression": "100 * failed", "Label": "%", "ReturnData": True}
        return {
            "Topic": topic(),
            "Plain": resource(
                "CloudWatch::Alarm",
                AlarmName="plain",
                AlarmDescription="what to do",
                DatapointsToAlarm=2,
                Dimensions=[{"Name": "QueueName", "Value": "dead"}],
                MetricName="ApproximateNumberOfMessagesVisible",
                Namespace="AWS/SQS",
                Period=60,
                Statistic="Maximum",
                **common,
            ),
            "Reckoned": resource("CloudWatch::Alarm", Metrics=[share, failed], **common),
        }

    cloudwatch = sandbox.client("cloudwatch")
    stack = sandbox.create(resources(0), Outputs=output(Arn={"Fn::GetAtt": ["Plain", "Arn"]}))
    sandbox.update(resources(5))

    (plain,) = cloudwatch.describe_alarms(AlarmNames=["plain"])["MetricAlarms"]
    assert plain["AlarmArn"] == outputs(stack)["Arn"]
    assert (plain["MetricName"], plain["Statistic"], plain["Period"], plain["Threshold"]) == (
        *("ApproximateNumberOfMessagesVisible", "Maximum", 60),
        5,
    )
    assert (plain["AlarmDescription"], plain["DatapointsToAlarm"]) == ("what to do", 2)
    assert plain["Dimensions"] == [{"Name": "QueueName", "Value": "dead"}]
    assert plain["AlarmActions"] == [sandbox.id_of("Topic")]
    assert (plain["ActionsEnabled"], plain["TreatMissingData"]) == (True, "notBreaching")
    (reckoned,) = cloudwatch.describe_alarms(AlarmNames=[sandbox.id_of("Reckoned")])["MetricAlarms"]
    share, failed = reckoned["Metrics"]
    assert (share["Expression"], share["Label"], share["ReturnData"]) == ("100 * failed", "%", True)
    assert failed["ReturnData"] is False
    assert failed["MetricStat"]["Metric"] == {
        "MetricName": "Pushes",
        "Namespace": "push-sender",
        "Dimensions": [{"Name": "outcome", "Value": "rejected"}],
    }
    assert (failed["MetricStat"]["Period"], failed["MetricStat"]["Stat"]) == (300, "Sum")
    sandbox.delete()
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_an_alarm_can_have_no_actions_and_needs_one_kind_of_metric(sandbox: ServiceSandbox) -> None:
    alarm = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Threshold": 1}
    metric = {"MetricName": "m", "Namespace": "n", "Period": 60, "Statistic": "Sum"}
    silent = resource("CloudWatch::Alarm", AlarmName="a", ActionsEnabled="false", **alarm, **metric)
    sandbox.create({"Silent": silent})

    (told,) = sandbox.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert told["ActionsEnabled"] is False
    for what in ({}, {**metric, "Metrics": []}):
        faulty = {"Faulty": resource("CloudWatch::Alarm", **alarm, **what)}
        stack = sandbox.create(faulty, name=f"faulty-{len(what)}")
        assert "[Faulty]. An alarm has either MetricName or Metrics." in stack["StackStatusReason"]


def test_a_metric_returns_data_by_default_in_an_alarm(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(
        {
            "Alarm": resource(
                "CloudWatch::Alarm",
                AlarmName="a",
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                Metrics=[{"Id": "one", "Expression": "1"}],
            )
        }
    )

    (alarm,) = sandbox.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarm["Metrics"] == [{"Id": "one", "Expression": "1", "ReturnData": True}]


def test_a_dashboard_keeps_its_generated_name_when_its_body_changes(
    sandbox: ServiceSandbox,
) -> None:
    def board(title: str) -> Template:
        body = joined('{"title": "', title, " in ", ARN[1], '"}')
        return {"Board": resource("CloudWatch::Dashboard", DashboardBody=body)}

    sandbox.create(board("first"))
    name = sandbox.id_of("Board")
    sandbox.update(board("second"))

    cloudwatch = sandbox.client("cloudwatch")
    assert sandbox.id_of("Board") == name
    body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    assert json.loads(body) == {"title": f"second in {REGION}"}
    broken = sandbox.update({"Board": resource("CloudWatch::Dashboard", DashboardBody="{")})
    assert "[Board]. DashboardBody is not JSON" in broken["StackStatusReason"]
    body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    assert json.loads(body) == {"title": f"second in {REGION}"}
    sandbox.delete()
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []


def test_a_log_group_changes_its_retention(sandbox: ServiceSandbox) -> None:
    def retention() -> int | None:
        (group,) = sandbox.client("logs").describe_log_groups()["logGroups"]
        days: int | None = group.get("retentionInDays")
        return days

    arn = output(Arn={"Fn::GetAtt": ["Log", "Arn"]})
    tags = [{"Value": "push", "Key": "team"}]
    tagged = resource("Logs::LogGroup", RetentionInDays=7, Tags=tags)
    stack = sandbox.create({"Log": tagged}, Outputs=arn)
    kept = [retention()]
    group = outputs(stack)["Arn"].removesuffix(":*")
    told = sandbox.client("logs").list_tags_for_resource(resourceArn=group)
    assert told["tags"] == {"team": "push"}
    sandbox.update({"Log": resource("Logs::LogGroup", RetentionInDays=30)}, Outputs=arn)
    kept.append(retention())
    sandbox.update({"Log": resource("Logs::LogGroup")}, Outputs=arn)

    assert [*kept, retention()] == [7, 30, None]
    name = sandbox.id_of("Log")
    assert outputs(stack)["Arn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"


# Tables.


def table(**properties: Any) -> Template:
    usual = {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }
    return {"Table": resource("DynamoDB::Table", **{**usual, **properties})}


def test_a_template_creates_an_on_demand_table_with_its_settings(sandbox: ServiceSandbox) -> None:
    stack = sandbox.create(
        table(
            TimeToLiveSpecification={"AttributeName": "expiration", "Enabled": True},
            SSESpecification={"SSEEnabled": True},
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            Tags=[{"Key": "team", "Value": "push"}],
        ),
        Outputs=output(Name={"Ref": "Table"}, Arn={"Fn::GetAtt": ["Table", "Arn"]}),
    )

    told = outputs(stack)
    name = told["Name"]
    assert name.startswith("stack-Table-")
    assert told["Arn"] == f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    tables = sandbox.client("dynamodb")
    described = tables.describe_table(TableName=name)["Table"]
    assert described["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["SSEDescription"]["Status"] == "ENABLED"
    expiry = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiration"}
    assert recovery(sandbox, name) == "ENABLED"
    tags = tables.list_tags_of_resource(ResourceArn=told["Arn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "push"}]
    tables.put_item(TableName=name, Item={"id": {"S": "1"}})


def recovery(sandbox: ServiceSandbox, name: str) -> str:
    told = sandbox.client("dynamodb").describe_continuous_backups(TableName=name)
    description = told["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    return str(description["PointInTimeRecoveryStatus"])


def test_a_table_changes_its_settings_and_keeps_its_items(sandbox: ServiceSandbox) -> None:
    sandbox.create(
        table(
            TimeToLiveSpecification={"AttributeName": "expiration", "Enabled": True},
            SSESpecification={"SSEEnabled": True},
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": "true"},
        )
    )
    name = sandbox.id_of("Table")
    tables = sandbox.client("dynamodb")
    tables.put_item(TableName=name, Item={"id": {"S": "kept"}})

    throughput = {"ReadCapacityUnits": 5, "WriteCapacityUnits": "6"}
    bare = table(BillingMode="PROVISIONED", ProvisionedThroughput=throughput)
    stack = sandbox.update({**bare, "Other": topic()})

    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert sandbox.id_of("Table") == name
    assert tables.get_item(TableName=name, Key={"id": {"S": "kept"}})["Item"]
    described = tables.describe_table(TableName=name)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PROVISIONED"
    assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert "SSEDescription" not in described
    expiry = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert expiry["TimeToLiveStatus"] == "DISABLED"
    assert recovery(sandbox, name) == "DISABLED"


def test_a_table_with_another_key_is_replaced_and_deleted_with_its_stack(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(table())
    name = sandbox.id_of("Table")

    sandbox.update(
        table(
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        )
    )

    tables = sandbox.client("dynamodb")
    assert tables.list_tables()["TableNames"] == [sandbox.id_of("Table")]
    assert sandbox.id_of("Table") != name
    sandbox.delete()
    assert tables.list_tables()["TableNames"] == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"AttributeDefinitions": []}, "AttributeDefinitions lacks id"),
        ({"BillingMode": "PROVISIONED"}, "A table that is not on-demand needs Prov"),
    ],
)
def test_an_invalid_table_fails_the_stack(
    sandbox: ServiceSandbox, properties: dict[str, Any], reason: str
) -> None:
    stack = sandbox.create(table(**properties))

    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert f"[Table]. {reason}" in stack["StackStatusReason"]


def test_a_protected_table_prevents_the_deletion_of_its_stack(sandbox: ServiceSandbox) -> None:
    sandbox.create(table(DeletionProtectionEnabled=True))

    sandbox.delete()

    assert sandbox.stack()["StackStatus"] == "DELETE_FAILED"
    sandbox.client("dynamodb").describe_table(TableName=sandbox.id_of("Table"))
