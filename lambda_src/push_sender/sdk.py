"""The SDK's clients, made the same way for every service.

From botocore, because boto3 adds nothing to a client but its own import, a good part of a
cold start; and sending over connections of our own.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import botocore
import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from push_sender.connections import Connections


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
    endpoint = client.meta.endpoint_url
    scheme = urlsplit(endpoint).scheme
    if scheme not in get_environ_proxies(endpoint):  # botocore knows its way through a proxy
        settings = client.meta.config
        # botocore takes another HTTP client here alone, and under no public name.
        client._endpoint.http_session = Connections(
            connect_seconds=settings.connect_timeout,
            read_seconds=settings.read_timeout,
            most_kept=settings.max_pool_connections,
            ca_bundle=_ca_bundle(session) if scheme == "https" else None,
        )
    return client


def _ca_bundle(session: Any) -> str:
    """Find the file of authorities that the SDK trusts: the one that was named, or its own."""
    where: Any = get_cert_path  # its stubs know of no file
    named = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    path: str = where(named or True)
    return path
