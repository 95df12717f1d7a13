"""What Lambda does with a failed asynchronous event, for each alias and version of its own.

moto keeps one such configuration for a function and overlooks the qualifier.
"""

from __future__ import annotations

from typing import Any

from moto.awslambda.exceptions import UnknownEventConfig
from moto.awslambda.models import EventInvokeConfig, LambdaBackend, LambdaFunction
from moto.awslambda.responses import LambdaResponse
from moto.awslambda.utils import make_function_arn
from moto.core.utils import iso_8601_datetime_with_nanoseconds

_PATH = "/event-invoke-config"


def corrections() -> list[tuple[type, str, Any]]:
    """Make the methods that put this right: the class of moto's, the name, the new one.

    The backend's methods then take a name with a qualifier, such as ``push-sender:live``.
    """
    return [
        (LambdaBackend, "put_function_event_invoke_config", _put),
        (LambdaBackend, "get_function_event_invoke_config", _get),
        (LambdaBackend, "delete_function_event_invoke_config", _delete),
        (LambdaBackend, "list_function_event_invoke_configs", _list),
        *(
            (LambdaResponse, method, _with_qualifier(getattr(LambdaResponse, method)))
            for method in (
                "put_function_event_invoke_config",
                "update_function_event_invoke_config",
                "get_function_event_invoke_config",
                "delete_function_event_invoke_config",
            )
        ),
    ]


def _with_qualifier(answer: Any) -> Any:
    def qualified(self: LambdaResponse) -> Any:
        if qualifier := self._get_param("Qualifier"):
            self.path = self.path.replace(_PATH, f":{qualifier}{_PATH}")
        return answer(self)

    return qualified


def _put(self: LambdaBackend, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
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


def _find(backend: LambdaBackend, name: str) -> tuple[LambdaFunction, str]:
    """Give the function that keeps the configurations, and the ARN that one of them is for."""
    qualifier = name.split(":function:")[-1].partition(":")[2] or "$LATEST"
    function = backend.get_function(backend.get_function(name).function_name)
    arn = make_function_arn(function.region, function.account_id, function.function_name)
    return function, f"{arn}:{qualifier}"
