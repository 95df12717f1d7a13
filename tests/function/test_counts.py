"""Counts that make the function slow or dear when they grow, guarded without a clock.

The size of the archive is guarded where it is built, in the tests of the bundle.
"""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from tests.support.api_gateway import event
from tests.support.function_process import CONTEXT, run_program
from tests.support.invocation import Push, log_lines, metric_lines
from tests.support.provider import Provider

MODULES = 434
"""Modules of a cold direct invocation, the standard library's included (bare boto3: 362)."""

HTTP_MODULES = 542
"""Those of a cold invocation over HTTP: Powertools' event handler brings along what it has for
other services, too."""

CALLS_OF_ONE = 2_545
"""Calls of Python and C functions for one warm push, of which botocore's are some 1,800."""

CALLS_OF_A_TOKEN = 64
"""And for each further recipient of a request."""

COLD_START = (
    CONTEXT
    + """
import gc, json, sys
event = json.load(sys.stdin)
before = set(sys.modules)
from push_sender.handler import handler

handler(event, Context())
from botocore.client import BaseClient
clients = sum(isinstance(one, BaseClient) for one in gc.get_objects())
print(json.dumps({"modules": sorted(set(sys.modules) - before), "clients": clients}))
"""
)


REQUEST = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}


def run_counted(
    program: str, provider: Provider, *arguments: str, stdin: str = "", **environment: str
) -> Any:
    """Run a program that counts in a new process; give the JSON of its last line."""
    process = run_program(
        program, *arguments, stdin=stdin, AWS_ENDPOINT_URL_PINPOINT=provider.url, **environment
    )
    return json.loads(process.stdout.splitlines()[-1])


def cold_start(event: Any, provider: Provider) -> tuple[list[str], int]:
    """Handle an event in a new process; give the modules it imported and its clients."""
    counted = run_counted(COLD_START, provider, stdin=json.dumps(event))
    return counted["modules"], counted["clients"]


def test_a_cold_direct_invocation_imports_little_and_makes_one_client(provider: Provider) -> None:
    modules, clients = cold_start(REQUEST, provider)

    assert clients == 1
    assert len(modules) <= MODULES
    for needless in ("boto3", "aws_xray_sdk", "aws_lambda_powertools.event_handler", "difflib"):
        assert needless not in modules
    assert not [name for name in modules if name.startswith("push_sender.schedules")]


def test_a_cold_invocation_over_http_makes_one_client_and_no_document(provider: Provider) -> None:
    modules, clients = cold_start(event(json.dumps(REQUEST)), provider)

    assert clients == 1
    assert len(modules) <= HTTP_MODULES
    for needless in (
        "boto3",
        "push_sender.entry_points.openapi",
        "push_sender.idempotency.store",
        "push_sender.follow_up.events",
        "push_sender.schedules.group",
    ):
        assert needless not in modules


CALLS = (
    CONTEXT
    + """
import itertools, json, sys, threading

calls = itertools.count()

def count(frame, event, arg):
    if event in ("call", "c_call"):
        next(calls)

threading.setprofile(count)  # the workers', which are started later
from push_sender.handler import handler

def calls_of(recipients):
    everyone = [{"token": f"token-{n}", "service": "GCM"} for n in range(recipients)]
    request = {"recipients": everyone, "message": "m"}
    handler(request, Context())
    before = next(calls)
    sys.setprofile(count)
    handler(request, Context())
    sys.setprofile(None)
    return next(calls) - before

print(json.dumps([calls_of(recipients) for recipients in map(int, sys.argv[1:])]))
"""
)


def test_a_push_and_each_further_token_take_few_function_calls(provider: Provider) -> None:
    few, many, *ones = run_counted(CALLS, provider, "1000", "3000", *["1"] * 5)

    # The fewest of five: a push whose answer is late makes some calls more while it waits.
    assert min(ones) <= CALLS_OF_ONE
    assert (many - few) / 2_000 <= CALLS_OF_A_TOKEN


GARBAGE = (
    CONTEXT
    + """
import gc, json, sys

def collections():
    return sum(generation["collections"] for generation in gc.get_stats())

before = collections()
from push_sender.handler import handler

def send(recipients):
    everyone = [{"token": f"token-{n}", "service": "GCM"} for n in range(recipients)]
    handler({"recipients": everyone, "message": "m"}, Context())
    return collections() - before

counted = [send(1), send(5_000)]
gc.collect()
print(json.dumps([*counted, len(gc.get_objects()), gc.get_threshold()[0]]))
"""
)


def test_in_lambda_garbage_collection_looks_at_few_objects(provider: Provider) -> None:
    cold, large, objects, _ = run_counted(
        GARBAGE, provider, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand"
    )

    assert cold <= 3  # without what is done for it: 37
    assert large <= 5  # and 47
    assert objects <= 5_000  # of 75,000: the others are frozen


def test_outside_lambda_garbage_collection_is_left_as_it_is(provider: Provider) -> None:
    *_, threshold = run_counted(GARBAGE, provider)

    assert threshold == gc.get_threshold()[0]


def test_5000_recipients_over_http_take_as_many_calls_and_log_records_as_directly(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    recipients = [{"token": f"t{n}", "service": "GCM"} for n in range(5_000)]

    push(event(json.dumps({"recipients": recipients, "message": "m"})))

    output = capsys.readouterr().out
    assert len(provider.calls) == 50
    assert len(log_lines(output)) == 50
    assert len(metric_lines(output)) == 1


def test_5000_recipients_take_50_calls_50_log_records_and_one_metric_record(
    push: Push, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    recipients = [{"token": f"t{n}", "service": "GCM"} for n in range(5_000)]

    push({"recipients": recipients, "message": "m"})

    output = capsys.readouterr().out
    assert len(provider.calls) == 50
    assert len(log_lines(output)) == 50
    assert len(metric_lines(output)) == 1
    assert len(output) < 5_000 * 100, "bytes of log a token"


def test_a_warm_invocation_makes_no_further_client(push: Push, provider: Provider) -> None:
    import gc

    from botocore.client import BaseClient

    for door in (REQUEST, event(json.dumps(REQUEST))):
        push(door)
    before = {id(one) for one in gc.get_objects() if isinstance(one, BaseClient)}
    for door in (REQUEST, event(json.dumps(REQUEST))):
        push(door)
    after = {id(one) for one in gc.get_objects() if isinstance(one, BaseClient)}

    assert after <= before
