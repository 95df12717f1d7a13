"""Remove settings of AWS, proxies and the CDK from the environment of local programs.

A profile, an endpoint or a certificate is meant for the developer's own account, and a proxy for
other machines. The programs of this repository that use only loopback call ``isolate`` first, for
themselves and for every process that they start.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Final

_PREFIXES: Final = ("AWS_", "BOTO_", "CDK_", "INITIAL_NO_AUTH_ACTION_COUNT", "MOTO_", "POWERTOOLS_")
"""The prefixes of variables that configure AWS's programs, the CDK, moto and Powertools."""

_ISOLATED: Final = {
    # Also no files in the home folder and no metadata of an EC2 instance.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

_LOOPBACK: Final = ("127.0.0.1", "localhost")


def isolate(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the settings of other programs from an environment, in place.

    Proxies stay, because packages are fetched through them, but loopback bypasses them.
    """
    for name in [name for name in environment if name.startswith(_PREFIXES)]:
        del environment[name]
    environment.update(_ISOLATED)
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if direct.strip() != "*":
        direct = ",".join([*filter(None, [direct]), *_LOOPBACK])
    environment.update({"no_proxy": direct, "NO_PROXY": direct})
