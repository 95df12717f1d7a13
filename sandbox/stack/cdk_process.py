"""The process that runs the CDK: it reads an order as JSON and writes a cloud assembly.

It does the same as ``app.py``, with an archive that runs on this machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import infra  # noqa: F401  first: it chooses the Node.js of the CDK

# isort: split
import aws_cdk as cdk

from infra.bundle import Bundle
from infra.settings import Settings
from infra.stack import PushSenderStack


def main() -> None:
    """Synthesize the stack of the order."""
    order = json.load(sys.stdin)
    app = cdk.App(analytics_reporting=False, context=order["context"], outdir=order["out"])
    settings = Settings.from_context(order["context"])
    bundle = Bundle(**{**order["bundle"], "path": Path(order["bundle"]["path"])})
    PushSenderStack(app, settings.name, settings=settings, bundle=bundle)
    app.synth()


if __name__ == "__main__":
    main()
