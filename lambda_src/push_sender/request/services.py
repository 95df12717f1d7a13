"""The push services and how their messages differ, as data.

Four message shapes serve seven services: the four APNs environments share one.
Where services differ only in the name of a member, that difference is a row here
and a branch nowhere. Names of members: botocore's model of Pinpoint's
``SendMessages``. Limits: the providers' and AWS's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_EVERYWHERE: Final = {
    "title": "Title",
    "message": "Body",
    "action": "Action",
    "url": "Url",
    "silent": "SilentPush",
    "sound": "Sound",
    "data": "Data",
    "substitutions": "Substitutions",
    "raw_content": "RawContent",
}
_ICONS: Final = {
    "icon_reference": "IconReference",
    "image_icon_url": "ImageIconUrl",
    "small_image_icon_url": "SmallImageIconUrl",
}


@dataclass(frozen=True, slots=True, eq=False)
class MessageShape:
    """One message shape of ``MessageConfiguration``. There is one object for each.

    Attributes
    ----------
    options
        The request's object of what only this shape has, such as ``gcm``.
    member
        The member of ``MessageConfiguration``, such as ``GCMMessage``.
    members
        Request field to member of the message, for each field the shape has a place for.
    ttl_seconds
        Least and greatest time to live that the provider takes, in seconds. APNs names no
        greatest; the API's integers have 32 bits.
    """

    options: str
    member: str
    members: Mapping[str, str]
    ttl_seconds: tuple[int, int]


GCM_MESSAGE: Final = MessageShape(
    options="gcm",
    member="GCMMessage",
    members={
        **_EVERYWHERE,
        **_ICONS,
        "priority": "Priority",
        "ttl": "TimeToLive",
        "image_url": "ImageUrl",
        "collapse_id": "CollapseKey",
        "restricted_package_name": "RestrictedPackageName",
        "preferred_authentication_method": "PreferredAuthenticationMethod",
    },
    ttl_seconds=(0, 2_419_200),
)
APNS_MESSAGE: Final = MessageShape(
    options="apns",
    member="APNSMessage",
    members={
        **_EVERYWHERE,
        "priority": "Priority",
        "ttl": "TimeToLive",
        "image_url": "MediaUrl",
        "collapse_id": "CollapseId",
        "badge": "Badge",
        "category": "Category",
        "thread_id": "ThreadId",
        "push_type": "APNSPushType",
        "preferred_authentication_method": "PreferredAuthenticationMethod",
    },
    ttl_seconds=(0, 2_147_483_647),
)
BAIDU_MESSAGE: Final = MessageShape(
    options="baidu",
    member="BaiduMessage",
    members={**_EVERYWHERE, **_ICONS, "ttl": "TimeToLive", "image_url": "ImageUrl"},
    ttl_seconds=(0, 604_800),
)
ADM_MESSAGE: Final = MessageShape(
    options="adm",
    member="ADMMessage",
    members={
        **_EVERYWHERE,
        **_ICONS,
        "ttl": "ExpiresAfter",
        "image_url": "ImageUrl",
        "collapse_id": "ConsolidationKey",
        "md5": "MD5",
    },
    ttl_seconds=(1, 2_678_400),
)


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A push service: the ``ChannelType`` of its addresses and the shape of its message.

    Compared and hashed by identity: there is one object for each service.
    """

    name: str
    shape: MessageShape
    payload_bytes: int


_SEVEN: Final = (
    Service("GCM", GCM_MESSAGE, 4_096),
    Service("APNS", APNS_MESSAGE, 4_096),
    Service("APNS_SANDBOX", APNS_MESSAGE, 4_096),
    Service("APNS_VOIP", APNS_MESSAGE, 5_120),
    Service("APNS_VOIP_SANDBOX", APNS_MESSAGE, 5_120),
    Service("BAIDU", BAIDU_MESSAGE, 4_096),
    Service("ADM", ADM_MESSAGE, 6_144),
)

SERVICES: Final[Mapping[str, Service]] = {
    **{service.name: service for service in _SEVEN},
    "FCM": _SEVEN[0],  # what everybody calls it; the API and the reports say GCM
}
"""Each service by every name that a request may give it."""
