"""The permissions of a role in the sandbox, used by stock clients and by the function."""

from __future__ import annotations

import http.client
import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from moto.awslambda.exceptions import LambdaClientError
from moto.sts.models import sts_backends

from infra.bundle import build
from infra.bundle.wheels import this_machine
from sandbox.functions.credentials import role_credentials
from sandbox.functions.service import LambdaService
from sandbox.iam.policy import allow_everything, refusal_reason
from sandbox.iam.service import Call, Permissions
from sandbox.pinpoint.projects import enable_channel
from sandbox.server import Server
from sandbox.services import patched_moto, running
from tests.support.service_sandbox import ADMINISTRATOR, assumed, client, zipped
from tests.support.templates import ACCOUNT, REGION

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

UNKNOWN = "because the sandbox's check of permissions does not know this call"
KEY = {"k": {"S": "1"}}
ABSENT = {"ConditionExpression": "attribute_not_exists(never)"}

ALLOWED = {
    "mobiletargeting:SendMessages": f"arn:aws:mobiletargeting:{REGION}:{ACCOUNT}:apps/%s/messages",
    "sqs:SendMessage": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
    "sqs:ReceiveMessage": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
    "sqs:DeleteMessage": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
    "sqs:ChangeMessageVisibility": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
    "sqs:GetQueueAttributes": f"arn:aws:sqs:{REGION}:{ACCOUNT}:requests",
    "dynamodb:GetItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:PutItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:UpdateItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:DeleteItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:Query": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:BatchGetItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:BatchWriteItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "dynamodb:ConditionCheckItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/sends",
    "events:PutEvents": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/pushes",
    "sns:Publish": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms",
    "lambda:InvokeFunction": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:send:live",
    "logs:FilterLogEvents": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/log:log-stream:",
    "cloudformation:DescribeStacks": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/own/*",
    "scheduler:ListSchedules": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/*/*",
}
"""Each action that the check knows, and its one resource."""

# Each operation of a client, to the action it needs and what it sends.
OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "pinpoint.send_messages": (
        "mobiletargeting:SendMessages",
        {
            "ApplicationId": "%s",
            "MessageRequest": {
                "Addresses": {"token": {"ChannelType": "GCM"}},
                "MessageConfiguration": {"GCMMessage": {"Body": "hello"}},
            },
        },
    ),
    "sqs.send_message": ("sqs:SendMessage", {"MessageBody": "hello"}),
    "sqs.send_message_batch": (
        "sqs:SendMessage",
        {"Entries": [{"Id": "1", "MessageBody": "hello"}]},
    ),
    "sqs.receive_message": ("sqs:ReceiveMessage", {}),
    "sqs.delete_message": ("sqs:DeleteMessage", {"ReceiptHandle": "handle"}),
    "sqs.delete_message_batch": (
        "sqs:DeleteMessage",
        {"Entries": [{"Id": "1", "ReceiptHandle": "handle"}]},
    ),
    "sqs.change_message_visibility": (
        "sqs:ChangeMessageVisibility",
        {"ReceiptHandle": "handle", "VisibilityTimeout": 5},
    ),
    "sqs.change_message_visibility_batch": (
        "sqs:ChangeMessageVisibility",
        {"Entries": [{"Id": "1", "ReceiptHandle": "handle", "VisibilityTimeout": 5}]},
    ),
    "sqs.get_queue_attributes": ("sqs:GetQueueAttributes", {"AttributeNames": ["All"]}),
    "dynamodb.get_item": ("dynamodb:GetItem", {"TableName": "sends", "Key": KEY}),
    "dynamodb.put_item": ("dynamodb:PutItem", {"TableName": "sends", "Item": KEY}),
    "dynamodb.update_item": (
        "dynamodb:UpdateItem",
        {"TableName": "sends", "Key": KEY, "AttributeUpdates": {}},
    ),
    "dynamodb.delete_item": ("dynamodb:DeleteItem", {"TableName": "sends", "Key": KEY}),
    "dynamodb.query": (
        "dynamodb:Query",
        {
            "TableName": "sends",
            "KeyConditionExpression": "k = :k",
            "ExpressionAttributeValues": {":k": {"S": "1"}},
        },
    ),
    "dynamodb.batch_get_item": (
        "dynamodb:BatchGetItem",
        {"RequestItems": {"sends": {"Keys": [KEY]}}},
    ),
    "dynamodb.batch_write_item": (
        "dynamodb:BatchWriteItem",
        {"RequestItems": {"sends": [{"PutRequest": {"Item": KEY}}]}},
    ),
    "dynamodb.transact_write_items": (
        "dynamodb:ConditionCheckItem",
        {"TransactItems": [{"ConditionCheck": {"TableName": "sends", "Key": KEY, **ABSENT}}]},
    ),
    "events.put_events": (
        "events:PutEvents",
        {"Entries": [{"EventBusName": "pushes", "Source": "s", "DetailType": "t", "Detail": "{}"}]},
    ),
    "sns.publish": ("sns:Publish", {"TopicArn": ALLOWED["sns:Publish"], "Message": "hello"}),
    "lambda.invoke": (
        "lambda:InvokeFunction",
        {"FunctionName": "send:live", "InvocationType": "DryRun"},
    ),
    "logs.filter_log_events": ("logs:FilterLogEvents", {"logGroupName": "/log"}),
    "cloudformation.describe_stacks": ("cloudformation:DescribeStacks", {"StackName": "own"}),
    "scheduler.list_schedules": ("scheduler:ListSchedules", {"GroupName": "default"}),
}

# How each service refuses a call: the code that botocore raises, and the status.
REFUSALS = {
    "pinpoint": ("AccessDeniedException", 403),
    "sqs": ("AccessDenied", 403),
    "dynamodb": ("AccessDeniedException", 400),
    "events": ("AccessDeniedException", 400),
    "sns": ("AuthorizationError", 403),
    "lambda": ("AccessDeniedException", 403),
    "logs": ("AccessDeniedException", 400),
    "cloudformation": ("AccessDenied", 403),
    "scheduler": ("AccessDeniedException", 403),
}


