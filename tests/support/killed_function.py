"""The function in processes that a test can kill between any two of its calls.

One process imports the function and reads the models of its clients. It has no threads, so that
each invocation can be a copy of it, made in a few milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.support.function_process import CONTEXT
from tests.support.paths import REPOSITORY

_PROGRAM = (
    CONTEXT
    + """
import json, os, sys

import botocore.session
import tests.support.fast_clients

for service in ("dynamodb", "events", "pinpoint", "s3", "sqs"):
    botocore.session.Session().create_client(service)
import push_sender.clients.s3
import push_sender.entry_points.job
import push_sender.idempotency.claims
import push_sender.idempotency.fingerprint
from push_sender.handler import handler

told = os.dup(1)

def tell(**what):
    os.write(told, json.dumps(what).encode() + b"\\n")

Context.invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:f:jobs"

for line in sys.stdin:
    pid = os.fork()
    if pid:
        tell(pid=pid)
        _, status = os.waitpid(pid, 0)
        tell(killed=os.WIFSIGNALED(status))
        continue
    sys.stdout = open(os.devnull, "w")
    try:
        tell(answer=handler(json.loads(line), Context()))
    except BaseException as error:
        tell(error=type(error).__name__)
    os._exit(0)
"""
)


class KilledFunction:
    """Invokes the function in a process of its own, which ``kill`` ends at once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._pid = 0

    def __call__(self, event: Any) -> Any:
        """Return the answer, the name of the error, or None if it was killed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(event), file=stdin, flush=True)
        found = None
        for line in stdout:
            told = json.loads(line)
            self._pid = told.get("pid", self._pid)
            if "killed" in told:
                return found
            found = told.get("answer", told.get("error", found))
        raise AssertionError("the process of the function has ended")

    def kill(self) -> None:
        """Kill the invocation that is running."""
        os.kill(self._pid, signal.SIGKILL)


@contextmanager
def running_function(environment: Mapping[str, str]) -> Iterator[KilledFunction]:
    """Run the process that the invocations are copies of."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        cwd=REPOSITORY,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield KilledFunction(process)
        assert process.stdin is not None
        process.stdin.close()
