"""Read from a request who signed it, and which IAM action on which resources it needs.

A closed table has the operations that functions and commands can call. Signatures are not verified,
and only the necessary parts of a request are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_CREDENTIAL: Final = re.compile(
    r"Credential=(?P<key>[^/,\s]+)"
    r"(?:/[^/,\s]*/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request)?"
)
# The older signature, which only S3 still accepts, and clients still use for it.
_OLD_CREDENTIAL: Final = re.compile(r"(?:^AWS |^AWSAccessKeyId=|&AWSAccessKeyId=)([^:&]+)")
_FORM: Final = "application/x-www-form-urlencoded"
_MESSAGES: Final = re.compile(r"/v1/apps/([^/]+)/messages")
_INVOCATIONS: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
# A name, an ARN or the end of one, each with or without a qualifier.
_FUNCTION: Final = re.compile(
    r"(?:arn:[\w-]+:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>[0-9]{12}):)?(?:function:)?"
    r"(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?",
    re.ASCII,
)
_SCHEDULE: Final = re.compile(r"/schedules/([^/]+)")
_OF_SCHEDULES: Final = {
    "POST": "CreateSchedule",
    "PUT": "UpdateSchedule",
    "GET": "GetSchedule",
    "DELETE": "DeleteSchedule",
}
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
# The longest possible ARN, with characters that cannot forge a log line or markup.
_ARN: Final = re.compile(r"arn:[!-~]{1,2044}")
_NOT_PRINTABLE: Final = re.compile(r"[^ -~]")
_LONGEST_NAME: Final = 100
# What a query of S3 says about the answer and the signature, not about the operation.
_NO_SUBRESOURCE: Final = re.compile(
    r"x-id|list-type|prefix|delimiter|continuation-token|max-keys|start-after|encoding-type"
    r"|X-Amz-[\w-]+|AWSAccessKeyId|Signature|Expires"
)
PASS_ROLE: Final = "iam:PassRole"  # noqa: S105  an action
"""What a caller needs to give a role to a service."""
_ACTIONS_OF_ENTRIES: Final = {
    "Put": "dynamodb:PutItem",
    "Delete": "dynamodb:DeleteItem",
    "Update": "dynamodb:UpdateItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
"""What an entry of a transaction needs (DynamoDB's guide, "Using IAM with transactions")."""


class Credential(NamedTuple):
    """The signer and scope in a signature; scope is empty if the signature is malformed."""

    access_key_id: str
    region: str
    service: str


class Home(NamedTuple):
    """The place of a resource that is named without an ARN."""

    partition: str
    region: str
    account_id: str


class Wanted(NamedTuple):
    """What a request needs permission for.

    Attributes
    ----------
    action
        The name of the request, for one without a readable resource.
    needed
        The actions, each with an ARN, which must all be allowed; empty if they are unknown.
    known
        Whether it is in the table.
    passed_to
        The service to which it passes a role; empty if it passes none.
    """

    action: str
    needed: tuple[tuple[str, str], ...]
    known: bool
    passed_to: str = ""


def credential_of(environ: WSGIEnvironment) -> Credential | None:
    """Read the signer of a request from its header or presigned address."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    query = environ.get("QUERY_STRING", "")
    # A presigned address has the same in X-Amz-Credential, with escaped slashes.
    for text in (header, query.replace("%2F", "/")):
        if match := _CREDENTIAL.search(text):
            return Credential(match["key"], match["region"] or "", match["service"] or "")
        if match := _OLD_CREDENTIAL.search(text):
            return Credential(match[1], "", "s3")
    return None


def wanted_by(environ: WSGIEnvironment, service: str, home: Home) -> Wanted:
    """Read what a request needs permission for; its body can be read again.

    Parameters
    ----------
    environ
        The request.
    service
        The service in the signature.
    home
        The caller's place.
    """
    operation, name, parameters = (_of_s3 if service == "s3" else _operation)(environ)
    row = _TABLE.get(operation)
    # moto chooses the service by the signature, so the two must agree.
    if row is None or row.action.partition(":")[0] != service:
        words = _NOT_PRINTABLE.sub("?", f"{service}:{name}")
        return Wanted(words[:_LONGEST_NAME], (), known=False)
    try:
        needed = tuple(row.needed(parameters(), home))
    except (ValueError, RecursionError):
        needed = ()
    if not all(_ARN.fullmatch(resource) for _, resource in needed):
        needed = ()
    return Wanted(row.action, needed, known=True, passed_to=row.passed_to)


def is_json(environ: WSGIEnvironment) -> bool:
    """Return whether a request uses a JSON protocol, which names its operation."""
    return "HTTP_X_AMZ_TARGET" in environ


def is_xml(environ: WSGIEnvironment, service: str) -> bool:
    """Return whether a client expects XML."""
    return service == "s3" or environ.get("CONTENT_TYPE", "").startswith(_FORM)


def _operation(
    environ: WSGIEnvironment,
) -> tuple[str, str, Callable[[], Mapping[str, Any]]]:
    """Return a request's key in the table, its name, and a function that reads its parameters."""
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target is not None:
        return target, target.rpartition(".")[2], lambda: _json_object(_body(environ))
    if is_xml(environ, ""):
        form = parse_qs(_body(environ).decode(errors="replace"))
        action = form.get("Action", [""])[0]
        return f"Action={action}", action, lambda: {key: form[key][0] for key in form}
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    match = _MESSAGES.fullmatch(path)
    if match and method == "POST":
        return "POST messages", "SendMessages", lambda: {"ApplicationId": match[1]}
    invoked = _INVOCATIONS.fullmatch(path)
    if invoked and method == "POST":
        return "POST invocations", "Invoke", lambda: _query(environ) | {"FunctionName": invoked[1]}
    if path == "/schedules" and method == "GET":
        return "schedule ListSchedules", "ListSchedules", dict
    schedule = _SCHEDULE.fullmatch(path)
    if schedule and method in _OF_SCHEDULES:
        named = {"Name": schedule[1]}
        name = _OF_SCHEDULES[method]
        return f"schedule {name}", name, lambda: _schedule_parameters(environ) | named
    return "", f"{method} {path}", dict


def _schedule_parameters(environ: WSGIEnvironment) -> dict[str, Any]:
    if environ["REQUEST_METHOD"] in ("POST", "PUT"):
        return _json_object(_body(environ))
    query = _query(environ)
    return {"GroupName": query["groupName"]} if "groupName" in query else {}


def _query(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return the parameters in the address, each with its first value."""
    query = parse_qs(environ.get("QUERY_STRING", ""))
    return {name: values[0] for name, values in query.items()}


def _of_s3(environ: WSGIEnvironment) -> tuple[str, str, Callable[[], Mapping[str, Any]]]:
    """Return the same for S3, whose operations differ in method, path and query."""
    bucket, _, key = environ["PATH_INFO"].removeprefix("/").partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    named = {name for name in query if not _NO_SUBRESOURCE.fullmatch(name)}
    if "HTTP_X_AMZ_COPY_SOURCE" in environ:
        named.add("copy")
    kind = "object" if key else "bucket"
    method = environ["REQUEST_METHOD"]
    operation = " ".join(["S3", method, kind, *sorted(named)]) if bucket else ""
    return operation, f"{method} {environ['PATH_INFO']}", lambda: {"Bucket": bucket, "Key": key}


def _body(environ: WSGIEnvironment) -> bytes:
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"] = BytesIO(body)
    return body


def _json_object(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _text(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(name)
    return value


def _project(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    partition, region, account_id = home
    application_id = _text(parameters, "ApplicationId")
    return [f"arn:{partition}:mobiletargeting:{region}:{account_id}:apps/{application_id}/messages"]


def _queue(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    address, _, name = _text(parameters, "QueueUrl").rpartition("/")
    # SQS also accepts only the name.
    account_id = address.rpartition("/")[2] if address else home.account_id
    if not _ACCOUNT.fullmatch(account_id):
        raise ValueError("QueueUrl")
    return [f"arn:{home.partition}:sqs:{home.region}:{account_id}:{name}"]


def _table(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    return [_named(_text(parameters, "TableName"), "dynamodb", "table", home)]


def _table_or_index(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    (table,) = _table(parameters, home)
    return [
        f"{table}/index/{_text(parameters, 'IndexName')}" if "IndexName" in parameters else table
    ]


def _tables(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    items = parameters.get("RequestItems")
    if not isinstance(items, dict) or not items:
        raise ValueError("RequestItems")
    return [_named(name, "dynamodb", "table", home) for name in items]


def _of_entries(parameters: Mapping[str, Any], home: Home) -> Sequence[tuple[str, str]]:
    """Return what a transaction needs: IAM has no action for the transaction itself."""
    entries = parameters.get("TransactItems")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("TransactItems")
    needed = []
    for kind, own in (pair for entry in entries for pair in entry.items()):
        if kind not in _ACTIONS_OF_ENTRIES or not isinstance(own, dict):
            raise ValueError("TransactItems")
        needed += [(_ACTIONS_OF_ENTRIES[kind], table) for table in _table(own, home)]
    return list(dict.fromkeys(needed))


def _buses(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    entries = parameters.get("Entries")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("Entries")
    names = [_text({"EventBusName": "default", **entry}, "EventBusName") for entry in entries]
    # Ten events for one bus need one check.
    return list(dict.fromkeys(_named(name, "events", "event-bus", home) for name in names))


def _topic(parameters: Mapping[str, Any], _: Home) -> Sequence[str]:
    # Not a phone number, which is no resource and must not be logged.
    return [_text(parameters, "TopicArn" if "TopicArn" in parameters else "TargetArn")]


def _bucket(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    return [f"arn:{home.partition}:s3:::{_text(parameters, 'Bucket')}"]


def _object(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    (bucket,) = _bucket(parameters, home)
    return [f"{bucket}/{_text(parameters, 'Key')}"]


def _function(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    named = _FUNCTION.fullmatch(_text(parameters, "FunctionName"))
    if named is None:
        raise ValueError("FunctionName")
    region, account_id = named["region"] or home.region, named["account"] or home.account_id
    arn = f"arn:{home.partition}:lambda:{region}:{account_id}:function:{named['name']}"
    qualifier = named["qualifier"] or parameters.get("Qualifier")
    return [f"{arn}:{qualifier}" if qualifier else arn]


def _log_group(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    name = _text(parameters, "logGroupName")
    place = f"arn:{home.partition}:logs:{home.region}:{home.account_id}"
    return [f"{place}:log-group:{name}:log-stream:"]


def _stack(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    # AWS puts an asterisk for the id of a stack that is named without one.
    name = _text(parameters, "StackName")
    named = _named(name, "cloudformation", "stack", home)
    return [named if named == name else f"{named}/*"]


def _all_schedules(_: Mapping[str, Any], home: Home) -> Sequence[str]:
    # Also for one group: https://github.com/aws/aws-cdk/issues/38201
    return [_named("*/*", "scheduler", "schedule", home)]


def _schedule(parameters: Mapping[str, Any], home: Home) -> Sequence[str]:
    group = _text({"GroupName": "default", **parameters}, "GroupName")
    name = f"{group}/{_text(parameters, 'Name')}"
    return [_named(name, "scheduler", "schedule", home)]


def _of_schedule(
    action: str,
) -> Callable[[Mapping[str, Any], Home], Sequence[tuple[str, str]]]:
    """Return a function that also asks for the permission to pass the execution role."""

    def needed(parameters: Mapping[str, Any], home: Home) -> Sequence[tuple[str, str]]:
        target = parameters.get("Target")
        if not isinstance(target, dict):
            raise ValueError("Target")
        (arn,) = _schedule(parameters, home)
        return [(action, arn), (PASS_ROLE, _text(target, "RoleArn"))]

    return needed


def _arn_in(name: str) -> Callable[[Mapping[str, Any], Home], Sequence[str]]:
    """Return a function that finds the resource's ARN in a parameter."""
    return lambda parameters, _: [_text(parameters, name)]


def _named(name: str, service: str, kind: str, home: Home) -> str:
    if name.startswith("arn:"):
        return name
    return f"arn:{home.partition}:{service}:{home.region}:{home.account_id}:{kind}/{name}"


class _Row(NamedTuple):
    action: str
    needed: Callable[[Mapping[str, Any], Home], Sequence[tuple[str, str]]]
    passed_to: str = ""


def _row(action: str, resources: Callable[[Mapping[str, Any], Home], Sequence[str]]) -> _Row:
    """Make the row of a request that needs one action on all its resources."""
    return _Row(
        action, lambda parameters, home: [(action, arn) for arn in resources(parameters, home)]
    )


_TABLE: Final[Mapping[str, _Row]] = {
    "POST messages": _row("mobiletargeting:SendMessages", _project),
    "AmazonSQS.SendMessage": _row("sqs:SendMessage", _queue),
    "AmazonSQS.SendMessageBatch": _row("sqs:SendMessage", _queue),
    "AmazonSQS.ReceiveMessage": _row("sqs:ReceiveMessage", _queue),
    "AmazonSQS.DeleteMessage": _row("sqs:DeleteMessage", _queue),
    "AmazonSQS.DeleteMessageBatch": _row("sqs:DeleteMessage", _queue),
    "AmazonSQS.ChangeMessageVisibility": _row("sqs:ChangeMessageVisibility", _queue),
    "AmazonSQS.ChangeMessageVisibilityBatch": _row("sqs:ChangeMessageVisibility", _queue),
    "AmazonSQS.GetQueueAttributes": _row("sqs:GetQueueAttributes", _queue),
    "DynamoDB_20120810.GetItem": _row("dynamodb:GetItem", _table),
    "DynamoDB_20120810.PutItem": _row("dynamodb:PutItem", _table),
    "DynamoDB_20120810.UpdateItem": _row("dynamodb:UpdateItem", _table),
    "DynamoDB_20120810.DeleteItem": _row("dynamodb:DeleteItem", _table),
    "DynamoDB_20120810.Query": _row("dynamodb:Query", _table_or_index),
    "DynamoDB_20120810.BatchGetItem": _row("dynamodb:BatchGetItem", _tables),
    "DynamoDB_20120810.BatchWriteItem": _row("dynamodb:BatchWriteItem", _tables),
    "DynamoDB_20120810.TransactWriteItems": _Row("dynamodb:TransactWriteItems", _of_entries),
    "POST invocations": _row("lambda:InvokeFunction", _function),
    "Logs_20140328.FilterLogEvents": _row("logs:FilterLogEvents", _log_group),
    "Action=DescribeStacks": _row("cloudformation:DescribeStacks", _stack),
    "AWSEvents.PutEvents": _row("events:PutEvents", _buses),
    "Action=Publish": _row("sns:Publish", _topic),
    "S3 GET object": _row("s3:GetObject", _object),
    "S3 HEAD object": _row("s3:GetObject", _object),
    "S3 PUT object": _row("s3:PutObject", _object),
    "S3 POST object uploads": _row("s3:PutObject", _object),
    "S3 PUT object partNumber uploadId": _row("s3:PutObject", _object),
    "S3 POST object uploadId": _row("s3:PutObject", _object),
    "S3 DELETE object": _row("s3:DeleteObject", _object),
    "S3 DELETE object uploadId": _row("s3:AbortMultipartUpload", _object),
    "S3 GET bucket": _row("s3:ListBucket", _bucket),
    "S3 HEAD bucket": _row("s3:ListBucket", _bucket),
    "schedule ListSchedules": _row("scheduler:ListSchedules", _all_schedules),
    "schedule GetSchedule": _row("scheduler:GetSchedule", _schedule),
    "schedule DeleteSchedule": _row("scheduler:DeleteSchedule", _schedule),
    **{
        f"schedule {name}": _Row(
            f"scheduler:{name}", _of_schedule(f"scheduler:{name}"), "scheduler.amazonaws.com"
        )
        for name in ("CreateSchedule", "UpdateSchedule")
    },
    **{
        f"AWSStepFunctions.{operation}": _row(f"states:{operation}", _arn_in(name))
        for name, operations in {
            "stateMachineArn": ("StartExecution", "ListExecutions"),
            "executionArn": (
                *("DescribeExecution", "StopExecution", "RedriveExecution"),
                *("GetExecutionHistory", "ListMapRuns"),
            ),
            "mapRunArn": ("DescribeMapRun", "UpdateMapRun"),
        }.items()
        for operation in operations
    },
}
"""For each operation: what it needs permission for."""
