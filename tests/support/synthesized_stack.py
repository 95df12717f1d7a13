"""The stack as tests look at it: synthesized in this process, with a stub for its archive.

Node starts once a test process; a synth then takes a fraction of a second, because the
CDK's own validation, 3 s, is off. ``test_stack_checks.py`` has a synth with it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import infra  # noqa: F401  first: it names the Node.js that the CDK runs in

# isort: split
import aws_cdk as cdk

from infra.bundle import Bundle
from infra.settings import Settings
from infra.stack import PushSenderStack
from tests.support.paths import REPOSITORY

FLAGS: Mapping[str, Any] = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
"""The feature flags of cdk.json; without them the template differs from the deployed one."""

PROJECT = "0" * 31 + "a"
OTHER_PROJECT = "0" * 31 + "b"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/12345678-90ab-cdef-1234-567890abcdef"
VERSION = "12345678-90ab-cdef-1234-567890abcdef"

CERTIFICATES: Mapping[str, str] = {
    name: f"my-app/{name}"
    for name in (
        "apns_certificate_secret",
        "apns_sandbox_certificate_secret",
        "apns_voip_certificate_secret",
        "apns_voip_sandbox_certificate_secret",
    )
}
"""APNs by certificate, in place of the token keys that ``FULL`` has."""

FULL: Mapping[str, str] = {
    name: f"my-app/{name}"
    for name in (
        "fcm_secret",
        "apns_secret",
        "apns_sandbox_secret",
        "apns_voip_secret",
        "apns_voip_sandbox_secret",
        "baidu_secret",
        "adm_secret",
    )
} | {
    "alarm_email": "on-call@example.com",
    "extra_application_ids": f"{PROJECT},{OTHER_PROJECT}",
    "jwt_issuer": "https://id.example.com/",
    "jwt_audience": "app,web",
    "http_jwt": "true",
}
"""Settings that create every resource except a stage's own event bus."""

GUARDED: Mapping[str, str] = {
    **FULL,
    "reserved_concurrency": "50",
    "caller_account_ids": "210987654321",
    "deletion_protection": "true",
    "kms_key_arn": KEY,
}
"""Everything there is, with each setting that guards it."""

LAMBDA_ITSELF: Mapping[str, str] = {
    "logs:CreateLogStream": "the function's log",
    "logs:PutLogEvents": "the function's log",
    "sqs:DeleteMessage": "the queue's messages, once they are done",
    "sqs:GetQueueAttributes": "the queue, when the mapping is made",
    "sqs:ReceiveMessage": "the queue's messages, to hand them to the function",
    "xray:PutTelemetryRecords": "active tracing",
    "xray:PutTraceSegments": "active tracing",
}
"""Actions that the role allows for Lambda itself; the function's code never calls them."""


@dataclass(frozen=True)
class Synthesis:
    """The output of a synth.

    Attributes
    ----------
    folder
        The cloud assembly.
    template
        The stack's.
    """

    folder: Path
    template: dict[str, Any]

    def of_type(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Find resources by their type, or how it begins; by logical id."""
        resources: dict[str, dict[str, Any]] = self.template["Resources"]
        return {id_: found for id_, found in resources.items() if found["Type"].startswith(prefix)}

    def only(self, type_: str) -> dict[str, Any]:
        """Find the one resource of a type."""
        found = [made for made in self.of_type(type_).values() if made["Type"] == type_]
        assert len(found) == 1, f"{len(found)} of {type_}"
        return found[0]

    def without(self, part: str) -> Synthesis:
        """Look at the stack without one of its parts, such as ``Devices``."""
        kept = {
            id_: found
            for id_, found in self.template["Resources"].items()
            if not id_.startswith(f"PushSender{part}")
        }
        return Synthesis(self.folder, {**self.template, "Resources": kept})


def stub_bundle(folder: Path) -> Bundle:
    """Make a stub of the archive, since the real one takes seconds to build."""
    path = folder / "stub.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stub.txt", "in place of the function")
    return Bundle(path=path, size=path.stat().st_size, digest="0" * 64, bytecode=True)


def new_app(folder: Path, **context: Any) -> cdk.App:
    """Begin a CDK app as ``cdk.json`` would have it, which writes into a folder."""
    return cdk.App(
        analytics_reporting=False,
        builtin_cloud_formation_validation=False,
        context={**FLAGS, **context},
        outdir=str(folder / "cdk.out"),
    )


def add_stack(app: cdk.App, bundle: Bundle, settings: Mapping[str, Any]) -> PushSenderStack:
    """Put the stack of these settings into an app, as app.py does."""
    read = Settings.from_context(settings)
    return PushSenderStack(app, read.name, settings=read, bundle=bundle)


def synthesize(folder: Path, settings: Mapping[str, Any]) -> Synthesis:
    """Synthesize the stack of these settings into an empty folder."""
    app = new_app(folder)
    stack = add_stack(app, stub_bundle(folder), settings)
    app.synth()
    return read(folder / "cdk.out", stack.stack_name)


def read(assembly: Path, stack: str) -> Synthesis:
    """Read a stack from a cloud assembly."""
    return Synthesis(assembly, json.loads((assembly / f"{stack}.template.json").read_text()))
