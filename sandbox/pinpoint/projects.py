"""Projects of the push service and their channels. All state is kept on moto's own objects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.pinpoint.models import App, PinpointBackend, pinpoint_backends

from sandbox.pinpoint.devices import CHANNELS

_CHANNELS_ATTRIBUTE: Final = "push_sandbox_channels"


def add_project(backend: PinpointBackend, application_id: str) -> App:
    """Add a project with a given id, which no API can do, and enable every channel.

    Two simultaneous calls get the same project.
    """
    app = App(backend.account_id, backend.region_name, application_id)
    app.application_id = application_id
    app.arn = f"{app.arn.rpartition('/')[0]}/{application_id}"
    for channel in CHANNELS:
        update_channel(app, channel, {"Enabled": True})
    added: App = backend.apps.setdefault(application_id, app)
    return added


def enable_channel(
    application_id: str,
    channel: str,
    *,
    account_id: str = DEFAULT_ACCOUNT_ID,
    region_name: str = "us-east-1",
    enabled: bool = True,
) -> None:
    """Enable (or disable) a channel of a project, from Python and without credentials.

    Parameters
    ----------
    application_id
        A project that exists in the account and region; else moto's ``ApplicationNotFound``.
    channel
        A key of ``devices.CHANNELS``, such as ``APNS_SANDBOX``.
    """
    app = pinpoint_backends[account_id][region_name].get_app(application_id)
    update_channel(app, channel, {"Enabled": enabled})


def update_channel(app: App, channel: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Create or change a channel as the API's Update…Channel does; return its state.

    Of the credentials in ``request`` only their presence is kept: the real API does not return
    them either. Unlike AWS, the sandbox does not ask the provider whether they are right. A
    channel is disabled until a request has ``Enabled``; AWS does not document its default.
    """
    now = _now()
    old = channels_of(app).get(channel, {"CreationDate": now, "Version": 0, "Enabled": False})
    credentials = request.keys() - {"Enabled", "DefaultAuthenticationMethod"}
    state = {
        **old,
        "ApplicationId": app.application_id,
        "Id": channel.lower(),
        "Platform": channel,
        "Enabled": request.get("Enabled", old["Enabled"]),
        "HasCredential": bool(credentials) or old.get("HasCredential", False),
        "HasTokenKey": "TokenKey" in credentials or old.get("HasTokenKey", False),
        "HasFcmServiceCredentials": "ServiceJson" in credentials
        or old.get("HasFcmServiceCredentials", False),
        "IsArchived": False,
        "LastModifiedDate": now,
        "Version": old["Version"] + 1,
    }
    if "DefaultAuthenticationMethod" in request:
        state["DefaultAuthenticationMethod"] = request["DefaultAuthenticationMethod"]
    channels_of(app)[channel] = state
    return state


def channels_of(app: App) -> dict[str, dict[str, Any]]:
    """Return the channels of a project that were set up, by ChannelType."""
    channels: dict[str, dict[str, Any]] = vars(app).setdefault(_CHANNELS_ATTRIBUTE, {})
    return channels


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
