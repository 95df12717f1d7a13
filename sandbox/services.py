"""The services that the sandbox adds to moto, and the blocks that apply their patches.

To add a service, add its folder and a line to ``SERVICES``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

from moto.awslambda.models import lambda_backends

import sandbox.cloudformation.lighter_moto  # noqa: F401  before what imports moto's CloudFormation
from sandbox import clock
from sandbox.cloudformation import patches as cloudformation
from sandbox.cloudformation.resource import Resource
from sandbox.cloudwatch.patches import PATCHES as CLOUDWATCH_PATCHES
from sandbox.cloudwatch.resources import RESOURCE_TYPES as CLOUDWATCH_TYPES
from sandbox.dynamodb.expiry import expiring_items
from sandbox.dynamodb.patches import PATCHES as DYNAMODB_PATCHES
from sandbox.dynamodb.resources import RESOURCE_TYPES as DYNAMODB_TYPES
from sandbox.entry_points import EVENTBRIDGE, JOB
from sandbox.events.patches import patches as events_patches
from sandbox.events.resources import RESOURCE_TYPES as EVENTS_TYPES
from sandbox.functions.event_source_mappings import find_function
from sandbox.functions.event_source_resources import RESOURCE_TYPES as EVENT_SOURCE_TYPES
from sandbox.functions.function_policies import allows_service
from sandbox.functions.patches import patches as functions_patches
from sandbox.functions.permission_resources import RESOURCE_TYPES as PERMISSION_TYPES
from sandbox.functions.refusals import refusal
from sandbox.functions.resources import RESOURCE_TYPES as FUNCTIONS_TYPES
from sandbox.functions.service import LambdaService
from sandbox.http_apis.authorizer_resources import RESOURCE_TYPES as AUTHORIZER_TYPES
from sandbox.http_apis.resources import RESOURCE_TYPES as HTTP_API_TYPES
from sandbox.http_apis.stage_resources import RESOURCE_TYPES as STAGE_TYPES
from sandbox.iam.resources import RESOURCE_TYPES as IAM_TYPES
from sandbox.kms.patches import PATCHES as KMS_PATCHES
from sandbox.patches import Patch, applied
from sandbox.pinpoint.patches import PATCHES as PINPOINT_PATCHES
from sandbox.pinpoint.resources import RESOURCE_TYPES as PINPOINT_TYPES
from sandbox.s3.patches import PATCHES as S3_PATCHES
from sandbox.s3.resources import RESOURCE_TYPES as S3_TYPES
from sandbox.scheduler.firing import firing_schedules
from sandbox.scheduler.patches import PATCHES as SCHEDULER_PATCHES
from sandbox.scheduler.resources import RESOURCE_TYPES as SCHEDULER_TYPES
from sandbox.sns.patches import PATCHES as SNS_PATCHES
from sandbox.sns.resources import RESOURCE_TYPES as SNS_TYPES
from sandbox.sqs.patches import PATCHES as SQS_PATCHES
from sandbox.sqs.resources import RESOURCE_TYPES as SQS_TYPES
from sandbox.step_functions.patches import PATCHES as STEP_FUNCTIONS_PATCHES
from sandbox.step_functions.patches import patches as step_functions_patches
from sandbox.step_functions.resources import RESOURCE_TYPES as STEP_FUNCTIONS_TYPES
from sandbox.step_functions.run_details import EXPRESS_SECONDS, Invocation, Surroundings
from sandbox.step_functions.service import ending_executions


class Service(NamedTuple):
    """What a service adds to moto."""

    resource_types: Sequence[type[Resource]]
    patches: Sequence[Patch] = ()


# Patches that need a running part of the sandbox are applied by the block that runs that part.
SERVICES: Final = (
    Service(CLOUDWATCH_TYPES, CLOUDWATCH_PATCHES),
    Service(DYNAMODB_TYPES, DYNAMODB_PATCHES),
    Service(EVENTS_TYPES),
    Service((*FUNCTIONS_TYPES, *EVENT_SOURCE_TYPES, *PERMISSION_TYPES)),
    Service((*HTTP_API_TYPES, *AUTHORIZER_TYPES, *STAGE_TYPES)),
    Service(IAM_TYPES),
    Service((), KMS_PATCHES),
    Service(PINPOINT_TYPES, PINPOINT_PATCHES),
    Service(S3_TYPES, S3_PATCHES),
    Service(SCHEDULER_TYPES, SCHEDULER_PATCHES),
    Service(SNS_TYPES, SNS_PATCHES),
    Service(SQS_TYPES, SQS_PATCHES),
    Service(STEP_FUNCTIONS_TYPES, STEP_FUNCTIONS_PATCHES),
)

RESOURCE_TYPES: Final = tuple(model for service in SERVICES for model in service.resource_types)
"""The resource types that templates get from the sandbox instead of moto."""

PATCHES: Final = (
    *(patch for service in SERVICES for patch in service.patches),
    *cloudformation.patches(RESOURCE_TYPES),
)


@contextmanager
def patched_moto() -> Iterator[None]:
    """Apply the patches of all services. Enter the block before a server starts in it."""
    with applied(PATCHES, cloudformation.CACHES):
        yield


@contextmanager
def running(
    service: LambdaService, *, express_seconds: int = EXPRESS_SECONDS
) -> Iterator[LambdaService]:
    """Run a Lambda service, let moto invoke functions through it, expire items, fire schedules.

    The end of the block sets the clock to the time that it had at the beginning.

    Parameters
    ----------
    service
        It runs the functions.
    express_seconds
        How long a child of a Distributed Map may run.
    """
    invoke = partial(_invoke_later, service)
    surroundings = Surroundings(partial(_invoke_task, service), service.is_allowed, express_seconds)
    bound = [
        *functions_patches(service),
        *events_patches(invoke),
        *step_functions_patches(surroundings),
    ]
    with (
        patched_moto(),
        applied(bound),
        service,
        clock.moved_ahead(0),
        expiring_items(),
        ending_executions(),
        firing_schedules(service.is_allowed),
    ):
        yield service


def _invoke_task(
    service: LambdaService, arn: str, payload: bytes, account_id: str, region: str
) -> Invocation:
    """Run a function for a task; unlike AWS, wait until a process is free."""
    result = service.invoke(
        arn, payload, account_id=account_id, region=region, entry_point=JOB, wait=True
    )
    return Invocation(result.payload, result.executed_version, result.request_id, result.failed)


def _invoke_later(service: LambdaService, arn: str, event: bytes, rule_arn: str) -> str:
    """Hand an event of EventBridge to a function whose policy allows the rule."""
    region, account_id = arn.split(":")[3:5]
    find_function(lambda_backends[account_id][region], arn)
    if not allows_service(arn, "events.amazonaws.com", rule_arn):
        raise refusal(
            403, "AccessDeniedException", "The function's policy does not allow this rule."
        )
    return service.invoke_later(
        arn, event, account_id=account_id, region=region, entry_point=EVENTBRIDGE
    )
