"""The example of an app: what it does about answers other than success."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from tests.support.loopback import LoopbackHandler, Reply, serving
from tests.support.paths import REPOSITORY

PROGRAM = """
import { MyDevice } from "./examples/http/app.mjs";

Math.random = () => 0; // no pauses
const stored = new Map();
const storage = {
  getItem: async (name) => stored.get(name) ?? null,
  setItem: async (name, value) => void stored.set(name, value),
};
const jwt = async ({ renew }) => (renew ? "new" : "old");
const device = new MyDevice({ apiUrl: process.env.API_URL, storage, jwt });
const calls = JSON.parse(process.env.CALLS);
const ends = await Promise.allSettled(calls.map(([name, ...given]) => device[name](...given)));
console.log(JSON.stringify(ends.map(({ status, reason }) => reason?.message ?? status)));
"""

NEW = Reply(201)
GONE = Reply(204, b"")
EXPIRED = Reply(401, b'{"message": "Unauthorized"}')
NO_ROUTE = Reply(404, b'{"message": "Not Found"}')
BUSY = Reply(503, b'{"message": "Service Unavailable"}')
CUT_OFF = Reply(cut_off=True)
UNKNOWN = Reply(
    404,
    b'{"type": "urn:push-sender:problem:device-not-found", "title": "There is no such device"}',
    {"Content-Type": "application/problem+json"},
)
INVALID = Reply(
    400,
    b'{"type": "urn:push-sender:problem:invalid-device", "title": "It is invalid"}',
    {"Content-Type": "application/problem+json"},
)


class Asked(NamedTuple):
    """A request that arrived."""

    method: str
    path: str
    jwt: str
    body: Any


class App(NamedTuple):
    """What became of the app's calls, and the requests that arrived."""

    ends: list[str]
    asked: list[Asked]


RunApp = Callable[..., App]


@pytest.fixture
def run_app() -> Iterator[RunApp]:
    """Give a function that makes the app's calls at once, with these answers in turn."""
    asked: list[Asked] = []
    replies: list[Reply] = []

    class Api(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            jwt = self.headers["Authorization"].removeprefix("Bearer ")
            given = json.loads(body) if body else None
            asked.append(Asked(self.command, self.path, jwt, given))
            return replies.pop(0)

        do_PUT = do_DELETE = LoopbackHandler.do_POST  # noqa: N815  http.server's names

    with serving(Api) as url:

        def run_app(answers: list[Reply], *calls: list[Any]) -> App:
            replies.extend(answers)
            done = subprocess.run(
                [Path(sys.executable).parent / "node", "--input-type=module", "-e", PROGRAM],
                cwd=REPOSITORY,
                env={**os.environ, "API_URL": url, "CALLS": json.dumps(calls)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr, replies) == (0, "", [])
            return App(json.loads(done.stdout), asked)

        yield run_app


def register(token: str) -> list[Any]:
    return ["register", {"token": token, "service": "GCM", "time_zone": "Europe/Vienna"}]


def test_an_app_keeps_one_random_id_for_registrations_and_sign_outs(run_app: RunApp) -> None:
    app = run_app([NEW, GONE, NEW], register("first"), ["signOut"], register("second"))

    assert app.ends == ["fulfilled"] * 3
    assert [asked.method for asked in app.asked] == ["PUT", "DELETE", "PUT"]
    (path,) = {asked.path for asked in app.asked}
    assert UUID(path.removeprefix("/my/devices/")).version == 4
    assert app.asked[0].body == register("first")[1]


@pytest.mark.parametrize("failure", [CUT_OFF, BUSY, Reply(429), Reply(500)])
def test_an_app_repeats_a_call_before_it_makes_the_next(run_app: RunApp, failure: Reply) -> None:
    app = run_app([failure, failure, failure, NEW, NEW], register("first"), register("second"))

    assert app.ends == ["fulfilled"] * 2
    assert [asked.body["token"] for asked in app.asked] == ["first"] * 4 + ["second"]


@pytest.mark.parametrize(
    ("failure", "end"),
    [(BUSY, "HTTP 503: Service Unavailable"), (CUT_OFF, "fetch failed")],
    ids=["busy", "cut off"],
)
def test_an_app_ends_a_call_after_four_attempts(run_app: RunApp, failure: Reply, end: str) -> None:
    app = run_app([failure] * 4 + [NEW], register("first"), register("second"))

    assert app.ends == [end, "fulfilled"]


def test_an_app_renews_a_jwt_that_is_refused(run_app: RunApp) -> None:
    app = run_app([EXPIRED, NEW], register("first"))

    assert (app.ends, [asked.jwt for asked in app.asked]) == (["fulfilled"], ["old", "new"])


@pytest.mark.parametrize(
    ("call", "replies", "end"),
    [
        (register("first"), [INVALID], "HTTP 400: It is invalid"),
        (register("first"), [EXPIRED, EXPIRED], "HTTP 401: Unauthorized"),
        (register("first"), [UNKNOWN], "HTTP 404: There is no such device"),
        (["signOut"], [NO_ROUTE], "HTTP 404: Not Found"),
    ],
    ids=["invalid", "jwt refused twice", "unknown", "no such route"],
)
def test_an_app_does_not_repeat_what_cannot_succeed(
    run_app: RunApp, call: list[Any], replies: list[Reply], end: str
) -> None:
    assert run_app(replies, call).ends == [end]


def test_an_app_registers_without_a_time_zone_that_is_refused(run_app: RunApp) -> None:
    refused = Reply(400, b'{"title": "It is invalid", "faults": [{"path": "time_zone"}]}')

    app = run_app([refused, NEW], register("first"))

    assert app.ends == ["fulfilled"]
    assert app.asked[1].body == {"token": "first", "service": "GCM"}


def test_a_sign_out_of_a_device_that_is_gone_succeeds(run_app: RunApp) -> None:
    assert run_app([UNKNOWN], ["signOut"]).ends == ["fulfilled"]
