"""What moto's Lambda forgets of a function: settings, and how many versions there were.

moto drops some settings when a function is made or changed, most of them when a template
does it, and numbers a version anew after an older one was deleted. What is kept hangs on
moto's own functions, so that a version carries the settings that it was published with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.models import LambdaFunction, LambdaStorage

_FORGOTTEN: Final = (
    "Architectures",
    "DeadLetterConfig",
    "EphemeralStorage",
    "FileSystemConfigs",
    "KMSKeyArn",
    "LoggingConfig",
    "TracingConfig",
)
_KEPT: Final = "push_sandbox_settings"
_LAST_VERSION: Final = "push_sandbox_last_version"


def kept(function: LambdaFunction) -> Mapping[str, Any]:
    """Give the settings of a function that moto would have forgotten, by AWS's names."""
    settings: Mapping[str, Any] = vars(function).get(_KEPT, {})
    return settings


def corrections() -> list[tuple[type, str, Any]]:
    """Make the methods that put this right: the class of moto's, the name, the new one."""
    return [*_keeping_settings(), (LambdaStorage, "publish_version", _publishing())]


def _keep(function: LambdaFunction, settings: Mapping[str, Any]) -> None:
    # A new mapping, because the versions published so far share the old one.
    vars(function)[_KEPT] = {
        **kept(function),
        **{name: settings[name] for name in _FORGOTTEN if name in settings},
    }


def _keeping_settings() -> list[tuple[type, str, Any]]:
    init = LambdaFunction.__init__
    update = LambdaFunction.update_configuration
    describe = LambdaFunction.get_configuration
    create = LambdaFunction.create_from_cloudformation_json

    def init_keeping(
        self: LambdaFunction, account_id: str, spec: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        _keep(self, spec)
        init(self, account_id, spec, *args, **kwargs)

    def update_keeping(self: LambdaFunction, updates: dict[str, Any]) -> dict[str, Any]:
        _keep(self, updates)
        return update(self, updates)

    def describe_fully(self: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
        logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.function_name}"}
        set_here = {name: value for name, value in kept(self).items() if value}
        logging |= set_here.pop("LoggingConfig", {})
        return {**describe(self, on_create), **set_here, "LoggingConfig": logging}

    def create_keeping(
        cls: type[LambdaFunction], name: str, resource: dict[str, Any], *args: Any, **kwargs: Any
    ) -> LambdaFunction:
        function = create(name, resource, *args, **kwargs)
        _keep(function, resource["Properties"])
        return function

    return [
        (LambdaFunction, "__init__", init_keeping),
        (LambdaFunction, "update_configuration", update_keeping),
        (LambdaFunction, "get_configuration", describe_fully),
        (LambdaFunction, "create_from_cloudformation_json", classmethod(create_keeping)),
    ]


def _publishing() -> Any:
    publish = LambdaStorage.publish_version

    def publish_next(
        self: LambdaStorage, name_or_arn: str, description: str = ""
    ) -> LambdaFunction | None:
        latest = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
        before = list(self.list_versions_by_function(latest.function_name))
        published = publish(self, name_or_arn, description)
        if published is None or any(published is version for version in before):
            return published
        # moto counts the versions that are left; AWS never gives a number twice.
        number = vars(latest).get(_LAST_VERSION, 0) + 1
        vars(latest)[_LAST_VERSION] = number
        published.set_version(number)
        self._arns[published.function_arn] = published
        # moto leaves this as it was where it publishes the first version.
        latest.code_or_config_updated = False
        return published

    return publish_next
