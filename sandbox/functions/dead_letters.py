"""Send an asynchronous event whose function failed or was stopped to the queues set for it.

The function's dead-letter queue gets the event, and the on-failure destination gets a record of
the invocation. Both are sent with the credentials of the function's role, as Lambda does. If the
role is not allowed to send, the event is lost here, too, and the sandbox logs it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError
from moto.awslambda.exceptions import LambdaClientError

from sandbox.functions.event_invoke_configs import config_of
from sandbox.functions.invocations import FailedEvent

_ERROR_MESSAGE_LIMIT: Final = 1024  # bytes, as documented for dead-letter queues
_COLONS_OF_A_FUNCTION: Final = 6  # in an ARN without a qualifier
_ADMINISTRATOR: Final = {
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
}

_logger = logging.getLogger(__name__)


def dead_letter_sender(
    url: str, credentials: Callable[[str], Mapping[str, str]]
) -> Callable[[FailedEvent], None]:
    """Make a function that sends a failed event to its dead-letter queue and its destination.

    Parameters
    ----------
    url
        The sandbox's.
    credentials
        Returns the variables with the credentials of a role, by its ARN.

    Examples
    --------
    >>> LambdaService(runtime, url, on_failed_event=dead_letter_sender(url, role_credentials))
    """

    def send(event: FailedEvent) -> None:
        region = event.function_arn.split(":")[3]
        functions = _client("lambda", url, region, _ADMINISTRATOR)
        function = functions.get_function_configuration(FunctionName=event.function_arn)
        destinations = config_of(event.function_arn).get("DestinationConfig") or {}
        event_message: dict[str, Any] = {
            "MessageBody": event.payload.decode(),
            "MessageAttributes": _attributes(event),
        }
        record = {"MessageBody": _record(event)}
        messages = [
            (function.get("DeadLetterConfig", {}).get("TargetArn"), event_message),
            (destinations.get("OnFailure", {}).get("Destination"), record),
        ]
        if not any(arn for arn, _ in messages):
            _logger.warning("event %s is lost: no dead-letter queue", event.request_id)
        for arn, message in messages:
            if arn:
                send_message(event, arn, function["Role"], message)

    def send_message(event: FailedEvent, arn: str, role: str, message: dict[str, Any]) -> None:
        region = event.function_arn.split(":")[3]
        try:
            queue = _client("sqs", url, region, _ADMINISTRATOR).get_queue_url(
                QueueName=arn.rpartition(":")[2]
            )["QueueUrl"]
            _client("sqs", url, region, credentials(role)).send_message(QueueUrl=queue, **message)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            _logger.warning("event %s is lost: its queue answers %s", event.request_id, code)
        except LambdaClientError as error:  # the role does not exist
            _logger.warning("event %s is lost: %s", event.request_id, error.error_type)

    return send


def _record(event: FailedEvent) -> str:
    """Make the record for a destination, as Lambda's guide describes it."""
    unqualified = event.function_arn.count(":") == _COLONS_OF_A_FUNCTION
    record = {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": event.function_arn + ":$LATEST" * unqualified,
            "condition": "ZeroReservedConcurrency" if event.answer is None else "RetriesExhausted",
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": json.loads(event.payload),
    }
    if event.answer is not None:
        record["responseContext"] = {
            "statusCode": 200,
            "executedVersion": event.executed_version,
            "functionError": "Unhandled",
        }
        record["responsePayload"] = json.loads(event.answer)
    return json.dumps(record)


def _attributes(event: FailedEvent) -> dict[str, Any]:
    code, text = "429", "Rate Exceeded."
    if event.answer is not None:
        code, text = "200", str(json.loads(event.answer).get("errorMessage", ""))
    message = text.encode()[:_ERROR_MESSAGE_LIMIT]
    values = {
        "RequestID": ("String", event.request_id),
        "ErrorCode": ("Number", code),
        "ErrorMessage": ("String", message.decode(errors="ignore") or "-"),
    }
    return {
        name: {"DataType": kind, "StringValue": value} for name, (kind, value) in values.items()
    }


def _client(service: str, url: str, region: str, variables: Mapping[str, str]) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]  # stubs know names only as literals
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables.get("AWS_SESSION_TOKEN"),
    )
