"""Keys of KMS in the sandbox, used by a stock client."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service_sandbox import ServiceSandbox

STEPS = (
    ("disable_key", "Disabled"),
    ("enable_key", "Enabled"),
    ("schedule_key_deletion", "PendingDeletion"),
    ("cancel_key_deletion", "Disabled"),
)


@pytest.mark.parametrize("name", ["KeyId", "Arn"])
def test_a_key_may_be_named_by_its_id_or_its_arn(sandbox: ServiceSandbox, name: str) -> None:
    keys: Any = sandbox.client("kms")
    key = keys.create_key()["KeyMetadata"][name]
    states = []

    for operation, _ in STEPS:
        getattr(keys, operation)(KeyId=key)
        states.append(keys.describe_key(KeyId=key)["KeyMetadata"]["KeyState"])

    assert states == [state for _, state in STEPS]
