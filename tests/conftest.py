import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow

from tests.synthetic import write_folder

ROOT = Path(__file__).parents[1]


def run_script(script, *arguments, root=ROOT, **environ) -> subprocess.CompletedProcess:
    """Runs a script of the root in its own process; its output as text."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ECG_")}
    return subprocess.run(
        [sys.executable, str(Path(root) / script), *map(str, arguments)],
        env=clean | environ,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def shared_records() -> Path:
    """643 real records that the project may not ship; tests on them skip where they are missing."""
    folder = ROOT.parent / "shared" / "records"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.fixture(scope="session")
def shared_records_v103(shared_records) -> Path:
    """30 of them as PhysioNet 1.0.3 ships them: other header dialect, nested folders."""
    return shared_records.parent / "records_v103"


@pytest.fixture
def without_graphs():
    """TensorFlow computes step by step: tracing a graph takes longer than one epoch of a test."""
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def training_folder(tmp_path_factory) -> Path:
    """Sixteen made-up 12-lead records."""
    return write_folder(tmp_path_factory.mktemp("training"), 16)


@pytest.fixture(scope="session")
def trained(training_folder, tmp_path_factory):
    """(model folder, finished process) of train_model.py: five narrow models, one epoch each."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    process = run_script(
        "train_model.py", training_folder, folder, ECG_PRESET="demo", ECG_EPOCHS="1"
    )
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.fixture(scope="session")
def model_folder(trained) -> Path:
    return trained[0]
