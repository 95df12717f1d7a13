"""The caller's account, by stock boto3, and what to tell a person when it does not answer."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.parsers import ResponseParserError

from operations.foreign import error_text, members

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
    def of(cls, error: ClientError | BotoCoreError) -> Refusal:
        """Read what an error of botocore says."""
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
            self._session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
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


def _unusable(error: BotoCoreError | ValueError) -> OperationsError:
    refusal = Refusal(type(error).__name__, error_text(str(error)))
    return OperationsError(f"The AWS settings cannot be used: {refusal.told}")
