"""What the sandbox deploys: a project with all its channels, a role and the function.

Made with stock boto3 clients against the sandbox itself, as somebody without the stack
would make it in an account.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3

REGION: Final = "us-east-1"
FUNCTION_NAME: Final = "push-sender"
TIMEOUT_SECONDS: Final = 29
MEMORY_MB: Final = 512

_MADE_UP: Final = "made-up"
_CHANNELS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "gcm": ("GCMChannelRequest", {}),
    "apns": ("APNSChannelRequest", {}),
    "apns_sandbox": ("APNSSandboxChannelRequest", {}),
    "apns_voip": ("APNSVoipChannelRequest", {}),
    "apns_voip_sandbox": ("APNSVoipSandboxChannelRequest", {}),
    "baidu": ("BaiduChannelRequest", {"ApiKey": _MADE_UP, "SecretKey": _MADE_UP}),
    "adm": ("ADMChannelRequest", {"ClientId": _MADE_UP, "ClientSecret": _MADE_UP}),
}
"""Each channel by the name in its client method, to its request and what that must hold."""

_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where to push to.

    Attributes
    ----------
    url
        Of the sandbox: the endpoint of every service.
    function_name
        The function to invoke.
    application_id
        The project that it sends through.
    """

    url: str
    function_name: str
    application_id: str


def client(service: str, url: str) -> Any:
    """Make a stock client of a service of the sandbox, with credentials that mean nothing."""
    return boto3.client(
        service,  # type: ignore[call-overload]  # by name, which stubs know only as literals
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106  nobody's
    )


def deploy(url: str, archive: Path) -> Deployment:
    """Deploy the function and what it needs.

    Parameters
    ----------
    url
        Of a running sandbox.
    archive
        The function's bundle, built for this machine.
    """
    application_id = _create_project(client("pinpoint", url))
    role = client("iam", url).create_role(
        RoleName=FUNCTION_NAME, AssumeRolePolicyDocument=json.dumps(_TRUST)
    )
    client("lambda", url).create_function(
        FunctionName=FUNCTION_NAME,
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="push_sender.handler.handler",
        Code={"ZipFile": archive.read_bytes()},
        Timeout=TIMEOUT_SECONDS,
        MemorySize=MEMORY_MB,
        Environment={"Variables": {"APPLICATION_IDS": application_id}},
        LoggingConfig={"LogFormat": "JSON"},
    )
    return Deployment(url, FUNCTION_NAME, application_id)


def _create_project(pinpoint: Any) -> str:
    created = pinpoint.create_app(CreateApplicationRequest={"Name": FUNCTION_NAME})
    application_id: str = created["ApplicationResponse"]["Id"]
    for channel, (member, credentials) in _CHANNELS.items():
        update = getattr(pinpoint, f"update_{channel}_channel")
        update(ApplicationId=application_id, **{member: {"Enabled": True, **credentials}})
    return application_id
