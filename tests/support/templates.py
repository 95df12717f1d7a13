"""The parts of which tests make templates, and the outputs of a stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
Template = dict[str, Any]


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
