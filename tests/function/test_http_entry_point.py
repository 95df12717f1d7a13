"""The HTTP entry point: its answers, and problems that say what to do next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from push_sender.entry_points.problems import KINDS
from tests.support.account import Account, running_service
from tests.support.api_gateway import Answer, Http, event, read
from tests.support.dynamodb import Forward, Table, refusing
from tests.support.invocation import (
    OTHER_PROJECT,
    PROJECT,
    Invocation,
    ProcessQueue,
    Push,
    log_lines,
)
from tests.support.loopback import Reply, refusing_url
from tests.support.paths import REPOSITORY
from tests.support.provider import Json, Provider, accepted, refused, results

LAMBDA_RESPONSE_BYTES = 6_291_556
PROBLEM = "urn:push-sender:problem:"


def to(*tokens: str, **more: Any) -> Json:
    recipients = [{"token": token, "service": "GCM"} for token in tokens]
    return {"recipients": recipients, "message": "m", **more}


@pytest.fixture
def http(push: Push) -> Http:
    return Http(push)


def is_problem(answer: Answer, status: int, name: str) -> bool:
    """Return whether an answer is a problem of a type, complete as in RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body.keys() - {"faults"} == {"type", "title", "status", "detail"}
    assert answer.body["status"] == answer.status
    return (answer.status, answer.body["type"]) == (status, f"{PROBLEM}{name}")


def test_a_request_is_answered_with_its_report(http: Http, push: Push, provider: Provider) -> None:
    answer = http.post(to("t"))

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == push(to("t"))
    assert provider.tokens == ["t", "t"]


def test_a_caller_with_a_jwt_gets_the_same_report(http: Http, provider: Provider) -> None:
    request = event(json.dumps(to("t")), path="/jwt/messages")
    claims = {"sub": "caller", "scope": "push:send"}
    request["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": ["push:send"]}}

    answer = http.ask(request)

    assert answer.status == 200
    assert answer.body == http.post(to("t")).body
    assert provider.tokens == ["t", "t"]


def test_failed_pushes_are_answered_with_a_report_too(http: Http, provider: Provider) -> None:
    provider.answer_each(
        lambda token, _: {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 410}
    )

    answer = http.post(to("t"))

    assert (answer.status, answer.body["summary"]) == (200, {"recipients": 1, "rejected": 1})


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_base64_body_is_decoded(http: Http, provider: Provider, content_type: str) -> None:
    body = json.dumps(to("t", title="Grüße 😀"), ensure_ascii=False).encode()

    answer = http.ask(event(body, content_type=content_type))

    assert answer.status == 200
    assert provider.calls[0]["MessageConfiguration"]["GCMMessage"]["Title"] == "Grüße 😀"


def test_a_bad_request_gets_all_its_errors_and_none_of_its_values(
    http: Http, provider: Provider
) -> None:
    answer = http.post({**to("se cret"), "ttl": "soon", "titel": "KaNaRy"})

    assert is_problem(answer, 400, "invalid-request")
    faults = {fault["path"]: fault["message"] for fault in answer.body["faults"]}
    assert faults.keys() == {"recipients[0].token", "ttl", "titel"}
    assert faults["titel"] == "unknown field; did you mean title?"
    assert not any(value in json.dumps(answer.body) for value in ("soon", "KaNaRy", "cret"))
    assert provider.calls == []


def test_many_errors_are_cut_so_that_the_answer_fits(push: Push) -> None:
    request = json.dumps({f"name{n}": 0 for n in range(300_000)})

    answer = push(event(request))

    assert len(json.dumps(answer)) < LAMBDA_RESPONSE_BYTES
    problem = json.loads(answer["body"])
    assert 1_000 < len(problem["faults"]) < 300_000
    assert f"{300_001 - len(problem['faults']):,} more faults" in problem["detail"]


