"""The list of schedules in the inbox."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

import pytest

from sandbox.clock import moved_ahead
from tests.support.schedules import DAY, GROUP, ScheduleSandbox
from tests.support.service_sandbox import eventually


def listed(sandbox: ScheduleSandbox) -> dict[str, Any]:
    with urlopen(f"{sandbox.url}/sandbox/scheduled") as answer:  # noqa: S310  loopback
        return dict(json.loads(answer.read()))


def event(**request: Any) -> dict[str, Any]:
    """Give the target of a request for later."""
    return {"Input": json.dumps({"detail-type": "t", "detail": request})}


def test_the_list_has_requests_and_jobs_until_they_fire(sandbox: ScheduleSandbox) -> None:
    assert listed(sandbox) == {"count": 0, "schedules": []}
    job = json.dumps({"job": "spring", "request": {"title": "T", "message": "M"}})
    sandbox.start("job-spring", 2 * DAY, request={"Name": "spring", "Input": job})
    users = [{"user_id": "u-1"}, {"user_id": "u-2"}]
    sandbox.make("several", DAY, target=event(recipients=users, title="Hello"))
    sandbox.make("one", 3 * DAY, target=event(recipient=users[0], message="Hello"))
    sandbox.make("disabled", DAY, State="DISABLED")

    found = listed(sandbox)

    assert found["count"] == 3
    several, spring, one = found["schedules"]
    assert several == {
        "at": several["at"],
        "group": GROUP,
        "name": "several",
        "job": None,
        "recipients": 2,
        "title": "Hello",
        "message": None,
    }
    assert (spring["job"], spring["recipients"]) == ("spring", None)
    assert (spring["title"], spring["message"]) == ("T", "M")
    assert (one["recipients"], one["message"]) == (1, "Hello")
    with moved_ahead(DAY):
        eventually(lambda: listed(sandbox)["count"] == 2)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"detail": 1}', "[" * 100_000])
def test_schedules_of_another_program_break_nothing(sandbox: ScheduleSandbox, text: str) -> None:
    sandbox.make(target={"Input": text or "x"})

    (found,) = listed(sandbox)["schedules"]

    assert (found["recipients"], found["title"], found["job"]) == (0, None, None)


def test_the_list_shows_the_first_five_hundred_and_counts_all(sandbox: ScheduleSandbox) -> None:
    for number in range(501):
        sandbox.make(f"{number:03}", 3 * DAY - 60 * number)

    found = listed(sandbox)

    assert found["count"] == 501
    assert [each["name"] for each in found["schedules"]][::499] == ["500", "001"]
