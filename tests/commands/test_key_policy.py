"""The statements for the customer's key, and the comparison of a key's policy with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from operations.__main__ import main
from operations.account import Account
from operations.deployed import DeployedStack
from operations.key_policy.coverage import Verdict, judge
from operations.key_policy.statements import Place, existing, needed
from operations.smoke.checks import CHECKS
from operations.smoke.context import CheckContext, CheckResult
from operations.smoke.key_check import check_key
from operations.smoke.nonexistent_devices import nonexistent_devices
from operations.smoke.page import Page
from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import ACCOUNT_ID, REGION, client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import changed_policy, denials, invoke

Statement = dict[str, Any]

ACCOUNT = "123456789012"
KEY_ID = "12345678-90ab-cdef-1234-567890abcdef"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{KEY_ID}"
OURS = Place("aws", "eu-west-1", ACCOUNT, "push-sender", "push-sender")
NEEDED = {each.sid.removeprefix("PushSender"): each for each in needed(OURS)}
PRINTED = {name: each.document() for name, each in NEEDED.items()}

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
LOGS_ARN = "kms:EncryptionContext:aws:logs:arn"
ALLOWED, UNCLEAR, MISSING = Verdict.ALLOWED, Verdict.UNCLEAR, Verdict.MISSING


def verdict(name: str, *statements: Any) -> Verdict:
    return judge(NEEDED[name], json.dumps({"Statement": statements}), KEY).verdict


def of(name: str, **changes: Any) -> Statement:
    """Return one of our statements with other elements; None takes one away."""
    changed = {**PRINTED[name], **changes}
    return {element: value for element, value in changed.items() if value is not None}


def default(**changes: Any) -> Statement:
    """Return the statement of a new key's policy, which lets the account's policies decide."""
    own = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    return {**own, **changes}


# ------------------------------------------------------------------ what is printed


def test_the_printed_statements_are_all_that_is_needed() -> None:
    for name in NEEDED:
        assert verdict(name, *PRINTED.values()) is ALLOWED
        others = [each for other, each in PRINTED.items() if other != name]
        assert verdict(name, *others) is MISSING, name


def test_each_statement_has_a_name_a_condition_and_exact_actions() -> None:
    sids = [each["Sid"] for each in PRINTED.values()]
    assert len(set(sids)) == len(sids)
    for name, each in PRINTED.items():
        assert each["Condition"], name
        assert not [action for action in each["Action"] if "*" in action]
        assert ACCOUNT in json.dumps(each["Condition"])
        assert NEEDED[name].without


@pytest.mark.parametrize(
    ("place", "name", "contains"),
    [
        (OURS, "Logs", ["logs.eu-west-1.amazonaws.com", f"{ACCOUNT}:log-group:push-sender-*"]),
        (OURS, "Events", [f"arn:aws:sqs:eu-west-1:{ACCOUNT}:push-sender-*"]),
        (OURS, "Alarms", [f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:push-sender-*"]),
        (OURS, "Roles", [f"arn:aws:iam::{ACCOUNT}:role/push-sender-*", "sqs.eu-west-1."]),
        (
            OURS._replace(partition="aws-cn", region="cn-north-1"),
            "Logs",
            ["logs.cn-north-1.amazonaws.com.cn", "arn:aws-cn:logs:cn-north-1"],
        ),
        # In one's own stack, one queue has the name of the setting stage.
        (
            OURS._replace(stack="orders", name="push-sender-dev"),
            "Events",
            [":orders-*", ":push-sender-dev-devices-dead-letters"],
        ),
        (OURS._replace(stack="orders", name="push-sender-dev"), "Roles", ["role/orders-*"]),
        (OURS._replace(stack="orders", name="push-sender-dev"), "Alarms", [":push-sender-dev-*"]),
        # CloudFormation shortens the name of a stack in the name of a role.
        (OURS._replace(stack="x" * 40), "Roles", [f"role/{'x' * 24}*"]),
    ],
)
def test_a_statement_names_the_stacks_own_resources(
    place: Place, name: str, contains: list[str]
) -> None:
    (found,) = (each for each in needed(place) if each.sid.endswith(name))

    text = json.dumps(found.document())
    for part in contains:
        assert f"{part}" in text


PLACES = [
    *(OURS._replace(stack=name, name=name) for name in ("push-sender", "push-sender-dev")),
    *(OURS._replace(stack=name, name=name) for name in ("push-senderDev", "Push-Sender-dev")),
    *(OURS._replace(stack=name, name=name) for name in ("push-sender--dev", "push-sender-dev-")),
    *(OURS._replace(stack=name, name=name) for name in ("push-sender-1", "push-sender1")),
    *(OURS._replace(stack=name, name=name) for name in ("push-sender-logs", "push-sender-a-b")),
    OURS._replace(stack="push-sender", name="push-sender-dev"),
    OURS._replace(stack="push-sender", name="push-sender", is_key_foreign=True),
    OURS._replace(account="210987654321", is_key_foreign=True),
]


def test_no_two_stacks_that_share_a_key_have_a_statement_of_the_same_name() -> None:
    sids = [each.sid for place in PLACES for each in needed(place)]

    assert len({*sids}) == len(sids) == 5 * len(PLACES)
    assert all(re.fullmatch("[A-Za-z0-9]+", each) for each in sids)
    assert sids[:5] == [f"PushSender{name}" for name in NEEDED]
    assert sids[5:10] == [f"PushSenderDev{name}" for name in NEEDED]


def test_a_second_stage_keeps_the_statements_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"Statement": [default(), *PRINTED.values()]}))
    command = ["key-policy", "--key", KEY, "--stack", "push-sender-dev", "--policy", str(path)]

    for _ in range(2):
        assert main(command) == 0
        path.write_text(capsys.readouterr().out)

    dev = OURS._replace(stack="push-sender-dev", name="push-sender-dev")
    for each in (*NEEDED.values(), *needed(dev)):
        assert judge(each, path.read_text(), KEY).verdict is ALLOWED
    assert len(json.loads(path.read_text())["Statement"]) == 11


# ------------------------------------------------------------------ what a policy may say

CASES: dict[str, tuple[str, list[Any], Verdict]] = {
    "a new key's policy, for roles": ("Roles", [default()], ALLOWED),
    "a new key's policy, for the deployer": ("Deployment", [default()], ALLOWED),
    "a new key's policy, for the logs": ("Logs", [default()], MISSING),
    "a new key's policy, for events": ("Events", [default()], MISSING),
    "a new key's policy, for alarms": ("Alarms", [default()], MISSING),
    "the account by its id": ("Roles", [default(Principal={"AWS": ACCOUNT})], ALLOWED),
    "one of several accounts": ("Roles", [default(Principal={"AWS": ["1", ROOT]})], ALLOWED),
    "everyone": ("Roles", [default(Principal="*")], ALLOWED),
    "everyone of AWS": ("Roles", [default(Principal={"AWS": "*"})], ALLOWED),
    "everyone, for a service": ("Events", [default(Principal="*")], UNCLEAR),
    "another account": ("Roles", [default(Principal={"AWS": ROOT.replace("1", "2")})], MISSING),
    "a role": ("Roles", [default(Principal={"AWS": ROOT.replace("root", "role/a")})], UNCLEAR),
    "all but a role": ("Roles", [of("Roles", Principal=None, NotPrincipal={"AWS": "a"})], UNCLEAR),
    "one of several services": (
        "Events",
        [of("Events", Principal={"Service": ["sns.amazonaws.com", "events.amazonaws.com"]})],
        ALLOWED,
    ),
    "another region's logs": (
        "Logs",
        [of("Logs", Principal={"Service": "logs.us-east-1.amazonaws.com"})],
        MISSING,
    ),
    "all actions": ("Events", [of("Events", Action="*")], ALLOWED),
    "actions in another case": (
        "Events",
        [of("Events", Action=["KMS:decrypt", "kms:generatedatakey*"])],
        ALLOWED,
    ),
    "actions by wildcards": (
        "Logs",
        [
            of(
                "Logs",
                Action=[
                    *("kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*"),
                    *("kms:GenerateDataKey*", "kms:Describe*"),
                ],
            )
        ],
        ALLOWED,
    ),
    "one action": ("Events", [of("Events", Action="kms:Decrypt")], MISSING),
    "two statements": (
        "Events",
        [of("Events", Action="kms:Decrypt"), of("Events", Action=["kms:Gen?rateDataKey"])],
        ALLOWED,
    ),
    "all actions but one": (
        "Events",
        [of("Events", Action=None, NotAction="kms:ScheduleKeyDeletion")],
        ALLOWED,
    ),
    "all actions but ours": ("Events", [of("Events", Action=None, NotAction="kms:D*")], MISSING),
    "actions of another kind": ("Events", [of("Events", Action=[5])], UNCLEAR),
    "this key": ("Events", [of("Events", Resource=KEY)], ALLOWED),
    "all keys": ("Events", [of("Events", Resource=["arn:aws:kms:*:*:key/*"])], ALLOWED),
    "another key": ("Events", [of("Events", Resource=f"{KEY}0")], MISSING),
    "no condition": ("Events", [of("Events", Condition=None)], ALLOWED),
    "an empty condition": ("Events", [of("Events", Condition={})], ALLOWED),
    "a wider condition": (
        "Logs",
        [of("Logs", Condition={"ArnLike": {LOGS_ARN: f"arn:aws:logs:*:{ACCOUNT}:*"}})],
        ALLOWED,
    ),
    "a wider condition on text": (
        "Logs",
        [of("Logs", Condition={"StringLike": {LOGS_ARN.upper(): ["b", "arn:aws:logs:*"]}})],
        ALLOWED,
    ),
    "the same condition for present keys": (
        "Alarms",
        [of("Alarms", Condition={"StringEqualsIfExists": {"aws:sourceaccount": [ACCOUNT]}})],
        ALLOWED,
    ),
    "a wildcard that is none": (
        "Logs",
        [of("Logs", Condition={"StringEquals": {LOGS_ARN: "arn:aws:logs:*"}})],
        MISSING,
    ),
    "our own pattern as a text": (
        "Logs",
        [of("Logs", Condition={"StringEquals": PRINTED["Logs"]["Condition"]["ArnLike"]})],
        UNCLEAR,
    ),
    "one character for our wildcard": (
        "Logs",
        [
            of(
                "Logs",
                Condition={
                    "ArnLike": {
                        LOGS_ARN: f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:push-sender-?"
                    }
                },
            )
        ],
        UNCLEAR,
    ),
    "an ARN with too few parts": (
        "Logs",
        [of("Logs", Condition={"ArnLike": {LOGS_ARN: "arn:aws:logs:*"}})],
        UNCLEAR,
    ),
    "one of our log groups": (
        "Logs",
        [
            of(
                "Logs",
                Condition={
                    "ArnEquals": {
                        LOGS_ARN: f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:push-sender-a"
                    }
                },
            )
        ],
        UNCLEAR,
    ),
    "another stack's log groups": (
        "Logs",
        [
            of(
                "Logs",
                Condition={
                    "ArnLike": {LOGS_ARN: f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:orders*"}
                },
            )
        ],
        MISSING,
    ),
    "another account's alarms": (
        "Alarms",
        [of("Alarms", Condition={"StringEquals": {"aws:SourceAccount": "2"}})],
        MISSING,
    ),
    # AWS does not say that EventBridge sends it.
    "the account of events": (
        "Events",
        [of("Events", Condition={"StringEquals": {"aws:SourceAccount": ACCOUNT}})],
        UNCLEAR,
    ),
    "only one service": (
        "Roles",
        [default(Condition={"StringLike": {"kms:ViaService": "sqs.*"}})],
        MISSING,
    ),
    "an organization": (
        "Roles",
        [default(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})],
        UNCLEAR,
    ),
    "a variable": (
        "Alarms",
        [of("Alarms", Condition={"StringLike": {"aws:SourceAccount": "${aws:PrincipalAccount}"}})],
        UNCLEAR,
    ),
    "an operator that is not known": (
        "Alarms",
        [of("Alarms", Condition={"ForAnyValue:StringEquals": {"aws:SourceAccount": ACCOUNT}})],
        UNCLEAR,
    ),
    "a condition of another kind": ("Alarms", [of("Alarms", Condition=["x"])], UNCLEAR),
    "unclear beside a clear one": (
        "Roles",
        [default(Condition={"Bool": {"a": "true"}}), default()],
        ALLOWED,
    ),
    "a denial": ("Roles", [default(), default(Effect="Deny", Action="kms:Decrypt")], MISSING),
    "a denial to everyone": (
        "Events",
        [of("Events"), default(Effect="Deny", Principal="*")],
        UNCLEAR,
    ),
    "a denial with a condition": (
        "Roles",
        [default(), default(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})],
        UNCLEAR,
    ),
    "a denial to another service": (
        "Events",
        [of("Events"), default(Effect="Deny", Principal={"Service": "s3.amazonaws.com"})],
        ALLOWED,
    ),
    "a denial of something else": (
        "Roles",
        [default(), default(Effect="Deny", Action=["kms:ScheduleKeyDeletion", "kms:Put*"])],
        ALLOWED,
    ),
    "a denial of all but ours": (
        "Roles",
        [default(), of("Roles", Effect="Deny", Action=None, NotAction="kms:*")],
        ALLOWED,
    ),
    "a denial that would not matter": (
        "Roles",
        [default(Effect="Deny", Condition={"Bool": {"a": "b"}})],
        MISSING,
    ),
    "no statement": ("Events", [], MISSING),
    "things that are no statements": ("Events", [None, 5, "Allow", []], MISSING),
    "an empty statement": ("Events", [{}], MISSING),
}


@pytest.mark.parametrize(("name", "statements", "expected"), CASES.values(), ids=CASES.keys())
def test_a_policy_is_compared_with_what_is_needed(
    name: str, statements: list[Any], expected: Verdict
) -> None:
    assert verdict(name, *statements) is expected


DEV = {
    each.sid.removeprefix("PushSenderDev"): each.document()
    for each in needed(OURS._replace(stack="push-sender-dev", name="push-sender-dev"))
}
FUNCTION_LOG = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:push-sender-FunctionLog1A2B"


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        *((name, DEV[name], MISSING) for name in ("Logs", "Events", "Alarms", "Roles")),
        ("Logs", of("Logs", Condition={"ArnLike": {LOGS_ARN: f"{FUNCTION_LOG[:-1]}*"}}), UNCLEAR),
        ("Logs", of("Logs", Condition={"ArnEquals": {LOGS_ARN: FUNCTION_LOG}}), UNCLEAR),
        ("Logs", of("Logs", Condition={"ArnLike": {LOGS_ARN: f"{FUNCTION_LOG}?"}}), MISSING),
        (
            "Logs",
            of("Logs", Condition={"StringEquals": PRINTED["Logs"]["Condition"]["ArnLike"]}),
            MISSING,
        ),
    ],
)
def test_a_condition_that_excludes_a_resource_of_the_stack_is_not_enough(
    name: str, statement: Statement, expected: Verdict
) -> None:
    outputs = {
        "LogGroupName": "push-sender-FunctionLog1A2B",
        "QueueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/push-sender-Requests1A2B",
        "JobScheduleRoleArn": f"arn:aws:iam::{ACCOUNT}:role/push-sender-JobsRole1A2B",
    }

    def judged(*statements: Statement) -> Verdict:
        policy = json.dumps({"Statement": statements})
        return judge(NEEDED[name], policy, KEY, existing(OURS, outputs)).verdict

    assert judged(statement) is expected
    assert judged(statement, PRINTED[name]) is ALLOWED


def test_a_policy_may_have_its_only_statement_without_a_list() -> None:
    policy = json.dumps({"Statement": PRINTED["Events"]})

    assert judge(NEEDED["Events"], policy, KEY).verdict is ALLOWED


@pytest.mark.parametrize("policy", ["", "None", "[]", "5", "{", "[" * 100_000])
def test_a_policy_that_is_none_has_nothing(policy: str) -> None:
    assert judge(NEEDED["Events"], policy, KEY).verdict is MISSING


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["*", "Allow", "kms:*", ROOT, ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["AWS", "Service", "StringLike", LOGS_ARN]), inner)
    ),
    max_leaves=6,
)
ELEMENTS = ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "Condition"]


@given(st.dictionaries(st.sampled_from(ELEMENTS), VALUES))
def test_a_statement_of_any_shape_gives_a_verdict(statement: dict[str, Any]) -> None:
    for name in NEEDED:
        assert verdict(name, statement) in Verdict
        assert verdict(name, *PRINTED.values(), {**statement, "Effect": "Allow"}) is ALLOWED


# ------------------------------------------------------------------ the command


def test_before_a_deployment_nothing_asks_aws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    assert main(["key-policy", "--key", KEY]) == 0
    assert json.loads(capsys.readouterr().out) == [*PRINTED.values()]

    other = ["--account", "210987654321", "--stack", "orders", "--name", "push-sender-dev"]
    assert main(["key-policy", "--key", KEY, *other]) == 0
    place = Place("aws", "eu-west-1", "210987654321", "orders", "push-sender-dev", True)
    assert json.loads(capsys.readouterr().out) == [each.document() for each in needed(place)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--key", "alias/push"], "is not the ARN of a key"),
        (["--key", f"{KEY}*"], "is not the ARN of a key"),
        (["--key", KEY, "--account", "1234"], "is not the 12 digits"),
        (["--key", KEY, "--stack", "push_sender"], "STACK= (--stack) is not the name of a stack"),
        (["--key", KEY, "--policy", "/nowhere/policy.json"], "read: No such file"),
        (["--key", KEY, "--policy", __file__], "has no statements of a policy"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    options: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key-policy", *options]) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert error in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("as_list", [True, False])
def test_the_statements_are_put_into_a_policy_in_place_of_earlier_ones(
    as_list: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.json"
    others = [default(Sid="Owner"), of("Events", Action="kms:Decrypt")] if as_list else default()
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": others}))

    assert main(["key-policy", "--key", KEY, "--policy", str(path)]) == 0

    merged = json.loads(capsys.readouterr().out)
    kept = default(Sid="Owner") if as_list else default()
    assert merged == {"Version": "2012-10-17", "Statement": [kept, *PRINTED.values()]}


# ------------------------------------------------------------------ a stack with a key

KEY_HERE = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/{KEY_ID}"
SETTINGS = {"kms_key_arn": KEY_HERE}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with running_sandbox(context={**SETTINGS, "alarm_email": "on-call@example.com"}) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox(running: Sandbox) -> Deployment:
    return running.deployment


@pytest.fixture
def context(sandbox: Deployment, monkeypatch: pytest.MonkeyPatch) -> CheckContext:
    for name, value in {
        "AWS_ENDPOINT_URL": sandbox.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
    }.items():
        monkeypatch.setenv(name, value)
    stack = DeployedStack(sandbox.stack_name, dict(sandbox.outputs))
    return CheckContext(Account(), stack, nonexistent_devices(in_sandbox=True), {}, 1.0)


def with_policy(sandbox: Deployment, statements: list[Any], context: CheckContext) -> CheckResult:
    """Check the key with these statements in its policy."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    kms = client("kms", sandbox.url)
    kms.put_key_policy(KeyId=KEY_HERE, PolicyName="default", Policy=policy)
    return check_key(context)


