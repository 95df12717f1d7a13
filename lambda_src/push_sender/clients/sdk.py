"""Create the SDK's clients, in the same way for every service.

They are botocore's, because boto3 would add only its import, a good part of a cold start. They
send over our own connections, read an answer of any form, and load new credentials when the
service reports that theirs have expired. All of this uses botocore's public events.
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

from push_sender.clients.calls import record_status
from push_sender.clients.connections import Connections

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
"""Codes for expired credentials ("Common errors" of each API)."""

_TEXT_MEMBERS: Final = ("__type", "code", "Code", "message", "Message")
"""The members of an error's body that botocore reads and expects to be text."""

_MESSAGE_CHARACTERS: Final = 2_000

_SIGNED_WITH: Final = "push_sender.signed_with"


def make_client(service: str, region: str | None, config: Config) -> Any:
    """Create a client. Credentials and endpoint come from the SDK's own variables.

    Parameters
    ----------
    service
        The service's name in botocore.
    region
        The service's region.
    config
        The client's timeouts, connections and retries.

    Raises
    ------
    BotoCoreError
        If the region is missing.
    ValueError
        If the endpoint is not a URL, or the trusted certificates cannot be read.
    """
    common = Config(
        parameter_validation=False,  # all input is checked before
        tcp_keepalive=True,
        user_agent=f"push-sender Botocore/{botocore.__version__}",  # else built at each call
    )
    session = botocore.session.Session()
    client: Any = session.create_client(service, region_name=region, config=common.merge(config))
    events, endpoint = client.meta.events, client.meta.endpoint_url
    scheme = urlsplit(endpoint).scheme
    if scheme not in get_environ_proxies(endpoint):  # botocore itself supports a proxy
        settings = client.meta.config
        connections = Connections(
            connect_seconds=settings.connect_timeout,
            read_seconds=settings.read_timeout,
            max_idle=settings.max_pool_connections,
            ca_bundle=_ca_bundle(session) if scheme == "https" else None,
        )
        events.register("before-send", lambda request, **_: connections.send(request))
    is_json = client.meta.service_model.metadata["protocol"] != "rest-xml"
    events.register("before-parse", _make_readable if is_json else _note_status)
    if (credentials := session.get_credentials()) is not None:
        renewal = _Renewal(credentials)
        events.register("before-sign", renewal.note)
        events.register("needs-retry", renewal.renew)
    return client


def _ca_bundle(session: Any) -> str:
    """Find the file of authorities that the SDK trusts: the configured one, or its own."""
    find_file: Any = get_cert_path  # its stubs accept no path
    configured = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    path: str = find_file(configured or True)
    return path


def _note_status(response_dict: dict[str, Any], **_: object) -> None:
    record_status(response_dict["status_code"])


def _make_readable(response_dict: dict[str, Any], **_: object) -> None:
    """Replace the body of an error by one that botocore's parsers can read.

    They expect a JSON object in UTF-8 whose code and message are text, and raise anything if
    it is not. Without a code, botocore takes the HTTP status as the code.
    """
    status = response_dict["status_code"]
    record_status(status)
    if status < 300:
        return
    body = response_dict["body"] or b""
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        error = {"message": body.decode(errors="replace")[:_MESSAGE_CHARACTERS]}
    if not isinstance(error, dict):
        error = {}
    for name in _TEXT_MEMBERS:
        if not isinstance(error.get(name, ""), str):
            del error[name]
    response_dict["body"] = json.dumps(error).encode()


class _Renewal:
    """Loads new credentials when the service reports that the current ones have expired.

    botocore renews credentials only by its own clock, and never those of the environment.
    """

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials  # the object that the client signs with

    def note(self, request: Any, **_: object) -> None:
        """Record a call's credentials: another thread may renew them before it ends."""
        request.context[_SIGNED_WITH] = self._credentials.get_frozen_credentials()

    def renew(
        self,
        response: tuple[object, Any] | None,
        request_dict: Mapping[str, Any],
        attempts: int,
        **_: object,
    ) -> int | None:
        """Tell botocore whether to sign and send a call again.

        Returns
        -------
        int or None
            0 (seconds to wait) if there are new credentials: the service refused the call
            before it had any effect. None if there are none.
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
