"""What the shell's environment says of AWS, proxies and the CDK has no effect on what is local.

A profile, an endpoint or a certificate is for a person's own account, and a proxy for what is
outside this machine. The programs of this repository that talk to loopback alone call
``isolate`` first, for themselves and every process that they start.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Final

_FOREIGN: Final = ("AWS_", "BOTO_", "CDK_", "INITIAL_NO_AUTH_ACTION_COUNT", "MOTO_", "POWERTOOLS_")
"""How the names begin that steer AWS's programs, the CDK, moto and Powertools."""

_ISOLATED: Final = {
    # Nor do files in the home folder, or a machine in EC2.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

_LOOPBACK: Final = ("127.0.0.1", "localhost")


def isolate(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take out of an environment what is meant for other programs, in place.

    Proxies stay, because packages are fetched through them, but not for loopback.
    """
    for name in [name for name in environment if name.startswith(_FOREIGN)]:
        del environment[name]
    environment.update(_ISOLATED)
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if direct.strip() != "*":
        direct = ",".join([*filter(None, [direct]), *_LOOPBACK])
    environment.update({"no_proxy": direct, "NO_PROXY": direct})
