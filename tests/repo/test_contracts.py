"""Every component that there is runs the contract of its kind."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.cli.registry import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
CONTRACTS = {
    "receivers": {"ReceiverContract"},
    "processors": {"ProcessorContract", "StatefulContract"},
    "exporters": {"ExporterContract"},
    "connectors": {"ConnectorContract"},
    "extensions": {"ExtensionContract"},
}


def tried(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield contract, kind and module of each contract that a test file runs."""
    tree = ast.parse(path.read_text())
    origin = dict(imported(tree))
    for node in ast.walk(tree):
        # By another name pytest does not collect it.
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test") and (module := origin.get(factory_of(node))):
            _, kind, name, *_ = module.split(".")
            for base in node.bases:
                yield ast.unparse(base), kind, name


def factory_of(node: ast.ClassDef) -> str:
    """Return how a class names its factory; empty where it has none."""
    for line in node.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "factory":
            return ast.unparse(line.value).removesuffix(".FACTORY")
    return ""


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that stands for a component or its factory, with the component's module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headrace."):
            for alias in node.names:
                module = node.module if alias.name == "FACTORY" else f"{node.module}.{alias.name}"
                if module.count(".") >= 2:
                    yield alias.asname or alias.name, module


@pytest.fixture(scope="module")
def run() -> set[tuple[str, str, str]]:
    return {found for path in TESTS.rglob("test_*.py") for found in tried(path)}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names])
def test_a_component_runs_the_contract_of_its_kind(run: set[tuple[str, str, str]], kind: str, name: str) -> None:
    """In some test file there is a subclass of the contract that has its factory."""
    assert any((contract, kind, name) in run for contract in CONTRACTS[kind]), (
        f"{kind}/{name} runs none of {sorted(CONTRACTS[kind])}: see docs/plugins.md"
    )


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_module_with_a_factory_is_built_in(kind: str) -> None:
    """One that is not in the table would be no component, and would run no contract."""
    package = importlib.import_module(f"headrace.{kind}")
    modules = (
        importlib.import_module(found.name) for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    )
    assert {one.__name__.rpartition(".")[2] for one in modules if hasattr(one, "FACTORY")} == set(BUILT_IN[kind])
