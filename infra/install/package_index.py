"""The index that pip, uv and npm fetch packages from: the one that pip uses.

An index, a proxy or a certificate for pip, in ``pip.conf`` or in variables, applies to every
installation here. Other settings of these programs (a user installation, a target, a constraint)
would change what is installed or where, so they have no effect.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from typing import Final, NamedTuple

# The settings with effect, by pip's name; with uv's names, if uv does not read pip's.
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

# The npm settings in variables that concern the source of packages. For others, the project's
# .npmrc has precedence over the user's file.
_OF_NPM: Final = re.compile(r"registry|proxy|cert|cafile|_ca$|ssl|auth|cache|fetch|config$", re.I)

# The causes of a failed installation, by the programs' output. The first match counts.
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
    """The environment and options of a program.

    Attributes
    ----------
    environment
        All variables of its process.
    options
        Options for its command line.
    """

    environment: dict[str, str]
    options: list[str]


def for_pip(python: str) -> Settings:
    """Return the settings for an interpreter's pip."""
    own = {
        f"PIP_{name.upper().replace('-', '_')}": value for name, value in _respected(python).items()
    }
    return Settings(
        {**_without("PIP_"), **own, "PIP_CONFIG_FILE": os.devnull},
        ["--no-input", "--disable-pip-version-check"],
    )


def for_uv(python: str) -> Settings:
    """Return the settings of an interpreter's pip, for uv."""
    respected = _respected(python)
    own = {}
    for name, value in respected.items():
        for variable in _RESPECTED[name]:
            separator = "," if variable in _COMMA_SEPARATED else " "
            own[variable] = separator.join(value.split())
    kept = {name: os.environ[name] for name in ("UV_CACHE_DIR",) if name in os.environ}
    options = ["--no-config", "--system-certs", "--no-python-downloads"]
    # Of several indexes pip chooses the best file; uv would use the next index only for packages
    # that the first one lacks.
    options += ["--index-strategy=unsafe-best-match"] if "extra-index-url" in respected else []
    options += ["--no-index"] if respected.get("no-index", "0").lower() in _TRUE else []
    return Settings({**_without("UV_"), **kept, **own}, options)


def for_npm() -> Settings:
    """Return the settings for npm."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().startswith("npm_config_") or _OF_NPM.search(name)
    }
    return Settings(environment, ["--no-fund", "--no-audit", "--loglevel=error"])


def explain(output: str) -> str | None:
    """Write in one line why an installation failed and what to try; None if unknown."""
    for pattern, cause in _CAUSES:
        found = re.search(pattern, output)
        if found:
            return cause.format(*filter(None, found.groups()))
    return None


def unread(log: str) -> str | None:
    """Find in pip's verbose log why it could not read the page of a package.

    pip itself only prints that the package does not exist, which is true only for a 404.
    """
    found = re.search(r"Could not fetch URL \S+: (?!404 )(.+?)(?: - skipping)?$", log, re.M)
    return found[1] if found else None


_TRUE: Final = ("1", "true", "yes", "on", "y", "t")


def _respected(python: str) -> dict[str, str]:
    """Read pip's files through pip, and add its variables, which have precedence."""
    file = {name: os.environ[name] for name in ("PIP_CONFIG_FILE",) if name in os.environ}
    # pip's settings that would hide some values.
    unhidden = {f"PIP_{name}": "0" for name in ("GLOBAL", "USER", "SITE", "QUIET")}
    listed = subprocess.run(  # noqa: S603  our own command, no shell
        [python, "-m", "pip", "config", "list"],
        env={**_without("PIP_"), **file, **unhidden},
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
