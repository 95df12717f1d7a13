"""Verify the signature of a request (version 4, in the header), and find its signer.

The signer's permissions are checked elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPMessage
from typing import Final
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

from sandbox.http_apis.requests import PREFIX, Request
from sandbox.iam.callers import Caller, find_caller

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
_LOOPBACK: Final = ("127.0.0.1", "localhost")


class SignatureError(Exception):
    """The signature of a request is invalid; the message names the failed check.

    It repeats nothing from the request.
    """


def signer_of(request: Request, *, region: str, now: float) -> Caller:
    """Return the signer of a request.

    Parameters
    ----------
    request
        The request as sent.
    region
        The API's, for which the request must be signed.
    now
        In seconds since 1970; a signature is valid for five minutes.

    Raises
    ------
    SignatureError
        If the signature is missing or invalid.
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        raise SignatureError("missing signature: the request has no Authorization header")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise SignatureError(
            "wrong signature: the Authorization header must be AWS4-HMAC-SHA256 "
            "Credential=..., SignedHeaders=..., Signature=..."
        )
    date = request.headers.get("x-amz-date", "")
    _check_date(date, now)
    _check_scope(match["scope"], date[:8], region)
    caller = find_caller(match["key"])
    if caller is None:
        raise SignatureError("unknown access key: no user or session has it, or it is not active")
    _check_token(request.headers.get("x-amz-security-token"), caller.session_token)
    signed = match["headers"].split(";")
    _check_headers(request, signed)
    if not _same(_signature(request, signed, caller, region), match["signature"]):
        for part, other in _usual_mistakes(request, region):
            if _same(_signature(other, signed, caller, region), match["signature"]):
                raise SignatureError(f"wrong signature: {part}")
        raise SignatureError(
            "wrong signature: the secret access key is another, or the method, host, path, query, "
            "body digest or a signed header is not the one that was signed"
        )
    return caller


class _AsSigned(SigV4Auth):
    """A signer that also signs headers which botocore leaves out and other clients sign."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        headers: HTTPMessage = request.headers
        return headers


def _signature(request: Request, signed: list[str], caller: Caller, region: str) -> str:
    """Compute the signature that a request should have."""
    headers = HTTPHeaders()
    for name in signed:
        headers[name] = request.headers[name]
    asked = AWSRequest(method=request.method, url=_url(request), data=request.body)
    asked.headers = headers
    asked.context["timestamp"] = request.headers["x-amz-date"]
    credentials = Credentials(caller.access_key_id, caller.secret_access_key)
    signer = _AsSigned(credentials, SERVICE, region)
    return signer.signature(signer.string_to_sign(asked, signer.canonical_request(asked)), asked)


def _usual_mistakes(request: Request, region: str) -> Iterator[tuple[str, Request]]:
    """Yield the request as a client may have signed it by mistake, with the mistake."""
    api_id, _ = request.address or ("", "")
    own_path = request.target.removeprefix(f"{PREFIX}/{api_id}") or "/"
    of_aws = f"{api_id}.execute-api.{region}.amazonaws.com"
    hosts = [f"{name}:{request.port}" for name in _LOOPBACK]
    yield (
        f"the path was signed without {PREFIX}/<API id>",
        replace(request, target=own_path),
    )
    for host in (*hosts, *_LOOPBACK, of_aws):
        other = replace(request, headers={**request.headers, "host": host})
        yield "the host that was signed is not the Host header", other
        yield (
            f"another host was signed, and the path without {PREFIX}/<API id>",
            replace(other, target=own_path),
        )
    yield "the query was not signed", replace(request, query="")
    yield "the body digest that was signed is of an empty body", replace(request, body=b"")
    for method in ("GET", "POST", "PUT"):
        yield "another method was signed", replace(request, method=method)


def _url(request: Request) -> str:
    query = f"?{request.query}" if request.query else ""
    return f"http://{SERVICE}{request.target}{query}"


def _check_date(date: str, now: float) -> None:
    try:
        then = datetime.strptime(date, "%Y%m%dT%H%M%SZ") if _DATE.fullmatch(date) else None
    except ValueError:
        then = None
    if then is None:
        raise SignatureError("wrong date: the header X-Amz-Date must be YYYYMMDDTHHMMSSZ")
    late = now - then.replace(tzinfo=UTC).timestamp()
    if abs(late) > LATE_SECONDS:
        raise SignatureError(
            f"date skew: X-Amz-Date is more than {LATE_SECONDS:.0f} s "
            f"{'before' if late > 0 else 'after'} the time of the sandbox"
        )


def _check_scope(scope: str, day: str, region: str) -> None:
    wanted = {"date": day, "region": region, "service": SERVICE, "ending": "aws4_request"}
    asked = scope.split("/")
    if len(asked) != len(wanted):
        wrong = "form"
    else:
        differing = zip(wanted, wanted.values(), asked, strict=True)
        wrong = " and ".join(name for name, value, given in differing if value != given)
    if wrong:
        raise SignatureError(
            f"wrong signature: another {wrong} in the credential scope, "
            f"which must be <date>/{region}/{SERVICE}/aws4_request"
        )


def _check_token(token: str | None, wanted: str) -> None:
    if _same(token or "", wanted):
        return
    if not token:
        problem = "X-Amz-Security-Token is missing, which this temporary access key needs"
    elif not wanted:
        problem = "X-Amz-Security-Token is given, and this access key has no session token"
    else:
        problem = "X-Amz-Security-Token is not that of this access key"
    raise SignatureError(f"wrong session token: {problem}")


def _check_headers(request: Request, signed: list[str]) -> None:
    if unsigned := sorted(_ALWAYS_SIGNED.difference(signed)):
        raise SignatureError(f"wrong signature: not signed: {' and '.join(unsigned)}")
    if not all(name in request.headers for name in signed):
        raise SignatureError("wrong signature: a signed header is not in the request")
    body_hash = hashlib.sha256(request.body).hexdigest()
    # botocore trusts this header if it exists.
    if request.headers.get("x-amz-content-sha256", body_hash) != body_hash:
        raise SignatureError(
            "wrong signature: X-Amz-Content-SHA256 is not the body digest (SHA-256 in hex)"
        )
    if not _is_normalized(_url(request), request):
        raise SignatureError(
            "wrong signature: the path has dots, doubled slashes or a fragment, "
            "which a signature does not cover"
        )


def _is_normalized(url: str, request: Request) -> bool:
    """Return whether the signed path is the requested one.

    A signature covers a path without dots and doubled slashes, and no fragment. So a signature
    for an API would also be valid for ``other-api/../api``.
    """
    parts = urlsplit(url)
    return (parts.path, parts.query) == (request.target, request.query) and (
        normalize_url_path(parts.path) == parts.path
    )


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
