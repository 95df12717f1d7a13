"""The stage of an HTTP API: how much it lets through, and where its access log goes."""

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
from sandbox.http_apis.resources import OfHttpApi, refuse_others

_LIMITS: Final = ("ThrottlingBurstLimit", "ThrottlingRateLimit")
_LOG: Final = ("DestinationArn", "Format")


class Stage(OfHttpApi):
    """The stage whose name is in no address, with all that is in the API deployed at once."""

    type_name = "AWS::ApiGatewayV2::Stage"
    required = ("ApiId", "AutoDeploy", "StageName")
    replaced_by = ("ApiId", "StageName")
    implemented = ("AccessLogSettings", "ApiId", "DefaultRouteSettings", "Description", "Tags")
    only = (("AutoDeploy", "true"), ("StageName", STAGE))

    _stage: MotoStage | None = None

    def check(self) -> None:
        """Refuse what is not implemented, and what cannot be."""
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
        stage.access_log_settings = _as_the_api_has_it(self._log)
        stage.default_route_settings = _as_the_api_has_it(self._limits)
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
    def _limits(self) -> dict[str, Any]:
        limits = self.properties.get("DefaultRouteSettings", {})
        return {name: float(value) for name, value in limits.items()}

    @property
    def _log(self) -> dict[str, str]:
        log: dict[str, str] = self.properties.get("AccessLogSettings", {})
        return log

    def _check_limits(self) -> None:
        limits = self.properties.get("DefaultRouteSettings", {})
        refuse_others(limits, _LIMITS, "DefaultRouteSettings.")
        for name, value in self._limits.items():
            if value < 0:
                raise ResourceFailedError(f"DefaultRouteSettings.{name} is less than nothing.")

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
                "AccessLogSettings.DestinationArn in the sandbox is the ARN of a log group that"
                " is there."
            )
        if problem := problem_of(self._log["Format"]):
            raise ResourceFailedError(f"AccessLogSettings.Format {problem}.")


RESOURCE_TYPES: Final[list[type[Resource]]] = [Stage]


def _as_the_api_has_it(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name[0].lower()}{name[1:]}": value for name, value in settings.items()}
