"""Resource types of the sandbox: functions, versions and aliases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.service_sandbox import ServiceSandbox, refusal
from tests.support.templates import (
    ACCOUNT,
    REGION,
    Template,
    cdk_template,
    joined,
    output,
    outputs,
    resource,
)

CANARY = "canary-of-a-secret"


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

    result = outputs(stack)
    project = sandbox.id_of("App")
    assert sandbox.invoke(result["Name"]) == {
        "answer": "first",
        "variable": project,
        "version": "1",
    }
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:push-sender"
    assert (result["Alias"], result["Version"]) == (f"{function}:live", f"{function}:1")
    alias = sandbox.client("lambda").get_alias(FunctionName="push-sender", Name="live")
    assert (alias["AliasArn"], alias["FunctionVersion"]) == (result["Alias"], "1")
    assert result["Group"].startswith("stack-Log-")
    logs = sandbox.client("logs")
    events = logs.filter_log_events(logGroupName=result["Group"])["events"]
    lines = [json.loads(event["message"]) for event in events]
    assert [line["message"] for line in lines if "message" in line] == ["said at warning"]
    assert lines[-1]["type"] == "platform.report"
    groups = logs.describe_log_groups()["logGroups"]
    assert [(group["logGroupName"], group["retentionInDays"]) for group in groups] == [
        (result["Group"], 30)
    ]


@pytest.mark.usefixtures("code")
def test_a_function_and_its_versions_keep_all_settings_of_the_template(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(cdk_template())

    functions = sandbox.client("lambda")
    for qualifier in ("$LATEST", "1", "live"):
        result = functions.get_function_configuration(
            FunctionName="push-sender", Qualifier=qualifier
        )
        assert result["Architectures"] == ["arm64"]
        assert result["DeadLetterConfig"]["TargetArn"].startswith(f"arn:aws:sqs:{REGION}:")
        assert result["EphemeralStorage"] == {"Size": 1024}
        assert result["LoggingConfig"] == {
            "ApplicationLogLevel": "WARN",
            "LogFormat": "JSON",
            "LogGroup": sandbox.id_of("Log"),
        }
        assert result["TracingConfig"] == {"Mode": "Active"}
        assert (result["MemorySize"], result["Timeout"]) == (256, 29)
        role = sandbox.client("iam").get_role(RoleName=sandbox.id_of("Role"))["Role"]
        assert result["Role"] == role["Arn"]
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

    result = sandbox.client("lambda").get_function_configuration(FunctionName="push-sender:live")
    assert "DeadLetterConfig" not in result
    assert result["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/push-sender"}
    assert (result["MemorySize"], result["Architectures"]) == (128, ["x86_64"])


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
def test_the_policy_of_an_alias_follows_the_permissions_for_accounts(
    sandbox: ServiceSandbox,
) -> None:
    def permission(account: str) -> Template:
        return resource(
            "Lambda::Permission",
            Action="lambda:InvokeFunction",
            FunctionName={"Ref": "Alias"},
            Principal=account,
        )

    def allowed() -> list[tuple[str, str]]:
        policy = sandbox.client("lambda").get_policy(FunctionName="push-sender")["Policy"]
        statements = json.loads(policy)["Statement"]
        return [(each["Principal"], each["Resource"]) for each in statements]

    alias = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:push-sender:live"
    one, other = "111122223333", "000011112222"
    sandbox.create({**cdk_template(), "One": permission(one), "Other": permission(other)})
    before = allowed()
    sandbox.update({**cdk_template(), "Other": permission(other)})

    assert before == [(one, alias), (other, alias)]
    assert allowed() == [(other, alias)]


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

    def result() -> tuple[Any, ...]:
        function = functions.get_function(FunctionName="push-sender")
        layers = [layer["Arn"] for layer in function["Configuration"]["Layers"]]
        reserved = function.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        return layers, reserved, function["Tags"]

    sandbox.create(cdk_template(Layers=[arn], ReservedConcurrentExecutions=5))
    before = result()
    tagged = cdk_template(ReservedConcurrentExecutions=7)
    tagged["Function"]["Properties"]["Tags"] = [{"Key": "stage", "Value": "test"}]
    sandbox.update(tagged)

    assert before == ([arn], 5, {"team": "push"})
    assert result() == ([], 7, {"stage": "test"})


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
