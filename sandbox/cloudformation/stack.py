"""A stack: its states, its events with reasons, and its rollback.

If a resource fails, moto's CreateStack returns an error and leaves a stack that is in progress for
ever. Here, as in AWS, CreateStack and UpdateStack refuse only an invalid template. Later failures
are rolled back, and DescribeStacks and the events show them.
"""

from __future__ import annotations

import json
from typing import Any, Final

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Event, Stack, cloudformation_backends
from moto.cloudformation.parsing import Export

from sandbox.cloudformation.stack_resources import Deployed, DeploymentFailedError, StackResources

_IN_FORCE: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
"""The states in which a stack has outputs and can be updated."""


class SandboxStack(Stack):
    """moto's stack, which fails as AWS's does."""

    stack_status_reason: str | None = None
    resource_map: StackResources

    @staticmethod
    def parse_template(template: str) -> dict[str, Any]:
        """Read a template, first as JSON, because the YAML parser takes seconds for it."""
        try:
            parsed: dict[str, Any] = json.loads(template)
        except ValueError:
            return Stack.parse_template(template)
        return parsed

    def create_resources(self) -> None:
        """Make all resources, or roll back."""
        try:
            super().create_resources()
        except DeploymentFailedError as failed:
            self._enter("ROLLBACK_IN_PROGRESS", str(failed))
            self.resource_map.delete(rolling_back=True)
            left = self.resource_map.deployed
            self._enter("ROLLBACK_FAILED" if left else "ROLLBACK_COMPLETE", str(failed))
        self._publish_exports()

    def update(
        self,
        template: str,
        role_arn: str | None = None,
        parameters: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Change the stack to another template, or roll back.

        Raises
        ------
        ValidationError
            If the template is invalid or changes nothing, or the stack's state allows no update.
        """
        if self.status not in _IN_FORCE:
            raise ValidationError(
                message=f"Stack:{self.stack_id} is in {self.status} state and can not be updated."
            )
        current, wanted_template = self.resource_map, self.parse_template(template)
        wanted = self._resources(wanted_template, parameters or {})
        if (
            wanted_template == self.template_dict
            and wanted.resolved_parameters == current.resolved_parameters
            and tags in (None, self.tags)
        ):
            raise ValidationError(message="No updates are to be performed.")
        wanted.deployed = current.deployed
        self._enter("UPDATE_IN_PROGRESS", "User Initiated")
        self.resource_map = wanted
        try:
            wanted.apply()
        except DeploymentFailedError as failed:
            self._roll_back_to(current, failed)
            return
        self.template, self.template_dict = template, wanted_template
        self.description = wanted_template.get("Description")
        self.parameters, self.role_arn = parameters or {}, role_arn
        self.tags = self.tags if tags is None else tags
        self.output_map = self._create_output_map()
        self._enter("UPDATE_COMPLETE")
        self._publish_exports()

    def delete(self) -> None:
        """Remove all resources that are not retained; if one fails, the stack stays."""
        self._enter("DELETE_IN_PROGRESS", "User Initiated")
        self.resource_map.delete()
        if left := list(self.resource_map.deployed):
            reason = f"The following resource(s) failed to delete: [{', '.join(left)}]."
            self._enter("DELETE_FAILED", reason)
        else:
            self._enter("DELETE_COMPLETE")

    def begin(self, template: str, parameters: dict[str, Any]) -> None:
        """Prepare a stack that a change set creates."""
        self.template, self.parameters = template, parameters
        self._parse_template()
        self.resource_map = self._create_resource_map()
        self.output_map = self._create_output_map()
        self._enter("CREATE_IN_PROGRESS", "User Initiated")

    @property
    def outputs(self) -> list[dict[str, Any]] | None:
        """The outputs, once the resources exist."""
        return super().outputs if self.status in _IN_FORCE else None

    @property
    def exports(self) -> list[Export]:
        """The exports, once the resources exist."""
        return super().exports if self.status in _IN_FORCE else []

    def _create_resource_map(self) -> StackResources:
        return self._resources(self.template_dict, self.parameters)

    def _resources(self, template: dict[str, Any], parameters: dict[str, Any]) -> StackResources:
        resources = StackResources(
            self.stack_id,
            self.name,
            parameters,
            self.tags,
            region_name=self.region_name,
            account_id=self.account_id,
            template=template,
            cross_stack_resources=self.cross_stack_resources,
            on_event=self._add_event,
        )
        resources.load()
        return resources

    def _roll_back_to(self, before: StackResources, failed: DeploymentFailedError) -> None:
        reason = str(failed)
        self._enter("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        self.resource_map = before
        try:
            before.roll_back(failed)
        except DeploymentFailedError as again:
            self._enter("UPDATE_ROLLBACK_FAILED", f"{reason} The rollback failed, too: {again}")
            return
        self._enter("UPDATE_ROLLBACK_COMPLETE", reason)

    def _enter(self, status: str, reason: str | None = None) -> None:
        self.status, self.stack_status_reason = status, reason
        self._add_stack_event(status, resource_status_reason=reason)

    def _add_event(
        self, logical_id: str, deployed: Deployed, status: str, reason: str | None
    ) -> None:
        event = Event(
            stack_id=self.stack_id,
            stack_name=self.name,
            logical_resource_id=logical_id,
            physical_resource_id=getattr(deployed.resource, "physical_resource_id", ""),
            resource_type=deployed.definition["Type"],
            resource_status=status,
            resource_status_reason=reason,
            resource_properties=None,
        )
        event.sendToSns(self.account_id, self.region_name, self.notification_arns)
        self.events.append(event)

    def _publish_exports(self) -> None:
        # moto does it only once, before the resources exist.
        exports = cloudformation_backends[self.account_id][self.region_name].exports
        for name in [name for name, other in exports.items() if self._owns(other)]:
            del exports[name]
        exports.update({export.name: export for export in self.exports})

    def _owns(self, export: Export) -> bool:
        return bool(export.exporting_stack_id == self.stack_id)


_ORIGINAL_DELETE_STACK: Final = CloudFormationBackend.delete_stack
_ORIGINAL_DELETE_CHANGE_SET: Final = CloudFormationBackend.delete_change_set


# The methods that replace those of moto's ``CloudFormationBackend``.


def delete_stack(self: CloudFormationBackend, name_or_stack_id: str) -> None:
    """Delete a stack, and keep it if a resource cannot be removed."""
    _ORIGINAL_DELETE_STACK(self, name_or_stack_id)
    for stack in list(self.deleted_stacks.values()):
        if stack.status == "DELETE_FAILED":
            self.stacks[stack.stack_id] = self.deleted_stacks.pop(stack.stack_id)


def execute_change_set(
    self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    """Create or update a stack as CreateStack and UpdateStack do."""
    del stack_name  # moto also finds the change set by its own name
    change_set = self.describe_change_set(change_set_name)
    if change_set is None:
        raise ValidationError(change_set_name)
    stack = self.stacks[change_set.stack_id]
    if change_set.change_set_type == "CREATE" and isinstance(stack, SandboxStack):
        stack.begin(change_set.template, change_set.parameters)
        stack.create_resources()
    else:
        stack.update(change_set.template, parameters=change_set.parameters)
    change_set.execution_status = "EXECUTE_COMPLETE"


def delete_change_set(self: CloudFormationBackend, change_set_name: str) -> None:
    """Delete a change set; one that does not exist is no error, which the CDK relies on."""
    names = {change_set.change_set_name for change_set in self.change_sets.values()}
    if change_set_name in names or change_set_name in self.change_sets:
        _ORIGINAL_DELETE_CHANGE_SET(self, change_set_name)
