"""The codes and phrases of the providers and the API: what each means, and why.

Only data; ``classify`` reads it. A token is ``dead_token`` only by an exact code of a provider.
A text can repeat what the sender wrote, and the same text occurs with several codes, so words
within a text never make a token dead.

Codes: Apple's "Handling notification responses from APNs", Firebase's ``ErrorCode`` (v1)
and downstream error response codes (legacy), Amazon's ADM "Send a message" responses,
botocore's model of SendMessages and its exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from push_sender.outcomes.outcome import Outcome


class Signal(NamedTuple):
    """A code or phrase of a provider, what it means, and why."""

    text: str
    outcome: Outcome
    why: str


_CODES: Final = (
    # The app is gone from the device. The only signals that let a caller delete a token.
    Signal("Unregistered", Outcome.DEAD_TOKEN, "APNs 410 and ADM: the app is no longer there"),
    Signal("ExpiredToken", Outcome.DEAD_TOKEN, "APNs 410: the device token has expired"),
    Signal("UNREGISTERED", Outcome.DEAD_TOKEN, "FCM v1 404: the registration has ended"),
    Signal("NotRegistered", Outcome.DEAD_TOKEN, "FCM legacy: the registration has ended"),
    # The channel cannot use the token. It may be valid in the other APNs environment.
    Signal("BadDeviceToken", Outcome.INVALID_TOKEN, "APNs: malformed, or of the other environment"),
    Signal("InvalidRegistration", Outcome.INVALID_TOKEN, "FCM legacy: not a registration token"),
    Signal("MissingRegistration", Outcome.INVALID_TOKEN, "FCM legacy: no registration token"),
    Signal("InvalidRegistrationId", Outcome.INVALID_TOKEN, "ADM: not a registration id"),
    Signal("MissingDeviceToken", Outcome.INVALID_TOKEN, "APNs: no device token"),
    # The operator must fix the configuration. The token is valid.
    Signal("DeviceTokenNotForTopic", Outcome.MISCONFIGURED, "APNs: the token is of another app"),
    Signal("TopicDisallowed", Outcome.MISCONFIGURED, "APNs: the credential may not use the topic"),
    Signal("BadTopic", Outcome.MISCONFIGURED, "APNs: the channel's bundle id is no topic"),
    Signal("MissingTopic", Outcome.MISCONFIGURED, "APNs: the channel has no bundle id"),
    Signal("InvalidProviderToken", Outcome.MISCONFIGURED, "APNs: key id, team id or key is wrong"),
    Signal("ExpiredProviderToken", Outcome.MISCONFIGURED, "APNs: the provider token is stale"),
    Signal("MissingProviderToken", Outcome.MISCONFIGURED, "APNs: no credential reached it"),
    Signal("BadCertificate", Outcome.MISCONFIGURED, "APNs: the certificate is not usable"),
    Signal("BadCertificateEnvironment", Outcome.MISCONFIGURED, "APNs: for the other environment"),
    Signal("Forbidden", Outcome.MISCONFIGURED, "APNs: the credential is refused"),
    Signal("SENDER_ID_MISMATCH", Outcome.MISCONFIGURED, "FCM v1: the token is of another project"),
    Signal("MismatchSenderId", Outcome.MISCONFIGURED, "FCM legacy: the token is of another sender"),
    Signal(
        "THIRD_PARTY_AUTH_ERROR", Outcome.MISCONFIGURED, "FCM v1: the APNs or web push key is bad"
    ),
    Signal("PERMISSION_DENIED", Outcome.MISCONFIGURED, "FCM v1 403: the credential is refused"),
    Signal("UNAUTHENTICATED", Outcome.MISCONFIGURED, "FCM v1 401: the credential is not valid"),
    Signal("InvalidPackageName", Outcome.MISCONFIGURED, "FCM legacy: the token is of another app"),
    Signal("BadEnvironmentKeyIdInToken", Outcome.MISCONFIGURED, "APNs: for the other environment"),
    Signal("UnrelatedKeyIdInToken", Outcome.MISCONFIGURED, "APNs: the key is another topic's"),
    Signal("AccessTokenExpired", Outcome.MISCONFIGURED, "ADM 401: the access token has expired"),
    # The message is wrong.
    Signal("PayloadTooLarge", Outcome.REJECTED, "APNs 413: over the limit for a device"),
    Signal("PayloadEmpty", Outcome.REJECTED, "APNs: nothing to deliver"),
    Signal("BadCollapseId", Outcome.REJECTED, "APNs: the collapse id is over 64 bytes"),
    Signal("BadExpirationDate", Outcome.REJECTED, "APNs: the ttl is not usable"),
    Signal("BadPriority", Outcome.REJECTED, "APNs: the priority is not usable"),
    Signal("InvalidPushType", Outcome.REJECTED, "APNs: the push type is not usable"),
    Signal("MessageTooBig", Outcome.REJECTED, "FCM legacy: over the limit for a device"),
    Signal("MessageTooLarge", Outcome.REJECTED, "ADM: over the limit for a device"),
    Signal("InvalidDataKey", Outcome.REJECTED, "FCM legacy: a reserved key in the data"),
    Signal("InvalidTtl", Outcome.REJECTED, "FCM legacy: the ttl is not usable"),
    Signal("InvalidData", Outcome.REJECTED, "ADM: the data is not usable"),
    Signal("InvalidExpiration", Outcome.REJECTED, "ADM: the ttl is not usable"),
    # The provider asks for a retry.
    Signal("TooManyRequests", Outcome.TRANSIENT, "APNs 429: too many to this device"),
    Signal("TooManyProviderTokenUpdates", Outcome.TRANSIENT, "APNs 429: keys change too often"),
    Signal("InternalServerError", Outcome.TRANSIENT, "APNs 500"),
    Signal("ServiceUnavailable", Outcome.TRANSIENT, "APNs 503"),
    Signal("Shutdown", Outcome.TRANSIENT, "APNs 503: the server shuts down"),
    Signal("IdleTimeout", Outcome.TRANSIENT, "APNs: the connection had been idle"),
    Signal("QUOTA_EXCEEDED", Outcome.TRANSIENT, "FCM v1 429"),
    Signal("RESOURCE_EXHAUSTED", Outcome.TRANSIENT, "FCM v1 429, as its status"),
    Signal("UNAVAILABLE", Outcome.TRANSIENT, "FCM v1 503"),
    Signal("INTERNAL", Outcome.TRANSIENT, "FCM v1 500"),
    Signal("Unavailable", Outcome.TRANSIENT, "FCM legacy"),
    Signal("DeviceMessageRateExceeded", Outcome.TRANSIENT, "FCM legacy"),
    Signal("MaxRateExceeded", Outcome.TRANSIENT, "ADM 429"),
)

TOKEN_FIELDS: Final = frozenset({"message.token", "message.fid"})
"""Fields of an FCM v1 request that hold the token. If one of them is named (Google's
``BadRequest.FieldViolation``), the token is wrong; if none is named, the message is."""

STRONG_WORDS: Final = (
    Signal(
        "not a valid FCM registration token",
        Outcome.INVALID_TOKEN,
        "FCM v1 gives INVALID_ARGUMENT for a bad token too, but with these words (recorded)",
    ),
    Signal(
        "No channel of type",
        Outcome.MISCONFIGURED,
        "the project lacks the channel; AWS's own text, without asking a provider",
    ),
)

_WEAK_CODES: Final = (
    Signal(
        "INVALID_ARGUMENT",
        Outcome.REJECTED,
        "FCM v1: the message is wrong, unless a text says that the token is",
    ),
    Signal(
        "NOT_FOUND", Outcome.INVALID_TOKEN, "FCM v1 404 without UNREGISTERED: not known to be dead"
    ),
    Signal("Invalid Credentials", Outcome.MISCONFIGURED, "AWS's own text: FCM refused the key"),
)

WEAK_WORDS: Final = (
    Signal(
        "Requested entity was not found",
        Outcome.INVALID_TOKEN,
        "FCM v1 404 without UNREGISTERED: dead, or of another project",
    ),
    Signal(
        "Unregistered or expired token",
        Outcome.INVALID_TOKEN,
        "recorded with BadDeviceToken and DeviceTokenNotForTopic too, whose tokens may be valid",
    ),
)

THROTTLED_CODES: Final = (
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
)
"""botocore's list of throttling codes (``retries.standard``; a test compares them)."""

