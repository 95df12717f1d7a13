"""Lambda's Invoke in the sandbox: real processes, invoked by stock clients."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.awslambda import urls
from moto.awslambda.models import LambdaBackend, LambdaFunction

from sandbox.functions.invocations import FailedEvent
from sandbox.functions.output import FunctionOutput
from sandbox.functions.service import LambdaService
from sandbox.server import Server
from sandbox.services import running as running_functions
from tests.support.paths import REPOSITORY
from tests.support.service_sandbox import client, eventually, zipped

REGION = "eu-west-1"

FUNCTION = '''
import ctypes, json, logging, os, subprocess, sys, threading, time

TOLD = []

def handler(event, context):
    return globals()[event["do"]](event, context)

def echo(event, context):
    return event

def identify(event, context):
    TOLD.append(1)
    return {"pid": os.getpid(), "invocations": len(TOLD)}

def meet(event, context):
    """Return only when another process is here at the same time."""
    open(os.path.join(event["place"], str(os.getpid())), "w").close()
    while len(os.listdir(event["place"])) < 2:
        time.sleep(0.01)
    return os.getpid()

def wait_for(event, context):
    while not os.path.exists(event["file"]):
        time.sleep(0.01)
    return os.getpid()

def sleep(event, context):
    child = subprocess.Popen(["sleep", "600"])
    with open(event["pids"], "w") as file:
        json.dump([os.getpid(), child.pid], file)
    time.sleep(600)

def leave(event, context):
    print("last words")
    os._exit(event["status"])

def crash(event, context):
    os.kill(os.getpid(), 11)

def fail(event, context):
    raise KeyError("reason")

def speak(event, context):
    print(event["text"])
    print("to stderr", file=sys.stderr)
    logging.getLogger().warning("a warning")
    os.write(1, b"without a newline")

def surroundings(event, context):
    return {"path": sys.path, "environment": dict(os.environ), "folder": os.getcwd(),
            "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.dont_write_bytecode]}

def describe(event, context):
    return {"request_id": context.aws_request_id, "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb,
            "version": context.function_version, "stream": context.log_stream_name,
            "trace": os.environ["_X_AMZN_TRACE_ID"],
            "client": context.client_context and context.client_context.custom}

def allocate(event, context):
    return len(bytearray(b"x") * event["bytes"])

def answer_of(event, context):
    return "x" * event["size"]

def leave_a_file(event, context):
    import tempfile
    return tempfile.mkstemp()[1]
'''


FROM_A_QUEUE = """
def from_a_queue(event, context):
    return handler(json.loads(event["Records"][0]["body"]), context)
"""


@dataclass
class FunctionCaller:
    """Creates functions in a sandbox and invokes them, with stock clients."""

    url: str

    def client(self, service: str) -> Any:
        return client(service, self.url, region_name=REGION)

    def create(self, name: str = "f", code: str = FUNCTION, **settings: Any) -> Any:
        """Create a function."""
        roles = self.client("iam")
        try:
            role = roles.get_role(RoleName="runs")["Role"]
        except ClientError:
            role = roles.create_role(RoleName="runs", AssumeRolePolicyDocument="{}")["Role"]
        usual = {"Handler": "app.handler", "Runtime": "python3.13", "Timeout": 20}
        return self.client("lambda").create_function(
            FunctionName=name,
            Role=role["Arn"],
            Code={"ZipFile": zipped(code, **{"beside/data.txt": "data"})},
            **{**usual, **settings},
        )

    def invoke(self, do: str = "", name: str = "f", **event: Any) -> dict[str, Any]:
        """Have a function do something, whatever comes of it."""
        answer = self.client("lambda").invoke(
            FunctionName=name, LogType="Tail", Payload=json.dumps({"do": do, **event})
        )
        return {**answer, "Payload": json.loads(answer["Payload"].read())}

    def returned(self, do: str, name: str = "f", **event: Any) -> Any:
        """Have a function do something that it can do."""
        answer = self.invoke(do, name, **event)
        assert "FunctionError" not in answer, answer["Payload"]
        return answer["Payload"]


@dataclass
class FunctionSandbox(FunctionCaller):
    """A sandbox of this process, with what can be seen only from within."""

    functions: LambdaService


@pytest.fixture
def start(runtime_packages: Path) -> Iterator[Callable[..., FunctionSandbox]]:
    """Start sandboxes with settings of a test's own."""
    with ExitStack() as stack:

        def start(**settings: Any) -> FunctionSandbox:
            server = stack.enter_context(Server())
            functions = stack.enter_context(
                running_functions(LambdaService(runtime_packages, server.url, **settings))
            )
            return FunctionSandbox(server.url, functions)

        yield start


