"""Calling the function that is deployed in a sandbox."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment


def invoke(deployment: Deployment, event: Any) -> Any:
    answer = client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name, Payload=json.dumps(event)
    )
    return json.loads(answer["Payload"].read())


def push(deployment: Deployment, service: str = "GCM") -> dict[str, Any]:
    """Push to a device of a service, and give the result."""
    recipient = {"token": "any-device", "service": service}
    report = invoke(deployment, {"recipient": recipient, "message": "m"})
    result: dict[str, Any] = report["results"][0]
    return result


def within(seconds: float, done: Callable[[], bool]) -> bool:
    """Wait for something that happens in the background; give whether it did."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
