"""The jobs of a stack: executions of a state machine, an item of counts, files of a bucket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import IO, Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError

from operations.account import Account, FailedCall, OperationsError, call
from operations.deployed import DeployedStack, find_stack
from operations.jobs import schedules
from operations.jobs.schedules import JobSchedules
from operations.jobs.split import Part
from operations.json_values import as_dict, as_list, read_json

_NEEDED: Final = ("ApplicationId", "TableName")
_OF_JOBS: Final = ("JobBucketName", "JobStateMachineArn")

_ATTEMPTS: Final = 8
"""How often a call is tried: a look at a job must not end because one call was throttled."""

_COUNT: Final = "count_"
_FILES_AT_ONCE: Final = 16

STATES: Final[Mapping[str, str]] = {
    "RUNNING": "runs",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "failed: its time is over",
    "ABORTED": "was stopped",
}
"""The statuses of an execution, as words after its name."""

_FAILURES_BYTES: Final = 1 << 20
"""How much of the list of failed children is read. Its first entry is far smaller."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A job as Step Functions knows it.

    Attributes
    ----------
    name, status
        The job's name; RUNNING, SUCCEEDED, FAILED, ABORTED or TIMED_OUT.
    input
        What it was started with.
    error, cause
        Why it failed; None otherwise.
    started_at, ended_at
        When. The end is None while it runs.
    not_redrivable
        Why it cannot be redriven; None if it can.
    """

    name: str
    status: str
    input: Mapping[str, Any]
    error: str | None
    cause: str | None
    started_at: datetime | None
    ended_at: datetime | None
    not_redrivable: str | None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status == "RUNNING"

    @property
    def state(self) -> str:
        """Its status in words."""
        return STATES.get(self.status, f"is {self.status}")

    @property
    def is_import(self) -> bool:
        """Whether its rows are registered and not sent to."""
        return self.input.get("action") == "register_devices"

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is sent or registered."""
        return self.input.get("dry_run") is True


class Progress(NamedTuple):
    """How far a job is.

    Attributes
    ----------
    rows
        How many the file has; None until all of it was read.
    done
        How many rows have an outcome.
    counts
        By outcome.
    warnings
        How many rows an import registered without a part that breaks a limit.
    """

    rows: int | None
    done: int
    counts: Mapping[str, int]
    warnings: int = 0

    @property
    def listed(self) -> int:
        """How many results are in the files of rows."""
        others = (number for name, number in self.counts.items() if name not in GOOD)
        return sum(others) + self.warnings


GOOD: Final = ("accepted", "registered")
"""The outcomes that the files of rows leave out, unless there is a warning."""


class Failure(NamedTuple):
    """Why a job failed: the name of the error, and what it says."""

    error: str
    message: str


def find_jobs(stack_name: str, sender: str | None) -> Jobs:
    """Find the jobs of a deployed stack.

    Parameters
    ----------
    stack_name
        The stack's name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.

    Raises
    ------
    OperationsError
        As ``find_stack``, or if it has no jobs.
    """
    account = Account(attempts=_ATTEMPTS)
    stack = find_stack(account, stack_name, _NEEDED, sender)
    if not has_jobs(stack):
        raise OperationsError(
            f"The stack {stack_name} has no jobs: it has no outputs {' and '.join(_OF_JOBS)}. "
            "Deploy it with the setting jobs true, and as this version or a newer one."
        )
    return Jobs(account, stack)


def has_jobs(stack: DeployedStack) -> bool:
    """Return whether a stack has jobs."""
    return all(stack.outputs.get(name) for name in _OF_JOBS)


