"""The demonstration: AWS's own example through all four services, each failure, the registry.

It shows the reports as tables, what a push does to the registry of devices, and the commands to
try next.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sandbox.stack.account import REGION, client
from sandbox.stack.deployment import Deployment

REPOSITORY: Final = Path(__file__).resolve().parent.parent
FIRST_PUSH: Final = Path("examples/first-push.json")
EVERY_OUTCOME: Final = Path("examples/every-outcome.json")

_OUTCOMES: Final = {
    "accepted": ("green", "the provider accepted it"),
    "dead_token": ("red", "the app was removed from the device: delete the token"),
    "invalid_token": (
        "yellow",
        "malformed, or of the other environment: keep it, check the environment",
    ),
    "misconfigured": ("magenta", "the operator must fix the configuration; the token is fine"),
    "rejected": ("red", "the message is wrong: fix it"),
    "opted_out": ("cyan", "the user opted out: nothing to do"),
    "duplicate": ("cyan", "listed twice, sent once: nothing to do"),
    "transient": ("yellow", "throttled or failed after all retries: send again later"),
    "unknown": ("yellow", "no usable answer, so it may have arrived: decide whether to send again"),
    "unsent": ("yellow", "not sent: the time was over"),
}
"""Each outcome's colour, and its meaning for the caller."""

_USER: Final = "ann"
_KEPT: Final = "new-phone"
_DEVICES: Final = {
    _KEPT: {"token": "sandbox-accepted-new", "service": "GCM"},
    "old-phone": {"token": "sandbox-unregistered-old", "service": "APNS"},
}
"""The devices that the demonstration registers. The second one no longer has the app."""

_UPKEEP_SECONDS: Final = 30.0


def show(deployment: Deployment, console: Console) -> bool:
    """Push the two examples and show their reports, then show the registry.

    Returns
    -------
    bool
        Whether the first push was accepted by all four services, and the registry kept the right
        device.
    """
    first = invoke(deployment, (REPOSITORY / FIRST_PUSH).read_bytes())
    console.print(report_table("AWS's own example, through all four services", first))
    console.print()
    second = invoke(deployment, (REPOSITORY / EVERY_OUTCOME).read_bytes())
    console.print(report_table("When pushes fail: one outcome for each token", second))
    console.print()
    for outcome in second["summary"]:
        if outcome in _OUTCOMES:
            style, meaning = _OUTCOMES[outcome]
            console.print(f"  [{style}]{outcome:<13}[/{style}]  {meaning}")
    kept_the_right_one = not _has_registry(deployment) or _show_registry(deployment, console)
    return first["summary"] == {"recipients": 4, "accepted": 4} and kept_the_right_one


def _show_registry(deployment: Deployment, console: Console) -> bool:
    """Register two devices of a person, push to the person, and show which device is left."""
    console.print(
        "\n[bold]The registry of devices: a push to a dead token deletes its device[/bold]"
    )
    for device_id, device in _DEVICES.items():
        path = f"/devices/{device_id}"
        status, _ = _ask(deployment, "PUT", path, {**device, "user_id": _USER})
        console.print(f"  PUT {path:<20}  {status}, a device of {_USER}")
    person = {"user_id": _USER}
    request = {"recipients": [person], "message": "Your parcel is on its way"}
    report = invoke(deployment, json.dumps(request).encode())
    console.print(f"  push to {json.dumps(person)}")
    for result in report["results"]:
        style, _ = _OUTCOMES[result["outcome"]]
        console.print(f"    {result['device_id']:<22}  [{style}]{result['outcome']}[/{style}]")
    path = f"/users/{_USER}/devices"
    end = time.monotonic() + _UPKEEP_SECONDS
    while True:  # the event about the dead token reaches the registry a moment after the report
        _, answer = _ask(deployment, "GET", path)
        left = [device["device_id"] for device in answer["devices"]]
        if left == [_KEPT] or time.monotonic() > end:
            console.print(f"  GET {path:<20}  {', '.join(left)}")
            return left == [_KEPT]
        time.sleep(0.05)


def _has_registry(deployment: Deployment) -> bool:
    """Whether the stack has a registry of devices, and an HTTP API that leads to it."""
    return {"DevicesFunctionName", "ApiUrl"} <= deployment.outputs.keys()