def test_a_project_that_is_not_ours_is_forbidden(http: Http, provider: Provider) -> None:
    answer = http.post(to("t", application_id="0" * 32))

    assert is_problem(answer, 403, "project-not-allowed")
    assert answer.paths == ["application_id"]
    assert provider.calls == []


def test_a_foreign_project_among_other_errors_is_one_of_them(http: Http) -> None:
    answer = http.post(to("t", application_id="0" * 32, ttl=-1))

    assert is_problem(answer, 400, "invalid-request")
    assert sorted(answer.paths) == ["application_id", "ttl"]


def test_a_request_may_name_another_allowed_project(http: Http, provider: Provider) -> None:
    assert http.post(to("t", application_id=OTHER_PROJECT)).status == 200
    assert provider.application_ids == [OTHER_PROJECT]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/messages"),
        ("DELETE", "/messages"),
        ("POST", "/openapi.json"),
        ("GET", "/openapiXjson"),
        ("POST", "/messages/"),
        ("POST", "/MESSAGES"),
        ("POST", "/"),
        ("POST", "/messages/../messages"),
        ("TRACE", "/messages\r\nx-injected: 1"),
    ],
)
def test_unknown_paths_and_methods_are_not_found(
    http: Http, provider: Provider, method: str, path: str
) -> None:
    answer = http.ask(event(json.dumps(to("t")), method=method, path=path))

    assert is_problem(answer, 404, "not-found")
    assert provider.calls == []


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        (None, {}),
        ("", {}),
        ("text/plain", {}),
        ("application/x-www-form-urlencoded", {}),
        ("application/jsonx", {}),
        ("application/json; charset=utf-16", {}),
        ("text/html, application/json", {}),
        ("application/json", {"content_encoding": "gzip"}),
    ],
)
def test_only_uncompressed_json_is_accepted(
    http: Http, provider: Provider, content_type: str | None, headers: dict[str, Any]
) -> None:
    answer = http.ask(event(json.dumps(to("t")), content_type=content_type, **headers))

    assert is_problem(answer, 415, "unsupported-media-type")
    assert answer.headers["accept"] == "application/json"
    assert provider.calls == []


TWICE = '{"recipient": {"token": "t", "service": "GCM"}, "message": "m", "ttl": 5, "ttl": 6}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, "missing"),
        ("", "missing"),
        ("{", "must be JSON; it has an error at line 1, column 2"),
        ("{}{}", "must be JSON; it has an error at line 1, column 3"),
        ('{\n  "ttl": secret\n}', "must be JSON; it has an error at line 2, column 10"),
        ("\ufeff{}", "must be JSON; it has an error at line 1, column 1"),
        ('{"ttl": NaN}', "must be JSON"),
        ('{"ttl": -Infinity}', "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "must be JSON"),
        ('{"ttl": ' + "9" * 5_000 + "}", "must be JSON"),
        (b"\xff\xfe{\x00}\x00", "must be JSON"),
        (b'{"title": "\xc3\x28"}', "must be JSON"),
        (json.dumps(to("t")).encode("utf-16"), "must be JSON"),
        (TWICE, "ttl stands twice"),
        ('{"data": {"KaNaRy": "1", "KaNaRy": "2"}}', "a name stands twice"),
        ('{"ttl": 1, "ttl": 1}', "ttl stands twice"),  # alike or not
        ('{"data": [' + "[]," * 250_000 + "0]}", "at most 250,000 objects and lists"),
        ("[]", "must be an object"),
        ('"{}"', "must be an object"),
        ("null", "must be an object"),
    ],
)
def test_json_that_is_no_request_is_refused(
    http: Http, provider: Provider, body: str | bytes | None, expected: str
) -> None:
    answer = http.ask(event(body))

    assert is_problem(answer, 400, "invalid-request")
    (fault,) = answer.body["faults"]
    assert fault["path"] == "request"
    assert expected in fault["message"]
    assert "KaNaRy" not in json.dumps(answer.body)
    assert provider.calls == []


