"""Which packages of `ecg` may import which, and which may import heavy dependencies."""

import ast
import graphlib
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "ecg"
# A package may import from itself, from these, and from those that these may import.
MAY_IMPORT = {
    "runtime": set(),
    "signals": set(),
    "records": {"runtime", "signals"},
    "models": {"records"},
    "simulation": {"records"},
    "training": {"models", "simulation"},
    "evaluation": {"training"},
    "pages": {"models", "evaluation"},
}
COMMANDS = {"__main__", "cross_validation", "export", "predict", "report", "simulation.__main__"}
# The packages or modules that may import these dependencies.
ONLY_IN = {
    "keras": {"models", "training"},
    "onnx": {"models"},
    "onnxruntime": {"models"},
    "tf2onnx": {"models"},
    "matplotlib": {"pages"},
    "jinja2": {"pages"},
    "wfdb": {"records"},
    "pydicom": {"records"},
    "ecgdatakit": {"records"},
    "distributed": {"runtime"},
    "tensorflow": {"models.devices"},
    "jax": {"models.devices"},
}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> set[str]:
    """Return the dotted names that a file imports, at any level."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # "from ecg.models import losses" imports the module ecg.models.losses.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_imported(path: Path) -> set[str]:
    """Return the modules of `ecg` that a file imports."""
    found = set()
    for name in imports_of(path):
        name = name.removeprefix("ecg.") if name.startswith("ecg.") else ""
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} if name else set()
    return found


def packages_below(package: str) -> set[str]:
    below = set(MAY_IMPORT[package])
    return below.union(*map(packages_below, below))


def package_of(module: str) -> str:
    return module.split(".")[0]


def test_every_module_is_in_a_package_or_a_command():
    loose = {name for name in MODULES if package_of(name) not in MAY_IMPORT}
    assert loose <= COMMANDS | {""}
    assert {package_of(name) for name in MODULES} >= set(MAY_IMPORT)


@pytest.mark.parametrize("name", [name for name in MODULES if name and name not in COMMANDS])
def test_packages_import_only_from_packages_below(name):
    allowed = {package_of(name)} | packages_below(package_of(name))
    for imported in modules_imported(MODULES[name]):
        assert package_of(imported) in allowed, f"{name} imports {imported}"


def test_there_are_no_import_cycles():
    graph = {name: modules_imported(path) - {name} for name, path in MODULES.items()}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_package_is_described_in_a_sentence(package):
    text = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text()))
    assert text.endswith(".")
    assert len(text) < 120


@pytest.mark.parametrize(("package", "allowed"), ONLY_IN.items())
def test_heavy_dependencies_are_imported_only_where_allowed(package, allowed):
    for name, path in MODULES.items():
        if package in {imported.split(".")[0] for imported in imports_of(path)}:
            assert name in allowed or package_of(name) in allowed, f"{name} imports {package}"


def test_team_code_imports_only_the_package():
    for imported in imports_of(ROOT / "team_code.py"):
        assert imported.startswith("ecg.")