@pytest.fixture
def sandbox(start: Callable[..., FunctionSandbox]) -> FunctionSandbox:
    """Start a sandbox with one function, `f`."""
    sandbox = start()
    sandbox.create()
    return sandbox


def tail(answer: dict[str, Any]) -> str:
    return base64.b64decode(answer["LogResult"]).decode()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


# Answers to the caller.


def test_a_function_answers_a_stock_client(sandbox: FunctionSandbox) -> None:
    answer = sandbox.invoke("echo", text="hällo", number=1.5)

    assert answer["Payload"] == {"do": "echo", "text": "hällo", "number": 1.5}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer


def test_the_command_line_invokes_a_function(sandbox: FunctionSandbox, tmp_path: Path) -> None:
    event, answer = tmp_path / "event.json", tmp_path / "answer.json"
    event.write_text('{"do": "echo", "text": "hello"}')
    aws = Path(sys.executable).with_name("aws")

    finished = subprocess.run(
        [
            *(str(aws), "lambda", "invoke", "--endpoint-url", sandbox.url),
            *("--function-name", "f", "--payload", f"fileb://{event}", str(answer)),
        ],
        env={
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert json.loads(answer.read_text()) == {"do": "echo", "text": "hello"}
    assert json.loads(finished.stdout)["StatusCode"] == 200


def test_no_payload_is_an_empty_object(sandbox: FunctionSandbox) -> None:
    sandbox.create("plain", "def handler(event, context): return [event]")

    answer = sandbox.client("lambda").invoke(FunctionName="plain")

    assert json.loads(answer["Payload"].read()) == [{}]


def test_the_function_knows_its_context(sandbox: FunctionSandbox) -> None:
    custom = base64.b64encode(json.dumps({"custom": {"from": "tést"}}).encode()).decode()

    answer = sandbox.client("lambda").invoke(
        FunctionName="f", Payload=b'{"do": "describe"}', ClientContext=custom
    )

    result = json.loads(answer["Payload"].read())
    assert result.pop("request_id") == answer["ResponseMetadata"]["RequestId"]
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};.+", result.pop("trace"))
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", result.pop("stream"))
    assert 0 < result.pop("left") <= 20_000
    assert result == {
        "arn": f"arn:aws:lambda:{REGION}:123456789012:function:f",
        "memory": "128",
        "version": "$LATEST",
        "client": {"from": "tést"},
    }


def test_versions_and_aliases_run_their_own_code(sandbox: FunctionSandbox) -> None:
    functions = sandbox.client("lambda")
    code = "def handler(event, context): return [{}, context.invoked_function_arn[-6:]]"
    sandbox.create("numbered", code.format(1))
    functions.publish_version(FunctionName="numbered")
    functions.update_function_code(FunctionName="numbered", ZipFile=zipped(code.format(2)))
    functions.create_alias(FunctionName="numbered", Name="live", FunctionVersion="1")
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:numbered"

    def run(**target: str) -> tuple[Any, str]:
        answer = functions.invoke(**target)
        return json.loads(answer["Payload"].read()), answer["ExecutedVersion"]

    assert run(FunctionName="numbered") == ([2, "mbered"], "$LATEST")
    assert run(FunctionName="numbered", Qualifier="1") == ([1, "ered:1"], "1")
    assert run(FunctionName="numbered", Qualifier="live") == ([1, "d:live"], "1")
    assert run(FunctionName=f"{arn}:live") == ([1, "d:live"], "1")
    assert run(FunctionName="123456789012:function:numbered:1") == ([1, "ered:1"], "1")


def test_an_exception_of_the_function_is_a_function_error(sandbox: FunctionSandbox) -> None:
    answer = sandbox.invoke("fail")

    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"]["errorType"] == "KeyError"
    assert answer["Payload"]["errorMessage"] == "'reason'"
    assert 'raise KeyError("reason")' in answer["Payload"]["stackTrace"][-1]
    assert sandbox.returned("identify")["invocations"] == 1, "the process was not kept"


@pytest.mark.parametrize(
    ("do", "event", "reason"),
    [
        ("leave", {"status": 3}, "Runtime exited with error: exit status 3"),
        ("leave", {"status": 0}, "Runtime exited without providing a reason"),
        ("crash", {}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_process_that_exits_is_an_error_and_the_next_process_is_new(
    sandbox: FunctionSandbox, do: str, event: dict[str, Any], reason: str
) -> None:
    first = sandbox.returned("identify")

    answer = sandbox.invoke(do, **event)

    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"] == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {reason}",
    }
    assert reason in tail(answer)
    after = sandbox.returned("identify")
    assert after["invocations"] == 1
    assert after["pid"] != first["pid"]


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("import moto", "Runtime.ImportModuleError", "No module named 'moto'"),
        ("import sandbox", "Runtime.ImportModuleError", "No module named 'sandbox'"),
        ("import awslambdaric, nothing", "Runtime.ImportModuleError", "No module named 'nothing'"),
        ("def handler(:", "Runtime.UserCodeSyntaxError", "invalid syntax"),
        ("", "Runtime.HandlerNotFound", "Handler 'handler' missing"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
    ],
)
def test_code_that_cannot_be_loaded_is_the_runtimes_own_error(
    sandbox: FunctionSandbox, code: str, error: str, message: str
) -> None:
    sandbox.create("unloadable", code)

    answer = sandbox.invoke(name="unloadable")

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == error
    assert message in answer["Payload"]["errorMessage"]
    assert sandbox.functions.environments("unloadable") == []


def test_the_timeout_kills_the_process_and_its_children(
    start: Callable[..., FunctionSandbox], tmp_path: Path
) -> None:
    sandbox = start()
    sandbox.create(Timeout=1)

    answer = sandbox.invoke("sleep", pids=str(tmp_path / "pids"))

    process, child = json.loads((tmp_path / "pids").read_text())
    assert not is_running(process)
    eventually(lambda: not is_running(child))  # init reaps the orphan
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"] == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert "Task timed out after 1.00 seconds" in tail(answer)
    assert sandbox.returned("identify")["pid"] != process


def test_an_answer_may_have_six_megabytes_and_no_more(sandbox: FunctionSandbox) -> None:
    limit = 6_291_556

    assert sandbox.returned("answer_of", size=limit - 2) == "x" * (limit - 2)
    answer = sandbox.invoke("answer_of", size=limit - 1)

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert sandbox.returned("echo") == {"do": "echo"}, "the function works no more"


# What is refused.


def test_a_request_may_have_six_megabytes_and_an_event_one(sandbox: FunctionSandbox) -> None:
    invoke = sandbox.client("lambda").invoke

    def payload(size: int) -> bytes:
        return b'{"do": "identify", "x": "'.ljust(size - 2, b"x") + b'"}'

    most, too_much = payload(6 * 1024**2), payload(6 * 1024**2 + 1)
    event, too_much_event = payload(1024**2), payload(1024**2 + 1)
    assert "FunctionError" not in invoke(FunctionName="f", Payload=most)
    too_large = ("RequestTooLargeException", 413)
    assert refused(invoke, FunctionName="f", Payload=too_much) == too_large
    later = {"FunctionName": "f", "InvocationType": "Event"}
    assert invoke(Payload=event, **later)["StatusCode"] == 202
    assert refused(invoke, Payload=too_much_event, **later) == too_large


@pytest.mark.parametrize(
    "payload", [b"{", b"{'a': 1}", b"NaN", b"\xff\xfe", b'"\xc3"', b"[" * 100_000]
)
@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
def test_a_payload_that_is_not_json_is_refused(
    sandbox: FunctionSandbox, payload: bytes, kind: str
) -> None:
    invoke = sandbox.client("lambda").invoke

    answer = refused(invoke, FunctionName="f", Payload=payload, InvocationType=kind)

    assert answer == ("InvalidRequestContentException", 400)


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_function_that_does_not_exist_is_not_found(sandbox: FunctionSandbox, kind: str) -> None:
    invoke = sandbox.client("lambda").invoke

    for target in (
        {"FunctionName": "none"},
        {"FunctionName": "f", "Qualifier": "none"},
        {"FunctionName": f"arn:aws:lambda:{REGION}:123456789012:function:f:none"},
    ):
        answer = refused(invoke, InvocationType=kind, **target)
        assert answer == ("ResourceNotFoundException", 404)


def test_a_broken_client_context_is_refused(sandbox: FunctionSandbox) -> None:
    invoke = sandbox.client("lambda").invoke

    answer = refused(invoke, FunctionName="f", ClientContext="no base64!")

    assert answer == ("InvalidRequestContentException", 400)


def test_code_that_is_not_a_zip_file_is_refused(sandbox: FunctionSandbox) -> None:
    functions = sandbox.client("lambda")
    functions.update_function_code(FunctionName="f", ZipFile=b"no zip")

    assert refused(functions.invoke, FunctionName="f") == ("InvalidZipFileException", 502)


def test_a_dry_run_runs_nothing(sandbox: FunctionSandbox) -> None:
    answer = sandbox.client("lambda").invoke(FunctionName="f", InvocationType="DryRun")

    assert answer["StatusCode"] == 204
    assert sandbox.functions.environments("f") == []


def test_a_folder_without_the_runtime_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pip install --target"):
        LambdaService(tmp_path, "http://127.0.0.1:1")


# What the process sees.


def test_the_process_sees_only_its_bundle_and_the_runtime(
    sandbox: FunctionSandbox, runtime_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "secret")
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "of-the-parent")

    seen = sandbox.returned("surroundings")

    task_root, runtime, *standard = seen["path"]
    assert runtime == str(runtime_packages)
    assert seen["folder"] == task_root
    assert all(Path(folder).is_relative_to(sys.base_prefix) for folder in standard)
    assert not any("site-packages" in folder for folder in standard)
    assert seen["flags"] == [1, 1, 1]
    assert "SECRET_OF_THE_PARENT" not in seen["environment"]
    assert "AWS_ROLE_SESSION_NAME" not in seen["environment"]
    assert "PYTHONPATH" not in seen["environment"]


def test_the_process_has_lambdas_environment_variables(
    start: Callable[..., FunctionSandbox], runtime_packages: Path
) -> None:
    sandbox = start()
    own = {"OWN": "ä value", "TZ": "Asia/Tokyo", "AWS_REGION": "moon"}
    sandbox.create(Environment={"Variables": own}, MemorySize=512)

    seen = sandbox.returned("surroundings")
    environment = seen["environment"]

    for made_here in ("AWS_LAMBDA_RUNTIME_API", "TMPDIR", "PATH", "_X_AMZN_TRACE_ID"):
        assert environment.pop(made_here)
    assert environment.pop("AWS_LAMBDA_LOG_STREAM_NAME").split("]")[0].endswith("[$LATEST")
    for credential in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert environment.pop(credential)
    # Where this machine has them: a shared library of Python, no English locale.
    for sometimes in ("LD_LIBRARY_PATH", "LC_CTYPE"):
        environment.pop(sometimes, None)
    assert environment == {
        "OWN": "ä value",
        "TZ": "Asia/Tokyo",
        "LANG": "en_US.UTF-8",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": sandbox.url,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "LAMBDA_RUNTIME_DIR": str(runtime_packages),
        "LAMBDA_TASK_ROOT": seen["folder"],
        "_HANDLER": "app.handler",
    }


def test_a_function_may_set_its_own_endpoint(
    start: Callable[..., FunctionSandbox],
) -> None:
    sandbox = start()
    sandbox.create(Environment={"Variables": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}})

    environment = sandbox.returned("surroundings")["environment"]

    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"


