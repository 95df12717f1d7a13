"""Synthesize the stack as ``cdk deploy`` does, for this machine, and keep the result.

The CDK needs seconds to start and starts a Node.js process. So it runs in another process, and
only if the stack, its settings or the function changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from infra.bundle import OUT, Bundle
from infra.bundle.wheels import UNFINISHED
from infra.settings import Settings

REPOSITORY: Final = Path(__file__).resolve().parents[2]

_CHILD: Final = Path(__file__).with_name("cdk_process.py")
_KEPT: Final = 4
_IN_USE_SECONDS: Final = 600  # another process may still read a result that it used since then

# By the other names of each processor.
_ARCHITECTURES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64"}


class SynthesisError(Exception):
    """The stack cannot be synthesized; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the template refers to in S3, or the template itself.

    Attributes
    ----------
    source
        The file.
    bucket, key
        Its destination; the bucket's name contains CloudFormation's ``${AWS::…}``.
    """

    source: Path
    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Assembly:
    """A synthesized stack.

    Attributes
    ----------
    folder
        The CDK's output.
    stack_name
        The name of the stack.
    settings
        The settings of the stack.
    """

    folder: Path
    stack_name: str
    settings: Settings

    @property
    def template(self) -> dict[str, Any]:
        """The template, as it is sent."""
        text = (self.folder / f"{self.stack_name}.template.json").read_text()
        template: dict[str, Any] = json.loads(text)
        return template

    def assets(self) -> Iterator[Asset]:
        """List the files that must be in S3 before the template is deployed."""
        manifest = json.loads((self.folder / f"{self.stack_name}.assets.json").read_text())
        for file in manifest["files"].values():
            for destination in file["destinations"].values():
                yield Asset(
                    self.folder / file["source"]["path"],
                    destination["bucketName"],
                    destination["objectKey"],
                )


def synthesize(context: Mapping[str, Any], bundle: Bundle, *, out: Path = OUT) -> Assembly:
    """Synthesize the stack for this machine's processor, or use an earlier result.

    Parameters
    ----------
    context
        The settings, as the CDK reads them. The architecture is replaced by this machine's.
    bundle
        The function's archive for this machine.
    out
        The folder of the results.

    Raises
    ------
    SettingsError
        If the settings are not usable.
    SynthesisError
        If the CDK refuses.
    """
    machine = platform.machine().lower()
    context = {**context, "architecture": _ARCHITECTURES.get(machine, "arm64")}
    settings = Settings.from_context(context)
    folder = out / f"stack-{_key(context, bundle)}"
    with suppress(FileNotFoundError):
        os.utime(folder)  # used now, so that no other process removes it
    if not folder.is_dir():
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=UNFINISHED) as scratch:
            made = Path(scratch) / "cdk.out"
            sent = {**asdict(bundle), "path": str(bundle.path)}
            _run_cdk({"context": context, "bundle": sent, "out": str(made)})
            try:
                made.rename(folder)
            except OSError:
                # Another process made the same result at the same time.
                if not folder.is_dir():
                    raise
        _tidy(out)
    return Assembly(folder, settings.name, settings)


def _run_cdk(order: Mapping[str, Any]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sandbox.stack.cdk_process"],
        input=json.dumps(order),
        cwd=REPOSITORY,
        # The CDK's own validation takes 5 s; deploying and the tests do it.
        env={**os.environ, "CDK_VALIDATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["it gave no reason"]
        raise SynthesisError("The stack cannot be synthesized: " + "\n".join(lines[-5:]))


def _key(context: Mapping[str, Any], bundle: Bundle) -> str:
    """Compute a digest of everything that the result depends on."""
    digest = hashlib.sha256()
    for source in (*sorted((REPOSITORY / "infra").rglob("*.py")), Path(__file__), _CHILD):
        digest.update(source.read_bytes())
    versions = {name: version(name) for name in ("aws-cdk-lib", "constructs")}
    digest.update(json.dumps([dict(context), versions, bundle.digest], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _tidy(out: Path) -> None:
    """Remove the results that were used longest ago, but none that may be in use."""
    folders = [path for path in out.iterdir() if re.fullmatch(r"stack-[0-9a-f]{16}", path.name)]
    folders.sort(key=_last_used)
    for folder in folders[:-_KEPT]:
        if _last_used(folder) < time.time() - _IN_USE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return time.time()