def statement(action: Any, resource: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


NEARLY_EVERYTHING = (statement("*", "*"), statement("iam:CreateUser", "*", effect="Deny"))
"""Allows every call of these tests without making the role an administrator."""


@dataclass
class AccountWithRole:
    """A sandbox with one resource of each kind, and a role with changing policies."""

    url: str
    permissions: Permissions
    application_id: str = ""
    queue_url: str = ""
    role: str = "sender"
    credentials: Credentials = ADMINISTRATOR

    def allow(self, *statements: Mapping[str, Any]) -> None:
        """Allow the role only these statements."""
        client("iam", self.url).put_role_policy(
            RoleName=self.role, PolicyName="sending", PolicyDocument=policy(*statements)
        )

    def allow_all_but(self, *left_out: str, **changed: str) -> None:
        self.allow(
            *(
                statement(action, changed.get(action.partition(":")[2], self.arn(action)))
                for action in ALLOWED
                if action not in left_out
            )
        )

    def arn(self, action: str) -> str:
        return ALLOWED[action].replace("%s", self.application_id)

    def as_role(self, service: str) -> Any:
        return client(service, self.url, self.credentials)

    def ask(self, operation: str, **changed: Any) -> Any:
        """Call an operation as the role does."""
        service, _, method = operation.partition(".")
        parameters = {**OPERATIONS[operation][1], **changed}
        if service == "pinpoint":
            parameters.setdefault("ApplicationId", "%s")
            parameters["ApplicationId"] = parameters["ApplicationId"] % self.application_id
        if service == "sqs":
            parameters.setdefault("QueueUrl", self.queue_url)
        return getattr(self.as_role(service), method)(**parameters)

    def denied(self, operation: str, **changed: Any) -> str:
        """Call an operation that the role is denied in its service's form; give the message."""
        with pytest.raises(ClientError) as refused:
            self.ask(operation, **changed)
        assert code_and_status(refused.value) == REFUSALS[operation.partition(".")[0]]
        return message_of(refused.value)


def code_and_status(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


def message_of(error: ClientError) -> str:
    return error.response["Error"]["Message"]


def passes_the_check(account: AccountWithRole, operation: str, **changed: Any) -> None:
    """Call an operation that is allowed; moto may refuse an invented receipt handle."""
    with suppress(account.as_role("sqs").exceptions.ReceiptHandleIsInvalid):
        account.ask(operation, **changed)
    assert [call.allowed for call in account.permissions.calls()] == [True]


@pytest.fixture(scope="module")
def _running_account(runtime_packages: Path) -> Iterator[AccountWithRole]:
    permissions = Permissions()
    with (
        patched_moto(),
        Server(mounts={"/sandbox": echo}, guard=permissions.guard) as server,
        running(LambdaService(runtime_packages, server.url, credentials=role_credentials)),
    ):
        account = AccountWithRole(server.url, permissions)
        pinpoint = client("pinpoint", server.url)
        created = pinpoint.create_app(CreateApplicationRequest={"Name": "app"})
        account.application_id = created["ApplicationResponse"]["Id"]
        enable_channel(account.application_id, "GCM")
        queues = client("sqs", server.url)
        account.queue_url = queues.create_queue(QueueName="requests")["QueueUrl"]
        client("dynamodb", server.url).create_table(
            TableName="sends",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client("events", server.url).create_event_bus(Name="pushes")
        client("sns", server.url).create_topic(Name="alarms")
        account.credentials = assumed(create_role(account, account.role))
        make_what_programs_name(account)
        yield account


def make_what_programs_name(account: AccountWithRole) -> None:
    functions = client("lambda", account.url)
    functions.create_function(
        FunctionName="send",
        Runtime="python3.13",
        Handler="app.handler",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{account.role}",
        Code={"ZipFile": zipped("def handler(event, context): pass")},
    )
    functions.create_alias(FunctionName="send", Name="live", FunctionVersion="$LATEST")
    client("logs", account.url).create_log_group(logGroupName="/log")
    client("cloudformation", account.url).create_stack(
        StackName="own",
        TemplateBody=json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}),
    )


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"reached with ", body]


def create_role(account: AccountWithRole, name: str, **settings: Any) -> str:
    created = client("iam", account.url).create_role(
        RoleName=name, AssumeRolePolicyDocument="{}", **settings
    )
    arn: str = created["Role"]["Arn"]
    return arn


@pytest.fixture
def account(_running_account: AccountWithRole) -> AccountWithRole:
    _running_account.allow(statement("logs:*", "*"))  # which is nothing that is asked for here
    _running_account.permissions.forget_calls()
    return _running_account


# The credentials.


def test_credentials_of_a_role_are_an_sts_session_of_it(account: AccountWithRole) -> None:
    key = account.credentials.access_key

    session = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(key)

    assert session is not None
    assert session.role_arn == f"arn:aws:iam::{ACCOUNT}:role/sender"
    assert session.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/sender/function"
    own = account.credentials.get_frozen_credentials()
    assert (own.access_key, own.secret_key, own.token) == (
        *(session.access_key_id, session.secret_access_key, session.session_token),
    )


