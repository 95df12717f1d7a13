"""The request as a type: every field, its kind and its limits.

One model gives the checks, the paths of the errors and the JSON Schema. What concerns
several fields at once is in ``rules``. Types are strict: no ``"30"`` for 30. ``null``
means left out, because Step Functions and input transformers write it for what they
have not got.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from push_sender.request.json_text import compact_json
from push_sender.request.services import MessageShape

MAX_RECIPIENTS: Final = 5_000
_INT32: Final = 2_147_483_647

RAW_CHARACTERS: Final = 65_536
"""How long raw content may be as JSON text. No payload that a service takes comes near it."""


def _from_float(value: object) -> object:
    """Take 3600.0 for 3600: JSON has one kind of number, and JSON Schema calls both integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Token = Annotated[str, Field(min_length=1, max_length=2_048, pattern=r"^[\x21-\x7e]+$")]
Count = Annotated[int, Field(ge=0, le=_INT32), BeforeValidator(_from_float)]
ServiceName = Literal[
    "GCM", "FCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "ADM"
]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("request_rule", "must be 1 to 256 printable characters")
    return value


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


def _json_object_text(value: object) -> str:
    """Take an object or the text of one, and give the text that will be sent."""
    try:
        parsed = _read(value) if isinstance(value, str) else value
        if isinstance(parsed, dict):
            text = compact_json(parsed)
            text.encode()  # half a surrogate pair fails here
            if len(text) <= RAW_CHARACTERS:
                return value if isinstance(value, str) else text
    except (ValueError, TypeError, RecursionError):
        pass
    raise PydanticCustomError(
        "request_rule",
        f"must be a JSON object, or the text of one, of at most {RAW_CHARACTERS:,} characters and "
        "not nested too deeply",
    )


def _read(text: str) -> object:
    """Parse JSON text, of which objects may take 40 times the memory, so its size comes first."""
    if len(text) > RAW_CHARACTERS:
        raise ValueError
    return json.loads(text, parse_constant=_refuse_constant)


Content = Mapping[str, Any]
"""The fields that a message will hold, by their names in the request."""

Contents = Mapping[MessageShape, Content]
"""The content of each message shape that somebody uses."""

