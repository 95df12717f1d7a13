"""Sessions of roles in moto's STS, and the policies of the roles in moto's IAM.

moto's state is read again for each call. So a change of a role counts from the next call.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from moto.iam.models import Group, ManagedPolicy, Role, User, iam_backends
from moto.sts.models import AssumedRole, sts_backends
from moto.utilities.utils import PARTITION_NAMES

_ROLE_ARN: Final = re.compile(r"arn:([\w-]+):iam::(\d{12}):role/\S+", re.ASCII)


class NamedPolicy(NamedTuple):
    """A policy of a role, a user or a group, as JSON."""

    name: str
    document: str


class Rights(NamedTuple):
    """The permissions of a session.

    Attributes
    ----------
    policies
        The policies of its role, inline and attached.
    other_limit
        The name of a further limit, which the check does not understand.
    """

    policies: list[NamedPolicy]
    other_limit: str | None


def session_of(access_key_id: str) -> AssumedRole | None:
    """Find the session of a key, in any account and partition."""
    # Copies, because other threads can assume roles.
    for partitions in list(sts_backends.values()):
        for backend in list(partitions.values()):
            session = backend.get_assumed_role_from_access_key(access_key_id)
            if session is not None:
                return session
    return None


def rights_of(session: AssumedRole) -> Rights:
    """Return the permissions of a session; empty if its role does not exist."""
    rights = rights_of_role(session.role_arn)
    return rights._replace(other_limit="a session policy") if session.policy else rights


def rights_of_role(role_arn: str) -> Rights:
    """Return the permissions of a role; empty if it does not exist."""
    role = find_role(role_arn)
    if role is None:
        return Rights([], None)
    limit = "a permissions boundary" if role.permissions_boundary_arn else None
    return Rights(policies_of(role), limit)


def policies_of(owner: Role | User | Group) -> list[NamedPolicy]:
    """Return the policies of a role, user or group, inline and attached."""
    inline = [NamedPolicy(name, _text(text)) for name, text in list(owner.policies.items())]
    attached = [_default_version(policy) for policy in list(owner.managed_policies.values())]
    return inline + attached


def find_role(arn: str) -> Role | None:
    """Find a role by its ARN."""
    match = _ROLE_ARN.fullmatch(arn)
    if match is None or match[1] not in PARTITION_NAMES:
        return None
    roles = iam_backends[match[2]][match[1]].roles
    return next((role for role in list(roles.values()) if role.arn == arn), None)


def _default_version(policy: ManagedPolicy) -> NamedPolicy:
    documents = [version.document for version in policy.versions if version.is_default]
    return NamedPolicy(policy.name, _text(documents[0] if documents else ""))


def _text(document: Any) -> str:
    """Return a document as text; moto keeps an object for inline policies of a template."""
    return document if isinstance(document, str) else json.dumps(document, default=str)
