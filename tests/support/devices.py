"""The function of the registry in front of a table, and the invariants of the table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from tests.support import api_gateway
from tests.support.dynamodb import Table
from tests.support.invocation import PROJECT, Invocation

Json = dict[str, Any]

IOS = {"token": "ios-token", "service": "APNS"}
ANDROID = {"token": "android-token", "service": "GCM"}

MOST_DEVICES = 25


class Registry:
    """Calls the function as API Gateway and EventBridge do.

    Attributes
    ----------
    table
        The table, with every call to it.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def ask(
        self,
        route: str,
        body: Any = None,
        *,
        project: str | None = None,
        sub: str | None = None,
        seconds: float = 29,
        text: str | None = None,
        **ids: str,
    ) -> api_gateway.Answer:
        """Make an HTTP request: ``"PUT /devices/{device_id}"`` with the ids by name.

        ``sub`` makes the caller one with a JWT. ``text`` is a body as it is.
        """
        method, path = route.split()
        for name, id_ in ids.items():
            path = path.replace(f"{{{name}}}", quote(id_, safe=""))
        given = text if text is not None else None if body is None else json.dumps(body)
        event = api_gateway.event(given, method=method, path=path)
        event["routeKey"] = route
        event["pathParameters"] = ids
        if project is not None:
            event["queryStringParameters"] = {"application_id": project}
        if sub is not None:
            claims = {"sub": sub, "client_id": "the-app"}
            event["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
        return api_gateway.read(self.invoke(event, seconds))

    def put(self, device_id: str, body: Any, **more: Any) -> api_gateway.Answer:
        """Register a device."""
        return self.ask("PUT /devices/{device_id}", body, device_id=device_id, **more)

    def get(self, device_id: str, **more: Any) -> api_gateway.Answer:
        """Read a device."""
        return self.ask("GET /devices/{device_id}", device_id=device_id, **more)

    def delete(self, device_id: str, **more: Any) -> api_gateway.Answer:
        """Delete a device."""
        return self.ask("DELETE /devices/{device_id}", device_id=device_id, **more)

    def of_user(self, user_id: str, **more: Any) -> list[str]:
        """List the ids of a user's devices."""
        answer = self.ask("GET /users/{user_id}/devices", user_id=user_id, **more)
        assert answer.status == 200
        return [device["device_id"] for device in answer.body["devices"]]

    def erase(self, user_id: str, **more: Any) -> api_gateway.Answer:
        """Erase a user."""
        return self.ask("DELETE /users/{user_id}", user_id=user_id, **more)

    def update(self, change: str, *tokens: Json, time: str, project: str = PROJECT) -> None:
        """Hand over an event ``Push Token Update``."""
        self.invoke(token_update(change, *tokens, time=time, project=project))

    def invoke(self, event: Json, seconds: float = 29) -> Any:
        """Invoke the function."""
        from push_sender.devices_handler import handler

        return handler(event, Invocation(seconds))  # type: ignore[arg-type]  # a context's part


def token_update(change: str, *tokens: Json, time: str, project: str = PROJECT) -> Json:
    """Make an event ``Push Token Update`` as EventBridge delivers it."""
    return {
        "version": "0",
        "id": "event",
        "source": "push-sender",
        "detail-type": "Push Token Update",
        "time": time,
        "detail": {
            "version": 1,
            "request_id": "request",
            "idempotency_key": "request",
            "application_id": project,
            "change": change,
            "tokens": [{"status_code": 410, "reason": None, **token} for token in tokens],
        },
    }


def values_of(items: Iterable[Json]) -> dict[str, Any]:
    """Read the values of a table's items by id."""
    return {item["id"]["S"]: json.loads(item["value"]["S"]) for item in items}


def check_invariants(items: Iterable[Json]) -> None:
    """Check that the items of devices, tokens and users agree with each other."""
    values = values_of(items)
    for id_, value in values.items():
        kind, project, *_ = id_.split("#")
        if kind == "D":
            token_id = _token_id(project, value)
            assert values.get(token_id) == {"device_id": value["device_id"]}, id_
            if user_id := value.get("user_id"):
                entry = values[f"U#{project}#{user_id}"]["devices"][value["device_id"]]
                assert (entry["token"], entry["service"]) == (value["token"], value["service"])
        if kind == "U":
            assert len(value["devices"]) <= MOST_DEVICES
            for device_id in value["devices"]:
                device = values[f"D#{project}#{device_id}"]
                assert f"U#{project}#{device['user_id']}" == id_
    devices = {
        _token_id(id_.split("#")[1], value): value["device_id"]
        for id_, value in values.items()
        if id_.startswith("D#")
    }
    tokens = {id_: value["device_id"] for id_, value in values.items() if id_.startswith("T#")}
    assert tokens == devices


def _token_id(project: str, device: Json) -> str:
    text = "\n".join((project, device["service"], device["token"]))
    return f"T#{sha256(text.encode()).hexdigest()}"
