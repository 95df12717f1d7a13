"""From whatever came in to a request that can be sent, or to everything wrong with it.

Powertools' Parser checks the fields one by one and ``rules`` checks them together. Both
have their say in one refusal: where fields are malformed, the rules look at the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aws_lambda_powertools.utilities.parser import ValidationError, parse
from pydantic_core import ErrorDetails

from push_sender.audience import Audience, sort_recipients
from push_sender.faults import Fault, InvalidRequest, describe, kind_of
from push_sender.request import PushRequest, field_names
from push_sender.rules import findings

Location = Sequence[int | str]

_OPTIONS: Final = frozenset({"gcm", "apns", "baidu", "adm"})


class Checked(NamedTuple):
    """A request that can be sent, and its recipients sorted."""

    request: PushRequest
    audience: Audience


def check(event: object, application_ids: Collection[str]) -> Checked:
    """Check a request whole.

    Parameters
    ----------
    event
        What a door took for a request: parsed JSON of any kind.
    application_ids
        The projects that may be used.

    Raises
    ------
    InvalidRequest
        With every fault. It has no cause and no context: pydantic's errors hold the
        values, which must not reach a log.
    """
    if not isinstance(event, dict):  # Parser would read text as JSON
        fault = Fault("request", f"must be an object, not {kind_of(event)}")
        raise InvalidRequest([fault])
    try:
        request = parse(event=event, model=PushRequest)
    except ValidationError as error:
        faults = _malformed(event, error.errors(include_url=False), application_ids)
        raise InvalidRequest(faults) from None
    audience = sort_recipients(request.everyone)
    found = [finding.fault for finding in findings(request, audience, application_ids)]
    if found:
        raise InvalidRequest(list(dict.fromkeys(found)))
    return Checked(request, audience)


def _malformed(
    event: Mapping[str, Any], errors: Sequence[ErrorDetails], application_ids: Collection[str]
) -> list[Fault]:
    """Tell the malformed fields, and what the rules say of all the others."""
    faults = describe(errors, field_names())
    locations = [error["loc"] for error in errors]
    mended, unknown = _without(event, locations)
    try:
        request = parse(event=mended, model=PushRequest)
    except ValidationError:
        return faults
    audience = sort_recipients(request.everyone, passed_over=unknown)
    malformed = {_field(location) for location in locations}
    judged = [
        finding.fault
        for finding in findings(request, audience, application_ids)
        if malformed.isdisjoint(finding.fields)
    ]
    return list(dict.fromkeys([*faults, *judged]))


def _field(location: Location) -> str:
    """Name the field that a fault is about."""
    if location[0] in _OPTIONS:
        return str(location[min(1, len(location) - 1)])
    if location[0] in ("recipient", "recipients"):
        of_recipient = [part for part in location[1:] if isinstance(part, str)]
        return of_recipient[0] if of_recipient else str(location[0])
    return str(location[0])


def _without(
    event: Mapping[str, Any], locations: Sequence[Location]
) -> tuple[dict[str, Any], set[int]]:
    """Take the malformed fields out of a request.

    Returns
    -------
    tuple
        A request without them, in which a stand-in holds the place of a recipient that
        has no usable token or service; and the positions of those without a service.
    """
    rest = dict(event)
    everyone: dict[int, Any] = {}
    unknown: set[int] = set()
    for location in locations:
        name = str(location[0])
        match name, location[1:]:
            case "recipients", [int() as position, *inner]:
                entries = rest[name]
                entry = everyone.setdefault(position, entries[position])
                everyone[position] = _mend_recipient(entry, position, inner, unknown)
            case "recipient", inner:
                rest[name] = _mend_recipient(rest.get(name), 0, inner, unknown)
            case "recipients", _:
                rest[name] = [_stand_in(0)]
                unknown.add(0)
            case option, [str() as field, *_] if option in _OPTIONS:
                rest[option] = {key: value for key, value in rest[option].items() if key != field}
            case _:
                rest.pop(name, None)
    if everyone:
        rest["recipients"] = [
            everyone.get(position, entry) for position, entry in enumerate(rest["recipients"])
        ]
    return rest, unknown


def _mend_recipient(
    entry: object, position: int, inner: Sequence[int | str], unknown: set[int]
) -> dict[str, Any]:
    stand_in = _stand_in(position)
    if not isinstance(entry, dict) or not inner:
        unknown.add(position)
        return stand_in
    field = str(inner[0])
    mended = {key: value for key, value in entry.items() if key != field}
    if field in stand_in:
        mended[field] = stand_in[field]
    if field == "service":
        unknown.add(position)
    return mended


def _stand_in(position: int) -> dict[str, Any]:
    return {"token": f"stand-in-{position}", "service": "GCM"}