def test_each_process_gets_its_own_credentials(account: AccountWithRole) -> None:
    own, other = account.credentials, assumed(f"arn:aws:iam::{ACCOUNT}:role/sender")

    for part in ("access_key", "secret_key", "token"):
        assert getattr(own, part) != getattr(other, part)


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_a_role_of_another_partition_is_checked_like_any(
    account: AccountWithRole, partition: str
) -> None:
    region = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[partition]
    roles = client("iam", account.url, region_name=region)
    arn = roles.create_role(RoleName="far", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    assert arn.startswith(f"arn:{partition}:")
    credentials = assumed(arn)

    # Whatever region the call is signed for.
    with pytest.raises(ClientError, match=f"arn:{partition}:dynamodb:{REGION}:{ACCOUNT}:table/t"):
        client("dynamodb", account.url, credentials).get_item(TableName="t", Key=KEY)


@pytest.mark.parametrize(
    "arn", [f"arn:aws:iam::{ACCOUNT}:role/none", "arn:nowhere:iam::123456789012:role/x", "", "x"]
)
@pytest.mark.usefixtures("account")
def test_an_unknown_role_gives_no_credentials(arn: str) -> None:
    with pytest.raises(LambdaClientError, match=r"cannot be assumed by Lambda\."):
        role_credentials(arn)


# What is allowed and what is not.


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_allowed_call_passes(account: AccountWithRole, operation: str) -> None:
    action, _ = OPERATIONS[operation]
    account.allow(statement(action, account.arn(action)))

    passes_the_check(account, operation)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_removed_action_is_denied(account: AccountWithRole, operation: str) -> None:
    action, _ = OPERATIONS[operation]
    account.allow_all_but(action)

    assert account.denied(operation) == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/sender/function is not authorized to perform: "
        f"{action} on resource: {account.arn(action)} "
        f"because no identity-based policy allows the {action} action"
    )


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("part", "other"), [(REGION, "eu-west-1"), (ACCOUNT, "999999999999"), ("", "x")]
)
def test_the_same_action_on_another_resource_is_denied(
    account: AccountWithRole, operation: str, part: str, other: str
) -> None:
    action, _ = OPERATIONS[operation]
    arn = account.arn(action)
    changed = arn.replace(part, other) if part else arn + other
    assert changed != arn
    account.allow_all_but(**{action.partition(":")[2]: changed})

    assert f"{action} on resource: {arn} because" in account.denied(operation)


def test_a_resource_may_be_named_by_its_arn(account: AccountWithRole) -> None:
    account.allow_all_but()
    account.ask("dynamodb.get_item", TableName=account.arn("dynamodb:GetItem"))
    event = {"Source": "s", "DetailType": "t", "Detail": "{}"}
    account.ask(
        "events.put_events", Entries=[{**event, "EventBusName": account.arn("events:PutEvents")}]
    )

    other = account.arn("dynamodb:GetItem") + "s"
    assert f"on resource: {other} because" in account.denied("dynamodb.get_item", TableName=other)


INVOKED = ALLOWED["lambda:InvokeFunction"]


@pytest.mark.parametrize(
    ("named", "resource"),
    [
        ({"FunctionName": INVOKED}, INVOKED),
        ({"FunctionName": f"{ACCOUNT}:function:send:live"}, INVOKED),
        ({"FunctionName": "send", "Qualifier": "live"}, INVOKED),
        ({"FunctionName": "send"}, INVOKED.removesuffix(":live")),
        ({"FunctionName": INVOKED.removesuffix(":live")}, INVOKED.removesuffix(":live")),
        ({"FunctionName": "send", "Qualifier": "other"}, INVOKED.replace("live", "other")),
        (
            {"FunctionName": INVOKED.replace(ACCOUNT, "999999999999")},
            INVOKED.replace(ACCOUNT, "999999999999"),
        ),
    ],
)
def test_the_resource_of_an_invocation_has_its_qualifier(
    account: AccountWithRole, named: dict[str, str], resource: str
) -> None:
    account.allow_all_but("lambda:InvokeFunction")

    words = account.denied("lambda.invoke", **named)

    assert f"lambda:InvokeFunction on resource: {resource} because" in words


def test_a_stack_may_be_named_by_its_arn(account: AccountWithRole) -> None:
    arn = ALLOWED["cloudformation:DescribeStacks"].replace("*", "id")

    words = account.denied("cloudformation.describe_stacks", StackName=arn)

    assert f"on resource: {arn} because" in words


def test_a_topic_may_be_given_as_target_arn(account: AccountWithRole) -> None:
    account.allow_all_but()

    account.as_role("sns").publish(TargetArn=account.arn("sns:Publish"), Message="hello")

    assert [call.allowed for call in account.permissions.calls()] == [True]


def test_a_refusal_in_xml_escapes_markup_in_a_name(account: AccountWithRole) -> None:
    odd = account.arn("sns:Publish") + "</Message>&amp;"

    assert f"on resource: {odd} because" in account.denied("sns.publish", TopicArn=odd)


def test_every_bus_of_a_call_must_be_allowed(account: AccountWithRole) -> None:
    account.allow_all_but()
    event = {"Source": "s", "DetailType": "t", "Detail": "{}"}
    mine, default = {**event, "EventBusName": "pushes"}, event
    account.ask("events.put_events", Entries=[mine, mine])
    account.permissions.forget_calls()

    words = account.denied("events.put_events", Entries=[mine, default, mine])

    buses = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus"
    assert f"on resource: {buses}/default because" in words
    role = f"arn:aws:iam::{ACCOUNT}:role/sender"
    assert account.permissions.calls() == {
        Call(role, "events:PutEvents", f"{buses}/pushes", True): 1,
        Call(role, "events:PutEvents", f"{buses}/default", False): 1,
    }
    other = {**event, "EventBusName": "other"}
    words = account.denied("events.put_events", Entries=[other, default])
    assert f"on resource: {buses}/other because" in words


def test_every_table_of_a_batch_must_be_allowed(account: AccountWithRole) -> None:
    account.allow_all_but()

    words = account.denied(
        "dynamodb.batch_get_item",
        RequestItems={"sends": {"Keys": [KEY]}, "others": {"Keys": [KEY]}},
    )

    assert f"on resource: arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/others because" in words


ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "dynamodb:PutItem": ("Put", {"Item": KEY}),
    "dynamodb:DeleteItem": ("Delete", {"Key": KEY}),
    "dynamodb:UpdateItem": ("Update", {"Key": KEY, "UpdateExpression": "REMOVE a"}),
    "dynamodb:ConditionCheckItem": ("ConditionCheck", {"Key": KEY, **ABSENT}),
}
"""For each action that a transaction can need: the entry that needs it."""


