"""Schedules: what is sent later, in a group of the stack's own, and the roles that start it."""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.acknowledgement import acknowledge
from infra.customer_key import QUEUES, grant_use
from infra.jobs import Jobs
from infra.live_function import LiveFunction
from infra.settings import Settings

_ACTIONS: Final = (
    "scheduler:CreateSchedule",
    "scheduler:DeleteSchedule",
    "scheduler:GetSchedule",
)
_SERVICE: Final = "scheduler.amazonaws.com"


class Schedules(Construct):
    """One-time schedules of requests and of jobs. Scheduler deletes each after its time.

    Attributes
    ----------
    group
        It has the stack's name. Its schedules are deleted with it.
    role
        With it, Scheduler puts a request on the queue.
    job_role
        With it, Scheduler starts a job; ``None`` without jobs. The function cannot use it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        sender: LiveFunction,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
        jobs: Jobs | None,
    ) -> None:
        super().__init__(scope, id)
        self._name = settings.name
        self.group = scheduler.CfnScheduleGroup(self, "Group", name=settings.name)
        self.role = self._role("Role", "puts requests on the queue")
        # The second queue is for what the first does not accept.
        queues = (requests.queue_arn, dead_letters.queue_arn)
        self._allow(self.role, "sqs:SendMessage", *queues)
        grant_use(self.role, settings, QUEUES, *queues)
        self.job_role = None
        if jobs is not None:
            self.job_role = self._role("JobRole", "starts jobs")
            self._allow(self.job_role, "states:StartExecution", jobs.machine.attr_arn)
        self._let_schedule(sender)

    def metric(self, name: str, *, period: cdk.Duration) -> cloudwatch.Metric:
        """Return a metric of Scheduler about the group."""
        return cloudwatch.Metric(
            namespace="AWS/Scheduler",
            metric_name=name,
            dimensions_map={"ScheduleGroup": self._name},
            statistic="Sum",
            period=period,
        )

    def _role(self, id_: str, what: str) -> iam.Role:
        """Make a role for Scheduler, for schedules of this group only.

        The conditions are those of Scheduler's user guide, "Confused deputy prevention", which
        accepts a group and no single schedule.
        """
        return iam.Role(
            self,
            id_,
            description=f"EventBridge Scheduler {what}, for schedules of {self._name}",
            assumed_by=iam.ServicePrincipal(
                _SERVICE,
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": cdk.Stack.of(self).account,
                        "aws:SourceArn": self.group.attr_arn,
                    }
                },
            ),
        )

    def _allow(self, role: iam.Role, action: str, *resources: str) -> None:
        role.add_to_policy(iam.PolicyStatement(actions=[action], resources=[*resources]))

    def _let_schedule(self, sender: LiveFunction) -> None:
        """Let the function make and cancel schedules of the group, with the role of requests."""
        schedules = cdk.Stack.of(self).format_arn(
            service="scheduler", resource="schedule", resource_name=f"{self._name}/*"
        )
        sender.function.add_environment("SCHEDULE_GROUP", self._name)
        sender.function.add_environment("SCHEDULE_ROLE_ARN", self.role.role_arn)
        sender.allow(_ACTIONS, schedules)
        sender.role.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self.role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": _SERVICE}},
            )
        )
        acknowledge(
            sender.role,
            "The function names each schedule of its group.",
            "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:scheduler:<AWS::Region>:"
            f"<AWS::AccountId>:schedule/{self._name}/*]",
        )
