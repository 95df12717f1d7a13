"""Compare the statements that the stack needs with a policy, which may be anything.

A statement counts if its principal, actions and conditions include ours for certain, and is passed
over if they exclude ours for certain. All else (a condition that ours do not have, principals named
one by one, ``NotPrincipal``) gives no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, IntEnum
from itertools import product
from typing import Any, Final, NamedTuple

from operations.json_values import as_dict, as_list, read_json
from operations.key_policy.statements import Needed
from operations.redaction import one_line

_OPERATORS: Final = ("StringEquals", "StringLike", "ArnEquals", "ArnLike")
"""The operators whose meaning is known here; ArnEquals means the same as ArnLike."""

_EXACT: Final = "StringEquals"
_WILDCARD: Final = re.compile("[*?]")
_ARN_COLONS: Final = 5


class Verdict(Enum):
    """What a policy says about a statement that it needs."""

    ALLOWED = "allowed"
    UNCLEAR = "cannot be judged"
    MISSING = "missing"


class Judgement(NamedTuple):
    """A verdict, and why there is no better one."""

    verdict: Verdict
    reason: str = ""


class _Request(NamedTuple):
    """A use of the key: what a statement must allow.

    Attributes
    ----------
    principal, action
        As in the statement.
    conditions
        Of each key, in lower case, the operator and the value, which may be a pattern.
    resource
        The value that is an ARN.
    """

    principal: tuple[str, str]
    action: str
    conditions: Mapping[str, tuple[str, str]]
    resource: str


class _Fit(IntEnum):
    """Whether a part of a statement includes ours. The highest of its parts is the statement's."""

    YES = 1
    PERHAPS = 2
    NO = 3


def statements_of(policy: str) -> Iterator[dict[str, Any]]:
    """Read the statements of a policy; those that are no objects are left out."""
    found = as_dict(read_json(policy.encode(errors="replace"))).get("Statement")
    for each in [found] if isinstance(found, dict) else as_list(found):
        if isinstance(each, dict):
            yield each


def judge(
    needed: Needed,
    policy: str,
    key_arn: str,
    existing: Mapping[str, Sequence[str]] | None = None,
) -> Judgement:
    """Say whether a key's policy has a statement that the stack needs.

    Parameters
    ----------
    needed
        The statement.
    policy
        The policy, as KMS returns it.
    key_arn
        The key.
    existing
        Of keys of conditions, the ARNs of resources that the stack has.
    """
    statements = [*statements_of(policy)]
    judgements = [
        _of_request(each, statements, key_arn) for each in _requests(needed, existing or {})
    ]
    for verdict in (Verdict.MISSING, Verdict.UNCLEAR):
        if found := [each for each in judgements if each.verdict is verdict]:
            return found[0]
    return Judgement(Verdict.ALLOWED)


def _requests(needed: Needed, existing: Mapping[str, Sequence[str]]) -> Iterator[_Request]:
    """List each action with one value of each condition.

    A condition on resources has those of later deployments, by a pattern, and those that exist.
    """
    keys = [
        [(key, operator, value) for value in (*values, *existing.get(key, ()))]
        for operator, of_operator in needed.conditions.items()
        for key, values in of_operator.items()
    ]
    for action in needed.actions:
        for chosen in product(*keys):
            values = {key.lower(): (operator, value) for key, operator, value in chosen}
            exact = [value for _, _, value in chosen if value.startswith("arn:")]
            yield _Request(needed.principal, action, values, exact[0] if exact else "")


def _of_request(
    request: _Request, statements: Sequence[Mapping[str, Any]], key_arn: str
) -> Judgement:
    """Look for an Allow, which any Deny outweighs."""
    action, perhaps = request.action, ""
    of = f" for {request.resource}" if request.resource else ""
    allow = Judgement(Verdict.MISSING, f"nothing allows {action}{of}")
    for statement in statements:
        fit = max(
            _of_texts(statement, "Action", action.lower()),
            _of_texts(statement, "Resource", key_arn.lower()),
            _of_principal(statement, *request.principal),
            _of_conditions(statement.get("Condition") or {}, request.conditions),
        )
        if fit is _Fit.NO:
            continue
        denies = statement.get("Effect") != "Allow"
        sid = one_line(statement.get("Sid") or "a statement without Sid", 60)
        if denies and fit is _Fit.YES:
            return Judgement(Verdict.MISSING, f"{sid} denies {action}")
        if denies:
            perhaps = f"{sid} may deny {action}"
        elif fit is _Fit.YES:
            allow = Judgement(Verdict.ALLOWED)
        elif allow.verdict is Verdict.MISSING:
            allow = Judgement(Verdict.UNCLEAR, f"{sid} may allow {action}")
    if perhaps and allow.verdict is not Verdict.MISSING:
        return Judgement(Verdict.UNCLEAR, perhaps)
    return allow


