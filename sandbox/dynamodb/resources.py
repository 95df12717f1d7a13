"""DynamoDB's tables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any, Final

from moto.dynamodb.exceptions import ResourceNotFoundException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table as MotoTable

from sandbox.cloudformation.resource import Resource, ResourceFailedError, is_true

_PROVISIONED: Final = "PROVISIONED"
_INDEXES: Final = ("GlobalSecondaryIndexes", "AttributeDefinitions")


class Table(Resource):
    """A table; the settings of its indexes cannot be changed here."""

    type_name = "AWS::DynamoDB::Table"
    name_property = "TableName"
    required = ("KeySchema",)
    replaced_by = ("TableName", "KeySchema", "LocalSecondaryIndexes")
    attribute_names = ("Arn", "StreamArn")

    _table: MotoTable

    def create(self) -> None:
        """Make it."""
        own = deepcopy(self.properties)  # moto keeps parts of it and changes them
        defined = {each["AttributeName"] for each in own.get("AttributeDefinitions", [])}
        if missing := {key["AttributeName"] for key in own["KeySchema"]} - defined:
            raise ResourceFailedError(f"AttributeDefinitions lacks {', '.join(sorted(missing))}.")
        self._table = self._backend.create_table(
            name=self.name,
            schema=own["KeySchema"],
            attr=own["AttributeDefinitions"],
            throughput=self._throughput(),
            global_indexes=own.get("GlobalSecondaryIndexes", []),
            indexes=own.get("LocalSecondaryIndexes", []),
            streams=own.get("StreamSpecification"),
            billing_mode=own.get("BillingMode", _PROVISIONED),
            sse_specification=None,
            tags=[],
            deletion_protection_enabled=False,
            warm_throughput=None,
        )
        self.change(self.properties)

    def change(self, before: Mapping[str, Any]) -> None:
        """Change its settings; its items stay."""
        own, backend, table = self.properties, self._backend, self._table
        if any(own.get(name) != before.get(name) for name in _INDEXES):
            raise ResourceFailedError(f"The sandbox cannot change {' or '.join(_INDEXES)}.")
        table.billing_mode = own.get("BillingMode", _PROVISIONED)
        if throughput := self._throughput():
            table.throughput = {**throughput, "NumberOfDecreasesToday": 0}
        table.sse_specification = self._encryption()
        table.deletion_protection_enabled = is_true(own.get("DeletionProtectionEnabled"))
        table.tags = list(own.get("Tags", []))
        self._set_expiry(own.get("TimeToLiveSpecification"))
        recovery = own.get("PointInTimeRecoverySpecification", {})
        enabled = is_true(recovery.get("PointInTimeRecoveryEnabled"))
        backend.update_continuous_backups(
            self.name, {**recovery, "PointInTimeRecoveryEnabled": enabled}
        )

    def remove(self) -> None:
        """Remove it, unless it is protected."""
        with suppress(ResourceNotFoundException):
            self._backend.delete_table(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and that of its stream, if it has one."""
        stream = f"{self._table.table_arn}/stream/{self._table.latest_stream_label or ''}"
        return {"Arn": self._table.table_arn, "StreamArn": stream}

    def _throughput(self) -> dict[str, int] | None:
        if self.properties.get("BillingMode") == "PAY_PER_REQUEST":
            return None
        throughput = self.properties.get("ProvisionedThroughput")
        if throughput is None:
            raise ResourceFailedError("A table that is not on-demand needs ProvisionedThroughput.")
        return {name: int(units) for name, units in throughput.items()}

    def _encryption(self) -> dict[str, Any] | None:
        """Return the encryption by the API's names, which differ from CloudFormation's."""
        own = self.properties.get("SSESpecification", {})
        if not is_true(own.get("SSEEnabled")):
            return None
        key = own.get("KMSMasterKeyId")
        return {
            "Enabled": True,
            "SSEType": own.get("SSEType", "KMS"),
            "KMSMasterKeyId": key
            or self._table._get_default_encryption_key(self.account_id, self.region),
        }

    def _set_expiry(self, wanted: Mapping[str, Any] | None) -> None:
        self._table.ttl = {"TimeToLiveStatus": "DISABLED"}
        if wanted is not None and is_true(wanted.get("Enabled", True)):
            self._backend.update_time_to_live(
                self.name, {"Enabled": True, "AttributeName": wanted["AttributeName"]}
            )

    @property
    def _backend(self) -> DynamoDBBackend:
        backend: DynamoDBBackend = dynamodb_backends[self.account_id][self.region]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [Table]
