"""Calls of AWS with the operator's credentials, and what to do if one fails."""

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

from operations.json_values import as_dict, as_list
from operations.redaction import error_text, one_line

PERMISSION_CODES: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "ForbiddenException", "UnauthorizedOperation"}
)
"""The codes with which AWS's services refuse a caller without permission."""

_LOG_IN: Final = "Log in (aws sso login, aws configure) or set AWS_PROFILE."
_NETWORK: Final = "Is there a network, and is AWS_ENDPOINT_URL right, if it is set?"
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
    "UnreadableAnswer": f"The answer does not seem to come from AWS. {_NETWORK}",
    **dict.fromkeys(PERMISSION_CODES, "Ask the account's administrator for this permission."),
}
"""What the operator can do about an error that is not ours, by the error's code."""


class OperationsError(Exception):
    """The operator can correct this; the message says how."""


@dataclass(frozen=True, slots=True)
class FailedCall:
    """Why a call has no answer.

    Attributes
    ----------
    code
        The service's code, or the name of botocore's exception if the service did not answer.
    message
        The service's text, without what identifies the caller.
    http_status
        None if the service did not answer.
    reasons
        For a cancelled transaction of DynamoDB, the code for each of its entries.
    """

    code: str
    message: str
    http_status: int | None = None
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: ClientError | BotoCoreError | ValueError) -> FailedCall:
        """Read botocore's error; a ValueError means an invalid URL."""
        if not isinstance(error, ClientError):
            return cls(type(error).__name__, error_text(str(error)))
        details = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        reasons = map(as_dict, as_list(error.response.get("CancellationReasons")))
        return cls(
            str(details.get("Code") or "an error without a code"),
            error_text(str(details.get("Message") or "")),
            status,
            tuple(one_line(reason.get("Code"), 60) for reason in reasons),
        )

    @property
    def is_permission(self) -> bool:
        """Whether the caller lacks a permission."""
        return self.code in PERMISSION_CODES

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def with_cure(self) -> str:
        """The error and what to do about it, for a person."""
        return f"{self}\n{_CURES.get(self.code, '')}".rstrip()


class HttpResponse(NamedTuple):
    """An HTTP response from API Gateway, or from something in between.

    Attributes
    ----------
    status
        Any status; a redirection is not followed.
    content_type
        Empty if the header is missing.
    body
        As received, with the request's signature removed.
    """

    status: int
    content_type: str
    body: bytes


_HTTP_SECONDS: Final = 35
"""API Gateway itself gives up after 30."""

_SIGNATURE_HEADERS: Final = ("Authorization", "X-Amz-Security-Token")
"""The headers that sign a request."""

_PARSER_ERRORS: Final = (AttributeError, KeyError, TypeError, ValueError, ResponseParserError)
"""What botocore's parser raises for an unexpected answer, such as a proxy's page."""


def call(client: Any, operation: str, **arguments: Any) -> dict[str, Any] | FailedCall:
    """Call an operation of a client; return the failure instead of raising it."""
    try:
        return as_dict(getattr(client, operation)(**arguments))
    except (ClientError, BotoCoreError) as error:
        return FailedCall.of(error)
    except _PARSER_ERRORS as error:
        return FailedCall("UnreadableAnswer", error_text(str(error)))


class Account:
    """The account and region that the caller's environment names.

    Parameters
    ----------
    attempts
        How often a client tries a call. By default once: the smoke test shows each answer as it
        is.

    Raises
    ------
    OperationsError
        If the environment names a profile that does not exist, or no region.
    """

    def __init__(self, *, attempts: int = 1) -> None:
        self._attempts = attempts
        try:
            # boto3 reads only AWS_DEFAULT_REGION; the CDK deploys into AWS_REGION.
            self._core = botocore.session.get_session()
            self._session = boto3.Session(
                botocore_session=self._core, region_name=os.environ.get("AWS_REGION") or None
            )
        except BotoCoreError as error:
            raise _settings_error(error) from error
        self.region: str = self._session.region_name or ""
        if not self.region:
            raise _settings_error(NoRegionError())
        self.endpoint: str = self.client("pinpoint").meta.endpoint_url

    @property
    def is_sandbox(self) -> bool:
        """Whether the answers come from this machine and not from AWS."""
        host = urlsplit(self.endpoint).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def client(self, service: str) -> Any:
        """Make a client of a service, by boto3's name of it."""
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"total_max_attempts": self._attempts, "mode": "standard"},
        )
        try:
            return self._session.client(
                service,  # type: ignore[call-overload]  # by name, which stubs know only as literals
                config=config,
            )
        except (BotoCoreError, ValueError) as error:  # ValueError: an invalid URL
            raise _settings_error(error) from error

    def ask(
        self, method: str, url: str, document: object = None, *, signed: bool = True
    ) -> HttpResponse | FailedCall:
        """Send one request to an HTTP API of API Gateway, once.

        Parameters
        ----------
        method
            The method of HTTP.
        url
            The URL of the route.
        document
            The body, sent as JSON; None for a request without a body.
        signed
            Whether to sign with the caller's credentials.
        """
        headers, body = {"Content-Type": "application/json"}, json.dumps(document).encode()
        if document is None:
            headers, body = {}, b""
        try:
            if not urlsplit(url).hostname:
                raise ValueError("the API's address names no host")
            request = AWSRequest(method, url, headers, body)
            if signed:
                credentials = self._session.get_credentials()
                signer = SigV4Auth(
                    credentials,  # type: ignore[arg-type]# it raises a clear error for None
                    "execute-api",
                    self.region,
                )
                signer.add_auth(request)
            http = URLLib3Session(self._authorities(), get_environ_proxies(url), _HTTP_SECONDS)
            response = http.send(request.prepare())
        except (BotoCoreError, ValueError) as error:
            return FailedCall.of(error)
        received = response.content
        # An error about a signature may repeat everything that was signed.
        for header in filter(None, map(request.headers.get, _SIGNATURE_HEADERS)):
            received = received.replace(header.encode(), b"(signature)")
        content_type = response.headers.get("Content-Type") or ""
        return HttpResponse(response.status_code, content_type, received)

    def _authorities(self) -> Any:
        """Find the file of authorities that boto3's clients trust; True for botocore's own."""
        configured = self._core.get_config_variable("ca_bundle")
        return configured or os.environ.get("REQUESTS_CA_BUNDLE") or True


def _settings_error(error: BotoCoreError | ValueError) -> OperationsError:
    return OperationsError(f"The AWS settings cannot be used: {FailedCall.of(error).with_cure}")
