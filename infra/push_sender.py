"""The construct ``PushSender``, for this stack and for yours."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.alarms import Alarms
from infra.bundle import Bundle, build
from infra.bundle.wheels import LAMBDA_ARM64, LAMBDA_X86_64
from infra.dashboard import Dashboard
from infra.dead_letters import DeadLetters
from infra.devices import Devices
from infra.event_bus import EventBus
from infra.function import SenderFunction
from infra.grants import check_source, grant_by_policy, has_effect
from infra.http_api import HttpApi
from infra.idempotency import IdempotencyTable
from infra.jobs import Jobs
from infra.project import Project
from infra.request_queue import RequestQueue
from infra.schedules import Schedules
from infra.settings import Settings


class PushSender(Construct):
    """Sends push notifications: a project with its channels, a function, its entry points.

    Parameters
    ----------
    scope, id
        As for every construct.
    settings
        The stack's settings.
    bundle
        The function's archive; by default it is built for ``settings.architecture``.

    Attributes
    ----------
    project, idempotency, dead_letters, requests, event_bus, function, alarms, dashboard
        The parts.
    devices
        The registry of devices; ``None`` if the settings exclude it.
    schedules
        The group of what is sent later.
    jobs
        The bucket and the state machine of jobs; ``None`` if the settings exclude them.
    http_api
        The HTTP API; ``None`` if the settings exclude it.

    Raises
    ------
    BundleError
        If the archive cannot be built.

    Examples
    --------
    >>> sender = PushSender(self, "PushSender", settings=Settings(fcm_secret="my-app/fcm"))
    ... sender.grant_invoke(order_service)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        bundle: Bundle | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._settings = settings
        bundle = bundle or build(
            LAMBDA_ARM64 if settings.architecture == "arm64" else LAMBDA_X86_64
        )
        self.project = Project(self, "Project", settings=settings)
        self.idempotency = IdempotencyTable(self, "Idempotency", settings=settings)
        self.dead_letters = DeadLetters(self, "DeadLetters", settings=settings)
        self.requests = RequestQueue(
            self, "Requests", settings=settings, dead_letters=self.dead_letters.queue
        )
        self.event_bus = EventBus(
            self,
            "EventBus",
            settings=settings,
            requests=self.requests.queue,
            dead_letters=self.dead_letters.queue,
        )
        self.devices = (
            Devices(
                self,
                "Devices",
                settings=settings,
                bundle=bundle,
                application_ids=self.project.application_ids,
                event_bus=self.event_bus.bus,
            )
            if settings.devices
            else None
        )
        self.function = SenderFunction(
            self,
            "Sender",
            settings=settings,
            bundle=bundle,
            application_ids=self.project.application_ids,
            idempotency=self.idempotency.table,
            requests=self.requests.queue,
            dead_letters=self.dead_letters.queue,
            event_bus=self.event_bus.bus,
            devices=self.devices.table if self.devices else None,
        )
        for account in settings.caller_account_ids:
            self.grant_invoke(iam.AccountPrincipal(account))
        self.requests.feed(self.function, concurrency=settings.worker_concurrency)
        self.jobs = (
            Jobs(
                self,
                "Jobs",
                settings=settings,
                sender=self.function,
                devices=self.devices,
                idempotency=self.idempotency.table,
                requests=self.requests.queue,
                dead_letters=self.dead_letters.queue,
            )
            if settings.jobs
            else None
        )
        self.schedules = Schedules(
            self,
            "Schedules",
            settings=settings,
            sender=self.function,
            requests=self.requests.queue,
            dead_letters=self.dead_letters.queue,
            jobs=self.jobs,
        )
        self.http_api = (
            HttpApi(self, "HttpApi", settings=settings, alias=self.function.alias)
            if settings.http_api
            else None
        )
        if self.devices is not None and self.http_api is not None:
            self.devices.add_routes_to(self.http_api)
        self.alarms = Alarms(
            self,
            "Alarms",
            settings=settings,
            function=self.function.function,
            requests=self.requests.queue,
            dead_letters=self.dead_letters.queue,
            event_bus=self.event_bus,
            schedules=self.schedules,
            http_api=self.http_api,
            devices=self.devices,
            jobs=self.jobs,
        )
        self.dashboard = Dashboard(
            self,
            "Dashboard",
            settings=settings,
            services=self.project.services,
            function=self.function.function,
            requests=self.requests.queue,
            dead_letters=self.dead_letters.queue,
            http_api=self.http_api,
            devices=self.devices,
            jobs=self.jobs,
            alarms=self.alarms.alarms,
        )

    def add_outputs(self, scope: Construct | None = None) -> None:
        """Add the outputs with which people, ``make smoke`` and ``make redrive`` find the parts.

        Parameters
        ----------
        scope
            The construct that gets them. By default this one: their keys then begin with its id,
            as in ``PushSenderFunctionName1A2B3C4D``, and collide with no other output. With a
            stack they have the bare names.

        Examples
        --------
        >>> sender = PushSender(self, "PushSender", settings=settings)
        ... sender.add_outputs()
        """
        function = self.function
        outputs = {
            "ApplicationId": (self.project.application_ids[0], "the push project"),
            "Channels": (_channels(self.project), "the push services with a channel"),
            "FunctionName": (
                f"{function.function.function_name}:{function.alias.alias_name}",
                "for aws lambda invoke --function-name",
            ),
            "FunctionArn": (function.alias.function_arn, "for rules, schedules and policies"),
            "QueueUrl": (self.requests.queue.queue_url, "for aws sqs send-message"),
            "QueueArn": (
                self.requests.queue.queue_arn,
                "for policies, and for redriving dead-letter messages",
            ),
            "EventBusName": (
                self.event_bus.bus.event_bus_name,
                "the bus for requests and reports",
            ),
            "TableName": (
                self.idempotency.table.table_name,
                "the idempotency keys of the last day, and the counts of jobs",
            ),
            "LogGroupName": (function.log_group.log_group_name, "the function's log"),
            "DeadLetterQueueUrl": (
                self.dead_letters.queue.queue_url,
                "requests that wait for an operator",
            ),
            "DeadLetterQueueArn": (
                self.dead_letters.queue.queue_arn,
                "for redriving dead-letter messages",
            ),
            "DashboardName": (
                self.dashboard.dashboard.dashboard_name,
                "the dashboard in CloudWatch",
            ),
        }
        outputs["ScheduleGroupName"] = (
            self.schedules.group.ref,
            "the schedules of what is sent later",
        )
        if self._settings.reserved_concurrency is not None:
            outputs["ReservedConcurrency"] = (
                str(self._settings.reserved_concurrency),
                "for the end of a stop of all sending",
            )
        if self.http_api is not None:
            outputs["ApiUrl"] = (self.http_api.url, "for POST /messages, signed")
            outputs["ApiLogGroupName"] = (
                self.http_api.log_group.log_group_name,
                "the HTTP API's callers and answers",
            )
        if self.devices is not None:
            outputs["DevicesFunctionName"] = (
                f"{self.devices.function.function_name}:{self.devices.alias.alias_name}",
                "the function of the registry of devices",
            )
            outputs["DevicesTableName"] = (
                self.devices.table.table_name,
                "the registry of devices and users",
            )
            outputs["DevicesLogGroupName"] = (
                self.devices.log_group.log_group_name,
                "the registry's log",
            )
            outputs["DevicesDeadLetterQueueUrl"] = (
                self.devices.dead_letters.queue_url,
                "updates of tokens that the registry did not get",
            )
        if self.jobs is not None:
            outputs["JobBucketName"] = (
                self.jobs.bucket.bucket_name,
                "the files of jobs: upload to uploads/",
            )
            outputs["JobStateMachineArn"] = (
                self.jobs.machine.attr_arn,
                "for aws stepfunctions start-execution",
            )
        if self.schedules.job_role is not None:
            outputs["JobScheduleRoleArn"] = (
                self.schedules.job_role.role_arn,
                "the role of schedules that start jobs",
            )
        if self._settings.alarm_email and self.alarms.topic is not None:
            outputs["AlarmTopicArn"] = (
                self.alarms.topic.topic_arn,
                "the topic that gets the alarms",
            )
        if self._settings.kms_key_arn is not None:
            outputs["KmsKeyArn"] = (
                self._settings.kms_key_arn,
                "the key that encrypts the data, for make key-policy",
            )
        for name, (value, description) in outputs.items():
            cdk.CfnOutput(scope or self, name, value=value, description=description)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to invoke the alias, and nothing else.

        The principal of an AWS service needs ``aws:SourceArn``, ``aws:SourceAccount`` or both
        among its conditions.

        Raises
        ------
        GrantError
            If a service has no such condition, or the grant would have no effect. The other
            grants raise it, too.
        """
        check_source(grantee)
        grant = self.function.alias.grant_invoke(grantee)
        return has_effect(grant, grantee, "lambda:InvokeFunction")

    def grant_post_messages(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to call the HTTP API, and nothing else.

        Raises
        ------
        ValueError
            If the settings exclude the HTTP API.
        """
        if self.http_api is None:
            raise ValueError(
                "there is no HTTP API to post messages to: set http_api to true, or let the "
                "caller invoke the function itself (grant_invoke)"
            )
        return grant_by_policy(grantee, self, self.http_api.grant_invoke, "execute-api:Invoke")

    def grant_send_messages(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to put requests on the queue, and nothing else."""
        return grant_by_policy(grantee, self, self.requests.grant_send, "sqs:SendMessage")

    def grant_put_events(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to put requests on the bus, and no other event."""
        return grant_by_policy(grantee, self, self.event_bus.grant_put_requests, "events:PutEvents")


def _channels(project: Project) -> str:
    if project.services is None:
        return "those of the existing project"
    return ", ".join(project.services) or "none"
