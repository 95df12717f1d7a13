"""The properties that the stack must have, independent of the template's form.

Its fixtures leave the registry of devices and jobs out, which ``test_stack_devices.py`` and
``test_stack_jobs.py`` test, and schedules, which ``test_stack_schedules.py`` tests.
``snapshots/`` has the complete template, ``test_stack_http.py`` tests the HTTP API, and
``test_stack_checks.py`` runs cfn-lint and cdk-nag.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.synthesized_stack import (
    CERTIFICATES,
    FULL,
    LAMBDA_ITSELF,
    OTHER_PROJECT,
    PROJECT,
    VERSION,
    Synthesis,
    add_stack,
    new_app,
    read,
    stub_bundle,
    synthesize,
)

# isort: split
import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra.push_sender import PushSender
from infra.settings import MOST_EXTRA_PROJECTS, Settings

PINPOINT = "AWS::Pinpoint::"

# The key of the secret's JSON that each credential is; an empty one is the whole secret.
TOKEN_KEY = {
    "TokenKey": "token_key",
    "TokenKeyId": "key_id",
    "TeamId": "team_id",
    "BundleId": "bundle_id",
}
CERTIFICATE = {"Certificate": "certificate", "PrivateKey": "private_key"}
CHANNELS: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "fcm_secret": ("GCMChannel", "TOKEN", {"ServiceJson": ""}),
    "apns_secret": ("APNSChannel", "TOKEN", TOKEN_KEY),
    "apns_sandbox_secret": ("APNSSandboxChannel", "TOKEN", TOKEN_KEY),
    "apns_voip_secret": ("APNSVoipChannel", "TOKEN", TOKEN_KEY),
    "apns_voip_sandbox_secret": ("APNSVoipSandboxChannel", "TOKEN", TOKEN_KEY),
    "apns_certificate_secret": ("APNSChannel", "CERTIFICATE", CERTIFICATE),
    "apns_sandbox_certificate_secret": ("APNSSandboxChannel", "CERTIFICATE", CERTIFICATE),
    "apns_voip_certificate_secret": ("APNSVoipChannel", "CERTIFICATE", CERTIFICATE),
    "apns_voip_sandbox_certificate_secret": (
        "APNSVoipSandboxChannel",
        "CERTIFICATE",
        CERTIFICATE,
    ),
    "baidu_secret": ("BaiduChannel", None, {"ApiKey": "api_key", "SecretKey": "secret_key"}),
    "adm_secret": (
        "ADMChannel",
        None,
        {"ClientId": "client_id", "ClientSecret": "client_secret"},
    ),
}

# What holds data, or what is lost with its identity: a project's id, a channel's set-up.
HOLDS_DATA = (PINPOINT, "AWS::Logs::LogGroup", "AWS::SQS::Queue")
HOLDS_A_DAYS_MEMORY = ("AWS::DynamoDB::Table",)

WITHOUT_JOBS = {"jobs": "false"}

OUTPUTS = (
    "QueueUrl",
    "QueueArn",
    "DeadLetterQueueUrl",
    "DeadLetterQueueArn",
    "EventBusName",
    "TableName",
)

# What the function's code calls.
CALLED = {
    "dynamodb:BatchGetItem",
    "dynamodb:PutItem",
    "events:PutEvents",
    "mobiletargeting:SendMessages",
    "sqs:SendMessage",
}

# Tested in test_stack_schedules.py.
OF_SCHEDULES = {"iam", "scheduler"}


def of_the_core(made: Synthesis) -> Synthesis:
    """Leave out the registry and the schedules."""
    return made.without("Devices").without("Schedules")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Everything there is, with token keys."""
    settings = {**FULL, **WITHOUT_JOBS}
    return of_the_core(synthesize(tmp_path_factory.mktemp("full"), settings))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """APNs by certificate, and as little kept as can be."""
    settings = {**CERTIFICATES, **WITHOUT_JOBS, "retain_data": "false", "stage": "dev"}
    return of_the_core(synthesize(tmp_path_factory.mktemp("certificates"), settings))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """No setting at all."""
    return of_the_core(synthesize(tmp_path_factory.mktemp("bare"), WITHOUT_JOBS))


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Take a project that there is already, and one more."""
    settings = {
        "application_id": PROJECT,
        "extra_application_ids": f"{OTHER_PROJECT},{PROJECT}",
        "alarm_topic_arn": "arn:aws:sns:eu-west-1:123456789012:on-call",
        "architecture": "x86_64",
        "memory_mb": "1024",
        "log_level": "DEBUG",
        "log_retention_days": "731",
        "send_concurrency": "8",
        "worker_concurrency": "3",
        "reserved_concurrency": "7",
        "caller_account_ids": "111122223333,000011112222",
        "event_bus_name": "orders",
        **WITHOUT_JOBS,
    }
    return of_the_core(synthesize(tmp_path_factory.mktemp("existing"), settings))


def properties(of: Synthesis, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = of.only(type_)["Properties"]
    return found


def reference(secret: str, key: str, version: str = "") -> str:
    return f"{{{{resolve:secretsmanager:{secret}:SecretString:{key}::{version}}}}}"


def in_words(value: Any) -> Any:
    """Read what CloudFormation would join: ``{a}`` is a reference, ``{a.b}`` an attribute."""
    match value:
        case {"Ref": str(name)}:
            return f"{{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{{{name}.{attribute}}}"
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(map(in_words, parts))
    return value


def statements(of: Synthesis) -> Iterator[dict[str, Any]]:
    for policy in of.of_type("AWS::IAM::Policy").values():
        yield from policy["Properties"]["PolicyDocument"]["Statement"]


def queues(of: Synthesis) -> tuple[str, str]:
    """Find the queue of requests and its dead-letter queue."""
    found = of.of_type("AWS::SQS::Queue")
    (requests,) = (
        id_ for id_, made in found.items() if "RedrivePolicy" in made.get("Properties", {})
    )
    policy = found[requests]["Properties"]["RedrivePolicy"]
    dead_letters: str = policy["deadLetterTargetArn"]["Fn::GetAtt"][0]
    assert found.keys() >= {requests, dead_letters}
    return requests, dead_letters


def queue_policy(of: Synthesis, queue: str) -> list[dict[str, Any]]:
    """Give the statements of a queue's policy; there is one policy for each queue."""
    (policy,) = (
        made["Properties"]
        for made in of.of_type("AWS::SQS::QueuePolicy").values()
        if made["Properties"]["Queues"] == [{"Ref": queue}]
    )
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(of: Synthesis) -> dict[str, list[str]]:
    """Give every action that the role allows, with its resources."""
    return {
        action: [in_words(resource) for resource in as_list(statement["Resource"])]
        for statement in statements(of)
        for action in as_list(statement["Action"])
    }


