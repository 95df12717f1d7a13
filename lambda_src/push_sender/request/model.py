"""The request as a type: every field, its kind and its limits.

One model gives the checks, the paths of the errors and the JSON Schema. ``field_types`` has
the rules of single fields, ``validation.combinations`` those for several. ``null`` means that
a field is left out, because Step Functions and input transformers write it for a missing value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from push_sender.request.field_types import (
    TIME,
    Count,
    Days,
    Id,
    IdempotencyKey,
    Language,
    Moment,
    RawContent,
    Seconds,
    ServiceName,
    ServiceNames,
    Share,
    Substitutions,
    Tags,
    Text,
    TextMap,
    Texts,
    Token,
)
from push_sender.request.languages import chooser
from push_sender.request.services import (
    APNS_MESSAGE,
    GCM_MESSAGE,
    SERVICES,
    MessageShape,
)

MAX_RECIPIENTS: Final = 5_000
Content = Mapping[str, Any]
"""The fields that a message will hold, by their names in the request."""


class Variant(NamedTuple):
    """One message of a request: a shape, in the language of a translation or in none."""

    shape: MessageShape
    language: str | None = None


Contents = Mapping[Variant, Content]
"""The content of each variant that a recipient gets."""


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


class Color(_Strict):
    """FCM's ``Color``."""

    red: Share = Field(0.0, description="From 0 to 1, as are the others.")
    green: Share = Field(0.0, description="From 0 to 1.")
    blue: Share = Field(0.0, description="From 0 to 1.")
    alpha: Share = Field(1.0, description="From 0 to 1.")


class LightSettings(_Strict):
    """FCM's ``LightSettings``: the LED of the phone."""

    color: Color = Field(description="The color of the LED.")
    light_on_duration: Seconds = Field(description="For how long it is on, such as `0.5s`.")
    light_off_duration: Seconds = Field(description="For how long it is off, such as `0.5s`.")


class FcmV1Content(_Strict):
    """The fields that only the format ``fcm_v1`` has, named as FCM names them."""

    channel_id: Text | None = Field(None, description="The Android notification channel.")
    icon: Text | None = Field(None, description="The name of the icon, a drawable of the app.")
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = Field(
        None, description="The color of the icon, as `#rrggbb`."
    )
    tag: Text | None = Field(
        None, description="Replaces a notification with the same tag that is still displayed."
    )
    click_action: Text | None = Field(None, description="The intent filter that a tap starts.")
    title_loc_key: Text | None = Field(
        None, description="The app's own text for the title, by its name in the app."
    )
    title_loc_args: Texts | None = Field(None, description="The values for `title_loc_key`.")
    body_loc_key: Text | None = Field(
        None, description="The app's own text for the message, by its name in the app."
    )
    body_loc_args: Texts | None = Field(None, description="The values for `body_loc_key`.")
    ticker: Text | None = Field(None, description="The text for accessibility services.")
    sticky: bool | None = Field(None, description="The notification stays after a tap.")
    event_time: Annotated[str, Field(pattern=TIME)] | None = Field(
        None, description="When the event happens, as RFC 3339; the system sorts by it."
    )
    local_only: bool | None = Field(
        None, description="Show it only on this device, not on a watch."
    )
    notification_priority: (
        Literal["PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"]
        | None
    ) = Field(None, description="How prominently Android shows it.")
    default_sound: bool | None = Field(None, description="Use the system's sound.")
    default_vibrate_timings: bool | None = Field(None, description="Use the system's vibration.")
    default_light_settings: bool | None = Field(None, description="Use the system's LED settings.")
    vibrate_timings: (
        Annotated[list[Seconds], Field(max_length=100), Field(fail_fast=True)] | None
    ) = Field(None, description="How long to wait and to vibrate in turn, such as `0.5s`.")
    light_settings: LightSettings | None = Field(None, description="How the LED blinks.")
    visibility: Literal["PRIVATE", "PUBLIC", "SECRET"] | None = Field(
        None, description="What a locked screen shows."
    )
    notification_count: Count | None = Field(
        None, description="How many items the notification stands for; some launchers show it."
    )
    analytics_label: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.~%-]{1,50}$")] | None = Field(
        None, description="The label of the message in Firebase's reports."
    )


