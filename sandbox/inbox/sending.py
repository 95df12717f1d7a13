"""Send a push as any program does, for the page's buttons and form."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.pinpoint.models import pinpoint_backends

from sandbox.inbox.listing import BadQueryError
from sandbox.pinpoint.devices import CHANNELS, LONGEST_SECONDS, well_known
from sandbox.pinpoint.service import options

_REGION: Final = "us-east-1"
_ANY_PROJECT: Final = "sandbox"
_ONE_TRY: Final = Config(
    retries={"total_max_attempts": 1},  # show the first answer, without a retry
    read_timeout=LONGEST_SECONDS + 10,
)


def send(url: str, wanted: Any) -> dict[str, Any]:
    """Make one SendMessages call, and return its status and answer.

    Parameters
    ----------
    url
        This sandbox's.
    wanted
        The ``token``, the ``service``, and a ``text``, which only a well-known token can do
        without.

    Raises
    ------
    BadQueryError
        If the object is invalid, or there is no project.
    """
    token, service, text = _parsed(wanted)
    row = well_known(token)
    if text is None and row is not None:
        text = row.meaning
    if not token or not text or service not in CHANNELS:
        raise BadQueryError(
            f"takes a well-known token, or any token with a text, and a service of"
            f" {', '.join(CHANNELS)}"
        )
    # A new session, because boto3's shared one is not thread-safe.
    client = Session().client(
        "pinpoint",
        endpoint_url=url,
        region_name=_REGION,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106  the sandbox knows no other
        config=_ONE_TRY,
    )
    title = token if row is not None else "Sent from the inbox"
    message: Any = {CHANNELS[service].message: {"Title": title, "Body": text}}
    address: Any = {"ChannelType": service}
    try:
        answer = client.send_messages(
            ApplicationId=_project(),
            MessageRequest={"Addresses": {token: address}, "MessageConfiguration": message},
        )
    except ClientError as refused:
        status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
        return {"status": status, "answer": refused.response["Error"]}
    except BotoCoreError as failed:  # no answer in time, or an unreadable one
        why = {"Code": type(failed).__name__, "Message": "The call got no answer."}
        return {"status": HTTPStatus.GATEWAY_TIMEOUT, "answer": why}
    finally:
        client.close()
    return {"status": 200, "answer": answer["MessageResponse"]}


def _parsed(wanted: Any) -> tuple[str, str, str | None]:
    match wanted:
        case {"token": str(token), "service": str(service), "text": str(text), **others}:
            if not others:
                return token, service, text
        case {"token": str(token), "service": str(service), **others}:
            if not others:
                return token, service, None
    raise BadQueryError("takes a token, a service and perhaps a text, as one JSON object")


def _project() -> str:
    """Return the first project: in a deployed sandbox, the stack's."""
    projects = list(pinpoint_backends[DEFAULT_ACCOUNT_ID][_REGION].apps)
    if projects:
        return projects[0]
    if options.any_project:
        return _ANY_PROJECT
    raise BadQueryError("needs a project to send through; there is none yet")
