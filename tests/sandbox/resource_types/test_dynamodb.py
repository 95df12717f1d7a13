"""Resource types of the sandbox: tables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service_sandbox import ServiceSandbox, refusal
from tests.support.templates import (
    ACCOUNT,
    REGION,
    Template,
    output,
    outputs,
    resource,
    topic,
)

CANARY = "canary-of-a-secret"


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

    result = outputs(stack)
    name = result["Name"]
    assert name.startswith("stack-Table-")
    assert result["Arn"] == f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    tables = sandbox.client("dynamodb")
    described = tables.describe_table(TableName=name)["Table"]
    assert described["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["SSEDescription"]["Status"] == "ENABLED"
    expiry = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiration"}
    assert recovery(sandbox, name) == "ENABLED"
    tags = tables.list_tags_of_resource(ResourceArn=result["Arn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "push"}]
    tables.put_item(TableName=name, Item={"id": {"S": "1"}})


def recovery(sandbox: ServiceSandbox, name: str) -> str:
    result = sandbox.client("dynamodb").describe_continuous_backups(TableName=name)
    description = result["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
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


def test_a_retained_table_stays_with_its_items_without_its_stack(sandbox: ServiceSandbox) -> None:
    """As the registry of devices is deployed: everything that it sets, and its policies."""
    settings = {
        "DeletionProtectionEnabled": False,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expiration", "Enabled": True},
    }
    policies = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    resources = {"Table": {**table(**settings)["Table"], **policies}, "Other": topic()}
    assert sandbox.create(resources)["StackStatus"] == "CREATE_COMPLETE"
    name = sandbox.id_of("Table")
    tables = sandbox.client("dynamodb")
    tables.put_item(TableName=name, Item={"id": {"S": "kept"}})

    assert sandbox.update({"Other": topic()})["StackStatus"] == "UPDATE_COMPLETE"

    assert ("Table", "DELETE_SKIPPED") in sandbox.events()
    sandbox.delete()
    assert tables.get_item(TableName=name, Key={"id": {"S": "kept"}})["Item"]
    expiry = tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiration"}
    assert recovery(sandbox, name) == "ENABLED"
    tables.delete_table(TableName=name)


def test_a_cancelled_transaction_does_not_separate_a_table_from_its_stack(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(table())
    name = sandbox.id_of("Table")
    tables = sandbox.client("dynamodb")
    fails = {"ConditionExpression": "attribute_exists(id)", "Item": {"id": {"S": "1"}}}
    entries = [{"Put": {"TableName": name, **fails}}]
    assert "ConditionalCheckFailed" in refusal(tables.transact_write_items, TransactItems=entries)

    sandbox.update(table(DeletionProtectionEnabled=True))

    assert tables.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"]


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


def test_a_table_can_be_deleted_only_after_its_protection_is_off(sandbox: ServiceSandbox) -> None:
    sandbox.create(table(DeletionProtectionEnabled=True))
    name, tables = sandbox.id_of("Table"), sandbox.client("dynamodb")

    assert "ValidationException" in refusal(tables.delete_table, TableName=name)

    sandbox.update(table(DeletionProtectionEnabled=False))
    sandbox.delete()
    assert tables.list_tables()["TableNames"] == []
