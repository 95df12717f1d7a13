"""Which folder of the sandbox imports which, and that no imports form a cycle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

SANDBOX = REPOSITORY / "sandbox"

FOLDERS = sorted(folder.name for folder in SANDBOX.iterdir() if (folder / "__init__.py").exists())

IMPORTS: dict[str, set[str]] = {
    "cloudformation": set(),
    "cloudwatch": {"cloudformation"},
    "dynamodb": {"cloudformation"},
    "events": {"cloudformation", "sqs"},
    "functions": {"cloudformation", "iam", "sqs"},
    "http_apis": {"cloudformation", "functions", "iam"},
    "iam": {"cloudformation"},
    "inbox": {"pinpoint"},
    "issuer": {"http_apis"},
    "kms": set(),
    "pinpoint": {"cloudformation"},
    "s3": {"cloudformation"},
    "scheduler": {"cloudformation", "iam", "sqs", "step_functions"},
    "sns": {"cloudformation"},
    "sqs": {"cloudformation", "iam"},
    "stack": {"pinpoint"},
    "step_functions": {"cloudformation"},
}
"""The folders that the modules of a folder import. Modules in no folder connect the folders."""


def name_of(file: Path) -> str:
    """Name the module of a file."""
    parts = file.relative_to(SANDBOX.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in SANDBOX.rglob("*.py")}


def imports_of(file: Path) -> set[str]:
    """Name the modules of the sandbox that a file imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    # Each module imports its packages, which import nothing.
    return (found & MODULES.keys()) - {name_of(file), "sandbox"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_along_the_arrows(folder: str) -> None:
    names = {name for file in (SANDBOX / folder).rglob("*.py") for name in imports_of(file)}
    folders = {name.split(".")[1] for name in names} & set(FOLDERS)

    assert folders - {folder} == IMPORTS[folder]


def test_the_arrows_form_no_cycle() -> None:
    assert set(TopologicalSorter(IMPORTS).static_order()) == set(FOLDERS)


def test_the_modules_form_no_cycle() -> None:
    modules = {name: imports_of(file) for name, file in MODULES.items()}

    assert set(TopologicalSorter(modules).static_order()) >= set(MODULES)


def test_a_package_imports_nothing() -> None:
    packages = [SANDBOX / folder / "__init__.py" for folder in FOLDERS]

    assert not [str(file) for file in packages if imports_of(file)]


def test_only_the_table_of_services_applies_patches_of_a_service() -> None:
    appliers = {name for name, file in MODULES.items() if "applied(" in file.read_text()}

    assert appliers == {
        "sandbox.http_apis.gateway",  # while the gateway runs
        "sandbox.patches",
        "sandbox.pinpoint_only",
        "sandbox.services",
    }
