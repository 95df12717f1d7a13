"""Push projects and their seven channels, in the state of ``sandbox.pinpoint``.

AWS asks the provider whether a channel's credentials are right. The sandbox only checks that a
channel has the credentials that its authentication method needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from moto.pinpoint.exceptions import ApplicationNotFound
from moto.pinpoint.models import App, PinpointBackend, pinpoint_backends

from sandbox.cloudformation.resource import Resource, ResourceFailedError, is_true
from sandbox.pinpoint.projects import channels_of, update_channel


class Project(Resource):
    """A push project."""

    type_name = "AWS::Pinpoint::App"
    required = ("Name",)
    replaced_by = ("Name",)
    attribute_names = ("Arn", "Id")

    _app: App

    def create(self) -> None:
        """Make a project."""
        self._app = self._backend().create_app(self.properties["Name"], self.tags)

    def change(self, before: Mapping[str, Any]) -> None:
        """Change the tags; nothing else can change."""
        tagger = self._backend().tagger
        tagger.delete_all_tags_for_resource(self._app.arn)
        tagger.tag_resource(self._app.arn, tagger.convert_dict_to_tags_input(self.tags))

    def remove(self) -> None:
        """Remove the project with its channels."""
        self._backend().apps.pop(self._app.application_id, None)

    @property
    def physical_resource_id(self) -> str:
        """The project's id."""
        return self._app.application_id

    def attributes(self) -> Mapping[str, str]:
        """Return its ARN and id."""
        return {"Arn": self._app.arn, "Id": self._app.application_id}

    def _backend(self) -> PinpointBackend:
        return pinpoint_backends[self.account_id][self.region]


class _Channel(Resource):
    """A channel of a project; a subclass defines its kind."""

    required = ("ApplicationId",)
    replaced_by = ("ApplicationId",)

    channel: ClassVar[str]
    credentials: ClassVar[Mapping[str, tuple[str, ...]]]

    def create(self) -> None:
        self.change({})

    def change(self, before: Mapping[str, Any]) -> None:
        self._check_credentials()
        request = {name: value for name, value in self.properties.items() if value != ""}
        del request["ApplicationId"]
        if "Enabled" in request:
            # If it is left out, the channel stays disabled, as in the API. No default is
            # documented, and a template without it must not work only here.
            request["Enabled"] = is_true(request["Enabled"])
        update_channel(self._app(), self.channel, request)

    def remove(self) -> None:
        try:
            channels_of(self._app()).pop(self.channel, None)
        except ResourceFailedError:
            return  # removed with its project

    @property
    def physical_resource_id(self) -> str:
        return str(self.properties["ApplicationId"])

    def _app(self) -> App:
        try:
            return pinpoint_backends[self.account_id][self.region].get_app(
                self.properties["ApplicationId"]
            )
        except ApplicationNotFound:
            raise ResourceFailedError(
                "ApplicationId names no project of this account and region."
            ) from None

    def _check_credentials(self) -> None:
        method = self.properties.get("DefaultAuthenticationMethod", next(iter(self.credentials)))
        needed = self.credentials.get(method.upper())
        if needed is None:
            known = " or ".join(self.credentials)
            raise ResourceFailedError(f"DefaultAuthenticationMethod must be {known}.")
        missing = [name for name in needed if not self.properties.get(name)]
        if missing:
            how = f" with DefaultAuthenticationMethod {method}" if method else ""
            raise ResourceFailedError(
                f"The {self.channel} channel{how} needs {', '.join(missing)}."
            )
        if "ServiceJson" in needed and not _is_json_object(self.properties["ServiceJson"]):
            raise ResourceFailedError(
                "ServiceJson is not a JSON object: it must be the whole service-account file."
            )


class _Kind(NamedTuple):
    channel: str
    credentials: Mapping[str, tuple[str, ...]]
    """What each DefaultAuthenticationMethod needs; the first is the default."""


_TOKEN: Final = ("TokenKey", "TokenKeyId", "TeamId", "BundleId")
# CloudFormation's reference says key or certificate, the console and others say token.
_APNS: Final = {"CERTIFICATE": ("Certificate", "PrivateKey"), "TOKEN": _TOKEN, "KEY": _TOKEN}
_KINDS: Final = {
    "GCMChannel": _Kind("GCM", {"KEY": ("ApiKey",), "TOKEN": ("ServiceJson",)}),
    "APNSChannel": _Kind("APNS", _APNS),
    "APNSSandboxChannel": _Kind("APNS_SANDBOX", _APNS),
    "APNSVoipChannel": _Kind("APNS_VOIP", _APNS),
    "APNSVoipSandboxChannel": _Kind("APNS_VOIP_SANDBOX", _APNS),
    "BaiduChannel": _Kind("BAIDU", {"": ("ApiKey", "SecretKey")}),
    "ADMChannel": _Kind("ADM", {"": ("ClientId", "ClientSecret")}),
}

RESOURCE_TYPES: Final[list[type[Resource]]] = [
    Project,
    *(
        type(name, (_Channel,), {"type_name": f"AWS::Pinpoint::{name}", **kind._asdict()})
        for name, kind in _KINDS.items()
    ),
]


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
