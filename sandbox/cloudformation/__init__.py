"""What moto's CloudFormation lacks to deploy this project's template, and to fail as AWS does.

``stack`` and ``stack_resources`` say how a template becomes resources: in what order, what is
changed or replaced, what stays behind, and how a failure ends. The other modules hold the
resource types, each on moto's own state. Types that none of them has stay moto's.
"""

from __future__ import annotations

from moto.cloudformation import models, parsing, responses
from moto.cloudformation.models import CloudFormationBackend
from moto.core.common_models import CloudFormationModel

from sandbox.cloudformation import template
from sandbox.cloudformation.resource import Resource
from sandbox.cloudformation.stack import (
    SandboxStack,
    delete_change_set,
    delete_stack,
    execute_change_set,
)
from sandbox.cloudwatch import resources as monitoring
from sandbox.dynamodb import resources as databases
from sandbox.events import resources as eventing
from sandbox.functions import event_source_resources as event_sources
from sandbox.functions import permission_resources as function_permissions
from sandbox.functions import resources as functions
from sandbox.http_apis import resources as http_apis
from sandbox.http_apis import stage_resources as http_api_stages
from sandbox.iam import resources as identity
from sandbox.pinpoint import resources as pinpoint
from sandbox.sqs import resources as messaging

RESOURCE_TYPES: dict[str, type[Resource]] = {
    model.type_name: model
    for module in (
        *(databases, event_sources, eventing, function_permissions, functions),
        *(http_api_stages, http_apis, identity, messaging, monitoring, pinpoint),
    )
    for model in module.RESOURCE_TYPES
}


def install() -> None:
    """Put this into moto's CloudFormation; twice does no more than once.

    Call it before moto's CloudFormation is first used. What a template says of a function is
    kept whole only while ``sandbox.functions`` is installed, too.
    """
    if models.Stack is SandboxStack:
        return
    messaging.correct_moto()
    # Through the modules' dictionaries, because these are names that moto looks up there.
    vars(models)["Stack"] = SandboxStack
    vars(parsing)["get_model_list"] = _models
    vars(responses)["get_stack_from_s3_url"] = template.from_s3
    parsing.get_model_map.cache_clear()
    parsing.get_name_type_map.cache_clear()
    backend = {
        "delete_change_set": delete_change_set,
        "delete_stack": delete_stack,
        "execute_change_set": execute_change_set,
    }
    for name, method in backend.items():
        setattr(CloudFormationBackend, name, method(getattr(CloudFormationBackend, name)))


def _models() -> list[type[CloudFormationModel]]:
    """List moto's models and these, and of two for one type only this one."""
    motos = CloudFormationModel.__subclasses__()
    others = [model for model in motos if model.cloudformation_type() not in RESOURCE_TYPES]
    return [*others, *RESOURCE_TYPES.values()]