class Jobs:
    """The jobs of one push sender.

    Every method raises ``OperationsError`` if AWS does not answer as it should.

    Parameters
    ----------
    account
        The operator's.
    stack
        One that has jobs.

    Attributes
    ----------
    schedules
        Of jobs that start later; None if the stack has no schedules.
    """

    def __init__(self, account: Account, stack: DeployedStack) -> None:
        self.account = account
        self.stack = stack
        self.bucket: str = stack.outputs["JobBucketName"]
        self._machine: str = stack.outputs["JobStateMachineArn"]
        self._machines = account.client("stepfunctions")
        self._objects = account.client("s3")
        self._table = account.client("dynamodb")
        self.schedules: JobSchedules | None = None
        if all(stack.outputs.get(name) for name in schedules.OUTPUTS):
            self.schedules = JobSchedules(account, stack)

    def find(self, name: str) -> Execution | None:
        """Describe a job; None if there is none of this name."""
        answer = call(self._machines, "describe_execution", executionArn=self._arn(name))
        if isinstance(answer, FailedCall):
            if answer.code == "ExecutionDoesNotExist":
                return None
            raise OperationsError(f"The job {name} cannot be read: {answer.with_cure}")
        can_be = answer.get("redriveStatus") == "REDRIVABLE"
        return Execution(
            name,
            str(answer.get("status")),
            as_dict(read_json(str(answer.get("input")).encode())),
            answer.get("error"),
            answer.get("cause"),
            answer.get("startDate"),
            answer.get("stopDate"),
            None if can_be else str(answer.get("redriveStatusReason") or "it is not redrivable"),
        )

    def latest(self, number: int) -> list[tuple[str, str, datetime | None]]:
        """List the name, the status and the start of the last jobs, the last one first."""
        answer = self._answered(
            call(
                self._machines,
                "list_executions",
                stateMachineArn=self._machine,
                maxResults=number,
            ),
            "The jobs cannot be listed",
        )
        return [
            (str(each.get("name")), str(each.get("status")), each.get("startDate"))
            for each in map(as_dict, as_list(answer.get("executions")))
        ]

    def upload(
        self, stream: IO[bytes], key: str, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        """Write a stream of any length to the bucket, in parts of a few megabytes.

        ``on_bytes`` gets the number of bytes of each part, from any thread.
        """
        answer = call(
            self._objects,
            "upload_fileobj",
            Fileobj=stream,
            Bucket=self.bucket,
            Key=key,
            Callback=on_bytes,
        )
        self._answered(answer, f"The upload into the bucket {self.bucket} failed")

    def delete(self, key: str) -> None:
        """Delete an object of the bucket, if there is one."""
        answer = call(self._objects, "delete_object", Bucket=self.bucket, Key=key)
        self._answered(answer, f"{key} cannot be deleted from the bucket {self.bucket}")

    def keep_parts(self, name: str, parts: Sequence[Part]) -> None:
        """Write the list of a scheduled job's parts."""
        answer = call(
            self._objects,
            "put_object",
            Bucket=self.bucket,
            Key=parts_key(name),
            Body=json.dumps({"parts": [part.written() for part in parts]}).encode(),
            ContentType="application/json",
        )
        self._answered(answer, f"The upload into the bucket {self.bucket} failed")

    def parts(self, name: str) -> list[Part]:
        """Read the list of a scheduled job's parts; empty if the job has none."""
        key = parts_key(name)
        answer = call(self._objects, "get_object", Bucket=self.bucket, Key=key)
        if isinstance(answer, FailedCall) and answer.code == "NoSuchKey":
            return []
        listed = as_dict(read_json(self._body(answer, key))).get("parts")
        try:
            return [Part.read(each) for each in as_list(listed)]
        except (KeyError, TypeError, ValueError) as error:
            raise OperationsError(f"{key} of the bucket {self.bucket} was changed.") from error

    def start(self, name: str, document: Mapping[str, Any]) -> bool:
        """Start a job; return whether its name was free."""
        answer = call(
            self._machines,
            "start_execution",
            stateMachineArn=self._machine,
            name=name,
            input=json.dumps(document, ensure_ascii=False, separators=(",", ":")),
        )
        if isinstance(answer, FailedCall) and answer.code == "ExecutionAlreadyExists":
            return False
        self._answered(answer, f"The job {name} cannot be started")
        return True

    def stop(self, name: str) -> None:
        """Let a job start no more children."""
        answer = call(
            self._machines,
            "stop_execution",
            executionArn=self._arn(name),
            error="Stopped",
            cause="The operator stopped the job.",
        )
        self._answered(answer, f"The job {name} cannot be stopped")

    def redrive(self, name: str) -> None:
        """Let a job continue."""
        answer = call(self._machines, "redrive_execution", executionArn=self._arn(name))
        self._answered(answer, f"The job {name} cannot be redriven")

    def progress(self, name: str) -> Progress:
        """Read the counts of a job."""
        answer = call(
            self._table,
            "get_item",
            TableName=self.stack.outputs["TableName"],
            Key={"id": {"S": f"J#{name}"}},
            ConsistentRead=True,
        )
        answer = self._answered(answer, f"The counts of the job {name} cannot be read")
        numbers = {
            key: int(value["N"])
            for key, value in as_dict(answer.get("Item")).items()
            if "N" in as_dict(value)
        }
        counts = {
            key.removeprefix(_COUNT): number
            for key, number in numbers.items()
            if key.startswith(_COUNT) and number
        }
        done, warnings = counts.pop("rows", 0), counts.pop("warnings", 0)
        return Progress(numbers.get("rows"), done, counts, warnings)

    def failure(self, execution: Execution) -> Failure:
        """Find out why a job failed: its first failed child says more than the job itself."""
        if execution.error == "States.ExceedToleratedFailureThreshold" and (
            child := self._failed_child(execution.name)
        ):
            return _failure(child.get("Error"), child.get("Cause"))
        return _failure(execution.error, execution.cause)

    def results(self, name: str) -> Iterator[bytes]:
        """Read the results that were not accepted, in the order of the rows, each as JSON."""
        keys = self._keys(f"jobs/{name}/rows/")
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            while some := list(islice(keys, _FILES_AT_ONCE)):
                for content in threads.map(self._read, some):
                    yield from content.splitlines()

    def _failed_child(self, name: str) -> dict[str, Any]:
        """Read the first failed child from the results of the last run of the Map.

        Developer guide, ResultWriter (Map): the files are in a folder named as the Map run is.
        """
        runs = call(self._machines, "list_map_runs", executionArn=self._arn(name))
        if isinstance(runs, FailedCall):
            return {}
        for run in map(as_dict, as_list(runs.get("mapRuns"))):
            run_id = str(run.get("mapRunArn")).rpartition(":")[2]
            folder = f"jobs/{name}/map/{run_id}/FAILED_"
            for key in self._keys(folder):
                text = self._read(key, _FAILURES_BYTES).decode(errors="replace")
                try:
                    child, _ = json.JSONDecoder().raw_decode(text, text.find("{"))
                except ValueError:
                    continue
                return as_dict(child)
        return {}

    def _keys(self, prefix: str) -> Iterator[str]:
        """List the keys of the bucket, in order."""
        more: dict[str, str] = {}
        while True:
            answer = call(
                self._objects, "list_objects_v2", Bucket=self.bucket, Prefix=prefix, **more
            )
            answer = self._answered(answer, f"The bucket {self.bucket} cannot be listed")
            yield from (str(each["Key"]) for each in as_list(answer.get("Contents")))
            if not (token := answer.get("NextContinuationToken")):
                return
            more = {"ContinuationToken": token}

    def _read(self, key: str, most: int | None = None) -> bytes:
        range_ = {} if most is None else {"Range": f"bytes=0-{most - 1}"}
        answer = call(self._objects, "get_object", Bucket=self.bucket, Key=key, **range_)
        return self._body(answer, key)

    def _body(self, answer: dict[str, Any] | FailedCall, key: str) -> bytes:
        failed = f"{key} cannot be read from the bucket {self.bucket}"
        try:
            return bytes(self._answered(answer, failed)["Body"].read())
        except BotoCoreError as error:  # the connection ended within the body
            raise OperationsError(f"{failed}: {FailedCall.of(error).with_cure}") from error

    def _arn(self, name: str) -> str:
        return f"{self._machine.replace(':stateMachine:', ':execution:')}:{name}"

    @staticmethod
    def _answered(answer: dict[str, Any] | FailedCall, failed: str) -> dict[str, Any]:
        if isinstance(answer, FailedCall):
            raise OperationsError(f"{failed}: {answer.with_cure}")
        return answer


def parts_key(name: str) -> str:
    """Return where the list of a scheduled job's parts is: as long as their files."""
    return f"scheduled/{name}/parts.json"


def _failure(error: object, cause: object) -> Failure:
    """Read the error of a function out of the cause that Step Functions gives."""
    raised = as_dict(read_json(str(cause or "").encode()))
    return Failure(
        str(error or "an error without a name"), str(raised.get("errorMessage") or cause or "")
    )