def entry(action: str, table: str) -> dict[str, Any]:
    kind, parameters = ENTRIES[action]
    return {kind: {"TableName": table, **parameters}}


@pytest.mark.parametrize("action", ENTRIES)
def test_an_entry_of_a_transaction_needs_the_action_of_its_kind(
    account: AccountWithRole, action: str
) -> None:
    asked = {"TransactItems": [entry(action, "sends")]}
    account.allow(statement(action, account.arn(action)))
    account.ask("dynamodb.transact_write_items", **asked)
    account.allow_all_but(action)

    words = account.denied("dynamodb.transact_write_items", **asked)

    assert f"{action} on resource: {account.arn(action)} because" in words


def test_every_action_and_table_of_a_transaction_must_be_allowed(
    account: AccountWithRole,
) -> None:
    account.allow_all_but("dynamodb:DeleteItem")
    others = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/others"
    put, delete, check = "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"
    entries = [entry(put, "sends"), entry(put, others), entry(delete, "sends"), entry(put, "sends")]

    words = account.denied("dynamodb.transact_write_items", TransactItems=entries)

    assert f"{put} on resource: {others} because" in words
    role = f"arn:aws:iam::{ACCOUNT}:role/sender"
    assert account.permissions.calls() == {
        Call(role, put, account.arn(put), True): 1,
        Call(role, put, others, False): 1,
        Call(role, delete, account.arn(delete), False): 1,
    }
    account.ask("dynamodb.transact_write_items", TransactItems=[entry(check, "sends")])


@pytest.mark.parametrize(
    "entries", [None, {}, [], [1], [{"Get": {"TableName": "sends"}}], [{"Put": 1}], [{"Put": {}}]]
)
def test_a_transaction_without_recognizable_tables_is_denied(
    account: AccountWithRole, entries: Any
) -> None:
    account.allow(*NEARLY_EVERYTHING)

    status, answer = post(
        account.url,
        json.dumps({"TransactItems": entries}).encode(),
        signed(account, "dynamodb"),
        target="DynamoDB_20120810.TransactWriteItems",
    )

    assert status == 400
    assert "the sandbox's check cannot tell from the request" in json.loads(answer)["Message"]


def test_a_query_of_an_index_needs_permission_for_the_index(account: AccountWithRole) -> None:
    account.allow_all_but()

    words = account.denied("dynamodb.query", IndexName="by-time")

    assert f"on resource: {account.arn('dynamodb:Query')}/index/by-time because" in words


def test_a_services_calls_on_behalf_of_a_role_are_checked_and_counted(
    account: AccountWithRole,
) -> None:
    account.allow_all_but("sqs:DeleteMessage")
    role, queue = f"arn:aws:iam::{ACCOUNT}:role/sender", account.arn("sqs:DeleteMessage")

    result = [
        account.permissions.allow(role, "sqs:ReceiveMessage", queue),
        account.permissions.allow(role, "sqs:DeleteMessage", queue),
        account.permissions.allow(f"{role}-that-is-gone", "sqs:ReceiveMessage", queue),
    ]

    assert result == [True, False, False]
    assert [call.allowed for call in account.permissions.calls()] == result
    account.allow(statement("*", "*"))
    assert account.permissions.allow(role, "sqs:DeleteMessage", queue)
    assert len(account.permissions.calls()) == len(result)


def test_an_explicit_deny_wins_in_any_position(account: AccountWithRole) -> None:
    allow = statement("sqs:*", "*")
    deny = statement("sqs:SendMessage", account.arn("sqs:SendMessage"), effect="Deny")
    for statements in ([allow, deny], [deny, allow]):
        account.allow(*statements)

        words = account.denied("sqs.send_message")

        assert words.endswith("requests with an explicit deny in an identity-based policy")
        account.ask("sqs.receive_message")


def test_an_attached_managed_policy_counts_in_its_default_version(
    account: AccountWithRole,
) -> None:
    roles = client("iam", account.url)
    arn = roles.create_policy(
        PolicyName="managed",
        PolicyDocument=policy(statement("sqs:SendMessage", account.arn("sqs:SendMessage"))),
    )["Policy"]["Arn"]
    account.denied("sqs.send_message")

    roles.attach_role_policy(RoleName="sender", PolicyArn=arn)
    account.ask("sqs.send_message")
    roles.create_policy_version(
        PolicyArn=arn,
        PolicyDocument=policy(statement("sqs:ReceiveMessage", "*")),
        SetAsDefault=True,
    )
    account.denied("sqs.send_message")
    account.ask("sqs.receive_message")
    roles.detach_role_policy(RoleName="sender", PolicyArn=arn)
    account.denied("sqs.receive_message")


def test_a_roles_policy_from_a_template_counts(account: AccountWithRole) -> None:
    document = json.loads(policy(statement("sqs:SendMessage", account.arn("sqs:SendMessage"))))
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
    template = {
        "Resources": {
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "RoleName": "templated",
                    "AssumeRolePolicyDocument": trust,
                    "Policies": [{"PolicyName": "p", "PolicyDocument": document}],
                },
            }
        }
    }
    client("cloudformation", account.url).create_stack(
        StackName="s", TemplateBody=json.dumps(template)
    )
    credentials = assumed(f"arn:aws:iam::{ACCOUNT}:role/templated")
    queues = client("sqs", account.url, credentials)

    queues.send_message(QueueUrl=account.queue_url, MessageBody="hello")
    with pytest.raises(ClientError, match="not authorized to perform: sqs:ReceiveMessage"):
        queues.receive_message(QueueUrl=account.queue_url)


def test_a_session_of_a_deleted_role_is_denied_everything(account: AccountWithRole) -> None:
    arn = create_role(account, "gone")
    credentials = assumed(arn)
    client("iam", account.url).delete_role(RoleName="gone")

    with pytest.raises(ClientError, match="no identity-based policy allows"):
        client("sqs", account.url, credentials).receive_message(QueueUrl=account.queue_url)


