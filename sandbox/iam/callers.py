"""Find the owner of an access key: the sandbox's administrator, a user, or a session of a role.

The permission check in front of moto treats all unknown keys as the administrator's. This module
does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import AccessKey, Group, IAMBackend, User, iam_backends
from moto.sts.models import AssumedRole

from sandbox.iam.sessions import NamedPolicy, Rights, policies_of, rights_of, session_of

ADMINISTRATOR_KEY: Final = "sandbox"
ADMINISTRATOR_SECRET: Final = "sandbox"  # noqa: S105  public, in the documents

_EVERYTHING: Final = json.dumps(
    {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}  # no Version is needed
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key.

    Attributes
    ----------
    secret_access_key, session_token
        The key's secrets; the token is empty if the key has none.
    principal_id
        IAM's unique id.
    role_arn
        The role of a session; else empty.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    account_id: str
    arn: str
    principal_id: str
    role_arn: str
    rights: Rights


def find_caller(access_key_id: str) -> Caller | None:
    """Find the owner of a key; an inactive key has none."""
    if access_key_id == ADMINISTRATOR_KEY:
        return _administrator()
    if session := session_of(access_key_id):
        return _of_session(session)
    # Copies, because other threads can create users.
    for partitions in list(iam_backends.values()):
        for backend in list(partitions.values()):
            for user in list(backend.users.values()):
                for key in list(user.access_keys):
                    if key.access_key_id == access_key_id and key.status == "Active":
                        return _of_user(backend, user, key)
    return None


def _administrator() -> Caller:
    return Caller(
        access_key_id=ADMINISTRATOR_KEY,
        secret_access_key=ADMINISTRATOR_SECRET,
        session_token="",
        account_id=DEFAULT_ACCOUNT_ID,
        arn=f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:root",
        principal_id=DEFAULT_ACCOUNT_ID,
        role_arn="",
        rights=Rights([NamedPolicy("administrator", _EVERYTHING)], None),
    )


def _of_session(session: AssumedRole) -> Caller:
    return Caller(
        access_key_id=session.access_key_id,
        secret_access_key=session.secret_access_key,
        session_token=session.session_token,
        account_id=session.account_id,
        arn=session.arn,
        principal_id=session.user_id,
        role_arn=session.role_arn,
        rights=rights_of(session),
    )


def _of_user(backend: IAMBackend, user: User, key: AccessKey) -> Caller:
    owners: list[User | Group] = [user]
    owners += [group for group in list(backend.groups.values()) if user in group.users]
    return Caller(
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
        session_token="",
        account_id=user.account_id,
        arn=user.arn,
        principal_id=user.id,
        role_arn="",
        # moto keeps no permissions boundary of a user.
        rights=Rights([policy for owner in owners for policy in policies_of(owner)], None),
    )
