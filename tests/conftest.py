import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow

from tests.synthetic import write_folder

ROOT = Path(__file__).parents[1]

# For tests on jax, in processes of their own: to compile their small networks well takes longer
# than to run them.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)


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
    """(model folder, printed lines, lines on stderr) of train_model.py: five narrow models, one
    epoch each. Tests that run side by side share them; none may change the folder."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folder, lines = place / "trained", place / "trained.json"
    with open(place / "trained.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not lines.exists():
            process = run_script(
                "train_model.py", training_folder, folder, ECG_PRESET="demo", ECG_EPOCHS="1"
            )
            assert process.returncode == 0, process.stderr
            lines.write_text(json.dumps([process.stdout, process.stderr]))
    return folder, *json.loads(lines.read_text())


@pytest.fixture(scope="session")
def model_folder(trained) -> Path:
    return trained[0]
