"""The operations that ended with Amazon Pinpoint, and the answer that they get here.

They are read from botocore's model: all operations except those that continue. SDKs still have
them, so a program that has not left Pinpoint yet sees here which of its calls ended.
"""

from __future__ import annotations

import re
from typing import Final

from moto.core.utils import get_service_model

from sandbox.pinpoint.devices import CHANNELS

END: Final = "2026-10-30"
PAGE: Final = "docs/leaving-pinpoint.md"

_PARAMETER: Final = re.compile(r"\{([^}]+)\}")
_PUSH_CHANNELS: Final = tuple(name.title().replace("_", "") for name in CHANNELS)
_KEPT: Final = re.compile(
    r"SendMessages|GetChannels|(Create|Delete|Get)App|GetApps"
    r"|(Get|Update)ApplicationSettings|ListTagsForResource|(Tag|Untag)Resource"
    rf"|(Delete|Get|Update)({'|'.join(_PUSH_CHANNELS)})Channel"
)
_ELSEWHERE: Final = re.compile(r"\w+(Sms|Voice)Channel|(Send|Verify)OTPMessage|PhoneNumberValidate")
"""Operations that continue in AWS End User Messaging for SMS and voice, without push."""


def other_operations() -> dict[str, str]:
    """Return the path pattern of each operation that the sandbox does not have."""
    model = get_service_model("pinpoint")
    return {
        name: _PARAMETER.sub(_group, model.operation_model(name).http["requestUri"])
        for name in model.operation_names
        if not _KEPT.fullmatch(name)
    }


def _group(parameter: re.Match[str]) -> str:
    return f"(?P<{parameter[1].replace('-', '_')}>[^/]+)"


def why_not(operation: str) -> str | None:
    """Return why the sandbox does not have an operation, or None if it can have it."""
    if _KEPT.fullmatch(operation):
        return None
    if _ELSEWHERE.fullmatch(operation):
        return f"{operation} is not in the sandbox, which has only mobile push."
    return f"{operation} ended with Amazon Pinpoint on {END}. {PAGE} says what replaces it."