def test_unsupported_limits_of_a_role_deny_and_are_named(
    account: AccountWithRole,
) -> None:
    roles = client("iam", account.url)
    everything = policy(statement("*", "*"))
    boundary = roles.create_policy(PolicyName="boundary", PolicyDocument=everything)
    bounded = create_role(account, "bounded", PermissionsBoundary=boundary["Policy"]["Arn"])
    roles.put_role_policy(RoleName="bounded", PolicyName="p", PolicyDocument=everything)
    account.allow(statement("*", "*"))
    session = client("sts", account.url).assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/sender", RoleSessionName="narrow", Policy=everything
    )["Credentials"]
    narrowed = Credentials(session["AccessKeyId"], session["SecretAccessKey"])

    for credentials, limit in (
        (assumed(bounded), "a permissions boundary"),
        (narrowed, "a session policy"),
    ):
        with pytest.raises(ClientError, match=f"does not understand {limit}$"):
            client("sqs", account.url, credentials).receive_message(QueueUrl=account.queue_url)


def test_a_role_that_is_allowed_everything_is_an_administrator(account: AccountWithRole) -> None:
    account.allow(statement("*", "*"))
    buckets = account.as_role("s3").list_buckets()["Buckets"]

    account.allow(*NEARLY_EVERYTHING)
    with pytest.raises(ClientError, match=f"{UNKNOWN}$"):
        account.as_role("s3").list_buckets()

    assert buckets == []
    assert [call.allowed for call in account.permissions.calls()] == [False]


# How policies are read.

QUEUE = ALLOWED["sqs:SendMessage"]


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("sqs:SendMessage", QUEUE, True),
        ("SQS:sendmessage", QUEUE, True),
        ("sqs:Send*", QUEUE, True),
        ("sqs:*Message", QUEUE, True),
        ("sqs:?endMessag?", QUEUE, True),
        ("sqs:SendMessage?", QUEUE, False),
        ("sqs:SendMessageBatch", QUEUE, False),
        ("sqs:Send", QUEUE, False),
        ("sqs:*", QUEUE, True),
        ("sns:*", QUEUE, False),
        ("*", QUEUE, True),
        (["sqs:ReceiveMessage", "sqs:SendMessage"], QUEUE, True),
        (["sqs:ReceiveMessage", "sqs:DeleteMessage"], QUEUE, False),
        ([], QUEUE, False),
        ("sqs:SendMessage", "*", True),
        ("sqs:SendMessage", QUEUE.replace("requests", "Requests"), False),
        ("sqs:SendMessage", QUEUE.replace("requests", "req*"), True),
        ("sqs:SendMessage", QUEUE.replace("requests", "r*s"), True),
        ("sqs:SendMessage", QUEUE.replace("requests", "request?"), True),
        ("sqs:SendMessage", QUEUE.replace("requests", "request"), False),
        ("sqs:SendMessage", QUEUE.replace("requests", "requests?"), False),
        ("sqs:SendMessage", QUEUE.replace("requests", "requests*"), True),
        ("sqs:SendMessage", QUEUE.replace("sts", "s.s"), False),
        ("sqs:SendMessage", "arn:aws:sqs:*:*:requests", True),
        ("sqs:SendMessage", "arn:aws:sqs:us-*:123456789012:requests", True),
        ("sqs:SendMessage", "arn:*:sqs:*:*:*", True),
        # A wildcard crosses a colon only at its segment's end.
        ("sqs:SendMessage", "arn:aws:sqs:us*", True),
        ("sqs:SendMessage", "arn:aws:sqs:u*2:requests", False),
        ("sqs:SendMessage", "arn:aws:sqs:us-east-1?123456789012:requests", False),
        ("sqs:SendMessage", [QUEUE + "s", QUEUE], True),
        ("sqs:SendMessage", [QUEUE + "s"], False),
    ],
)
def test_wildcards_match_as_in_iam(action: Any, resource: Any, allowed: bool) -> None:
    policies = [("p", policy(statement(action, resource)))]

    reason = refusal_reason(policies, "sqs:SendMessage", QUEUE)

    expected = "because no identity-based policy allows the sqs:SendMessage action"
    assert reason == (None if allowed else expected)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, "Condition"),
        ({"Condition": {}}, "Condition"),
        ({"Principal": "*"}, "Principal"),
        ({"Action": None, "NotAction": "iam:*"}, "NotAction"),
        ({"Resource": None, "NotResource": "arn:aws:sqs:x:1:y"}, "NotResource"),
        ({"Action": None}, "the Action"),
        ({"Action": ["sqs:SendMessage", 1]}, "the Action"),
        ({"Action": "SendMessage"}, "the Action"),
        ({"Action": "*:SendMessage"}, "the Action"),
        ({"Resource": None}, "the Resource"),
        ({"Resource": {"Ref": "Queue"}}, "the Resource"),
        ({"Resource": "a*"}, "the Resource"),
        ({"Resource": "arn:aws:*:us-east-1:123456789012:requests"}, "the Resource"),
        ({"Resource": QUEUE.replace("requests", "${aws:PrincipalTag/queue}")}, "the Resource"),
        ({"Resource": None, "Action": None}, "the Action and the Resource"),
    ],
)
def test_unsupported_policy_elements_never_allow_and_are_named(
    changes: dict[str, Any], named: str
) -> None:
    def reason(effect: str, **more: Any) -> str | None:
        changed = {**statement("sqs:SendMessage", QUEUE), **changes, **more, "Effect": effect}
        puzzling = {key: value for key, value in changed.items() if value is not None}
        document = policy(statement("sqs:ReceiveMessage", "*"), puzzling)
        wide = policy(statement("*", "*"))
        policies = [("odd", document)] + ([("wide", wide)] if effect == "Deny" else [])
        return refusal_reason(policies, "sqs:SendMessage", QUEUE)

    words = f" (the sandbox's check does not understand {named} in the policy odd)"
    assert (
        reason("Allow")
        == f"because no identity-based policy allows the sqs:SendMessage action{words}"
    )
    assert reason("Deny") == f"with an explicit deny in an identity-based policy{words}"


