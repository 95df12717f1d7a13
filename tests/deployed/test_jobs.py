"""Jobs through the deployed stack: a file becomes pushes, counts, a list of rows and a report."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.running import Sandbox, running_sandbox
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment
from tests.support.deployed_function import (
    OTHER_BUCKET,
    OTHERS,
    changed_policy,
    configuration,
    denials,
    invoke,
    statements,
    within,
)
from tests.support.http_apis import Api
from tests.support.service_sandbox import ADMINISTRATOR

Json = dict[str, Any]

FASTEST = 20_000  # tokens a second
REQUEST = {"title": "Spring", "message": "It is here"}
HEADER = "token,service,user_id,OptOut,note\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Deploy the stack with one other bucket for files."""
    with running_sandbox(context=OTHERS) as running:
        for bucket in (OTHER_BUCKET, "private"):
            client("s3", running.deployment.url).create_bucket(Bucket=bucket)
        yield running


@dataclass(frozen=True)
class Jobs:
    """The jobs of a deployed stack."""

    deployment: Deployment

    @property
    def bucket(self) -> str:
        return self.deployment.outputs["JobBucketName"]

    @property
    def machine(self) -> str:
        return self.deployment.outputs["JobStateMachineArn"]

    def start(
        self,
        rows: Sequence[str],
        *,
        note: int = 0,
        bucket: str | None = None,
        folder: str = "uploads",
        **given: Any,
    ) -> str:
        """Upload rows and start a job over them; return its name.

        A child waits a second for each 100 rows. A note of so many bytes beside each row makes
        fewer rows a child, because a range has at most 2 MiB.
        """
        job = f"job-{uuid.uuid4().hex}"
        key = f"{folder}/{job}.csv"
        body = HEADER + "\n".join(f"{row},{'-' * note}" for row in rows)
        client("s3", self.deployment.url).put_object(
            Bucket=bucket or self.bucket, Key=key, Body=body
        )
        wanted = {
            "job": job,
            "source": {"key": key, "bucket": bucket},
            "request": REQUEST,
            "tokens_per_second": FASTEST,
            **given,
        }
        self.states.start_execution(
            stateMachineArn=self.machine, name=job, input=json.dumps(wanted)
        )
        return job

    def ended(self, job: str) -> Json:
        """Wait for the end of a job; give its execution."""
        assert within(60, lambda: self.described(job)["status"] != "RUNNING")
        return self.described(job)

    def run(self, rows: Sequence[str], **given: Any) -> str:
        """Run a job to its good end; return its name."""
        job = self.start(rows, **given)
        found = self.ended(job)
        assert found["status"] == "SUCCEEDED", (found.get("error"), found.get("cause"))
        return job

    def described(self, job: str) -> Json:
        return dict(self.states.describe_execution(executionArn=self.execution(job)))

    def execution(self, job: str) -> str:
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{job}"

    def children(self, job: str) -> Json:
        """Count the children of a job by status, without those that are zero."""
        (run,) = self.states.list_map_runs(executionArn=self.execution(job))["mapRuns"]
        counts = self.states.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
        return {status: counts[status] for status in counts if counts[status]}

    def counts(self, job: str) -> dict[str, int]:
        """Read the counts of a job from the table, without those that are zero."""
        item = client("dynamodb", self.deployment.url).get_item(
            TableName=self.deployment.outputs["TableName"], Key={"id": {"S": f"J#{job}"}}
        )["Item"]
        counts = {
            name.removeprefix("count_"): int(value["N"])
            for name, value in item.items()
            if name.startswith("count_")
        }
        return {name: number for name, number in counts.items() if number}

    def listed(self, job: str) -> list[Json]:
        """Read the rows that were not accepted."""
        s3 = client("s3", self.deployment.url)
        found = s3.list_objects_v2(Bucket=self.bucket, Prefix=f"jobs/{job}/rows/")
        bodies = [
            s3.get_object(Bucket=self.bucket, Key=each["Key"])["Body"].read().decode()
            for each in found.get("Contents", ())
        ]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    @property
    def states(self) -> Any:
        return client("stepfunctions", self.deployment.url)


@pytest.fixture
def jobs(deployment: Deployment) -> Jobs:
    return Jobs(deployment)


def accepted(deployment: Deployment, mark: str) -> Counter[str]:
    """Count the pushes that devices got, by token, for the tokens with a mark in them."""
    query = urllib.parse.urlencode({"text": mark, "outcome": "accepted"})
    address = f"{deployment.url}/sandbox/messages?{query}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310  loopback
        return Counter(push["token"] for push in json.loads(answer.read())["messages"])


