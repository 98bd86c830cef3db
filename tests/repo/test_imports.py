"""The arrows of docs/architecture.md: which part of the package may import which.

The sources are read, not run, so imports inside functions and under ``TYPE_CHECKING`` count as well.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "headrace"
SOURCES = sorted(PACKAGE.rglob("*.py"))
COMPONENT_KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")

# Of the framework the store knows the values that reach it and the wire formats, not the wiring.
STORE_MAY_IMPORT = (
    "headrace.kernels",
    "headrace.pipeline.batch",
    "headrace.pipeline.counters",
    "headrace.pipeline.errors",
    "headrace.pipeline.identity",
    "headrace.pipeline.native_histograms",
    "headrace.pipeline.regex",
    "headrace.pipeline.series",
    "headrace.pipeline.sigv4",
    "headrace.pipeline.wire",
)

# Its HTTP API also knows the shared listeners, and the contract by which scrapers tell about their targets.
API_MAY_IMPORT = ("headrace.pipeline.http", "headrace.pipeline.targets")

# The components that hand parts of the store to the framework.
BRIDGES = {
    "headrace.exporters.store": ("headrace.store",),
    "headrace.extensions.access": ("headrace.store.access", "headrace.store.workspaces"),
    "headrace.extensions.workspaces": ("headrace.store.access", "headrace.store.workspaces"),
}

COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc", "jitclass", "generated_jit"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported(path: Path) -> list[tuple[int, str]]:
    """Return (line, module) of every import of ours in `path`; dynamic ones of constant names included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            base = node.module or ""
            names = [f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant)]
        else:
            continue
        found += [(node.lineno, name) for name in names if name.split(".")[0] == "headrace"]
    return found


def within(module: str, *parents: str) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def component(module: str) -> str:
    """Return the component a module belongs to: ``processors/limit_kernels.py`` is part of ``limit``.

    A file that has no FACTORY belongs to the component whose name its own begins with; the longest one, for
    ``otlp_json_file_reader`` is no part of ``otlp``.
    """
    kind, name = module.split(".")[1:3] if module.count(".") > 1 else ("", "")
    path = PACKAGE / kind / f"{name}.py"
    words = name.removesuffix("_kernels").split("_")
    for size in range(len(words) if path.is_file() and "FACTORY = " not in path.read_text() else 0, 0, -1):
        owner = PACKAGE / kind / ("_".join(words[:size]) + ".py")
        if owner.is_file() and "FACTORY = " in owner.read_text():
            return f"headrace.{kind}.{owner.stem}"
    return ".".join(module.split(".")[:3]).removesuffix("_kernels")


