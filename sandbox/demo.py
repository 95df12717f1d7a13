"""The demonstration: AWS's own example through all four services, and each failure.

It shows the reports as tables, and the commands to try next.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

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


def show(deployment: Deployment, console: Console) -> bool:
    """Push the two examples and show their reports.

    Returns
    -------
    bool
        Whether the first push was accepted by all four services.
    """
    first = invoke(deployment, FIRST_PUSH)
    console.print(report_table("AWS's own example, through all four services", first))
    console.print()
    second = invoke(deployment, EVERY_OUTCOME)
    console.print(report_table("When pushes fail: one outcome for each token", second))
    console.print()
    for outcome in second["summary"]:
        if outcome in _OUTCOMES:
            style, meaning = _OUTCOMES[outcome]
            console.print(f"  [{style}]{outcome:<13}[/{style}]  {meaning}")
    return bool(first["summary"] == {"recipients": 4, "accepted": 4})


def invoke(deployment: Deployment, example: Path) -> dict[str, Any]:
    """Invoke the function with an example through boto3, and return its report."""
    answer = client("lambda", deployment.url).invoke(
        FunctionName=deployment.function_name, Payload=(REPOSITORY / example).read_bytes()
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
API_URL=$({aws} cloudformation describe-stacks --stack-name {stack} \\
    --query "Stacks[0].Outputs[?OutputKey=='ApiUrl'].OutputValue" --output text) \\
    examples/http/send.sh {FIRST_PUSH}
"""
    if "ApiUrl" not in deployment.outputs:
        over_http = ""
    return f"""\
export AWS_ENDPOINT_URL={url} AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}
export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox
{aws} lambda invoke --function-name {function} \\
    --payload fileb://{FIRST_PUSH} /dev/stdout | cat
{aws} lambda invoke --function-name {function} \\
    --payload fileb://examples/invalid.json /dev/stdout | cat
{over_http}{aws} cloudformation describe-stacks --stack-name {stack} \\
    --query 'Stacks[0].Outputs' --output table    # the names of the log, the queue and more
curl -s {url}/sandbox/messages    # the pushes that devices got
curl -s {url}/sandbox/tokens      # tokens with a known outcome"""
