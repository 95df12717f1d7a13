"""A push to a well-known token, sent as any program sends one: for the page's buttons."""

from __future__ import annotations

from typing import Any, Final

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.pinpoint.models import pinpoint_backends

from sandbox.push.devices import CHANNELS, LONGEST_SECONDS, well_known
from sandbox.push.listing import BadQueryError
from sandbox.push.service import options

_REGION: Final = "us-east-1"
_ANY_PROJECT: Final = "sandbox"
_ONE_TRY: Final = Config(
    retries={"total_max_attempts": 1},  # what the token answers, and no second try's answer
    read_timeout=LONGEST_SECONDS + 10,
)


def send_well_known(url: str, wanted: Any) -> dict[str, Any]:
    """Make one SendMessages call, and tell how it was answered.

    Parameters
    ----------
    url
        Of this sandbox.
    wanted
        The ``token`` and the ``service``, as the page names them.

    Raises
    ------
    BadQueryError
        If the token is not a well-known one, the service none, or there is no project.
    """
    token, service = _understood(wanted)
    row = well_known(token)
    if row is None or service not in CHANNELS:
        raise BadQueryError(f"takes a well-known token, and a service of {', '.join(CHANNELS)}")
    # A session of its own: the module's shared one is not for threads.
    client = Session().client(
        "pinpoint",
        endpoint_url=url,
        region_name=_REGION,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106  the sandbox knows no other
        config=_ONE_TRY,
    )
    message: Any = {CHANNELS[service].message: {"Title": token, "Body": row.meaning}}
    address: Any = {"ChannelType": service}
    try:
        answer = client.send_messages(
            ApplicationId=_project(),
            MessageRequest={"Addresses": {token: address}, "MessageConfiguration": message},
        )
    except ClientError as refused:
        status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
        return {"status": status, "answer": refused.response["Error"]}
    finally:
        client.close()
    return {"status": 200, "answer": answer["MessageResponse"]}


def _understood(wanted: Any) -> tuple[str, str]:
    match wanted:
        case {"token": str(token), "service": str(service), **others} if not others:
            return token, service
    raise BadQueryError("takes a token and a service, as one JSON object")


def _project() -> str:
    """Name the first project there is: in a deployed sandbox, the stack's."""
    projects = list(pinpoint_backends[DEFAULT_ACCOUNT_ID][_REGION].apps)
    if projects:
        return projects[0]
    if options.any_project:
        return _ANY_PROJECT
    raise BadQueryError("needs a project to send through; there is none yet")
