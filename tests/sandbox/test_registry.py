"""The registry of devices in the inbox: whose device got a push, and the list of all devices."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.registry import create_registry, put, put_all, register
from tests.support.service_sandbox import ServiceSandbox

DEVICE: dict[str, Any] = {
    "device_id": "phone-1",
    "user_id": "u-1",
    "token": "token-of-the-first-phone",
    "service": "ADM",
    "language": "de",
    "tags": ["news", "offers"],
    "seen_at": "2026-11-20T10:00:00Z",
    "opted_out": False,
}


def fetch(sandbox: ServiceSandbox, path: str) -> dict[str, Any]:
    with urlopen(f"{sandbox.url}/sandbox/{path}") as answer:  # noqa: S310  loopback
        return dict(json.loads(answer.read()))


def device_of_push(sandbox: ServiceSandbox, project: str, token: str = DEVICE["token"]) -> Any:
    """Send a push; give the device that the inbox shows for it."""
    sandbox.client("pinpoint").send_messages(
        ApplicationId=project,
        MessageRequest={
            "Addresses": {token: {"ChannelType": "ADM"}},
            "MessageConfiguration": {"ADMMessage": {"Body": "b"}},
        },
    )
    return fetch(sandbox, "messages?since=0&limit=1")["messages"][0]["device"]


def test_a_push_shows_the_device_and_user_of_its_token(sandbox: ServiceSandbox) -> None:
    project = sandbox.project()
    create_registry(sandbox)
    register(sandbox, project, DEVICE)
    register(sandbox, project, {"device_id": "phone-2", "token": "second", "service": "ADM"})
    register(sandbox, project, {**DEVICE, "token": "ours", "service": "GCM"})
    register(sandbox, "other", {**DEVICE, "token": "elsewhere"})

    assert device_of_push(sandbox, project) == {"device_id": "phone-1", "user_id": "u-1"}
    assert device_of_push(sandbox, project, "second") == {"device_id": "phone-2", "user_id": None}
    for unknown in ("third", "ours", "elsewhere"):
        assert device_of_push(sandbox, project, unknown) is None


def test_without_a_registry_a_push_shows_no_device(sandbox: ServiceSandbox) -> None:
    project = sandbox.project()

    assert device_of_push(sandbox, project) is None
    assert fetch(sandbox, "registry") == {"registries": 0, "count": 0, "devices": []}
    create_registry(sandbox)
    assert device_of_push(sandbox, project) is None
    assert fetch(sandbox, "registry") == {"registries": 1, "count": 0, "devices": []}
    register(sandbox, project, DEVICE)
    sandbox.client("dynamodb").delete_table(TableName=sandbox.id_of("Table"))
    assert device_of_push(sandbox, project) is None
    assert fetch(sandbox, "registry")["registries"] == 0


def test_the_list_has_each_device_with_a_shortened_token(sandbox: ServiceSandbox) -> None:
    create_registry(sandbox)
    register(sandbox, "b", {"device_id": "phone-2", "token": "short", "service": "GCM"})
    register(sandbox, "a", {**DEVICE, "invalid": True})

    listed = fetch(sandbox, "registry")

    assert listed["count"] == 2
    assert listed["devices"] == [
        {
            "application_id": "a",
            **{name: value for name, value in DEVICE.items() if name != "token"},
            "invalid": True,
            "token": "token-of-the…",
        },
        {
            "application_id": "b",
            "device_id": "phone-2",
            "user_id": None,
            "service": "GCM",
            "language": None,
            "tags": None,
            "seen_at": None,
            "invalid": None,
            "opted_out": None,
            "token": "short",
        },
    ]


def test_an_expired_item_does_not_count(sandbox: ServiceSandbox) -> None:
    project = sandbox.project()
    create_registry(sandbox)
    register(sandbox, project, DEVICE, seconds=-10)

    assert device_of_push(sandbox, project) is None
    assert fetch(sandbox, "registry")["count"] == 0


@pytest.mark.parametrize("value", ["", "{", "[]", "null", "1", '"text"', "[" * 100_000, "{}"])
def test_items_of_another_program_break_nothing(sandbox: ServiceSandbox, value: str) -> None:
    project = sandbox.project()
    create_registry(sandbox)
    register(sandbox, project, DEVICE)
    put(sandbox, f"D#{project}#phone-1", value)

    assert device_of_push(sandbox, project) is None
    (listed,) = fetch(sandbox, "registry")["devices"]
    assert listed["device_id"] is None


def test_the_list_shows_the_first_five_hundred_and_counts_all(sandbox: ServiceSandbox) -> None:
    create_registry(sandbox)
    devices = [f"{number:03}" for number in range(501)]
    put_all(sandbox, {f"D#project#{id_}": json.dumps({"device_id": id_}) for id_ in devices})

    listed = fetch(sandbox, "registry")

    assert listed["count"] == 501
    assert [device["device_id"] for device in listed["devices"]][::499] == ["000", "499"]
