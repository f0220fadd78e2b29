import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ecg
from ecg.evaluation.folds import run_fold
from ecg.models.registry import find_method, source_module
from ecg.runtime.cache_keys import source_files
from ecg.simulation.recordings import simulate_folder
from ecg.training.dataset import prepare_dataset
from ecg.training.fit import fit
from ecg.training.pretraining import pretrain

PACKAGE = Path(ecg.__path__[0])
CACHED = {
    "prepared arrays": prepare_dataset,
    "simulated records": simulate_folder,
    "folds": run_fold,
    "first stages": pretrain,
    "models": fit,
}
OF_A_METHOD = {"folds", "first stages", "models"}
# What a change of a file makes anew.
MAKES_ANEW = {
    "signals/preprocessing.py": {
        "prepared arrays",
        "folds",
        "first stages",
        "models",
        "simulated records",
    },
    "signals/measurements.py": {"prepared arrays", "folds", "first stages", "models"},
    "signals/delineation.py": {"prepared arrays", "folds", "first stages", "models"},
    "models/architectures/multiscale_se.py": {"folds", "first stages", "models"},
    "models/architectures/mtfnet.py": set(),
    "simulation/heart.py": {"simulated records", "folds", "first stages"},
    "evaluation/folds.py": {"folds"},
    "report.py": set(),
    "pages/explanation.py": set(),
    "pages/predictions.py": set(),
    "evaluation/tables.py": set(),
}


@pytest.mark.parametrize("changed", MAKES_ANEW)
def test_a_cache_follows_the_files_that_making_it_imports_and_no_others(changed):
    method = source_module(find_method("multiscale_se"))
    anew = {
        name
        for name, maker in CACHED.items()
        if PACKAGE / changed
        in source_files(maker.__module__, *((method,) if name in OF_A_METHOD else ()))
    }
    assert anew == MAKES_ANEW[changed]


@pytest.mark.contract
def test_keys_change_with_the_files_content(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "ecg", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from ecg.runtime.cache_keys import cache_key\n"
        "from ecg.training.dataset import prepare_dataset\n"
        "print(cache_key([1], prepare_dataset.__module__))"
    )

    def key() -> str:
        command = [sys.executable, "-c", code]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return process.stdout

    first = key()
    with open(tmp_path / "ecg" / "report.py", "a") as file:
        file.write("changed = 1\n")
    assert key() == first
    with open(tmp_path / "ecg" / "signals/preprocessing.py", "a") as file:
        file.write("# a remark\n")
    assert key() == first
    with open(tmp_path / "ecg" / "signals/preprocessing.py", "a") as file:
        file.write("changed = 1\n")
    assert key() != first
    text = (PACKAGE / "signals/preprocessing.py").read_text()
    (tmp_path / "ecg" / "signals/preprocessing.py").write_text(text.replace('"""', '"""New. ', 1))
    assert key() == first


def test_imports_in_every_form_are_followed(tmp_path):
    package = tmp_path / "ecg"
    (package / "room").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "room/__init__": "",
        "a": "import numpy\nimport ecg.b\nfrom ecg import c\n",
        "b": "def f():\n    from ecg.room.d import name\n",
        "c": "from ecg.room import e\n",
        "room/d": "",
        "room/e": "import ecg.a\n",
        "unrelated": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    found = [path.relative_to(package).as_posix() for path in source_files("ecg.a", root=tmp_path)]
    assert found == [
        "__init__.py",
        "a.py",
        "b.py",
        "c.py",
        "room/__init__.py",
        "room/d.py",
        "room/e.py",
    ]