def test_the_credentials_are_those_of_the_functions_role(
    start: Callable[..., FunctionSandbox],
) -> None:
    sandbox = start(credentials=lambda role: {"AWS_ACCESS_KEY_ID": f"key of {role}"})
    role = sandbox.create()["Role"]

    environment = sandbox.returned("surroundings")["environment"]

    assert environment["AWS_ACCESS_KEY_ID"] == f"key of {role}"
    assert "AWS_SESSION_TOKEN" not in environment


def test_a_function_of_another_architecture_runs_too(
    start: Callable[..., FunctionSandbox],
) -> None:
    sandbox = start()
    for number, architecture in enumerate(("arm64", "x86_64")):
        sandbox.create(f"f{number}", Architectures=[architecture])
        assert sandbox.returned("echo", f"f{number}") == {"do": "echo"}


# Processes: warm, several, new ones.


def test_a_warm_process_serves_the_next_invocation(sandbox: FunctionSandbox) -> None:
    first, second = sandbox.returned("identify"), sandbox.returned("identify")

    assert first["pid"] == second["pid"]
    assert (first["invocations"], second["invocations"]) == (1, 2)


def test_concurrent_invocations_run_in_separate_processes(
    sandbox: FunctionSandbox, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as callers:
        calls = [callers.submit(sandbox.returned, "meet", place=str(tmp_path)) for _ in range(2)]
        pids = {call.result() for call in calls}

    assert len(pids) == 2
    assert sandbox.returned("identify")["pid"] in pids
    assert len(sandbox.functions.environments("f")) == 2


def test_changed_code_and_changed_settings_are_picked_up_by_a_new_process(
    sandbox: FunctionSandbox,
) -> None:
    functions = sandbox.client("lambda")
    old = sandbox.returned("identify")["pid"]

    functions.update_function_code(
        FunctionName="f", ZipFile=zipped(FUNCTION + "def news(*_): return os.getpid()")
    )
    new = sandbox.returned("news")
    functions.update_function_configuration(
        FunctionName="f", Environment={"Variables": {"CHANGED": "yes"}}
    )
    newest = sandbox.returned("surroundings")["environment"]

    assert new != old
    assert newest["CHANGED"] == "yes"
    assert not is_running(old)
    assert not is_running(new)
    assert len(sandbox.functions.environments("f")) == 1


def test_invocations_beyond_the_concurrency_limit_are_refused(
    start: Callable[..., FunctionSandbox], tmp_path: Path
) -> None:
    sandbox = start(max_environments=1)
    sandbox.create()
    end = tmp_path / "end"

    with ThreadPoolExecutor() as callers:
        running = callers.submit(sandbox.returned, "wait_for", file=str(end))
        eventually(lambda: sandbox.functions.environments("f"))
        answer = refused(sandbox.invoke, do="echo")
        end.touch()
        running.result()

    assert answer == ("TooManyRequestsException", 429)
    assert sandbox.returned("echo") == {"do": "echo"}


def test_a_function_with_a_reserved_concurrency_of_zero_is_stopped(
    sandbox: FunctionSandbox,
) -> None:
    functions = sandbox.client("lambda")

    functions.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)
    assert refused(sandbox.invoke, do="echo") == ("TooManyRequestsException", 429)

    functions.delete_function_concurrency(FunctionName="f")
    assert sandbox.returned("echo") == {"do": "echo"}


