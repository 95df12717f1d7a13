"""Keep a configuration of asynchronous invocations for each alias and version of a function.

moto keeps one for the whole function and ignores the qualifier. With these patches the methods of
the backend take a name with a qualifier, such as ``push-sender:live``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.exceptions import LambdaClientError, UnknownEventConfig
from moto.awslambda.models import (
    EventInvokeConfig,
    LambdaBackend,
    LambdaFunction,
    lambda_backends,
)
from moto.awslambda.responses import LambdaResponse
from moto.awslambda.utils import make_function_arn
from moto.core.utils import iso_8601_datetime_with_nanoseconds

from sandbox.functions.refusals import refusal
from sandbox.patches import Patch

_PATH: Final = "/event-invoke-config"


def config_of(function_arn: str) -> Mapping[str, Any]:
    """Return the configuration of a function, an alias or a version; empty if there is none."""
    region, account_id = function_arn.split(":")[3:5]
    try:
        return _get(lambda_backends[account_id][region], function_arn)
    except LambdaClientError:  # also if the function was deleted
        return {}


def _with_qualifier(original: Any) -> Any:
    def qualified(self: LambdaResponse) -> Any:
        if qualifier := self._get_param("Qualifier"):
            self.path = self.path.replace(_PATH, f":{qualifier}{_PATH}")
        return original(self)

    return qualified


def _put(self: LambdaBackend, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
    _refuse_other_destinations(config.get("DestinationConfig") or {})
    function, arn = _find(self, function_name)
    made = EventInvokeConfig(arn, iso_8601_datetime_with_nanoseconds(), config)
    others = [other for other in function.event_invoke_config if other.arn != arn]
    function.event_invoke_config = [*others, made]
    return made.response()


def _get(self: LambdaBackend, function_name: str) -> dict[str, Any]:
    function, arn = _find(self, function_name)
    for config in function.event_invoke_config:
        if config.arn == arn:
            return config.response()
    raise UnknownEventConfig(arn)


def _delete(self: LambdaBackend, function_name: str) -> None:
    _get(self, function_name)
    function, arn = _find(self, function_name)
    function.event_invoke_config = [
        other for other in function.event_invoke_config if other.arn != arn
    ]


def _list(self: LambdaBackend, function_name: str) -> dict[str, Any]:
    function, _ = _find(self, function_name)
    return {
        "FunctionEventInvokeConfigs": [config.response() for config in function.event_invoke_config]
    }


def _refuse_other_destinations(destinations: Mapping[str, Any]) -> None:
    for condition, destination in destinations.items():
        arn = destination.get("Destination", "")
        if arn and (condition != "OnFailure" or not arn.startswith("arn:aws:sqs:")):
            raise refusal(
                400,
                "InvalidParameterValueException",
                "The sandbox knows only SQS queues as destinations, and only OnFailure.",
            )


def _find(backend: LambdaBackend, name: str) -> tuple[LambdaFunction, str]:
    """Return the function that keeps the configurations, and the ARN of one of them."""
    qualifier = name.split(":function:")[-1].partition(":")[2] or "$LATEST"
    function = backend.get_function(backend.get_function(name).function_name)
    arn = make_function_arn(function.region, function.account_id, function.function_name)
    return function, f"{arn}:{qualifier}"


PATCHES: Final = (
    Patch(LambdaBackend, "put_function_event_invoke_config", _put),
    Patch(LambdaBackend, "get_function_event_invoke_config", _get),
    Patch(LambdaBackend, "delete_function_event_invoke_config", _delete),
    Patch(LambdaBackend, "list_function_event_invoke_configs", _list),
    *(
        Patch(LambdaResponse, name, _with_qualifier(getattr(LambdaResponse, name)))
        for name in (
            "put_function_event_invoke_config",
            "update_function_event_invoke_config",
            "get_function_event_invoke_config",
            "delete_function_event_invoke_config",
        )
    ),
)
