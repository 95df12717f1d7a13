"""What all of botocore's clients in a process share, once this module is imported.

The tests make thousands of sessions and clients. Each would parse and compute the same again.
"""

import functools
import inspect
from typing import Any

import botocore.hooks
import botocore.session
from botocore.hooks import EventAliaser, HierarchicalEmitter

# Each session has its own loader, which parses the models of its clients again. A loader never
# changes what it has read.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
# Each session and client also looks up again what the names of its events have become, half of
# the time that it takes to make one. They are the same for all, so one aliaser remembers them.
_of_one_aliaser = EventAliaser(HierarchicalEmitter())._alias_event_name  # type: ignore[attr-defined]  # not in the stubs
EventAliaser._alias_event_name = _of_one_aliaser  # type: ignore[attr-defined]  # as above
# And each inspects the signatures of the same three hundred handlers. A flag of their code says
# it, too: https://docs.python.org/3/library/inspect.html#inspect.CO_VARKEYWORDS
_inspect_handler = botocore.hooks.accepts_kwargs


def _accepts_kwargs(handler: Any) -> Any:
    code = getattr(handler, "__code__", None)
    return _inspect_handler(handler) if code is None else code.co_flags & inspect.CO_VARKEYWORDS


botocore.hooks.accepts_kwargs = _accepts_kwargs  # type: ignore[assignment]  # only its truth counts