def printed(context: CheckContext, capsys: pytest.CaptureFixture[str]) -> list[Statement]:
    assert main(["key-policy", "--stack", context.stack.name]) == 0
    statements: list[Statement] = json.loads(capsys.readouterr().out)
    return statements


def test_the_policy_of_a_new_key_lacks_what_services_need(context: CheckContext) -> None:
    result = check_key(context)

    assert [each.split(" ")[0] for each in result.failures] == [
        *("PushSenderLogs", "PushSenderEvents", "PushSenderAlarms")
    ]
    assert all(
        each.endswith("; make key-policy STACK=push-sender prints it") for each in result.failures
    )
    assert "CloudFormation cannot make a log group" in result.failures[0]
    assert result.warnings == ()


def test_a_key_with_the_printed_statements_passes_and_each_missing_one_is_named(
    context: CheckContext, sandbox: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    statements = printed(context, capsys)

    result = with_policy(sandbox, statements, context)
    assert (result.failures, result.warnings) == ((), ())
    assert result.message == "5 statements needed, 5 found"
    for statement in statements:
        others = [each for each in statements if each != statement]
        result = with_policy(sandbox, others, context)
        (line,) = result.failures
        assert line.startswith(f"{statement['Sid']} ")
        assert result.warnings == ()


def test_a_stack_without_a_key_asks_for_it(
    context: CheckContext, sandbox: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {
            name: {"Value": context.stack.outputs[name]} for name in ("FunctionName", "QueueArn")
        },
    }
    client("cloudformation", sandbox.url).create_stack(
        StackName="without-key", TemplateBody=json.dumps(template)
    )

    assert main(["key-policy", "--stack", "without-key"]) == 1
    assert "has no key" in (error := capsys.readouterr().err)
    assert "make key-policy KEY=arn:aws:kms:" in error


def test_a_stack_without_a_topic_needs_no_statement_for_alarms(
    context: CheckContext, sandbox: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {name: each for name, each in sandbox.outputs.items() if name != "AlarmTopicArn"}
    without = replace(context, stack=replace(context.stack, outputs=outputs))
    statements = [each for each in printed(context, capsys) if each["Sid"] != "PushSenderAlarms"]

    assert with_policy(sandbox, statements, without).message == (
        "4 statements needed, 4 found; PushSenderAlarms is not needed: there is no output "
        "AlarmTopicArn"
    )


def test_a_statement_of_another_stage_is_not_enough_and_an_unclear_one_is_marked(
    context: CheckContext,
    sandbox: Deployment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    statements = printed(context, capsys)
    logs = statements[0]
    narrow = json.loads(json.dumps(logs).replace("push-sender-*", "push-sender-dev-*"))
    result = with_policy(sandbox, [narrow, *statements[1:]], context)
    assert [each.split(" ")[0] for each in result.failures] == ["PushSenderLogs"]

    organization = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
    result = with_policy(sandbox, [{**logs, "Condition": organization}, *statements[1:]], context)
    assert result.message == "5 statements needed, 4 found, 1 cannot be judged"
    page = Console(width=100, file=StringIO(), highlight=False)
    (check,) = (each for each in CHECKS if each.name == "key")
    Page(page).show_check(check, result)
    assert isinstance(page.file, StringIO)
    assert page.file.getvalue().startswith("! key: ")


def test_a_disabled_key_fails_the_check(
    context: CheckContext, sandbox: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    kms = client("kms", sandbox.url)
    kms.disable_key(KeyId=KEY_ID)  # moto takes no ARN here
    try:
        result = with_policy(sandbox, printed(context, capsys), context)
    finally:
        kms.enable_key(KeyId=KEY_ID)

    (failure,) = result.failures
    assert failure.startswith("the key is Disabled: ")


def test_a_key_that_cannot_be_read_is_a_warning(context: CheckContext) -> None:
    outputs = {**context.stack.outputs, "KmsKeyArn": f"{KEY_HERE[:-1]}0"}

    result = check_key(replace(context, stack=replace(context.stack, outputs=outputs)))

    assert result.failures == ()
    assert [each.split(":")[0] for each in result.warnings] == [
        *("its state cannot be read", "its policy cannot be read")
    ]


def test_a_stack_without_a_key_has_no_check(
    context: CheckContext,
) -> None:
    outputs = {name: each for name, each in context.stack.outputs.items() if name != "KmsKeyArn"}

    assert not check_key(
        replace(context, stack=replace(context.stack, outputs=outputs))
    ).is_deployed


def test_a_function_without_the_key_cannot_use_the_table(
    running: Sandbox, sandbox: Deployment
) -> None:
    recipient = {"token": "any-device", "service": "GCM"}

    with changed_policy(
        sandbox, lambda all_: [each for each in all_ if each["Resource"] != [KEY_HERE]]
    ):
        report = invoke(
            sandbox, {"recipient": recipient, "message": "m", "idempotency_key": "without"}
        )

    assert "errorMessage" in report
    assert "dynamodb:PutItem" in denials(running)


def test_the_smoke_test_passes_on_a_stack_with_a_key_and_no_role_lacks_a_permission(
    context: CheckContext,
    running: Sandbox,
    sandbox: Deployment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    running.permissions.forget_calls()
    with_policy(sandbox, printed(context, capsys), context)

    assert main(["smoke", "--stack", context.stack.name]) == 0
    output = capsys.readouterr().out
    assert "✓ key: " in output
    assert "5 statements needed, 5 found" in output
    assert denials(running) == set()
