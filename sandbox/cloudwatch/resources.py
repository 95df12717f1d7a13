"""CloudWatch: alarms, dashboards and log groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from moto.cloudwatch.models import (
    CloudWatchBackend,
    Dimension,
    Metric,
    MetricDataQuery,
    MetricStat,
    cloudwatch_backends,
)
from moto.cloudwatch.utils import make_arn_for_alarm
from moto.core.utils import camelcase_to_underscores
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.models import LogGroup as MotoLogGroup
from moto.logs.models import LogsBackend, logs_backends

from sandbox.cloudformation.resource import Resource, ResourceFailedError, is_true

_ALARM_DEFAULTS: Final[Mapping[str, Any]] = {
    "ActionsEnabled": True,
    "AlarmActions": [],
    "ComparisonOperator": None,
    "DatapointsToAlarm": None,
    "Dimensions": [],
    "EvaluateLowSampleCountPercentile": None,
    "EvaluationPeriods": None,
    "ExtendedStatistic": None,
    "InsufficientDataActions": [],
    "MetricName": None,
    "Namespace": None,
    "OKActions": [],
    "Period": None,
    "Statistic": None,
    "Tags": [],
    "Threshold": None,
    "ThresholdMetricId": None,
    "TreatMissingData": None,
    "Unit": None,
}
"""Settings with the same name in moto and CloudFormation, and their defaults."""


class Alarm(Resource):
    """An alarm on one metric or on an expression of several."""

    type_name = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    required = ("ComparisonOperator", "EvaluationPeriods")
    replaced_by = ("AlarmName",)
    attribute_names = ("Arn",)

    def create(self) -> None:
        """Make it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it."""
        own = self.properties
        if ("MetricName" in own) == ("Metrics" in own):
            raise ResourceFailedError("An alarm has either MetricName or Metrics.")
        settings: dict[str, Any] = {
            camelcase_to_underscores(name): own.get(name, unset)
            for name, unset in _ALARM_DEFAULTS.items()
        }
        settings["actions_enabled"] = is_true(settings["actions_enabled"])
        settings["metric_data_queries"] = [_query(metric) for metric in own.get("Metrics", [])]
        self._backend.put_metric_alarm(
            name=self.name, description=own.get("AlarmDescription", ""), **settings
        )

    def remove(self) -> None:
        """Remove it."""
        self._backend.delete_alarms([self.name])

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN."""
        return {"Arn": make_arn_for_alarm(self.region, self.account_id, self.name)}

    @property
    def _backend(self) -> CloudWatchBackend:
        backend: CloudWatchBackend = cloudwatch_backends[self.account_id][self.region]
        return backend


class Dashboard(Resource):
    """A dashboard."""

    type_name = "AWS::CloudWatch::Dashboard"
    name_property = "DashboardName"
    required = ("DashboardBody",)
    replaced_by = ("DashboardName",)

    def create(self) -> None:
        """Make it."""
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Set it."""
        body = self.text("DashboardBody")
        try:
            json.loads(body)
        except ValueError:
            raise ResourceFailedError("DashboardBody is not JSON.") from None
        self._backend.put_dashboard(self.name, body)

    def remove(self) -> None:
        """Remove it."""
        self._backend.dashboards.pop(self.name, None)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    @property
    def _backend(self) -> CloudWatchBackend:
        backend: CloudWatchBackend = cloudwatch_backends[self.account_id][self.region]
        return backend


class LogGroup(Resource):
    """A log group."""

    type_name = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    longest_name = 512
    replaced_by = ("LogGroupName",)
    attribute_names = ("Arn",)

    _group: MotoLogGroup

    def create(self) -> None:
        """Make it."""
        self._group = self._backend.create_log_group(
            self.name, self.tags, kmsKeyId=self.properties.get("KmsKeyId")
        )
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        """Change the retention of its lines."""
        days = self.properties.get("RetentionInDays")
        self._group.retention_in_days = None if days is None else int(days)

    def remove(self) -> None:
        """Remove it with its lines."""
        with suppress(ResourceNotFoundException):
            self._backend.delete_log_group(self.name)

    @property
    def physical_resource_id(self) -> str:
        """Its name."""
        return self.name

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN, which in CloudFormation includes its streams."""
        return {"Arn": f"{self._group.arn}:*"}

    @property
    def _backend(self) -> LogsBackend:
        backend: LogsBackend = logs_backends[self.account_id][self.region]
        return backend


RESOURCE_TYPES: Final[list[type[Resource]]] = [Alarm, Dashboard, LogGroup]


def _query(metric: Mapping[str, Any]) -> MetricDataQuery:
    """Convert an entry of Metrics to moto's form."""
    names = {"Label": "label", "Period": "period", "Expression": "expression"}
    optional: dict[str, Any] = {name: metric.get(theirs) for theirs, name in names.items()}
    optional["return_data"] = is_true(metric.get("ReturnData", True))
    stat = metric.get("MetricStat")
    return MetricDataQuery(metric["Id"], metric_stat=stat and _stat(stat), **optional)


def _stat(stat: Mapping[str, Any]) -> MetricStat:
    metric, unit = stat["Metric"], stat.get("Unit")
    dimensions = [Dimension(each["Name"], each["Value"]) for each in metric.get("Dimensions", [])]
    measured = Metric(metric["MetricName"], metric["Namespace"], dimensions)
    return MetricStat(measured, stat["Period"], stat["Stat"], unit)  # type: ignore[arg-type]  # moto also passes None
