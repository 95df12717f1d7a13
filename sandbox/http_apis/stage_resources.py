"""The stage of an HTTP API: its limits, and its access log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.apigatewayv2.exceptions import ApiNotFound
from moto.apigatewayv2.models import Stage as MotoStage
from moto.logs.models import logs_backends

from sandbox.cloudformation.resource import Resource, ResourceFailedError
from sandbox.http_apis.access_log import problem_of
from sandbox.http_apis.deployed import LOG_GROUP_ARN, STAGE
from sandbox.http_apis.resources import HttpApiResource, refuse_others

_LIMITS: Final = ("ThrottlingBurstLimit", "ThrottlingRateLimit")
_LOG: Final = ("DestinationArn", "Format")

Settings = Mapping[str, Any]


class Stage(HttpApiResource):
    """The stage ``$default``, which has no path and deploys each change of the API at once."""

    type_name = "AWS::ApiGatewayV2::Stage"
    required = ("ApiId", "AutoDeploy", "StageName")
    replaced_by = ("ApiId", "StageName")
    implemented = (
        *("AccessLogSettings", "ApiId", "DefaultRouteSettings", "Description"),
        *("RouteSettings", "Tags"),
    )
    only = (("AutoDeploy", "true"), ("StageName", STAGE))

    _stage: MotoStage | None = None

    def check(self) -> None:
        """Refuse properties that are not implemented, and invalid values."""
        super().check()
        if self._stage is None and STAGE in self.api.stages:
            raise ResourceFailedError("The API has a stage with this StageName.")
        self._check_limits()
        self._check_log()

    def make(self) -> None:
        """Make it."""
        self._stage = self.api.create_stage({"stageName": STAGE, "autoDeploy": True})

    def set(self) -> None:
        """Set the limits and the access log."""
        stage = self.api.get_stage(STAGE)
        stage.access_log_settings = _with_api_names(self._log)
        stage.default_route_settings = _numbers(self._default_settings)
        stage.route_settings = {key: _numbers(own) for key, own in self._route_settings.items()}
        stage.description = self.properties.get("Description", "")
        stage.tags = self.tags

    def remove(self) -> None:
        """Remove it."""
        with suppress(ApiNotFound):
            self.api.delete_stage(STAGE)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return STAGE

    @property
    def _default_settings(self) -> Settings:
        settings: Settings = self.properties.get("DefaultRouteSettings", {})
        return settings

    @property
    def _route_settings(self) -> Mapping[str, Settings]:
        settings: Mapping[str, Settings] = self.properties.get("RouteSettings", {})
        return settings

    @property
    def _log(self) -> dict[str, str]:
        log: dict[str, str] = self.properties.get("AccessLogSettings", {})
        return log

    def _check_limits(self) -> None:
        _check_settings(self._default_settings, "DefaultRouteSettings.")
        for settings in self._route_settings.values():
            _check_settings(settings, "RouteSettings.")
        # API Gateway refuses this, too ("Unable to find Route by key … within the provided
        # RouteSettings"), so the stage of a template must depend on the routes.
        keys = {route.route_key for route in self.api.get_routes()}
        if not self._route_settings.keys() <= keys:
            raise ResourceFailedError("RouteSettings names a route that the API does not have.")

    def _check_log(self) -> None:
        refuse_others(self._log, _LOG, "AccessLogSettings.")
        if not self._log:
            return
        for name in _LOG:
            if name not in self._log:
                raise ResourceFailedError(f"AccessLogSettings needs {name}.")
        group = LOG_GROUP_ARN.fullmatch(self._log["DestinationArn"])
        groups = logs_backends[self.account_id][self.region].groups
        if group is None or group["name"] not in groups:
            raise ResourceFailedError(
                "AccessLogSettings.DestinationArn in the sandbox must be the ARN of an existing"
                " log group."
            )
        if problem := problem_of(self._log["Format"]):
            raise ResourceFailedError(f"AccessLogSettings.Format {problem}.")


RESOURCE_TYPES: Final[list[type[Resource]]] = [Stage]


def _check_settings(settings: Settings, within: str) -> None:
    refuse_others(settings, _LIMITS, within)
    for name, value in settings.items():
        if float(value) < 0:
            raise ResourceFailedError(f"{within}{name} is less than 0.")


def _numbers(settings: Settings) -> dict[str, Any]:
    return _with_api_names({name: float(value) for name, value in settings.items()})


def _with_api_names(settings: Settings) -> dict[str, Any]:
    return {f"{name[0].lower()}{name[1:]}": value for name, value in settings.items()}
