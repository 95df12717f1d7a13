"""What all of botocore's clients in a process share, once this module is imported.

The tests make thousands of sessions and clients. Each would parse and compute the same again.
"""

import functools

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
# And each inspects the signatures of the same three hundred handlers.
botocore.hooks.accepts_kwargs = functools.cache(botocore.hooks.accepts_kwargs)
