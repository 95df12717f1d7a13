"""Get a token from a running sandbox, for ``python -m sandbox token``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from sandbox.http_apis.issuer_keys import OWN_ISSUER
from sandbox.loopback import ADDRESS

_SECONDS: Final = 10.0


class NoTokenError(Exception):
    """There is no token; the message has the reason and the cure."""


def fetch_token(port: int, order: Mapping[str, Any]) -> str:
    """Get a token.

    Parameters
    ----------
    port
        The sandbox's, on 127.0.0.1.
    order
        What the token shall have, as ``sandbox.issuer.issuer.Order``.

    Raises
    ------
    NoTokenError
        If no sandbox answers, or if it issues no token.
    """
    connection = HTTPConnection(ADDRESS, port, timeout=_SECONDS)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request("POST", f"{OWN_ISSUER}/token", json.dumps(order), headers)
        response = connection.getresponse()
        status, answer = response.status, json.loads(response.read())
    except OSError:
        raise NoTokenError(
            f"No sandbox answers on port {port}. Start one with `make sandbox` and wait until it "
            "is ready, or name its port with --port."
        ) from None
    except (HTTPException, ValueError):
        status, answer = HTTPStatus.NOT_FOUND, None
    finally:
        connection.close()
    match status, answer:
        case HTTPStatus.OK, {"access_token": str(token)}:
            return token
        case ((HTTPStatus.BAD_REQUEST | HTTPStatus.CONFLICT), {"message": str(reason)}):
            raise NoTokenError(reason)
    raise NoTokenError(
        f"What answers on port {port} issues no tokens. `make sandbox` starts a sandbox that does; "
        "`make inbox` does not."
    )
