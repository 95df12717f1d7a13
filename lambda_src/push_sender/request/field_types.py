"""The types of single fields: the rule of a token, of a language tag, of a number, of a map.

Each is checked by pydantic, strictly: no ``"30"`` for 30. ``model`` has the fields that use them.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Final, Literal, NoReturn, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from push_sender.request.json_text import compact_json
from push_sender.request.languages import is_tag

_INT32: Final = 2_147_483_647
TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)

_WHOLE_TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$"
)

RAW_CHARACTERS: Final = 65_536
"""How long raw content may be as JSON text. No payload that a service takes comes near it."""


def _from_float(value: object) -> object:
    """Take 3600.0 for 3600: JSON has one kind of number, and JSON Schema calls both integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Seconds = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,9})?s$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Token = Annotated[str, Field(min_length=1, max_length=2_048, pattern=r"^[\x21-\x7e]+$")]
Count = Annotated[int, Field(ge=0, le=_INT32), BeforeValidator(_from_float)]
ServiceName = Literal[
    "GCM", "FCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "ADM"
]


_ID: Final = r"[A-Za-z0-9._:@|~+=-]{1,128}"

Id = Annotated[str, Field(pattern=f"^{_ID}$")]
"""The id of a device or a user."""


def is_id(text: str) -> bool:
    """Return whether a text can be the id of a device or a user."""
    return re.fullmatch(_ID, text) is not None


Days = Annotated[int, Field(ge=1, le=3_650), BeforeValidator(_from_float)]
Tags = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=50)
]
ServiceNames = Annotated[
    list[ServiceName], Field(min_length=1, max_length=len(get_args(ServiceName)))
]
"""Names of services. A longer list would only repeat some."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("request_rule", "must be 1 to 256 printable characters")
    return value


IdempotencyKey = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]


def _existing_time(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError(
            "request_rule", "must be a time that exists, such as 2026-12-24T18:00:00+01:00"
        ) from None
    return value


Moment = Annotated[str, Field(pattern=_WHOLE_TIME), AfterValidator(_existing_time)]
"""A time with its offset from UTC, in whole seconds."""


def _language_tag(value: str) -> str:
    if not is_tag(value):
        raise PydanticCustomError("request_rule", "must be a language tag, such as de or pt-BR")
    return value


Language = Annotated[str, AfterValidator(_language_tag)]


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


# The first error ends a map or a list, because pydantic would keep one error for each of
# millions of entries. ``malformed`` finds the others, a few at a time.
TextMap = Annotated[dict[Text, Text], Field(fail_fast=True)]
Texts = Annotated[list[Text], Field(max_length=100), Field(fail_fast=True)]
Substitutions = Annotated[
    dict[
        Text,
        Annotated[
            list[Text],
            Field(fail_fast=True),
            BeforeValidator(_as_list),
            WithJsonSchema(
                {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
            ),
        ],
    ],
    Field(fail_fast=True),
]
RawContent = Annotated[
    str,
    PlainValidator(_json_object_text),
    WithJsonSchema(
        {"anyOf": [{"type": "object"}, {"type": "string", "maxLength": RAW_CHARACTERS}]}
    ),
]
