"""Dynamic references to Secrets Manager in a resource's properties.

``{{resolve:secretsmanager:secret-id:SecretString:json-key:version-stage:version-id}}``, all
parts after the secret's name or ARN can be left out or empty. As in AWS, a reference can be a part
of a text, and references in outputs are not resolved. Errors have AWS's words and the reference,
which has no secret value.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from moto.secretsmanager.exceptions import SecretsManagerClientError
from moto.secretsmanager.models import secretsmanager_backends

from sandbox.cloudformation.resource import ResourceFailedError

_REFERENCE = re.compile(r"\{\{resolve:([^:{}]+):([^{}]*)\}\}")
_ARN_PARTS = 7


class _Secret(NamedTuple):
    """The parts of a reference."""

    secret_id: str
    kind: str = ""
    json_key: str = ""
    version_stage: str = ""
    version_id: str = ""


def resolved(node: Any, account_id: str, region_name: str) -> Any:
    """Replace references with the values of secrets, in a copy.

    Raises
    ------
    ResourceFailedError
        If the secret or key does not exist, or the reference is malformed or of another kind.
    """
    if isinstance(node, dict):
        return {key: resolved(value, account_id, region_name) for key, value in node.items()}
    if isinstance(node, list):
        return [resolved(item, account_id, region_name) for item in node]
    if isinstance(node, str):
        return _REFERENCE.sub(lambda found: _value(found, account_id, region_name), node)
    return node


def _value(found: re.Match[str], account_id: str, region_name: str) -> str:
    service, key = found.groups()
    if service != "secretsmanager":
        raise ResourceFailedError(f"{found[0]}: the sandbox resolves only secretsmanager.")
    try:
        return _read(_parsed(key), account_id, region_name)
    except ResourceFailedError as error:
        raise ResourceFailedError(f"{found[0]}: {error}") from None


def _parsed(key: str) -> _Secret:
    parts = key.split(":")
    length = _ARN_PARTS if key.startswith("arn:") else 1
    secret_id, rest = ":".join(parts[:length]), parts[length:]
    if len(rest) > len(_Secret._fields) - 1:
        raise ResourceFailedError("It has too many parts.")
    secret = _Secret(secret_id, *rest)
    if secret.kind not in ("", "SecretString"):
        raise ResourceFailedError("The part after the secret can only be SecretString.")
    if secret.version_stage and secret.version_id:
        raise ResourceFailedError("It may name a version stage or a version id, not both.")
    return secret


def _read(secret: _Secret, account_id: str, region_name: str) -> str:
    if secret.secret_id.startswith("arn:"):
        *_, region_name, account_id, _, _ = secret.secret_id.split(":")
    backend = secretsmanager_backends[account_id][region_name]
    try:
        answer = backend.get_secret_value(secret.secret_id, secret.version_id, secret.version_stage)
    except SecretsManagerClientError as error:
        raise ResourceFailedError(error.message) from None
    if "SecretString" not in answer:
        raise ResourceFailedError("The secret has no SecretString.")
    text = str(answer["SecretString"])
    return _member(text, secret.json_key) if secret.json_key else text


def _member(text: str, key: str) -> str:
    # Errors of json contain the text, which is secret: they must not be passed on.
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ResourceFailedError("Could not parse SecretString JSON")
    if key not in content:
        raise ResourceFailedError("Could not find a value associated with JSONKey in SecretString")
    value = content[key]
    return value if isinstance(value, str) else json.dumps(value)