def test_an_idle_process_is_ended(start: Callable[..., FunctionSandbox]) -> None:
    sandbox = start(idle_seconds=0.2)
    sandbox.create()
    pid = sandbox.returned("identify")["pid"]

    eventually(lambda: not is_running(pid))

    assert sandbox.returned("identify")["pid"] != pid


# Asynchronous invocations.


def test_an_asynchronous_event_is_accepted_immediately_and_runs_in_the_background(
    sandbox: FunctionSandbox, tmp_path: Path
) -> None:
    end = tmp_path / "end"

    answer = sandbox.client("lambda").invoke(
        FunctionName="f",
        InvocationType="Event",
        Payload=json.dumps({"do": "wait_for", "file": str(end)}),
    )

    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert not end.exists(), "the caller was made to wait"
    end.touch()
    request_id = answer["ResponseMetadata"]["RequestId"]
    eventually(lambda: f"END RequestId: {request_id}" in sandbox.functions.logs("f"))


def test_asynchronous_events_wait_instead_of_being_refused(
    start: Callable[..., FunctionSandbox], tmp_path: Path
) -> None:
    sandbox = start(max_environments=1)
    sandbox.create()
    end = tmp_path / "end"

    with ThreadPoolExecutor() as callers:
        running = callers.submit(sandbox.returned, "wait_for", file=str(end))
        eventually(lambda: sandbox.functions.environments("f"))
        for number in range(3):
            sandbox.client("lambda").invoke(
                FunctionName="f",
                InvocationType="Event",
                Payload=json.dumps({"do": "speak", "text": f"event {number}"}),
            )
        end.touch()
        running.result()

    def output() -> list[str]:
        return sorted(line for line in sandbox.functions.logs("f") if line.startswith("event"))

    eventually(lambda: output() == [f"event {number}" for number in range(3)])


