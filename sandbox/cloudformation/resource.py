"""What a resource type of this package is: a few methods over the state of one of moto's services.

A type says how to make, change and remove its thing, which properties replace it, and what it
answers to ``Ref`` and ``Fn::GetAtt``. It never looks at a template: its properties come with
every function and reference resolved.
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

    The message becomes the stack's reason, so it names properties and never their values.
    """


class Resource(CloudFormationModel):
    """A resource of a stack.

    Attributes
    ----------
    type_name
        The type in a template.
    name_property
        The property with the resource's name, which is generated where it is left out.
    longest_name
        How long a generated name may be.
    required
        Properties that must be there.
    replaced_by
        Properties whose change makes a new resource in place of the old one.
    attribute_names
        What ``Fn::GetAtt`` knows.
    """

    type_name: ClassVar[str] = ""
    name_property: ClassVar[str] = ""
    longest_name: ClassVar[int] = 255
    required: ClassVar[tuple[str, ...]] = ()
    replaced_by: ClassVar[tuple[str, ...]] = ()
    attribute_names: ClassVar[tuple[str, ...]] = ()

    # moto sets these on what a template has made.
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
        """Make it what its properties say, which until now were those of ``before``."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it; that it is gone already is no error."""

    @property
    @abstractmethod
    def physical_resource_id(self) -> str:
        """What ``Ref`` answers."""

    def attributes(self) -> Mapping[str, str]:
        """Give what ``Fn::GetAtt`` answers, by ``attribute_names``."""
        return {}

    @property
    def tags(self) -> dict[str, str]:
        """The tags as most of moto's backends want them."""
        tags = self.properties.get("Tags", [])
        if isinstance(tags, dict):  # as a few types have them
            return tags
        return {tag["Key"]: tag["Value"] for tag in tags}

    def text(self, name: str) -> str:
        """Give a property as JSON text, be it an object or text already."""
        value = self.properties[name]
        return value if isinstance(value, str) else document(value)

    # What moto's CloudFormation calls.

    @classmethod
    def cloudformation_type(cls) -> str:
        """Name the type."""
        return cls.type_name

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """Name the property with the name."""
        return cls.name_property

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Tell whether ``Fn::GetAtt`` knows it."""
        return attr in cls.attribute_names

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """Answer ``Fn::GetAtt``."""
        if attribute_name not in self.attribute_names:
            raise UnformattedGetAttTemplateException
        return self.attributes()[attribute_name]

    def is_created(self) -> bool:
        """Tell that nothing is waited for."""
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
        """Change one, or make another in its place, which leaves the old one to be removed."""
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
        """Never do it by name: an object of this package knows how to ``remove`` itself."""
        raise NotImplementedError


def document(value: object) -> str:
    """Write JSON text. YAML makes a date of a policy's version, which is text again here."""
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
    """Cut a generated name in its middle: the end is what makes it unique."""
    if len(name) <= longest:
        return name
    end = name.rpartition("-")[2]
    return f"{name[: longest - len(end) - 1]}-{end}"
