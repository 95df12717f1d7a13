"""Tokens and texts never reach a log, at any level, whatever becomes of the request.

The handler runs in a process of its own whose root logger writes everything at DEBUG, as
Lambda's runtime sets it up for the log level DEBUG, and that prints what escapes from the
handler, as the runtime does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from push_sender import __version__
from push_sender.idempotency.fingerprint import record_id
from push_sender.telemetry.log import token_digest
from tests.support.api_gateway import event
from tests.support.dynamodb import Forward, Table, refusing
from tests.support.function_process import CONTEXT, run_program
from tests.support.invocation import PROJECT, Push, log_lines
from tests.support.loopback import Reply
from tests.support.provider import Json, Provider, accepted, refused, results

CANARY = "KaNaRy"
LONG_NAME = CANARY * 8  # a name as short as a field's is shown, or nobody could find it
DEBUG = {
    "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
    "POWERTOOLS_LOG_LEVEL": "DEBUG",
    "POWERTOOLS_DEBUG": "true",
}

DRIVER = (
    CONTEXT
    + """
import json, logging, sys, traceback
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)
from push_sender.handler import handler

outcomes = []
for event in json.load(sys.stdin):
    try:
        answer = handler(event, Context())
        outcomes.append(answer.get("summary") or [answer["statusCode"], answer["body"]])
    except Exception as error:
        traceback.print_exc()
        outcomes.append(type(error).__name__)
with open(sys.argv[1], "w") as file:
    json.dump(outcomes, file)
