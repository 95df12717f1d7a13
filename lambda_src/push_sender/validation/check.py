"""Checks a request: the result is a request that can be sent, or all its validation errors.

Powertools' Parser checks single fields, and ``combinations`` checks them together. One error
lists both: if fields are malformed, the rules check the other fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from aws_lambda_powertools.utilities.parser import BaseModel, ValidationError, parse

from push_sender.recipients.audience import Audience, sort_recipients
from push_sender.request.errors import Finding, InvalidRequest, UnlistedFindings, kind_of
from push_sender.request.model import (
    INNER_MODELS,
    MAX_TRANSLATIONS,
    Contents,
    PushRequest,
    Translation,
    UserRecipient,
)
from push_sender.validation.combinations import findings


class Checked(NamedTuple):
    """A request that can be sent, its recipients sorted, and each shape's fields.

    Users are in neither ``audience`` nor ``contents``: their devices are not known yet. The
    audience has a stand-in at the position of each.
    """

    request: PushRequest
    audience: Audience
    contents: Contents


class _Facts(NamedTuple):
    """What ``check`` gets about the function and its caller."""

    has_registry: bool
    now: Callable[[], float | None]
    may_be_late: bool


def check(
    event: object,
    application_ids: Collection[str],
    *,
    has_registry: bool = False,
    now: Callable[[], float | None] = lambda: None,
    may_be_late: bool = False,
) -> Checked:
    """Check a request.

    Parameters
    ----------
    event
        The request as it came: parsed JSON of any kind.
    application_ids
        The projects that may be used.
    has_registry
        Whether there is a registry of devices, so that a recipient may be a user.
    now
        Returns the time in Unix seconds, or None if the function cannot make schedules; called
        only for ``send_at``.
    may_be_late
        Whether the time of ``send_at`` may be over.

    Raises
    ------
    InvalidRequest
        With every validation error. It has no cause and no context: pydantic's errors hold the
        values, which must not reach a log.
    """
    if not isinstance(event, dict):  # Parser would read text as JSON
        raise InvalidRequest([Finding("request", f"must be an object, not {kind_of(event)}")])
    facts = _Facts(has_registry, now, may_be_late)
    request = _parse(event)
    if request is None:
        raise InvalidRequest(_malformed(event, application_ids, facts))
    checked, found = _check(request, application_ids, facts)
    if found:
        raise InvalidRequest(found)
    return checked


def _check(
    request: PushRequest,
    application_ids: Collection[str],
    facts: _Facts,
    *,
    malformed: Collection[str] = frozenset(),
    unusable: Collection[int] = (),
) -> tuple[Checked, list[Finding]]:
    """Sort the recipients, and find what is impossible; see ``findings`` and ``Malformed``."""
    recipients: Any = request.everyone  # of one kind, unless there are users
    of_users: Iterable[Finding] = ()
    if request.has_users:
        from push_sender.validation import users  # only for a request with users

        recipients, at = users.as_tokens(request)
        unusable = {*unusable, *at}
        of_users = users.findings(request, has_registry=facts.has_registry, malformed=malformed)
    audience = sort_recipients(recipients, request.choose, unusable)
    contents = {variant: request.content_for(variant) for variant in audience.variants}
    found = [*findings(request, audience, contents, application_ids, malformed), *of_users]
    if request.send_at is not None:
        from push_sender.validation import send_at  # only for a request for later

        found += send_at.findings(request, facts.now(), may_be_late=facts.may_be_late)
    return Checked(request, audience, contents), list(dict.fromkeys(found))


def _parse(event: dict[str, Any]) -> PushRequest | None:
    """Check the fields, up to the first error. The error, which holds values, ends here."""
    if not _has_few_fields(event):
        return None
    try:
        return parse(event=event, model=PushRequest)
    except ValidationError:
        return None


def _has_few_fields(event: Mapping[str, Any]) -> bool:
    """Return whether no object has more fields than its model.

    Pydantic keeps an error for each unknown field, and there may be a million.
    """
    try:
        recipients = event.get("recipients") or [()]
        translations = event.get("translations") or {}
        return (
            _fits(event, PushRequest)
            and max(map(len, recipients)) <= len(UserRecipient.model_fields)
            and len(translations) <= MAX_TRANSLATIONS
            and all(_fits(each, Translation) for each in translations.values())
        )
    except (AttributeError, TypeError):  # a number has no length, and no place here
        return False


def _fits(value: Any, model: type[BaseModel]) -> bool:
    """Return whether an object, and each object in it, has at most the fields of its model."""
    if not isinstance(value, dict):
        return True
    if len(value) > len(model.model_fields):
        return False
    inner = INNER_MODELS.get(model, {})
    return all(_fits(value[name], inner[name]) for name in inner.keys() & value.keys())


def _malformed(
    event: Mapping[str, Any], application_ids: Collection[str], facts: _Facts
) -> list[Finding]:
    """Return the errors of the malformed fields, and those of the rules for all other fields."""
    from push_sender.validation.malformed import Malformed  # only for a request that is refused

    malformed = Malformed(event)
    _, found = _check(
        malformed.request,
        application_ids,
        facts,
        malformed=malformed.paths,
        unusable=malformed.unusable,
    )
    errors = list(dict.fromkeys([*malformed.errors, *found]))
    if malformed.unlisted:
        errors.append(UnlistedFindings(malformed.unlisted))
    return errors
