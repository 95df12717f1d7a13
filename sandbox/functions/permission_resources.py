"""Lambda's permissions: statements in the policy of a function or an alias.

moto's type treats a permission for an alias as one for the function, and can neither change nor
remove it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.awslambda.exceptions import UnknownFunctionException, UnknownPolicyException
from moto.awslambda.models import LambdaBackend, lambda_backends

from sandbox.cloudformation.resource import Resource, ResourceFailedError, document

_REQUIRED: Final = ("Action", "FunctionName", "Principal")
_CONDITIONS: Final = ("SourceAccount", "SourceArn")


class Permission(Resource):
    """A permission: a statement, whose id is the resource's name."""

    type_name = "AWS::Lambda::Permission"
    longest_name = 100
    required = _REQUIRED
    replaced_by = (*_REQUIRED, *_CONDITIONS)

    def create(self) -> None:
        """Add it to the policy."""
        for name in self.properties:
            if name not in self.replaced_by:
                raise ResourceFailedError(f"The sandbox's permissions have no {name}.")
        name, qualifier = self._function()
        statement = {key: self.properties[key] for key in self.properties if key != "FunctionName"}
        raw = document({**statement, "StatementId": self.name})
        self._backend.add_permission(name, qualifier, raw)  # type: ignore[arg-type]  # or none

    def change(self, before: Mapping[str, Any]) -> None:
        """Do nothing: each change replaces the permission."""

    def remove(self) -> None:
        """Remove it from the policy."""
        with suppress(UnknownFunctionException, UnknownPolicyException):
            self._backend.remove_permission(self._function()[0], self.name)

    @property
    def physical_resource_id(self) -> str:
        """The statement's id."""
        return self.name

    def _function(self) -> tuple[str, str | None]:
        """Return the function's name and qualifier, from a name, an ARN or the end of one."""
        name, _, qualifier = self.properties["FunctionName"].split(":function:")[-1].partition(":")
        return name, qualifier or None

    @property
    def _backend(self) -> LambdaBackend:
        backend: LambdaBackend = lambda_backends[self.account_id][self.region]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [Permission]
