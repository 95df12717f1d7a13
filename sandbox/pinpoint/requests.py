"""Check a request of the push API, and merge its parts into messages.

Requests are checked against botocore's model of the API. If no record of the real service is
public, the sandbox is strict:

- A request may be 7,000,000 bytes ("7 MB" is documented; which megabyte is not).
- An address without a ChannelType, or whose channel has no message of its own, no
  ``DefaultPushNotificationMessage``, no ``DefaultMessage`` and no RawContent, makes the
  whole call a BadRequestException. The two defaults are documented; the refusal is inferred.
- ``Endpoints`` and ``TemplateConfiguration`` are refused: they refer to what ended with the
  rest of Pinpoint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Any, Final

from botocore.validate import ParamValidator
from moto.core.model import OperationModel
from moto.core.utils import get_service_model

from sandbox.pinpoint.devices import CHANNELS

LARGEST_BODY: Final = 7_000_000
MOST_ADDRESSES: Final = 100
_LONGEST_MESSAGE: Final = 1_000
_DEFAULT_MESSAGES: Final = ("DefaultPushNotificationMessage", "DefaultMessage")
_OVERRIDES: Final = {"TitleOverride": "Title", "BodyOverride": "Body", "RawContent": "RawContent"}
# The members that reach the device if a push is not silent, and those of raw content that the
# provider counts.
_SHOWN: Final = ("Title", "Body", "ImageUrl", "MediaUrl")
_COUNTED: Final = {
    "FCM": ("data", "notification"),
    "ADM": ("data",),
    "Baidu": ("title", "description", "custom_content"),
}
_PLACEHOLDER: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


class RefusedError(Exception):
    """The service refuses the whole call, with one of the model's exceptions."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status: int = _status_codes()[code]


@cache
def operation(name: str) -> OperationModel:
    """Return botocore's model of an operation."""
    model: OperationModel = get_service_model("pinpoint").operation_model(name)
    return model


def body_shape(shape: Any) -> Any:
    """Return the shape of the body of a request or a response."""
    return shape.members[shape.serialization["payload"]]


@cache
def _status_codes() -> dict[str, int]:
    return {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for shape in operation("SendMessages").error_shapes
    }


def checked(body: bytes, model: OperationModel) -> dict[str, Any]:
    """Return a request's body as the API reads it, or refuse it as the API does."""
    if len(body) > LARGEST_BODY:
        raise RefusedError("PayloadTooLargeException", f"More than {LARGEST_BODY} bytes")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        raise RefusedError("BadRequestException", "The request is not JSON") from None
    shape = body_shape(model.input_shape)
    errors_found: list[str] = []
    normalized = _normalized(request, shape, shape.name, errors_found)
    errors = ParamValidator().validate(normalized, shape)
    if errors.has_errors():
        errors_found.append(errors.generate_report())
    if errors_found:
        raise RefusedError("BadRequestException", "; ".join(errors_found)[:_LONGEST_MESSAGE])
    result: dict[str, Any] = normalized
    return result


def addresses_in(body: bytes) -> tuple[tuple[str, str], ...]:
    """Return token and service of each address of a refused request, if it can be read."""
    try:
        request = json.loads(body) if len(body) <= LARGEST_BODY else None
    except (ValueError, RecursionError):
        return ()
    addresses = request.get("Addresses") if isinstance(request, dict) else None
    if not isinstance(addresses, dict):
        return ()
    return tuple(
        (token, str(address.get("ChannelType", "")) if isinstance(address, dict) else "")
        for token, address in islice(addresses.items(), MOST_ADDRESSES)
    )


def _normalized(value: Any, shape: Any, path: str, errors_found: list[str]) -> Any:
    """Drop unknown and null members, as REST-JSON does, and find errors that botocore misses.

    botocore's validator does not check enumerations and the range of integers, and
    accepts true as 1.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {
            name: _normalized(inner, shape.members[name], f"{path}.{name}", errors_found)
            for name, inner in value.items()
            if inner is not None and name in shape.members
        }
    if kind == "map" and isinstance(value, dict):
        return {
            key: _normalized(inner, shape.value, f"{path}.{key}", errors_found)
            for key, inner in value.items()
            if inner is not None
        }
    if kind == "string" and isinstance(value, str) and shape.enum and value not in shape.enum:
        errors_found.append(f"{path} must be one of {', '.join(shape.enum)}")
    if kind == "integer" and (
        isinstance(value, bool) or (isinstance(value, int) and not -(2**31) <= value < 2**31)
    ):
        errors_found.append(f"{path} must be an integer of 32 bits")
    return value


def channel_messages(
    request: Mapping[str, Any], addresses: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return the message of each channel that has an address; refuse invalid combinations."""
    for member in ("Endpoints", "TemplateConfiguration"):
        if request.get(member):
            raise RefusedError("BadRequestException", f"{member} is not supported")
    if not 1 <= len(addresses) <= MOST_ADDRESSES:
        raise RefusedError(
            "BadRequestException",
            f"Addresses must hold 1 to {MOST_ADDRESSES}, not {len(addresses)}",
        )
    configuration = request["MessageConfiguration"]
    messages: dict[str, Mapping[str, Any]] = {}
    for address in addresses.values():
        if "ChannelType" not in address:
            raise RefusedError("BadRequestException", "An address has no ChannelType")
        channel = address["ChannelType"]
        if channel in messages or channel not in CHANNELS:
            continue
        for member in (CHANNELS[channel].message, *_DEFAULT_MESSAGES):
            if member in configuration:
                messages[channel] = configuration[member]
                break
        else:
            if "RawContent" not in address:
                raise RefusedError("BadRequestException", f"There is no message for {channel}")
    return messages


def merged(
    address: Mapping[str, Any], message: Mapping[str, Any], request: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the message with an address's overrides, and with the Context added."""
    result = {**message, **{_OVERRIDES[key]: address[key] for key in _OVERRIDES if key in address}}
    if "Substitutions" in address:
        result["Substitutions"] = {**message.get("Substitutions", {}), **address["Substitutions"]}
    if context := {**request.get("Context", {}), **address.get("Context", {})}:
        result["Context"] = context
    return result


def least_bytes(channel: str, message: Mapping[str, Any]) -> int:
    """Return the least number of bytes that this message needs as a payload.

    Only text that certainly reaches the device counts. Placeholders do not, because their
    values may be shorter. APNs' raw content is the payload itself.
    """
    if "RawContent" not in message:
        shown = ("Data",) if message.get("SilentPush") else _SHOWN
        return _text_bytes([message[member] for member in shown if member in message])
    try:
        content = json.loads(message["RawContent"])
        if CHANNELS[channel].provider == "APNs":
            text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
            return _text_bytes(text)
        content = content.get("fcmV1Message", {}).get("message", content)
        members = _COUNTED[CHANNELS[channel].provider]
        return _text_bytes([content[member] for member in members if member in content])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0  # a form that the provider does not document: the size is unknown


def _text_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(_PLACEHOLDER.sub("", value).encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(_text_bytes(key) + _text_bytes(inner) for key, inner in value.items())
    return sum(map(_text_bytes, value)) if isinstance(value, list) else 0