def _of_texts(statement: Mapping[str, Any], element: str, text: str) -> _Fit:
    """Compare an action or a resource with the element or its opposite, such as NotAction."""
    for name, hit, miss in ((element, _Fit.YES, _Fit.NO), (f"Not{element}", _Fit.NO, _Fit.YES)):
        if name in statement:
            patterns = _texts(statement[name])
            if patterns is None:
                return _Fit.PERHAPS
            return hit if any(_matches(each.lower(), text) for each in patterns) else miss
    return _Fit.PERHAPS


def _of_principal(statement: Mapping[str, Any], kind: str, ours: str) -> _Fit:
    principal = statement.get("Principal")
    if principal == "*":
        principal = {"AWS": "*"}
    if not isinstance(principal, dict):
        return _Fit.PERHAPS
    values = _texts(principal.get(kind, []))
    if values is None:
        return _Fit.PERHAPS
    if kind == "Service":
        if ours in values:
            return _Fit.YES
        return _Fit.PERHAPS if principal.get("AWS") == "*" else _Fit.NO
    account = ours.split(":")[4]
    if {"*", ours, account} & {*values}:
        return _Fit.YES
    # A role of the account, which may be one of the stack's.
    return _Fit.PERHAPS if any(f":{account}:" in each for each in values) else _Fit.NO


def _of_conditions(theirs: object, ours: Mapping[str, tuple[str, str]]) -> _Fit:
    """Compare conditions, taking ours for all that is true of our requests."""
    if not isinstance(theirs, dict) or not all(isinstance(keys, dict) for keys in theirs.values()):
        return _Fit.PERHAPS
    fits = [
        _of_value(operator.removesuffix("IfExists"), _texts(values), *ours[key.lower()])
        if key.lower() in ours
        else _Fit.PERHAPS
        for operator, keys in theirs.items()
        for key, values in keys.items()
    ]
    return max(fits, default=_Fit.YES)


def _of_value(operator: str, theirs: list[str] | None, our_operator: str, ours: str) -> _Fit:
    if operator not in _OPERATORS or theirs is None or any("${" in each for each in theirs):
        return _Fit.PERHAPS
    if any(_includes(operator, each, our_operator, ours) for each in theirs):
        return _Fit.YES
    return _Fit.NO if all(_differ(operator, each, ours) for each in theirs) else _Fit.PERHAPS


def _includes(operator: str, theirs: str, our_operator: str, ours: str) -> bool:
    """Return whether all that our value stands for is included in theirs."""
    if operator == _EXACT:
        return theirs == ours and (our_operator == _EXACT or not _WILDCARD.search(ours))
    if not operator.startswith("Arn"):
        return _matches(theirs, ours)
    parts, our_parts = theirs.split(":", _ARN_COLONS), ours.split(":", _ARN_COLONS)
    return len(parts) == len(our_parts) and all(map(_matches, parts, our_parts))


def _differ(operator: str, theirs: str, ours: str) -> bool:
    """Return whether no text fits to both.

    Of two patterns, only the beginnings up to a wildcard are compared.
    """
    if operator == _EXACT:
        return not _matches(ours, theirs)
    if operator.startswith("Arn") and theirs.count(":") < _ARN_COLONS:
        return False  # no ARN; what it means is not documented
    begin, our_begin = (_WILDCARD.split(each)[0] for each in (theirs, ours))
    if our_begin == ours:  # theirs does not include it
        return True
    return not (begin.startswith(our_begin) or our_begin.startswith(begin))


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern includes a text, which may be a pattern, too."""
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "[^*]")
    return re.fullmatch(translated, text, re.DOTALL) is not None


def _texts(value: object) -> list[str] | None:
    """Return one text or several as a list; None for anything else."""
    values = value if isinstance(value, list) else [value]
    texts = [each for each in values if isinstance(each, str)]
    return texts if len(texts) == len(values) else None
