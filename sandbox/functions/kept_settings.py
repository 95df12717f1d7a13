"""Keep what moto's Lambda loses of a function: settings, and the number of its last version.

moto drops some settings when a function is created or changed, most of them when a template
does it. It also uses a version's number again after a version was deleted. The settings are kept
on moto's own function objects, so that a version has the settings that it was published with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moto.awslambda.models import LambdaFunction, LambdaStorage

from sandbox.patches import Patch

_LOST: Final = (
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

_ORIGINAL_INIT: Final = LambdaFunction.__init__
_ORIGINAL_UPDATE: Final = LambdaFunction.update_configuration
_ORIGINAL_DESCRIBE: Final = LambdaFunction.get_configuration
_ORIGINAL_CREATE: Final = LambdaFunction.create_from_cloudformation_json
_ORIGINAL_PUBLISH: Final = LambdaStorage.publish_version


def kept_settings(function: LambdaFunction) -> Mapping[str, Any]:
    """Return the settings of a function that moto would lose, by AWS's names."""
    settings: Mapping[str, Any] = vars(function).get(_KEPT, {})
    return settings


def logging_config(function: LambdaFunction) -> Mapping[str, str]:
    """Return a function's LoggingConfig."""
    return dict(kept_settings(function).get("LoggingConfig") or {})


def _keep(function: LambdaFunction, settings: Mapping[str, Any]) -> None:
    # A new mapping, because the versions published so far share the old one.
    vars(function)[_KEPT] = {
        **kept_settings(function),
        **{name: settings[name] for name in _LOST if name in settings},
    }


def _init(
    self: LambdaFunction, account_id: str, spec: dict[str, Any], *args: Any, **kwargs: Any
) -> None:
    _keep(self, spec)
    _ORIGINAL_INIT(self, account_id, spec, *args, **kwargs)


def _update(self: LambdaFunction, updates: dict[str, Any]) -> dict[str, Any]:
    _keep(self, updates)
    return _ORIGINAL_UPDATE(self, updates)


def _describe(self: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
    logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.function_name}"}
    settings = {name: value for name, value in kept_settings(self).items() if value}
    logging |= settings.pop("LoggingConfig", {})
    return {**_ORIGINAL_DESCRIBE(self, on_create), **settings, "LoggingConfig": logging}


def _create(
    cls: type[LambdaFunction], name: str, resource: dict[str, Any], *args: Any, **kwargs: Any
) -> LambdaFunction:
    del cls
    function = _ORIGINAL_CREATE(name, resource, *args, **kwargs)
    _keep(function, resource["Properties"])
    return function


def _publish(self: LambdaStorage, name_or_arn: str, description: str = "") -> LambdaFunction | None:
    latest = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
    before = list(self.list_versions_by_function(latest.function_name))
    published = _ORIGINAL_PUBLISH(self, name_or_arn, description)
    if published is None or any(published is version for version in before):
        return published
    # moto counts the versions that exist; AWS never uses a number twice.
    number = vars(latest).get(_LAST_VERSION, 0) + 1
    vars(latest)[_LAST_VERSION] = number
    published.set_version(number)
    self._arns[published.function_arn] = published
    # moto does not reset this after it publishes the first version.
    latest.code_or_config_updated = False
    return published


PATCHES: Final = (
    Patch(LambdaFunction, "__init__", _init),
    Patch(LambdaFunction, "update_configuration", _update),
    Patch(LambdaFunction, "get_configuration", _describe),
    Patch(LambdaFunction, "create_from_cloudformation_json", classmethod(_create)),
    Patch(LambdaStorage, "publish_version", _publish),
)
