"""Jobs: the bucket of their files, the state machine that sends a file, and the event of its end.

The state machine is in Amazon States Language, as a dictionary. Its tasks invoke the functions of
the stack, which read the rows from the bucket themselves: no row passes through Step Functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.acknowledgement import acknowledge, acknowledge_lint
from infra.customer_key import BUCKET, MAP_RESULTS, TABLES, customer_key, grant_use
from infra.devices import Devices
from infra.event_bus import accept_events
from infra.grants import grant_by_policy
from infra.live_function import LiveFunction
from infra.removal import removal_policy
from infra.settings import Settings

DAYS: Final = 30
"""How long the bucket keeps what people upload and what jobs write. As long as their keys live."""

SCHEDULED_DAYS: Final = 400
"""How long the bucket keeps files of jobs that start later: a schedule is for at most a year."""

UPLOADS: Final = "uploads/*"
SCHEDULED: Final = "scheduled/*"
_KEPT: Final = {"uploads/": DAYS, "jobs/": DAYS, "scheduled/": SCHEDULED_DAYS}
_INDEXES: Final = "jobs/*/index.json"
_RESULTS: Final = "jobs/*/map/*"
_ROWS: Final = "jobs/*/rows/*"

ALIAS: Final = "jobs"

_LABEL: Final = "Rows"  # of the Map, in the ARNs of its runs

_ENDED: Final = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")
_DETAIL_TYPE: Final = "Step Functions Execution Status Change"

_TABLE_ACTIONS: Final = ("dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")

_RETRY: Final = (
    # A repetition would fail in the same way.
    {
        "ErrorEquals": [
            "InvalidRequest",
            "SourceChanged",
            "MostlyRefused",
            "JobConflict",
            "IdempotencyConflict",
        ],
        "MaxAttempts": 0,
    },
    # All others: of Lambda (throttled, killed, out of time), and of a service that cannot be
    # reached. A step that runs again sends nothing twice. With 29 s for each try, all tries end
    # within the 300 s of a child. Without jitter, because the key of a killed child is free only
    # after up to half a minute, and the children are spread anyway.
    {
        "ErrorEquals": ["States.TaskFailed"],
        "IntervalSeconds": 3,
        "BackoffRate": 2.5,
        "MaxDelaySeconds": 40,
        "MaxAttempts": 4,
    },
)


class Jobs(Construct):
    """Sends a request to the rows of a file, and registers devices from one.

    Attributes
    ----------
    bucket
        CloudFormation chooses its name. Encrypted with S3's own key, for TLS only. People upload
        to ``uploads/``, or to ``scheduled/`` for a job that starts later; the functions and Step
        Functions write to ``jobs/``.
    alias
        ``jobs`` of the function that sends, for the state machine alone. The function makes the
        steps of a job only if this alias is invoked, so that a caller of ``live`` cannot forge
        them.
    machine
        Has the stack's name with ``-jobs`` at its end. An execution is a job, with its name.
    role
        What the state machine may do.
    rule
        Puts the end of each job on the queue of requests, for the report of the job. It is on the
        account's default bus, where Step Functions puts its events.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002  the CDK's name
        *,
        settings: Settings,
        sender: LiveFunction,
        devices: Devices | None,
        idempotency: dynamodb.ITable,
        requests: sqs.IQueue,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, id)
        self._name = f"{settings.name}-jobs"
        self._settings = settings
        self._idempotency = idempotency
        self.bucket = self._bucket(settings)
        self._sources = [
            self.bucket.arn_for_objects(UPLOADS),
            self.bucket.arn_for_objects(SCHEDULED),
            *(f"{arn}/*" for arn in settings.job_bucket_arns),
        ]
        self._let_send(sender)
        if devices is not None:
            self._let_register(devices)
        self.alias = lambda_.Alias(
            self, "Alias", alias_name=ALIAS, version=sender.function.current_version
        )
        aliases = [self.alias, *([] if devices is None else [devices.alias])]
        self.role = self._role([alias.function_arn for alias in aliases])
        self.machine = self._machine(
            definition(
                bucket=self.bucket.bucket_name,
                partition=cdk.Aws.PARTITION,
                sender_arn=self.alias.function_arn,
                devices_arn=None if devices is None else devices.alias.function_arn,
            )
        )
        self.rule = self._rule(requests, dead_letters)

    def grant_start(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to upload a file and to start a job, and nothing else.

        Raises
        ------
        GrantError
            If the grant would have no effect.
        """

        def grant(to: iam.IGrantable) -> iam.Grant:
            upload = iam.Grant.add_to_principal(
                grantee=to,
                actions=["s3:PutObject"],
                resource_arns=[self.bucket.arn_for_objects(UPLOADS)],
            )
            start = iam.Grant.add_to_principal(
                grantee=to,
                actions=["states:StartExecution"],
                resource_arns=[self.machine.attr_arn],
            )
            use = grant_use(to, self._settings, BUCKET, self.bucket.bucket_arn)
            return upload.combine(start).combine(use)

        return grant_by_policy(grantee, self, grant, "states:StartExecution")

    def metric(
        self, name: str, *, period: cdk.Duration | None = None, label: str | None = None
    ) -> cloudwatch.Metric:
        """Return a metric of Step Functions about the jobs, such as ``ExecutionsFailed``."""
        return cloudwatch.Metric(
            namespace="AWS/States",
            metric_name=name,
            dimensions_map={"StateMachineArn": self.machine.attr_arn},
            statistic="Sum",
            period=period,
            label=label,
        )

    def _bucket(self, settings: Settings) -> s3.Bucket:
        key = customer_key(self, "Key", settings)
        bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            # S3 then asks KMS for a key of the bucket now and then, and not for each object.
            bucket_key_enabled=True if key else None,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            # A rule for each folder: of two rules for an object, the earlier expiration counts.
            lifecycle_rules=[
                *(
                    s3.LifecycleRule(prefix=prefix, expiration=cdk.Duration.days(days))
                    for prefix, days in _KEPT.items()
                ),
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(1)),
            ],
            removal_policy=removal_policy(settings),
        )
        acknowledge(
            bucket,
            "An access log needs a second bucket. CloudTrail can record the same calls.",
            "AwsSolutions-S1",
        )
        return bucket

    def _let_send(self, sender: LiveFunction) -> None:
        """Let the function that sends index a file, read its rows and write results."""
        read = [*self._sources, self.bucket.arn_for_objects(_INDEXES)]
        written = self.bucket.arn_for_objects("jobs/*")
        sender.allow(("s3:GetObject",), *read)
        sender.allow(("s3:PutObject",), written)
        sender.allow(("dynamodb:UpdateItem",), self._idempotency.table_arn)
        sender.use_key(BUCKET, self.bucket.bucket_arn)
        self._acknowledge_names(sender.role, *read, written)

    def _let_register(self, devices: Devices) -> None:
        """Let the registry's function read rows, write results and count."""
        written = self.bucket.arn_for_objects(_ROWS)
        devices.function.add_environment("IDEMPOTENCY_TABLE", self._idempotency.table_name)
        devices.live.allow(("s3:GetObject",), *self._sources)
        devices.live.allow(("s3:PutObject",), written)
        devices.live.allow(_TABLE_ACTIONS, self._idempotency.table_arn)
        devices.live.use_key(TABLES, self._idempotency.table_name)
        devices.live.use_key(BUCKET, self.bucket.bucket_arn)
        self._acknowledge_names(devices.live.role, *self._sources, written)

    def _role(self, functions: Sequence[str]) -> iam.Role:
        """Allow what AWS documents for a Distributed Map, on this machine and this bucket.

        Developer guide of Step Functions, "IAM policies for using Distributed Map states" and
        "AWS X-Ray and Step Functions". The ARNs of the machine are made of its name, because the
        machine needs the role first.
        """
        stack = cdk.Stack.of(self)
        role = iam.Role(
            self,
            "Role",
            description=f"The permissions of the state machine {self._name}",
            assumed_by=iam.ServicePrincipal("states.amazonaws.com"),
        )

        def arn(resource: str, name: str) -> str:
            return stack.format_arn(
                service="states",
                resource=resource,
                resource_name=name,
                arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
            )

        index, results = map(self.bucket.arn_for_objects, (_INDEXES, _RESULTS))
        executions = arn("execution", f"{self._name}:*")
        map_runs = arn("execution", f"{self._name}/{_LABEL}:*")
        for actions, resources in (
            (("lambda:InvokeFunction",), functions),
            (("s3:GetObject",), (index,)),
            (
                (
                    *("s3:GetObject", "s3:PutObject"),
                    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
                ),
                (results,),
            ),
            (("states:StartExecution",), (arn("stateMachine", self._name),)),
            (("states:DescribeExecution", "states:StopExecution"), (executions,)),
            (("states:RedriveExecution",), (map_runs,)),
            (
                (
                    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
                    *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
                ),
                ("*",),
            ),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=[*actions], resources=[*resources]))
        grant_use(role, self._settings, MAP_RESULTS, self.bucket.bucket_arn)
        self._acknowledge_names(role, index, results, executions, map_runs)
        acknowledge(role, "X-Ray's actions know no resources.", "AwsSolutions-IAM5[Resource::*]")
        return role

    def _machine(self, states: Mapping[str, Any]) -> stepfunctions.CfnStateMachine:
        machine = stepfunctions.CfnStateMachine(
            self,
            "Machine",
            state_machine_name=self._name,
            role_arn=self.role.role_arn,
            definition_string=cdk.Stack.of(self).to_json_string(states),
            tracing_configuration=stepfunctions.CfnStateMachine.TracingConfigurationProperty(
                enabled=True
            ),
        )
        machine.node.add_dependency(self.role)  # with its policy
        acknowledge_lint(
            machine,
            "The CDK waits for the role's policy, and names the role itself along with it.",
            "W3005",
        )
        acknowledge(
            machine,
            "Step Functions keeps the history of each job for 90 days, its results in the bucket "
            "name the error of each failed child, and the functions log each step. A log of its "
            "own would need permission to change the policies of all logs of the account.",
            "AwsSolutions-SF1",
        )
        return machine

    def _rule(self, requests: sqs.IQueue, dead_letters: sqs.IQueue) -> events.CfnRule:
        rule = events.CfnRule(
            self,
            "Rule",
            name=self._name,
            description="Puts the end of each job on the queue, for its report",
            event_pattern={
                "source": ["aws.states"],
                "detail-type": [_DETAIL_TYPE],
                "detail": {
                    "stateMachineArn": [self.machine.attr_arn],
                    "status": [*_ENDED],
                },
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="Requests",
                    arn=requests.queue_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(
                        arn=dead_letters.queue_arn
                    ),
                )
            ],
        )
        for queue in (requests, dead_letters):
            accept_events(queue, rule, sid="EventsOfJobs")
        return rule

    def _acknowledge_names(self, role: iam.IRole, *arns: str) -> None:
        """Acknowledge ARNs that end in the names of files, jobs or executions."""
        stack = cdk.Stack.of(self)
        acknowledge(
            role,
            "The names of files and jobs are the callers' own; only the rest of the ARN is known.",
            *(f"AwsSolutions-IAM5[Resource::{_in_words(stack.resolve(arn))}]" for arn in arns),
        )


