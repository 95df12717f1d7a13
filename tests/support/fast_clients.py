"""What all of botocore's clients in a process share, once this module is imported.

The tests make thousands of sessions and clients. Each would parse and compute the same again.
"""

import functools
import inspect
from typing import Any

import botocore.hooks
import botocore.session
from botocore.client import ClientCreator
from botocore.hooks import EventAliaser, HierarchicalEmitter, NodeList

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

# Each client copies all handlers of its session, and its class is made from the whole model. Both
# were a quarter of the time that a worker needs for the tests. The class depends only on the
# service, if no handler changes it.
_make_class = ClientCreator._create_client_class  # type: ignore[attr-defined]  # not in the stubs
_classes: dict[str, type] = {}


def _kept_class(self: Any, service_name: str, service_model: Any) -> type:
    event = f"creating-client-class.{service_model.service_id.hyphenize()}"
    if self._event_emitter._emitter._handlers.prefix_search(event):
        made: type = _make_class(self, service_name, service_model)
        return made
    if service_name not in _classes:
        made = _classes[service_name] = _make_class(self, service_name, service_model)
        for method in filter(inspect.isfunction, vars(made).values()):
            method.__doc__ = None  # it holds the handlers of the session
    return _classes[service_name]


def _copy_handlers(self: Any) -> Any:
    made = type(self)()
    made._root = _copy_node(self._root)
    return made


def _copy_node(node: dict[str, Any]) -> dict[str, Any]:
    values, children = node["values"], node["children"]
    return {
        "chunk": node["chunk"],
        "values": values and NodeList(*map(list.copy, values)),
        "children": {name: _copy_node(child) for name, child in children.items()},
    }


ClientCreator._create_client_class = _kept_class  # type: ignore[attr-defined]  # as above
botocore.hooks._PrefixTrie.__copy__ = _copy_handlers  # type: ignore[attr-defined]  # as above