def test_a_failed_event_is_reported_unchanged(
    start: Callable[..., FunctionSandbox], caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[FailedEvent] = []
    sandbox = start(on_failed_event=failed.append, retry_seconds=(0.0, 0.0))
    sandbox.create()
    payload = b'{"do":   "fail", "text": "confidential"}'

    for event in (b'{"do": "echo"}', payload):
        answer = sandbox.client("lambda").invoke(
            FunctionName="f", InvocationType="Event", Payload=event
        )

    eventually(lambda: failed)
    assert [event.payload for event in failed] == [payload]
    assert failed[0].request_id == answer["ResponseMetadata"]["RequestId"]
    assert failed[0].attempts == 3
    assert json.loads(failed[0].answer or b"{}")["errorType"] == "KeyError"
    assert failed[0].request_id in caplog.text
    assert "confidential" not in caplog.text


def test_a_stop_gives_up_events_without_a_try(
    start: Callable[..., FunctionSandbox], tmp_path: Path
) -> None:
    failed: list[FailedEvent] = []
    sandbox = start(on_failed_event=failed.append, max_environments=1)
    sandbox.create()
    functions, end = sandbox.client("lambda"), tmp_path / "end"
    payloads = [b'{"do":  "echo", "n": 1}', b'{"do":  "echo", "n": 2}']

    with ThreadPoolExecutor() as callers:
        running = callers.submit(sandbox.returned, "wait_for", file=str(end))
        eventually(lambda: sandbox.functions.environments("f"))
        functions.invoke(FunctionName="f", InvocationType="Event", Payload=payloads[0])
        functions.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)
        functions.invoke(FunctionName="f", InvocationType="Event", Payload=payloads[1])
        eventually(lambda: len(failed) == len(payloads))
        end.touch()
        running.result()

    assert sorted(event.payload for event in failed) == payloads
    assert {(event.answer, event.attempts) for event in failed} == {(None, 0)}
    functions.delete_function_concurrency(FunctionName="f")
    assert sandbox.returned("echo") == {"do": "echo"}