def test_brackets_in_a_text_do_not_count_as_nesting(http: Http) -> None:
    answer = http.post(to("t", substitutions={"a": '[\\"' * 250_001}))

    assert answer.status == 200


def test_half_a_surrogate_pair_in_a_name_is_refused(http: Http, provider: Provider) -> None:
    answer = http.ask(event(json.dumps(to("t"))[:-1] + r', "\ud800": {"\udfff": 1}}'))

    assert is_problem(answer, 400, "invalid-request")
    assert answer.paths == ["(a name not shown)"]
    assert provider.calls == []


def test_invalid_base64_is_refused(http: Http) -> None:
    spoiled = {**event(b"{}"), "body": "e30=\u00e9"}

    assert is_problem(http.ask(spoiled), 400, "invalid-request")


def test_an_internal_error_is_raised_and_the_answer_holds_no_stack_trace(
    push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_DEV", "true")  # which asks Powertools for traces
    monkeypatch.setenv("SEND_CONCURRENCY", "2")  # made with that limit
    broken = event(json.dumps(to("t")))
    broken["headers"] = None

    with pytest.raises(AttributeError):
        push(broken)


@pytest.mark.parametrize("header", ["order-1", '"order-1"'])
def test_the_header_gives_the_key_as_text_or_as_a_quoted_string(
    http: Http, provider: Provider, table: Table, header: str
) -> None:
    first = http.post(to("t"), idempotency_key=header)
    again = http.post(to("t", idempotency_key="order-1"))

    assert (first.body["idempotency_key"], first.body["replayed"]) == ("order-1", False)
    assert (again.status, again.body["replayed"]) == (200, True)
    assert provider.tokens == ["t"]


def test_the_same_key_in_header_and_body_is_one_key(http: Http, table: Table) -> None:
    answer = http.post(to("t", idempotency_key='a"b'), idempotency_key='"a\\"b"')

    assert (answer.status, answer.body["idempotency_key"]) == (200, 'a"b')


def test_two_different_keys_are_refused_together_with_all_other_errors(
    http: Http, provider: Provider, table: Table
) -> None:
    answer = http.post(to("t", idempotency_key="one", ttl=-1), idempotency_key="another")

    assert is_problem(answer, 400, "invalid-request")
    assert answer.paths == ["idempotency_key", "ttl"]
    assert "one" not in json.dumps(answer.body["faults"][0]["message"]).split()
    assert provider.calls == []


@pytest.mark.parametrize("header", ["", '""', "k" * 257, "k" * 10_000, "a\tb", "a\r\nb: c"])
def test_an_invalid_key_in_the_header_is_refused_with_the_headers_name(
    http: Http, provider: Provider, table: Table, header: str
) -> None:
    answer = http.post(to("t"), idempotency_key=header)

    assert is_problem(answer, 400, "invalid-request")
    assert answer.paths == ["Idempotency-Key"]
    assert provider.calls == []


def test_a_key_of_another_request_is_a_conflict(
    http: Http, provider: Provider, table: Table
) -> None:
    http.post(to("t"), idempotency_key="key")

    answer = http.post(to("another"), idempotency_key="key")

    assert is_problem(answer, 409, "key-reused")
    assert "one of the last 24 hours or one that is scheduled" in answer.body["detail"]
    assert "retry-after" not in answer.headers
    assert provider.tokens == ["t"]


def test_a_key_in_use_is_a_conflict_with_a_retry_after(
    http: Http, provider: Provider, table: Table
) -> None:
    http.post(to("t"), idempotency_key="key")
    table.undo(lapses_at=time.time() + 20)

    answer = http.post(to("t"), idempotency_key="key")

    assert is_problem(answer, 409, "key-in-use")
    assert 15 <= int(answer.headers["retry-after"]) <= 20
    assert provider.tokens == ["t"]


def test_without_the_table_nothing_is_sent_under_a_key(
    http: Http, provider: Provider, table: Table
) -> None:
    table.answer = lambda *_: refusing(400, "AccessDeniedException")

    answer = http.post(to("t"), idempotency_key="key")

    assert is_problem(answer, 503, "keys-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "AccessDeniedException" in answer.body["detail"]
    assert provider.calls == []


THROTTLED = refused(429, "TooManyRequestsException")
FORBIDDEN = refused(403, "ForbiddenException")


def test_if_every_call_is_throttled_the_key_may_be_used_again(
    http: Http, provider: Provider, table: Table
) -> None:
    provider.answer = lambda _: THROTTLED

    thrown_back = http.post(to("t", "t"), idempotency_key="key")
    provider.reset()
    again = http.post(to("t", "t"), idempotency_key="key")

    assert is_problem(thrown_back, 429, "throttled")
    assert int(thrown_back.headers["retry-after"]) > 0
    assert "TooManyRequestsException" in thrown_back.body["detail"]
    assert (again.status, again.body["replayed"]) == (200, False)
    assert again.body["summary"] == {"recipients": 2, "accepted": 1, "duplicate": 1}
    assert provider.tokens == ["t"]


def test_if_the_service_refuses_the_role_the_key_may_be_used_again_after_the_fix(
    http: Http, provider: Provider, table: Table
) -> None:
    provider.answer = lambda _: FORBIDDEN

    thrown_back = http.post(to(*(f"t{n}" for n in range(250))), idempotency_key="key")
    provider.reset()
    again = http.post(to(*(f"t{n}" for n in range(250))), idempotency_key="key")
    replayed = http.post(to(*(f"t{n}" for n in range(250))), idempotency_key="key")

    assert is_problem(thrown_back, 502, "refused")
    assert "ForbiddenException" in thrown_back.body["detail"]
    assert (again.status, again.body["replayed"]) == (200, False)
    assert again.body["summary"] == {"recipients": 250, "accepted": 250}
    assert replayed.body["replayed"] is True
    assert len(provider.tokens) == 250


def test_a_freed_key_may_be_used_for_another_request(
    http: Http, provider: Provider, table: Table
) -> None:
    provider.answer = lambda _: THROTTLED
    http.post(to("t"), idempotency_key="key")
    provider.reset()

    assert http.post(to("another"), idempotency_key="key").status == 200


def test_a_key_that_could_not_be_freed_expires_after_its_run(
    http: Http, provider: Provider, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answer = lambda _: THROTTLED
    puts: list[Json] = []

    def answer(_: str, call: Json, forward: Forward) -> Reply:
        puts.append(call)
        return forward() if len(puts) == 1 else refusing(500, "InternalServerError")

    table.answer = answer
    thrown_back = http.post(to("t"), idempotency_key="key")
    table.recover()
    provider.reset()
    too_soon = http.post(to("t"), idempotency_key="key")
    table.change(lapses_at={"N": "1"})
    later = http.post(to("t"), idempotency_key="key")

    assert is_problem(thrown_back, 429, "throttled")
    assert "send not remembered" in capsys.readouterr().out
    assert is_problem(too_soon, 409, "key-in-use")
    assert (later.status, later.body["replayed"]) == (200, False)
    assert provider.tokens == ["t"]


def test_freeing_the_rest_of_a_killed_run_keeps_the_record_of_what_it_sent(
    http: Http, provider: Provider, table: Table
) -> None:
    request = to(*(f"t{n}" for n in range(250)))
    http.post(request, idempotency_key="key")
    recorded = 100 * len(table.batch_records)
    table.undo()
    provider.answer = lambda _: THROTTLED

    resumed = http.post(request, idempotency_key="key")
    provider.reset()
    again = http.post(request, idempotency_key="key")

    assert 0 < recorded < 250
    assert resumed.status == 200
    assert resumed.body["summary"]["transient"] == 250 - resumed.body["summary"]["accepted"] > 0
    assert (again.body["replayed"], again.body["summary"]) == (True, resumed.body["summary"])
    assert provider.calls == []


def test_if_some_pushes_were_attempted_there_is_a_report_and_it_is_kept(
    http: Http, provider: Provider, table: Table
) -> None:
    def answer(call: Json) -> Any:
        return THROTTLED if "GCM" in json.dumps(call) else results({"a": accepted("a")})

    provider.answer = answer
    request = to("t")
    request["recipients"].append({"token": "a", "service": "APNS"})

    answered = http.post(request, idempotency_key="key")
    calls = len(provider.calls)
    again = http.post(request, idempotency_key="key")

    assert answered.status == again.status == 200
    assert answered.body["summary"] == {"recipients": 2, "accepted": 1, "transient": 1}
    assert again.body["replayed"] is True
    assert len(provider.calls) == calls


def test_calls_refused_for_different_reasons_give_a_report(
    http: Http, provider: Provider, table: Table
) -> None:
    provider.answer = lambda call: THROTTLED if "GCM" in json.dumps(call) else FORBIDDEN
    request = to("t")
    request["recipients"].append({"token": "a", "service": "APNS"})

    answered = http.post(request, idempotency_key="key")
    again = http.post(request, idempotency_key="key")

    assert answered.body["summary"] == {"recipients": 2, "misconfigured": 1, "transient": 1}
    assert again.body["replayed"] is True


def test_addresses_that_a_provider_throttled_count_as_attempted(
    http: Http, provider: Provider
) -> None:
    provider.answer_each(lambda *_: {"DeliveryStatus": "THROTTLED", "StatusCode": 429})

    answer = http.post(to("t"))

    assert (answer.status, answer.body["summary"]) == (200, {"recipients": 1, "transient": 1})


def test_a_replayed_report_is_answered_with_200_for_all_outcomes(
    http: Http, push: Push, provider: Provider, table: Table
) -> None:
    provider.answer = lambda _: THROTTLED
    push(
        to("t", idempotency_key="key")
    )  # after a direct invocation a refused request keeps its key

    answer = http.post(to("t"), idempotency_key="key")

    assert (answer.status, answer.body["replayed"]) == (200, True)


def test_a_queued_request_is_sent_under_the_id_of_the_answer(
    http: Http,
    provider: Provider,
    account: Account,
    process_queue: ProcessQueue,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = http.post(to("t", "u"), prefer="respond-async")
    sent_at_once = list(provider.calls)
    queued = log_lines(capsys.readouterr().out)
    process_queue()
    handled = log_lines(capsys.readouterr().out)

    assert (answer.status, sent_at_once) == (202, [])
    assert answer.headers["preference-applied"] == "respond-async"
    id_ = answer.body["id"]
    assert id_ == Invocation(1).aws_request_id
    assert answer.body == {"id": id_, "idempotency_key": id_}
    assert provider.tokens == ["t", "u"]
    assert [line["request_id"] for line in queued] == [id_]
    assert [line["request_id"] for line in handled if "request_id" in line] == [id_]
    (result,) = account.sent_events("Push Report")
    assert result["detail"]["request_id"] == result["detail"]["idempotency_key"] == id_


def test_the_ttl_of_a_queued_request_starts_at_its_arrival(http: Http, account: Account) -> None:
    before = time.time() * 1_000

    http.post(to("t", ttl=60), prefer="respond-async")

    (record,) = account.receive()["Records"]
    accepted_at = int(record["messageAttributes"]["push_sender.accepted_at"]["stringValue"])
    assert round(before) <= accepted_at <= time.time() * 1_000


def test_a_request_queued_twice_under_a_key_is_sent_once(
    http: Http, provider: Provider, account: Account, process_queue: ProcessQueue
) -> None:
    first = http.post(to("t"), prefer="respond-async", idempotency_key="key")
    http.post(to("t"), prefer="respond-async", idempotency_key="key")
    process_queue()
    direct = http.post(to("t"), idempotency_key="key")

    assert first.body["idempotency_key"] == "key"
    assert direct.body["replayed"] is True
    assert provider.tokens == ["t"]


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("respond-async", 202),
        ("Respond-Async", 202),
        ("return=minimal, respond-async; wait=10", 202),
        ('foo="a, b", respond-async', 202),
        ("respond-async-please", 200),
        ('foo="respond-async"', 200),
        ('foo="x, respond-async, y"', 200),
        ('foo="never closed, respond-async', 200),
        ('foo="a\\"b", respond-async', 202),
        ("wait=10", 200),
        ("", 200),
    ],
)
def test_the_prefer_header_is_read_as_its_rfc_says(
    http: Http, account: Account, prefer: str, status: int
) -> None:
    assert http.post(to("t"), prefer=prefer).status == status


def test_a_bad_request_is_not_queued(http: Http, account: Account) -> None:
    answer = http.post(to("t", ttl=-1), prefer="respond-async")

    assert is_problem(answer, 400, "invalid-request")
    assert account.receive() == {"Records": []}


def test_a_request_too_large_for_the_queue_is_refused(http: Http, account: Account) -> None:
    recipients = [{"token": f"{n:0250}", "service": "GCM"} for n in range(4_000)]

    answer = http.post({"recipients": recipients, "message": "m"}, prefer="respond-async")

    assert is_problem(answer, 413, "too-large")
    assert account.receive() == {"Records": []}


def test_if_the_queue_is_unreachable_the_answer_does_not_say_queued(
    http: Http, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", refusing_url())

    answer = http.post(to("t"), prefer="respond-async")

    assert is_problem(answer, 503, "queue-unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_without_a_queue_the_request_is_answered_synchronously_with_a_warning(
    http: Http, provider: Provider
) -> None:
    answer = http.post(to("t"), prefer="respond-async")

    assert answer.status == 200
    assert "preference-applied" not in answer.headers
    assert [warning["path"] for warning in answer.body["warnings"]] == ["Prefer"]
    assert provider.tokens == ["t"]


def test_a_dry_run_is_answered_at_once(http: Http, account: Account, provider: Provider) -> None:
    answer = http.post(to("t", dry_run=True), prefer="respond-async")

    assert (answer.status, answer.body["warnings"]) == (200, [])
    assert answer.body["requests"][0]["ApplicationId"] == PROJECT
    assert provider.calls == []
    assert account.receive() == {"Records": []}


def test_throttled_pushes_are_requeued_if_the_request_asks_for_it(
    http: Http, provider: Provider, account: Account
) -> None:
    provider.answer = lambda _: THROTTLED

    answer = http.post(to("t", requeue=True), idempotency_key="key")
    again = http.post(to("t", requeue=True), idempotency_key="key")

    assert (answer.status, answer.body["summary"]) == (200, {"recipients": 1, "requeued": 1})
    keys = {each["body"]["idempotency_key"] for each in account.requeued()}
    assert len(keys) == 1, "what is in the queue twice must be sent once"
    assert again.body["replayed"] is True


def _refused_by_sqs(status: int) -> Callable[[str, Json], tuple[int, Json]]:
    return lambda *_: (status, {"__type": "Broken", "message": "m"})


@pytest.mark.parametrize(
    ("thrown_back", "status", "queue"),
    [
        (FORBIDDEN, 502, "takes"),
        (FORBIDDEN, 502, "none"),
        (THROTTLED, 429, "none"),
        (THROTTLED, 429, "nobody"),
        (THROTTLED, 429, "400"),
    ],
)
def test_a_key_is_freed_if_nothing_was_attempted_or_queued(
    http: Http,
    provider: Provider,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    thrown_back: Reply,
    status: int,
    queue: str,
) -> None:
    provider.answer = lambda _: thrown_back
    with running_service(_refused_by_sqs(400)) as broken:
        if queue == "none":
            monkeypatch.setenv("QUEUE_URL", "")
        elif queue in ("nobody", "400"):
            url = refusing_url() if queue == "nobody" else broken.url
            monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        refused = http.post(to("t", requeue=True), idempotency_key="key")
    provider.reset()

    again = http.post(to("t", requeue=True), idempotency_key="key")

    assert refused.status == status
    assert (again.body["summary"], again.body["replayed"]) == (
        {"recipients": 1, "accepted": 1},
        False,
    )
    assert account.requeued() == []


def test_a_key_is_kept_if_something_may_be_queued(
    http: Http, provider: Provider, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.answer = lambda _: THROTTLED
    with running_service(_refused_by_sqs(500)) as broken:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", broken.url)
        assert http.post(to("t", requeue=True), idempotency_key="key").status == 429
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", account.url)
    provider.reset()

    again = http.post(to("t", requeue=True), idempotency_key="key")

    # A message that may be in the queue already is sent there again, under the same derived key.
    assert (again.body["summary"], again.body["replayed"]) == (
        {"recipients": 1, "requeued": 1},
        True,
    )
    assert provider.tokens == []


def test_outcomes_are_stored_before_anything_is_queued(
    http: Http, provider: Provider, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.answer = lambda _: THROTTLED
    remembered: list[Json] = []

    def take(*_: Any) -> tuple[int, Json]:
        remembered.extend(account.client("dynamodb").scan(TableName=account.table)["Items"])
        return 200, {"MessageId": "m"}

    with running_service(take) as queue:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", queue.url)
        http.post(to("t", requeue=True), idempotency_key="key")

    (record,) = remembered
    assert "outcomes" in record, "a crash here must not send what the queue sends"
    assert int(record["expiration"]["N"]) > time.time()


def test_the_answer_is_ready_before_api_gateway_gives_up(http: Http, provider: Provider) -> None:
    provider.hang()

    late = http.ask(event(json.dumps(to("t")), reached_at=time.time() - 26))
    too_late = http.ask(event(json.dumps(to("t")), reached_at=time.time() - 29.9))

    assert late.body["summary"] == {"recipients": 1, "unknown": 1}
    assert too_late.body["summary"] == {"recipients": 1, "unsent": 1}


@pytest.mark.parametrize("reached_at", [0, 4_000_000_000])
def test_the_deadline_of_an_event_of_another_day_counts_from_its_invocation(
    http: Http, reached_at: float
) -> None:
    answer = http.ask(event(json.dumps(to("t")), reached_at=reached_at))

    assert answer.body["summary"] == {"recipients": 1, "accepted": 1}


@pytest.mark.parametrize("text", ["x" * 5_000, '"\\' * 2_500, "\x01é😀" * 1_000])
def test_a_report_fits_into_lambdas_answer_as_escaped_text(
    push: Push, provider: Provider, text: str
) -> None:
    provider.answer = lambda call: results(
        {
            token: {**accepted(token), "StatusMessage": text, "UpdatedToken": token}
            for token in call["Addresses"]
        }
    )
    recipients = [{"token": f'{n:0180}"\\"', "service": "GCM"} for n in range(5_000)]

    answer = push(event(json.dumps({"recipients": recipients, "message": "m"})))

    assert len(json.dumps(answer)) <= LAMBDA_RESPONSE_BYTES
    assert len(read(answer).body["results"][-1]["status_message"]) > 10


def test_a_dry_run_that_fits_only_without_escaping_is_refused(
    http: Http, push: Push, provider: Provider
) -> None:
    recipients = [{"token": f"t{n}", "service": "GCM", "message": '"' * 600} for n in range(3_000)]
    request = {"recipients": recipients, "dry_run": True}

    assert push(request)["dry_run"] is True
    answer = http.post(request)

    assert is_problem(answer, 400, "invalid-request")
    assert answer.paths == ["dry_run"]


def test_every_kind_of_problem_has_a_section_in_the_documentation() -> None:
    text = (REPOSITORY / "docs" / "http.md").read_text()

    assert [kind.type for kind in KINDS if f"`{kind.type}`" not in text] == []
