"""Patches of moto: what the sandbox changes in it, and how each change is undone.

A folder of a service lists its patches. ``sandbox.services`` applies them. A replacement wraps
what moto had when the module with the patch was imported, never another replacement. So a patch
that is applied twice has the effect of one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, Final, NamedTuple

_ABSENT: Final = object()

_logger = logging.getLogger(__name__)


class Patch(NamedTuple):
    """An attribute of a class or module of moto, and its replacement.

    Attributes
    ----------
    target
        The class or module.
    name
        The attribute, which may be a new one.
    replacement
        Its value while the patch is applied.
    """

    target: Any
    name: str
    replacement: Any


@contextmanager
def applied(
    patches: Iterable[Patch], caches: Iterable[Callable[[], object]] = ()
) -> Iterator[None]:
    """Apply patches, and undo them at the end of the block, the last one first.

    Blocks with the same patches may be nested.

    Parameters
    ----------
    patches
        What to change.
    caches
        Functions that clear a cache of moto. They are called after each change.
    """
    with ExitStack() as undo:
        for clear in caches:
            undo.callback(clear)
        for patch in patches:
            original = vars(patch.target).get(patch.name, _ABSENT)
            setattr(patch.target, patch.name, patch.replacement)
            undo.callback(_restore, patch, original)
        for clear in caches:
            clear()
        yield


def serialized(original: Any, lock: AbstractContextManager[Any]) -> Any:
    """Let one thread at a time call a function of moto."""

    @wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        with lock:
            return original(*arguments, **named)

    return call


def isolated(original: Any) -> Any:
    """Keep the failure of one subscriber from the publisher and the other subscribers.

    In AWS, Publish, PutLogEvents and PutObject end when the service has the message. moto
    delivers within the call: if one subscriber raises, the subscribers after it get nothing, and
    a client that retries delivers again to those before it.
    """

    @wraps(original)
    def deliver(subscriber: Any, *arguments: Any, **named: Any) -> None:
        try:
            original(subscriber, *arguments, **named)
        except Exception as failure:  # noqa: BLE001  any failure concerns only this subscriber
            name = named.get("destination_arn") or getattr(subscriber, "endpoint", "")
            _logger.warning("%s got nothing: %s", name, type(failure).__name__)

    return deliver


def _restore(patch: Patch, original: Any) -> None:
    if original is _ABSENT:
        delattr(patch.target, patch.name)
    else:
        setattr(patch.target, patch.name, original)
