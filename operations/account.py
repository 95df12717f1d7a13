"""The caller's account, by stock boto3, and what to tell a person when it does not answer."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from operations.redaction import error_text, members

PERMISSION_CODES: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "ForbiddenException", "UnauthorizedOperation"}
)
"""How AWS's services say that the caller may not."""

_LOG_IN: Final = "Log in (aws sso login, aws configure) or set AWS_PROFILE."
_NETWORK: Final = "Is there a network, and is AWS_ENDPOINT_URL right where it is set?"
_CURES: Final = {
    "NoCredentialsError": _LOG_IN,
    "PartialCredentialsError": _LOG_IN,
    "CredentialRetrievalError": _LOG_IN,
    "ProfileNotFound": _LOG_IN,
    "NoRegionError": "Set AWS_DEFAULT_REGION to the region that the stack is in.",
    "ExpiredToken": f"The credentials have expired. {_LOG_IN}",
    "ExpiredTokenException": f"The credentials have expired. {_LOG_IN}",
    "SSOTokenLoadError": _LOG_IN,
    "TokenRetrievalError": _LOG_IN,
    "UnauthorizedSSOTokenError": _LOG_IN,
    "InvalidClientTokenId": f"AWS does not know these credentials. {_LOG_IN}",
    "UnrecognizedClientException": f"AWS does not know these credentials. {_LOG_IN}",
    "SignatureDoesNotMatch": f"AWS does not know these credentials. {_LOG_IN}",
    "EndpointConnectionError": _NETWORK,
    "ConnectTimeoutError": _NETWORK,
    "ConnectionClosedError": _NETWORK,
    "ReadTimeoutError": _NETWORK,
    "ProxyConnectionError": _NETWORK,
    "SSLError": _NETWORK,
    "UnreadableAnswer": f"Somebody other than AWS seems to answer. {_NETWORK}",
    **dict.fromkeys(PERMISSION_CODES, "Ask whoever runs the account for this permission."),
}
"""What to do about what may go wrong without a fault of ours, by the error's code."""


class OperationsError(Exception):
    """What a person can put right; the message says how."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer.

    Attributes
    ----------
    code
        The service's code, or the name of botocore's exception where it never answered.
    message
        Its words, without what tells of the caller.
    http_status
        None where it never answered.
    """

    code: str
    message: str
    http_status: int | None = None

    @classmethod
    def of(cls, error: ClientError | BotoCoreError | ValueError) -> Refusal:
        """Read what an error of botocore says; a ValueError is of a URL that is none."""
        if not isinstance(error, ClientError):
            return cls(type(error).__name__, error_text(str(error)))
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return cls(
            str(told.get("Code") or "an error without a code"),
            error_text(str(told.get("Message") or "")),
            status,
        )

    @property
    def is_permission(self) -> bool:
        """Whether the caller may not have it."""
        return self.code in PERMISSION_CODES

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def told(self) -> str:
        """What happened and what to do about it, for a person."""
        return f"{self}\n{_CURES.get(self.code, '')}".rstrip()


class HttpAnswer(NamedTuple):
    """What came back over HTTP, from whoever it was that answered.

    Attributes
    ----------
    status
        Of any kind; a redirection is not followed.
    content_type
        Empty if it does not say.
    body
        As it came, but for what would tell how the request was signed.
    """

    status: int
    content_type: str
    body: bytes


_HTTP_SECONDS: Final = 35
"""API Gateway itself gives up after 30."""

_PROOFS: Final = ("Authorization", "X-Amz-Security-Token")
"""Headers that a signature puts into a request."""

_BROKEN_BY: Final = (AttributeError, KeyError, TypeError, ValueError, ResponseParserError)
"""How botocore itself ends on an answer of another shape: a proxy's page, a stranger's JSON."""


def call(client: Any, operation: str, **asked: Any) -> dict[str, Any] | Refusal:
    """Call an operation of a client; give why there is no answer in the answer's place."""
    try:
        return members(getattr(client, operation)(**asked))
    except (ClientError, BotoCoreError) as error:
        return Refusal.of(error)
    except _BROKEN_BY as error:
        return Refusal("UnreadableAnswer", error_text(str(error)))


class Account:
    """The account and region that the caller's environment names.

    Raises
    ------
    OperationsError
        If it names a profile that is not there, or no region.
    """

    def __init__(self) -> None:
        try:
            # Of the two variables boto3 knows only AWS_DEFAULT_REGION; the CDK deploys into
            # the region of the other.
            self._core = botocore.session.get_session()
            self._session = boto3.Session(
                botocore_session=self._core, region_name=os.environ.get("AWS_REGION") or None
            )
        except BotoCoreError as error:
            raise _unusable(error) from error
        self.region: str = self._session.region_name or ""
        if not self.region:
            raise _unusable(NoRegionError())
        self.endpoint: str = self.client("pinpoint").meta.endpoint_url

    @property
    def is_sandbox(self) -> bool:
        """Whether this machine answers, and no AWS."""
        host = urlsplit(self.endpoint).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def client(self, service: str) -> Any:
        """Make a client that tries once: what it is answered is shown, not improved upon."""
        config = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 1})
        try:
            return self._session.client(
                service,  # type: ignore[call-overload]  # by name, which stubs know only as literals
                config=config,
            )
        except (BotoCoreError, ValueError) as error:  # ValueError: of a URL that is none
            raise _unusable(error) from error

    def post(self, url: str, document: object, *, signed: bool = True) -> HttpAnswer | Refusal:
        """Post JSON to an HTTP API of API Gateway, once.

        Parameters
        ----------
        url
            Where.
        document
            What.
        signed
            With the caller's credentials; otherwise as somebody who has none.
        """
        body = json.dumps(document).encode()
        try:
            if not urlsplit(url).hostname:
                raise ValueError("the API's address names no host")
            asked = AWSRequest("POST", url, {"Content-Type": "application/json"}, body)
            if signed:
                credentials = self._session.get_credentials()
                signer = SigV4Auth(
                    credentials,  # type: ignore[arg-type]  # of None it says so itself
                    "execute-api",
                    self.region,
                )
                signer.add_auth(asked)
            http = URLLib3Session(self._trusted(), get_environ_proxies(url), _HTTP_SECONDS)
            answer = http.send(asked.prepare())
        except (BotoCoreError, ValueError) as error:
            return Refusal.of(error)
        answered = answer.content
        # Who finds fault with a signature may repeat all that was signed.
        for proof in filter(None, map(asked.headers.get, _PROOFS)):
            answered = answered.replace(proof.encode(), b"(signature)")
        return HttpAnswer(answer.status_code, answer.headers.get("Content-Type") or "", answered)

    def _trusted(self) -> Any:
        """Find the file of authorities that boto3's clients trust; True for its own."""
        named = self._core.get_config_variable("ca_bundle")
        return named or os.environ.get("REQUESTS_CA_BUNDLE") or True


def _unusable(error: BotoCoreError | ValueError) -> OperationsError:
    return OperationsError(f"The AWS settings cannot be used: {Refusal.of(error).told}")