# Logs.


def test_all_output_is_in_the_tail_and_in_cloudwatch(sandbox: FunctionSandbox) -> None:
    answer = sandbox.invoke("speak", text="hällo")

    request_id = answer["ResponseMetadata"]["RequestId"]
    lines = tail(answer).splitlines()
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[1:3] == ["hällo", "to stderr"]
    assert lines[3].endswith(f"{request_id}\ta warning")
    assert lines[4:6] == ["without a newline", f"END RequestId: {request_id}"]
    assert re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t"
        r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms",
        lines[6],
    )
    assert sandbox.functions.logs("f") == lines
    kept = sandbox.client("logs").filter_log_events(logGroupName="/aws/lambda/f")["events"]
    assert [event["message"] for event in kept] == lines


def test_output_stands_before_the_end_line() -> None:
    lines: list[str] = []
    read_end, write_end = os.pipe()
    output = FunctionOutput(read_end, lines.append)

    os.write(write_end, b"first\nunfinished")
    output.write("END")  # the pipe was not read until now
    os.write(write_end, b"later\nlast words")
    output.close()
    os.close(write_end)

    assert lines == ["first", "unfinished", "END", "later", "last words"]
    assert output.take_tail() == b"first\nunfinished\nEND\nlater\nlast words\n"


def test_only_a_cold_start_reports_its_duration(sandbox: FunctionSandbox) -> None:
    cold, warm = tail(sandbox.invoke("echo")), tail(sandbox.invoke("echo"))

    assert "Init Duration" in cold
    assert "Init Duration" not in warm


def test_the_tail_has_four_kilobytes_and_is_returned_on_request_only(
    sandbox: FunctionSandbox,
) -> None:
    answer = sandbox.invoke("speak", text="x" * 10_000)
    silent = sandbox.client("lambda").invoke(FunctionName="f", Payload=b'{"do": "echo"}')

    assert len(base64.b64decode(answer["LogResult"])) == 4096
    assert "REPORT" in tail(answer)
    assert "LogResult" not in silent


def test_the_reported_memory_is_that_of_the_process(sandbox: FunctionSandbox) -> None:
    def used(answer: dict[str, Any]) -> int:
        match = re.search(r"Max Memory Used: (\d+) MB", tail(answer))
        assert match
        return int(match[1])

    before = used(sandbox.invoke("echo"))
    during = used(sandbox.invoke("allocate", bytes=50 * 1024**2))

    assert 5 < before < 50
    assert 45 <= during - before <= 60


