"""The process that runs the CDK: an order as JSON on standard input, a cloud assembly out.

The same as ``app.py``, with an archive that runs on this machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import infra  # noqa: F401  first: it names the Node.js that the CDK runs in

# isort: split
import aws_cdk as cdk

from infra.bundle import Bundle
from infra.settings import Settings
from infra.stack import PushSenderStack


def main() -> None:
    """Synthesize the stack that the order asks for."""
    order = json.load(sys.stdin)
    app = cdk.App(analytics_reporting=False, context=order["context"], outdir=order["out"])
    settings = Settings.from_context(order["context"])
    bundle = Bundle(**{**order["bundle"], "path": Path(order["bundle"]["path"])})
    PushSenderStack(app, settings.name, settings=settings, bundle=bundle)
    app.synth()


if __name__ == "__main__":
    main()
