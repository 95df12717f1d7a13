"""The HTTP routes of the registry: they register, read, delete and erase.

API Gateway checks the caller: IAM for the routes of a backend, a JWT for those under ``/my/``,
which an app calls for the user who is signed in. The responses to refused requests are problem
documents. Neither these nor the log hold a token or the id of a user or a device.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.queue_and_bus import CALL_SECONDS
from push_sender.devices.registration import CHARACTERS, Registration
from push_sender.devices.registry import Effect, Registry
from push_sender.entry_points import problems
from push_sender.entry_points.json_body import json_body
from push_sender.entry_points.problems import HttpProblem
from push_sender.entry_points.remaining_time import end_of_http
from push_sender.request.errors import ID_RULE, Finding, InvalidRequest, RegistryUnavailable
from push_sender.request.field_types import is_id
from push_sender.telemetry.log import Telemetry
from push_sender.validation.combinations import PROJECT_NOT_ALLOWED

RETRY_AFTER_SECONDS: Final = 1

BACKEND_ONLY: Final = {
    "user_id": "cannot be set here: the user is the sub of the JWT; leave it out",
    "tags": "cannot be set here: only a backend sets tags; leave it out",
}
"""The members that an app cannot set for itself, with the error for each."""


class _Call(NamedTuple):
    """A request, as the routes read it."""

    event: Mapping[str, Any]
    project: str
    deadline: float
    device_id: str
    user_id: str


class _Response(NamedTuple):
    """The status, the JSON of the body, and what was written."""

    status: HTTPStatus
    body: object = None
    effects: Sequence[Effect] = ()


class DeviceRoutes:
    """Answers the HTTP requests that API Gateway passes to the devices' function.

    Parameters
    ----------
    registry
        The registry.
    application_ids
        The allowed projects; the first is the default.
    telemetry
        Logs and counts what was written.
    """

    def __init__(
        self, registry: Registry, *, application_ids: Sequence[str], telemetry: Telemetry
    ) -> None:
        self._registry = registry
        self._application_ids = application_ids
        self._telemetry = telemetry
        self._routes: Mapping[str, Callable[[_Call], _Response]] = {
            "PUT /devices/{device_id}": self._register,
            "GET /devices/{device_id}": self._device,
            "DELETE /devices/{device_id}": self._delete,
            "GET /users/{user_id}/devices": self._devices_of,
            "DELETE /users/{user_id}": self._erase,
            "PUT /my/devices/{device_id}": self._register_mine,
            "DELETE /my/devices/{device_id}": self._delete_mine,
        }

    def answer(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Answer one request, in the form that API Gateway expects."""
        try:
            response = self._answer(event, context)
        except HttpProblem as problem:
            self._telemetry.info(
                "request refused over HTTP",
                problem=problem.kind.type,
                status=problem.kind.status.value,
                faults=len(problem.errors),
            )
            headers = {"Content-Type": problems.MEDIA_TYPE, **problem.headers}
            return _response(problem.kind.status, headers, problem.document())
        if response.body is None:
            return _response(response.status, {}, None)
        return _response(response.status, {"Content-Type": "application/json"}, response.body)

    def _answer(self, event: Mapping[str, Any], context: LambdaContext) -> _Response:
        route = self._routes.get(event.get("routeKey", ""))
        if route is None:
            raise HttpProblem(problems.NOT_FOUND, f"There are {', '.join(self._routes)}")
        try:
            response = route(self._call(event, context))
        except InvalidRequest as refusal:
            raise HttpProblem(
                problems.INVALID_DEVICE,
                "Nothing was changed; correct what faults lists",
                errors=refusal.errors,
            ) from None
        except RegistryUnavailable as unavailable:
            self._telemetry.warn("registry unavailable", reason=unavailable.reason)
            raise HttpProblem(
                problems.REGISTRY_UNAVAILABLE,
                f"The change is not known to be made ({unavailable.reason}); repeat it, which is "
                "harmless",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            ) from None
        record(self._telemetry, response.effects, caller=_caller(event))
        return response

    def _call(self, event: Mapping[str, Any], context: LambdaContext) -> _Call:
        """Read the parts of a request that every route has. A missing id is an empty text."""
        parameters = event.get("pathParameters") or {}
        names = [name for name in ("device_id", "user_id") if f"{{{name}}}" in event["routeKey"]]
        ids = {name: parameters.get(name, "") for name in names}
        if "/my/" in event["routeKey"]:
            ids["sub"] = str(_claims(event).get("sub", ""))
        if errors := [Finding(name, ID_RULE) for name, id_ in ids.items() if not is_id(id_)]:
            if event["routeKey"].startswith("PUT"):
                errors += _errors_of_body(event)
            raise InvalidRequest(errors)
        project = (event.get("queryStringParameters") or {}).get("application_id")
        if project is not None and project not in self._application_ids:
            raise HttpProblem(
                problems.PROJECT_NOT_ALLOWED, "Nothing was changed", errors=[PROJECT_NOT_ALLOWED]
            )
        return _Call(
            event,
            project or self._application_ids[0],
            end_of_http(event, context) - CALL_SECONDS,
            ids.get("device_id", ""),
            ids.get("user_id") or ids.get("sub", ""),
        )

    def _register(self, call: _Call) -> _Response:
        return self._put(call, _registration(call.event).members())

    def _register_mine(self, call: _Call) -> _Response:
        members = _registration(call.event, refused=BACKEND_ONLY).members()
        return self._put(call, {**members, "user_id": call.user_id})

    def _put(self, call: _Call, members: Mapping[str, Any]) -> _Response:
        registered = self._registry.register(
            call.project, call.device_id, members, deadline=call.deadline
        )
        status = HTTPStatus.CREATED if registered.is_new else HTTPStatus.OK
        return _Response(status, registered.device, registered.effects)

    def _device(self, call: _Call) -> _Response:
        device = self._registry.device(call.project, call.device_id, deadline=call.deadline)
        if device is None:
            raise _not_found()
        return _Response(HTTPStatus.OK, device)

    def _delete(self, call: _Call, owner: str | None = None) -> _Response:
        effects = self._registry.delete(
            call.project, call.device_id, owner=owner, deadline=call.deadline
        )
        if not effects:
            raise _not_found()
        return _Response(HTTPStatus.NO_CONTENT, effects=effects)

    def _delete_mine(self, call: _Call) -> _Response:
        return self._delete(call, owner=call.user_id)

    def _devices_of(self, call: _Call) -> _Response:
        devices = self._registry.devices_of(call.project, call.user_id, deadline=call.deadline)
        return _Response(HTTPStatus.OK, {"devices": devices})

    def _erase(self, call: _Call) -> _Response:
        effects = self._registry.erase(call.project, call.user_id, deadline=call.deadline)
        return _Response(HTTPStatus.NO_CONTENT, effects=effects)


