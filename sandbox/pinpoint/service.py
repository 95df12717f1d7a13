"""AWS End User Messaging Push (Pinpoint's ``SendMessages``) and its channels, inside moto.

moto has Pinpoint's projects and lacks the operations that send. ``patches`` adds them. Projects
and their channels are in ``projects``, the answers of devices in ``devices``, the pushes that
devices got in ``pushes``, and the check of a request in ``requests``.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from moto.core.common_types import TYPE_RESPONSE
from moto.pinpoint.exceptions import ApplicationNotFound
from moto.pinpoint.models import App
from moto.pinpoint.responses import PinpointResponse

from sandbox.entry_points import entry_point_of
from sandbox.pinpoint import devices, retired
from sandbox.pinpoint.devices import CHANNELS, CallRefused
from sandbox.pinpoint.projects import add_project, channels_of, update_channel
from sandbox.pinpoint.pushes import Inbox, Push, Refusal, inbox_of
from sandbox.pinpoint.requests import (
    RefusedError,
    addresses_in,
    body_shape,
    channel_messages,
    checked,
    least_bytes,
    merged,
    operation,
)


@dataclass(slots=True)
class Options:
    """Settings of the sandbox, which moto's reset does not change.

    Attributes
    ----------
    latency
        Seconds that every SendMessages call takes, in addition to the delay of its devices.
    any_project
        Whether the first use of an unknown project creates it.
    on_arrival
        Called with each push and each refused call.
    """

    latency: float = 0.0
    any_project: bool = False
    on_arrival: Callable[[Push | Refusal], None] = lambda _: None


options: Final = Options()


class PushResponse(PinpointResponse):
    """moto's Pinpoint with the operations of push.

    moto calls the method with the operation's name.
    """

    # moto also reads a text body as a query string: a url with "&Action=" in it would
    # select another operation.
    use_raw_body = True

    def call_action(self) -> TYPE_RESPONSE:
        """Answer a request, or refuse it as the real API does."""
        request_id = self.request_id = str(uuid.uuid4())
        try:
            reason = retired.why_not(self._get_action())
            if reason is not None:
                raise RefusedError("MethodNotAllowedException", reason)
            status, headers, body = super().call_action()
        except RefusedError as refused:
            status = refused.status
            headers = {
                **self.response_headers,
                "Content-Type": "application/json",
                "x-amzn-ErrorType": refused.code,
            }
            body = json.dumps({"Message": str(refused), "RequestID": request_id})
        headers["x-amzn-requestid"] = request_id
        return status, headers, body

    def send_messages(self) -> TYPE_RESPONSE:
        """SendMessages: deliver to each address, and answer with all results."""
        try:
            app = self._app()
        except RefusedError as refused:
            self._keep(refused, inbox_of(self.pinpoint_backend))
            raise
        inbox = inbox_of(app)
        try:
            answer, seconds = self._send(app, inbox)
        except RefusedError as refused:
            inbox.count_call(refused.status)
            self._keep(refused, inbox)
            raise
        inbox.count_call(200)
        # After the pushes are kept: a caller that stops waiting may still have delivered them.
        if pause := seconds + options.latency:
            time.sleep(pause)
        return _json(answer)

    def _keep(self, refused: RefusedError, inbox: Inbox) -> None:
        refusal = Refusal(
            time=_now(),
            entry_point=entry_point_of(self.get_access_key()),
            application_id=self.uri_match["application-id"],
            request_id=self.request_id,
            status=refused.status,
            code=refused.code,
            reason=str(refused),
            addresses=addresses_in(self.raw_body),
        )
        inbox.refuse(refusal)
        options.on_arrival(refusal)

    def get_channels(self) -> TYPE_RESPONSE:
        """GetChannels: the channels that were set up."""
        shape = body_shape(operation("GetChannels").output_shape)
        members = shape.members["Channels"].value.members
        return _json(
            {
                "Channels": {
                    channel: {key: state[key] for key in members if key in state}
                    for channel, state in sorted(channels_of(self._app()).copy().items())
                }
            }
        )

    def _update_channel(self) -> TYPE_RESPONSE:
        request = checked(self.raw_body, operation(self._get_action()))
        return self._channel(update_channel(self._app(), self._type(), request))

    def _get_channel(self) -> TYPE_RESPONSE:
        return self._channel(channels_of(self._app()).get(self._type()))

    def _delete_channel(self) -> TYPE_RESPONSE:
        return self._channel(channels_of(self._app()).pop(self._type(), None))

    def _channel(self, state: Mapping[str, Any] | None) -> TYPE_RESPONSE:
        if state is None:
            raise RefusedError("NotFoundException", f"No {self._type()} channel in this project")
        shape = body_shape(operation(self._get_action()).output_shape)
        answer = {key: state[key] for key in shape.members if key in state}
        # Baidu's answer must have its API key, which the sandbox does not keep.
        answer |= dict.fromkeys(set(shape.required_members) - answer.keys(), "not kept")
        return _json(answer)

    def _type(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2].upper()

    def _app(self) -> App:
        application_id = self.uri_match["application-id"]
        try:
            return self.pinpoint_backend.get_app(application_id)
        except ApplicationNotFound:
            if options.any_project:
                return add_project(self.pinpoint_backend, application_id)
            raise RefusedError("NotFoundException", "Resource not found") from None

    def _send(self, app: App, inbox: Inbox) -> tuple[dict[str, Any], int]:
        request = checked(self.raw_body, operation("SendMessages"))
        addresses: dict[str, dict[str, Any]] = request.get("Addresses", {})
        messages = channel_messages(request, addresses)
        answers = _well_known_answers(addresses, inbox)
        # A copy, because another thread can set up a channel at the same time.
        channels = channels_of(app).copy()
        enabled = {channel for channel, state in channels.items() if state["Enabled"]}
        sizes = {channel: least_bytes(channel, message) for channel, message in messages.items()}
        now = _now()
        entry_point = entry_point_of(self.get_access_key())
        pushes: list[Push] = []
        for token, address in addresses.items():
            channel = address["ChannelType"]
            message = shared = messages.get(channel, {})
            if len(address) > 1 or "Context" in request:
                message = merged(address, shared, request)
            if channel not in enabled:
                answer = "no-channel"
            elif (
                sizes[channel] if message is shared else least_bytes(channel, message)
            ) > CHANNELS[channel].payload_limit:
                answer = "too-large"
            else:
                answer = answers.get(token, "accepted")
            result = devices.result(answer, channel, token, app.application_id)
            if result is not None and result["DeliveryStatus"] == "SUCCESSFUL":
                result["MessageId"] = f"{self.request_id}-{len(pushes)}"
            pushes.append(
                Push(
                    time=now,
                    entry_point=entry_point,
                    application_id=app.application_id,
                    request_id=self.request_id,
                    service=channel,
                    token=token,
                    message=message,
                    request=request,
                    answer=result,
                )
            )
        inbox.keep(pushes)
        for push in pushes:
            options.on_arrival(push)
        return {
            "ApplicationId": app.application_id,
            "RequestId": self.request_id,
            "Result": {push.token: push.answer for push in pushes if push.answer is not None},
        }, max(map(devices.delay, addresses))


def _add_channel_operations() -> None:
    """Add a method for each channel's operations, which moto finds by name."""
    for channel in CHANNELS:
        for verb in ("update", "get", "delete"):
            method = getattr(PushResponse, f"_{verb}_channel")
            setattr(PushResponse, f"{verb}_{channel.lower()}_channel", method)


_add_channel_operations()


def _well_known_answers(addresses: Mapping[str, Mapping[str, Any]], inbox: Inbox) -> dict[str, str]:
    """Return the answers of well-known devices; raise if one refuses the whole call."""
    rows = [(token, row) for token in addresses if (row := devices.well_known(token))]
    # Those that refuse first, so that a refused call counts no attempt of other devices.
    rows.sort(key=lambda known: not isinstance(known[1].answers[0], CallRefused))
    answers = {}
    for token, row in rows:
        attempt = inbox.attempt(addresses[token]["ChannelType"], token) if row.changes else 0
        answer = row.answers[min(attempt, len(row.answers) - 1)]
        if isinstance(answer, CallRefused):
            raise RefusedError(answer.code, f"{token} asks for it")
        answers[token] = answer
    return answers


def _json(body: object) -> TYPE_RESPONSE:
    return 200, {"Content-Type": "application/json"}, json.dumps(body)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