# The first error ends a map or a list, because pydantic would keep one error for each of
# millions of entries. ``malformed`` finds the others, a few at a time.
TextMap = Annotated[dict[Text, Text], FailFast()]
Substitutions = Annotated[
    dict[
        Text,
        Annotated[
            list[Text],
            FailFast(),
            BeforeValidator(_as_list),
            WithJsonSchema(
                {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
            ),
        ],
    ],
    FailFast(),
]
RawContent = Annotated[
    str,
    PlainValidator(_json_object_text),
    WithJsonSchema(
        {"anyOf": [{"type": "object"}, {"type": "string", "maxLength": RAW_CHARACTERS}]}
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class SharedContent(_Strict):
    """The fields that all services share, as far as each has a place for them."""

    title: Text | None = Field(
        None,
        description="The title. `title` or `message` must be there, unless the push is silent or "
        "raw.",
    )
    message: Text | None = Field(None, description="The text.")
    action: Literal["OPEN_APP", "DEEP_LINK", "URL"] | None = Field(
        None, description="What a tap does; left out, it opens the app."
    )
    url: Text | None = Field(
        None, description="What the actions `URL` (http or https) and `DEEP_LINK` open."
    )
    priority: Literal["normal", "high"] | None = Field(None, description="How urgent it is.")
    ttl: Count | None = Field(
        None, description="For how many seconds the service may try to deliver it."
    )
    silent: bool | None = Field(None, description="Nothing is displayed.")
    image_url: Text | None = Field(None, description="An image to show.")
    sound: Text | None = Field(None, description="The sound to play.")
    data: TextMap | None = Field(
        None, description="What the app gets beside the text; on its own only with `silent`."
    )
    collapse_id: Text | None = Field(
        None, description="A later push of the same id takes the place of an earlier one."
    )
    substitutions: Substitutions | None = Field(
        None, description="Gives the message's variables a text or a list of texts."
    )


class ServiceContent(SharedContent):
    """What one service gets in place of the shared fields, and what only it has."""

    raw_content: RawContent | None = Field(
        None,
        description="The service's own payload, an object or its JSON text; replaces all else.",
    )


class _Icons(ServiceContent):
    icon_reference: Text | None = Field(None, description="The name of an icon in the app.")
    image_icon_url: Text | None = Field(None, description="An icon to show.")
    small_image_icon_url: Text | None = Field(None, description="A small icon to show.")


class GcmContent(_Icons):
    """What only FCM has. ``format`` chooses who shows the notification.

    ``pinpoint`` is the API's own payload, which an app shows only with AWS's client
    library; ``fcm_v1`` is a notification that any Firebase app shows.
    """

    format: Literal["pinpoint", "fcm_v1"] = Field(
        "pinpoint",
        description="`fcm_v1` builds a notification that any Firebase app shows; `pinpoint` is "
        "the API's own format, which an app shows with AWS's client library.",
    )
    restricted_package_name: Text | None = Field(
        None, description="Only an app of this name gets it."
    )
    preferred_authentication_method: Literal["KEY", "TOKEN"] | None = Field(
        None, description="Which of the channel's credentials is used."
    )


class ApnsContent(ServiceContent):
    """What only APNs has."""

    badge: Count | None = Field(None, description="The number on the app's icon.")
    category: Text | None = Field(
        None, description="The notification's category, which names its buttons."
    )
    thread_id: Text | None = Field(None, description="Groups notifications.")
    push_type: (
        Literal[
            "alert", "background", "complication", "fileprovider", "mdm", "voip", "liveactivity"
        ]
        | None
    ) = Field(None, description="The APNs push type.")
    preferred_authentication_method: Literal["CERTIFICATE", "TOKEN"] | None = Field(
        None, description="Which of the channel's credentials is used."
    )


class BaiduContent(_Icons):
    """What only Baidu has."""


class AdmContent(_Icons):
    """What only ADM has."""

    md5: Text | None = Field(
        None, description="The checksum by which ADM sees that the data is whole."
    )


class Recipient(_Strict):
    """One device, and what it alone gets in place of the shared message."""

    token: Token = Field(
        description="The device's token: 1 to 2,048 printable ASCII characters without spaces."
    )
    service: ServiceName = Field(
        description="The push service that the token is of. `FCM` is another spelling of `GCM`."
    )
    title: Text | None = Field(
        None,
        description="The title. `title` or `message` must be there, unless the push is silent or "
        "raw.",
    )
    message: Text | None = Field(None, description="The text.")
    substitutions: Substitutions | None = Field(
        None, description="Gives the message's variables a text or a list of texts."
    )
    context: TextMap | None = Field(None, description="Added to what the app receives.")
    raw_content: RawContent | None = Field(
        None,
        description="The service's own payload, an object or its JSON text; replaces all else.",
    )

    @property
    def is_individual(self) -> bool:
        """Whether it may get something for itself alone: it has more than a token and a service."""
        return len(self.__pydantic_fields_set__) > len(("token", "service"))


PERSONAL: Final = tuple(name for name in Recipient.model_fields if name not in ("token", "service"))
"""The fields that replace or add to the shared message for one recipient."""


OPTIONS: Final[Mapping[str, type[ServiceContent]]] = {
    "gcm": GcmContent,
    "apns": ApnsContent,
    "baidu": BaiduContent,
    "adm": AdmContent,
}
"""The object of each service, by its name in the request."""


class PushRequest(SharedContent):
    """A request, the same at every entry point."""

    recipient: Recipient | None = Field(None, description="One device. Give this or `recipients`.")
    recipients: (
        Annotated[list[Recipient], Field(min_length=1, max_length=MAX_RECIPIENTS), FailFast()]
        | None
    ) = Field(
        None, description="1 to 5,000 devices of any mix of services. Give this or `recipient`."
    )
    gcm: GcmContent | None = Field(
        None, description="What FCM alone gets; a shared field given here wins."
    )
    apns: ApnsContent | None = Field(
        None, description="What APNs alone gets; a shared field given here wins."
    )
    baidu: BaiduContent | None = Field(
        None, description="What Baidu alone gets; a shared field given here wins."
    )
    adm: AdmContent | None = Field(
        None, description="What ADM alone gets; a shared field given here wins."
    )
    application_id: Text | None = Field(
        None, description="The push project; left out, the service's own."
    )
    idempotency_key: (
        Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)] | None
    ) = Field(
        None,
        description="Within a day the same request under the same key is sent once. The header "
        "`Idempotency-Key` says the same.",
    )
    requeue: bool | None = Field(
        None, description="What cannot be sent now goes to the queue and is sent later."
    )
    dry_run: bool | None = Field(
        None, description="Check the request and show the exact calls; send nothing."
    )
    context: TextMap | None = Field(None, description="Added to what the app receives.")
    trace_id: Annotated[Text, Field(min_length=1)] | None = Field(
        None, description="Passed on as the call's TraceId."
    )

    @property
    def everyone(self) -> list[Recipient]:
        """The recipients in the order asked, however they were given."""
        if self.recipients is not None:
            return self.recipients
        return [self.recipient] if self.recipient is not None else []

    def place_of(self, position: int) -> str:
        """Name the place where a recipient was given."""
        return "recipient" if self.recipients is None else f"recipients[{position}]"

    @property
    def is_fcm_v1(self) -> bool:
        """Whether FCM gets a notification built here in place of the API's own fields."""
        return self.gcm is not None and self.gcm.format == "fcm_v1"

    def content_for(self, shape: MessageShape) -> Content:
        """Give each field that a shape's message will hold, what its own object says first.

        Fields that were left out, or that the shape has no place for, are absent.
        """
        own = getattr(self, shape.options)
        return {
            field: value
            for part in (self, own)
            if part is not None
            for field, value in vars(part).items()
            if value is not None and field in shape.members
        }

    def path_in(self, shape: MessageShape, field: str) -> str:
        """Name the place where a shape's value of a field was given."""
        own = getattr(getattr(self, shape.options), field, None) is not None
        return f"{shape.options}.{field}" if own else field

    def sources(self, shape: MessageShape, *fields: str) -> set[str]:
        """Name every place that a shape's values of some fields depend on."""
        places = set()
        for field in fields:
            own = f"{shape.options}.{field}"
            given = self.path_in(shape, field)
            places |= {own} if given == own else {own, field, shape.options}
        return places


MAPS: Final = frozenset(
    name
    for model in (PushRequest, Recipient)
    for name, field in model.model_fields.items()
    if field.annotation in (TextMap | None, Substitutions | None)
)
"""The fields that are maps of texts."""


def field_names() -> list[str]:
    """List every field that some part of a request has, to suggest from."""
    models: Iterable[type[BaseModel]] = (PushRequest, Recipient, *OPTIONS.values())
    return sorted({name for model in models for name in model.model_fields})
