"""The task ``lambda:invoke``: the machine's role invokes a function of the sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError
from moto.awslambda.exceptions import LambdaClientError
from moto.stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils import (
    LambdaFunctionErrorException,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.utilities.utils import get_partition

from sandbox.step_functions.run_details import RunDetails, details_of, not_authorized


def invoke(
    env: Environment, parameters: Mapping[str, Any], region: str, state_credentials: object
) -> None:
    """Invoke a function in place of moto's client, and put its answer onto the stack.

    The errors have the names of the developer guide, "Handling errors": those of Lambda's API
    begin with ``Lambda.``, those of the function are its own.
    """
    del region, state_credentials  # both are the execution's own
    details = details_of(env)
    arn = _function_arn(details, parameters["FunctionName"], parameters.get("Qualifier"))
    if not details.surroundings.is_allowed(details.role_arn, "lambda:InvokeFunction", arn):
        message = not_authorized(details.role_arn, "lambda:InvokeFunction", arn)
        raise _client_error(HTTPStatus.FORBIDDEN, "AWSLambdaException", message)
    payload = parameters.get("Payload", b"{}")
    try:
        answer = details.surroundings.invoke(arn, payload, details.account, details.region)
    except LambdaClientError as error:
        raise _client_error(error.code, error.error_type, error.message) from None
    if answer.failed:
        raise LambdaFunctionErrorException("Unhandled", answer.payload.decode())
    env.stack.append(
        {
            "ExecutedVersion": answer.executed_version,
            "Payload": json.loads(answer.payload or b"null"),
            "SdkHttpMetadata": {"HttpStatusCode": HTTPStatus.OK.value},
            "SdkResponseMetadata": {"RequestId": answer.request_id},
            "StatusCode": HTTPStatus.OK.value,
        }
    )


def _function_arn(details: RunDetails, name: str, qualifier: str | None) -> str:
    if not name.startswith("arn:"):
        home = f"arn:{get_partition(details.region)}:lambda:{details.region}:{details.account}"
        name = f"{home}:function:{name}"
    return f"{name}:{qualifier}" if qualifier else name


def _client_error(status: int, code: str, message: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {  # type: ignore[typeddict-item]  # moto reads only these
                "HTTPStatusCode": int(status),
                "RequestId": "",
            },
        },
        "Invoke",
    )
