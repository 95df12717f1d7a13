"""From the last release to this version and back, in the middle of everything that is under way.

One version is deployed, and stopped in the middle of each kind of work. Then the other version is
deployed from its files, an hour passes, and everything runs to its end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from sandbox.clock import moved_ahead
from tests.support import releases
from tests.support.released_stack import STACK, ReleasedStack, released_stacks
from tests.support.releases import Files, NoReleaseError
from tests.support.service_sandbox import eventually

Json = dict[str, Any]

HOUR: Final = 3_600

REMAINING: Final = {"AWS::Lambda::Version"}
"""The types that remain in the account after they left the stack: docs/deploy.md, Update."""

ROWS_OF_A_CHILD: Final = 32
NOTE: Final = "-" * 65_000  # so that a range of rows, at most 2 MiB, has no more

SERVICES: Final = {"done": "ADM", "row": "ADM"}
"""The services of tokens by their first word; of all others, GCM. Each is a batch of its own."""

CONTENT: Final = {"title": "t", "message": "m"}


@dataclass
class Upgrade:
    """A stack of one version with work under way, which goes to another version.

    Attributes
    ----------
    way
        The name of the way, in all names of what is made.
    stack
        The stack.
    said
        What calls answered, by name.
    tokens
        Every token that must get one push.
    reported
        By the id of each request that is reported by an event, its attempt and its recipients.
    """

    way: str
    stack: ReleasedStack
    said: dict[str, Any] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    reported: dict[str, tuple[int, int]] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def name(self, name: str) -> str:
        return f"{self.way}-{name}"

    def token(self, word: str) -> str:
        """Invent a token that must get one push; the gate decides by its first word."""
        self.tokens.append(f"{word}-{uuid.uuid4().hex}")
        return self.tokens[-1]

    def request(self, *words: str, **more: Any) -> Json:
        """Write a request with a token for each word."""
        asked = [
            {"token": self.token(word), "service": SERVICES.get(word, "GCM")} for word in words
        ]
        return {"recipients": asked, **CONTENT, **more}

    def go(self, first: Files, second: Files) -> None:
        """Go from one version to the other, and let everything run to its end."""
        self.stack.gate.close()
        self.stack.deploy(first)
        self.prepare()
        self.said["before"] = self.stack.resources(), self.stack.outputs
        self.stack.deploy(second)
        self.said["after"] = self.stack.resources(), self.stack.outputs
        self.finish()

    def prepare(self) -> None:
        """Stop the first version in the middle of each kind of work."""
        self.stack.listen()
        self._register()
        self._send_under_a_key()
        self._kill()
        self._refuse()
        self._schedule()
        self._requeue()
        self._fill_the_queue()
        self._hold()

    def _register(self) -> None:
        """Register two devices of a user."""
        for word in ("killed", "done"):
            device = {"token": self.token(word), "service": SERVICES.get(word, "GCM")}
            path = f"/devices/{self.name(word)}"
            self.stack.http("PUT", path, {**device, "user_id": self.name("user")})
        self.said["devices"] = self.devices()

    def devices(self) -> Any:
        return self.stack.http("GET", f"/users/{self.name('user')}/devices")

    def _send_under_a_key(self) -> None:
        words = ("finished", "sandbox-unregistered")
        request = self.request(*words, idempotency_key=self.name("finished"))
        self.said["finished"] = self.stack.invoke(request), request

    def _kill(self) -> None:
        """Kill the processes of requests: before any outcome is stored, and after one batch."""
        killed = {
            "no batch": self.request("killed"),
            "one batch": self.request("killed", "done"),
            "user": {"recipients": [{"user_id": self.name("user")}], **CONTENT},
        }
        for name, request in killed.items():
            request["idempotency_key"] = self.name(name)
            self._let_die(1 if name == "no batch" else 2)
            assert "errorType" in self.stack.invoke(request), name
            self.said[name] = request
        # A message that is received, and not deleted.
        self._let_die(2)
        self.reported[self.stack.send(self.request("killed", "done"))] = 0, 2
        eventually(lambda: len(self.stack.gate.killed) == 4)
        # An asynchronous invocation, which Lambda makes a dead-letter message.
        self._let_die(2)
        request = self.request("killed", "done", idempotency_key=self.name("asynchronous"))
        self.stack.invoke(request, later=True)
        eventually(lambda: self.stack.waiting()["dead letters"] == 1)

    def _let_die(self, items: int) -> None:
        """Let the next process die when the table of keys has so many new items."""
        before = self.stack.keys()
        self.stack.gate.may_kill = lambda: len(self.stack.keys() - before) >= items

    def _refuse(self) -> None:
        """Let a job fail and a message die, because the push service refuses most calls."""
        self.stack.start(self._job("refused", ["row", "refused", "refused"]))
        eventually(lambda: self.stack.status(self.name("refused")) == "FAILED")
        self.reported[self.stack.send(self.request("refused"))] = 0, 1
        eventually(lambda: self.stack.waiting()["dead letters"] == 2)

    def _job(self, name: str, words: list[str], **more: Any) -> Json:
        """Upload a file with a row for each word; return the input of its job."""
        rows = [f"{self.token(word)},{SERVICES.get(word, 'GCM')},{NOTE}" for word in words]
        key = f"uploads/{self.name(name)}.csv"
        self.stack.upload(key, "\n".join(["token,service,note", *rows]))
        return {"job": self.name(name), "source": {"key": key}, "request": CONTENT, **more}

    def _schedule(self) -> None:
        """Schedule a request and a job for the next hour."""
        moment = datetime.now(UTC) + timedelta(seconds=HOUR)
        request = self.request(
            "later", send_at=f"{moment:%FT%TZ}", idempotency_key=self.name("later")
        )
        id_ = self.stack.invoke(request)["schedule_id"]
        self.said["scheduled"], self.reported[id_] = (id_, request), (0, 1)
        self.stack.start_later(self._job("later", ["row"]), f"at({moment:%FT%T})")

    def _requeue(self) -> None:
        """Requeue a recipient, in a message that the function signs."""
        report = self.stack.invoke(self.request("throttled", requeue=True))
        assert report["summary"]["requeued"] == 1
        self.reported[self.stack.invocation] = 1, 1

    def _fill_the_queue(self) -> None:
        """Put requests on the queue in every way, and let nobody process them."""
        self.stack.let_process(enabled=False)
        under_a_key = self.request("queued", idempotency_key=self.name("queued"))
        later = {"Prefer": "respond-async"}
        for id_ in (
            self.stack.send(under_a_key),
            self.stack.http("POST", "/messages", self.request("queued"), **later)["id"],
            self.stack.put_event(self.request("queued")),
        ):
            self.reported[id_] = 0, 1

    def _hold(self) -> None:
        """Hold a job in the second of its three children, and an invocation."""
        words = ["row"] * 3 * ROWS_OF_A_CHILD
        words[ROWS_OF_A_CHILD + 1] = "held"
        self.stack.start(self._job("half-way", words, tokens_per_second=100))
        eventually(lambda: self.stack.gate.held)
        held = self.stack.gate.held
        # If it is held for too long, it goes to the queue.
        request = self.request("held", requeue=True)

        def invoke() -> None:
            self.said["held"] = self.stack.invoke(request)

        self.threads.append(threading.Thread(target=invoke))
        self.threads[-1].start()
        eventually(lambda: self.stack.gate.held > held)

    def finish(self) -> None:
        """Let everything run to its end."""
        self.stack.gate.open()
        for thread in self.threads:
            thread.join()
        eventually(lambda: self.stack.status(self.name("half-way")) != "RUNNING", seconds=300)
        self.stack.let_an_hour_pass()
        for name in ("no batch", "one batch", "user"):
            self.said[name] = self.stack.invoke(self.said[name])
        for name in ("finished", "scheduled"):
            before, request = self.said[name]
            self.said[name] = before, self.stack.invoke(request)
        self.stack.let_process(enabled=True)
        self.stack.redrive(self.name("refused"))
        with moved_ahead(HOUR + 1):
            eventually(lambda: self.stack.waiting()["schedules"] == 0)
            with suppress(AssertionError):  # the tests say what has not ended
                eventually(self._has_ended)

    def _has_ended(self) -> bool:
        jobs = [self.stack.status(self.name(job)) for job in ("half-way", "refused", "later")]
        return "RUNNING" not in jobs and not any(self.stack.waiting().values())


@pytest.fixture(scope="module")
def versions() -> Mapping[str, Files]:
    try:
        last = releases.files_of_release(releases.last_release())
    except NoReleaseError as error:
        pytest.skip(str(error))
    return {"last": last, "this": releases.files_of_working_tree()}


@pytest.fixture(scope="module")
def stack(
    versions: Mapping[str, Files], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReleasedStack]:
    with released_stacks(tmp_path_factory.mktemp("place")) as running:
        yield running


@pytest.fixture(scope="module", params=["update", "back"])
def upgrade(
    request: pytest.FixtureRequest, stack: ReleasedStack, versions: Mapping[str, Files]
) -> Upgrade:
    last, this = versions["last"], versions["this"]
    gone = Upgrade(request.param, stack)
    gone.go(*((last, this) if request.param == "update" else (this, last)))
    return gone


def test_the_tag_of_a_release_is_the_commit_that_wrote_its_section() -> None:
    try:
        release = releases.last_release()
        written = releases.released(release.version)
    except NoReleaseError as error:
        pytest.skip(str(error))
    assert releases.tagged(release.version) in (None, written)


def test_every_recipient_gets_one_push(upgrade: Upgrade) -> None:
    pushes = upgrade.stack.pushes()

    assert {token: pushes[token] for token in upgrade.tokens} == dict.fromkeys(upgrade.tokens, 1)


def test_nothing_waits_and_nothing_is_dead(upgrade: Upgrade) -> None:
    waiting = upgrade.stack.waiting()

    assert waiting == dict.fromkeys(waiting, 0)


def test_the_other_version_runs_and_may_make_its_calls(upgrade: Upgrade) -> None:
    assert upgrade.stack.files is not None
    archive = hashlib.sha256(upgrade.stack.files.archive.read_bytes()).digest()
    for name in ("FunctionName", "DevicesFunctionName"):
        running = upgrade.stack.client("lambda").get_function_configuration(
            FunctionName=upgrade.stack.outputs[name]
        )
        assert running["CodeSha256"] == base64.b64encode(archive).decode()
    calls = upgrade.stack.sandbox.permissions.calls()
    assert {call for call in calls if not call.allowed} == set()


def test_a_finished_key_has_the_same_report(upgrade: Upgrade) -> None:
    report, again = upgrade.said["finished"]

    assert (
        report["summary"] == again["summary"] == {"recipients": 2, "accepted": 1, "dead_token": 1}
    )
    assert again["replayed"]
    kept = ("token", "service", "outcome", "status_code", "reason", "message_id", "attempts")
    assert [[each[name] for name in kept] for each in again["results"]] == [
        [each[name] for name in kept] for each in report["results"]
    ]


@pytest.mark.parametrize(
    ("name", "recipients"), [("no batch", 1), ("one batch", 2), ("user", 2), ("held", 1)]
)
def test_a_request_that_was_interrupted_has_a_report(
    upgrade: Upgrade, name: str, recipients: int
) -> None:
    summary = upgrade.said[name]["summary"]

    assert summary.get("accepted", 0) + summary.get("requeued", 0) == recipients


def test_a_scheduled_request_keeps_its_id(upgrade: Upgrade) -> None:
    id_, again = upgrade.said["scheduled"]

    assert (again["schedule_id"], again["replayed"]) == (id_, True)


@pytest.mark.parametrize(
    ("job", "rows"), [("half-way", 3 * ROWS_OF_A_CHILD), ("refused", 3), ("later", 1)]
)
def test_a_job_accepts_each_row_and_is_reported(upgrade: Upgrade, job: str, rows: int) -> None:
    name, summary = upgrade.name(job), {"rows": rows, "accepted": rows}

    assert upgrade.stack.status(name) == "SUCCEEDED"
    assert upgrade.stack.counts(name) == summary
    reports = upgrade.stack.events("Push Job Report")
    assert ("SUCCEEDED", summary) in [
        (each["status"], each["summary"]) for each in reports if each["job"] == name
    ]


def test_a_request_is_reported_under_the_id_that_its_caller_knows(upgrade: Upgrade) -> None:
    accepted = {
        each["request_id"]: (each["attempt"], each["summary"]["accepted"])
        for each in upgrade.stack.events("Push Report")
        if "accepted" in each["summary"]
    }
    assert accepted.items() >= upgrade.reported.items()


def test_a_user_has_the_same_devices(upgrade: Upgrade) -> None:
    assert upgrade.devices() == upgrade.said["devices"]


def test_no_resource_is_replaced_and_only_versions_remain_outside_the_stack(
    upgrade: Upgrade, versions: Mapping[str, Files]
) -> None:
    (before, _), (after, _) = upgrade.said["before"], upgrade.said["after"]
    first = versions["last" if upgrade.way == "update" else "this"]
    template = json.loads(first.template.read_text())["Resources"]

    assert {id_: after[id_] for id_ in after if id_ in before} == {
        id_: before[id_] for id_ in after if id_ in before
    }
    retained = {
        type_
        for id_, (type_, _) in before.items()
        if id_ not in after and template[id_].get("DeletionPolicy", "").startswith("Retain")
    }
    assert retained == REMAINING


def test_an_update_takes_no_output_away(upgrade: Upgrade) -> None:
    last, this = (
        set(upgrade.said[when][1])
        for when in (("before", "after") if upgrade.way == "update" else ("after", "before"))
    )
    assert last <= this


def test_after_the_way_back_this_version_can_be_deployed_again(
    stack: ReleasedStack, versions: Mapping[str, Files]
) -> None:
    for name in ("last", "this"):
        stack.deploy(versions[name])

        assert stack.sandbox.stack(STACK)["StackStatus"].endswith("_COMPLETE")
