"""A sandbox with jobs: a machine as deployed, and a function that counts and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.service_sandbox import ServiceSandbox, zipped
from tests.support.templates import ACCOUNT, REGION, output, resource

BUCKET = "jobs-bucket"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:push-sender-jobs"
LIVE = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:push-sender:live"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"
SCHEDULE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/starts-jobs"
GROUP = "push-sender"
TABLE = "keys"

FUNCTION = '''
"""Takes each job for two ranges of two rows; `data` of the request says what happens."""
import json, os, time
from urllib.request import Request, urlopen

class InvalidRequest(Exception): pass
class MostlyRefused(Exception): pass

def ask(service, path, body, **headers):
    scope = f"20260101/us-east-1/{service}/aws4_request"
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential=sandbox/{scope}, Signature=0"
    url = os.environ["AWS_ENDPOINT_URL"] + path
    body, method = json.dumps(body).encode(), "PUT" if service == "s3" else "POST"
    headers.setdefault("Content-Type", "application/json")
    urlopen(Request(url, body, headers, method=method)).read()

def count(job, **numbers):
    ask("dynamodb", "/", {
        "TableName": "keys", "Key": {"id": {"S": f"J#{job}"}},
        "UpdateExpression": "ADD " + ", ".join(f"#{name} :{name}" for name in numbers),
        "ExpressionAttributeNames": {f"#{name}": name for name in numbers},
        "ExpressionAttributeValues": {f":{name}": {"N": str(n)} for name, n in numbers.items()},
    }, **{"X-Amz-Target": "DynamoDB_20120810.UpdateItem",
          "Content-Type": "application/x-amz-json-1.0"})

def handler(event, context):
    asked = event["input"] if event["job_step"] == "index" else event["plan"]
    job, do = asked["job"], asked.get("request", {}).get("data", {}).get("do")
    if event["job_step"] == "index":
        if do == "invalid":
            raise InvalidRequest("title: is missing\\nttl: must be a whole number, not text")
        ranges = [{"start": n, "end": n + 1, "first_row": 2 * n + 1, "wait": 0} for n in (0, 1)]
        ask("s3", f"/jobs-bucket/jobs/{job}/index.json", ranges)
        count(job, rows=4)
        return {"is_complete": True, "position": 2, "rows": 4, "children": 1,
                "index_key": f"jobs/{job}/index.json", "tolerated_failure_percentage": 0,
                "plan": {"job": job, "request": asked.get("request", {}),
                         "results_prefix": f"jobs/{job}/map"}}
    first = event["range"]["first_row"]
    while first > 1 and do and not os.path.exists(os.path.join(os.environ["PLACE"], "allowed")):
        if do == "wrong further down":
            raise InvalidRequest("adm.message: is too long")
        if do == "refused":
            raise MostlyRefused("over half of the rows were rejected")
        time.sleep(0.02)
    line = {"row": first, "token": "secret-token", "outcome": "dead_token", "reason": "Gone"}
    ask("s3", f"/jobs-bucket/jobs/{job}/rows/{first:012}.jsonl", line)
    count(job, count_rows=2, count_accepted=1, count_dead_token=1)
    return {"wait": 0}
'''


def _invoke(**payload: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": LIVE, "Payload": payload},
        "OutputPath": "$.Payload",
    }


_S3 = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}}
_CHILD = {
    "StartAt": "Send",
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
    "States": {
        "Send": {
            **_invoke(**{"job_step": "rows", "plan.$": "$.plan", "range.$": "$.range"}),
            "End": True,
        }
    },
}
_DEFINITION = {
    "StartAt": "Index",
    "States": {
        "Index": {**_invoke(**{"job_step": "index", "input.$": "$"}), "Next": "Rows"},
        "Rows": {
            "Type": "Map",
            "Label": "Rows",
            "ItemReader": {**_S3, "Parameters": {"Bucket": BUCKET, "Key.$": "$.index_key"}},
            "ItemSelector": {"range.$": "$$.Map.Item.Value", "plan.$": "$.plan"},
            "ItemProcessor": _CHILD,
            "MaxConcurrencyPath": "$.children",
            "ToleratedFailurePercentagePath": "$.tolerated_failure_percentage",
            "ResultWriter": {
                "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": {"Bucket": BUCKET, "Prefix.$": "$.plan.results_prefix"},
            },
            "End": True,
        },
    },
}
_MACHINE_NEEDS = {
    "lambda:InvokeFunction": LIVE,
    "s3:GetObject": f"arn:aws:s3:::{BUCKET}/jobs/*",
    "s3:PutObject": f"arn:aws:s3:::{BUCKET}/jobs/*",
    "states:StartExecution": MACHINE,
    "states:RedriveExecution": MACHINE.replace(":stateMachine:", ":execution:") + "/Rows:*",
}


@dataclass
class JobSandbox(ServiceSandbox):
    """A sandbox with a stack that has jobs, a bucket, a table and a function."""

    def prepared(self) -> JobSandbox:
        """Make the stack ``push-sender``, and ``without-jobs``."""
        roles, functions = self.client("iam"), self.client("lambda")
        self.function("push-sender", Code={"ZipFile": zipped(FUNCTION)})
        roles.create_role(RoleName="machine", AssumeRolePolicyDocument="{}")
        self._permit("machine", _MACHINE_NEEDS)
        roles.create_role(RoleName="starts-jobs", AssumeRolePolicyDocument="{}")
        self._permit("starts-jobs", {"states:StartExecution": MACHINE})
        self.client("scheduler").create_schedule_group(Name=GROUP)
        functions.publish_version(FunctionName="push-sender")
        functions.create_alias(FunctionName="push-sender", Name="live", FunctionVersion="1")
        self.client("s3").create_bucket(Bucket=BUCKET)
        self.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.client("stepfunctions").create_state_machine(
            name="push-sender-jobs", definition=json.dumps(_DEFINITION), roleArn=ROLE
        )
        of_every_stack = {"ApplicationId": "project", "TableName": TABLE}
        of_jobs = {"JobBucketName": BUCKET, "JobStateMachineArn": MACHINE}
        of_schedules = {"ScheduleGroupName": GROUP, "JobScheduleRoleArn": SCHEDULE_ROLE}
        queue = {"Queue": resource("SQS::Queue")}
        self.create(
            queue,
            "push-sender",
            Outputs=output(**of_every_stack, **of_jobs, **of_schedules, DevicesTableName="devices"),
        )
        self.create(queue, "without-jobs", Outputs=output(**of_every_stack))
        self.create(queue, "without-devices", Outputs=output(**of_every_stack, **of_jobs))
        gone = {**of_schedules, "JobScheduleRoleArn": f"{SCHEDULE_ROLE}-that-is-gone"}
        self.create(queue, "without-role", Outputs=output(**of_every_stack, **of_jobs, **gone))
        return self

    def _permit(self, role: str, needs: Mapping[str, str]) -> None:
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": resource_}
            for action, resource_ in needs.items()
        ]
        self.client("iam").put_role_policy(
            RoleName=role,
            PolicyName="needs",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )

    def let_through(self) -> None:
        """Let ranges succeed that failed or waited until now."""
        (self.place / "allowed").touch()

    def schedules(self) -> list[str]:
        """List the schedules of the group."""
        listed = self.client("scheduler").list_schedules(GroupName=GROUP)["Schedules"]
        return sorted(str(each["Name"]) for each in listed)

    def objects(self) -> list[str]:
        """List the objects of the bucket."""
        listed = self.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [str(each["Key"]) for each in listed]

    def content(self, key: str) -> bytes:
        return bytes(self.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def job(self, name: str) -> dict[str, Any]:
        """Describe the execution of a job."""
        arn = f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"
        return dict(self.client("stepfunctions").describe_execution(executionArn=arn))

    def input_of(self, name: str) -> Any:
        return json.loads(self.job(name)["input"])
