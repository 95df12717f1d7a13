"""One run from the first request to the verdict."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.bundle import SOURCE
from soak.callers import Callers, UnexpectedError
from soak.environment import World, running_world
from soak.fast_queue import lapsing
from soak.faults import Faults
from soak.ledger import Ledger
from soak.plan import Asked
from soak.verdict import Verdict, judge

CALLERS: Final = 8
"""Who asks at once."""

_LOOK_SECONDS: Final = 0.5
_QUIET_LOOKS: Final = 4


class TimeIsUpError(Exception):
    """A run did not come to its end in the time that it was given."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run, and how long it took."""

    verdict: Verdict
    ledger: Ledger
    seconds: float


def run(
    requests: Sequence[Asked],
    faults: Faults,
    *,
    minutes: float,
    source: Path = SOURCE,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Ask for everything, let all come to its end, and judge.

    Parameters
    ----------
    requests
        What is asked for.
    faults
        What goes wrong meanwhile.
    minutes
        How long it may take at most, the start of the sandbox not counted.
    source
        The function's.
    tell
        Is told how far it is.

    Raises
    ------
    TimeIsUpError
        If something does not come to an end.
    UnexpectedError
        If the function talks to another machine.
    """
    twice = {str(asked.request["title"]) for asked in requests if asked.twice}

    def comes_twice(body: Any) -> bool:
        request = body.get("detail", body)
        return isinstance(request, dict) and request.get("title") in twice

    of_request = {
        recipient["token"]: asked.number for asked in requests for recipient in asked.recipients
    }
    with running_world(faults, of_request, source=source, tell=tell) as world:
        began = time.monotonic()
        end = began + minutes * 60
        queue = world.deployment.outputs["QueueArn"]
        try:
            with lapsing(queue, comes_twice):
                _ask_all(world, requests, end, tell)
                settle(world, end, tell, "working off what was put on the queue")
                world.provider.mend()
                letters, before = world.dead_letters(), set[str]()
                while letters and set(letters) != before:
                    before = set(letters)
                    tell("mended; sending the dead letters again")
                    world.redrive()
                    settle(world, end, tell, "working off what was sent again")
                    letters = world.dead_letters()
        except TimeIsUpError as error:
            raise TimeIsUpError(f"{error}{_so_far(requests, world.ledger)}") from error
        verdict = judge(requests, world.ledger, letters)
        return Outcome(verdict, world.ledger, time.monotonic() - began)


def _so_far(requests: Sequence[Asked], ledger: Ledger) -> str:
    """Say what is broken in a run that did not end; who is nowhere may only be under way."""
    found = Counter(breach.what for breach in judge(requests, ledger, ()).breaches)
    del found["lost"]
    return "".join(f", {times:,} {what}" for what, times in sorted(found.items()))


def look(world: World) -> int:
    """Take in the events that were told meanwhile, and see that nothing leaves this machine.

    Raises
    ------
    UnexpectedError
        If the function talks to anybody else.
    """
    if strangers := world.strangers():
        raise UnexpectedError(f"the function talks to {', '.join(strangers)}")
    return world.listen()


def _ask_all(
    world: World, requests: Sequence[Asked], end: float, tell: Callable[[str], None]
) -> None:
    callers = Callers(world.deployment, world.ledger)
    done = 0
    with ThreadPoolExecutor(CALLERS, thread_name_prefix="caller") as pool:
        under_way: list[Future[None]] = [pool.submit(callers.ask, asked) for asked in requests]
        try:
            while under_way:
                time.sleep(_LOOK_SECONDS)
                look(world)
                for future in [each for each in under_way if each.done()]:
                    under_way.remove(future)
                    future.result()
                done = len(requests) - len(under_way)
                left = end - time.monotonic()
                tell(
                    f"{done:,} of {len(requests):,} requests asked, {world.waiting():,} in the "
                    f"queue; {left / 60:.0f} minutes left at most"
                )
                if left < 0:
                    raise TimeIsUpError(f"{len(under_way):,} requests have no answer")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def settle(world: World, end: float, tell: Callable[[str], None], what: str) -> None:
    """Wait until the queue has been empty for a while, and nothing is told any more."""
    quiet = 0
    while quiet < _QUIET_LOOKS:
        time.sleep(_LOOK_SECONDS)
        told, waiting = look(world), world.waiting()
        quiet = 0 if told or waiting or world.working() else quiet + 1
        left = end - time.monotonic()
        tell(f"{what}: {waiting:,} messages; {left / 60:.0f} minutes left at most")
        if left < 0:
            raise TimeIsUpError(f"{waiting:,} messages are not worked off")
