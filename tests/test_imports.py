"""The house: which module of `ecg` may import which, and who may import the heavy packages."""

import ast

import pytest

from ecg.settings import METHOD_NAMES
from tests.conftest import ROOT

NETWORKS = [f"architectures.{name}" for name in METHOD_NAMES]
# A module imports from the rows above its own alone.
ORDER = (
    (
        "leads",
        "classes",
        "demographics",
        "signals",
        "beats",
        "files",
        "progress",
        "splits",
        "devices",
        "choices",
        "command_line",
        "cache_keys",
    ),
    (
        "layers",
        "losses",
        "augmentation",
        "checkpoints",
        "measurements",
        "formats.detection",
        "formats.labels",
    ),
    (
        "epochs",
        "settings",
        "headers",
        "outputs",
        "scoring",
        "selection",
        "published",
        "parallel",
        "bags",
        "expected_score",
        "pages",
        "figures",
        "model_descriptions",
        "lead_arithmetic",
        "formats.table_layout",
    ),
    ("record_files", "mat_files", "formats.scp"),
    ("records", "decisions", "tables", *NETWORKS),
    (
        "architectures",
        "corpus_parts",
        "inputs",
        "sheets",
        "formats.building",
        "explanation",
        "evaluation",
    ),
    (
        "methods",
        "corpus",
        "formats.completion",
        "formats.dicom",
        "formats.edf",
        "formats.ishne",
        "formats.kardia",
        "formats.tables",
        "formats.vendor",
        "formats.wfdb_record",
    ),
    ("batches", "model_files", "variants", "formats"),
    ("training", "inference"),
    ("predictions",),
    ("explanation_pages",),
    ("predict", "report"),
    ("simulation", "simulation.heart", "simulation.rhythms"),
    ("simulation.patients", "simulation.recorders"),
    ("simulation.populations",),
    ("simulation.sources",),
    ("simulation.recordings",),
    ("pretraining",),
    ("folds", "model_folders"),
    ("fold_scores",),
    ("comparison",),
    ("cross_validation", "simulation.__main__"),
)
LEVEL = {module: level for level, row in enumerate(ORDER) for module in row}
# The modules that import these packages; all others may be imported by every module.
ONLY_IN = {
    "keras": {
        *NETWORKS,
        "augmentation",
        "bags",
        "batches",
        "checkpoints",
        "devices",
        "epochs",
        "inference",
        "layers",
        "losses",
        "model_files",
        "training",
    },
    "tensorflow": {"devices"},
    "jax": {"devices"},
    "wfdb": {"records"},
    "pydicom": {"formats.dicom"},
    "edfio": {"formats.edf"},
    "matplotlib": {"figures"},
    "distributed": {"parallel"},
}


def modules() -> list:
    """(dotted name, path) of every module of `ecg`, the package's own file excepted."""
    found = []
    for path in sorted((ROOT / "ecg").rglob("*.py")):
        parts = path.relative_to(ROOT / "ecg").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found.append((name, path))
    return found


def imports_of(path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # "from ecg.architectures import multiscale_se" names the module behind the package.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_module(name: str) -> str | None:
    """The module of `ecg` that an imported name belongs to."""
    name = name.removeprefix("ecg.")
    while name and name not in LEVEL:
        name = name.rpartition(".")[0]
    return name or None


def test_every_module_has_its_place():
    assert {name for name, _ in modules()} == set(LEVEL)


@pytest.mark.parametrize(("name", "path"), modules())
def test_imports_run_downwards_only(name, path):
    for imported in imports_of(path):
        if imported.startswith("ecg."):
            assert LEVEL[own_module(imported)] < LEVEL[name], f"{name} imports {imported}"


@pytest.mark.parametrize(("package", "places"), ONLY_IN.items())
def test_heavy_packages_are_imported_where_they_belong(package, places):
    found = {
        name
        for name, path in modules()
        if package in {imported.split(".")[0] for imported in imports_of(path)}
    }
    assert found == places


def test_team_code_takes_nothing_from_the_callers_files():
    for imported in imports_of(ROOT / "team_code.py"):
        assert imported.startswith("ecg.")
