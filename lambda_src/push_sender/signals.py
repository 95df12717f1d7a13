"""What the providers and the API may say, what each saying means, and why it is believed.

Data alone; ``judge`` reads it. A token is given up only on a provider's own code, word for
word. Texts can repeat what the sender wrote, and one text comes with several codes, so
words within a text never end a token.

Codes: Apple's "Handling notification responses from APNs", Firebase's ``ErrorCode`` (v1)
and downstream error response codes (legacy), Amazon's ADM "Send a message" responses,
botocore's model of SendMessages and its exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from push_sender.outcomes import Outcome


class Signal(NamedTuple):
    """What a provider may say, what it means, and why it is believed."""

    text: str
    outcome: Outcome
    why: str


_CODES: Final = (
    # The app is gone from the device. The only signals that let a caller delete a token.
    Signal("Unregistered", Outcome.DEAD_TOKEN, "APNs 410 and ADM: the app is no longer there"),
    Signal("ExpiredToken", Outcome.DEAD_TOKEN, "APNs 410: the device token has expired"),
    Signal("UNREGISTERED", Outcome.DEAD_TOKEN, "FCM v1 404: the registration has ended"),
    Signal("NotRegistered", Outcome.DEAD_TOKEN, "FCM legacy: the registration has ended"),
    # Not a token this channel can use. It may be alive on the other APNs environment.
    Signal("BadDeviceToken", Outcome.INVALID_TOKEN, "APNs: malformed, or of the other environment"),
    Signal("InvalidRegistration", Outcome.INVALID_TOKEN, "FCM legacy: not a registration token"),
    Signal("MissingRegistration", Outcome.INVALID_TOKEN, "FCM legacy: no registration token"),
    Signal("InvalidRegistrationId", Outcome.INVALID_TOKEN, "ADM: not a registration id"),
    Signal("MissingDeviceToken", Outcome.INVALID_TOKEN, "APNs: no device token"),
    # The operator's to fix. The token is fine.
    Signal("DeviceTokenNotForTopic", Outcome.MISCONFIGURED, "APNs: the token is of another app"),
    Signal("TopicDisallowed", Outcome.MISCONFIGURED, "APNs: the credential may not use the topic"),
    Signal("BadTopic", Outcome.MISCONFIGURED, "APNs: the channel's bundle id is no topic"),
    Signal("MissingTopic", Outcome.MISCONFIGURED, "APNs: the channel has no bundle id"),
    Signal("InvalidProviderToken", Outcome.MISCONFIGURED, "APNs: key id, team id or key is wrong"),
    Signal("ExpiredProviderToken", Outcome.MISCONFIGURED, "APNs: the provider token is stale"),
    Signal("MissingProviderToken", Outcome.MISCONFIGURED, "APNs: no credential reached it"),
    Signal("BadCertificate", Outcome.MISCONFIGURED, "APNs: the certificate is not usable"),
    Signal(
        "BadCertificateEnvironment", Outcome.MISCONFIGURED, "APNs: certificate of the other one"
    ),
    Signal("Forbidden", Outcome.MISCONFIGURED, "APNs: the credential is refused"),
    Signal("SENDER_ID_MISMATCH", Outcome.MISCONFIGURED, "FCM v1: the token is of another project"),
    Signal("MismatchSenderId", Outcome.MISCONFIGURED, "FCM legacy: the token is of another sender"),
    Signal(
        "THIRD_PARTY_AUTH_ERROR", Outcome.MISCONFIGURED, "FCM v1: the APNs or web push key is bad"
    ),
    Signal("PERMISSION_DENIED", Outcome.MISCONFIGURED, "FCM v1 403: the credential is refused"),
    Signal("UNAUTHENTICATED", Outcome.MISCONFIGURED, "FCM v1 401: the credential is not valid"),
    Signal("InvalidPackageName", Outcome.MISCONFIGURED, "FCM legacy: the token is of another app"),
    # The message's own fault.
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
    # The provider asks for another try.
    Signal("TooManyRequests", Outcome.TRANSIENT, "APNs 429: too many to this device"),
    Signal("TooManyProviderTokenUpdates", Outcome.TRANSIENT, "APNs 429: keys change too often"),
    Signal("InternalServerError", Outcome.TRANSIENT, "APNs 500"),
    Signal("ServiceUnavailable", Outcome.TRANSIENT, "APNs 503"),
    Signal("Shutdown", Outcome.TRANSIENT, "APNs 503: the server is going down"),
    Signal("IdleTimeout", Outcome.TRANSIENT, "APNs: the connection had been idle"),
    Signal("QUOTA_EXCEEDED", Outcome.TRANSIENT, "FCM v1 429"),
    Signal("RESOURCE_EXHAUSTED", Outcome.TRANSIENT, "FCM v1 429, as its status"),
    Signal("UNAVAILABLE", Outcome.TRANSIENT, "FCM v1 503"),
    Signal("INTERNAL", Outcome.TRANSIENT, "FCM v1 500"),
    Signal("Unavailable", Outcome.TRANSIENT, "FCM legacy"),
    Signal("DeviceMessageRateExceeded", Outcome.TRANSIENT, "FCM legacy"),
    Signal("MaxRateExceeded", Outcome.TRANSIENT, "ADM 429"),
)

STRONG_WORDS: Final = (
    Signal(
        "not a valid FCM registration token",
        Outcome.INVALID_TOKEN,
        "FCM v1 says INVALID_ARGUMENT for a bad token too; only these words tell (recorded)",
    ),
    Signal(
        "No channel of type",
        Outcome.MISCONFIGURED,
        "the project lacks the channel; AWS's own words, where no provider was asked",
    ),
)

_WEAK_CODES: Final = (
    Signal(
        "INVALID_ARGUMENT",
        Outcome.REJECTED,
        "FCM v1: a fault of the message, unless a text says that it is the token",
    ),
    Signal("NOT_FOUND", Outcome.INVALID_TOKEN, "FCM v1 404 without its UNREGISTERED: kept"),
)

WEAK_WORDS: Final = (
    Signal(
        "Requested entity was not found",
        Outcome.INVALID_TOKEN,
        "FCM v1 404 without its UNREGISTERED: gone, or of another project: kept",
    ),
    Signal(
        "Unregistered or expired token",
        Outcome.INVALID_TOKEN,
        "recorded with BadDeviceToken and DeviceTokenNotForTopic too, whose tokens live: kept",
    ),
)

_WHOLE_CALL: Final = (
    Signal("TooManyRequestsException", Outcome.TRANSIENT, "429: over the account's rate"),
    Signal("ThrottlingException", Outcome.TRANSIENT, "429 of AWS's front end"),
    Signal("InternalServerErrorException", Outcome.TRANSIENT, "500"),
    Signal("ServiceUnavailableException", Outcome.TRANSIENT, "503"),
    Signal("ForbiddenException", Outcome.MISCONFIGURED, "403: no permission"),
    Signal("AccessDeniedException", Outcome.MISCONFIGURED, "403: the role lacks the action"),
    Signal("UnrecognizedClientException", Outcome.MISCONFIGURED, "403: no such access key"),
    Signal("InvalidSignatureException", Outcome.MISCONFIGURED, "403: wrong secret, or clock"),
    Signal("ExpiredTokenException", Outcome.MISCONFIGURED, "403: the role's session has ended"),
    Signal("NotFoundException", Outcome.MISCONFIGURED, "404: no such project"),
    Signal("MethodNotAllowedException", Outcome.MISCONFIGURED, "405: not the API's endpoint"),
    Signal("BadRequestException", Outcome.REJECTED, "400"),
    Signal("PayloadTooLargeException", Outcome.REJECTED, "413: over 7 MB"),
    # What botocore raises itself
    Signal("NoCredentialsError", Outcome.MISCONFIGURED, "no credentials in the environment"),
    Signal("PartialCredentialsError", Outcome.MISCONFIGURED, "half a credential"),
    Signal("CredentialRetrievalError", Outcome.MISCONFIGURED, "the credentials' source failed"),
    Signal("NoRegionError", Outcome.MISCONFIGURED, "no region in the environment"),
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
CALL_CODES: Final[Mapping[str, Signal]] = {signal.text: signal for signal in _WHOLE_CALL}

SIGNALS: Final = (*_CODES, *STRONG_WORDS, *_WEAK_CODES, *WEAK_WORDS, *_WHOLE_CALL)
"""Everything that is ever believed."""

REASONS: Final = frozenset({*STRONG_CODES, *WEAK_CODES, *CALL_CODES})
"""The closed list that ``reason`` comes from, where a service gave it."""
