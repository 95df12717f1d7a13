"""Prepare the account that the stack is deployed into, with generated content.

It gets the resources of ``cdk bootstrap``, the channels' secrets, the existing projects, the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.kms.models import kms_backends
from moto.pinpoint.models import pinpoint_backends

from infra.settings import CredentialKind, Settings, SettingsError
from sandbox.pinpoint.projects import add_project
from sandbox.stack.synthesis import REPOSITORY

REGION: Final = "us-east-1"
ACCOUNT_ID: Final = DEFAULT_ACCOUNT_ID

_BOOTSTRAP_QUALIFIER: Final = "hnb659fds"
_BOOTSTRAP_VERSION: Final = "30"

_BOOTSTRAP_ROLES: Final = ("deploy", "file-publishing", "lookup", "cfn-exec")

_EVERYTHING: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}

_KEYS: Final[Mapping[CredentialKind, tuple[str, ...]]] = {
    "service account": ("type", "project_id", "private_key", "client_email"),
    "token key": ("token_key", "key_id", "team_id", "bundle_id"),
    "certificate": ("certificate", "private_key"),
    "keys": ("api_key", "secret_key", "client_id", "client_secret"),
}
"""The members of a secret; "keys" has those of all services, and each reads its own."""

_EVERY_CHANNEL: Final = {
    f"{name}_secret": f"sandbox/{name}"
    for name in ("fcm", "apns", "apns_sandbox", "apns_voip", "apns_voip_sandbox", "baidu", "adm")
}

_TOKENS: Final[Mapping[str, Any]] = {
    "jwt_issuer": "https://issuer.sandbox.example",
    "jwt_audience": "sandbox-app",
    "http_jwt": True,
}
"""The issuer that the sandbox's own stands in for."""

_JWT_SETTINGS: Final = (*_TOKENS, "jwt_requests_per_second", "jwt_burst")


def client(service: str, url: str, **credentials: str) -> Any:
    """Make a client of a service of the sandbox, by default for the administrator.

    Parameters
    ----------
    service
        boto3's name of it.
    url
        The sandbox's.
    credentials
        Another caller's, as boto3 takes them.
    """
    return boto3.client(
        service,  # type: ignore[call-overload]  # stubs know names only as literals
        endpoint_url=url,
        region_name=REGION,
        **credentials or {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox"},
    )


def committed_context(file: Path = REPOSITORY / "cdk.json") -> dict[str, Any]:
    """Read the settings of ``cdk.json``, which a deployment to AWS uses.

    Raises
    ------
    SettingsError
        If the file cannot be read; the message says where.
    """
    try:
        content = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        place = f"{file.name}, line {error.lineno}, column {error.colno}"
        raise SettingsError(f"{place}: {error.msg}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file.name}: must be UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file.name}: {error.strerror}") from None
    context = content.get("context", {}) if isinstance(content, dict) else None
    if not isinstance(context, dict):
        raise SettingsError(f"{file.name}: must be an object, and context in it another")
    return context


def sandbox_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a context for the sandbox.

    If it configures no channel and names no existing project, as in a fresh clone, every channel
    is set up with generated credentials. If it has no setting of tokens (JWT), the routes for apps
    take those of the sandbox's issuer. The CDK's flags are those of ``cdk.json``. A secret's
    ARN is shortened to its name, because the end of an ARN cannot be chosen.
    """
    flags = {key: value for key, value in committed_context().items() if key.startswith("@")}
    context = {**flags, **context}
    settings = Settings.from_context(context)
    if settings.http_api and all(context.get(name) is None for name in _JWT_SETTINGS):
        context = {**context, **_TOKENS}
    if not settings.credentials and settings.application_id is None:
        return {**context, **_EVERY_CHANNEL}
    return {
        key: value.rpartition(":secret:")[2] if key.endswith("_secret") and value else value
        for key, value in context.items()
    }


def prepare(url: str, settings: Settings) -> None:
    """Make the resources that the stack needs, through boto3 if possible.

    Parameters
    ----------
    url
        A running sandbox's.
    settings
        The stack's.
    """
    _bootstrap(url)
    secrets = client("secretsmanager", url)
    for credential in settings.credentials:
        secret = credential.secret
        version = {"ClientRequestToken": secret.version} if secret.version else {}
        # Generated each time, so that a value that appears in an output shows a leak.
        generated = {key: f"made-up-{token_hex(8)}" for key in _KEYS[credential.kind]}
        content = json.dumps(generated)
        secrets.create_secret(Name=secret.id, SecretString=content, **version)
    for application_id in {settings.application_id, *settings.extra_application_ids} - {None}:
        add_project(pinpoint_backends[ACCOUNT_ID][REGION], str(application_id))
    if settings.kms_key_arn is not None:
        _add_key(settings.kms_key_arn.partition("/")[2])


def _add_key(id_: str) -> None:
    """Add the key, unless it exists, with the policy of a new one. KMS chooses ids itself."""
    keys = kms_backends[ACCOUNT_ID][REGION]
    if id_ not in keys.keys:
        made = keys.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "", None)
        del keys.keys[made.id]
        made.id = id_
        keys.keys[id_] = made


def _bootstrap(url: str) -> None:
    """Make the resources of ``cdk bootstrap``, so that ``cdk deploy`` works with the sandbox."""
    prefix, place = f"cdk-{_BOOTSTRAP_QUALIFIER}", f"{ACCOUNT_ID}-{REGION}"
    client("s3", url).create_bucket(Bucket=f"{prefix}-assets-{place}")
    client("ssm", url).put_parameter(
        Name=f"/cdk-bootstrap/{_BOOTSTRAP_QUALIFIER}/version",
        Value=_BOOTSTRAP_VERSION,
        Type="String",
    )
    iam = client("iam", url)
    for name in (f"{prefix}-{role}-role-{place}" for role in _BOOTSTRAP_ROLES):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_EVERYTHING))
        iam.put_role_policy(
            RoleName=name, PolicyName="everything", PolicyDocument=json.dumps(_EVERYTHING)
        )
