"""Make, change, replace, remove or retain the resources of a template.

moto makes a resource when another refers to it, and an update removes first, then adds, then
changes. So a new version of a function would have the old code. Here a template is the wanted
state: resources are made and changed in the order of their references, and those that are no
longer wanted are removed at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.parsing import (
    NULL_MODELS,
    ResourceMap,
    parse_resource_and_generate_name,
)
from moto.core.exceptions import ServiceException
from moto.ssm.models import ssm_backends
from werkzeug.exceptions import HTTPException

from sandbox.cloudformation import template as templates
from sandbox.cloudformation.resource import Resource, ResourceFailedError
from sandbox.cloudformation.secret_references import resolved

_FAILURES: Final = (ResourceFailedError, ServiceException, HTTPException)
"""The errors of resources: this package's, and the two families of moto's."""

_NEVER: Final = object()  # equal to no properties


class DeploymentFailedError(Exception):
    """A resource could not be made or changed.

    Attributes
    ----------
    abandoned
        What was made until then in the place of something that is still there: to be removed
        once nothing refers to it any more.
    """

    def __init__(self, logical_id: str, action: str, reason: str) -> None:
        super().__init__(
            f"The following resource(s) failed to {action.lower()}: [{logical_id}]. {reason}"
        )
        self.abandoned: list[tuple[str, Deployed]] = []


@dataclass(slots=True)
class Deployed:
    """A resource that exists.

    Attributes
    ----------
    definition
        Its part of the template.
    properties
        Its properties, with everything resolved except references to secrets. As in AWS, a
        secret is read again only if something else of the resource changes.
    """

    resource: Any
    definition: dict[str, Any]
    properties: Any


OnEvent = Callable[[str, Deployed, str, str | None], None]
"""Called with a logical id, its resource, its new status, and the reason."""


class StackResources(ResourceMap):
    """The resources that a template wants, and those that exist.

    Attributes
    ----------
    deployed
        Those that exist, by logical id, each after those that it refers to. The object of an
        update shares it.
    on_event
        Called for each resource that was made, changed, removed or retained, or failed.
    """

    def __init__(self, *args: Any, on_event: OnEvent, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deployed: dict[str, Deployed] = {}
        self.on_event = on_event
        self._order: list[str] = []

    def load(self) -> None:
        """Read the template, and refuse an invalid one."""
        templates.refuse_unknown_types(self._template)
        templates.refuse_unknown_references(self._template)
        super().load()
        self._order = templates.in_order(self._template)

    def parse_ssm_parameter(self, value: str, value_type: str) -> str:
        """Look up a parameter, such as the CDK's BootstrapVersion."""
        if ssm_backends[self._account_id][self._region_name].get_parameter(value) is None:
            raise ValidationError(
                message=f"Unable to fetch parameters [{value}] from parameter store for this"
                " account."
            )
        return super().parse_ssm_parameter(value, value_type)

    # moto reads this object as a mapping, for Ref and Fn::GetAtt and for lists.

    def __getitem__(self, key: str) -> Any:
        if key in self.deployed:
            return self.deployed[key].resource
        if key in self._parsed_resources:
            return self._parsed_resources[key]
        raise ValidationError(message=f"Unresolved resource dependencies [{key}]")

    def __contains__(self, key: object) -> bool:
        return key in self.deployed or key in self._parsed_resources

    def __iter__(self) -> Iterator[str]:
        return (name for name, each in self.deployed.items() if each.resource is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def create(self, template: dict[str, Any]) -> bool:
        """Make all, and return whether all are ready."""
        del template  # this object was made for it
        self.apply()
        return self.creation_complete()

    def creation_complete(self) -> bool:
        """Return whether all resources are ready; a custom resource may still have to answer."""
        return all(resource.is_created() for resource in self.values())

    def apply(self) -> None:
        """Make and change resources as the template wants.

        Raises
        ------
        DeploymentFailedError
            At the first resource that fails; earlier changes stay.
        """
        wanted = self._wanted()
        replaced: list[tuple[str, Deployed]] = []
        try:
            for name in wanted:
                if (old := self._make_or_change(name)) is not None:
                    replaced.append((name, old))
        except DeploymentFailedError as failed:
            for name, old in replaced:
                failed.abandoned.append((name, self.deployed[name]))
                self.deployed[name] = old
            raise
        for name, old in reversed(replaced):
            if old.definition.get("UpdateReplacePolicy") != "Retain":
                self._remove(name, old)
        self._remove_all_but(wanted)

    def roll_back(self, failed: DeploymentFailedError) -> None:
        """Restore the state of this template, after its successor failed.

        Raises
        ------
        DeploymentFailedError
            At the first resource that fails.
        """
        wanted = self._wanted()
        for name in wanted:
            self._make_or_change(name)
        for name, new in reversed(failed.abandoned):
            self._remove(name, new)
        self._remove_all_but(wanted, rolling_back=True)

    def delete(self, *, rolling_back: bool = False) -> None:
        """Remove all resources that are not retained, the last first; those that fail stay."""
        for name in list(reversed(self.deployed)):
            self._remove_or_retain(name, rolling_back=rolling_back)

    def _wanted(self) -> list[str]:
        """List the logical ids in order, without those whose condition is false."""
        conditions = {name: self._resource_json_map[name].get("Condition") for name in self._order}
        return [
            name
            for name, condition in conditions.items()
            if condition is None or self.lazy_condition_map[condition]
        ]

    def _remove_all_but(self, wanted: list[str], *, rolling_back: bool = False) -> None:
        for name in [name for name in reversed(self.deployed) if name not in wanted]:
            self._remove_or_retain(name, rolling_back=rolling_back)
        # In this template's order, in reverse of which they are deleted.
        for name in wanted:
            self.deployed[name] = self.deployed.pop(name)

    def _make_or_change(self, logical_id: str) -> Deployed | None:
        """Make or change a resource; return the old one if it was replaced."""
        definition = self._resource_json_map[logical_id]
        old = self.deployed.get(logical_id)
        action = "CREATE" if old is None else "UPDATE"
        new = Deployed(None, definition, _NEVER)
        try:
            new.properties = self._make(logical_id, old, new)
        except _FAILURES as error:
            if old is not None:
                old.properties = _NEVER  # perhaps half changed: a rollback must set it again
            reason = str(getattr(error, "message", error))
            self.on_event(logical_id, old or new, f"{action}_FAILED", reason)
            raise DeploymentFailedError(logical_id, action, reason) from None
        unchanged = old is not None and old.properties == new.properties
        self.deployed[logical_id] = new
        if not unchanged and definition["Type"] not in NULL_MODELS:
            self.on_event(logical_id, new, f"{action}_COMPLETE", None)
        # moto's own types remove a replaced resource themselves.
        if old is None or old.resource is new.resource or not isinstance(old.resource, Resource):
            return None
        return old

    def _make(self, logical_id: str, old: Deployed | None, new: Deployed) -> Any:
        """Set the resource of ``new``, and return its properties."""
        if old is not None and old.definition["Type"] != new.definition["Type"]:
            raise ResourceFailedError("Update of resource type is not permitted.")
        if new.definition["Type"] in NULL_MODELS:
            return None
        model, parsed, name = parse_resource_and_generate_name(logical_id, new.definition, self)
        properties = parsed["Properties"]
        if old is not None and old.properties == properties:
            new.resource = old.resource
            return properties
        place = (self._account_id, self._region_name)
        definition = {**parsed, "Properties": resolved(properties, *place)}
        if old is None:
            ids = {"LogicalId": logical_id, "StackId": self.stack_id}
            new.resource = model.create_from_cloudformation_json(
                name, definition, *place, ResourceType=parsed["Type"], **ids
            )
        elif hasattr(model.update_from_cloudformation_json, "__isabstractmethod__"):
            raise ResourceFailedError(f"moto cannot update an {parsed['Type']}.")
        else:
            new.resource = model.update_from_cloudformation_json(
                old.resource, name, definition, *place
            )
        new.resource.cf_resource_type = parsed["Type"]
        new.resource.logical_resource_id = logical_id
        return properties

    def _remove_or_retain(self, logical_id: str, *, rolling_back: bool) -> None:
        """Remove a resource, or retain it if its policy says so."""
        deployed = self.deployed[logical_id]
        policy = deployed.definition.get("DeletionPolicy")
        if policy == "Retain" or (policy == "RetainExceptOnCreate" and not rolling_back):
            self.on_event(logical_id, deployed, "DELETE_SKIPPED", None)
            del self.deployed[logical_id]
        elif self._remove(logical_id, deployed):
            del self.deployed[logical_id]

    def _remove(self, logical_id: str, deployed: Deployed) -> bool:
        try:
            if isinstance(deployed.resource, Resource):
                deployed.resource.remove()
            elif deployed.resource is not None:
                self._delete_resource(deployed.resource, deployed.definition)
        except _FAILURES as error:
            reason = str(getattr(error, "message", error))
            self.on_event(logical_id, deployed, "DELETE_FAILED", reason)
            return False
        self.on_event(logical_id, deployed, "DELETE_COMPLETE", None)
        return True