class GcmContent(_Icons, FcmV1Content):
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


class CriticalSound(_Strict):
    """The sound of a critical alert, which the app needs an entitlement for."""

    name: Text = Field(description="The sound file of the app, or `default`.")
    volume: Share = Field(1.0, description="From 0 to 1.")


class NativeContent(_Strict):
    """The fields that only the format ``native`` has, named as APNs names them."""

    subtitle: Text | None = Field(None, description="The line below the title.")
    title_loc_key: Text | None = Field(
        None, description="The app's own text for the title, by its key in the app."
    )
    title_loc_args: Texts | None = Field(None, description="The values for `title_loc_key`.")
    subtitle_loc_key: Text | None = Field(
        None, description="The app's own text for the subtitle, by its key in the app."
    )
    subtitle_loc_args: Texts | None = Field(None, description="The values for `subtitle_loc_key`.")
    loc_key: Text | None = Field(
        None, description="The app's own text for the message, by its key in the app."
    )
    loc_args: Texts | None = Field(None, description="The values for `loc_key`.")
    launch_image: Text | None = Field(None, description="What the app shows while it starts.")
    interruption_level: Literal["passive", "active", "time-sensitive", "critical"] | None = Field(
        None, description="How much the notification may interrupt."
    )
    relevance_score: Share | None = Field(
        None, description="From 0 to 1: what the notification summary shows first."
    )
    mutable_content: bool | None = Field(
        None, description="The app's extension may change the notification before it is shown."
    )
    content_available: bool | None = Field(None, description="Wake the app in the background, too.")
    target_content_id: Text | None = Field(None, description="The window to bring forward.")
    filter_criteria: Text | None = Field(
        None, description="Compared with the phone's Focus, which may hide the notification."
    )
    critical_sound: CriticalSound | None = Field(
        None, description="The sound of a critical alert; it replaces `sound`."
    )


class ApnsContent(ServiceContent, NativeContent):
    """What only APNs has. ``format`` chooses who builds the payload.

    ``pinpoint`` leaves it to the API; ``native`` builds it here, with every field of APNs.
    """

    format: Literal["pinpoint", "native"] = Field(
        "pinpoint",
        description="`native` builds APNs' own payload, with all its fields; `pinpoint` leaves "
        "that to the API.",
    )

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


class Translation(_Strict):
    """The texts of one language; a text that is left out is the request's own."""

    title: Text | None = Field(None, description="The title in this language.")
    message: Text | None = Field(None, description="The text in this language.")
    subtitle: Text | None = Field(None, description="The line below the title, on iOS.")
    url: Text | None = Field(None, description="What a tap opens.")
    image_url: Text | None = Field(None, description="An image to show.")


MAX_TRANSLATIONS: Final = 100


class PersonalContent(_Strict):
    """The fields that replace or add to the shared message for one recipient."""

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
    url: Text | None = Field(None, description="What a tap opens for this recipient.")
    image_url: Text | None = Field(None, description="An image for this recipient.")
    data: TextMap | None = Field(
        None, description="Added to the request's `data`; a key given here wins."
    )
    badge: Count | None = Field(None, description="The number on the app's icon.")
    subtitle: Text | None = Field(None, description="The line below the title, on iOS.")
    language: Language | None = Field(
        None, description="Chooses one of `translations`: a language tag such as `de` or `pt-BR`."
    )


PERSONAL: Final = tuple(PersonalContent.model_fields)
"""The names of these fields."""