def registered(deployment: Deployment, user_id: str, *tokens: str) -> None:
    """Register a device of a user for each token."""
    url = deployment.outputs["ApiUrl"]
    api = Api(url.rpartition("/")[2], url, deployment.stack_name)
    for token in tokens:
        body = json.dumps({"token": token, "service": "GCM", "user_id": user_id}).encode()
        answer = api.ask(
            "PUT",
            f"/devices/d-{token}",
            body,
            {"Content-Type": "application/json"},
            caller=ADMINISTRATOR,
        )
        assert answer.status == 201


@contextmanager
def reports(deployment: Deployment) -> Iterator[Mapping[str, Json]]:
    """Collect the reports of jobs from the bus, by job, as they are asked for."""
    sqs, bus = client("sqs", deployment.url), client("events", deployment.url)
    spy = sqs.create_queue(QueueName=f"spy-{uuid.uuid4().hex}")["QueueUrl"]
    named = {"QueueUrl": spy, "AttributeNames": ["QueueArn"]}
    arn = sqs.get_queue_attributes(**named)["Attributes"]["QueueArn"]
    rule = {"Name": spy.rpartition("/")[2], "EventBusName": deployment.outputs["EventBusName"]}
    pattern = {"source": ["push-sender"], "detail-type": ["Push Job Report"]}
    bus.put_rule(**rule, EventPattern=json.dumps(pattern))
    bus.put_targets(
        Rule=rule["Name"], EventBusName=rule["EventBusName"], Targets=[{"Id": "spy", "Arn": arn}]
    )
    yield _Received(sqs, spy)
    bus.remove_targets(Rule=rule["Name"], EventBusName=rule["EventBusName"], Ids=["spy"])
    bus.delete_rule(**rule)


class _Received(dict[str, Json]):
    def __init__(self, sqs: Any, queue: str) -> None:
        super().__init__()
        self._sqs, self._queue = sqs, queue

    def __missing__(self, job: str) -> Json:
        assert within(60, lambda: self._receive(job))
        return dict.__getitem__(self, job)

    def _receive(self, job: str) -> bool:
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        for message in answer.get("Messages", ()):
            detail = json.loads(message["Body"])["detail"]
            self[detail["job"]] = detail
        return job in self


def test_a_job_of_ten_rows_sends_lists_and_reports(
    sandbox: Sandbox, deployment: Deployment, jobs: Jobs
) -> None:
    mark = uuid.uuid4().hex
    rows = [f"{mark}-{number},GCM,," for number in range(6)]
    rows += [
        f"sandbox-unregistered-{mark},APNS,,",
        f"{mark}-no,GCM,,ALL",
        f"{mark}-nowhere,FAX,,",
        ",,nobody,",
    ]
    with reports(deployment) as reported:
        job = jobs.run(rows)
        report = reported[job]

    assert accepted(deployment, mark) == dict.fromkeys((f"{mark}-{n}" for n in range(6)), 1)
    counts = {"accepted": 6, "dead_token": 1, "skipped": 1, "invalid_row": 1, "no_device": 1}
    assert jobs.counts(job) == {**counts, "rows": 10}
    assert [(each["row"], each["outcome"]) for each in jobs.listed(job)] == [
        (7, "dead_token"),
        (8, "skipped"),
        (9, "invalid_row"),
        (10, "no_device"),
    ]
    assert report == {
        "version": 1,
        "job": job,
        "action": "send",
        "status": "SUCCEEDED",
        "rows": 10,
        "summary": {**counts, "rows": 10},
        "results": f"s3://{jobs.bucket}/jobs/{job}/rows/",
        "execution_id": jobs.execution(job),
    }
    assert denials(sandbox) == set()


def test_rows_of_tokens_and_users_are_sent_once_by_several_children(
    sandbox: Sandbox, deployment: Deployment, jobs: Jobs
) -> None:
    mark = uuid.uuid4().hex
    users = {f"u-{mark}-{n}": (f"{mark}-{n}-a", f"{mark}-{n}-b") for n in range(3)}
    for user_id, tokens in users.items():
        registered(deployment, user_id, *tokens)
    rows = [f"{mark}-{number},GCM,," for number in range(2_497)]
    for place, user_id in zip((0, 1_200, 2_400), users, strict=True):
        rows.insert(place, f",,{user_id},")

    job = jobs.run(rows, note=8_000)

    assert jobs.children(job)["succeeded"] >= 10
    assert jobs.counts(job) == {"accepted": 2_497 + 6, "rows": 2_500}
    assert jobs.listed(job) == []
    pushed = accepted(deployment, mark)
    assert (len(pushed), set(pushed.values())) == (2_497 + 6, {1})
    assert denials(sandbox) == set()