def _ask(
    deployment: Deployment, method: str, path: str, document: object = None
) -> tuple[int, Any]:
    """Send a signed request to the HTTP API; return its status and JSON."""
    headers, body = {"Content-Type": "application/json"}, json.dumps(document).encode()
    request = AWSRequest(method, deployment.outputs["ApiUrl"] + path, headers, body)
    SigV4Auth(Credentials("sandbox", "sandbox"), "execute-api", REGION).add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        raise RuntimeError(f"{method} {path}: {answer.status_code}: {answer.text}")
    return answer.status_code, json.loads(answer.content)


def invoke(deployment: Deployment, request: bytes) -> dict[str, Any]:
    """Invoke the function with a request through boto3, and return its report."""
    answer = client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name, Payload=request
    )
    report: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise RuntimeError(f"{report.get('errorType')}: {report.get('errorMessage')}")
    return report


def report_table(title: str, report: dict[str, Any]) -> Table:
    """Make a table of a report."""
    counts = [
        f"{count} {outcome}"
        for outcome, count in report["summary"].items()
        if outcome != "recipients"
    ]
    table = Table(
        title=f"[bold]{title}[/bold]",
        caption=", ".join(counts),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("service", no_wrap=True, min_width=7)
    table.add_column("token", overflow="ellipsis", no_wrap=True, max_width=22)
    table.add_column("outcome", no_wrap=True)
    table.add_column("reason", overflow="ellipsis", no_wrap=True, max_width=22)
    table.add_column("tries", justify="right", min_width=5)
    for result in report["results"]:
        style, _ = _OUTCOMES[result["outcome"]]
        table.add_row(
            result["service"],
            result["token"],
            f"[{style}]{result['outcome']}[/{style}]",
            result["reason"],
            str(result["attempts"]),
        )
    return table


_REGISTRY_STEPS: Final = """\
examples/http/devices.sh register 6f1f2d3c-0a4e-4d5f-9a43-1f0f6f5f3d52 examples/http/device.json
examples/http/send.sh examples/user.json    # a push to the user of this device
make why USER=u-123    # what became of it
.venv/bin/python -m sandbox token --sub u-123    # a JWT, for the routes for apps
"""

_JOB_STEP: Final = """\
make job FILE=examples/jobs/people.csv REQUEST=examples/jobs/push.json YES=1    # to each row
"""


def next_steps(url: str, deployment: Deployment) -> str:
    """Write the command lines to try next, for a shell in the repository.

    Parameters
    ----------
    url
        The sandbox's.
    deployment
        The stack in it, or in an equal sandbox.
    """
    beside_python = Path(sys.executable).with_name("aws")  # exists after `make sandbox`
    here = beside_python.is_relative_to(REPOSITORY)
    aws = str(beside_python.relative_to(REPOSITORY)) if here else shutil.which("aws") or "aws"
    function, stack = deployment.function_name, deployment.stack_name
    over_http = f"""\
export API_URL=$({aws} cloudformation describe-stacks --stack-name {stack} \\
    --query "Stacks[0].Outputs[?OutputKey=='ApiUrl'].OutputValue" --output text)
examples/http/send.sh {FIRST_PUSH}
"""
    if "ApiUrl" not in deployment.outputs:
        over_http = ""
    registry = _REGISTRY_STEPS if _has_registry(deployment) else ""
    job = _JOB_STEP if "JobStateMachineArn" in deployment.outputs else ""
    return f"""\
export AWS_ENDPOINT_URL={url} AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}
export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox
{aws} lambda invoke --function-name {function} \\
    --payload fileb://{FIRST_PUSH} /dev/stdout | cat
{aws} lambda invoke --function-name {function} \\
    --payload fileb://examples/invalid.json /dev/stdout | cat
{over_http}{registry}{job}{aws} cloudformation describe-stacks --stack-name {stack} \\
    --query 'Stacks[0].Outputs' --output table    # the names of the log, the queue and more
curl -s {url}/sandbox/messages    # the pushes that devices got
curl -s {url}/sandbox/tokens      # tokens with a known outcome"""
