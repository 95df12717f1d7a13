"""What ended with Amazon Pinpoint says so in the sandbox, in the API's own form of an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import get_session

from sandbox.pinpoint import retired
from sandbox.pinpoint_only import running_pinpoint
from sandbox.server import Server
from tests.support.paths import REPOSITORY

MODEL = get_session().get_service_model("pinpoint")

ENDED = [
    *("SendUsersMessages", "UpdateEndpoint", "UpdateEndpointsBatch", "GetEndpoint"),
    *("GetUserEndpoints", "DeleteUserEndpoints", "CreateSegment", "CreateCampaign"),
    *("CreateJourney", "PutEvents", "PutEventStream", "CreatePushTemplate", "ListTemplates"),
    *("CreateImportJob", "GetExportJobs", "GetApplicationDateRangeKpi", "GetEmailChannel"),
]
KEPT = ["SendMessages", "GetApps", "CreateApp", "UpdateApnsVoipSandboxChannel", "GetChannels"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_pinpoint() as server:
        yield server


@pytest.fixture(scope="module")
def pinpoint(server: Server) -> Any:
    return boto3.client(
        "pinpoint",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
    )


def least(shape: Any) -> Any:
    """Make the least value that botocore sends for a shape."""
    match shape.type_name:
        case "structure":
            return {name: least(shape.members[name]) for name in shape.required_members}
        case "list":
            return []
        case "map":
            return {}
        case "integer":
            return 1
        case "boolean":
            return True
        case _:
            return "x"


def test_the_retired_operations_are_those_that_the_sandbox_lacks() -> None:
    gone = retired.other_operations().keys()

    assert gone >= set(ENDED)
    assert not gone & set(KEPT)
    assert set(MODEL.operation_names) - gone == {
        name for name in MODEL.operation_names if retired.why_not(name) is None
    }


@pytest.mark.parametrize("name", sorted(retired.other_operations()))
def test_a_retired_operation_is_refused_in_the_apis_form(pinpoint: Any, name: str) -> None:
    call = getattr(pinpoint, xform_name(name))

    with pytest.raises(ClientError) as caught:
        call(**least(MODEL.operation_model(name).input_shape))

    refused = caught.value
    modelled = [shape.name for shape in MODEL.operation_model(name).error_shapes]
    assert type(refused).__name__ == refused.response["Error"]["Code"]
    assert refused.response["Error"]["Code"] in modelled
    assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 405
    told = refused.response["Error"]["Message"]
    assert told.startswith(f"{name} ")
    if name in ENDED:
        assert told == (
            f"{name} ended with Amazon Pinpoint on 2026-10-30. "
            "docs/leaving-pinpoint.md says what replaces it."
        )


def test_the_answer_has_the_apis_own_form(server: Server) -> None:
    asked = HTTPConnection("127.0.0.1", server.port, timeout=10)
    signed = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/mobiletargeting/aws4_request, x"
    asked.request(
        "POST", "/v1/apps/a/users-messages", "{}", {"Authorization": signed, "Content-Type": "x/y"}
    )
    answer = asked.getresponse()
    body = json.loads(answer.read())
    asked.close()

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-amzn-ErrorType"] == "MethodNotAllowedException"
    assert body.keys() == {"Message", "RequestID"}
    assert body["RequestID"] == answer.headers["x-amzn-requestid"]


def test_the_page_named_in_the_answer_exists() -> None:
    assert (REPOSITORY / retired.PAGE).is_file()
