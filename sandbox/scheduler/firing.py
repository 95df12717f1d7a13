"""Fire schedules: call their targets when they are due, again if a call fails, and then give up.

Scheduler repeats a failed call for up to a day. Here the waits are short. As Scheduler documents no
errors that it does not repeat, every error is repeated.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Final

from sandbox import clock
from sandbox.scheduler.schedules import LOCK, Schedule, take_due
from sandbox.scheduler.targets import IsAllowed, TargetError, call, send

_PERIOD_SECONDS: Final = 0.1
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0

_DEFAULT_RETRIES: Final = 185
_DEFAULT_AGE_SECONDS: Final = 86_400

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Delivery:
    """The calls of a target for one due schedule.

    Attributes
    ----------
    began
        By the clock that can be moved.
    next_call
        By the monotonic clock.
    """

    schedule: Schedule
    began: float = field(default_factory=clock.now)
    retries: int = 0
    next_call: float = 0.0

    def exhausted_condition(self) -> str | None:
        """Return the limit of the RetryPolicy that is reached, or None."""
        policy = self.schedule.target["RetryPolicy"]
        if self.retries >= policy.get("MaximumRetryAttempts", _DEFAULT_RETRIES):
            return "MaximumRetryAttempts"
        age = clock.now() - self.began
        if age >= policy.get("MaximumEventAgeInSeconds", _DEFAULT_AGE_SECONDS):
            return "MaximumEventAgeInSeconds"
        return None

    def wait(self) -> None:
        """Wait for the next call, longer each time."""
        seconds = _FIRST_WAIT_SECONDS * 2 ** min(self.retries, 10)
        self.next_call = time.monotonic() + min(seconds, _LONGEST_WAIT_SECONDS)
        self.retries += 1


@contextmanager
def firing_schedules(is_allowed: IsAllowed) -> Iterator[None]:
    """Fire schedules in the background, inside the block.

    Parameters
    ----------
    is_allowed
        Judges the execution roles.
    """
    stopping = Event()

    def fire_until_stopped() -> None:
        deliveries: list[_Delivery] = []
        while not stopping.wait(_PERIOD_SECONDS):
            with LOCK:
                deliveries += map(_Delivery, take_due(clock.now()))
                deliveries = [each for each in deliveries if not _is_over(each, is_allowed)]

    thread = Thread(target=fire_until_stopped, name="scheduler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _is_over(delivery: _Delivery, is_allowed: IsAllowed) -> bool:
    """Make the next call if it is time, and return whether it was the last one."""
    schedule = delivery.schedule
    if not schedule.is_kept():
        return True
    if time.monotonic() < delivery.next_call:
        return False
    keywords = _keywords(delivery)
    text = _replaced(schedule.target["Input"], keywords)
    failure = _failure(lambda: call(schedule.target, text, is_allowed))
    if failure:
        condition = delivery.exhausted_condition()
        if condition is None:
            delivery.wait()
            return False
        _give_up(delivery, text, failure, condition, keywords["execution-id"], is_allowed)
    if schedule.action_after_completion == "DELETE":
        schedule.remove()
    return True


def _failure(attempt: Callable[[], None]) -> TargetError | None:
    try:
        attempt()
    except TargetError as error:
        return error
    except Exception as error:  # noqa: BLE001  a failure of moto must not stop other schedules
        return TargetError("InternalServerError", f"It failed with {type(error).__name__}.")
    return None


def _give_up(
    delivery: _Delivery,
    text: str,
    failure: TargetError,
    condition: str,
    execution_id: str,
    is_allowed: IsAllowed,
) -> None:
    """Send the input to the dead-letter queue, with the attributes of the user guide.

    The guide's page is "Configuring a schedule's dead-letter queue in EventBridge Scheduler".
    """
    schedule = delivery.schedule
    texts = {
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": str(failure),
        "EXECUTION_ID": execution_id,
        "EXHAUSTED_RETRY_CONDITION": condition,
        "IS_PAYLOAD_TRUNCATED": "false",  # SQS takes more than the longest input
        "RETRY_ATTEMPTS": str(delivery.retries),
        "SCHEDULED_TIME": _time_of(schedule),
        "SCHEDULE_ARN": schedule.arn,
        "TARGET_ARN": schedule.target["Arn"],
    }
    attributes = {
        name: {"DataType": "String", "StringValue": value} for name, value in texts.items()
    }
    queue = (schedule.target.get("DeadLetterConfig") or {}).get("Arn")
    lost = "it has no dead-letter queue"
    if queue is not None:
        role = schedule.target["RoleArn"]
        refused = _failure(
            lambda: send(queue, text, role, is_allowed, message_attributes=attributes)
        )
        if refused is None:
            return
        lost = f"its dead-letter queue failed: {refused.code}"
    _logger.warning("schedule %s failed: %s, and %s", schedule.name, failure.code, lost)


def _keywords(delivery: _Delivery) -> dict[str, str]:
    """Return the values of the keywords (user guide, "Adding context attributes")."""
    return {
        "schedule-arn": delivery.schedule.arn,
        "scheduled-time": _time_of(delivery.schedule),
        "execution-id": secrets.token_hex(8),
        "attempt-number": str(delivery.retries + 1),
    }


def _replaced(text: str, keywords: Mapping[str, str]) -> str:
    for name, value in keywords.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _time_of(schedule: Schedule) -> str:
    return datetime.fromtimestamp(schedule.due or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
