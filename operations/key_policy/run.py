"""``make key-policy``: print the statements that the key's policy needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from operations.account import Account, OperationsError
from operations.deployed import find_stack
from operations.key_policy.coverage import statements_of
from operations.key_policy.statements import Place, needed

_NEEDED: Final = ("FunctionName", "QueueArn")


def place_of(
    stack: str, sender: str | None, key: str | None, account: str | None, name: str | None
) -> Place:
    """Find where the stack is, or will be.

    Parameters
    ----------
    stack
        Its name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.
    key
        The ARN of the key of a stack that is not deployed yet; then nothing asks AWS.
    account
        Such a stack's, if the key is of another.
    name
        What such a stack's names begin with, if not with the name of the stack.

    Raises
    ------
    OperationsError
        If the key's ARN is not one, or the stack cannot be read or has no key.
    """
    if key is not None:
        return Place.of_key(key, account, stack, name)
    outputs = find_stack(Account(), stack, _NEEDED, sender).outputs
    if "KmsKeyArn" not in outputs:
        raise OperationsError(
            "The stack has no key. Before the first deployment with kms_key_arn, name it: "
            "make key-policy KEY=arn:aws:kms:… (--key)"
        )
    return Place.of_outputs(stack, outputs)


def key_policy(place: Place, policy: Path | None) -> str:
    """Write the statements, or a policy with them in place of those with their names.

    Raises
    ------
    OperationsError
        If the policy cannot be read.
    """
    own = [each.document() for each in needed(place)]
    if policy is None:
        return json.dumps(own, indent=2)
    try:
        text = policy.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OperationsError(f"{policy} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperationsError(f"{policy} is not UTF-8: save it as UTF-8.") from error
    if not (others := [*statements_of(text)]):
        raise OperationsError(f"{policy} has no statements of a policy.")
    names = {each["Sid"] for each in own}
    kept: list[dict[str, Any]] = [each for each in others if each.get("Sid") not in names]
    return json.dumps({**json.loads(text), "Statement": [*kept, *own]}, indent=2)
