"""The smoke test's check of jobs: what it accepts, and what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import pytest

from operations.account import Account
from operations.deployed import DeployedStack
from operations.smoke.context import CheckContext, CheckResult
from operations.smoke.job_check import check_job
from tests.commands.test_operations import CREDENTIALS
from tests.support.job_sandbox import BUCKET, MACHINE, TABLE, JobSandbox
from tests.support.service_sandbox import running_services

OUTPUTS = {"TableName": TABLE, "JobBucketName": BUCKET, "JobStateMachineArn": MACHINE}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobSandbox]:
    with running_services(JobSandbox, tmp_path_factory.mktemp("place")) as running:
        yield running.prepared()


def check(sandbox: JobSandbox, outputs: Mapping[str, str] = OUTPUTS, **others: Any) -> CheckResult:
    place = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_DEFAULT_REGION": "us-east-1", **CREDENTIALS}
    with patch.dict("os.environ", place):
        stack = DeployedStack("push-sender", outputs)
        return check_job(CheckContext(Account(), stack, [], {}, others.get("wait_seconds", 60)))


def test_a_job_that_counts_other_rows_fails_the_check(sandbox: JobSandbox) -> None:
    result = check(sandbox)  # whose function takes each file for four rows

    assert result.failures == ("it counted 4 of 4 rows",)
    assert result.message == "SUCCEEDED: 2 accepted, 2 dead_token"


def test_a_job_that_takes_too_long_fails_the_check_and_is_stopped(sandbox: JobSandbox) -> None:
    result = check(sandbox, wait_seconds=-1)

    assert "ran for more than -1 s, and is stopped" in result.failures[0]
    assert sandbox.job(result.answer["job"])["status"] in ("ABORTED", "SUCCEEDED")


def test_a_bucket_that_does_not_exist_fails_the_check(sandbox: JobSandbox) -> None:
    result = check(sandbox, OUTPUTS | {"JobBucketName": "no-such-bucket"})

    assert "The upload into the bucket no-such-bucket failed: NoSuchBucket" in result.failures[0]


def test_a_stack_without_jobs_is_not_checked(sandbox: JobSandbox) -> None:
    result = check(sandbox, {"TableName": TABLE})

    assert not result.is_deployed
    assert result.message.startswith("left out: there is no output JobStateMachineArn")
