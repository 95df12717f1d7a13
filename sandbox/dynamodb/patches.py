"""The place where moto's DynamoDB is changed, so that a condition and its write are one.

moto looks at the item, then at the condition, then writes: of two conditional writes at the
same time both can succeed. Here one write at a time touches an account's tables.
"""

from __future__ import annotations

from threading import RLock
from typing import Any, Final

from moto.dynamodb.models import DynamoDBBackend

_ONE_AT_A_TIME: Final = RLock()
_WRITES: Final = ("put_item", "update_item", "delete_item", "transact_write_items")


def install() -> None:
    """Change moto's tables; twice does no more than once."""
    backend: Any = DynamoDBBackend
    if getattr(backend, "push_sandbox_installed", False):
        return
    backend.push_sandbox_installed = True
    for name in _WRITES:
        setattr(backend, name, _alone(getattr(backend, name)))


def _alone(motos: Any) -> Any:
    def alone(*arguments: Any, **named: Any) -> Any:
        with _ONE_AT_A_TIME:
            return motos(*arguments, **named)

    return alone