def record(telemetry: Telemetry, effects: Sequence[Effect], **fields: object) -> None:
    """Log and count what was written, by the references of device and user."""
    for effect in effects:
        telemetry.count(effect.name, 1)
        telemetry.info(
            "registry changed",
            change=effect.name,
            device_ref=effect.device,
            user_ref=effect.user,
            **fields,
        )


def _registration(
    event: Mapping[str, Any], refused: Mapping[str, str] | None = None
) -> Registration:
    """Read the body of a PUT; ``refused`` has the members that are not allowed there."""
    if len(event.get("body") or "") > CHARACTERS:
        raise InvalidRequest([Finding("request", f"must be at most {CHARACTERS:,} characters")])
    body = json_body(event, Registration.model_fields)
    errors = []
    if refused and isinstance(body, dict):
        errors = [Finding(name, refused[name]) for name in refused if name in body]
        body = {name: value for name, value in body.items() if name not in refused}
    try:
        registration = Registration.read(body)
    except InvalidRequest as refusal:
        raise InvalidRequest([*errors, *refusal.errors]) from None
    if errors:
        raise InvalidRequest(errors)
    return registration


def _errors_of_body(event: Mapping[str, Any]) -> list[Finding]:
    refused = BACKEND_ONLY if "/my/" in event["routeKey"] else None
    try:
        _registration(event, refused)
    except InvalidRequest as refusal:
        return list(refusal.errors)
    return []


def _claims(event: Mapping[str, Any]) -> Mapping[str, Any]:
    authorizer = event["requestContext"].get("authorizer") or {}
    return (authorizer.get("jwt") or {}).get("claims") or {}


def _caller(event: Mapping[str, Any]) -> str | None:
    """Name the caller: the ARN of an IAM caller, or the client of a JWT, never its user."""
    authorizer = event["requestContext"].get("authorizer") or {}
    arn: str | None = (authorizer.get("iam") or {}).get("userArn")
    claims = _claims(event)
    return arn or claims.get("client_id") or claims.get("azp")


def _not_found() -> HttpProblem:
    return HttpProblem(
        problems.DEVICE_NOT_FOUND,
        "It was never registered, has expired, was deleted, or (under /my/) is of another user",
    )


def _response(status: HTTPStatus, headers: Mapping[str, str], body: object) -> dict[str, Any]:
    response: dict[str, Any] = {
        "statusCode": status.value,
        "headers": dict(headers),
        "isBase64Encoded": False,
    }
    if body is not None:
        response["body"] = json.dumps(body)
    return response
