"""Where packages come from, for pip, uv and npm alike: the index that pip uses.

A person sets an index, a proxy or a certificate for pip once, in ``pip.conf`` or in variables,
and it holds for every installation here. All their other settings of these programs (a user
installation, a target, a constraint) would change what is installed or where, and are left out.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from typing import Final, NamedTuple

# What is respected, by pip's name; beside it what uv calls it, where it does not read the same.
_RESPECTED: Final[dict[str, tuple[str, ...]]] = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "find-links": ("UV_FIND_LINKS",),
    "no-index": (),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTPS_PROXY", "HTTP_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "retries": ("UV_HTTP_RETRIES",),
    "keyring-provider": ("UV_KEYRING_PROVIDER",),
    "cache-dir": (),
    "no-cache-dir": (),
    "use-feature": (),
    "use-deprecated": (),
}
_COMMA_SEPARATED: Final = ("UV_FIND_LINKS",)

# Of npm's settings in variables these say where packages come from; the project's .npmrc wins
# over a person's own file in the rest.
_OF_NPM: Final = re.compile(r"registry|proxy|cert|cafile|_ca$|ssl|auth|cache|fetch|config$", re.I)

# What stopped an installation, by what the programs print; the first that is found is told.
_CAUSES: Final = (
    (
        r"No space left on device|os error 28|ENOSPC|Disk quota exceeded",
        "the disk is full: make room, then run the same command again",
    ),
    (
        r"Permission denied|Read-only file system|EACCES|EROFS",
        "a file cannot be written: look at who owns this folder and the cache in the home folder",
    ),
    (
        r"[Hh]ash mismatch|DO NOT MATCH THE HASHES|EINTEGRITY",
        "a file is not the one that the lock names: it was changed on its way or at its index, "
        "so nothing of it was installed",
    ),
    (
        r"\b(40[137]) (?:Client Error|Unauthorized|Forbidden|Proxy Auth)|code E(40[137])\b",
        "the package index answered {}: look at its address, the proxy and your access "
        "(`pip config list`, `npm config list`)",
    ),
    (
        r"\b(429|50\d) (?:Client Error|Server Error|Too Many|Internal|Bad|Service|Gateway)"
        r"|code E(429|50\d)\b|too many (429|50\d) error responses",
        "the package index answered {}: try again later",
    ),
    (
        r"Because (\S+) was not found in the package registry",
        "no package index gives {}, or none lets this machine in: look at their addresses and "
        "your access (`pip config list`)",
    ),
    (
        r"ConnectionError|ConnectTimeout|ReadTimeout|NewConnectionError|Connection refused|"
        r"[Cc]onnect error|tcp connect|dns error|resolution|timed out|error sending request|"
        r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|SSLError|certificate",
        "the package index is out of reach: look at the network and the proxy, "
        "then run the same command again",
    ),
)


class Settings(NamedTuple):
    """What a program is started with.

    Attributes
    ----------
    environment
        Of its process, whole.
    options
        For its command line.
    """

    environment: dict[str, str]
    options: list[str]


def for_pip(python: str) -> Settings:
    """Give the settings for a pip of an interpreter."""
    own = {
        f"PIP_{name.upper().replace('-', '_')}": value for name, value in _respected(python).items()
    }
    return Settings(
        {**_without("PIP_"), **own, "PIP_CONFIG_FILE": os.devnull},
        ["--no-input", "--disable-pip-version-check"],
    )


def for_uv(python: str) -> Settings:
    """Give the settings for uv that the pip of an interpreter has."""
    respected = _respected(python)
    own = {}
    for name, value in respected.items():
        for variable in _RESPECTED[name]:
            separator = "," if variable in _COMMA_SEPARATED else " "
            own[variable] = separator.join(value.split())
    kept = {name: os.environ[name] for name in ("UV_CACHE_DIR",) if name in os.environ}
    options = ["--no-config", "--system-certs", "--no-python-downloads"]
    # Of several indexes pip takes the best file; uv asks the next one only for other packages.
    options += ["--index-strategy=unsafe-best-match"] if "extra-index-url" in respected else []
    options += ["--no-index"] if respected.get("no-index", "0").lower() in _TRUE else []
    return Settings({**_without("UV_"), **kept, **own}, options)


def for_npm() -> Settings:
    """Give the settings for npm."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().startswith("npm_config_") or _OF_NPM.search(name)
    }
    return Settings(environment, ["--no-fund", "--no-audit", "--loglevel=error"])


def explain(output: str) -> str | None:
    """Say in one line what stopped an installation and what to try; None if it is not known."""
    for pattern, cause in _CAUSES:
        found = re.search(pattern, output)
        if found:
            return cause.format(*filter(None, found.groups()))
    return None


def unread(log: str) -> str | None:
    """Find in pip's verbose log why it could not read the page of a package.

    pip itself then says no more than that there is no such package. An answer of 404 says that
    this is so.
    """
    found = re.search(r"Could not fetch URL \S+: (?!404 )(.+?)(?: - skipping)?$", log, re.M)
    return found[1] if found else None


_TRUE: Final = ("1", "true", "yes", "on", "y", "t")


def _respected(python: str) -> dict[str, str]:
    """Ask pip for what stands in its files, and add what stands in its variables, which win."""
    file = {name: os.environ[name] for name in ("PIP_CONFIG_FILE",) if name in os.environ}
    # Settings of pip's that would keep it from telling all.
    whole = {f"PIP_{name}": "0" for name in ("GLOBAL", "USER", "SITE", "QUIET")}
    listed = subprocess.run(  # noqa: S603  our own command, no shell
        [python, "-m", "pip", "config", "list"],
        env={**_without("PIP_"), **file, **whole},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        lines = re.findall(rf"^{section}\.([a-z-]+)=(.+)$", listed.stdout, re.MULTILINE)
        settings |= {name: str(ast.literal_eval(value)) for name, value in lines}
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {name: value for name, value in settings.items() if name in _RESPECTED}


def _without(prefix: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
