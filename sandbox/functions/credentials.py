"""The credentials that Lambda gives a function's process."""

from __future__ import annotations

from typing import Final

from moto.sts.models import sts_backends

from sandbox.functions.refusals import refusal
from sandbox.iam.sessions import find_role

# Lambda names a session after its function; only the role is known here.
SESSION_NAME: Final = "function"

# The longest session of STS, which Lambda also uses. Nothing here ends it.
_SESSION_SECONDS: Final = 12 * 60 * 60


def role_credentials(role_arn: str) -> dict[str, str]:
    """Assume a role as Lambda does for a new process, and return the process's variables.

    Unlike Lambda, this does not check whether the role's trust policy allows it.

    Parameters
    ----------
    role_arn
        The ARN of a role in moto's IAM.

    Raises
    ------
    LambdaClientError
        The error of Invoke if the role does not exist.

    Examples
    --------
    >>> LambdaService(Path("runtime"), server.url, credentials=role_credentials)
    """
    role = find_role(role_arn)
    if role is None:
        raise refusal(
            403,
            "AccessDeniedException",
            "The role defined for the function cannot be assumed by Lambda.",
        )
    session = sts_backends[role.account_id][role.partition].assume_role(
        region_name=role.partition,  # moto needs only the partition
        role_session_name=SESSION_NAME,
        role_arn=role_arn,
        policy="",
        duration=_SESSION_SECONDS,
        external_id="",
    )
    return {
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
    }