_OPERATOR_CODES: Final = {
    # The caller's identity, signature or clock ("Common errors" of AWS's API references)
    "AccessDenied": "403: no permission",
    "AccessDeniedException": "403: the role lacks the action",
    "AuthFailure": "the credentials could not be checked",
    "ExpiredToken": "the role's session has ended",
    "ExpiredTokenException": "403: the role's session has ended",
    "ForbiddenException": "403: no permission",
    "IncompleteSignature": "the signature lacks a part",
    "IncompleteSignatureException": "the signature lacks a part",
    "InvalidAccessKeyId": "no such access key",
    "InvalidClientTokenId": "no such access key",
    "InvalidSignatureException": "403: wrong secret, or clock",
    "InvalidToken": "the session token is not valid",
    "MissingAuthenticationToken": "not signed",
    "MissingAuthenticationTokenException": "not signed",
    "NotAuthorized": "no permission",
    "RequestExpired": "the clock is wrong, or the request took too long",
    "RequestTimeTooSkewed": "the clock is wrong",
    "SignatureDoesNotMatch": "wrong secret, or clock",
    "TokenRefreshRequired": "the session token must be renewed",
    "UnauthorizedOperation": "no permission",
    "UnrecognizedClientException": "403: no such access key",
    # The account or the project
    "AccountProblem": "the account cannot be used",
    "InvalidAccountId": "no such account",
    "NotFoundException": "404: no such project",
    "NotSignedUp": "the account has not signed up",
    "OptInRequired": "the account has not subscribed to the service or the region",
    "PendingVerification": "the account waits for its verification",
    "SubscriptionRequiredException": "the account has not subscribed to the service",
    # The endpoint of another API
    "InvalidAction": "not the API's endpoint",
    "MethodNotAllowedException": "405: not the API's endpoint",
    "UnknownOperationException": "404: not the API's endpoint",
    # Errors of botocore and the transport
    "CredentialRetrievalError": "the credentials' source failed",
    "NoCredentialsError": "no credentials in the environment",
    "NoRegionError": "no region in the environment",
    "PartialCredentialsError": "half a credential",
    "UntrustedCertificateError": "the server's certificate is not trusted, or another host's",
    "UnusableRequestError": "HTTP cannot carry a credential or the address",
}

