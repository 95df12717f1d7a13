"""Lambda: functions, their versions and aliases, and the retries of their failed events."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.awslambda.exceptions import (
    UnknownAliasException,
    UnknownEventConfig,
    UnknownFunctionException,
)
from moto.awslambda.models import LambdaAlias, LambdaBackend, LambdaFunction, lambda_backends
from moto.s3.exceptions import MissingBucket, MissingKey
from moto.s3.models import s3_backends
from moto.utilities.utils import get_partition

from sandbox.cloudformation.resource import Resource, ResourceFailedError

_DEFAULTS: Final[Mapping[str, Any]] = {
    "Architectures": ["x86_64"],
    "DeadLetterConfig": {},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "FileSystemConfigs": [],
    "Handler": None,
    "KMSKeyArn": None,
    "Layers": [],
    "LoggingConfig": {},
    "MemorySize": 128,
    "Runtime": None,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": None,
}
"""The settings that can be changed, and their defaults."""


class _LambdaResource(Resource):
    """A resource of Lambda."""

    @property
    def _backend(self) -> LambdaBackend:
        backend: LambdaBackend = lambda_backends[self.account_id][self.region]
        return backend


class Function(_LambdaResource):
    """A function. ``kept_settings`` keeps the settings that moto would lose."""

    type_name = "AWS::Lambda::Function"
    name_property = "FunctionName"
    longest_name = 64
    required = ("Code", "Role")
    replaced_by = ("FunctionName", "PackageType")
    attribute_names = ("Arn",)

    _arn: str

    def create(self) -> None:
        """Make the function."""
        if self.name in [other.function_name for other in self._backend.list_functions()]:
            raise ResourceFailedError(f"Function already exist: {self.name}")
        self._check_code()
        function = LambdaFunction.create_from_cloudformation_json(
            self.name, {"Properties": self.properties}, self.account_id, self.region
        )
        function.update_configuration({"Layers": self.properties.get("Layers", [])})
        function.tags = self.tags
        self._arn = function.function_arn

    def change(self, before: Mapping[str, Any]) -> None:
        """Change settings and code."""
        self._check_code()
        function = self._backend.get_function(self.name)
        settings = {"Role": self.properties["Role"], **_DEFAULTS}
        function.update_configuration(
            {name: self.properties.get(name, default) for name, default in settings.items()}
        )
        # A new object, because the versions published so far share the old one.
        function.code = dict(function.code)
        function.update_function_code(self._code())
        function.reserved_concurrency = self.properties.get("ReservedConcurrentExecutions")
        function.tags = self.tags

    def remove(self) -> None:
        """Remove the function with all its versions and aliases."""
        with suppress(UnknownFunctionException):
            self._backend.delete_function(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN."""
        return {"Arn": self._arn}

    def _code(self) -> dict[str, Any]:
        code: dict[str, Any] = self.properties["Code"]
        if "ZipFile" not in code:
            return code
        archive = LambdaFunction._create_zipfile_from_plaintext_code(code["ZipFile"])
        return {"ZipFile": base64.b64encode(archive)}

    def _check_code(self) -> None:
        """Refuse code that does not exist; moto would make an empty function."""
        code = self.properties["Code"]
        if "S3Key" not in code:
            return
        backend = s3_backends[self.account_id][get_partition(self.region)]
        with suppress(MissingBucket, MissingKey):
            if backend.get_object(code["S3Bucket"], code["S3Key"]) is not None:
                return
        raise ResourceFailedError(
            "Error occurred while GetObject: there is no such bucket or key as Code names."
        )


class Version(_LambdaResource):
    """A version: the function at the time when the template adds it."""

    type_name = "AWS::Lambda::Version"
    required = ("FunctionName",)
    replaced_by = ("FunctionName", "Description", "CodeSha256")
    attribute_names = ("Version", "FunctionArn")

    _version: LambdaFunction

    def create(self) -> None:
        """Publish it."""
        name = self.properties["FunctionName"]
        before = {version.version for version in self._backend.list_versions_by_function(name)}
        version = self._backend.publish_version(name, self.properties.get("Description", ""))
        if version is None or version.version in before:
            raise ResourceFailedError(
                "A version for this Lambda function exists"
                f" ( {version and version.version} ). Modify the function to create a new version."
            )
        self._version = version

    def change(self, before: Mapping[str, Any]) -> None:
        """Do nothing: a version never changes."""

    def remove(self) -> None:
        """Remove the version."""
        with suppress(UnknownFunctionException):
            self._backend.delete_function(
                self._version.function_name, qualifier=str(self._version.version)
            )

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._version.function_arn

    def attributes(self) -> Mapping[str, str]:
        """Return its number and ARN."""
        return {
            "Version": str(self._version.version),
            "FunctionArn": self._version.function_arn,
        }


class Alias(_LambdaResource):
    """A name for a version."""

    type_name = "AWS::Lambda::Alias"
    required = ("FunctionName", "FunctionVersion", "Name")
    replaced_by = ("FunctionName", "Name")
    attribute_names = ("AliasArn",)

    _alias: LambdaAlias

    def create(self) -> None:
        """Make it."""
        self._alias = self._backend.create_alias(*self._settings())

    def change(self, before: Mapping[str, Any]) -> None:
        """Point it to another version."""
        self._backend.update_alias(*self._settings())

    def remove(self) -> None:
        """Remove it."""
        with suppress(UnknownAliasException, UnknownFunctionException):
            self._backend.delete_alias(self.properties["Name"], self.properties["FunctionName"])

    @property
    def physical_resource_id(self) -> str:
        """Its ARN."""
        return self._alias.arn

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN."""
        return {"AliasArn": self._alias.arn}

    def _settings(self) -> tuple[str, str, str, str, Any]:
        own = self.properties
        weights = own.get("RoutingConfig", {}).get("AdditionalVersionWeights", [])
        routing = {weight["FunctionVersion"]: weight["FunctionWeight"] for weight in weights}
        return (
            own["Name"],
            own["FunctionName"],
            str(own["FunctionVersion"]),
            own.get("Description", ""),
            {"AdditionalVersionWeights": routing} if routing else {},
        )


class EventInvokeConfig(_LambdaResource):
    """How often Lambda retries an asynchronous event of an alias or version, and for how long."""

    type_name = "AWS::Lambda::EventInvokeConfig"
    required = ("FunctionName", "Qualifier")
    replaced_by = ("FunctionName", "Qualifier")

    def create(self) -> None:
        """Make it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it."""
        config: dict[str, Any] = {"DestinationConfig": self.properties.get("DestinationConfig", {})}
        for limit in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds"):
            if limit in self.properties:
                config[limit] = int(self.properties[limit])
        self._backend.put_function_event_invoke_config(self._qualified_name(), config)

    def remove(self) -> None:
        """Remove it."""
        with suppress(UnknownEventConfig, UnknownFunctionException):
            self._backend.delete_function_event_invoke_config(self._qualified_name())

    @property
    def physical_resource_id(self) -> str:
        """A unique text: AWS documents no more."""
        return f"{self.properties['FunctionName']}|{self.properties['Qualifier']}"

    def _qualified_name(self) -> str:
        return f"{self.properties['FunctionName']}:{self.properties['Qualifier']}"


RESOURCE_TYPES: Final[list[type[Resource]]] = [Function, Version, Alias, EventInvokeConfig]