"""
)


def run(
    events: list[Any], provider: Provider, tmp_path: Path, **environment: str
) -> tuple[list[Any], str]:
    """Handle events in a process at DEBUG; give what became of each, and all it printed."""
    told = tmp_path / "outcomes.json"
    process = run_program(
        DRIVER,
        str(told),
        stdin=json.dumps(events),
        AWS_ENDPOINT_URL_PINPOINT=provider.url,
        AWS_SECRET_ACCESS_KEY=f"secret-{CANARY}",
        **DEBUG,
        **environment,
    )
    return json.loads(told.read_text()), process.stdout + process.stderr


FULL: Json = {
    "recipients": [
        {
            "token": f"{CANARY}-token",
            "service": "GCM",
            "title": f"{CANARY}-own-title",
            "message": f"{CANARY}-own-message",
            "substitutions": {f"{CANARY}-own-name": [f"{CANARY}-own-value"]},
            "context": {f"{CANARY}-own-context": f"{CANARY}-own-context-value"},
        },
        {"token": f"{CANARY}-other", "service": "APNS", "raw_content": {"aps": CANARY}},
        {"token": f"{CANARY}-adm", "service": "ADM"},
    ],
    "title": f"{CANARY}-title",
    "message": f"{CANARY}-message",
    "action": "URL",
    "url": f"https://{CANARY}.example.com/",
    "priority": "high",
    "ttl": 60,
    "silent": False,
    "image_url": f"https://{CANARY}.example.com/i.png",
    "sound": f"{CANARY}-sound",
    "data": {f"{CANARY}-key": f"{CANARY}-value"},
    "collapse_id": f"{CANARY}-collapse",
    "substitutions": {f"{CANARY}-name": f"{CANARY}-value"},
    "gcm": {"icon_reference": f"{CANARY}-icon", "title": f"{CANARY}-gcm-title"},
    "apns": {"category": f"{CANARY}-category", "thread_id": f"{CANARY}-thread"},
    "baidu": {"small_image_icon_url": f"{CANARY}-small"},
    "adm": {"md5": f"{CANARY}-md5"},
    "context": {f"{CANARY}-context": f"{CANARY}-context-value"},
    "trace_id": f"{CANARY}-trace",
    "idempotency_key": f"{CANARY}-idempotency",
}


def spoiled(request: Json) -> Iterator[Any]:
    """Yield the full request with each of its values, in turn, made wrong in several ways."""
    wrong = [
        {LONG_NAME: [CANARY]},
        [CANARY, {LONG_NAME: CANARY}],
        f"{CANARY}\x00\n{CANARY}",
        f"{CANARY}-{CANARY * 2_000}",
        {"token": CANARY, "service": CANARY, f"{CANARY} {CANARY}": CANARY},
        17,
    ]
    for field in request:
        for value in wrong:
            yield {**request, field: value}
    for part in ("gcm", "apns", "baidu", "adm"):
        for field in request[part]:
            for value in wrong:
                yield {**request, part: {**request[part], field: value}}
        yield {**request, part: {**request[part], LONG_NAME: CANARY}}
    first, *others = request["recipients"]
    for field in first:
        for value in wrong:
            yield {**request, "recipients": [{**first, field: value}, *others]}
    twice = {**first, "title": f"{CANARY}-another"}
    yield {**request, "recipients": [first, twice]}
    yield {**request, "url": f"javascript:{CANARY}"}
    yield {**request, "application_id": f"{CANARY}-project"}
    yield {**request, LONG_NAME: CANARY}
    yield from (CANARY, [CANARY], {LONG_NAME: CANARY})


def test_values_of_invalid_requests_reach_no_log(provider: Provider, tmp_path: Path) -> None:
    events = list(spoiled(FULL))

    outcomes, printed = run(events, provider, tmp_path)

    assert outcomes.count("InvalidRequest") > 150
    assert set(map(str, outcomes)) <= {
        "InvalidRequest",
        "{'recipients': 3, 'accepted': 3}",
    }, "something else escaped"
    assert "InvalidRequest" in printed
    assert CANARY not in printed


def test_values_of_invalid_http_requests_reach_no_log_and_no_answer(
    provider: Provider, tmp_path: Path
) -> None:
    broken = f'{{"title": "{CANARY}", "title": "{CANARY}", "{LONG_NAME}": [' * 2
    events = [
        *(event(json.dumps(request)) for request in spoiled(FULL)),
        event(broken),
        event(f'{{"{LONG_NAME}": 1, "{LONG_NAME}": 2}}'),
        event(broken.encode("utf-16")),
        event(json.dumps(FULL), content_type=CANARY),
        event(json.dumps(FULL), path=f"/{CANARY}", method="PUT"),
        event(json.dumps(FULL), idempotency_key=f"{CANARY}-another"),
        event(json.dumps(FULL), prefer=f"respond-async, {CANARY}"),
    ]

    answers, printed = run(events, provider, tmp_path)

    assert {status for status, _ in answers} == {200, 400, 403, 404, 415}
    problems = [body for status, body in answers if status != 200]
    assert len(problems) > 150
    assert CANARY not in "".join(problems)
    assert CANARY not in printed


def test_tokens_and_texts_of_valid_requests_reach_no_log(
    provider: Provider, tmp_path: Path
) -> None:
    failures = iter(
        [
            lambda call: refused(400, "BadRequestException", json.dumps(call)),
            lambda call: results(
                {
                    token: {
                        "DeliveryStatus": "PERMANENT_FAILURE",
                        "StatusCode": 400,
                        "StatusMessage": json.dumps(call),
                        "UpdatedToken": f"{CANARY}-new",
                    }
                    for token in call["Addresses"]
                }
            ),
            lambda call: refused(500, "InternalServerErrorException", json.dumps(call)),
        ]
    )
    accept = provider.answer
    provider.answer = lambda call: next(failures, accept)(call)

    outcomes, printed = run([FULL, FULL, {**FULL, "dry_run": True}], provider, tmp_path)

    assert [outcome["recipients"] for outcome in outcomes] == [3, 3, 3]
    assert token_digest(f"{CANARY}-token") in printed
    assert CANARY not in printed


def test_keys_and_their_requests_reach_no_log(
    provider: Provider, table: Table, tmp_path: Path
) -> None:
    key = FULL["idempotency_key"]
    events = [
        FULL,  # the last word on it fails
        FULL,
        {**FULL, "title": CANARY},
        {**FULL, "idempotency_key": f"{key}-2"},  # the claim fails
        {**FULL, "idempotency_key": f"{key}-3"},
        {**FULL, "idempotency_key": f"{key}-3"},
    ]
    done: list[Json] = []

    def answer(_: str, call: Json, forward: Forward) -> Reply:
        item = call.get("Item", {})  # which only what is written has
        if "done" in item:
            done.append(call)
        failing = len(done) == 1 and "done" in item
        second = {"S": record_id(PROJECT, f"{key}-2")}
        if failing or item.get("id") == second:
            return refusing(400, "AccessDeniedException")
        return forward()

    table.answer = answer
    provider.answer_each(lambda token, _: {**accepted(token), "StatusMessage": CANARY})

    outcomes, printed = run(
        events,
        provider,
        tmp_path,
        IDEMPOTENCY_TABLE=table.name,
        AWS_ENDPOINT_URL_DYNAMODB=table.url,
    )

    assert outcomes == [
        {"recipients": 3, "accepted": 3},
        "IdempotencyInProgress",
        "IdempotencyConflict",
        "IdempotencyStoreUnavailable",
        {"recipients": 3, "accepted": 3},
        {"recipients": 3, "accepted": 3},
    ]
    assert "send not remembered" in printed
    assert CANARY not in printed


def test_a_log_record_has_outcome_code_and_reason_by_token_digest(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answer_each(
        lambda token, _: {
            "DeliveryStatus": "PERMANENT_FAILURE",
            "StatusCode": 410,
            "StatusMessage": '{"pushProviderError":"Unregistered"}',
        }
    )

    push({"recipient": {"token": "t", "service": "APNS"}, "message": "m"})

    (line,) = log_lines(capsys.readouterr().out)
    assert line["results"] == [
        {
            "token": token_digest("t"),
            "outcome": "dead_token",
            "status_code": 410,
            "reason": "Unregistered",
        }
    ]
    assert (line["push_service"], line["calls"], line["level"]) == ("APNS", 1, "INFO")
    assert line["function_request_id"] == "6f1f2d3c-0000-4000-8000-000000000001"
    assert line["version"] == __version__