_CALL_SIGNALS: Final = (
    *(Signal(code, Outcome.TRANSIENT, "over a rate of the account's") for code in THROTTLED_CODES),
    *(Signal(code, Outcome.MISCONFIGURED, why) for code, why in _OPERATOR_CODES.items()),
    Signal("RequestTimeout", Outcome.TRANSIENT, "the service did not get the request in time"),
    Signal("RequestTimeoutException", Outcome.TRANSIENT, "as RequestTimeout"),
    Signal("InternalFailure", Outcome.TRANSIENT, "500 of AWS's front end"),
    Signal("InternalServerErrorException", Outcome.TRANSIENT, "500"),
    Signal("ServiceUnavailable", Outcome.TRANSIENT, "503 of AWS's front end"),
    Signal("ServiceUnavailableException", Outcome.TRANSIENT, "503"),
    Signal("BadRequestException", Outcome.REJECTED, "400"),
    Signal("PayloadTooLargeException", Outcome.REJECTED, "413: over 7 MB"),
    # Errors of botocore and the transport
    Signal("ConnectTimeoutError", Outcome.TRANSIENT, "never connected, so nothing was sent"),
    Signal("EndpointConnectionError", Outcome.TRANSIENT, "never connected, so nothing was sent"),
    Signal("ProxyConnectionError", Outcome.TRANSIENT, "never connected, so nothing was sent"),
    Signal("SSLError", Outcome.TRANSIENT, "no session, so nothing was sent"),
    Signal("ReadTimeoutError", Outcome.UNKNOWN, "sent, and no answer in time"),
    Signal("ConnectionClosedError", Outcome.UNKNOWN, "sent, and cut off before the answer"),
    Signal("ResponseParserError", Outcome.UNKNOWN, "answered, but not in the API's form"),
    Signal("HTTPClientError", Outcome.UNKNOWN, "broke somewhere between"),
)

STRONG_CODES: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _CODES}
WEAK_CODES: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _WEAK_CODES}
CALL_CODES: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _CALL_SIGNALS}

SIGNALS: Final = (*_CODES, *STRONG_WORDS, *_WEAK_CODES, *WEAK_WORDS, *_CALL_SIGNALS)
"""All codes and phrases that count."""

REASONS: Final = frozenset({*STRONG_CODES, *WEAK_CODES, *CALL_CODES})
"""The closed list of the values of ``reason`` that come from a service."""
