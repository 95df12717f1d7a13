"""Fetch the keys of an issuer of tokens over HTTP, as API Gateway does: OpenID Connect discovery.

The sandbox reaches nothing beyond this machine. So the sandbox's own issuer stands in for every
issuer with another address: a token names the configured issuer, and the keys are the sandbox's.
An issuer at a plain HTTP address of this machine is really asked.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

OWN_ISSUER: Final = "/sandbox/issuer"
"""The path of the sandbox's own issuer."""

DISCOVERY: Final = "/.well-known/openid-configuration"

_HOSTS: Final = ("127.0.0.1", "localhost", "::1")
_SECONDS: Final = 5.0
_MOST_BYTES: Final = 1_000_000


class IssuerError(Exception):
    """The keys of an issuer cannot be fetched; the message says why."""


def is_local(address: str) -> bool:
    """Return whether an address is plain HTTP of this machine."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in _HOSTS


def address_of(issuer: str, own: str) -> str:
    """Return where an issuer is asked.

    Parameters
    ----------
    issuer
        The issuer, as an authorizer has it.
    own
        The address of the sandbox's own issuer.
    """
    return issuer.rstrip("/") if is_local(issuer) else own


def keys_of(issuer: str, own: str) -> KeySet:
    """Fetch an issuer's keys.

    API Gateway keeps them for up to two hours. The sandbox asks each time, so that a new key
    counts at once.

    Parameters
    ----------
    issuer
        The issuer, as an authorizer has it.
    own
        The address of the sandbox's own issuer.

    Raises
    ------
    IssuerError
        If the issuer has no usable answer.
    """
    location = _fetched(f"{address_of(issuer, own)}{DISCOVERY}").get("jwks_uri")
    if not isinstance(location, str) or not is_local(location):
        raise IssuerError("jwks_uri is no plain HTTP address of this machine")
    keys: Any = _fetched(location)
    try:
        return KeySet.import_key_set(keys)
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise IssuerError(f"jwks_uri has no set of keys ({type(error).__name__})") from None


def _fetched(address: str) -> dict[str, Any]:
    # Not urllib, which follows a redirection to any machine.
    parts = urlsplit(address)
    target = parts._replace(scheme="", netloc="", fragment="").geturl()
    try:
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            content = response.read(_MOST_BYTES)
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise IssuerError(f"the answer has status {response.status}")
        answer = json.loads(content)
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise IssuerError(f"no answer ({type(error).__name__})") from None
    if not isinstance(answer, dict):
        raise IssuerError("the answer is no JSON object")
    return answer
