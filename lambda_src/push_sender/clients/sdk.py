"""The SDK's clients, made the same way for every service.

From botocore, because boto3 adds nothing to a client but its own import, a good part of a
cold start. They send over connections of our own, they read an answer of any form, and they
take up new credentials when the service says that theirs have expired. All of it stands on
botocore's public events.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import botocore
import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from push_sender.clients.calls import answered
from push_sender.clients.connections import Connections

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
"""What services say of credentials whose time has run out ("Common errors" of each API)."""

_TEXTS: Final = ("__type", "code", "Code", "message", "Message")
"""What botocore reads of the body of an error, each of which it expects to be text."""

_MESSAGE_CHARACTERS: Final = 2_000

_SIGNED_WITH: Final = "push_sender.signed_with"


def make_client(service: str, region: str | None, config: Config) -> Any:
    """Make a client. Credentials and endpoint come from the SDK's own variables.

    Parameters
    ----------
    service
        Its name in botocore.
    region
        Where it is.
    config
        Its timeouts, connections and retries.

    Raises
    ------
    BotoCoreError
        If there is no region.
    ValueError
        If the endpoint is no address, or the certificates to trust cannot be read.
    """
    common = Config(
        parameter_validation=False,  # whatever comes from outside is checked before it gets here
        tcp_keepalive=True,
        user_agent=f"push-sender Botocore/{botocore.__version__}",  # else composed at each call
    )
    session = botocore.session.Session()
    client: Any = session.create_client(service, region_name=region, config=common.merge(config))
    events, endpoint = client.meta.events, client.meta.endpoint_url
    scheme = urlsplit(endpoint).scheme
    if scheme not in get_environ_proxies(endpoint):  # botocore knows its way through a proxy
        settings = client.meta.config
        connections = Connections(
            connect_seconds=settings.connect_timeout,
            read_seconds=settings.read_timeout,
            most_kept=settings.max_pool_connections,
            ca_bundle=_ca_bundle(session) if scheme == "https" else None,
        )
        events.register("before-send", lambda request, **_: connections.send(request))
    events.register("before-parse", _make_readable)
    if (credentials := session.get_credentials()) is not None:
        renewal = _Renewal(credentials)
        events.register("before-sign", renewal.note)
        events.register("needs-retry", renewal.renew)
    return client


def _ca_bundle(session: Any) -> str:
    """Find the file of authorities that the SDK trusts: the one that was named, or its own."""
    where: Any = get_cert_path  # its stubs know of no file
    named = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    path: str = where(named or True)
    return path


def _make_readable(response_dict: dict[str, Any], **_: object) -> None:
    """Give an error a body that botocore's parsers can read, whatever came.

    They take it for granted that it is a JSON object in UTF-8 whose code and message are
    text, and raise anything where it is not. The code then is the HTTP status.
    """
    status = response_dict["status_code"]
    answered(status)
    if status < 300:
        return
    body = response_dict["body"] or b""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        error = {"message": body.decode(errors="replace")[:_MESSAGE_CHARACTERS]}
    if not isinstance(error, dict):
        error = {}
    for name in _TEXTS:
        if not isinstance(error.get(name, ""), str):
            del error[name]
    response_dict["body"] = json.dumps(error).encode()


class _Renewal:
    """Takes up new credentials where the service says that the ones in use have expired.

    botocore renews credentials by its own clock, and those of the environment never.
    """

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials  # the very ones that the client signs with

    def note(self, request: Any, **_: object) -> None:
        """Keep with a call what it is signed with: another thread may renew them meanwhile."""
        request.context[_SIGNED_WITH] = self._credentials.get_frozen_credentials()

    def renew(
        self,
        response: tuple[object, Any] | None,
        request_dict: Mapping[str, Any],
        attempts: int,
        **_: object,
    ) -> int | None:
        """Tell botocore whether to sign and send a call once more.

        Returns
        -------
        int or None
            0, the seconds to wait, where there are other credentials: the call was refused
            before it had any effect. None where there are none.
        """
        code = response[1].get("Error", {}).get("Code") if response else None
        if code not in EXPIRED or attempts > 1:
            return None
        found = botocore.session.Session().get_credentials()
        new = found and found.get_frozen_credentials()
        if not new or new == request_dict["context"].get(_SIGNED_WITH):
            return None
        current = self._credentials
        current.access_key, current.secret_key, current.token = new[:3]
        return 0