def the_log(of: Synthesis) -> str:
    """Find the function's log; the other group is the access log, which the API's stage names."""
    access_log = properties(of, "AWS::ApiGatewayV2::Stage")["AccessLogSettings"]["DestinationArn"]
    (found,) = of.of_type("AWS::Logs::LogGroup").keys() - {access_log["Fn::GetAtt"][0]}
    return found


def retention(of: Synthesis) -> Any:
    return of.template["Resources"][the_log(of)]["Properties"]["RetentionInDays"]


def the_id(of: Synthesis, type_: str) -> str:
    (found,) = (id_ for id_, made in of.of_type(type_).items() if made["Type"] == type_)
    return found


# ------------------------------------------------------------------ the project and its channels


def test_the_tests_table_of_channels_has_all_settings() -> None:
    assert set(CHANNELS) == {name for name in Settings.model_fields if name.endswith("_secret")}


@pytest.mark.parametrize("setting", CHANNELS)
def test_a_channel_holds_only_references_to_its_secret(
    setting: str, full: Synthesis, certificates: Synthesis
) -> None:
    made = full if setting in FULL else certificates
    type_, method, credentials = CHANNELS[setting]
    expected: dict[str, Any] = {
        "ApplicationId": {"Ref": the_id(made, f"{PINPOINT}App")},
        "Enabled": True,
        **{name: reference(f"my-app/{setting}", key) for name, key in credentials.items()},
    }
    if method is not None:
        expected["DefaultAuthenticationMethod"] = method
    assert properties(made, PINPOINT + type_) == expected


