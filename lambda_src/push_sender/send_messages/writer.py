"""Write the arguments of SendMessages for a request.

A call holds the message once, and an address holds only what its recipient has for itself.
Names and shapes: botocore's model of ``SendMessages``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from push_sender.messages.payloads import individual_content, payload
from push_sender.recipients.audience import Group
from push_sender.request.model import Content, Contents, PushRequest, Recipient
from push_sender.request.services import APNS_MESSAGE, GCM_MESSAGE, MessageShape, Service

if TYPE_CHECKING:
    from mypy_boto3_pinpoint.type_defs import SendMessagesRequestTypeDef

_AS_TEXT: Final = frozenset({"ExpiresAfter"})
"""Members that hold a number, which the API expects as text."""

_BESIDE_RAW_CONTENT: Final[Mapping[MessageShape, tuple[str, ...]]] = {
    GCM_MESSAGE: ("preferred_authentication_method",),
    APNS_MESSAGE: (
        "priority",
        "ttl",
        "collapse_id",
        "push_type",
        "preferred_authentication_method",
    ),
}
"""Fields that stand beside a payload that is built here. APNs' headers cannot stand in a
payload; whether the service reads these members beside RawContent is not documented."""

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
        The fields of each message that its recipients get.
    application_id
        The project to send through.
    """

    def __init__(self, request: PushRequest, contents: Contents, application_id: str) -> None:
        self._request = request
        self._contents = contents
        self._application_id = application_id
        self._ttl = {variant.shape: content.get("ttl") for variant, content in contents.items()}

    def ttl(self, service: Service) -> int | None:
        """Give the time to live of a service's pushes in seconds, as the request has it."""
        return self._ttl[service.shape]

    def call(
        self, group: Group, recipients: Iterable[Recipient], age_seconds: int = 0
    ) -> SendMessagesRequestTypeDef:
        """Write one call.

        Parameters
        ----------
        group
            The group of all the recipients.
        recipients
            At most 100, each token once.
        age_seconds
            How long the time to live has been running. The provider gets the rest of it.
        """
        service = group.service
        content = self._contents[group.variant]
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

    def address(self, group: Group, recipient: Recipient) -> dict[str, Any]:
        """Write one address: its channel type, and what the recipient has for itself."""
        return self._address(group.service, recipient, self._contents[group.variant])

    def _message(self, shape: MessageShape, content: Content) -> dict[str, Any]:
        if not self._request.is_built(shape):
            return _members(shape, content, content)
        built = payload(shape, content, self._request.context or {})
        message = {"RawContent": built, **_members(shape, content, _BESIDE_RAW_CONTENT[shape])}
        if shape is APNS_MESSAGE and content.get("silent"):
            message.setdefault("APNSPushType", "background")
        return message

    def _address(self, service: Service, recipient: Recipient, content: Content) -> dict[str, Any]:
        own = {
            member: value
            for field, member in _OVERRIDES
            if (value := getattr(recipient, field)) is not None
        }
        if self._request.is_built(service.shape) and "RawContent" not in own:
            context = {**(self._request.context or {}), **(recipient.context or {})}
            own = {"Context": recipient.context} if recipient.context is not None else {}
            own["RawContent"] = payload(
                service.shape, individual_content(content, recipient), context
            )
        return {"ChannelType": service.name, **own}


def _members(shape: MessageShape, content: Content, fields: Iterable[str]) -> dict[str, Any]:
    """Write the members of a message that stand for some of its fields."""
    wanted = frozenset(fields)
    return {
        member: str(content[field]) if member in _AS_TEXT else content[field]
        for field, member in shape.members.items()
        if field in wanted and field in content
    }