@pytest.mark.parametrize(
    ("services", "passed_to", "holds"),
    [
        ("scheduler.amazonaws.com", "scheduler.amazonaws.com", True),
        (["lambda.amazonaws.com", "scheduler.amazonaws.com"], "scheduler.amazonaws.com", True),
        ("lambda.amazonaws.com", "scheduler.amazonaws.com", False),
        ("scheduler.amazonaws.com", "", False),
        ([], "scheduler.amazonaws.com", False),
    ],
)
def test_the_condition_of_the_service_that_gets_a_role_is_understood(
    services: Any, passed_to: str, holds: bool
) -> None:
    role = "arn:aws:iam::123456789012:role/r"
    condition = {"StringEquals": {"iam:PassedToService": services}}
    allowing = statement("*", "*", Condition=condition)
    denying = statement("iam:PassRole", role, effect="Deny", Condition=condition)

    def reason(*statements: dict[str, Any]) -> str | None:
        facts = {"iam:PassedToService": passed_to}
        return refusal_reason([("p", policy(*statements))], "iam:PassRole", role, facts)

    assert (reason(allowing) is None) == holds
    assert (reason(statement("*", "*"), denying) is None) != holds
    assert not allow_everything([("p", policy(allowing))])


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"iam:PassedToService": "a", "aws:SourceAccount": "1"}},
        {"StringEquals": {"iam:PassedToService": "a"}, "Bool": {}},
        {"StringLike": {"iam:PassedToService": "a"}},
        {"StringEquals": {"iam:PassedToService": 1}},
        {"StringEquals": {"iam:PassedToService": "${aws:x}"}},
        {"StringEquals": "a"},
        "a",
    ],
)
def test_a_condition_beside_it_is_not_understood(condition: Any) -> None:
    document = policy(statement("iam:PassRole", "*", Condition=condition))

    facts = {"iam:PassedToService": "a"}
    reason = refusal_reason([("p", document)], "iam:PassRole", "arn:aws:iam::1:role/r", facts)

    assert "understand Condition" in str(reason)


def test_unsupported_elements_matter_only_if_they_may_concern_the_call() -> None:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    elsewhere = QUEUE.replace("requests", "others")
    document = policy(
        statement("sqs:SendMessage", QUEUE),
        statement("sqs:*", elsewhere, effect="Deny", Condition=condition),
        statement("sns:*", "*", effect="Deny", Condition=condition),
        statement("sqs:SendMessage", QUEUE, Condition=condition),
    )

    assert refusal_reason([("p", document)], "sqs:SendMessage", QUEUE) is None


@pytest.mark.parametrize(
    "document",
    [
        *("", "{", "[]", "null", "{}", "[" * 100_000),
        *('{"Statement": 1}', '{"Statement": ["Allow"]}', '{"Statement": {"Effect": "allow"}}'),
    ],
)
def test_an_unreadable_policy_denies(document: str) -> None:
    policies = [("wide", policy(statement("*", "*"))), ("broken", document)]

    reason = refusal_reason(policies, "sqs:SendMessage", QUEUE)

    assert reason is not None
    assert reason.startswith("with an explicit deny in an identity-based policy (the sandbox's")
    assert reason.endswith(" in the policy broken)")


def test_a_single_statement_needs_no_list() -> None:
    document = json.dumps({"Statement": statement("sqs:SendMessage", QUEUE)})

    assert refusal_reason([("p", document)], "sqs:SendMessage", QUEUE) is None


# What the check does not know.


@pytest.mark.parametrize(
    ("service", "method", "parameters", "action", "answer"),
    [
        ("sqs", "purge_queue", {"QueueUrl": "x"}, "sqs:PurgeQueue", ("AccessDenied", 403)),
        ("dynamodb", "list_tables", {}, "dynamodb:ListTables", ("AccessDeniedException", 400)),
        ("logs", "describe_log_groups", {}, "logs:DescribeLogGroups", None),
        ("sts", "get_caller_identity", {}, "sts:GetCallerIdentity", ("AccessDenied", 403)),
        ("iam", "list_roles", {}, "iam:ListRoles", ("AccessDenied", 403)),
        ("pinpoint", "get_apps", {}, "mobiletargeting:GET /v1/apps", None),
        (
            "pinpoint",
            "delete_app",
            {"ApplicationId": "x"},
            "mobiletargeting:DELETE /v1/apps/x",
            None,
        ),
        ("lambda", "list_functions", {}, "lambda:GET /2015-03-31/functions", None),
        ("s3", "list_buckets", {}, "s3:GET /", ("AccessDenied", 403)),
    ],
)
def test_an_unknown_call_is_denied_and_named(
    account: AccountWithRole,
    service: str,
    method: str,
    parameters: dict[str, Any],
    action: str,
    answer: tuple[str, int] | None,
) -> None:
    account.allow(*NEARLY_EVERYTHING)

    with pytest.raises(ClientError) as refused:
        getattr(account.as_role(service), method)(**parameters)

    usual = ("AccessDeniedException", 400 if service == "logs" else 403)
    assert code_and_status(refused.value) == (answer or usual)
    assert message_of(refused.value).endswith(f"perform: {action} on resource: * {UNKNOWN}")
    [call] = account.permissions.calls()
    assert (call.action, call.allowed) == (action, False)


def test_a_call_signed_for_another_service_is_unknown(account: AccountWithRole) -> None:
    account.allow(*NEARLY_EVERYTHING)
    body = json.dumps({"QueueUrl": account.queue_url, "TableName": "sends"}).encode()

    status, answer = post(
        account.url, body, signed(account, "dynamodb"), target="AmazonSQS.SendMessage"
    )

    assert (status, json.loads(answer)["Message"].endswith(UNKNOWN)) == (400, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/apps/x/messages"),
        ("POST", "/v1/apps/x/messages/y"),
        ("POST", "/v1/apps/x/y/messages"),
        ("POST", "/v1/apps/x/users-messages"),
    ],
)
def test_send_messages_is_the_only_known_call_of_pinpoint(
    account: AccountWithRole, method: str, path: str
) -> None:
    account.allow(*NEARLY_EVERYTHING)
    asked = http.client.HTTPConnection(account.url.removeprefix("http://"), timeout=10)
    asked.request(method, path, headers={"Authorization": signed(account, "mobiletargeting")})

    answer = asked.getresponse()

    assert (answer.status, json.loads(answer.read())["Message"].endswith(UNKNOWN)) == (403, True)
    asked.close()