def test_a_redrive_sends_what_failed_and_counts_each_accepted_row_once(
    deployment: Deployment, jobs: Jobs
) -> None:
    # Given a job of which one child fails, because most of its rows have a service without channel
    channels = client("pinpoint", deployment.url)
    project = {"ApplicationId": deployment.application_id}
    mark = uuid.uuid4().hex
    rows = [f"{mark}-{n},{'GCM' if n < 90 else 'ADM'},," for n in range(120)]
    channels.delete_adm_channel(**project)
    job = jobs.start(rows, note=30_000)  # about 69 and 51 rows
    assert jobs.ended(job)["error"] == "States.ExceedToleratedFailureThreshold"
    assert jobs.children(job) == {"succeeded": 1, "failed": 1, "total": 2, "resultsWritten": 2}
    assert jobs.counts(job) == {"accepted": 90, "misconfigured": 30, "rows": 120}
    assert {each["outcome"] for each in jobs.listed(job)} == {"misconfigured"}

    # When the channel is there, and the job is redriven
    keys = {"ClientId": "id", "ClientSecret": "secret", "Enabled": True}
    channels.update_adm_channel(**project, ADMChannelRequest=keys)
    jobs.states.redrive_execution(executionArn=jobs.execution(job))

    # Then each row is accepted once
    assert jobs.ended(job)["status"] == "SUCCEEDED"
    assert jobs.counts(job) == {"accepted": 120, "rows": 120}
    assert jobs.listed(job) == []
    pushed = accepted(deployment, mark)
    assert (len(pushed), set(pushed.values())) == (120, {1})


def test_a_stopped_job_starts_no_other_child_and_will_be_reported(
    deployment: Deployment, jobs: Jobs
) -> None:
    mark = uuid.uuid4().hex
    # One child at a time, each of which keeps its place for 50 seconds.
    job = jobs.start([f"{mark}-{n},GCM,," for n in range(2_500)], tokens_per_second=20)
    assert within(60, lambda: len(accepted(deployment, mark)) == 1_000)

    jobs.states.stop_execution(executionArn=jobs.execution(job), cause="enough")

    assert jobs.ended(job)["status"] == "ABORTED"
    assert jobs.children(job)["pending"] == 2
    assert len(accepted(deployment, mark)) == 1_000
    # Running children may still count, so that its report waits in the queue.
    queue = {"QueueUrl": deployment.outputs["QueueUrl"]}
    name = "ApproximateNumberOfMessagesDelayed"

    def is_put_back() -> bool:
        answer = client("sqs", deployment.url).get_queue_attributes(**queue, AttributeNames=[name])
        return int(answer["Attributes"][name]) > 0

    assert within(60, is_put_back)


def test_a_request_that_cannot_be_sent_fails_before_anything_is_sent(
    deployment: Deployment, jobs: Jobs
) -> None:
    mark = uuid.uuid4().hex
    job = jobs.start([f"{mark},GCM,,"], request={"titel": "m"})

    found = jobs.ended(job)

    assert (found["status"], found["error"]) == ("FAILED", "InvalidRequest")
    assert "titel" in json.loads(found["cause"])["errorMessage"]
    assert accepted(deployment, mark) == {}


def test_a_file_of_another_bucket_is_read_only_if_the_stack_names_the_bucket(
    deployment: Deployment, jobs: Jobs
) -> None:
    mark = uuid.uuid4().hex
    job = jobs.run([f"{mark}-named,GCM,,"], bucket=OTHER_BUCKET)
    assert jobs.counts(job) == {"accepted": 1, "rows": 1}

    found = jobs.ended(jobs.start([f"{mark}-private,GCM,,"], bucket="private"))

    assert (found["status"], found["error"]) == ("FAILED", "InvalidRequest")
    assert "job_bucket_arns" in found["cause"]
    assert list(accepted(deployment, mark)) == [f"{mark}-named"]


def test_no_token_and_no_user_enters_step_functions_or_the_log(
    deployment: Deployment, jobs: Jobs
) -> None:
    job = jobs.run(["CANARY-token,GCM,,", ",,CANARY-user,", "CANARY-bad,FAX,,"])

    history = jobs.states.get_execution_history(executionArn=jobs.execution(job))
    s3 = client("s3", deployment.url)
    found = s3.list_objects_v2(Bucket=jobs.bucket, Prefix=f"jobs/{job}/map/")["Contents"]
    results = [
        s3.get_object(Bucket=jobs.bucket, Key=each["Key"])["Body"].read().decode() for each in found
    ]
    logs = client("logs", deployment.url)
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    written = [
        event["message"]
        for group in groups
        for event in logs.filter_log_events(logGroupName=group)["events"]
    ]
    texts = [json.dumps(history["events"], default=str), *results, *written]
    assert any(job in text for text in written)
    assert not [text for text in texts if "CANARY" in text]


