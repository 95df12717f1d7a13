"""Stacks in a sandbox, handled with stock clients, and the parts that templates are made of."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox import services
from sandbox.functions.service import LambdaService
from sandbox.running import runtime_packages
from sandbox.server import Server

REGION = "us-east-1"
ACCOUNT = "123456789012"
Template = dict[str, Any]

CODE = """
import logging, os
def handler(event, context):
    logging.getLogger().info("said at info")
    logging.getLogger().warning("said at warning")
    return {"answer": %r, "variable": os.environ["VARIABLE"], "version": context.function_version}
"""


class Sandbox:
    """What somebody does who deploys with stock clients."""

    def __init__(self, url: str) -> None:
        self.url = url

    def emptied(self) -> Sandbox:
        """Take everything out of the account."""
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST")):  # noqa: S310  loopback
            return self

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]  # stubs know names as literals only
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def create(self, resources: Template, name: str = "stack", **others: Any) -> dict[str, Any]:
        """Create a stack; give what DescribeStacks says of it."""
        self.client("cloudformation").create_stack(
            StackName=name, TemplateBody=template(resources, **others)
        )
        return self.stack(name)

    def update(self, resources: Template, name: str = "stack", **others: Any) -> dict[str, Any]:
        """Update a stack; give what DescribeStacks says of it."""
        self.client("cloudformation").update_stack(
            StackName=name, TemplateBody=template(resources, **others)
        )
        return self.stack(name)

    def delete(self, name: str = "stack") -> None:
        self.client("cloudformation").delete_stack(StackName=name)

    def stack(self, name: str = "stack") -> dict[str, Any]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return dict(stack)

    def id_of(self, logical_id: str, name: str = "stack") -> str:
        """Give the physical id of a resource."""
        answer = self.client("cloudformation").describe_stack_resource(
            StackName=name, LogicalResourceId=logical_id
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    def events(self, name: str = "stack") -> list[tuple[str, str]]:
        """List what happened, the first event first."""
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        return [(event["LogicalResourceId"], event["ResourceStatus"]) for event in events[::-1]]

    def topics(self) -> list[str]:
        topics = self.client("sns").list_topics()["Topics"]
        return [topic["TopicArn"].rpartition(":")[2] for topic in topics]

    def display_name(self, topic: str = "topic") -> str:
        arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
        attributes = self.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
        return str(attributes.get("DisplayName", ""))

    def invoke(self, name: str) -> dict[str, Any]:
        answer = self.client("lambda").invoke(FunctionName=name)
        return dict(json.loads(answer["Payload"].read()))

    def put_code(self, key: str, answer: str) -> None:
        """Put a function's code into the bucket `code`."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as bundle:
            bundle.writestr("app.py", CODE % answer)
        self.client("s3").put_object(Bucket="code", Key=key, Body=archive.getvalue())


@contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    with (
        services.patched_moto(),
        Server() as server,
        services.running(LambdaService(runtime_packages(), server.url)),
    ):
        yield Sandbox(server.url)


def template(resources: Template, **others: Any) -> str:
    return json.dumps({"Resources": resources, **others})


def resource(name: str, /, **properties: Any) -> Template:
    return {"Type": f"AWS::{name}", "Properties": properties}


def topic(name: str = "topic", **properties: Any) -> Template:
    return resource("SNS::Topic", TopicName=name, **properties)


def outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def output(**values: Any) -> Template:
    return {name: {"Value": value} for name, value in values.items()}


def refusal(call: Any, *arguments: Any, **others: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(*arguments, **others)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    return str(error.value)


def joined(*parts: Any) -> Template:
    return {"Fn::Join": ["", list(parts)]}


ARN = {"Ref": "AWS::Partition"}, {"Ref": "AWS::Region"}, {"Ref": "AWS::AccountId"}


PROJECT = resource("Pinpoint::App", Name="demo", Tags={"team": "push"})


def cdk_template(version: str = "Version1a2b", key: str = "first.zip", **function: Any) -> Template:
    return {
        "Role": resource(
            "IAM::Role",
            AssumeRolePolicyDocument={
                "Statement": [
                    {
                        "Action": "sts:AssumeRole",
                        "Effect": "Allow",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                    }
                ],
                "Version": "2012-10-17",
            },
        ),
        "Policy": resource(
            "IAM::Policy",
            PolicyName="RoleDefaultPolicy",
            Roles=[{"Ref": "Role"}],
            PolicyDocument={
                "Statement": [
                    {
                        "Action": "mobiletargeting:SendMessages",
                        "Effect": "Allow",
                        "Resource": joined(
                            *("arn:", ARN[0], ":mobiletargeting:", ARN[1], ":", ARN[2]),
                            *(":apps/", {"Ref": "App"}, "/messages"),
                        ),
                    },
                    {
                        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                        "Effect": "Allow",
                        "Resource": {"Fn::GetAtt": ["Log", "Arn"]},
                    },
                ],
                "Version": "2012-10-17",
            },
        ),
        "App": PROJECT,
        "DeadLetters": resource("SQS::Queue", MessageRetentionPeriod=1209600),
        "Log": resource("Logs::LogGroup", RetentionInDays=30),
        "Function": {
            **resource(
                "Lambda::Function",
                Architectures=["arm64"],
                Code={"S3Bucket": {"Fn::Sub": "code"}, "S3Key": key},
                DeadLetterConfig={"TargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
                Environment={"Variables": {"VARIABLE": {"Ref": "App"}}},
                EphemeralStorage={"Size": 1024},
                FunctionName="push-sender",
                Handler="app.handler",
                LoggingConfig={
                    "ApplicationLogLevel": "WARN",
                    "LogFormat": "JSON",
                    "LogGroup": {"Ref": "Log"},
                },
                MemorySize=256,
                Role={"Fn::GetAtt": ["Role", "Arn"]},
                Runtime="python3.13",
                Tags=[{"Key": "team", "Value": "push"}],
                Timeout=29,
                TracingConfig={"Mode": "Active"},
                **function,
            ),
            "DependsOn": ["Policy", "Role"],
        },
        version: resource("Lambda::Version", FunctionName={"Ref": "Function"}),
        "Alias": resource(
            "Lambda::Alias",
            FunctionName={"Ref": "Function"},
            FunctionVersion={"Fn::GetAtt": [version, "Version"]},
            Name="live",
        ),
        "AliasEventInvokeConfig": resource(
            "Lambda::EventInvokeConfig",
            FunctionName={"Ref": "Function"},
            MaximumRetryAttempts=0,
            Qualifier={"Fn::Select": [7, {"Fn::Split": [":", {"Ref": "Alias"}]}]},
        ),
    }
