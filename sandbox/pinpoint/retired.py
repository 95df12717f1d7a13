"""The operations that Amazon Pinpoint took with it, and the answer that they get here.

Which there are is read from botocore's model: all but those that live on. An SDK still has them,
so a program that has not left Pinpoint yet learns here what it calls.
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
"""What lives on as AWS End User Messaging for SMS and voice, and has nothing to do with push."""


def other_operations() -> dict[str, str]:
    """Give the pattern of the path of each operation that the sandbox does not have."""
    model = get_service_model("pinpoint")
    return {
        name: _PARAMETER.sub(_group, model.operation_model(name).http["requestUri"])
        for name in model.operation_names
        if not _KEPT.fullmatch(name)
    }


def _group(parameter: re.Match[str]) -> str:
    return f"(?P<{parameter[1].replace('-', '_')}>[^/]+)"


def why_not(operation: str) -> str | None:
    """Say why the sandbox does not have an operation; nothing if it may have it."""
    if _KEPT.fullmatch(operation):
        return None
    if _ELSEWHERE.fullmatch(operation):
        return f"{operation} is not in the sandbox, which has mobile push alone."
    return f"{operation} ended with Amazon Pinpoint on {END}. {PAGE} says what replaces it."