def _in_words(arn: Any) -> str:
    """Write an ARN as cdk-nag does, with ``<Resource.Attribute>`` for what a deployment knows."""
    match arn:
        case {"Fn::Join": [_, parts]}:
            return "".join(map(_in_words, parts))
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Ref": name}:
            return f"<{name}>"
    return str(arn)


def definition(
    *, bucket: str, partition: str, sender_arn: str, devices_arn: str | None
) -> dict[str, Any]:
    """Write the state machine.

    ``Index`` finds the ranges of rows in the file, in as many passes as a large file needs. The
    Map ``Rows`` has a child for each range. A child waits for its part of the time slot, sends,
    and waits for the rest of the slot, so that waiting costs no time of a function. The Map has
    no Catch: a job that it fails can be redriven.

    Parameters
    ----------
    bucket
        The name of the bucket.
    partition
        Of the ARNs, such as ``aws``.
    sender_arn, devices_arn
        What the tasks invoke. None if there is no registry: the job then fails before its Map.
    """

    def task(function_arn: str, payload: Mapping[str, Any], next_: str) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": f"arn:{partition}:states:::lambda:invoke",
            "Parameters": {
                "FunctionName": function_arn,
                "Payload": {**payload, "bucket": bucket},
            },
            "OutputPath": "$.Payload",
            "Retry": [*_RETRY],
            "Next": next_,
        }

    rows = {"job_step": "rows", "plan.$": "$.plan", "range.$": "$.range"}
    children = {
        "Spread": {"Type": "Wait", "SecondsPath": "$.range.wait", "Next": "Action"},
        "Action": {
            "Type": "Choice",
            "Choices": [
                {
                    "Variable": "$.plan.action",
                    "StringEquals": "register_devices",
                    "Next": "Register",
                }
            ],
            "Default": "Send",
        },
        "Send": task(sender_arn, rows, "Pace"),
        "Register": (
            {
                "Type": "Fail",
                "Error": "InvalidRequest",
                "Cause": "action: there is no registry; set devices to true",
            }
            if devices_arn is None
            else task(devices_arn, rows, "Pace")
        ),
        "Pace": {"Type": "Wait", "SecondsPath": "$.wait", "End": True},
    }
    execution = {
        "name.$": "$$.Execution.Name",
        "id.$": "$$.Execution.Id",
        "started_at.$": "$$.Execution.StartTime",
    }
    return {
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Result": {"position": 0, "rows": 0}, "Next": "Index"},
            "Index": task(
                sender_arn,
                {
                    "job_step": "index",
                    "execution": execution,
                    "input.$": "$$.Execution.Input",
                    "pass.$": "$",
                },
                "Indexed",
            ),
            "Indexed": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.is_complete", "BooleanEquals": True, "Next": _LABEL}],
                "Default": "Index",
            },
            _LABEL: {
                "Type": "Map",
                "Label": _LABEL,
                "ItemReader": {
                    "Resource": f"arn:{partition}:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSON"},
                    "Parameters": {"Bucket": bucket, "Key.$": "$.index_key"},
                },
                "ItemSelector": {"range.$": "$$.Map.Item.Value", "plan.$": "$.plan"},
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                    "StartAt": "Spread",
                    "States": children,
                },
                "MaxConcurrencyPath": "$.children",
                "ToleratedFailurePercentagePath": "$.tolerated_failure_percentage",
                "ResultWriter": {
                    "Resource": f"arn:{partition}:states:::s3:putObject",
                    "Parameters": {"Bucket": bucket, "Prefix.$": "$.plan.results_prefix"},
                },
                "End": True,
            },
        },
    }
