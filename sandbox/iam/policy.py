"""Decide whether policies allow one action on one resource.

The check knows Effect, Action and Resource, with wildcards, and the conditions that the stack
has: of the service that gets a role, and of the use of a key. It does not guess the meaning of
other elements (other conditions, NotAction, NotResource, policy variables): an Allow with one
allows nothing, a Deny with one denies all that it could mean, and the reason names the element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

_ELEMENTS: Final = ("Sid", "Effect", "Action", "Resource")
_ACTION: Final = re.compile(r"\*|[\w-]+:[\w*?]+", re.ASCII)
# The segment of the service takes no wildcard.
_RESOURCE: Final = re.compile(r"\*|arn:[^:]+:[^:*?]+:.+")
_VARIABLE: Final = "${"
PASSED_TO: Final = "iam:PassedToService"
VIA_SERVICE: Final = "kms:ViaService"
CONTEXT: Final = "kms:EncryptionContext:"
"""The start of the condition key for a member of the encryption context."""

_OPERATORS: Final = {PASSED_TO: "StringEquals", VIA_SERVICE: "StringLike", CONTEXT: "StringEquals"}
"""The conditions that the check knows: of each key the operator."""

_NO_FACTS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, ready to be compared with requests.

    Attributes
    ----------
    actions, resources
        Patterns, of which one must match; None if the check cannot read them.
    not_understood
        The elements that the check does not know; empty if it knows all.
    conditions
        The keys of its conditions, each with patterns, of which one must match.
    """

    denies: bool
    actions: tuple[re.Pattern[str], ...] | None
    resources: tuple[re.Pattern[str], ...] | None
    not_understood: str
    conditions: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...] = ()

    def may_concern(self, action: str, resource: str, facts: Mapping[str, str]) -> bool:
        """Return whether it may apply to this action on this resource."""
        return (
            _matches(self.actions, action)
            and _matches(self.resources, resource)
            and all(_matches(patterns, facts.get(key, "")) for key, patterns in self.conditions)
        )


def refusal_reason(
    policies: Iterable[tuple[str, str]],
    action: str,
    resource: str,
    facts: Mapping[str, str] = _NO_FACTS,
) -> str | None:
    """Return why policies do not allow an action on a resource, or None if they do.

    Parameters
    ----------
    policies
        The name and JSON of each.
    action
        Such as ``sqs:SendMessage``.
    resource
        The full ARN.
    facts
        The values of condition keys, such as ``iam:PassedToService`` for ``iam:PassRole``.

    Returns
    -------
    str or None
        IAM's own words, and the elements that the check does not know.
    """
    allowed = False
    not_understood = []
    for name, document in policies:
        for statement in _statements(document):
            if not statement.may_concern(action, resource, facts):
                continue
            unclear = f"{statement.not_understood} in the policy {name}"
            if statement.denies:
                reason = "with an explicit deny in an identity-based policy"
                return reason + (_addition(unclear) if statement.not_understood else "")
            if statement.not_understood:
                not_understood.append(unclear)
            else:
                allowed = True
    if allowed:
        return None
    reason = f"because no identity-based policy allows the {action} action"
    return reason + (_addition(" and ".join(not_understood)) if not_understood else "")


def allow_everything(policies: Iterable[tuple[str, str]]) -> bool:
    """Return whether policies allow everything and deny nothing."""
    statements = [each for _, document in policies for each in _statements(document)]
    return any(map(_allows_everything, statements)) and not any(each.denies for each in statements)


def arn_like(pattern: str, arn: str) -> bool:
    """Compare an ARN as the condition ArnLike does, each of its six parts separately."""
    parts, others = arn.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(others) and all(
        re.fullmatch(_with_wildcards(other, anything=".*", one="."), part, re.DOTALL)
        for other, part in zip(others, parts, strict=True)
    )


def _allows_everything(statement: Statement) -> bool:
    limited = statement.not_understood or statement.conditions
    return not (statement.denies or limited) and all(
        any(pattern.pattern == ".*" for pattern in patterns or ())
        for patterns in (statement.actions, statement.resources)
    )


def _addition(unclear: str) -> str:
    return f" (the sandbox's check does not understand {unclear})"


def _matches(patterns: tuple[re.Pattern[str], ...] | None, text: str) -> bool:
    return patterns is None or any(pattern.fullmatch(text) for pattern in patterns)


# A policy is read at every call and seldom changed; its text is the key of the cache.
@lru_cache(maxsize=256)
def _statements(document: str) -> tuple[Statement, ...]:
    try:
        policy = json.loads(document)
    except (ValueError, RecursionError):
        policy = None
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list):
        # It is unknown what the policy would deny.
        return (Statement(True, None, None, "anything"),)
    return tuple(map(_statement, statements))


def _statement(statement: Any) -> Statement:
    if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
        return Statement(True, None, None, "a statement without Allow or Deny")
    conditions = _conditions(statement.get("Condition"))
    known = (*_ELEMENTS, "Condition") if conditions else _ELEMENTS
    unknown = [element for element in statement if element not in known]
    patterns: list[tuple[re.Pattern[str], ...] | None] = []
    for element, readable, compiled in (
        ("Action", _ACTION, _action_pattern),
        ("Resource", _RESOURCE, _resource_pattern),
    ):
        patterns.append(_patterns(statement.get(element), readable, compiled))
        if patterns[-1] is None and f"Not{element}" not in statement:
            unknown.append(f"the {element}")
    actions, resources = patterns
    denies = statement["Effect"] == "Deny"
    return Statement(denies, actions, resources, " and ".join(unknown), conditions)


def _conditions(condition: Any) -> tuple[tuple[str, tuple[re.Pattern[str], ...]], ...]:
    """Return the conditions if the check knows them all; nothing otherwise."""
    if not isinstance(condition, dict) or not all(isinstance(v, dict) for v in condition.values()):
        return ()
    found = []
    for operator, keys in condition.items():
        if not keys:
            return ()
        for key, value in keys.items():
            values = value if isinstance(value, list) else [value]
            named = CONTEXT if key.startswith(CONTEXT) else key
            if _OPERATORS.get(named) != operator or not all(
                isinstance(each, str) and _VARIABLE not in each for each in values
            ):
                return ()
            anything, one = (".*", ".") if operator == "StringLike" else (r"\*", r"\?")
            patterns = (_with_wildcards(each, anything=anything, one=one) for each in values)
            found.append((key, tuple(re.compile(each, re.DOTALL) for each in patterns)))
    return tuple(found)


def _patterns(
    value: Any, readable: re.Pattern[str], compiled: Callable[[str], re.Pattern[str]]
) -> tuple[re.Pattern[str], ...] | None:
    values = value if isinstance(value, list) else [value]
    if not all(
        isinstance(each, str) and readable.fullmatch(each) and _VARIABLE not in each
        for each in values
    ):
        return None
    return tuple(map(compiled, values))


def _action_pattern(text: str) -> re.Pattern[str]:
    return re.compile(_with_wildcards(text, anything=".*", one="."), re.IGNORECASE)


def _resource_pattern(text: str) -> re.Pattern[str]:
    """Translate an ARN: a wildcard stays in its segment, except a ``*`` at the segment's end."""
    segments = [
        _with_wildcards(segment[:-1], anything="[^:]*", one="[^:]") + ".*"
        if segment.endswith("*")
        else _with_wildcards(segment, anything="[^:]*", one="[^:]")
        for segment in text.split(":")
    ]
    return re.compile(":".join(segments), re.DOTALL)


def _with_wildcards(text: str, *, anything: str, one: str) -> str:
    return re.escape(text).replace(r"\*", anything).replace(r"\?", one)
