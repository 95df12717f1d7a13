"""A call in the caller's own thread: made there, ended in time, and nobody else's timer touched."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from push_sender import delivery, time_limit
from push_sender.time_limit import TimeIsUp, within
from tests.invocation import Push
from tests.provider import Provider

ONE = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}
MANY = {"recipients": [{"token": f"t{n}", "service": "GCM"} for n in range(150)], "message": "m"}


def send_threads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Note which threads make the calls."""
    threads = set()
    usual = delivery._Run._call

    def call(run: delivery._Run, attempt: Any) -> Any:
        threads.add(threading.current_thread().name)
        return usual(run, attempt)

    monkeypatch.setattr(delivery._Run, "_call", call)
    return threads


def workers() -> int:
    """Count the threads that a delivery has made."""
    names = [thread.name for thread in threading.enumerate()]
    return sum(name.startswith("ThreadPoolExecutor") for name in names)


def test_a_single_batch_is_sent_from_the_callers_thread_and_several_are_not(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = send_threads(monkeypatch)

    assert push(ONE)["summary"] == {"recipients": 1, "accepted": 1}
    assert threads == {"MainThread"}
    threads.clear()
    assert push(MANY)["summary"] == {"recipients": 150, "accepted": 150}
    assert "MainThread" not in threads


def test_beside_the_main_thread_a_single_batch_is_in_time_too(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = send_threads(monkeypatch)
    provider.hang()
    reports: list[dict[str, Any]] = []

    caller = threading.Thread(target=lambda: reports.append(push(ONE, seconds=2)), name="caller")
    caller.start()
    caller.join(timeout=9)  # without a limit the client would wait for 10 s

    assert not caller.is_alive()
    assert reports[0]["summary"] == {"recipients": 1, "unknown": 1}
    assert threads.isdisjoint({"MainThread", "caller"})


def test_a_call_that_was_broken_off_leaves_nothing_behind(push: Push, provider: Provider) -> None:
    usual, before = signal.getsignal(signal.SIGALRM), workers()
    provider.hang()

    result = push(ONE, seconds=2)["results"][0]

    assert (result["outcome"], result["attempts"]) == ("unknown", 1)
    assert signal.getsignal(signal.SIGALRM) is usual
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert workers() <= before
    provider.reset()
    assert push(ONE)["results"][0]["outcome"] == "accepted"


@pytest.fixture
def somebodys_timer() -> Iterator[threading.Event]:
    """Set the process's timer, as others do to end what takes too long."""
    rang = threading.Event()

    def ring(_: int, frame: FrameType | None) -> None:
        rang.set()

    usual = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    yield rang
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, usual)


def test_a_timer_of_somebody_elses_is_left_alone(
    push: Push,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    somebodys_timer: threading.Event,
) -> None:
    threads = send_threads(monkeypatch)
    provider.hang()

    assert push(ONE, seconds=2)["summary"] == {"recipients": 1, "unknown": 1}

    assert "MainThread" not in threads
    assert somebodys_timer.is_set()


def test_a_limit_breaks_off_what_it_must_and_nothing_else() -> None:
    assert within(30, lambda: "done") == "done"
    with pytest.raises(TimeIsUp):
        within(0.05, lambda: time.sleep(30))
    with pytest.raises(TimeIsUp):  # no time at all is no reason to wait for ever
        within(-1, lambda: time.sleep(30))
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 / 0)
    assert time_limit.is_possible()


def test_a_limit_that_comes_where_exceptions_are_dropped_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: dropped.append(told.exc_type))

    class Dropping:
        def __del__(self) -> None:
            time.sleep(0.2)  # in which the limit comes, and its exception goes nowhere

    def call() -> None:
        dropping = Dropping()
        del dropping
        time.sleep(30)

    with pytest.raises(TimeIsUp):
        within(0.1, call)
    assert dropped == [TimeIsUp]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