def test_a_manipulated_region_cannot_name_another_resource(account: AccountWithRole) -> None:
    account.allow(statement("sqs:SendMessage", f"arn:aws:sqs:{REGION}*"))
    scope = signed(account).replace(REGION, f"{REGION}:{ACCOUNT}:x")
    body = json.dumps({"QueueUrl": account.queue_url, "MessageBody": "hello"}).encode()

    status, answer = post(account.url, body, scope, target="AmazonSQS.SendMessage")

    assert (status, json.loads(answer)["Message"].endswith(UNKNOWN)) == (400, True)


@pytest.mark.parametrize(("target", "named"), [("é\t<x>", "?"), ("x" * 5_000, "x" * 90)])
def test_unknown_calls_are_named_briefly_in_printable_ascii(
    account: AccountWithRole, target: str, named: str
) -> None:
    post(account.url, b"", signed(account), target=target)

    [call] = account.permissions.calls()
    assert named in call.action
    assert call.action.isascii()
    assert call.action.isprintable()
    assert len(call.action) <= 100


@pytest.mark.parametrize(
    ("version", "credential"), [("s3v4", "X-Amz-Credential=ASIA"), ("s3", "AWSAccessKeyId=ASIA")]
)
def test_a_presigned_url_is_checked_as_the_role_that_signed_it(
    account: AccountWithRole, version: str, credential: str
) -> None:
    account.allow(*NEARLY_EVERYTHING)
    address = client(
        "s3", account.url, account.credentials, signature_version=version
    ).generate_presigned_url("delete_bucket", Params={"Bucket": "b"})
    assert credential in address

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(address, method="DELETE"))  # noqa: S310  loopback

    with refused.value as answer:
        assert answer.code == 403
        assert f"perform: s3:DELETE /b on resource: * {UNKNOWN}" in answer.read().decode()


def test_the_older_s3_signature_is_checked(account: AccountWithRole) -> None:
    account.allow(*NEARLY_EVERYTHING)

    with pytest.raises(ClientError) as refused:
        client("s3", account.url, account.credentials, signature_version="s3").list_buckets()

    assert code_and_status(refused.value) == ("AccessDenied", 403)


def test_a_phone_number_is_denied_and_not_repeated(account: AccountWithRole) -> None:
    account.allow(*NEARLY_EVERYTHING)

    with pytest.raises(ClientError, match="cannot tell from the request which") as refused:
        account.as_role("sns").publish(PhoneNumber="+491700000000", Message="hello")

    assert "491700000000" not in message_of(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"1" * 5_000),
        *(b'{"QueueUrl": 1}', b'{"QueueUrl": ""}', b'{"QueueUrl": "http://h/none/name"}'),
        *(
            b'{"QueueUrl": "a\\nb"}',
            b'{"QueueUrl": "\\ud800"}',
            b'{"QueueUrl": "<b>&\xe2\x82\xac"}',
        ),
        b'{"QueueUrl": "%s"}' % (b"x" * 3_000),
    ],
    ids=range(15),
)
def test_a_call_without_a_recognizable_resource_is_denied(
    account: AccountWithRole, body: bytes
) -> None:
    account.allow(*NEARLY_EVERYTHING)

    status, answer = post(account.url, body, signed(account), target="AmazonSQS.SendMessage")

    assert status == 403
    assert json.loads(answer)["Message"].endswith(
        "sqs:SendMessage on resource: * "
        "because the sandbox's check cannot tell from the request which resource it is"
    )


@pytest.mark.parametrize("entries", [None, [], {}, [1], [{"EventBusName": None}]])
def test_events_without_a_recognizable_bus_are_denied(
    account: AccountWithRole, entries: Any
) -> None:
    account.allow(*NEARLY_EVERYTHING)
    body = json.dumps({"Entries": entries}).encode()

    status, answer = post(
        account.url, body, signed(account, "events"), target="AWSEvents.PutEvents"
    )

    assert (status, b"cannot tell" in answer) == (400, True)


# Who is judged, and who is not.


def post(url: str, body: bytes, authorization: str, *, target: str) -> tuple[int, bytes]:
    """Send a request by hand."""
    asked = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    headers = {"X-Amz-Target": target, "Authorization": authorization}
    asked.request("POST", "/", body=body, headers=headers)
    answer = asked.getresponse()
    content = answer.read()
    asked.close()
    return answer.status, content


def signed(account: AccountWithRole, service: str = "sqs") -> str:
    key = account.credentials.access_key
    scope = f"{key}/20260101/{REGION}/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


def test_the_administrator_is_not_checked(account: AccountWithRole) -> None:
    queues = client("sqs", account.url)

    queues.send_message(QueueUrl=account.queue_url, MessageBody="hello")
    queues.purge_queue(QueueUrl=account.queue_url)

    assert not account.permissions.calls()


def test_an_unsigned_request_is_not_checked(account: AccountWithRole) -> None:
    assert ask_mounted(account) == (200, b"reached with all")
    assert not account.permissions.calls()