def test_only_configured_channels_are_created(
    full: Synthesis, certificates: Synthesis, bare: Synthesis
) -> None:
    def made(of: Synthesis) -> set[str]:
        types = [found["Type"].removeprefix(PINPOINT) for found in of.of_type(PINPOINT).values()]
        assert len(types) == len(set(types))
        return set(types)

    assert made(bare) == {"App"}
    assert made(full) == {"App", *(CHANNELS[name][0] for name in FULL if name in CHANNELS)}
    assert made(certificates) == {"App", *(CHANNELS[name][0] for name in CERTIFICATES)}


@pytest.mark.parametrize(
    "secret",
    ["my-app/fcm", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:my-app/fcm-AbCdEf"],
)
def test_a_secret_may_be_an_arn_and_have_a_version(secret: str, tmp_path: Path) -> None:
    made = synthesize(tmp_path, {"fcm_secret": f"{secret}#{VERSION}"})
    channel = properties(made, f"{PINPOINT}GCMChannel")
    assert channel["ServiceJson"] == reference(secret, "", VERSION)


def test_secrets_appear_only_as_references_in_the_assembly(full: Synthesis) -> None:
    secrets = [value for name, value in FULL.items() if name in CHANNELS]
    named = re.compile("|".join(map(re.escape, secrets)))
    referred = re.compile(
        rf"\{{\{{resolve:secretsmanager:({named.pattern}):SecretString:[a-z_]*::\}}\}}"
    )
    written = dict(contents(full.folder))
    assert {"manifest.json", "push-sender.template.json", "stub.txt"} <= set(written)
    assert len(referred.findall(written["push-sender.template.json"])) == 1 + 4 * 4 + 2 + 2
    for name, content in written.items():
        assert len(named.findall(content)) == len(referred.findall(content)), name


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Read every file under a folder, and every file in its archives."""
    for path in folder.rglob("*"):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield name, archive.read(name).decode(errors="replace")
        elif path.is_file():
            yield path.name, path.read_text()


def test_the_end_of_support_is_acknowledged_only_on_the_projects_resources(
    full: Synthesis,
) -> None:
    acknowledged = {
        id_: found["Metadata"]["cfn-lint"]
        for id_, found in full.template["Resources"].items()
        if "W3696" in json.dumps(found.get("Metadata", {}))
    }
    assert set(acknowledged) == set(full.of_type(PINPOINT))
    for found in acknowledged.values():
        assert found["config"] == {"ignore_checks": ["W3696"]}
        assert "go on as AWS End User Messaging Push" in found["reason"]


def test_an_existing_project_leaves_nothing_of_pinpoint_in_the_template(
    existing: Synthesis,
) -> None:
    assert not existing.of_type(PINPOINT)
    assert PINPOINT not in json.dumps(existing.template)
    assert existing.template["Outputs"]["ApplicationId"]["Value"] == PROJECT


def test_role_and_function_have_the_same_projects(full: Synthesis, existing: Synthesis) -> None:
    arn = "arn:{AWS::Partition}:mobiletargeting:{AWS::Region}:{AWS::AccountId}:apps/%s/messages"
    app = f"{{{the_id(full, f'{PINPOINT}App')}}}"
    expected = [(full, [app, PROJECT, OTHER_PROJECT]), (existing, [PROJECT, OTHER_PROJECT])]
    for made, projects in expected:
        function = properties(made, "AWS::Lambda::Function")
        environment = function["Environment"]["Variables"]
        assert in_words(environment["APPLICATION_IDS"]) == ",".join(projects)
        assert sorted(allowed(made)["mobiletargeting:SendMessages"]) == sorted(
            arn % project for project in projects
        )


# ------------------------------------------------------------------ the function


def test_the_function_has_the_documented_defaults(full: Synthesis) -> None:
    function = properties(full, "AWS::Lambda::Function")
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == ["arm64"]
    assert function["Handler"] == "push_sender.handler.handler"
    assert function["Timeout"] == 29
    assert function["MemorySize"] == 512
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "LogGroup": {"Ref": the_log(full)},
    }
    assert function["Environment"]["Variables"].get("SEND_CONCURRENCY") is None
    assert retention(full) == 30


def test_the_function_follows_its_settings(existing: Synthesis) -> None:
    function = properties(existing, "AWS::Lambda::Function")
    assert function["Architectures"] == ["x86_64"]
    assert function["MemorySize"] == 1024
    assert function["LoggingConfig"]["ApplicationLogLevel"] == "DEBUG"
    assert function["Environment"]["Variables"]["SEND_CONCURRENCY"] == "8"
    assert function["ReservedConcurrentExecutions"] == 7
    assert retention(existing) == 731


def test_the_output_for_the_end_of_a_stop_is_the_setting(
    existing: Synthesis, bare: Synthesis
) -> None:
    assert existing.template["Outputs"]["ReservedConcurrency"]["Value"] == "7"
    assert "ReservedConcurrency" not in bare.template["Outputs"]
    assert "ReservedConcurrentExecutions" not in properties(bare, "AWS::Lambda::Function")


def test_other_accounts_may_invoke_the_alias_and_nothing_else(
    existing: Synthesis, bare: Synthesis
) -> None:
    def of_accounts(made: Synthesis) -> list[dict[str, Any]]:
        permissions = (
            each["Properties"] for each in made.of_type("AWS::Lambda::Permission").values()
        )
        return [each for each in permissions if not each["Principal"].endswith(".amazonaws.com")]

    assert of_accounts(bare) == []
    assert of_accounts(existing) == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": the_id(existing, "AWS::Lambda::Alias")},
            "Principal": account,
        }
        for account in ("111122223333", "000011112222")
    ]


def test_only_the_function_that_sends_has_a_reserved_concurrency(tmp_path: Path) -> None:
    made = synthesize(tmp_path, {"reserved_concurrency": "10"})
    functions = made.of_type("AWS::Lambda::Function").values()
    reserved = {
        each["Properties"]["FunctionName"]: each["Properties"].get("ReservedConcurrentExecutions")
        for each in functions
    }
    assert reserved == {"push-sender": 10, "push-sender-devices": None}


def test_the_alias_points_to_the_version_of_this_deployment(full: Synthesis) -> None:
    alias = properties(full, "AWS::Lambda::Alias")
    assert alias["Name"] == "live"
    version = the_id(full, "AWS::Lambda::Version")
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}


def test_lambda_never_retries_an_asynchronous_event(full: Synthesis) -> None:
    configured = [
        found["Properties"] for found in full.of_type("AWS::Lambda::EventInvokeConfig").values()
    ]
    assert [found["MaximumRetryAttempts"] for found in configured] == [0, 0]
    assert not any("DestinationConfig" in found for found in configured)
    alias = {"Fn::Split": [":", {"Ref": the_id(full, "AWS::Lambda::Alias")}]}
    qualifiers = [found["Qualifier"] for found in configured]
    assert "$LATEST" in qualifiers
    assert {"Fn::Select": [7, alias]} in qualifiers


def test_failed_events_go_to_an_encrypted_queue(full: Synthesis) -> None:
    _, dead_letters = queues(full)
    function = properties(full, "AWS::Lambda::Function")
    assert function["DeadLetterConfig"] == {"TargetArn": {"Fn::GetAtt": [dead_letters, "Arn"]}}
    assert full.template["Resources"][dead_letters]["Properties"] == {
        "MessageRetentionPeriod": 14 * 24 * 3600,
        "SqsManagedSseEnabled": True,
    }


def test_data_is_retained_by_default(full: Synthesis, certificates: Synthesis) -> None:
    # What a failed first deployment had begun holds nothing yet, and goes.
    kept, removed = ("RetainExceptOnCreate", "Retain"), ("Delete", "Delete")
    for made, holding in ((full, kept), (certificates, removed)):
        for id_, found in made.template["Resources"].items():
            type_ = found["Type"]
            expected: tuple[str | None, str | None] = (None, None)
            if type_.startswith(HOLDS_DATA) and type_ != "AWS::SQS::QueuePolicy":
                expected = holding
            elif type_ in HOLDS_A_DAYS_MEMORY:
                expected = removed
            elif type_ == "AWS::Lambda::Version":  # to roll back to
                expected = ("Retain", "Retain")
            policies = (found.get("DeletionPolicy"), found.get("UpdateReplacePolicy"))
            assert policies == expected, id_


# ------------------------------------------------------------------ the entry points


def test_the_functions_environment_names_its_table_queues_and_bus(
    full: Synthesis, existing: Synthesis, certificates: Synthesis
) -> None:
    bus = {
        "push-sender": "default",
        "push-sender-dev": f"{{{the_id(certificates, 'AWS::Events::EventBus')}}}",
        "existing": "orders",
    }
    for name, made in (
        ("push-sender", full),
        ("push-sender-dev", certificates),
        ("existing", existing),
    ):
        requests, dead_letters = queues(made)
        environment = properties(made, "AWS::Lambda::Function")["Environment"]["Variables"]
        assert {key: in_words(value) for key, value in environment.items()}.items() >= {
            "IDEMPOTENCY_TABLE": f"{{{the_id(made, 'AWS::DynamoDB::Table')}}}",
            "QUEUE_URL": f"{{{requests}}}",
            "DEAD_LETTER_QUEUE_URL": f"{{{dead_letters}}}",
            "EVENT_BUS_NAME": bus[name],
            "MESSAGE_KEY": "{AWS::StackId}",
        }.items()
        outputs = made.template["Outputs"]
        assert {key: in_words(outputs[key]["Value"]) for key in OUTPUTS} == {
            "QueueUrl": f"{{{requests}}}",
            "QueueArn": f"{{{requests}.Arn}}",
            "DeadLetterQueueUrl": f"{{{dead_letters}}}",
            "DeadLetterQueueArn": f"{{{dead_letters}.Arn}}",
            "EventBusName": bus[name],
            "TableName": f"{{{the_id(made, 'AWS::DynamoDB::Table')}}}",
        }


def test_the_most_projects_fit_into_the_functions_environment(tmp_path: Path) -> None:
    ids = [f"{number:032x}" for number in range(MOST_EXTRA_PROJECTS + 1)]
    settings = {
        "application_id": ids[0],
        "extra_application_ids": ",".join(ids[1:]),
        "event_bus_name": "b" * 255,
        "send_concurrency": "256",
    }
    made = synthesize(tmp_path, settings).without("Devices")
    environment = properties(made, "AWS::Lambda::Function")["Environment"]["Variables"]
    region, account = "ap-southeast-1", "123456789012"
    queue_url = f"https://sqs.{region}.amazonaws.com/{account}/{'q' * 80}"
    stack_id = f"arn:aws:cloudformation:{region}:{account}:stack/{'s' * 128}/{'u' * 36}"
    longest = {
        "DEAD_LETTER_QUEUE_URL": queue_url,
        "DEVICES_TABLE": "t" * 255,
        "IDEMPOTENCY_TABLE": "t" * 255,
        "MESSAGE_KEY": stack_id,
        "QUEUE_URL": queue_url,
        "SCHEDULE_GROUP": "push-sender-" + "s" * 20,
        "SCHEDULE_ROLE_ARN": f"arn:aws-us-gov:iam::{account}:role/{'r' * 64}",
    }

    made_by_cloudformation = {
        key for key, value in environment.items() if not isinstance(value, str)
    }
    assert made_by_cloudformation | {"SCHEDULE_GROUP"} == set(longest)
    assert environment["APPLICATION_IDS"].count(",") == MOST_EXTRA_PROJECTS
    assert sum(len(key) + len(value) for key, value in {**environment, **longest}.items()) < 4_096


def test_the_table_is_on_demand_and_its_items_expire(full: Synthesis) -> None:
    # No key of KMS, no stream, no index: nothing that costs while idle.
    assert properties(full, "AWS::DynamoDB::Table") == {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "TimeToLiveSpecification": {"AttributeName": "expiration", "Enabled": True},
        "DeletionProtectionEnabled": False,
    }


def test_both_tables_are_protected_if_the_settings_say_so(tmp_path: Path) -> None:
    tables = synthesize(tmp_path, {"deletion_protection": "true"}).of_type("AWS::DynamoDB::Table")
    protected = [each["Properties"]["DeletionProtectionEnabled"] for each in tables.values()]
    assert protected == [True, True]


def test_the_queues_visibility_timeout_is_six_timeouts_and_failures_are_dead_lettered(
    full: Synthesis,
) -> None:
    requests, dead_letters = queues(full)
    function = properties(full, "AWS::Lambda::Function")
    assert full.template["Resources"][requests]["Properties"] == {
        "SqsManagedSseEnabled": True,
        "VisibilityTimeout": 6 * function["Timeout"],
        "MessageRetentionPeriod": 14 * 24 * 3600,
        "RedrivePolicy": {
            "deadLetterTargetArn": {"Fn::GetAtt": [dead_letters, "Arn"]},
            "maxReceiveCount": 5,
        },
    }


def test_the_alias_consumes_the_queue_and_reports_failed_messages(
    full: Synthesis, existing: Synthesis
) -> None:
    for made, copies in ((full, 10), (existing, 3)):
        requests, _ = queues(made)
        mapping = properties(made, "AWS::Lambda::EventSourceMapping")
        alias = {"Ref": the_id(made, "AWS::Lambda::Alias")}
        name = {"Fn::Select": [6, {"Fn::Split": [":", alias]}]}
        assert mapping == {
            "EventSourceArn": {"Fn::GetAtt": [requests, "Arn"]},
            "FunctionName": {"Fn::Join": ["", [name, ":live"]]},
            "BatchSize": 2,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": copies},
        }


def test_the_mapping_is_created_after_the_roles_permission(full: Synthesis) -> None:
    # Lambda tries it at once, and would fail the deployment.
    mapping = full.only("AWS::Lambda::EventSourceMapping")
    assert the_id(full, "AWS::IAM::Policy") in mapping["DependsOn"]


def test_the_rule_matches_requests_of_all_sources_but_the_function(
    full: Synthesis, existing: Synthesis, certificates: Synthesis
) -> None:
    own = {"Ref": the_id(certificates, "AWS::Events::EventBus")}
    for made, bus in ((full, "default"), (existing, "orders"), (certificates, own)):
        requests, dead_letters = queues(made)
        rule = properties(made, "AWS::Events::Rule")
        assert rule["EventBusName"] == bus
        assert rule["EventPattern"] == {
            "detail-type": ["Push Notification Requested"],
            "source": [{"anything-but": ["push-sender"]}],
        }
        (target,) = rule["Targets"]
        # No InputPath, no transformer: the queue has the event as it was, with id and time.
        assert target == {
            "Id": "Requests",
            "Arn": {"Fn::GetAtt": [requests, "Arn"]},
            "DeadLetterConfig": {"Arn": {"Fn::GetAtt": [dead_letters, "Arn"]}},
            "SqsParameters": {"MessageGroupId": "$.source"},
        }
        assert rule.get("State", "ENABLED") == "ENABLED"


def test_both_queues_need_tls_and_allow_only_the_rule_among_services(full: Synthesis) -> None:
    rule = the_id(full, "AWS::Events::Rule")
    for queue in queues(full):
        arn = {"Fn::GetAtt": [queue, "Arn"]}
        statements = queue_policy(full, queue)
        assert statements == [
            {
                "Effect": "Deny",
                "Principal": {"AWS": "*"},
                "Action": "sqs:*",
                "Resource": arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "EventsOfTheRule",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}},
            },
        ]


def test_a_stage_has_its_own_bus_so_that_two_stacks_never_send_the_same_push(
    full: Synthesis, certificates: Synthesis, existing: Synthesis, tmp_path: Path
) -> None:
    assert properties(certificates, "AWS::Events::EventBus") == {"Name": "push-sender-dev"}
    shared = synthesize(tmp_path, {**WITHOUT_JOBS, "stage": "prod", "event_bus_name": "default"})
    shared = shared.without("Devices")
    for made in (full, existing, shared):
        assert not made.of_type("AWS::Events::EventBus")
    assert properties(shared, "AWS::Events::Rule")["EventBusName"] == "default"


# ------------------------------------------------------------------ the role


def test_the_role_allows_the_calls_of_the_code_and_of_lambda_itself(
    full: Synthesis,
) -> None:
    actions = {action for action in allowed(full) if action.split(":")[0] not in OF_SCHEDULES}
    assert actions == {*CALLED, *LAMBDA_ITSELF}
    assert all(statement["Effect"] == "Allow" for statement in statements(full))


def test_the_roles_statements_name_exact_resources_but_for_tracing(full: Synthesis) -> None:
    requests, dead_letters = queues(full)
    log, table = the_log(full), the_id(full, "AWS::DynamoDB::Table")
    actions = allowed(full)
    assert {action for action, resources in actions.items() if resources == ["*"]} == {
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
    for action, resources in actions.items():
        assert (
            resources == ["*"]
            or "*" not in "".join(resources)
            or action.split(":")[0] in OF_SCHEDULES
        )
        match action.split(":"):
            case ["dynamodb", _]:
                assert resources == [f"{{{table}.Arn}}"]
            case ["sqs", "SendMessage"]:
                assert sorted(resources) == sorted(
                    [f"{{{dead_letters}.Arn}}", f"{{{requests}.Arn}}"]
                )
            case ["sqs", _]:
                assert resources == [f"{{{requests}.Arn}}"]
            case ["logs", _]:
                assert resources == [f"{{{log}.Arn}}"]
    assert not [action for action in actions if "*" in action]


def test_the_role_may_put_events_on_the_one_bus(
    full: Synthesis, existing: Synthesis, certificates: Synthesis
) -> None:
    arn = "arn:{AWS::Partition}:events:{AWS::Region}:{AWS::AccountId}:event-bus/%s"
    own = f"{{{the_id(certificates, 'AWS::Events::EventBus')}.Arn}}"
    expected = [(full, arn % "default"), (existing, arn % "orders"), (certificates, own)]
    for made, bus in expected:
        assert allowed(made)["events:PutEvents"] == [bus]


def test_only_lambda_can_assume_the_role_and_it_has_no_managed_policy(full: Synthesis) -> None:
    role = properties(full, "AWS::IAM::Role")
    assert role.keys() == {"AssumeRolePolicyDocument", "Description"}
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
    assert "AWS::IAM::ManagedPolicy" not in json.dumps(full.template)
    (policy,) = full.of_type("AWS::IAM::Policy").values()
    assert policy["Properties"]["Roles"] == [{"Ref": the_id(full, "AWS::IAM::Role")}]


# ------------------------------------------------------------------ the stack as a whole


def test_the_template_has_no_cdk_metadata(full: Synthesis) -> None:
    assert not full.of_type("AWS::CDK::Metadata")


# Names that are no resource's own: of a part of a function, role or API, of what an alarm
# watches, of the bus that a rule is on.
WITHIN = {
    ("AWS::Lambda::Alias", "Name"),
    ("AWS::IAM::Policy", "PolicyName"),
    ("AWS::CloudWatch::Alarm", "MetricName"),
    ("AWS::Events::Rule", "EventBusName"),
    ("AWS::ApiGatewayV2::Stage", "StageName"),
    ("AWS::ApiGatewayV2::Authorizer", "Name"),
}


def names(of: Synthesis) -> set[str]:
    """Find the names that are fixed, and so could collide with another stack's."""
    return {
        value
        for found in of.template["Resources"].values()
        for key, value in found["Properties"].items()
        if key.endswith("Name") and isinstance(value, str) and (found["Type"], key) not in WITHIN
    }


def test_two_stages_in_one_app_share_no_names(tmp_path: Path) -> None:
    app = new_app(tmp_path)
    bundle = stub_bundle(tmp_path)
    for stage in ("blue", "green"):
        add_stack(app, bundle, {**FULL, "stage": stage})
    app.synth()
    blue, green = (
        names(read(tmp_path / "cdk.out", f"push-sender-{stage}")) for stage in ("blue", "green")
    )
    assert len(blue) >= 2
    assert all("blue" in name for name in blue)
    assert {name.replace("blue", "green") for name in blue} == green


def test_the_stage_is_part_of_every_name(certificates: Synthesis, bare: Synthesis) -> None:
    assert {name.replace("push-sender", "push-sender-dev") for name in names(bare)} == names(
        certificates
    )
    function = properties(certificates, "AWS::Lambda::Function")
    assert function["FunctionName"] == "push-sender-dev"
    assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "push-sender-dev"


def test_another_stack_can_use_the_construct_and_only_invoke_the_alias(
    tmp_path: Path,
) -> None:
    # Given the stack of another team, in an app with none of our settings and flags
    app = cdk.App(
        analytics_reporting=False,
        builtin_cloud_formation_validation=False,
        outdir=str(tmp_path / "cdk.out"),
    )
    stack = cdk.Stack(app, "Orders")
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    # When it has its own push senders, and lets its service send
    bundle = stub_bundle(tmp_path)
    settings = Settings.from_context({"fcm_secret": "orders/fcm", "stage": "orders"})
    sender = PushSender(stack, "PushSender", settings=settings, bundle=bundle)
    other = Settings.from_context({"stage": "returns"})
    PushSender(stack, "Returns", settings=other, bundle=bundle)
    sender.grant_invoke(caller)
    app.synth()
    # Then all stands in that stack, and the service may invoke the one alias
    made = read(tmp_path / "cdk.out", "Orders").without("Devices")
    assert {found["Properties"]["Name"] for found in made.of_type(f"{PINPOINT}App").values()} == {
        "push-sender-orders",
        "push-sender-returns",
    }
    (granted,) = (
        found["Properties"]["PolicyDocument"]["Statement"]
        for id_, found in made.of_type("AWS::IAM::Policy").items()
        if id_.startswith("Caller")
    )
    (alias,) = (
        id_
        for id_, found in made.of_type("AWS::Lambda::Alias").items()
        if id_.startswith("PushSender") and found["Properties"]["Name"] == "live"
    )
    assert granted == [
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": {"Ref": alias}}
    ]


def test_each_sender_in_a_stack_has_its_own_outputs(tmp_path: Path, full: Synthesis) -> None:
    app = new_app(tmp_path)
    stack = cdk.Stack(app, "Orders")
    cdk.CfnOutput(stack, "FunctionName", value="of the stack's owner")
    for id_ in ("Orders", "Returns"):
        settings = Settings.from_context({**FULL, **WITHOUT_JOBS, "stage": id_.lower()})
        PushSender(stack, id_, settings=settings, bundle=stub_bundle(tmp_path)).add_outputs()
    app.synth()

    keys = read(tmp_path / "cdk.out", "Orders").template["Outputs"].keys()

    found = [re.fullmatch("(Orders|Returns)([A-Za-z]+)[0-9A-F]{8}", key) for key in keys]
    names = sorted(match.groups() for match in found if match)
    ours = full.template["Outputs"].keys()
    assert names == sorted((id_, name) for id_ in ("Orders", "Returns") for name in ours)
    assert len(keys) == len(names) + 1


def test_access_to_queue_or_bus_can_be_granted_alone(
    tmp_path: Path,
) -> None:
    app = new_app(tmp_path)
    stack = cdk.Stack(app, "Orders")
    settings = Settings.from_context({"stage": "orders"})
    sender = PushSender(stack, "PushSender", settings=settings, bundle=stub_bundle(tmp_path))
    for id_, grant in (("Queue", sender.grant_send_messages), ("Bus", sender.grant_put_events)):
        grant(iam.Role(stack, id_, assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
    app.synth()

    made = read(tmp_path / "cdk.out", "Orders")
    requests, _ = queues(made)

    def granted(role: str) -> Any:
        (policy,) = (
            found["Properties"]["PolicyDocument"]["Statement"]
            for id_, found in made.of_type("AWS::IAM::Policy").items()
            if id_.startswith(role)
        )
        return [(one["Action"], in_words(one["Resource"]), one.get("Condition")) for one in policy]

    assert granted("Queue") == [("sqs:SendMessage", f"{{{requests}.Arn}}", None)]
    # No one can put events with the function's source or another detail type on the bus.
    conditions = {
        "StringEquals": {"events:detail-type": "Push Notification Requested"},
        "ForAllValues:StringNotEquals": {"events:source": "push-sender"},
        "Null": {"events:source": "false"},
    }
    bus = f"{{{the_id(made, 'AWS::Events::EventBus')}.Arn}}"
    assert granted("Bus") == [("events:PutEvents", bus, conditions)]
