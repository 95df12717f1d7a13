"""Checks a request: the result is a request that can be sent, or all its validation errors.

Powertools' Parser checks single fields, and ``combinations`` checks them together. One error
lists both: if fields are malformed, the rules check the other fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from aws_lambda_powertools.utilities.parser import ValidationError, parse

from push_sender.recipients.audience import Audience, sort_recipients
from push_sender.request.errors import Finding, InvalidRequest, UnlistedFindings, kind_of
from push_sender.request.languages import chooser
from push_sender.request.model import OPTIONS, Contents, PushRequest, Recipient
from push_sender.validation.combinations import findings


class Checked(NamedTuple):
    """A request that can be sent, its recipients sorted, and each shape's fields."""

    request: PushRequest
    audience: Audience
    contents: Contents


def check(event: object, application_ids: Collection[str]) -> Checked:
    """Check a request.

    Parameters
    ----------
    event
        The request as it came: parsed JSON of any kind.
    application_ids
        The projects that may be used.

    Raises
    ------
    InvalidRequest
        With every validation error. It has no cause and no context: pydantic's errors hold the
        values, which must not reach a log.
    """
    if not isinstance(event, dict):  # Parser would read text as JSON
        raise InvalidRequest([Finding("request", f"must be an object, not {kind_of(event)}")])
    request = _parse(event)
    if request is None:
        raise InvalidRequest(_malformed(event, application_ids))
    audience = sort_recipients(request.everyone, _chooser(request))
    contents = {variant: request.content_for(variant) for variant in audience.variants}
    if found := list(dict.fromkeys(findings(request, audience, contents, application_ids))):
        raise InvalidRequest(found)
    return Checked(request, audience, contents)


def _chooser(request: PushRequest) -> Callable[[str | None], str | None] | None:
    return chooser(request.translations) if request.translations else None


def _parse(event: dict[str, Any]) -> PushRequest | None:
    """Check the fields, up to the first error. The error, which holds values, ends here."""
    if not _has_few_fields(event):
        return None
    try:
        return parse(event=event, model=PushRequest)
    except ValidationError:
        return None


_FIELDS: Final = {
    "recipient": len(Recipient.model_fields),
    **{option: len(model.model_fields) for option, model in OPTIONS.items()},
}
_FIELDS_IN_ALL: Final = len(PushRequest.model_fields)


def _has_few_fields(event: Mapping[str, Any]) -> bool:
    """Return whether no object has more fields than its model.

    Pydantic keeps an error for each unknown field, and there may be a million.
    """
    if len(event) > _FIELDS_IN_ALL:
        return False
    try:
        for name in _FIELDS.keys() & event.keys():
            if len(event[name] or ()) > _FIELDS[name]:
                return False
        recipients = event.get("recipients")
        return not recipients or max(map(len, recipients)) <= _FIELDS["recipient"]
    except TypeError:  # a number has no length; nor has it a place here
        return False


def _malformed(event: Mapping[str, Any], application_ids: Collection[str]) -> list[Finding]:
    """Return the errors of the malformed fields, and those of the rules for all other fields."""
    from push_sender.validation.malformed import Malformed  # only for a request that is refused

    malformed = Malformed(event)
    request = malformed.request
    audience = sort_recipients(request.everyone, _chooser(request), malformed.unusable)
    contents = {variant: request.content_for(variant) for variant in audience.variants}
    found = findings(request, audience, contents, application_ids, malformed.paths)
    errors = list(dict.fromkeys([*malformed.errors, *found]))
    if malformed.unlisted:
        errors.append(UnlistedFindings(malformed.unlisted))
    return errors
