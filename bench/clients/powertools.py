"""A handler with boto3 and all parts of Powertools that this project's entry points would use.

As in Powertools' own examples: logger, metrics, tracer and parser for a direct request; HTTP
resolver, batch processor and idempotency for the other entry points. All are made at import.
"""

from __future__ import annotations

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.parser import BaseModel, parse
from aws_lambda_powertools.utilities.typing import LambdaContext


class Recipient(BaseModel):
    """A recipient."""

    token: str
    service: str


class Request(BaseModel):
    """A request."""

    recipient: Recipient
    title: str
    message: str
    action: str
    url: str
    priority: str
    ttl: int
    silent: bool


logger = Logger(service="push")
metrics = Metrics(namespace="push", service="push")
tracer = Tracer(service="push")
app = APIGatewayHttpResolver()
processor = BatchProcessor(event_type=EventType.SQS)
memory = DynamoDBPersistenceLayer(table_name="bench")
by_id = IdempotencyConfig(event_key_jmespath="message_id")
client: Any = boto3.client("pinpoint")


@app.post("/messages")
def post_message() -> Any:
    """Send the request that came over HTTP."""
    return send(app.current_event.json_body)


@idempotent_function(  # type: ignore[untyped-decorator]  # Powertools has no types for it
    data_keyword_argument="record", persistence_store=memory, config=by_id
)
def process_message(record: SQSRecord) -> Any:
    """Send the request of a message."""
    return send(record.json_body)


@logger.inject_lambda_context
@metrics.log_metrics
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Send the requests that an event holds."""
    if "Records" in event:
        return process_partial_response(event, process_message, processor, context)
    if "requestContext" in event:
        return app.resolve(event, context)
    return send(event)


def send(event: dict[str, Any]) -> Any:
    """Send one push."""
    request = parse(event=event, model=Request)
    response = client.send_messages(
        ApplicationId="bench",
        MessageRequest={
            "Addresses": {request.recipient.token: {"ChannelType": request.recipient.service}},
            "MessageConfiguration": {
                "GCMMessage": {
                    "Title": request.title,
                    "Body": request.message,
                    "Action": request.action,
                    "Url": request.url,
                    "Priority": request.priority,
                    "TimeToLive": request.ttl,
                    "SilentPush": request.silent,
                }
            },
        },
    )
    results = response["MessageResponse"]["Result"]
    for result in results.values():
        logger.info("push sent", status=result["DeliveryStatus"])
        metrics.add_metric(name=result["DeliveryStatus"], unit=MetricUnit.Count, value=1)
    return results


class Context:
    """The parts of Lambda's context that Powertools uses."""

    aws_request_id = "6c1a2f7e-0d35-4c1b-9a52-7f0b8f1c2d3e"
    function_name = "push"
    memory_limit_in_mb = 1_024
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:push"


class Handler:
    """Calls the handler as Lambda does."""

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return it unchanged; Lambda parses it."""
        return request

    def send(self, event: dict[str, Any]) -> Any:
        """Handle the request."""
        context: Any = Context()
        return handler(event, context)

    def accepted(self, answer: Any) -> int:
        """Count the results."""
        return sum(result["DeliveryStatus"] == "SUCCESSFUL" for result in answer.values())
