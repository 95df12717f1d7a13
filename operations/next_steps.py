"""Print what a person needs after a deployment: names and ids, a first push, where to look."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from operations.account import OperationsError
from operations.json_values import as_dict

_TOKEN_HERE: Final = "PASTE-THE-DEVICE-TOKEN-HERE"  # noqa: S105  a placeholder
_NONE: Final = frozenset({"", "none", "-"})
_FILE: Final = ".build/first-push.json"

_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
"""The console's host in each partition."""

_PHONES: Final = {
    "GCM": ("Android, or any app with Firebase", ', "gcm": {"format": "fcm_v1"}'),
    "APNS": ("an iPhone, app from the App Store or TestFlight", ""),
    "APNS_SANDBOX": ("an iPhone, app run from Xcode", ""),
    "APNS_VOIP": ("an iPhone, app that takes calls", ""),
    "APNS_VOIP_SANDBOX": ("an iPhone, app that takes calls, run from Xcode", ""),
    "BAIDU": ("a phone with Baidu", ""),
    "ADM": ("a Fire device", ""),
}
"""For each service: its devices, and what a first push needs in addition to be shown there."""


def next_steps(path: Path) -> str:
    """Write what to do next, from the file that ``cdk deploy --outputs-file`` wrote.

    Raises
    ------
    OperationsError
        If the file cannot be read or is another one.
    """
    stacks = _read(path)
    return "\n\n".join("\n".join(_steps(name, outputs)) for name, outputs in stacks.items())


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        written = json.loads(path.read_bytes())
    except OSError as error:
        raise OperationsError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        written = None
    if not isinstance(written, dict) or not written:
        raise OperationsError(f"{path} is not what cdk deploy --outputs-file writes.")
    return {
        _plain(stack): {_plain(key): _plain(value) for key, value in as_dict(outputs).items()}
        for stack, outputs in written.items()
    }


def _plain(value: object) -> str:
    """Write a value on one line, without control characters for a terminal or a shell."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(each if each.isprintable() else "?" for each in text)


def _steps(stack: str, outputs: Mapping[str, str]) -> Iterator[str]:
    yield f"{stack} is deployed."
    yield ""
    width = max(map(len, outputs), default=0)
    yield from (f"  {key:<{width}}  {value}" for key, value in outputs.items())
    if not (function := outputs.get("FunctionName")):
        yield "  (There is no output FunctionName, so this stack cannot push.)"
        return
    channels = _channels(outputs.get("Channels"))
    if channels == []:
        yield ""
        yield "No channel is set up. Until one is, every push is misconfigured (docs/settings.md)."
    if any("topic" in key.lower() for key in outputs):
        yield ""
        yield "Alarms by e-mail: the receiver must first confirm the e-mail from AWS."
    partition, region = _place(outputs)
    at = f"--region {region} " if region else ""
    yield from _requests(channels)
    yield "Then:"
    yield ""
    yield f".venv/bin/aws lambda invoke {at}--function-name {shlex.quote(function)} \\"
    yield f"    --payload fileb://{_FILE} /dev/stdout | cat"
    yield ""
    yield "To test every entry point with invented tokens, and to watch:"
    yield ""
    variable = f"AWS_REGION={region} AWS_DEFAULT_REGION={region} " if region else ""
    # make would run code in an unusual name; CloudFormation does not allow such names.
    choice = f" STACK={stack}" if re.fullmatch(r"[A-Za-z0-9-]+", stack) else ""
    yield f"{variable}make smoke{choice}"
    if dashboard := outputs.get("DashboardName"):
        yield _dashboard(dashboard, partition, region)


def _channels(text: str | None) -> list[str] | None:
    """Read which channels are set up; None if the outputs do not contain it."""
    if text is None:
        return None
    names = [name.strip().upper() for name in text.split(",")]
    if len(names) == 1 and names[0].lower() in _NONE:
        return []
    return [name for name in names if name in _PHONES] or None


def _requests(channels: list[str] | None) -> Iterator[str]:
    """Write a first request for up to two services that are set up."""
    to = "A first push, to"
    services = [service for service in _PHONES if service in (channels or ("GCM", "APNS"))]
    for service in services[:2]:
        phone, more = _PHONES[service]
        yield ""
        yield f"{to} {phone}:"
        yield ""
        yield f"cat > {_FILE} <<'END'"
        yield f'{{"recipient": {{"service": "{service}", "token": "{_TOKEN_HERE}"}},'
        yield f' "title": "Hello", "message": "From Push Sender"{more}}}'
        yield "END"
        to = "Or to"
    yield ""


def _dashboard(name: str, partition: str, region: str) -> str:
    console = _CONSOLES.get(partition)
    if console and region and re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return f"https://{console}/cloudwatch/home?region={region}#dashboards:name={name}"
    return f"CloudWatch, Dashboards: {name}"


def _place(outputs: Mapping[str, str]) -> tuple[str, str]:
    """Find the partition and the region in an ARN among the outputs."""
    arn = re.match(r"arn:(aws[a-z-]*):lambda:([a-z0-9-]+):", outputs.get("FunctionArn", ""))
    return (arn[1], arn[2]) if arn else ("", "")
