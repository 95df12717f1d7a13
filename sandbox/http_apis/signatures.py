"""Who has signed a request: its signature (version 4, in the header) is reckoned anew and compared.

Whether the caller may do what it asks for is not decided here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from http.client import HTTPMessage
from typing import Final
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

from sandbox.http_apis.requests import Request
from sandbox.permissions.callers import Caller, find_caller

SERVICE: Final = "execute-api"
LATE_SECONDS: Final = 300.0

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 +"
    r"Credential=(?P<key>[^/,\s]+)/(?P<scope>[^,\s]+), *"
    r"SignedHeaders=(?P<headers>[^,\s=]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_ALWAYS_SIGNED: Final = frozenset({"host", "x-amz-date"})


def signer_of(request: Request, *, region: str, now: float) -> Caller | None:
    """Name who has signed a request; nobody, if its signature is not good for it.

    Parameters
    ----------
    request
        As it came.
    region
        The API's, for which it must be signed.
    now
        In seconds since 1970; a request is good for five minutes.
    """
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    date = request.headers.get("x-amz-date", "")
    if match is None or not _is_recent(date, now):
        return None
    if match["scope"] != f"{date[:8]}/{region}/{SERVICE}/aws4_request":
        return None
    caller = find_caller(match["key"])
    if caller is None or not _same(
        request.headers.get("x-amz-security-token", ""), caller.session_token
    ):
        return None
    signature = _signature(request, match["headers"].split(";"), caller, region)
    return caller if signature and _same(signature, match["signature"]) else None


class _AsSigned(SigV4Auth):
    """botocore's own leaves out headers that other clients do sign."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        headers: HTTPMessage = request.headers
        return headers


def _signature(request: Request, signed: list[str], caller: Caller, region: str) -> str | None:
    """Reckon the signature that a request should have; nothing if it cannot have one."""
    headers = HTTPHeaders()
    for name in signed:
        if name not in request.headers:
            return None
        headers[name] = request.headers[name]
    body_hash = hashlib.sha256(request.body).hexdigest()
    # botocore believes this header where it is there.
    if request.headers.get("x-amz-content-sha256", body_hash) != body_hash:
        return None
    query = f"?{request.query}" if request.query else ""
    url = f"http://{SERVICE}{request.target}{query}"
    if not _ALWAYS_SIGNED.issubset(signed) or not _is_taken_as_it_is(url, request):
        return None
    asked = AWSRequest(method=request.method, url=url, data=request.body)
    asked.headers = headers
    asked.context["timestamp"] = request.headers["x-amz-date"]
    credentials = Credentials(caller.access_key_id, caller.secret_access_key)
    signer = _AsSigned(credentials, SERVICE, region)
    return signer.signature(signer.string_to_sign(asked, signer.canonical_request(asked)), asked)


def _is_taken_as_it_is(url: str, request: Request) -> bool:
    """Tell whether what is signed is what is asked for.

    A signature stands for a path without dots and doubled slashes, and for no fragment. So
    one that was made for an API would be good for ``other-api/../api``, too.
    """
    parts = urlsplit(url)
    return (parts.path, parts.query) == (request.target, request.query) and (
        normalize_url_path(parts.path) == parts.path
    )


def _is_recent(date: str, now: float) -> bool:
    if not _DATE.fullmatch(date):
        return False
    try:
        then = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(now - then.timestamp()) <= LATE_SECONDS


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