def test_a_function_that_logs_json_gets_json_from_lambda_too(
    start: Callable[..., FunctionSandbox],
) -> None:
    sandbox = start()
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "LogGroup": "/push"}
    sandbox.create(LoggingConfig=logging)

    answer = sandbox.invoke("speak", text='{"own": "line"}')
    environment = sandbox.returned("surroundings")["environment"]

    lines = tail(answer).splitlines()
    begun, own, warning, report = (json.loads(lines[number]) for number in (0, 1, 3, -1))
    assert (begun["type"], own) == ("platform.start", {"own": "line"})
    assert (warning["level"], warning["message"]) == ("WARNING", "a warning")
    assert report["type"] == "platform.report"
    assert report["record"]["metrics"]["maxMemoryUsedMB"] > 5
    assert environment["AWS_LAMBDA_LOG_LEVEL"] == "WARN"
    assert environment["AWS_LAMBDA_LOG_GROUP_NAME"] == "/push"
    assert sandbox.client("logs").filter_log_events(logGroupName="/push")["events"]
    described = sandbox.client("lambda").get_function_configuration(FunctionName="f")
    assert described["LoggingConfig"] == logging


def test_log_lines_can_be_followed_live(
    start: Callable[..., FunctionSandbox], tmp_path: Path
) -> None:
    seen: list[tuple[str, str]] = []
    sandbox = start(echo=lambda name, line: seen.append((name, line)))
    sandbox.create(code=FUNCTION.replace("while not", "print('waiting')\n    while not"))
    end = tmp_path / "end"

    with ThreadPoolExecutor() as callers:
        running = callers.submit(sandbox.returned, "wait_for", file=str(end))
        eventually(lambda: ("f", "waiting") in seen)
        end.touch()
        running.result()


# CloudFormation, and moto's other services.


def test_a_function_from_a_template_runs_with_its_settings(
    start: Callable[..., FunctionSandbox],
) -> None:
    sandbox = start()
    sandbox.create("only-for-its-role")
    role = sandbox.client("iam").get_role(RoleName="runs")["Role"]["Arn"]
    code = "import os\ndef handler(event, context): return [os.environ['X'], event]"
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": "deployed",
            "Handler": "index.handler",
            "Runtime": "python3.13",
            "Role": role,
            "Code": {"ZipFile": code},
            "Environment": {"Variables": {"X": "y"}},
            "LoggingConfig": {"LogFormat": "JSON"},
        },
    }
    stacks = sandbox.client("cloudformation")
    stacks.create_stack(StackName="s", TemplateBody=json.dumps({"Resources": {"F": function}}))

    answer = sandbox.invoke("x", name="deployed")

    assert answer["Payload"] == ["y", {"do": "x"}]
    assert '"platform.report"' in tail(answer)


def test_other_services_invoke_a_function(sandbox: FunctionSandbox) -> None:
    topics = sandbox.client("sns")
    topic = topics.create_topic(Name="t")["TopicArn"]
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:told"
    sandbox.create("told", "def handler(e, c): print(e['Records'][0]['Sns']['Message'])")
    topics.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)

    topics.publish(TopicArn=topic, Message="news from the topic")

    eventually(lambda: "news from the topic" in sandbox.functions.logs("told"))


