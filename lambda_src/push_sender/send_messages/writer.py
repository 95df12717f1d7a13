"""Write the arguments of SendMessages for a request.

The content that a service's recipients share is written once; an address holds only its own
fields. Names and shapes are those of botocore's model of ``SendMessages``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from push_sender.messages import fcm_v1
from push_sender.messages.sizes import individual_content
from push_sender.request.json_text import compact_json
from push_sender.request.model import Content, Contents, PushRequest, Recipient
from push_sender.request.services import GCM_MESSAGE, MessageShape, Service

if TYPE_CHECKING:
    from mypy_boto3_pinpoint.type_defs import SendMessagesRequestTypeDef

_AS_TEXT: Final = frozenset({"ExpiresAfter"})
"""Members that hold a number, which the API expects as text."""


_OVERRIDES: Final = (
    ("title", "TitleOverride"),
    ("message", "BodyOverride"),
    ("substitutions", "Substitutions"),
    ("context", "Context"),
    ("raw_content", "RawContent"),
)
"""The fields of a recipient, and the members of its address."""


class MessageWriter:
    """Writes the SendMessages calls of one request.

    Parameters
    ----------
    request
        A checked request.
    contents
        The fields of each message shape that its recipients use.
    application_id
        The project to send through.
    """

    def __init__(self, request: PushRequest, contents: Contents, application_id: str) -> None:
        self._request = request
        self._contents = contents
        self._application_id = application_id

    def ttl(self, service: Service) -> int | None:
        """Return the time to live of a service's pushes in seconds; None if there is none."""
        ttl: int | None = self._contents[service.shape].get("ttl")
        return ttl

    def call(
        self, service: Service, recipients: Iterable[Recipient], age_seconds: int = 0
    ) -> SendMessagesRequestTypeDef:
        """Write one call.

        Parameters
        ----------
        service
            The service of all the recipients.
        recipients
            At most 100, each token once.
        age_seconds
            How long the time to live has been running. The provider gets the rest of it.
        """
        content = self._contents[service.shape]
        if age_seconds and "ttl" in content:
            least = service.shape.ttl_seconds[0]
            content = {**content, "ttl": max(content["ttl"] - age_seconds, least)}
        plain = {"ChannelType": service.name}
        message_request: dict[str, Any] = {
            "Addresses": {
                recipient.token: (
                    self._address(service, recipient, content) if recipient.is_individual else plain
                )
                for recipient in recipients
            },
            "MessageConfiguration": {service.shape.member: self._message(service.shape, content)},
        }
        if self._request.context is not None:
            message_request["Context"] = self._request.context
        if self._request.trace_id is not None:
            message_request["TraceId"] = self._request.trace_id
        call: Any = {"ApplicationId": self._application_id, "MessageRequest": message_request}
        return call  # type: ignore[no-any-return]  # built from a table; a test checks it against botocore's model

    def address(self, service: Service, recipient: Recipient) -> dict[str, Any]:
        """Write one address: its channel type and the recipient's own fields."""
        return self._address(service, recipient, self._contents[service.shape])

    def _message(self, shape: MessageShape, content: Content) -> dict[str, Any]:
        if self._is_fcm_v1(shape):
            message = {"RawContent": self._fcm_v1(content, self._request.context or {})}
            if (method := content.get("preferred_authentication_method")) is not None:
                message["PreferredAuthenticationMethod"] = method
            return message
        return {
            member: str(content[field]) if member in _AS_TEXT else content[field]
            for field, member in shape.members.items()
            if field in content
        }

    def _address(self, service: Service, recipient: Recipient, content: Content) -> dict[str, Any]:
        own = {
            member: value
            for field, member in _OVERRIDES
            if (value := getattr(recipient, field)) is not None
        }
        if own and self._is_fcm_v1(service.shape) and "RawContent" not in own:
            context = {**(self._request.context or {}), **(recipient.context or {})}
            own = {"Context": recipient.context} if recipient.context is not None else {}
            own["RawContent"] = self._fcm_v1(individual_content(content, recipient), context)
        return {"ChannelType": service.name, **own}

    def _is_fcm_v1(self, shape: MessageShape) -> bool:
        return shape is GCM_MESSAGE and self._request.is_fcm_v1

    @staticmethod
    def _fcm_v1(content: Content, context: Mapping[str, str]) -> str:
        return compact_json(fcm_v1.raw_content(content, context, content.get("substitutions", {})))
