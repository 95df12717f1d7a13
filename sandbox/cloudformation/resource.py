"""The base of the sandbox's resource types, which work on the state of moto's services.

A type defines how a resource is made, changed and removed, which properties replace it, and the
values of ``Ref`` and ``Fn::GetAtt``. It does not see the template: in its properties all functions
and references are resolved.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.core.common_models import CloudFormationModel


class ResourceFailedError(Exception):
    """A resource cannot be made, changed or removed.

    The message becomes the stack's reason, so it names properties and never has their values.
    """


class Resource(CloudFormationModel):
    """A resource of a stack.

    Attributes
    ----------
    type_name
        The type in a template.
    name_property
        The property with the resource's name, which is generated if it is left out.
    longest_name
        The length limit of a generated name.
    required
        Properties that a template must have.
    replaced_by
        Properties whose change replaces the resource.
    attribute_names
        The attributes of ``Fn::GetAtt``.
    """

    type_name: ClassVar[str] = ""
    name_property: ClassVar[str] = ""
    longest_name: ClassVar[int] = 255
    required: ClassVar[tuple[str, ...]] = ()
    replaced_by: ClassVar[tuple[str, ...]] = ()
    attribute_names: ClassVar[tuple[str, ...]] = ()

    # moto sets these on the resources of a template.
    logical_resource_id: str
    cf_resource_type: str

    def __init__(
        self, name: str, properties: dict[str, Any], account_id: str, region_name: str
    ) -> None:
        self.name = name
        self.properties = properties
        self.account_id = account_id
        self.region = region_name

    @abstractmethod
    def create(self) -> None:
        """Make it from its properties."""

    @abstractmethod
    def change(self, before: Mapping[str, Any]) -> None:
        """Change it from the properties ``before`` to its present ones."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it; if it does not exist any more, that is no error."""

    @property
    @abstractmethod
    def physical_resource_id(self) -> str:
        """The value of ``Ref``."""

    def attributes(self) -> Mapping[str, str]:
        """Return the values of ``Fn::GetAtt``, by ``attribute_names``."""
        return {}

    @property
    def tags(self) -> dict[str, str]:
        """The tags as most of moto's backends take them."""
        tags = self.properties.get("Tags", [])
        if isinstance(tags, dict):  # as a few types have them
            return tags
        return {tag["Key"]: tag["Value"] for tag in tags}

    def text(self, name: str) -> str:
        """Return a property, an object or a text, as JSON text."""
        value = self.properties[name]
        return value if isinstance(value, str) else document(value)

    # moto's CloudFormation calls the methods below.

    @classmethod
    def cloudformation_type(cls) -> str:
        """Return the type."""
        return cls.type_name

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """Return the property with the name."""
        return cls.name_property

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Return whether ``Fn::GetAtt`` has it."""
        return attr in cls.attribute_names

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Return a value of ``Fn::GetAtt``."""
        if attribute_name not in self.attribute_names:
            raise UnformattedGetAttTemplateException
        return self.attributes()[attribute_name]

    def is_created(self) -> bool:
        """Return that the resource is ready."""
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Resource:
        """Make one."""
        properties = _checked(cls, cloudformation_json)
        if cls.name_property not in properties:
            resource_name = _shortened(resource_name, cls.longest_name)
        resource = cls(str(resource_name), properties, account_id, region_name)
        resource.create()
        return resource

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Resource,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Resource:
        """Change one, or make a replacement; the caller removes the old one."""
        properties = _checked(cls, cloudformation_json)
        before = original_resource.properties
        if any(properties.get(name) != before.get(name) for name in cls.replaced_by):
            return cls.create_from_cloudformation_json(
                new_resource_name, cloudformation_json, account_id, region_name
            )
        original_resource.properties = properties
        original_resource.change(before)
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> None:
        """Not supported: a resource of the sandbox has ``remove``."""
        raise NotImplementedError


def document(value: object) -> str:
    """Write JSON text. YAML reads a policy's version as a date; here it becomes text again."""
    return json.dumps(value, default=str)


def is_true(value: object) -> bool:
    """Read a boolean property, which a template may give as text."""
    return str(value).lower() == "true"


def _checked(model: type[Resource], cloudformation_json: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = cloudformation_json.get("Properties", {})
    missing = [name for name in model.required if name not in properties]
    if missing:
        raise ResourceFailedError(f"{model.type_name} needs {', '.join(missing)}.")
    return properties


def _shortened(name: str, longest: int) -> str:
    """Cut a generated name in the middle, because its end makes it unique."""
    if len(name) <= longest:
        return name
    end = name.rpartition("-")[2]
    return f"{name[: longest - len(end) - 1]}-{end}"
