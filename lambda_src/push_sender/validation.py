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
from push_sender.request import Contents, PushRequest, field_names
from push_sender.rules import findings

Location = Sequence[int | str]

_OPTIONS: Final = frozenset({"gcm", "apns", "baidu", "adm"})


class Checked(NamedTuple):
    """A request that can be sent, its recipients sorted, and each shape's fields."""

    request: PushRequest
    audience: Audience
    contents: Contents


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
    request, errors = _parse(event)
    if request is None:
        raise InvalidRequest(_malformed(event, errors, application_ids)) from None
    audience = sort_recipients(request.everyone)
    contents = {shape: request.content_for(shape) for shape in audience.shapes}
    found = [finding.fault for finding in findings(request, audience, contents, application_ids)]
    if found:
        raise InvalidRequest(list(dict.fromkeys(found)))
    return Checked(request, audience, contents)


def _parse(event: dict[str, Any]) -> tuple[PushRequest | None, list[ErrorDetails]]:
    """Check the fields one by one. The error itself, which holds the values, ends here."""
    try:
        return parse(event=event, model=PushRequest), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _malformed(
    event: Mapping[str, Any], errors: Sequence[ErrorDetails], application_ids: Collection[str]
) -> list[Fault]:
    """Tell the malformed fields, and what the rules say of all the others."""
    faults = describe(errors, field_names())
    locations = [error["loc"] for error in errors]
    mended, unknown = _without(event, locations)
    request, _ = _parse(mended)
    if request is None:
        return faults
    audience = sort_recipients(request.everyone, passed_over=unknown)
    contents = {shape: request.content_for(shape) for shape in audience.shapes}
    malformed = {_field(location) for location in locations}
    judged = [
        finding.fault
        for finding in findings(request, audience, contents, application_ids)
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
        A request without them, in which a stand-in holds the place of a token or a
        service that is of no use; and the positions of the recipients without a service.
    """
    rest = dict(event)
    unknown: set[int] = set()
    copied: set[str | int] = set()
    for location in locations:
        name = str(location[0])
        match name, location[1:]:
            case "recipients", [int() as position, *inner]:
                if name not in copied:
                    copied.add(name)
                    rest[name] = list(rest[name])
                if position not in copied:
                    copied.add(position)
                    rest[name][position] = _copy(rest[name][position])
                _mend_recipient(rest[name][position], position, inner, unknown)
            case "recipients", _:
                rest[name] = [_stand_in(0)]
                unknown.add(0)
            case "recipient", inner:
                if name not in copied:
                    copied.add(name)
                    rest[name] = _copy(rest[name])
                _mend_recipient(rest[name], 0, inner, unknown)
            case option, [str() as field, *_] if option in _OPTIONS:
                if option not in copied:
                    copied.add(option)
                    rest[option] = dict(rest[option])
                rest[option].pop(field, None)
            case _:
                rest.pop(name, None)
    return rest, unknown


def _copy(entry: object) -> dict[str, Any]:
    return dict(entry) if isinstance(entry, dict) else {}


def _mend_recipient(
    entry: dict[str, Any], position: int, inner: Sequence[int | str], unknown: set[int]
) -> None:
    stand_in = _stand_in(position)
    wrong = inner[:1] or ("token", "service")  # no field named: it is no object at all
    for field in wrong:
        entry.pop(str(field), None)
        if field in stand_in:
            entry[str(field)] = stand_in[str(field)]
        if field == "service":
            unknown.add(position)


def _stand_in(position: int) -> dict[str, Any]:
    return {"token": f"stand-in-{position}", "service": "GCM"}
