"""The cost of a request: work grows in proportion to its size, and memory is limited.

Work is counted, never timed, in two ways that complete each other. Lines: how many lines of the
package's Python run for a whole request, of n and 2n. What C code does within a line is not
seen there, so texts and maps that recipients share are also given as objects that count how much
of them is read: the length that a search passes over, the whole length for what must read all,
one for each entry of a map. No recipient more may add to that. Steps of a regular expression are
in neither count, so the package has only patterns that were read and listed here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_sender.delivery import batches
from push_sender.messages import fcm_v1
from push_sender.messages.sizes import sizes
from push_sender.recipients.audience import Group
from push_sender.request.errors import InvalidRequest, UnlistedFindings
from push_sender.request.model import PushRequest, Recipient, UserRecipient, Variant
from push_sender.request.services import APNS_MESSAGE, GCM_MESSAGE, SERVICES, MessageShape
from push_sender.send_messages.writer import MessageWriter
from push_sender.validation import combinations as rules
from push_sender.validation.check import check
from push_sender.validation.users import unfit
from tests.support.function_process import function_environment
from tests.support.invocation import PROJECT
from tests.support.paths import LAMBDA_SOURCE
from tests.support.provider import Json

FCM = {"format": "fcm_v1"}
GCM = {"token": "t", "service": "GCM"}


def plan(event: Any) -> None:
    """Take a request through all that happens before something is sent."""
    try:
        request, audience, contents = check(event, [PROJECT], has_registry=True)
        users = [each for each in request.everyone if isinstance(each, UserRecipient)]
        resolved = [user.on_device(f"d{n}", "GCM") for n, user in enumerate(users)]
        unfit(request, resolved, range(len(resolved)))
        writer = MessageWriter(request, contents, PROJECT)
        for batch in batches.plan(request, audience, writer):
            writer.call(batch.group, [audience.recipients[at] for at in batch.positions])
        rules.warnings(request, audience, contents)
    except InvalidRequest:
        pass


def lines(event: Any) -> int:
    """Count the lines of the package that run for a request."""
    counted = 0

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        nonlocal counted
        if "push_sender" not in frame.f_code.co_filename:
            return None
        counted += what == "line"
        return trace

    sys.settrace(trace)
    try:
        plan(event)
    finally:
        sys.settrace(None)
    return counted


def own(n: int, **fields: Any) -> list[Json]:
    return [{"token": f"t{i}", "service": "GCM", "title": "x", **fields} for i in range(n)]


def users(n: int, **fields: Any) -> list[Json]:
    return [{"user_id": f"u{i}", **fields} for i in range(n)]


def numbered(n: int, value: Any) -> Json:
    return {f"k{i}": value for i in range(n)}


GROWING: dict[str, Callable[[int], Any]] = {
    "an open variable": lambda n: {
        "recipient": GCM,
        "message": "{{" + " " * n,
        "gcm": FCM,
        "substitutions": {"a": "b"},
    },
    "opened again and again": lambda n: {
        "recipient": GCM,
        "message": "{" * n,
        "gcm": FCM,
        "substitutions": {"a": "b"},
    },
    "opened again, API's format": lambda n: {
        "recipient": GCM,
        "message": "{{" * n,
        "substitutions": {"a": "b"},
    },
    "closed again and again": lambda n: {
        "recipient": GCM,
        "message": "}}" * n,
        "gcm": FCM,
        "substitutions": {"a": "b"},
    },
    "a long message, as many recipients": lambda n: {
        "recipients": own(n),
        "message": "m" * 10 * n,
        "gcm": FCM,
    },
    "many variables, as many recipients": lambda n: {
        "recipients": own(n),
        "message": "{{a}}" * n,
        "gcm": FCM,
        "substitutions": {"b": "c"},
    },
    "variables, API's format": lambda n: {
        "recipients": own(n, substitutions={"a": "b"}),
        "message": "{{a}}" * n,
    },
    "one long value, as many recipients": lambda n: {
        "recipients": own(n, substitutions={"b": "c"}),
        "message": "{{a}}",
        "substitutions": {"a": "v" * 10 * n},
        "gcm": FCM,
    },
    "a long list of values": lambda n: {
        "recipients": own(n, title="{{a}}"),
        "substitutions": {"a": ["v"] * n},
        "gcm": FCM,
    },
    "data, as many recipients": lambda n: {
        "recipients": own(n, context={"a": "b"}),
        "data": numbered(n, "v"),
        "gcm": FCM,
    },
    "context, as many recipients": lambda n: {
        "recipients": own(n, context={"a": "b"}),
        "context": numbered(n, "v"),
    },
    "raw content, as many recipients": lambda n: {
        "recipients": own(n),
        "gcm": {"raw_content": {"fcmV1Message": {"message": {"data": numbered(n, "v")}}}},
    },
    "unknown fields": lambda n: {"recipient": GCM, "message": "m", **numbered(n, 0)},
    "malformed texts": lambda n: {
        "recipient": GCM,
        "message": "m",
        "substitutions": {"a": ["\x00"] * n},
    },
    "malformed recipients": lambda n: {"recipients": [{"token": 1, "x": 2}] * n, "message": 3},
    "users": lambda n: {"recipients": users(n), "message": "m", "device_filter": {"tags": ["a"]}},
    "users with own fields whom no device reaches": lambda n: {
        "recipients": users(n, title="{{a}}", context={"a": "b"}),
        "substitutions": {"a": "v" * 10 * n},
        "gcm": FCM,
        "message": "m" * 7_000,
    },
    "users whose devices have a language": lambda n: {
        "recipients": users(n, context={"a": "b"}),
        "translations": {f"de-{i}": {"message": "m"} for i in range(10, 20)},
    },
    "users who are all of one kind of service": lambda n: {
        "recipients": users(n, title="x", device_filter={"services": ["ADM"]}),
        "adm": {"data": numbered(n, "v")},
    },
    "malformed users": lambda n: {
        "recipients": [{"user_id": 1, "x": 2, "device_filter": {"tags": [3], "y": 4}}] * n,
    },
    "other text for the same user": lambda n: {
        "recipients": [{"user_id": "u", "title": str(i)} for i in range(n)],
        "message": "m",
    },
    "other text for the same": lambda n: {
        "recipients": [{**GCM, "title": str(i)} for i in range(n)],
        "message": "m",
    },
}


@pytest.mark.parametrize("grow", GROWING.values(), ids=GROWING)
def test_a_request_of_double_size_takes_at_most_double_the_work(grow: Callable[[int], Any]) -> None:
    plan(grow(1))
    # From a thousand on, a text is over the limit of every format, and limits end what is read.
    once, twice = (lines(grow(n)) for n in (1_000, 2_000))

    assert twice < 2.2 * once


class Read:
    """How much of texts and maps was read."""

    def __init__(self) -> None:
        self.amount = 0


class CountedText(str):
    """A text that counts how much of it is read."""

    __slots__ = ("read",)
    read: Read

    def find(self, *arguments: Any) -> int:
        return self._searched(super().find(*arguments), *arguments)

    def rfind(self, wanted: Any, first: Any = 0, last: Any = None) -> int:
        found = super().rfind(wanted, first, last)
        self.read.amount += (len(self) if last is None else last) - max(found, first)
        return found

    def _searched(self, found: int, _: object, first: int = 0) -> int:
        self.read.amount += (len(self) if found < 0 else found) - first + 1
        return found

    def __getitem__(self, part: Any) -> str:
        taken = super().__getitem__(part)
        self.read.amount += len(taken)
        return taken

    def isascii(self) -> bool:
        self.read.amount += len(self)
        return super().isascii()

    def encode(self, *arguments: Any) -> bytes:
        self.read.amount += len(self)
        return super().encode(*arguments)


class CountedMap(dict[str, Any]):
    """A map that counts how much of it is read."""

    read: Read

    def __iter__(self) -> Iterator[str]:
        self.read.amount += len(self)
        return super().__iter__()

    def keys(self) -> Any:
        self.read.amount += len(self)
        return super().keys()

    def items(self) -> Any:
        self.read.amount += len(self)
        return super().items()

    def values(self) -> Any:
        self.read.amount += len(self)
        return super().values()


def tokens_of(request: PushRequest) -> list[Recipient]:
    return [each for each in request.everyone if isinstance(each, Recipient)]


def counted(value: Any, read: Read) -> Any:
    """Make what is read of a value count."""
    made: Any = value
    if isinstance(value, str):
        made = CountedText(value)
    elif isinstance(value, dict):
        made = CountedMap({name: counted(inner, read) for name, inner in value.items()})
    else:
        return value
    made.read = read
    return made


def read_of_shared(shared: Json, recipients: list[Json], shape: MessageShape) -> int:
    """Measure a message for each recipient; count how much of the shared fields was read."""
    request = PushRequest.model_validate({**shared, "recipients": recipients})
    read = Read()
    content = {
        field: counted(value, read) for field, value in request.content_for(Variant(shape)).items()
    }
    request.context = counted(request.context, read)
    measured = sizes(request, shape, content)
    read.amount = 0
    measured.shared()
    for recipient in tokens_of(request):
        measured.of(recipient)
    return read.amount


SHARED: Json = {
    "title": "{{ a }} é" * 100,
    "message": "{{a}} {{ b }} {{c" * 100,
    "context": numbered(600, "v"),
    "data": numbered(600, "w"),
    "substitutions": numbered(600, "x"),
}
"""Over the limit in every format: a payload that may fit is built for each recipient anyway."""


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (GCM_MESSAGE, {}),
        (GCM_MESSAGE, {"gcm": FCM}),
        (APNS_MESSAGE, {"apns": {"raw_content": {"aps": {"alert": "{{a}}" * 100}}}}),
        (GCM_MESSAGE, {"gcm": {"raw_content": {"fcmV1Message": {"message": {"data": {}}}}}}),
    ],
)
@pytest.mark.parametrize(
    "fields",
    [{"title": "x"}, {"message": "{{a}}"}, {"substitutions": {"a": "b"}}, {"context": {"k1": "u"}}],
    ids=str,
)
def test_shared_fields_are_read_equally_often_for_any_number_of_recipients(
    shape: MessageShape, options: Json, fields: Json, silent: bool
) -> None:
    shared = {**SHARED, **options, "silent": silent}

    few, many = (read_of_shared(shared, own(n, **fields), shape) for n in (10, 40))

    assert many == few


@pytest.mark.parametrize("unit", ["{", "{{", "}}", "{{a}}", "{{a", "a}}", "{{ ", "{}", "{{{a}}}"])
@pytest.mark.parametrize("end", ["", "}}"])
@pytest.mark.parametrize("options", [{}, {"gcm": FCM}], ids=["pinpoint", "fcm_v1"])
def test_variables_are_found_in_one_pass(options: Json, unit: str, end: str) -> None:
    def read_of(n: int) -> int:
        shared = {"message": unit * n + end, "substitutions": {"a": "b"}, **options}
        request = PushRequest.model_validate({**shared, "recipients": own(1)})
        read = Read()
        content = {**request.content_for(Variant(GCM_MESSAGE))}
        content["message"] = counted(content["message"], read)
        sizes(request, GCM_MESSAGE, content).shared()
        fcm_v1.raw_content(content, {})
        return read.amount

    assert 0 < read_of(2_000) < 2.1 * read_of(1_000)


def test_no_pattern_can_backtrack_over_a_callers_text() -> None:
    known = {
        "entry_points/http.py": {
            r'"((?:[^"\\]|\\["\\])*)"',
            r'"(?:[^"\\]|\\.)*"?',
            r"\\(.)",
            r"(:assumed-role/[^/]+|:federated-user)/.*",
        },
        "entry_points/json_body.py": {r'"[^"]*"?'},
        "request/errors.py": {r"[A-Za-z0-9_-]{1,32}"},
        "request/languages.py": {
            r"[A-Za-z]{2,8}(?:(?:[-_][A-WYZa-wyz0-9])?[-_][A-Za-z0-9]{2,8})*"
            r"(?:[-_][Xx](?:[-_][A-Za-z0-9]{1,8})+)?",
        },
        "follow_up/requeue.py": {
            r"(?P<root>.+)#(?P<generation>[1-9][0-9]{0,8})\.[0-9]+",
            r"[0-9a-f]{64}",
        },
        "schedules/group.py": {r"[0-9a-f]{64}"},
        "devices/registration.py": {r"[.\[]"},
        "entry_points/event_bridge.py": {
            r"arn:[a-z-]+:states:[a-z0-9-]+:[0-9]{12}:execution:[^:]{1,80}:(.*)",
            r"[0-9]{12}",
        },
        "follow_up/submission.py": {r"job/([A-Za-z0-9_-]{1,80})/[0-9]+(?:\.[0-9]+)?"},
        "jobs/objects.py": {r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})"},
        "jobs/plan.py": {r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", r"[A-Za-z0-9_-]{1,80}"},
        "jobs/recipients.py": {r"recipients\[([0-9]+)\]\.?(.*)"},
        "jobs/columns.py": {r"[0-9]{1,10}(\.0{1,9})?", r"[A-Za-z0-9_. -]+"},
        "validation/combinations.py": {
            r"([A-Za-z][A-Za-z0-9+.-]*):[^\s\x00-\x1f\x7f]+",
            r"https?://[^\s/?#\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*",
        },
    }
    """Each was read for it: no two parts side by side take the same characters, but in the key of
    a request, which has 256 characters."""
    pattern = re.compile(r"""\bre\.\w+\(\s*r?(['"])(.*?)(?<!\\)\1\s*[,)]""")
    found: dict[str, set[str]] = {}
    for file in (LAMBDA_SOURCE / "push_sender").rglob("*.py"):
        if patterns := {match[2] for match in pattern.finditer(file.read_text())}:
            found[file.relative_to(LAMBDA_SOURCE / "push_sender").as_posix()] = patterns

    assert found == known


PEAK = """
import json, os, sys
from push_sender.request.errors import InvalidRequest
from push_sender.validation.check import check

def rows(name):
    return int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1])

def measure(line):
    event = json.loads(line)
    del line
    open("/proc/self/clear_refs", "w").write("5")
    before = rows("VmRSS")
    try:
        check(event, ["p"])
        refused = False
    except InvalidRequest as refusal:
        refused = bool(str(refusal))
    peak = rows("VmHWM")
    print(json.dumps({"refused": refused, "kb": peak, "grown": peak - before}), flush=True)

check({"recipient": {"token": "t", "service": "GCM"}, "message": "m"}, ["p"])
try:
    check({"recipient": 1}, ["p"])
except InvalidRequest:
    pass
for line in sys.stdin.buffer:
    if not (pid := os.fork()):
        measure(line)
        os._exit(0)
    os.waitpid(pid, 0)
    line = None
"""


def text_of(start: str, unit: Callable[[int], str], end: str) -> str:
    """Write a request of nearly 6 MB."""
    size = len(unit(100_000))
    return start + ",".join(unit(i) for i in range(5_800_000 // (size + 1))) + end


HUGE: dict[str, Callable[[], str]] = {
    "unknown fields": lambda: text_of("{", lambda i: f'"{i:x}":0', "}"),
    "unknown fields of a recipient": lambda: text_of(
        '{"recipients":[{', lambda i: f'"{i:x}":0', "}]}"
    ),
    "numbers for texts": lambda: text_of('{"substitutions":{"a":[', lambda _: "0", "]}}"),
    "null characters": lambda: text_of('{"substitutions":{"a":[', lambda _: r'"\u0000"', "]}}"),
    "a map of numbers": lambda: text_of('{"data":{', lambda i: f'"{i:x}":0', "}}"),
    "names with half a pair": lambda: text_of('{"data":{', lambda i: rf'"\ud800{i:x}":0', "}}"),
    "recipients that are none": lambda: text_of('{"recipients":[', lambda _: "0", "]}"),
    "recipients all wrong": lambda: text_of(
        '{"recipients":[', lambda i: f'{{"token":7,"service":8,"title":9,"n{i}":1}}', "]}"
    ),
    "unknown fields of a filter": lambda: text_of(
        '{"device_filter":{', lambda i: f'"{i:x}":0', "}}"
    ),
    "unknown fields of a user's filter": lambda: text_of(
        '{"recipients":[{"user_id":"u","device_filter":{', lambda i: f'"{i:x}":0', "}}]}"
    ),
    "tags that are none": lambda: text_of(
        '{"recipient":{"user_id":"u","device_filter":{"tags":[', lambda _: "0", "]}}}"
    ),
    "services that are none": lambda: text_of(
        '{"recipients":[{"user_id":"u","device_filter":{"services":[', lambda _: "0", "]}}]}"
    ),
    "users all wrong": lambda: text_of(
        '{"recipients":[', lambda i: f'{{"user_id":7,"device_filter":[],"title":9,"n{i}":1}}', "]}"
    ),
    "raw content as text": lambda: text_of(
        '{"recipient":{"token":"t","service":"GCM"},"gcm":{"raw_content":"{',
        lambda i: rf"\"{i:x}\":[]",
        '}"}}',
    ),
    "a good map beside an error": lambda: text_of(
        '{"ttl":"x","data":{', lambda i: f'"{i:x}":"v"', "}}"
    ),
}


@pytest.fixture(scope="module")
def measuring() -> Iterator[subprocess.Popen[bytes]]:
    """Start the program, which measures each request in a copy of itself."""
    with subprocess.Popen(
        [sys.executable, "-c", PEAK],
        env=function_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process
        process.communicate()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a peak")
@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_a_bad_request_of_6_mb_is_refused_within_200_mb(
    huge: Callable[[], str], measuring: subprocess.Popen[bytes]
) -> None:
    assert measuring.stdin is not None
    assert measuring.stdout is not None
    measuring.stdin.write(f"{huge()}\n".encode())
    measuring.stdin.flush()
    peak = json.loads(measuring.stdout.readline())

    assert peak["refused"]
    assert peak["kb"] < 200_000
    assert peak["grown"] < 60_000, "beside the request itself"


def errors_of(event: Any) -> dict[str, list[str]]:
    with pytest.raises(InvalidRequest) as refused:
        check(event, [PROJECT])
    errors: dict[str, list[str]] = {}
    for error in refused.value.errors:
        errors.setdefault(error.path, []).append(error.message)
    return errors


def test_errors_that_are_not_listed_are_counted() -> None:
    recipients = [{"token": 1, "service": 2, "title": 3} for _ in range(4_000)]

    with pytest.raises(InvalidRequest, match=r"… and 2,000 more$") as refused:
        check({"recipients": recipients, "message": "m"}, [PROJECT])

    assert isinstance(refused.value.errors[-1], UnlistedFindings)
    assert len(refused.value.errors) == 10_001


def test_too_many_recipients_do_not_hide_the_errors_of_each() -> None:
    errors = errors_of(
        {"recipients": [{"token": "", "service": "GCM"}] + [GCM] * 5_000, "ttl": "x"}
    )

    assert errors.keys() == {"recipients", "recipients[0].token", "ttl", "message"}


@pytest.mark.parametrize("name", ["\ud800", "a\udfff", "title\ud83d"])
@pytest.mark.parametrize(
    ("put", "path"),
    [
        (lambda name: {name: 1}, "(a name not shown)"),
        (lambda name: {"gcm": {name: {}}}, "gcm.(a name not shown)"),
        (lambda name: {"recipient": {**GCM, name: []}}, "recipient.(a name not shown)"),
        (lambda name: {"recipients": [{**GCM, name: None}]}, "recipients[0].(a name not shown)"),
        (lambda name: {"recipients": [{**GCM, "context": {name: "v"}}]}, "recipients[0].context"),
        (lambda name: {"data": {name: "v"}}, "data"),
        (lambda name: {"substitutions": {name: ["v"]}}, "substitutions"),
        (lambda name: {"apns": {"raw_content": {name: 1}}}, "apns.raw_content"),
    ],
)
def test_half_a_surrogate_pair_in_a_name_is_a_validation_error(
    put: Callable[[str], Json], path: str, name: str
) -> None:
    assert path in errors_of({"recipient": GCM, "message": "m", **put(name)})


BOTH: Json = {"recipients": [GCM, {"token": "a", "service": "APNS"}], "message": "m"}
TWICE: list[Json] = [{**GCM, "title": "a"}, {**GCM, "title": "b"}]


@pytest.mark.parametrize(
    ("event", "paths"),
    [
        ({**BOTH, "ttl": 3_000_000, "apns": {"ttl": "x"}}, {"apns.ttl", "ttl"}),
        ({**BOTH, "gcm": {"ttl": 3_000_000}, "ttl": "x"}, {"gcm.ttl", "ttl"}),
        ({**BOTH, "gcm": {"ttl": "x"}, "ttl": 3_000_000}, {"gcm.ttl"}),
        ({**BOTH, "gcm": 5, "ttl": 3_000_000}, {"gcm"}),
        (
            {"message": "m", "recipients": [*TWICE, {"token": "z", "service": "GCM", "title": 1}]},
            {"recipients[1]", "recipients[2].title"},
        ),
        ({"message": "m", "recipients": [TWICE[0], {**GCM, "title": 1}]}, {"recipients[1].title"}),
        (
            {**BOTH, "gcm": {**FCM, "data": {"from": "x"}}, "apns": {"data": {"a": 1}}},
            {"apns.data", "gcm.data"},
        ),
        ({**BOTH, "gcm": FCM, "data": {"from": "x", "b": 1}}, {"data"}),
        ({**BOTH, "action": "URL", "url": "javascript:x", "apns": {"action": 1}},
         {"apns.action", "url"}),
        ({**BOTH, "action": 1, "url": "javascript:x"}, {"action", "url"}),
        ({**BOTH, "action": 1, "url": "app://x"}, {"action"}),
        ({**BOTH, "collapse_id": "c" * 65, "adm": {"collapse_id": 1}},
         {"adm.collapse_id", "collapse_id"}),
        ({**BOTH, "title": 1, "message": "m" * 5_000}, {"title", "message"}),
        ({**BOTH, "silent": "x", "message": "m" * 5_000}, {"silent"}),
        ({**BOTH, "recipient": 5}, {"recipient", "recipients"}),
        ({"recipients": [{**GCM, "title": 1}, {"token": "u", "service": "GCM"}]},
         {"recipients[0].title", "message"}),
        ({"recipients": [{**GCM, "title": 1}]}, {"recipients[0].title"}),
        ({**BOTH, "application_id": "other", "recipients": 7}, {"application_id", "recipients"}),
    ],
)  # fmt: skip
def test_a_malformed_field_hides_only_the_errors_that_depend_on_it(
    event: Json, paths: set[str]
) -> None:
    assert errors_of(event).keys() == paths


def test_each_kind_of_error_in_a_map_is_reported() -> None:
    data = {"a": 1, "b": "\x00", "c": [], "d": HALF, "\x00": "v", "e": None}

    assert set(errors_of({"recipient": GCM, "message": "m", "data": data})["data"]) == {
        "a value must be text, not a number",
        "a value must be text, not a list",
        "a value must be text, not null",
        "a value must not hold a null character",
        "a value must be valid Unicode; it holds half of a surrogate pair",
        "a name must not hold a null character",
    }


HALF = "\ud800"


@pytest.mark.parametrize("ttl", [3600.0, 0.0, -0.0, 1e6])
def test_an_integer_may_have_a_fraction_of_zero(ttl: float) -> None:
    request, _, contents = check({"recipient": GCM, "message": "m", "ttl": ttl}, [PROJECT])

    assert type(request.ttl) is int
    assert contents[Variant(GCM_MESSAGE)]["ttl"] == ttl


@pytest.mark.parametrize(
    ("ttl", "words"),
    [
        (1.5, "must be a whole number, without a fraction"),
        (float("inf"), "must be a whole number, without a fraction"),
        (float("nan"), "must be a whole number, without a fraction"),
        (1e20, "must be at most 2147483647"),
        (-1.0, "must be at least 0"),
        ("30", "must be a whole number, not text"),
        (True, "must be a whole number, not true or false"),
    ],
)
def test_a_number_with_a_fraction_is_refused_with_a_clear_message(ttl: Any, words: str) -> None:
    event = {"recipient": {**GCM, "service": "APNS"}, "message": "m", "apns": {"badge": ttl}}

    assert errors_of(event)["apns.badge"] == [words]


pieces = st.lists(
    st.sampled_from(["{{", "}}", "{", "}", " ", "a", "b", "\n", '"', "\\", "é", "\x01"])
)
texts = pieces.map("".join)
maps = st.dictionaries(st.sampled_from(["a", "b", "url", "é"]), texts, max_size=3)
values = st.dictionaries(st.sampled_from(["a", "b", "a b"]), texts | st.lists(texts), max_size=3)


@given(texts, values)
def test_the_same_variables_are_filled_in_as_by_the_pattern(text: str, values: Json) -> None:
    lists = {name: [value] if isinstance(value, str) else value for name, value in values.items()}
    pattern = re.compile(r"\{\{\s*([^{}]*[^{}\s])\s*\}\}")
    filled = pattern.sub(lambda m: ", ".join(lists[m[1]]) if m[1] in lists else m[0], text)

    built = fcm_v1.raw_content({"title": text, "substitutions": lists}, {})

    expected = filled if lists else text
    assert built["fcmV1Message"]["message"]["notification"]["title"] == expected


@given(texts)
def test_placeholders_have_no_size_in_the_apis_format(text: str) -> None:
    event = {"recipient": GCM, "message": text, "substitutions": {"a": "b"}}
    request = PushRequest.model_validate(event)
    measured = sizes(request, GCM_MESSAGE, request.content_for(Variant(GCM_MESSAGE)))

    without = re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL)
    assert measured.shared() == len(without.encode())


def bytes_of(value: Any) -> int:
    """Count the bytes of compact JSON, and of its texts those that they stand for."""
    match value:
        case str():
            return len(value.encode()) + 2
        case dict():
            return sum(bytes_of(k) + bytes_of(v) + 2 for k, v in value.items()) + (
                1 if value else 2
            )
        case _:
            raise AssertionError


def part_of(message: Json) -> Json:
    part: Json = {name: message[name] for name in ("data", "notification") if name in message}
    if "notification" in part:
        more = message.get("android", {}).get("notification", {})
        part["notification"] = {**part["notification"], **more}
    return part


def device_bytes(raw: str) -> int:
    """Count what a device gets of raw content; all of it if that fits into every limit."""
    if len(raw.encode()) <= 4_096:
        return len(raw.encode())
    return bytes_of(part_of(json.loads(raw)["fcmV1Message"]["message"]))


def is_measured(size: int, raw: str) -> bool:
    """Return whether a size is right: exact up to the limit, else a lower bound above the limit."""
    exact = device_bytes(raw)
    return size == exact or 4_096 < size <= exact


long_texts = st.builds(lambda text, more: text + "x" * more, texts, st.sampled_from([4_000, 5_000]))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("title", "message", "image_url", "sound"), texts),
            "message": st.one_of(texts, long_texts),
            "data": maps, "context": maps, "substitutions": values, "silent": st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {}, optional={"title": texts, "message": texts, "context": maps, "substitutions": values}
    ),
)  # fmt: skip
def test_the_size_of_a_built_payload_is_exact_up_to_the_limit(shared: Json, own: Json) -> None:
    event = {**shared, "gcm": FCM, "recipients": [GCM, {"token": "u", "service": "GCM", **own}]}
    request = PushRequest.model_validate(event)
    content = request.content_for(Variant(GCM_MESSAGE))
    measured = sizes(request, GCM_MESSAGE, content)
    writer = MessageWriter(request, {Variant(GCM_MESSAGE): content}, PROJECT)
    both = writer.call(Group(SERVICES["GCM"], Variant(GCM_MESSAGE)), tokens_of(request))[
        "MessageRequest"
    ]
    raw = both["MessageConfiguration"]["GCMMessage"]["RawContent"]

    assert is_measured(measured.shared(), raw)
    if own:
        raw = both["Addresses"]["u"]["RawContent"]
        assert is_measured(measured.of(tokens_of(request)[1]), raw)


personal = {
    **dict.fromkeys(("title", "message", "url", "image_url", "subtitle"), texts),
    **dict.fromkeys(("data", "context"), st.one_of(maps, st.just({"action": "", "url": "u"}))),
    "substitutions": values,
    "badge": st.integers(0, 10),
}  # fmt: skip


@given(
    st.fixed_dictionaries(
        {"message": st.one_of(texts, long_texts)},
        optional={
            **{name: personal[name] for name in ("title", "data", "context", "substitutions")},
            "action": st.just("URL"), "url": texts, "silent": st.booleans(),
        },
    ),
    st.fixed_dictionaries({}, optional={"subtitle": texts, "badge": st.integers(0, 100_000)}),
    st.fixed_dictionaries({}, optional=personal),
)  # fmt: skip
def test_the_size_of_apns_own_payload_is_exact_up_to_the_limit(
    shared: Json, options: Json, own: Json
) -> None:
    recipients = [{"token": "t", "service": "APNS"}, {"token": "u", "service": "APNS", **own}]
    event = {**shared, "apns": {"format": "native", **options}, "recipients": recipients}
    request = PushRequest.model_validate(event)
    variant = Variant(APNS_MESSAGE)
    content = request.content_for(variant)
    measured = sizes(request, APNS_MESSAGE, content)
    writer = MessageWriter(request, {variant: content}, PROJECT)
    both = writer.call(Group(SERVICES["APNS"], variant), tokens_of(request))["MessageRequest"]

    exact = len(both["MessageConfiguration"]["APNSMessage"]["RawContent"].encode())
    assert measured.shared() == exact or 5_120 < measured.shared() <= exact
    if own:
        exact = len(both["Addresses"]["u"]["RawContent"].encode())
        size = measured.of(tokens_of(request)[1])
        assert size == exact or 5_120 < size <= exact


MANY = {f"k{n}": 1 for n in range(20_000)}


@pytest.mark.parametrize(
    "fields",
    [
        {"translations": {"de": MANY}},
        {"gcm": {**FCM, "light_settings": MANY}},
        {"gcm": {**FCM, "light_settings": {"color": MANY}}},
    ],
    ids=["translation", "object", "object in an object"],
)
def test_unknown_fields_of_an_inner_object_are_counted_and_not_kept(fields: Json) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check({"recipient": GCM, "message": "m", **fields}, [PROJECT])

    assert isinstance(refused.value.errors[-1], UnlistedFindings)
    assert len(refused.value.errors) < 3_000


def test_a_large_part_that_all_languages_share_is_measured_once() -> None:
    tags = [f"de-{n:04}" for n in range(100)]
    recipients = [{"token": tag, "service": "GCM", "language": tag} for tag in tags]
    translations = {tag: {"title": "t" * (n + 1)} for n, tag in enumerate(tags)}

    def errors_with(data: Json) -> int:
        event = {"recipients": recipients, "message": "m", "data": data, "gcm": FCM}
        with pytest.raises(InvalidRequest) as refused:
            check({**event, "translations": translations}, [PROJECT])
        return len(refused.value.errors)

    assert errors_with(numbered(1_000, "v" * 10)) == 1


def fcm_raw(**message: Any) -> Json:
    return {"recipient": GCM, "gcm": {"raw_content": {"fcmV1Message": {"message": message}}}}


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (fcm_raw(notification={"body": "b" * 4_000}), "sent"),
        (fcm_raw(notification={"body": "\n" * 4_000}), "doubtful"),
        (fcm_raw(notification={"body": "b" * 4_100}), "refused"),
        (
            fcm_raw(
                android={"notification": {"body": "a" * 2_000}},
                apns={"payload": {"aps": {"alert": {"body": "i" * 2_000}}}},
                webpush={"notification": {"body": "w" * 2_000}},
            ),
            "doubtful",
        ),
        (fcm_raw(apns={"payload": {"aps": {"alert": "i" * 4_100}}}), "refused"),
        (
            fcm_raw(data={"k": "v" * 3_000}, android={"notification": {"body": "b" * 2_000}}),
            "refused",
        ),
        (
            fcm_raw(
                data={"k": "v" * 3_000},
                android={"data": {"k": "v"}, "notification": {"body": "b" * 2_000}},
            ),
            "doubtful",
        ),
        ({"recipient": GCM, "message": "\n" * 2_100, "gcm": FCM}, "doubtful"),
        ({"recipient": GCM, "gcm": {"raw_content": {"data": {"k": "\n" * 4_000}}}}, "sent"),
        (
            {"recipient": {**GCM, "service": "APNS"},
             "apns": {"raw_content": {"aps": {"content-available": 0, "alert": "\n" * 2_100}}}},
            "refused",
        ),
    ],
)  # fmt: skip
def test_raw_content_is_refused_only_if_one_platforms_part_is_too_large(
    event: Json, outcome: str
) -> None:
    try:
        request, audience, contents = check(event, [PROJECT])
    except InvalidRequest:
        assert outcome == "refused"
        return
    warned = rules.warnings(request, audience, contents)
    assert outcome == ("doubtful" if warned else "sent")
