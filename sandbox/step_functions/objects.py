"""Read the items of a Map from S3, and write its results there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from moto.s3.exceptions import S3ClientError
from moto.s3.models import s3_backends
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.utilities.utils import get_partition

from sandbox.step_functions.map_runs import SUCCEEDED, Child, Ended, MapRun
from sandbox.step_functions.run_details import RunDetails, details_of, failure

_READER_FAILED: Final = "States.ItemReaderFailed"
_WRITER_FAILED: Final = "States.ResultWriterFailed"


def read_items(env: Environment, parameters: Mapping[str, Any]) -> list[Any]:
    """Read a JSON array from an object.

    Raises
    ------
    FailureEventException
        If the machine's role is not allowed to, or there is no such array.
    """
    bucket, key = parameters["Bucket"], parameters["Key"]
    details = details_of(env)
    details.permitted(env, "s3:GetObject", _arn(details, bucket, key))
    try:
        found = _backend(details).get_object(bucket, key)
    except S3ClientError as error:
        raise failure(env, _READER_FAILED, f"{bucket}/{key}: {error.message}") from None
    if found is None:
        raise failure(env, _READER_FAILED, f"{bucket}/{key}: The specified key does not exist.")
    try:
        items = json.loads(found.value)
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise failure(env, _READER_FAILED, f"{bucket}/{key} is no JSON array.")
    return items


def write_results(env: Environment, run: MapRun, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Write a file for each status, and the manifest; return the Map's output.

    The form is that of the developer guide, "ResultWriter (Map)".

    Raises
    ------
    FailureEventException
        If the machine's role is not allowed to, or the bucket does not exist.
    """
    bucket, prefix = parameters["Bucket"], parameters.get("Prefix", "").rstrip("/")
    folder = f"{prefix}/{run.arn.rpartition(':')[2]}".removeprefix("/")
    details = details_of(env)
    by_status = defaultdict(list)
    for child in run.children or []:
        by_status["FAILED" if child.status == "TIMED_OUT" else child.status].append(child)
    files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    for status in files:
        if children := by_status[status]:
            key = f"{folder}/{status}_0.json"
            size = _put(env, details, bucket, key, [_result(run, child) for child in children])
            files[status].append({"Key": key, "Size": size})
    manifest = f"{folder}/manifest.json"
    content = {"DestinationBucket": bucket, "MapRunArn": run.arn, "ResultFiles": files}
    _put(env, details, bucket, manifest, content)
    run.results_written = sum(len(by_status[status]) for status in ("FAILED", SUCCEEDED))
    return {
        "MapRunArn": run.arn,
        "ResultWriterDetails": {"Bucket": bucket, "Key": manifest},
    }


def _put(env: Environment, details: RunDetails, bucket: str, key: str, content: Any) -> int:
    details.permitted(env, "s3:PutObject", _arn(details, bucket, key))
    body = json.dumps(content).encode()
    try:
        _backend(details).put_object(bucket, key, body)
    except S3ClientError as error:
        raise failure(env, _WRITER_FAILED, f"{bucket}/{key}: {error.message}") from None
    return len(body)


def _result(run: MapRun, child: Child) -> dict[str, Any]:
    ended = child.ended or Ended(child.status)
    written = {
        "ExecutionArn": child.execution_arn,
        "Input": json.dumps(child.input),
        "InputDetails": {"Included": True},
        "Name": child.execution_arn.rpartition(":")[2],
        "StartDate": _iso(child.started_at),
        "StateMachineArn": run.listed()["stateMachineArn"],
        "Status": child.status,
        "StopDate": _iso(child.stopped_at),
    }
    if child.status == SUCCEEDED:
        written |= {"Output": json.dumps(ended.output), "OutputDetails": {"Included": True}}
    failed = {"Error": ended.error, "Cause": ended.cause}
    written |= {name: value for name, value in failed.items() if value is not None}
    return {name: value for name, value in written.items() if value is not None}


def _iso(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _arn(details: RunDetails, bucket: str, key: str) -> str:
    return f"arn:{get_partition(details.region)}:s3:::{bucket}/{key}"


def _backend(details: RunDetails) -> Any:
    return s3_backends[details.account][get_partition(details.region)]
