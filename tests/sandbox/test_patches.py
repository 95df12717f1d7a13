"""Patches of moto: applied, nested, and undone without a trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from moto.awslambda.models import LambdaFunction
from moto.cloudformation import parsing
from moto.dynamodb.models import DynamoDBBackend

from sandbox.functions.service import LambdaService
from sandbox.patches import Patch, applied
from sandbox.running import runtime_packages
from sandbox.services import PATCHES, patched_moto, running


class Original:
    """Stands for a class of moto."""

    name = "original"

    @classmethod
    def made(cls) -> str:
        return cls.__name__


def state_of_moto() -> dict[tuple[str, str], Any]:
    """Return all attributes of moto's modules and their classes, one level deep."""
    found: dict[tuple[str, str], Any] = {}
    for module_name, module in list(sys.modules.items()):
        if module_name != "moto" and not module_name.startswith("moto."):
            continue
        for name, value in list(vars(module).items()):
            found[module_name, name] = value
            if isinstance(value, type) and value.__module__.startswith("moto."):
                for attribute, inner in list(vars(value).items()):
                    found[value.__module__, f"{value.__qualname__}.{attribute}"] = inner
    return found


def changes(before: dict[tuple[str, str], Any], after: dict[tuple[str, str], Any]) -> set[str]:
    """Name the attributes that are not the same object any more."""
    absent = object()
    return {
        f"{module}.{name}"
        for module, name in before.keys() | after.keys()
        if before.get((module, name), absent) is not after.get((module, name), absent)
        # Python itself writes these when a class gets a subclass or an instance.
        and not name.endswith(("__abstractmethods__", "_abc_impl", "__builtins__"))
    }


def test_patches_are_undone_the_last_one_first() -> None:
    patches = [
        Patch(Original, "name", "first"),
        Patch(Original, "name", "second"),
        Patch(Original, "new", 1),
        Patch(Original, "made", classmethod(lambda cls: "replaced")),
    ]
    before = dict(vars(Original))

    with applied(patches):
        assert (Original.name, Original.made(), vars(Original)["new"]) == ("second", "replaced", 1)

    assert dict(vars(Original)) == before


def test_patches_are_undone_after_a_failure() -> None:
    before = dict(vars(Original))

    with pytest.raises(KeyError), applied([Patch(Original, "name", "replaced")]):
        raise KeyError

    assert dict(vars(Original)) == before


def test_caches_are_cleared_after_each_change() -> None:
    seen: list[str] = []

    with applied([Patch(Original, "name", "replaced")], [lambda: seen.append(Original.name)]):
        assert seen == ["replaced"]

    assert seen == ["replaced", "original"]


def test_nothing_of_moto_is_different_afterwards() -> None:
    with patched_moto(), running(LambdaService(runtime_packages(), "http://127.0.0.1:9")):
        pass  # moto loads modules when they are first used
    before = state_of_moto()

    with patched_moto():
        put_item = vars(DynamoDBBackend)["put_item"]
        with running(LambdaService(runtime_packages(), "http://127.0.0.1:9")):
            inside = state_of_moto()
            assert vars(DynamoDBBackend)["put_item"] is put_item, "a patch wraps itself"
        assert vars(DynamoDBBackend)["put_item"] is put_item, "the inner block undid the outer one"

    assert len(changes(before, inside)) > len(PATCHES)
    assert changes(before, state_of_moto()) == set()


def test_moto_forgets_the_sandboxs_resource_types() -> None:
    with patched_moto():
        inside = parsing.get_model_map()["AWS::SQS::Queue"]

    assert inside.__module__ == "sandbox.sqs.resources"
    assert parsing.get_model_map()["AWS::SQS::Queue"].__module__ == "moto.sqs.models"


def test_a_missing_runtime_changes_nothing(tmp_path: Path) -> None:
    before = vars(LambdaFunction)["invoke"]

    with pytest.raises(FileNotFoundError, match="awslambdaric"):
        LambdaService(tmp_path, "http://127.0.0.1:9")

    assert vars(LambdaFunction)["invoke"] is before