class DeviceFilter(_Strict):
    """Selects devices of a user. A device must meet every member that is given."""

    services: ServiceNames | None = Field(
        None,
        description="The push services that the device may have. VoIP services count only if they "
        "are named here.",
    )
    tags: Tags | None = Field(None, description="Tags that the device must have, all of them.")
    exclude_tags: Tags | None = Field(None, description="Tags of which the device must have none.")
    seen_within_days: Days | None = Field(
        None, description="The device was registered or seen again within so many days."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_few_members(cls, value: object) -> object:
        """Refuse more members than there are: pydantic would keep an error for each of them."""
        if isinstance(value, dict) and len(value) > len(cls.model_fields):
            raise PydanticCustomError("request_rule", "holds unknown fields")
        return value


class _Address(_Strict):
    token: Token = Field(
        description="The device's token: 1 to 2,048 printable ASCII characters without spaces."
    )
    service: ServiceName = Field(
        description="The push service that the token is of. `FCM` is another spelling of `GCM`."
    )


class Recipient(PersonalContent, _Address):
    """One device, and what it alone gets in place of the shared message."""

    @property
    def is_individual(self) -> bool:
        """Whether its part of a call has more than a token and a service."""
        given = self.__pydantic_fields_set__
        return len(given) > (3 if "language" in given else 2)


class _User(_Strict):
    user_id: Id = Field(
        description="The user. Each registered device of the user that fits gets the push."
    )
    device_id: Id | None = Field(
        None, description="Only this device gets the push, while it belongs to the user."
    )
    device_filter: DeviceFilter | None = Field(
        None,
        description="Selects devices of this user, in place of the request's `device_filter`.",
    )


class UserRecipient(PersonalContent, _User):
    """The devices of one user, and what they alone get in place of the shared message."""

    def on_device(self, token: str, service: str, language: str | None = None) -> Recipient:
        """Make the recipient that one device of the user is.

        Parameters
        ----------
        token, service
            Those of the device, well-formed.
        language
            That of the device, for a user without one.
        """
        fields: dict[str, Any] = {"token": token, "service": service}
        if language is not None:
            fields["language"] = language
        for name in self.model_fields_set.intersection(PERSONAL):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        return Recipient.model_construct(**fields)


OPTIONS: Final[Mapping[str, type[ServiceContent]]] = {
    "gcm": GcmContent,
    "apns": ApnsContent,
    "baidu": BaiduContent,
    "adm": AdmContent,
}
"""The object of each service, by its name in the request."""


class PushRequest(SharedContent):
    """A request, the same at every entry point."""

    # From left to right, because nearly all recipients are of the first kind, and no object is of
    # both. A discriminator would check 5,000 tokens 13% slower, pydantic's own choice 75%.
    recipient: Recipient | UserRecipient | None = Field(
        None,
        union_mode="left_to_right",
        description="One device or user. Give this or `recipients`.",
    )
    recipients: (
        Annotated[
            list[Annotated[Recipient | UserRecipient, Field(union_mode="left_to_right")]],
            Field(min_length=1, max_length=MAX_RECIPIENTS),
            Field(fail_fast=True),
        ]
        | None
    ) = Field(
        None,
        description="1 to 5,000 devices of any mix of services, and users. Give this or "
        "`recipient`.",
    )
    device_filter: DeviceFilter | None = Field(
        None,
        description="Selects the devices of each user who has no `device_filter` of their own.",
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
    translations: (
        Annotated[dict[Language, Translation], Field(max_length=MAX_TRANSLATIONS)] | None
    ) = Field(
        None,
        description="The texts in other languages, by language tag. A recipient's `language` "
        "chooses (RFC 4647 lookup).",
    )
    application_id: Text | None = Field(
        None, description="The push project; left out, the service's own."
    )
    idempotency_key: IdempotencyKey | None = Field(
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
    send_at: Moment | None = Field(
        None,
        description="Send it at this time, with an offset, such as `2026-12-24T18:00:00+01:00`: "
        "at most 366 days ahead, precise to the minute.",
    )
    context: TextMap | None = Field(None, description="Added to what the app receives.")
    trace_id: Annotated[Text, Field(min_length=1)] | None = Field(
        None, description="Passed on as the call's TraceId."
    )

    @property
    def everyone(self) -> list[Recipient | UserRecipient]:
        """The recipients in the order asked, however they were given."""
        if self.recipients is not None:
            return self.recipients
        return [self.recipient] if self.recipient is not None else []

    @property
    def has_users(self) -> bool:
        """Whether any recipient is a user."""
        return UserRecipient in map(type, self.everyone)

    @property
    def choose(self) -> Callable[[str | None], str | None] | None:
        """Gives the translation's tag for a recipient's language. None without translations."""
        return chooser(self.translations) if self.translations else None

    def place_of(self, position: int) -> str:
        """Name the place where a recipient was given."""
        return "recipient" if self.recipients is None else f"recipients[{position}]"

    def is_built(self, shape: MessageShape) -> bool:
        """Whether the payload of a shape is built here, and not by the API from its fields."""
        own = getattr(self, shape.options)
        return getattr(own, "format", "pinpoint") != "pinpoint"

    def content_for(self, variant: Variant) -> Content:
        """Give each field that a variant's message will hold.

        The translation's fields come before those of the service's object, and these before
        the request's. Fields that were left out, or that have no place, are absent.
        """
        fields = _FIELDS_OF[variant.shape]
        return {
            field: value.model_dump() if field in _OBJECTS else value
            for part in (self, getattr(self, variant.shape.options), self._translation(variant))
            if part is not None
            for field, value in vars(part).items()
            if value is not None and field in fields
        }

    def path_in(self, variant: Variant, field: str) -> str:
        """Name the place where a variant's value of a field was given."""
        if getattr(self._translation(variant), field, None) is not None:
            return f"translations.{variant.language}.{field}"
        options = variant.shape.options
        own = getattr(getattr(self, options), field, None) is not None
        return f"{options}.{field}" if own else field

    def sources(self, variant: Variant, *fields: str) -> set[str]:
        """Name every place that a variant's values of some fields depend on."""
        places = set()
        options = variant.shape.options
        for field in fields:
            own = f"{options}.{field}"
            given = self.path_in(variant, field)
            places |= {own} if given == own else {given, own, field, options}
        return places

    def _translation(self, variant: Variant) -> Translation | None:
        if variant.language is None or self.translations is None:
            return None
        return self.translations[variant.language]


MAPS: Final = frozenset(
    name
    for model in (PushRequest, PersonalContent)
    for name, field in model.model_fields.items()
    if field.annotation in (TextMap | None, Substitutions | None)
)
"""The fields that are maps of texts."""


FORMAT_FIELDS: Final[Mapping[MessageShape, tuple[str, frozenset[str]]]] = {
    GCM_MESSAGE: ("fcm_v1", frozenset(FcmV1Content.model_fields)),
    APNS_MESSAGE: ("native", frozenset(NativeContent.model_fields)),
}
"""Of a shape whose payload can be built here: the format that builds it, and its own fields."""

_FIELDS_OF: Final = {
    shape: shape.members.keys() | FORMAT_FIELDS.get(shape, ("", frozenset()))[1]
    for shape in dict.fromkeys(service.shape for service in SERVICES.values())
}


def _inner_models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    return {
        name: each
        for name, field in model.model_fields.items()
        for each in (field.annotation, *get_args(field.annotation))
        if isinstance(each, type(BaseModel))
    }


_WITH_OBJECTS: Final[tuple[type[BaseModel], ...]] = (
    PushRequest,
    *OPTIONS.values(),
    LightSettings,
    UserRecipient,
)
INNER_MODELS: Final = {model: _inner_models(model) for model in _WITH_OBJECTS}
"""The fields of each model that hold one object, and the model of that object.

Of a recipient it is the model with more fields.
"""

_OBJECTS: Final = frozenset(name for model in OPTIONS.values() for name in INNER_MODELS[model])
"""The fields of a message that are objects: a payload holds them as maps."""


def known_fields() -> dict[str, list[str]]:
    """List the paths of each field that some part of a request has, by its name."""
    parts: Mapping[str, type[BaseModel]] = {
        "": PushRequest,
        **{f"{option}.": model for option, model in OPTIONS.items()},
        "recipients[].": Recipient,
        "device_filter.": DeviceFilter,
    }
    paths: dict[str, list[str]] = {}
    for place, model in parts.items():
        for name in model.model_fields:
            paths.setdefault(name, []).append(f"{place}{name}")
    for name in UserRecipient.model_fields.keys() - Recipient.model_fields.keys():
        paths.setdefault(name, []).append(f"recipients[].{name}")
    return paths
