"""What a caller says about a device: every member, its kind and its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Annotated, Any, Final, Self

from aws_lambda_powertools.utilities.parser import BaseModel, ValidationError, parse
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from push_sender.request.errors import (
    Finding,
    InvalidRequest,
    describe,
    kind_of,
    path_of,
    unknown_field,
)
from push_sender.request.field_types import Id, Language, ServiceName, Text, Token
from push_sender.request.services import SERVICES

MAX_ATTRIBUTES: Final = 20

CHARACTERS: Final = 100_000
"""Limit of a body. Only a device that is full of escaped emoji would be longer."""


@cache
def _zones() -> frozenset[str]:
    """Read the names of the IANA time zone database, from the package ``tzdata``.

    Lambda's runtime need not have the database.
    """
    return frozenset((files("tzdata") / "zones").read_text().split())


def _zone(name: str) -> str:
    if name not in _zones():
        raise PydanticCustomError(
            "request_rule", "must be the name of an IANA time zone, such as Europe/Berlin"
        )
    return name


def _tag(text: str) -> str:
    # JSON writes such a character as six, and the tags of 25 devices must fit into an item.
    if min(text) < " ":
        raise PydanticCustomError("request_rule", "must not hold control characters")
    return text


Attributes = Annotated[
    dict[
        Annotated[Text, Field(min_length=1, max_length=64)],
        Annotated[Text, Field(max_length=256)],
    ],
    Field(max_length=MAX_ATTRIBUTES),
    Field(fail_fast=True),
]
Tag = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_tag)]
TimeZone = Annotated[str, AfterValidator(_zone)]


class Registration(BaseModel):
    """A device as its app or a backend registers it.

    A member that is left out keeps its value; null removes the value.
    """

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    token: Token = Field(description="The token of the installation.")
    service: ServiceName = Field(description="The push service that issued the token.")
    user_id: Id | None = Field(
        None,
        description="The user who is signed in; null after a sign-out. Another user clears tags, "
        "attributes and opt-out.",
    )
    language: Language | None = Field(
        None, description="The language of the app, a tag such as `de` or `pt-BR`."
    )
    time_zone: TimeZone | None = Field(
        None, description="The IANA name of the time zone, such as `Europe/Berlin`."
    )
    app_version: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The version of the app."
    )
    tags: Annotated[list[Tag], Field(max_length=50), Field(fail_fast=True)] | None = Field(
        None, description="What a filter selects devices by: up to 50 texts of up to 64 characters."
    )
    attributes: Attributes | None = Field(
        None,
        description="Up to 20 texts by name, for the caller's own use: names of up to 64 "
        "characters, values of up to 256.",
    )
    opted_out: bool | None = Field(
        None, description="Whether the user wants no pushes on this device."
    )

    @classmethod
    def read(cls, body: object) -> Self:
        """Check the body of a request.

        Raises
        ------
        InvalidRequest
            With every validation error, and without any value.
        """
        if not isinstance(body, dict):
            raise InvalidRequest([Finding("request", f"must be an object, not {kind_of(body)}")])
        try:
            return parse(event=body, model=cls)
        except ValidationError as error:
            errors = [_finding(detail) for detail in error.errors(include_url=False)]
        # Outside of the handler, so that pydantic's error, which holds the values, ends here.
        raise InvalidRequest(list(dict.fromkeys(errors)))

    @classmethod
    def read_fitting(cls, body: Mapping[str, Any]) -> tuple[Self, list[str]]:
        """Check a body, and leave out what breaks a rule if a device does not need it.

        Returns
        -------
        tuple
            The registration, and the names of the members of which something was left out.

        Raises
        ------
        InvalidRequest
            If token, service or user break a rule.
        """
        attributes: Mapping[str, str] = body.get("attributes", {})
        fitting = dict(islice(filter(_is_attribute, attributes.items()), MAX_ATTRIBUTES))
        left_out = ["attributes"] if len(fitting) < len(attributes) else []
        body = {**body, "attributes": fitting}
        while True:
            try:
                return cls.read(body), left_out
            except InvalidRequest as refusal:
                members = {member_of(finding) for finding in refusal.errors}
                if members & _NEEDED or not members <= body.keys():
                    raise
            left_out += sorted(members)
            body = {name: value for name, value in body.items() if name not in members}

    def members(self) -> dict[str, Any]:
        """Return the members that were given: null is None, and the service has its API's name."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        given["service"] = SERVICES[self.service].name
        if given.get("tags"):
            given["tags"] = list(dict.fromkeys(given["tags"]))
        return given


_KNOWN: Final = {name: [name] for name in Registration.model_fields}
_NEEDED: Final = frozenset({"token", "service", "user_id"})
_ATTRIBUTES: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Attributes)


def member_of(finding: Finding) -> str:
    """Name the member of a registration that an error is about."""
    return re.split(r"[.\[]", finding.path, maxsplit=1)[0]


def _is_attribute(attribute: tuple[str, str]) -> bool:
    try:
        _ATTRIBUTES.validate_python(dict([attribute]))
    except ValidationError:
        return False
    return True


def _finding(error: Any) -> Finding:
    name, *inner = error["loc"]
    if error["type"] == "extra_forbidden":
        return Finding(path_of("", name), unknown_field(name, _KNOWN))
    path = name
    for each in inner:
        if each == "[key]":  # pydantic's mark of an error in the name of a member
            continue
        path = path_of(path, each) if isinstance(each, str) else f"{path}[{each}]"
    return Finding(path, describe(error, name))
