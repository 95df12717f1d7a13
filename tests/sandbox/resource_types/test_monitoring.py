"""Resource types of the sandbox: alarms, dashboards and log groups."""

from __future__ import annotations

import json

from tests.support.service_sandbox import ServiceSandbox
from tests.support.templates import (
    ACCOUNT,
    ARN,
    REGION,
    Template,
    joined,
    output,
    outputs,
    resource,
    topic,
)

CANARY = "canary-of-a-secret"


def test_an_alarm_watches_a_metric_or_an_expression(
    sandbox: ServiceSandbox,
) -> None:
    def resources(threshold: float) -> Template:
        common = {
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": 3,
            "Threshold": threshold,
            "TreatMissingData": "notBreaching",
            "AlarmActions": [{"Ref": "Topic"}],
        }
        failed = {
            "Id": "failed",
            "MetricStat": {
                "Metric": {
                    "MetricName": "Pushes",
                    "Namespace": "push-sender",
                    "Dimensions": [{"Name": "outcome", "Value": "rejected"}],
                },
                "Period": 300,
                "Stat": "Sum",
            },
            "ReturnData": False,
        }
        share = {"Id": "share", "Expression": "100 * failed", "Label": "%", "ReturnData": True}
        return {
            "Topic": topic(),
            "Plain": resource(
                "CloudWatch::Alarm",
                AlarmName="plain",
                AlarmDescription="what to do",
                DatapointsToAlarm=2,
                Dimensions=[{"Name": "QueueName", "Value": "dead"}],
                MetricName="ApproximateNumberOfMessagesVisible",
                Namespace="AWS/SQS",
                Period=60,
                Statistic="Maximum",
                **common,
            ),
            "Reckoned": resource("CloudWatch::Alarm", Metrics=[share, failed], **common),
        }

    cloudwatch = sandbox.client("cloudwatch")
    stack = sandbox.create(resources(0), Outputs=output(Arn={"Fn::GetAtt": ["Plain", "Arn"]}))
    sandbox.update(resources(5))

    (plain,) = cloudwatch.describe_alarms(AlarmNames=["plain"])["MetricAlarms"]
    assert plain["AlarmArn"] == outputs(stack)["Arn"]
    assert (plain["MetricName"], plain["Statistic"], plain["Period"], plain["Threshold"]) == (
        *("ApproximateNumberOfMessagesVisible", "Maximum", 60),
        5,
    )
    assert (plain["AlarmDescription"], plain["DatapointsToAlarm"]) == ("what to do", 2)
    assert plain["Dimensions"] == [{"Name": "QueueName", "Value": "dead"}]
    assert plain["AlarmActions"] == [sandbox.id_of("Topic")]
    assert (plain["ActionsEnabled"], plain["TreatMissingData"]) == (True, "notBreaching")
    (reckoned,) = cloudwatch.describe_alarms(AlarmNames=[sandbox.id_of("Reckoned")])["MetricAlarms"]
    share, failed = reckoned["Metrics"]
    assert (share["Expression"], share["Label"], share["ReturnData"]) == ("100 * failed", "%", True)
    assert failed["ReturnData"] is False
    assert failed["MetricStat"]["Metric"] == {
        "MetricName": "Pushes",
        "Namespace": "push-sender",
        "Dimensions": [{"Name": "outcome", "Value": "rejected"}],
    }
    assert (failed["MetricStat"]["Period"], failed["MetricStat"]["Stat"]) == (300, "Sum")
    sandbox.delete()
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_an_alarm_can_have_no_actions_and_needs_one_kind_of_metric(sandbox: ServiceSandbox) -> None:
    alarm = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Threshold": 1}
    metric = {"MetricName": "m", "Namespace": "n", "Period": 60, "Statistic": "Sum"}
    silent = resource("CloudWatch::Alarm", AlarmName="a", ActionsEnabled="false", **alarm, **metric)
    sandbox.create({"Silent": silent})

    (result,) = sandbox.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert result["ActionsEnabled"] is False
    for what in ({}, {**metric, "Metrics": []}):
        faulty = {"Faulty": resource("CloudWatch::Alarm", **alarm, **what)}
        stack = sandbox.create(faulty, name=f"faulty-{len(what)}")
        assert "[Faulty]. An alarm has either MetricName or Metrics." in stack["StackStatusReason"]


def test_a_metric_returns_data_by_default_in_an_alarm(
    sandbox: ServiceSandbox,
) -> None:
    sandbox.create(
        {
            "Alarm": resource(
                "CloudWatch::Alarm",
                AlarmName="a",
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                Metrics=[{"Id": "one", "Expression": "1"}],
            )
        }
    )

    (alarm,) = sandbox.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarm["Metrics"] == [{"Id": "one", "Expression": "1", "ReturnData": True}]


def test_a_dashboard_keeps_its_generated_name_when_its_body_changes(
    sandbox: ServiceSandbox,
) -> None:
    def board(title: str) -> Template:
        body = joined('{"title": "', title, " in ", ARN[1], '"}')
        return {"Board": resource("CloudWatch::Dashboard", DashboardBody=body)}

    sandbox.create(board("first"))
    name = sandbox.id_of("Board")
    sandbox.update(board("second"))

    cloudwatch = sandbox.client("cloudwatch")
    assert sandbox.id_of("Board") == name
    body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    assert json.loads(body) == {"title": f"second in {REGION}"}
    broken = sandbox.update({"Board": resource("CloudWatch::Dashboard", DashboardBody="{")})
    assert "[Board]. DashboardBody is not JSON" in broken["StackStatusReason"]
    body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    assert json.loads(body) == {"title": f"second in {REGION}"}
    sandbox.delete()
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []


def test_a_log_group_changes_its_retention(sandbox: ServiceSandbox) -> None:
    def retention() -> int | None:
        (group,) = sandbox.client("logs").describe_log_groups()["logGroups"]
        days: int | None = group.get("retentionInDays")
        return days

    arn = output(Arn={"Fn::GetAtt": ["Log", "Arn"]})
    tags = [{"Value": "push", "Key": "team"}]
    tagged = resource("Logs::LogGroup", RetentionInDays=7, Tags=tags)
    stack = sandbox.create({"Log": tagged}, Outputs=arn)
    kept = [retention()]
    group = outputs(stack)["Arn"].removesuffix(":*")
    result = sandbox.client("logs").list_tags_for_resource(resourceArn=group)
    assert result["tags"] == {"team": "push"}
    sandbox.update({"Log": resource("Logs::LogGroup", RetentionInDays=30)}, Outputs=arn)
    kept.append(retention())
    sandbox.update({"Log": resource("Logs::LogGroup")}, Outputs=arn)

    assert [*kept, retention()] == [7, 30, None]
    name = sandbox.id_of("Log")
    assert outputs(stack)["Arn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"
