"""The routes of the OpenAPI document, as one table: what each takes and what it answers.

``openapi`` adds the schemas of the bodies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from push_sender.entry_points import problems
from push_sender.entry_points.problems import Kind
from push_sender.request.field_types import Id

Json = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{model}"

_JSON: Final = "application/json"


class _Access(NamedTuple):
    """How API Gateway checks the caller of a route.

    Attributes
    ----------
    scheme
        The name of the security scheme.
    scopes
        Of which the caller's JWT must have one.
    refusals
        What API Gateway answers to other callers.
    """

    scheme: str
    scopes: Sequence[str]
    refusals: Mapping[HTTPStatus, str]


_NO_JWT: Final = {
    HTTPStatus.UNAUTHORIZED: "no JWT, an expired one, or one of another issuer or audience"
}
_SIGNED: Final = _Access(
    "sigv4",
    (),
    {HTTPStatus.FORBIDDEN: "unsigned, a wrong signature, or no permission to call this"},
)
_JWT: Final = _Access("jwt", (), _NO_JWT)
_JWT_TO_SEND: Final = _Access(
    "jwt",
    ("push:send",),
    {**_NO_JWT, HTTPStatus.FORBIDDEN: "the JWT lacks the scope `push:send`"},
)

_EVERY_ROUTE: Final = {
    HTTPStatus.NOT_FOUND: "this stack has no such route",
    HTTPStatus.TOO_MANY_REQUESTS: "over the rate of the API or of this route",
    HTTPStatus.INTERNAL_SERVER_ERROR: "this service failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "no answer within 30 s, or no copy of this service is free",
}
_WITH_BODY: Final = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "over 10 MB, or over what Lambda takes",
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


class _Route(NamedTuple):
    """One operation.

    Attributes
    ----------
    key
        Method and path, as API Gateway names the route.
    id, summary, description
        Its name for generated clients, its title, and what it does.
    answers
        The responses that are no errors.
    kinds
        The problems with which the function can answer.
    access
        Who may call it.
    parameters
        What it takes beside the parameters of its path.
    body, example
        The schema of the body, and an example of one; None for a route without a body.
    """

    key: str
    id: str
    summary: str
    description: str
    answers: Mapping[HTTPStatus, Json]
    kinds: Sequence[Kind] = ()
    access: _Access = _SIGNED
    parameters: Sequence[Json] = ()
    body: str | None = None
    example: Json | None = None


def paths() -> Json:
    """Write the paths of the document."""
    found: Json = {}
    for route in _ROUTES:
        method, path = route.key.split()
        found.setdefault(path, {})[method.lower()] = _operation(route, path)
    return found


def reference(model: str) -> Json:
    """Write the reference to a schema."""
    return {"$ref": REFERENCE.format(model=model)}


def _operation(route: _Route, path: str) -> Json:
    operation: Json = {
        "operationId": route.id,
        "summary": route.summary,
        "description": route.description,
    }
    if route.access is not _SIGNED:  # which is the document's default
        operation["security"] = [{route.access.scheme: list(route.access.scopes)}]
    in_path = [parameter for name, parameter in _IN_PATH.items() if f"{{{name}}}" in path]
    if parameters := [*in_path, *route.parameters]:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"schema": reference(route.body), "example": route.example}
        operation["requestBody"] = {"required": True, "content": {_JSON: content}}
    answers = {str(status.value): answer for status, answer in route.answers.items()}
    operation["responses"] = {**answers, **_errors(route)}
    return operation


def _errors(route: _Route) -> Json:
    """Describe every error status of a route: of the function and of API Gateway."""
    descriptions: defaultdict[HTTPStatus, list[str]] = defaultdict(list)
    contents: defaultdict[HTTPStatus, Json] = defaultdict(dict)
    for kind in route.kinds:
        descriptions[kind.status].append(f"{kind.title} (`{kind.type}`).")
        contents[kind.status][problems.MEDIA_TYPE] = reference("Problem")
    own = frozenset(contents)
    with_body = _WITH_BODY if route.body is not None else {}
    for status, why in {**route.access.refusals, **_EVERY_ROUTE, **with_body}.items():
        descriptions[status].append(f"API Gateway's own: {why}.")
        if status in own:
            # Most generated clients use one schema for a status, whatever the media type.
            either = {"anyOf": [reference("Problem"), reference("GatewayError")]}
            contents[status][problems.MEDIA_TYPE] = either
        contents[status][_JSON] = reference("GatewayError")
    answers = {}
    for status in sorted(descriptions):
        answer = _answer(" ".join(descriptions[status]), contents[status])
        if status in own & _RETRYABLE:
            answer["headers"] = _RETRY_AFTER
        answers[str(status.value)] = answer
    return answers


def _answer(description: str, contents: Mapping[str, Json]) -> Json:
    content = {media_type: {"schema": schema} for media_type, schema in contents.items()}
    return {"description": description, "content": content}


_SEND: Final = _Route(
    "POST /messages",
    "sendMessages",
    "Send a push to devices",
    "Responds with a report whenever pushes were tried, whatever their outcomes: read each "
    "result's `outcome`. After a problem, nothing was sent.",
    {
        HTTPStatus.OK: _answer("The result of every recipient.", {_JSON: reference("Report")}),
        HTTPStatus.ACCEPTED: {
            **_answer("The request is on the queue.", {_JSON: reference("Accepted")}),
            "headers": {
                "Preference-Applied": {
                    "description": "`respond-async`",
                    "schema": {"type": "string"},
                }
            },
        },
    },
    problems.KINDS,
    parameters=(
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
    ),
    body="PushRequest",
    example={
        "recipients": [
            {"token": "a-device", "service": "GCM"},
            {
                "token": "another-device",
                "service": "APNS",
                "title": "Ann, your parcel is on its way",
            },
        ],
        "title": "Your parcel is on its way",
        "message": "It arrives today between 14:00 and 16:00.",
        "priority": "high",
        "ttl": 3600,
    },
)

_ID: Final = TypeAdapter(Id).json_schema()

_IN_PATH: Final = {
    name: {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }
    for name, description, schema in (
        (
            "device_id",
            "The id of the installation, which the app chooses at its first start: a random UUID.",
            _ID,
        ),
        ("user_id", "The caller's own id of the user.", _ID),
        (
            "schedule_id",
            "The `schedule_id` of the report.",
            {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        ),
    )
}

_PROJECT: Final[Json] = {
    "name": "application_id",
    "in": "query",
    "required": False,
    "description": "Another project of this service; without it, the first one.",
    "schema": {"type": "string"},
}

_REGISTERED: Final = {
    HTTPStatus.OK: _answer("The device was known.", {_JSON: reference("Device")}),
    HTTPStatus.CREATED: _answer("The device is new.", {_JSON: reference("Device")}),
}
_DELETED: Final[Mapping[HTTPStatus, Json]] = {
    HTTPStatus.NO_CONTENT: {"description": "It is deleted."}
}

_REFUSED_ALWAYS: Final = (
    problems.INVALID_DEVICE,
    problems.PROJECT_NOT_ALLOWED,
    problems.NOT_FOUND,
    problems.REGISTRY_UNAVAILABLE,
)
_REFUSED_BODY: Final = (*_REFUSED_ALWAYS, problems.UNSUPPORTED_MEDIA_TYPE)
_REFUSED_DEVICE: Final = (*_REFUSED_ALWAYS, problems.DEVICE_NOT_FOUND)

_REGISTRY: Final = "Exists with the setting `devices`."
_OF_THE_APP: Final = (
    "For the app itself: the user is the `sub` of the JWT. Exists with the settings `devices` and "
    "`jwt_issuer`."
)
_MERGE: Final = (
    "A member that is left out keeps its value, and null removes the value. `tags` and "
    "`attributes` are replaced as a whole. Register again at each start of the app: a device that "
    "is not registered again expires after `device_expiry_days`. Another device that has the "
    "token is deleted. If the user has 25 other devices, the one that was not seen for the longest "
    "time is deleted."
)
_REGISTRATION: Final[Json] = {
    "token": "a-device",
    "service": "GCM",
    "language": "de-AT",
    "time_zone": "Europe/Vienna",
}

_ROUTES: Final = (
    _SEND,
    _SEND._replace(
        key="POST /jwt/messages",
        id="sendMessagesWithJwt",
        summary="Send a push to devices, with a JWT",
        description="The same as `POST /messages`, for callers without AWS credentials. Exists "
        "with the setting `http_jwt`.",
        access=_JWT_TO_SEND,
    ),
    _Route(
        "DELETE /schedules/{schedule_id}",
        "cancelSchedule",
        "Cancel a request that is sent later",
        "Cancels the request whose report has this `schedule_id`. At the time of `send_at` it may "
        "be too late: the request is then on its way.",
        {HTTPStatus.NO_CONTENT: {"description": "It is cancelled."}},
        problems.SCHEDULE_KINDS,
    ),
    _Route(
        "PUT /devices/{device_id}",
        "registerDevice",
        "Register a device, or change its registration",
        f"{_MERGE} A device that leaves its user loses `tags`, `attributes` and `opted_out`. "
        f"{_REGISTRY}",
        _REGISTERED,
        _REFUSED_BODY,
        parameters=(_PROJECT,),
        body="Registration",
        example={**_REGISTRATION, "user_id": "u-123", "tags": ["beta"]},
    ),
    _Route(
        "GET /devices/{device_id}",
        "getDevice",
        "Read a device",
        _REGISTRY,
        {HTTPStatus.OK: _answer("The device.", {_JSON: reference("Device")})},
        _REFUSED_DEVICE,
        parameters=(_PROJECT,),
    ),
    _Route(
        "DELETE /devices/{device_id}",
        "deleteDevice",
        "Delete a device",
        f"Deletes the device with its token. {_REGISTRY}",
        _DELETED,
        _REFUSED_DEVICE,
        parameters=(_PROJECT,),
    ),
    _Route(
        "GET /users/{user_id}/devices",
        "listDevices",
        "List the devices of a user",
        f"A user who is not known has no devices. {_REGISTRY}",
        {
            HTTPStatus.OK: _answer(
                "The devices of the user, ordered by id.", {_JSON: reference("DeviceList")}
            )
        },
        _REFUSED_ALWAYS,
        parameters=(_PROJECT,),
    ),
    _Route(
        "DELETE /users/{user_id}",
        "eraseUser",
        "Erase a user",
        "Deletes the user with all devices and tokens. Answers 204 also if the user is not known. "
        f"{_REGISTRY}",
        _DELETED,
        _REFUSED_ALWAYS,
        parameters=(_PROJECT,),
    ),
    _Route(
        "PUT /my/devices/{device_id}",
        "registerMyDevice",
        "Register the device of the app's user",
        f"{_MERGE} The device moves to this user, whoever had it before: so its id must be random. "
        f"{_OF_THE_APP}",
        _REGISTERED,
        _REFUSED_BODY,
        _JWT,
        parameters=(_PROJECT,),
        body="MyRegistration",
        example=_REGISTRATION,
    ),
    _Route(
        "DELETE /my/devices/{device_id}",
        "deleteMyDevice",
        "Delete a device of the app's user",
        "For a sign-out. Answers 404 for a device of another user. " + _OF_THE_APP,
        _DELETED,
        _REFUSED_DEVICE,
        _JWT,
        parameters=(_PROJECT,),
    ),
    _Route(
        "GET /openapi.json",
        "getOpenapi",
        "This document",
        "Describes every route that a stack can have; its settings decide which it has.",
        {HTTPStatus.OK: _answer("This document.", {_JSON: {"type": "object"}})},
    ),
)