def allowed(module: str, target: str) -> bool:
    """Tell whether `module` may import `target`."""
    part = module.split(".")[1] if "." in module else ""
    if part == "cli" or target == "headrace" or module == "headrace.__main__":
        return True
    if part == "kernels":
        return within(target, "headrace.kernels")
    if part == "pipeline":
        return within(target, "headrace.pipeline", "headrace.kernels")
    if part in COMPONENT_KINDS:
        if component(module) in BRIDGES and within(target, *BRIDGES[component(module)]):
            return True
        own = len(module.split(".")) > 2 and component(target) == component(module)
        return own or within(target, "headrace.pipeline", "headrace.kernels")
    if part == "store":
        # The API serves HTTP, and shows the targets that scrapers tell of through a protocol.
        shown = within(target, "headrace.pipeline.http", "headrace.pipeline.targets")
        served = within(module, "headrace.store.api") and shown
        return served or within(target, "headrace.store", *STORE_MAY_IMPORT)
    if part == "testing":
        return within(target, "headrace.testing", "headrace.pipeline", "headrace.store", "headrace.kernels")
    return False


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_follow_the_arrows(path: Path) -> None:
    """A module imports only what its part of the package may know."""
    module = module_name(path)
    wrong = [f"{path}:{line}: imports {target}" for line, target in imported(path) if not allowed(module, target)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "target", "verdict"),
    [
        ("headrace.kernels.bits", "headrace.pipeline.errors", False),
        ("headrace.pipeline.graph", "headrace.kernels.jit", True),
        ("headrace.pipeline.graph", "headrace.store.head", False),
        ("headrace.pipeline.graph", "headrace.processors.filter", False),
        ("headrace.processors.filter", "headrace.pipeline.batch", True),
        ("headrace.processors.filter", "headrace.processors.filter_kernels", True),
        ("headrace.processors.filter", "headrace.processors.relabel", False),
        ("headrace.processors", "headrace.processors.relabel", False),
        ("headrace.receivers.prometheus.scrape", "headrace.receivers.prometheus.targets", True),
        ("headrace.receivers.prometheus", "headrace.exporters.debug", False),
        ("headrace.exporters.debug", "headrace.store.head", False),
        ("headrace.exporters.store", "headrace.store.head", True),
        ("headrace.extensions.access_gate", "headrace.store.access.policy", True),
        ("headrace.extensions.access_gate", "headrace.store.head", False),
        ("headrace.extensions.basic_auth", "headrace.store.access.policy", False),
        ("headrace.store.head", "headrace.pipeline.batch", True),
        ("headrace.store.head", "headrace.pipeline.graph", False),
        ("headrace.store.head", "headrace.pipeline.http", False),
        ("headrace.store.api.routes", "headrace.pipeline.http", True),
        ("headrace.store.head", "headrace.exporters.store", False),
        ("headrace.testing.batches", "headrace.processors.filter", False),
        ("headrace.cli.main", "headrace.receivers.prometheus", True),
        ("headrace.store.head", "headrace.cli.main", False),
    ],
)
def test_the_rules_tell_right_from_wrong(module: str, target: str, verdict: bool) -> None:
    """The rules themselves say what docs/architecture.md says."""
    assert allowed(module, target) is verdict


def public_names(tree: ast.Module) -> set[str]:
    """Return the names a package's ``__init__`` offers, save those it only needs for annotations."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {part.id for part in node.targets if isinstance(part, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_public_names_are_listed_in_packages_only(path: Path) -> None:
    """``__all__`` stands in a package's ``__init__`` and nowhere else; there it is complete (ruff sorts it)."""
    tree = ast.parse(path.read_text())
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    if path.name != "__init__.py":
        assert not listed, f"{path}: has __all__"
    elif public_names(tree):
        assert listed, f"{path}: has public names and no __all__"
        assert public_names(tree) == {name for name in listed[0] if not name.startswith("_")}, path


def decorators(node: ast.FunctionDef) -> list[str]:
    return [ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*_kernels.py")), ids=module_name)
def test_kernel_files_hold_kernels_only(path: Path) -> None:
    """Every function of a kernel file carries ``@kernel`` alone, and the file names no other compiler option."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert decorators(node) == ["kernel"], f"{path}:{node.lineno}: {node.name} is no plain kernel"
        if isinstance(node, ast.keyword):
            assert node.arg not in {"fastmath", "parallel"}, f"{path}:{node.value.lineno}: {node.arg}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "numba" not in ast.unparse(node), f"{path}:{node.lineno}: numba is reached by `kernel` only"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_only_one_module_compiles(path: Path) -> None:
    """Numba's decorators are named in headrace/kernels/jit.py alone, and kernels live in kernel files."""
    if path == PACKAGE / "kernels" / "jit.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba"):
            assert not COMPILERS & {alias.name for alias in node.names}, f"{path}:{node.lineno}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"numba", "nb"}:
            assert node.attr not in COMPILERS, f"{path}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.FunctionDef) and "kernel" in decorators(node):
            assert path.name.endswith("_kernels.py") or path.parent == PACKAGE / "kernels", f"{path}:{node.lineno}"
