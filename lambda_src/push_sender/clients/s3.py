"""A client for S3."""

from __future__ import annotations

import os
from typing import Any, Final

from botocore.config import Config

from push_sender.clients.sdk import make_client

CONNECT_TIMEOUT_SECONDS: Final = 1
READ_TIMEOUT_SECONDS: Final = 4

CALL_SECONDS: Final = 5.0
"""The longest time of one call: both timeouts. An answer has some megabytes."""

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def s3_client(region: str | None) -> Any:
    """Create a client that does not retry by itself.

    With an endpoint of one's own, such as the sandbox on loopback, the bucket is in the path: its
    name before the host would have no address. Checksums beyond those of TLS take CPU and need a
    body that can be read twice.
    """
    has_endpoint = any(os.environ.get(name) for name in _ENDPOINTS)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path" if has_endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return make_client("s3", region, config)
