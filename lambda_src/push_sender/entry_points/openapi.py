"""Generate the OpenAPI document of the HTTP API from the function's own models.

The schemas of requests and registrations are those of the models that check them, those of reports
and devices are of their types, and the problems are those of ``problems``. ``openapi_routes`` has
the routes. These modules add only what no model contains: the meaning of fields, the headers, and
API Gateway's own responses.

Powertools' generator is not used: it describes routes whose bodies it validates itself, and
would report validation errors in its own form, one at a time.
"""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from push_sender.devices.registration import Registration
from push_sender.devices.registry import Device
from push_sender.entry_points.device_routes import BACKEND_ONLY
from push_sender.entry_points.openapi_routes import REFERENCE, Json, paths, reference
from push_sender.entry_points.problems import Problem
from push_sender.report import Report
from push_sender.request.model import PushRequest, Recipient

OPENAPI: Final = "3.1.0"

CONTRACT: Final = "1.0"
"""The version of the API, not of the software."""

_RESULTS: Final = {
    "replayed": "This is the report of an earlier request with the same key; nothing was sent.",
    "summary": "How many results there are, and how many of each outcome that occurred.",
    "results": "The result of each recipient, and of each device of a user, in the order of the "
    "request.",
    "warnings": "Legal fields that are probably a mistake, and gaps of the report.",
    "requests": "Only for a dry run: the SendMessages calls that would be made.",
    "schedule_id": "Only for a request with `send_at`: the id with which it can be cancelled.",
    "user_id": "Only for a recipient who is a user: the user.",
    "device_id": "Only for a recipient who is a user: the device. Null without a device, and for "
    "one that left since.",
    "outcome": "The class of the result; branch on this.",
    "delivery_status": "The status of the address in the SendMessages response.",
    "status_code": "The numeric status that belongs to it.",
    "reason": "The provider's code, from a closed list. For `unsent` and `no_device`, why. For a "
    "`rejected` device without a call, `unfit`.",
    "status_message": "The provider's message, or for `unfit` the function's; may be cut.",
    "message_id": "The provider's id of the push.",
    "replacement_token": "The token to use from now on instead of this one.",
    "attempts": "The number of calls that included the address.",
}
"""What each field of a report means."""

_DEVICE: Final = {
    "device_id": "The id of the installation.",
    "token": "Its token.",
    "service": "The push service that issued the token; `GCM` for a registration with `FCM`.",
    "user_id": "The user who is signed in, or null.",
    "language": "The language of the app, or null.",
    "time_zone": "The IANA name of the time zone, or null.",
    "app_version": "The version of the app, or null.",
    "tags": "What a filter selects devices by.",
    "attributes": "Texts by name, for the caller's own use.",
    "opted_out": "Whether the user wants no pushes on this device.",
    "invalid": "Whether the push service refused the token since the last registration. Sends skip "
    "such a device.",
    "created_at": "When the device was registered first: ISO 8601, UTC.",
    "seen_at": "When it was registered last, to the day if nothing changed: ISO 8601, UTC.",
}
"""What each field of a registered device means."""

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

_DEVICES: Final[Json] = {
    "title": "DeviceList",
    "type": "object",
    "description": "The devices of a user.",
    "properties": {
        "devices": {
            "type": "array",
            "items": reference("Device"),
            "description": "The devices, ordered by id.",
        }
    },
    "required": ["devices"],
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
            "signed with AWS Signature Version 4, for the service `execute-api`. Only the routes "
            "under `/my/` and `/jwt/` take a JWT instead.",
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
        "paths": paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS Signature Version 4",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
                "jwt": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of the setting `jwt_issuer`, for one of "
                    "`jwt_audience`. Its `sub` is the user. `POST /jwt/messages` needs the scope "
                    "`push:send`.",
                },
            },
        },
    }


def _schemas() -> Json:
    _, requests = models_json_schema([(PushRequest, "validation")], ref_template=REFERENCE)
    registration = _registration()
    schemas: Json = {
        **requests["$defs"],
        **_schema_of(Report, "Report"),
        **_schema_of(Problem, "Problem"),
        "Accepted": _ACCEPTED,
        "GatewayError": _GATEWAY_ERROR,
        "Registration": registration,
        "MyRegistration": _without(BACKEND_ONLY, registration),
        **_schema_of(Device, "Device"),
        "DeviceList": _DEVICES,
    }
    shared = {**PushRequest.model_fields, **Recipient.model_fields}
    meanings = {**{name: field.description for name, field in shared.items()}, **_RESULTS}
    for title, schema in schemas.items():
        texts = _DEVICE if title == "Device" else meanings
        for name, field in schema.get("properties", {}).items():
            if meaning := field.pop("description", None) or texts.get(name):
                field["description"] = meaning
            for alternative in field.get("anyOf", ()):
                # Few client generators support patterns of names. This one only forbids null
                # characters.
                if pattern := alternative.pop("patternProperties", None):
                    (alternative["additionalProperties"],) = pattern.values()
    return schemas


def _registration() -> Json:
    """Return the schema of a registration, without defaults.

    A client that sends the default null would remove values that it means to keep.
    """
    schema = Registration.model_json_schema(ref_template=REFERENCE)
    for field in schema["properties"].values():
        field.pop("default", None)
    return schema


def _without(names: Container[str], registration: Json) -> Json:
    """Return the schema of what an app can register for itself."""
    members = registration["properties"].items()
    return {
        **registration,
        "title": "MyRegistration",
        "description": "A device as its app registers it. Only a backend sets tags, and the user "
        "is the `sub` of the JWT.",
        "properties": {name: dict(field) for name, field in members if name not in names},
    }


def _schema_of(type_: Any, name: str) -> Json:
    """Return the schemas of a type and of the types that it refers to, by name."""
    schema = TypeAdapter(type_).json_schema(ref_template=REFERENCE, mode="serialization")
    return {**schema.pop("$defs", {}), name: schema}
