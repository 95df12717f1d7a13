"""Event source mappings of queues as Lambda has them.

moto forgets the alias of the function, so that a mapping would keep a version for ever, and it
accepts settings that Lambda refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import EventSourceMapping, LambdaBackend, LambdaFunction
from moto.awslambda.utils import make_function_arn
from moto.sqs.models import Queue

from sandbox.functions.refusals import refusal
from sandbox.patches import Patch
from sandbox.sqs.queues import queue_of

NEEDED: Final = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
"""The actions on a queue that Lambda does with the function's role."""

_MOST_AT_ONCE: Final = 10  # messages of one ReceiveMessage
_CONCURRENCY: Final = range(2, 1001)

_SERVICES: Final = {
    "dynamodb": "DynamoDB streams",
    "kinesis": "Kinesis streams",
    "kafka": "Amazon MSK",
    "mq": "Amazon MQ",
    "rds": "Amazon DocumentDB",
}
_OTHER_SOURCES: Final = {"SelfManagedEventSource": "self-managed Apache Kafka"}
"""Sources without an ARN, by the parameter that names them."""

IsAllowed = Callable[[str, str, str], bool]
"""Returns whether a role (its ARN) is allowed an action on a resource."""

_ORIGINAL_CREATE: Final = LambdaBackend.create_event_source_mapping
_ORIGINAL_UPDATE: Final = LambdaBackend.update_event_source_mapping
_ORIGINAL_DELETE: Final = LambdaBackend.delete_event_source_mapping


def patches(is_allowed: IsAllowed) -> list[Patch]:
    """List the patches of moto's mappings."""
    return [
        Patch(LambdaBackend, "create_event_source_mapping", _creating(is_allowed)),
        Patch(LambdaBackend, "update_event_source_mapping", _update),
        Patch(LambdaBackend, "delete_event_source_mapping", _delete),
        Patch(LambdaBackend, "list_event_source_mappings", _list),
    ]


def find_function(backend: LambdaBackend, name: str) -> tuple[LambdaFunction, str]:
    """Find a function by any of its names; return it and its ARN with the qualifier of the name.

    Raises
    ------
    LambdaClientError
        ResourceNotFoundException.
    """
    name, _, qualifier = name.split(":function:")[-1].partition(":")
    function = backend.get_function(name, qualifier or None)
    arn = make_function_arn(function.region, function.account_id, function.function_name)
    return function, f"{arn}:{qualifier}" if qualifier else arn


def _creating(is_allowed: IsAllowed) -> Any:
    def create(self: LambdaBackend, spec: dict[str, Any]) -> EventSourceMapping:
        _refuse_other_sources(spec)
        queue = queue_of(str(spec.get("EventSourceArn", "")))
        if queue is None or not spec.get("FunctionName"):
            return _ORIGINAL_CREATE(self, spec)
        function, arn = find_function(self, spec["FunctionName"])
        _check(spec, queue, function)
        for other in list(self._event_source_mappings.values()):
            if (other.event_source_arn, other.function_arn) == (queue.queue_arn, arn):
                raise refusal(
                    409,
                    "ResourceConflictException",
                    f'An event source mapping with SQS arn (" {queue.queue_arn} ") and function'
                    f' (" {arn} ") already exists. Please update or delete the existing mapping'
                    f" with UUID {other.uuid}",
                )
        for action in NEEDED:
            if not is_allowed(function.role, f"sqs:{action}", queue.queue_arn):
                raise _invalid(
                    f"The provided execution role does not have permissions to call {action} on SQS"
                )
        mapping = _ORIGINAL_CREATE(self, {**spec, "FunctionName": arn})
        mapping.function_arn = arn
        # Else moto would run the function in the thread of the request that sends a message.
        queue.lambda_event_source_mappings.clear()
        return mapping

    return create


def _update(self: LambdaBackend, uuid: str, spec: dict[str, Any]) -> EventSourceMapping | None:
    mapping = _known(self, uuid)
    queue = queue_of(mapping.event_source_arn)
    if queue is None:
        return _ORIGINAL_UPDATE(self, uuid, spec)
    function, arn = find_function(self, spec.get("FunctionName") or mapping.function_arn)
    before = {
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": mapping.max_batch_window,
        "ScalingConfig": mapping.scaling_config,
    }
    _check({**before, **spec}, queue, function)
    changed = _ORIGINAL_UPDATE(self, uuid, {**spec, "FunctionName": arn})
    mapping.function_arn = mapping.function_name = arn
    return changed


def _delete(self: LambdaBackend, uuid: str) -> EventSourceMapping | None:
    _known(self, uuid)
    return _ORIGINAL_DELETE(self, uuid)


def _list(
    self: LambdaBackend, event_source_arn: str | None, function_name: str | None
) -> list[EventSourceMapping]:
    mappings = list(self._event_source_mappings.values())
    if event_source_arn:
        mappings = [each for each in mappings if each.event_source_arn == event_source_arn]
    if function_name:
        try:
            _, arn = find_function(self, function_name)
        except LambdaClientError:
            return []
        mappings = [each for each in mappings if each.function_arn == arn]
    return mappings


def _known(backend: LambdaBackend, uuid: str) -> EventSourceMapping:
    mapping = backend.get_event_source_mapping(uuid)
    if mapping is None:
        raise refusal(
            404, "ResourceNotFoundException", "The resource you requested does not exist."
        )
    return mapping


def _refuse_other_sources(spec: dict[str, Any]) -> None:
    """Refuse other sources, which moto would accept, or run within the caller's own request."""
    arn = str(spec.get("EventSourceArn") or "")
    if arn.startswith("arn:"):
        service = arn.split(":")[2] if arn.count(":") > 1 else ""
    else:
        service = next((name for name in _OTHER_SOURCES if spec.get(name)), "")
        if not service:
            return  # no source at all, which moto refuses
    if service != "sqs":
        named = _SERVICES.get(service) or _OTHER_SOURCES.get(service) or "this service"
        raise _invalid(
            "The sandbox runs event source mappings of SQS queues only, not of "
            f"{named}: leave this mapping out, or invoke the function with such an event."
        )


def _check(spec: dict[str, Any], queue: Queue, function: LambdaFunction) -> None:
    """Refuse what Lambda refuses."""
    hidden: int = queue.visibility_timeout  # type: ignore[attr-defined]  # set where moto reads attributes
    if hidden < int(function.timeout):
        raise _invalid(
            f"Queue visibility timeout: {hidden} seconds is less than Function timeout:"
            f" {int(function.timeout)} seconds"
        )
    if (spec.get("FilterCriteria") or {}).get("Filters"):
        raise _invalid("The sandbox does not know FilterCriteria.")
    size = spec.get("BatchSize")
    if size is not None and size < 1:
        raise _invalid("Batch size must be at least 1.")
    if size is not None and size > _MOST_AT_ONCE and not spec.get("MaximumBatchingWindowInSeconds"):
        raise _invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is"
            f" greater than {_MOST_AT_ONCE}"
        )
    concurrency = (spec.get("ScalingConfig") or {}).get("MaximumConcurrency")
    if concurrency is not None and concurrency not in _CONCURRENCY:
        raise _invalid("MaximumConcurrency must be between 2 and 1000.")


def _invalid(message: str) -> LambdaClientError:
    return refusal(400, "InvalidParameterValueException", message)