@pytest.mark.parametrize(
    ("authorization", "judged"),
    [
        ("", False),
        ("\xff\xfe\x80", False),
        ("Basic c2FuZGJveDpzYW5kYm94", False),
        ("AWS4-HMAC-SHA256", False),
        ("AWS4-HMAC-SHA256 Credential=", False),
        ("AWS4-HMAC-SHA256 Credential=////", False),
        ("AWS4-HMAC-SHA256 Credential=,,,", False),
        ("AWS4-HMAC-SHA256 Credential=AKIA/1/2/3/4/5/6/7/8", False),
        ("Credential=" * 5_000, False),
        ("/" * 60_000, False),
        ("AWS4-HMAC-SHA256 Credential={key}", True),
        ("AWS4-HMAC-SHA256 Credential={key},", True),
        ("AWS4-HMAC-SHA256 Credential={key}/", True),
        ("AWS4-HMAC-SHA256 Credential={key}/20260101/sqs/aws4_request", True),
        ("AWS4-HMAC-SHA256 Credential={key}/20260101/us:east/sqs/aws4_request", True),
        ("AWS4-HMAC-SHA256 Credential={key}/20260101/\xff/\xff/aws4_request", True),
        ("AWS4-ECDSA-P256-SHA256 Credential={key}/20260101/sqs/aws4_request, Signature=0", True),
        ("Credential={key}/20260101/us-east-1/dynamodb/aws4_request", True),
    ],
)
def test_a_broken_signature_neither_breaks_the_sandbox_nor_skips_the_check(
    account: AccountWithRole, authorization: str, judged: bool
) -> None:
    account.allow(*NEARLY_EVERYTHING)
    header = authorization.replace("{key}", account.credentials.access_key)

    status, answer = ask_mounted(account, Authorization=header)

    if judged:
        assert (status, json.loads(answer)["Message"].endswith(UNKNOWN)) == (403, True)
    else:
        assert (status, answer) == (200, b"reached with all")
    assert account.permissions.calls().total() == judged


def ask_mounted(account: AccountWithRole, **headers: str) -> tuple[int, bytes]:
    """Ask what is mounted in front of moto."""
    asked = http.client.HTTPConnection(account.url.removeprefix("http://"), timeout=10)
    latin = {name: value.encode("latin-1") for name, value in headers.items()}
    asked.request("POST", "/sandbox/x", body=b"all", headers=latin)
    answer = asked.getresponse()
    content = answer.read()
    asked.close()
    return answer.status, content


def test_requests_of_other_sites_are_refused_before_the_permission_check(
    account: AccountWithRole,
) -> None:
    status, answer = ask_mounted(
        account, Authorization=signed(account), Origin="https://example.com"
    )

    assert (status, b"no pages" in answer) == (403, True)
    assert not account.permissions.calls()


# What was asked for.


def test_the_calls_are_counted_until_they_are_forgotten(account: AccountWithRole) -> None:
    account.allow_all_but("sqs:DeleteMessage")
    for _ in range(3):
        account.ask("sqs.send_message")
    account.ask("sqs.send_message_batch")
    account.denied("sqs.delete_message")

    calls = account.permissions.calls()
    account.permissions.forget_calls()

    role = f"arn:aws:iam::{ACCOUNT}:role/sender"
    assert calls == {
        Call(role, "sqs:SendMessage", QUEUE, True): 4,
        Call(role, "sqs:DeleteMessage", QUEUE, False): 1,
    }
    assert not account.permissions.calls()


def test_at_most_ten_thousand_different_calls_are_kept(
    account: AccountWithRole, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = account.permissions.guard(echo)

    def ask(queue: int) -> None:
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "HTTP_AUTHORIZATION": signed(account),
            "HTTP_X_AMZ_TARGET": "AmazonSQS.SendMessage",
            "wsgi.input": io.BytesIO(json.dumps({"QueueUrl": f"q{queue}"}).encode()),
        }
        guarded(environ, lambda *_: lambda _: None)

    for queue in range(10_001):
        ask(queue)
    ask(0)

    calls = account.permissions.calls()
    assert (len(calls), calls.total()) == (10_000, 10_001)
    assert "one was not counted" in caplog.text


# The function itself.


def create_function(
    account: AccountWithRole, name: str, role: str, archive: bytes, handler: str
) -> None:
    client("lambda", account.url).create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{role}",
        Handler=handler,
        Code={"ZipFile": archive},
        Timeout=29,
        MemorySize=512,
        Environment={"Variables": {"APPLICATION_IDS": account.application_id}},
    )


def invoke(account: AccountWithRole, name: str, event: Any) -> Any:
    answer = client("lambda", account.url).invoke(FunctionName=name, Payload=json.dumps(event))
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def test_the_function_sends_only_what_its_role_allows(account: AccountWithRole) -> None:
    action = "mobiletargeting:SendMessages"
    arn = account.arn(action)
    archive = build(this_machine()).path.read_bytes()
    create_function(account, "push-sender", "sender", archive, "push_sender.handler.handler")

    def send() -> Any:
        event = {"recipient": {"token": "device", "service": "GCM"}, "message": "hello"}
        return invoke(account, "push-sender", event)["results"][0]

    def called(allowed: bool) -> Mapping[Call, int]:
        return {Call(f"arn:aws:iam::{ACCOUNT}:role/sender", action, arn, allowed): 1}

    refused = send()
    assert (refused["outcome"], refused["reason"]) == ("misconfigured", "AccessDeniedException")
    assert refused["status_message"] == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/sender/function is not authorized to perform: "
        f"{action} on resource: {arn} because no identity-based policy allows the {action} action"
    )
    assert account.permissions.calls() == called(allowed=False)

    account.permissions.forget_calls()
    account.allow(statement(action, arn))
    assert send()["outcome"] == "accepted"
    assert account.permissions.calls() == called(allowed=True)

    account.allow(statement(action, arn.replace(account.application_id, "0" * 32)))
    assert send()["outcome"] == "misconfigured"


def test_a_function_whose_role_was_deleted_is_not_run(account: AccountWithRole) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("app.py", "def handler(event, context): return event")
    create_role(account, "former")
    create_function(account, "f", "former", buffer.getvalue(), "app.handler")
    client("iam", account.url).delete_role(RoleName="former")

    with pytest.raises(ClientError, match="cannot be assumed by Lambda") as refused:
        invoke(account, "f", {})

    assert code_and_status(refused.value) == ("AccessDeniedException", 403)