def test_a_failing_subscriber_affects_neither_the_publisher_nor_other_subscribers(
    sandbox: FunctionSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    topics, queues = sandbox.client("sns"), sandbox.client("sqs")
    topic = topics.create_topic(Name="t")["TopicArn"]
    url = queues.create_queue(QueueName="told")["QueueUrl"]
    account = f"{REGION}:123456789012"
    for protocol, endpoint in (
        ("sqs", f"arn:aws:sqs:{account}:gone"),
        ("lambda", f"arn:aws:lambda:{account}:function:gone"),
        ("lambda", f"arn:aws:lambda:{account}:function:x:y:z"),
        ("sqs", f"arn:aws:sqs:{account}:told"),
    ):
        topics.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)

    topics.publish(TopicArn=topic, Message="news")

    assert len(queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 1
    assert "function:gone got nothing" in caplog.text


def test_a_slow_subscriber_does_not_delay_the_publisher(
    sandbox: FunctionSandbox, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    code = f"""
import os, time
def handler(event, context):
    while not os.path.exists({str(go)!r}):
        time.sleep(0.01)
    print("done at last")
"""
    sandbox.create("slow", code)
    topics = sandbox.client("sns")
    topic = topics.create_topic(Name="t")["TopicArn"]
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:slow"
    topics.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)

    topics.publish(TopicArn=topic, Message="news")  # which would wait for the file for ever

    go.touch()
    eventually(lambda: "done at last" in sandbox.functions.logs("slow"))


# The end.


def test_closing_leaves_no_process_thread_or_file(
    runtime_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = set(threading.enumerate())
    pids = tmp_path / "pids"

    with ThreadPoolExecutor() as callers:
        with (
            Server() as server,
            running_functions(LambdaService(runtime_packages, server.url)) as functions,
        ):
            sandbox = FunctionSandbox(server.url, functions)
            sandbox.create()
            warm = sandbox.returned("identify")["pid"]
            left = sandbox.returned("leave_a_file")
            assert Path(left).is_relative_to(tmp_path / "temporary")
            running = callers.submit(refused, sandbox.invoke, do="sleep", pids=str(pids))
            eventually(lambda: pids.exists() and pids.read_text())
        assert running.result() == ("ServiceException", 500)

    busy, child = json.loads(pids.read_text())
    assert warm == busy, "the sleeper should have used the warm process"
    assert not is_running(busy)
    eventually(lambda: not is_running(child))
    assert list((tmp_path / "temporary").iterdir()) == []
    assert set(threading.enumerate()) <= before


def test_a_retry_that_waits_at_the_end_is_forgotten(runtime_packages: Path) -> None:
    before = set(threading.enumerate())
    failed: list[FailedEvent] = []

    with (
        Server() as server,
        running_functions(
            LambdaService(
                runtime_packages,
                server.url,
                on_failed_event=failed.append,
                retry_seconds=(3600.0, 3600.0),
            )
        ) as functions,
    ):
        sandbox = FunctionSandbox(server.url, functions)
        sandbox.create()
        sandbox.client("lambda").invoke(
            FunctionName="f", InvocationType="Event", Payload=b'{"do": "fail"}'
        )
        eventually(
            lambda: [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
        )

    assert not failed
    assert set(threading.enumerate()) <= before


def test_a_batch_in_progress_at_the_end_stays_in_its_queue(
    runtime_packages: Path, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    pids = tmp_path / "pids"

    with (
        Server() as server,
        running_functions(LambdaService(runtime_packages, server.url)) as functions,
    ):
        sandbox = FunctionSandbox(server.url, functions)
        sandbox.create(code=FUNCTION + FROM_A_QUEUE, Handler="app.from_a_queue")
        queues = sandbox.client("sqs")
        url = queues.create_queue(QueueName="queue")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:123456789012:queue"
        sandbox.client("lambda").create_event_source_mapping(FunctionName="f", EventSourceArn=arn)
        queues.send_message(
            QueueUrl=url, MessageBody=json.dumps({"do": "sleep", "pids": str(pids)})
        )
        eventually(lambda: pids.exists() and pids.read_text())
        functions.close()
        result = queues.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )
        assert result["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": "1"}

    assert set(threading.enumerate()) <= before


def test_the_changes_to_moto_are_undone_at_the_end(runtime_packages: Path) -> None:
    def motos_own() -> list[Any]:
        names = ("invoke", "__init__", "create_from_cloudformation_json")
        methods = [vars(LambdaFunction)[name] for name in names]
        return [dict(urls.url_paths), vars(LambdaBackend)["invoke"], *methods]

    before = motos_own()

    with running_functions(LambdaService(runtime_packages, "http://127.0.0.1:9")):
        assert all(new != old for new, old in zip(motos_own(), before, strict=True))

    assert motos_own() == before


PROGRAM = """
import sys, signal
from pathlib import Path
from moto.awslambda import urls
from moto.awslambda.models import LambdaBackend, LambdaFunction

from sandbox.functions.output import FunctionOutput
from sandbox.functions.service import LambdaService
from sandbox.server import Server, ended_by_signals
from sandbox.services import running

with (
    ended_by_signals(),
    Server() as server,
    running(LambdaService(Path(sys.argv[1]), server.url)),
):
    print(server.url, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killing_the_sandbox_ends_its_processes(
    runtime_packages: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(runtime_packages)],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        sandbox = FunctionCaller(url=program.stdout.readline().strip())
        sandbox.create()
        sandbox.client("lambda").invoke(
            FunctionName="f",
            InvocationType="Event",
            Payload=json.dumps({"do": "sleep", "pids": str(pids)}),
        )
        eventually(lambda: pids.exists() and pids.read_text())
        process, child = json.loads(pids.read_text())
        assert is_running(process)
        assert is_running(child)

        program.send_signal(number)
        program.wait(timeout=20)

    eventually(lambda: not is_running(process))
    eventually(lambda: not is_running(child))
    if number != signal.SIGKILL:
        assert program.returncode == 0
        assert [path.name for path in tmp_path.iterdir()] == ["pids"]
