"""Generate the OpenAPI document of the HTTP entry point from the function's own models.

The request's schema is that of the model that checks requests, the report's that of its type,
and the problems are those of ``problems``. This module adds only what no model contains: the
meaning of fields, the headers, and API Gateway's own responses.

Powertools' generator is not used: it describes routes whose bodies it validates itself, and
would report validation errors in its own form, one at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from push_sender.entry_points import problems
from push_sender.entry_points.problems import Problem
from push_sender.report import Report
from push_sender.request.model import PushRequest, Recipient

Json = dict[str, Any]

OPENAPI: Final = "3.1.0"

CONTRACT: Final = "1.0"
"""The version of the API, not of the software."""

_REFERENCE: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"

_RESULTS: Final = {
    "replayed": "This is the report of an earlier request with the same key; nothing was sent.",
    "summary": "How many recipients there are, and how many of each outcome that occurred.",
    "results": "The result of each recipient, in the order of the request.",
    "warnings": "Legal fields that are probably a mistake, and gaps of the report.",
    "requests": "Only for a dry run: the SendMessages calls that would be made.",
    "outcome": "The class of the result; branch on this.",
    "delivery_status": "The status of the address in the SendMessages response.",
    "status_code": "The numeric status that belongs to it.",
    "reason": "The provider's code, from a closed list; for `unsent`, why.",
    "status_message": "The provider's message, which may be cut.",
    "message_id": "The provider's id of the push.",
    "replacement_token": "The token to use from now on instead of this one.",
    "attempts": "The number of calls that included the address.",
}
"""What each field of a report means."""

_ACCEPTED: Final[Json] = {
    "title": "Accepted",
    "type": "object",
    "description": "The request is on the queue. Events report its outcomes.",
    "properties": {
        "id": {"type": "string", "description": "The request's id in logs and events."},
        "idempotency_key": {"type": "string", "description": "The idempotency key of the request."},
    },
    "required": ["id", "idempotency_key"],
}

_GATEWAY_ERROR: Final[Json] = {
    "title": "GatewayError",
    "type": "object",
    "description": "API Gateway's own response, for a request that did not reach this service.",
    "properties": {"message": {"type": "string"}},
    "required": ["message"],
}

_GATEWAY_RESPONSES: Final = {
    HTTPStatus.FORBIDDEN: "unsigned, a wrong signature, or no permission to call this",
    HTTPStatus.NOT_FOUND: "no such route",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "over 10 MB, or over what Lambda takes",
    HTTPStatus.TOO_MANY_REQUESTS: "over the API's own rate",
    HTTPStatus.INTERNAL_SERVER_ERROR: "this service failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "no answer within 30 s, or no copy of this service is free",
}
"""Responses of API Gateway itself, whose body cannot be changed."""

_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "Seconds after which to retry the request.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_RETRYABLE: Final = frozenset(
    {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
)

_EXAMPLE: Final[Json] = {
    "recipients": [
        {"token": "a-device", "service": "GCM"},
        {"token": "another-device", "service": "APNS", "title": "Ann, your parcel is on its way"},
    ],
    "title": "Your parcel is on its way",
    "message": "It arrives today between 14:00 and 16:00.",
    "priority": "high",
    "ttl": 3600,
}


@cache
def document() -> Json:
    """Generate the document: OpenAPI 3.1, as a JSON object."""
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Push Sender",
            "version": CONTRACT,
            "summary": "Transactional push notifications through FCM, APNs, Baidu and ADM",
            "description": "One request in, an honest outcome for every token out. Requests are "
            "signed with AWS Signature Version 4, for the service `execute-api`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com",
                "description": "The stack's output ApiUrl",
                "variables": {"api": {"default": "api-id"}, "region": {"default": "us-east-1"}},
            }
        ],
        "security": [{"sigv4": []}],
        "paths": {"/messages": {"post": _send()}, "/openapi.json": {"get": _describe()}},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS Signature Version 4",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                }
            },
        },
    }


def _send() -> Json:
    return {
        "operationId": "sendMessages",
        "summary": "Send a push to devices",
        "description": "Responds with a report whenever pushes were tried, whatever their "
        "outcomes: read each result's `outcome`.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The request's `idempotency_key`, as text or as a quoted string.",
                # The header's own form; the field's schema describes the key.
                "schema": {"type": "string", "minLength": 1},
            },
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "description": "`respond-async`: put the request on the queue and respond at once.",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": _reference("PushRequest"), "example": _EXAMPLE}},
        },
        "responses": {
            "200": _answer("The result of every recipient.", {_JSON: _reference("Report")}),
            "202": {
                **_answer("The request is on the queue.", {_JSON: _reference("Accepted")}),
                "headers": {
                    "Preference-Applied": {
                        "description": "`respond-async`",
                        "schema": {"type": "string"},
                    }
                },
            },
            **_problems(),
        },
    }


def _describe() -> Json:
    refused = {
        str(status.value): _answer(
            f"API Gateway's own: {why}.", {_JSON: _reference("GatewayError")}
        )
        for status, why in _GATEWAY_RESPONSES.items()
        if status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    }
    return {
        "operationId": "getOpenapi",
        "summary": "This document",
        "responses": {
            "200": _answer("This document.", {_JSON: {"type": "object"}}),
            **refused,
        },
    }


def _problems() -> Json:
    """Describe every error status, those of this function and those of API Gateway."""
    descriptions: defaultdict[HTTPStatus, list[str]] = defaultdict(list)
    contents: defaultdict[HTTPStatus, Json] = defaultdict(dict)
    for kind in problems.KINDS:
        descriptions[kind.status].append(f"{kind.title} (`{kind.type}`).")
        contents[kind.status][problems.MEDIA_TYPE] = _reference("Problem")
    for status, why in _GATEWAY_RESPONSES.items():
        descriptions[status].append(f"API Gateway's own: {why}.")
        if status in contents:
            # Most generated clients use one schema for a status, whatever the media type.
            either = {"anyOf": [_reference("Problem"), _reference("GatewayError")]}
            contents[status][problems.MEDIA_TYPE] = either
        contents[status][_JSON] = _reference("GatewayError")
    answers = {}
    for status in sorted(descriptions):
        answer = _answer(" ".join(descriptions[status]), contents[status])
        if status in _RETRYABLE:
            answer["headers"] = _RETRY_AFTER
        answers[str(status.value)] = answer
    return answers


def _answer(description: str, contents: Mapping[str, Json]) -> Json:
    content = {media_type: {"schema": schema} for media_type, schema in contents.items()}
    return {"description": description, "content": content}


def _schemas() -> Json:
    _, requests = models_json_schema([(PushRequest, "validation")], ref_template=_REFERENCE)
    schemas: Json = {
        **requests["$defs"],
        **_schema_of(Report, "Report"),
        **_schema_of(Problem, "Problem"),
        "Accepted": _ACCEPTED,
        "GatewayError": _GATEWAY_ERROR,
    }
    shared = {**PushRequest.model_fields, **Recipient.model_fields}
    meanings = {**{name: field.description for name, field in shared.items()}, **_RESULTS}
    for schema in schemas.values():
        for name, field in schema.get("properties", {}).items():
            if meaning := field.pop("description", None) or meanings.get(name):
                field["description"] = meaning
            for alternative in field.get("anyOf", ()):
                # Few client generators support patterns of names. This one only forbids null
                # characters.
                if pattern := alternative.pop("patternProperties", None):
                    (alternative["additionalProperties"],) = pattern.values()
    return schemas


def _schema_of(type_: Any, name: str) -> Json:
    """Return the schemas of a type and of the types that it refers to, by name."""
    schema = TypeAdapter(type_).json_schema(ref_template=_REFERENCE, mode="serialization")
    return {**schema.pop("$defs", {}), name: schema}


def _reference(name: str) -> Json:
    return {"$ref": _REFERENCE.format(model=name)}
