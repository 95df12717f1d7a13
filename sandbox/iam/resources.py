"""IAM's roles. Their policies of type ``AWS::IAM::Policy`` are moto's own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final

from moto.iam.exceptions import NotFoundException
from moto.iam.models import IAMBackend, iam_backends
from moto.iam.models import Role as MotoRole
from moto.utilities.utils import get_partition

from sandbox.cloudformation.resource import Resource, document

_LONGEST_SESSION_SECONDS: Final = 3600


class Role(Resource):
    """A role."""

    type_name = "AWS::IAM::Role"
    name_property = "RoleName"
    longest_name = 64
    required = ("AssumeRolePolicyDocument",)
    replaced_by = ("RoleName", "Path")
    attribute_names = ("Arn", "RoleId")

    _role: MotoRole

    def create(self) -> None:
        """Make it."""
        self._role = self._backend.create_role(
            role_name=self.name,
            assume_role_policy_document=self.text("AssumeRolePolicyDocument"),
            path=self.properties.get("Path", "/"),
            permissions_boundary=None,
            description="",
            tags=[],
            max_session_duration=None,
        )
        with ExitStack() as undo:
            undo.callback(self.remove)  # a role with an invalid policy must not stay
            self.change({})
            undo.pop_all()

    def change(self, before: Mapping[str, Any]) -> None:
        """Change everything except its name and path."""
        backend, own = self._backend, self.properties
        backend.update_role(
            self.name,
            own.get("Description", ""),
            own.get("MaxSessionDuration", _LONGEST_SESSION_SECONDS),
        )
        backend.update_assume_role_policy(self.name, self.text("AssumeRolePolicyDocument"))
        backend.put_role_permissions_boundary(self.name, own.get("PermissionsBoundary", ""))
        self._role.tags = []
        backend.tag_role(self.name, own.get("Tags", []))
        # Only policies of the template, because the role can have others.
        self._set_policies(own.get("Policies", []), before.get("Policies", []))
        attached, wanted = self._role.managed_policies, own.get("ManagedPolicyArns", [])
        for arn in before.get("ManagedPolicyArns", []):
            if arn in attached and arn not in wanted:
                backend.detach_role_policy(arn, self.name)
        for arn in wanted:
            if arn not in attached:
                backend.attach_role_policy(arn, self.name)

    def remove(self) -> None:
        """Remove it with its policies."""
        with suppress(NotFoundException):
            for arn in list(self._role.managed_policies):
                self._backend.detach_role_policy(arn, self.name)
            self._role.policies.clear()
            self._backend.delete_role(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and id."""
        return {"Arn": self._role.arn, "RoleId": self._role.id}

    def _set_policies(self, wanted: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
        for policy in before:
            self._role.policies.pop(policy["PolicyName"], None)
        for policy in wanted:
            self._backend.put_role_policy(
                self.name, policy["PolicyName"], document(policy["PolicyDocument"])
            )

    @property
    def _backend(self) -> IAMBackend:
        backend: IAMBackend = iam_backends[self.account_id][get_partition(self.region)]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [Role]
