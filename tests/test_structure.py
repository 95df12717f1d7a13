"""Which package of the function imports which: the dependencies point one way."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

FUNCTION = REPOSITORY / "lambda_src" / "push_sender"

ROOMS = sorted(folder.name for folder in FUNCTION.iterdir() if (folder / "__init__.py").exists())

IMPORTS: dict[str, set[str]] = {
    "request": set(),
    "recipients": {"request"},
    "messages": {"request"},
    "send_messages": {"request", "recipients", "messages", "outcomes", "clients"},
    "validation": {"request", "recipients", "messages"},
    "jobs": {
        "request", "validation", "outcomes", "clients", "idempotency", "telemetry", "follow_up",
    },
    "outcomes": set(),
    "clients": {"outcomes"},
    "delivery": {"request", "recipients", "outcomes", "clients"},
    "idempotency": {"request", "outcomes", "clients", "delivery"},
    "devices": {"request", "recipients", "clients"},
    "telemetry": {"request", "recipients", "outcomes", "delivery"},
    "follow_up": {"request", "outcomes", "clients", "delivery", "telemetry"},
    "schedules": {"request", "recipients", "outcomes", "clients", "idempotency", "follow_up"},
    "entry_points": {
        "request", "validation", "outcomes", "clients", "devices", "telemetry", "follow_up",
        "idempotency", "jobs", "schedules",
    },
}  # fmt: skip
"""The rooms that the modules of a room import. What stands in none (``handler``, ``sender``,
``report``, ``settings``) puts them together."""


def imports_of(file: Path) -> set[str]:
    """Name the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def rooms_of(names: set[str]) -> set[str]:
    """Name the rooms that modules stand in."""
    parts = [name.split(".") for name in names if name.startswith("push_sender.")]
    return {part[1] for part in parts if part[1] in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_imports_only_the_listed_packages(room: str) -> None:
    names = {name for file in (FUNCTION / room).rglob("*.py") for name in imports_of(file)}

    assert rooms_of(names) - {room} == IMPORTS[room]


def test_packages_have_no_import_cycle() -> None:
    assert set(TopologicalSorter(IMPORTS).static_order()) == set(ROOMS)


def test_no_other_package_imports_an_entry_point() -> None:
    assert not [room for room, imported in IMPORTS.items() if "entry_points" in imported]


@pytest.mark.parametrize("room", ["request", "recipients", "messages", "validation"])
def test_message_building_packages_import_no_client(room: str) -> None:
    for file in (FUNCTION / room).rglob("*.py"):
        sdk = {name for name in imports_of(file) if name.split(".")[0] in ("boto3", "botocore")}
        assert sdk == set(), file.name


def test_the_stack_and_the_function_do_not_import_each_other() -> None:
    for file in FUNCTION.rglob("*.py"):
        assert not {name for name in imports_of(file) if name.split(".")[0] == "infra"}, file.name
    for file in (REPOSITORY / "infra").rglob("*.py"):
        names = {name for name in imports_of(file) if name.split(".")[0] == "push_sender"}
        assert names == set(), file.name


TOOLS = {
    "infra": set(),
    "operations": {"push_sender"},
    "soak": {"infra", "sandbox"},
    "bench": {"infra", "sandbox", "push_sender"},
}
"""The packages around the function, each with those that it imports."""


@pytest.mark.parametrize("package", TOOLS)
def test_a_tool_imports_only_its_packages(package: str) -> None:
    ours = {"push_sender", "sandbox", "tests", *TOOLS}
    files = (REPOSITORY / package).rglob("*.py")
    imported = {name.split(".")[0] for file in files for name in imports_of(file)} & ours

    assert imported - {package} == TOOLS[package]


def test_only_the_commands_of_jobs_share_code_with_the_function() -> None:
    """The smoke test must find mistakes of the function, and a preview show what it will do."""
    sharing = {
        file.parent.name
        for file in (REPOSITORY / "operations").rglob("*.py")
        if any(name.split(".")[0] == "push_sender" for name in imports_of(file))
    }

    assert sharing == {"jobs"}


def test_a_stacks_construct_imports_no_tool_of_the_installation() -> None:
    for file in (REPOSITORY / "infra").glob("*.py"):
        assert not [name for name in imports_of(file) if name.startswith("infra.install")]