# ------------------------------------------------------------------ permissions


@pytest.mark.parametrize("action", ["states:StartExecution", "s3:GetObject", "s3:PutObject"])
def test_a_missing_permission_of_the_machine_fails_the_job(
    deployment: Deployment, jobs: Jobs, action: str
) -> None:
    iam = client("iam", deployment.url)
    role = jobs.states.describe_state_machine(stateMachineArn=jobs.machine)["roleArn"]
    names: Json = {"RoleName": role.rpartition("/")[2]}
    (names["PolicyName"],) = iam.list_role_policies(**names)["PolicyNames"]
    document = iam.get_role_policy(**names)["PolicyDocument"]
    without = json.loads(json.dumps(document).replace(action, "s3:ListBucket"))
    iam.put_role_policy(**names, PolicyDocument=json.dumps(without))
    try:
        found = jobs.ended(jobs.start([f"{uuid.uuid4().hex},GCM,,"]))
    finally:
        iam.put_role_policy(**names, PolicyDocument=json.dumps(document))

    assert (found["status"], found["error"]) == ("FAILED", "States.Permissions")
    assert action in found["cause"]


def step_of(jobs: Jobs, job: str) -> Json:
    """Write the payload of the first step, as the state machine does."""
    given = json.loads(jobs.described(job)["input"])
    return {
        "job_step": "index",
        "bucket": jobs.bucket,
        "execution": {
            "name": job,
            "id": jobs.execution(job),
            "started_at": jobs.described(job)["startDate"].isoformat(),
        },
        "input": given,
        "pass": {"position": 0, "rows": 0},
    }


def invoke_step(deployment: Deployment, event: Json) -> Any:
    """Invoke the alias of the state machine."""
    name = deployment.function_name.replace("live", "jobs")
    answer = client("lambda", deployment.url).invoke(FunctionName=name, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def test_a_caller_of_the_function_cannot_make_a_step_of_a_job(
    deployment: Deployment, jobs: Jobs
) -> None:
    job = jobs.run([f"{uuid.uuid4().hex},GCM,,"])

    answer = invoke(deployment, step_of(jobs, job))

    assert answer["errorType"] == "InvalidRequest"
    assert "only the state machine" in answer["errorMessage"]


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("s3:GetObject", "InvalidRequest"),
        ("s3:PutObject", "JobStoreUnavailable"),
        ("dynamodb:UpdateItem", "JobStoreUnavailable"),
    ],
)
def test_a_missing_permission_of_the_function_fails_its_step(
    deployment: Deployment, jobs: Jobs, action: str, error: str
) -> None:
    job = jobs.run([f"{uuid.uuid4().hex},GCM,,"])

    def without(all_: list[Json]) -> list[Json]:
        left = [
            {**each, "Action": [other for other in each["Action"] if other != action]}
            for each in all_
        ]
        return [each for each in left if each["Action"]]

    with changed_policy(deployment, without):
        answer = invoke_step(deployment, step_of(jobs, job))

    assert answer["errorType"] == error
    assert "errorType" not in invoke_step(deployment, step_of(jobs, job))


def test_the_function_uses_each_permission_for_jobs_and_no_other(
    sandbox: Sandbox, deployment: Deployment, jobs: Jobs
) -> None:
    sandbox.permissions.forget_calls()
    for source in ({}, {"bucket": OTHER_BUCKET}, {"folder": "scheduled"}):
        jobs.run([f"{uuid.uuid4().hex},GCM,,", "sandbox-opted-out,GCM,,"], **source)

    role = configuration(deployment)["Role"]
    made = {
        (call.action, call.resource)
        for call in sandbox.permissions.calls()
        if call.role_arn == role and call.allowed
    }
    allowed = {
        (action, resource)
        for statement in statements(deployment)
        for action in statement["Action"]
        for resource in statement["Resource"]
        if action in ("s3:GetObject", "s3:PutObject", "dynamodb:UpdateItem")
    }

    def is_used(action: str, resource: str) -> bool:
        start, _, end = resource.partition("*")
        return any(
            action == name and arn.startswith(start) and arn.endswith(end) for name, arn in made
        )

    unused = {resource for action, resource in allowed if not is_used(action, resource)}
    # Only a second pass over a large file reads the index of the first.
    assert unused == {f"arn:aws:s3:::{jobs.bucket}/jobs/*/index.json"}
    assert denials(sandbox) == set()
