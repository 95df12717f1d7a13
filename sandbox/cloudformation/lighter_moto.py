"""moto's CloudFormation without EC2: half of the time to import the sandbox, 90 MB less memory.

moto imports the models of all services that a template can have. EC2's read lists of all machine
images and instance types, and four other services are built on them. REST APIs need a validator
of OpenAPI. No stack of ours has any of these. A template with one of their resources is refused,
as one with an unknown type.

Importing this module imports moto's CloudFormation. Who imports one of the services later gets
moto's own.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

_LEFT_OUT: Final = tuple(
    f"moto.{service}"
    for service in ("apigateway", "autoscaling", "ec2", "efs", "elbv2", "redshift")
)


class _EmptyModule(ModuleType):
    """Stands for a module, and has a class of its own for each name that is imported from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _EmptyModules(MetaPathFinder, Loader):
    """Finds the modules of the services that are left out."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if ".".join(fullname.split(".")[:2]) in _LEFT_OUT:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


_finder = _EmptyModules()
sys.meta_path.insert(0, _finder)
try:
    importlib.import_module("moto.cloudformation.models")
finally:
    sys.meta_path.remove(_finder)
    for _name, _module in list(sys.modules.items()):
        if isinstance(_module, _EmptyModule):
            del sys.modules[_name]
            _package, _, _child = _name.rpartition(".")
            vars(sys.modules.get(_package, _module)).pop(_child, None)
