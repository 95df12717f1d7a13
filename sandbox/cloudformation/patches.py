"""The patches of moto's CloudFormation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from moto.cloudformation import models, parsing, responses
from moto.cloudformation.models import CloudFormationBackend
from moto.core.common_models import CloudFormationModel

from sandbox.cloudformation import stack, template
from sandbox.cloudformation.resource import Resource
from sandbox.patches import Patch

CACHES: Final = (parsing.get_model_map.cache_clear, parsing.get_name_type_map.cache_clear)
"""Clear what moto remembers of the resource types."""


def patches(resource_types: Iterable[type[Resource]]) -> list[Patch]:
    """List the patches with which moto's CloudFormation uses resource types of the sandbox.

    What a template says about a function is kept only while the patches of
    ``sandbox.functions`` are applied, too.
    """
    types = {model.type_name: model for model in resource_types}

    def get_model_list() -> list[type[CloudFormationModel]]:
        """List moto's models and the sandbox's, and only the sandbox's if both have a type."""
        moto = CloudFormationModel.__subclasses__()
        others = [model for model in moto if model.cloudformation_type() not in types]
        return [*others, *types.values()]

    return [
        Patch(models, "Stack", stack.SandboxStack),
        Patch(parsing, "get_model_list", get_model_list),
        Patch(responses, "get_stack_from_s3_url", template.from_s3),
        *(
            Patch(CloudFormationBackend, method.__name__, method)
            for method in (stack.delete_change_set, stack.delete_stack, stack.execute_change_set)
        ),
    ]
