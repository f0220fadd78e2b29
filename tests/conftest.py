"""Fixtures for all tests, and what keeps the fast tier fast."""

import contextlib
import fcntl
import json
import os
import platform
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import pytest

from tests.synthetic import write_folder

ROOT = Path(__file__).parents[1]
TIERS = ("training", "contract", "nightly")

# For tests on jax, in processes of their own: to compile their small networks well takes longer
# than to run them.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)


# h5py asks for it on its import, and Python asks `uname` the first time.
platform.processor()


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


def pytest_collection_modifyitems(items):
    """Puts the tests that take longest first, so that no process of `-n` ends long after another.

    Files stay together: each counts as the slowest of its tests.
    """
    rank = {}
    for item in items:
        found = [i for i, tier in enumerate(TIERS) if item.get_closest_marker(tier)]
        rank[item.path] = max([rank.get(item.path, -1), *found])
    items.sort(key=lambda item: -rank[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Fails a test without a tier's marker that trains a network or starts a process.

    Around its fixtures too, those of the session among them.
    """
    with contextlib.ExitStack() as stack:
        if not any(item.get_closest_marker(tier) for tier in TIERS):
            for owner, name in _slow_calls():
                stack.enter_context(mock.patch.object(owner, name, _refuse))
        return (yield)


def _slow_calls():
    """(class, method) of what trains a network or starts a process."""
    yield from ((subprocess.Popen, "__init__"), (BaseProcess, "start"))
    keras = sys.modules.get("keras")  # a test without it does not load it here
    if hasattr(keras, "Model"):
        yield from ((keras.Model, "fit"), (keras.Model, "train_on_batch"))


def _refuse(*arguments, **options):
    pytest.fail(f"trains or starts a process: expected a marker among {', '.join(TIERS)}")


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
    import tensorflow  # takes seconds, and most tests need none

    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def training_folder(tmp_path_factory) -> Path:
    """Sixteen made-up 12-lead records."""
    return write_folder(tmp_path_factory.mktemp("training"), 16)


@contextlib.contextmanager
def made_once(tmp_path_factory, name):
    """A place that tests side by side share, and whether it is still to be made; none changes it
    later."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    made = place / f"{name}.made"
    with open(place / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place / name, not made.exists()
        made.touch()


@pytest.fixture(scope="session")
def trained(training_folder, tmp_path_factory):
    """(model folder, printed lines, lines on stderr) of train_model.py: five narrow models, one
    epoch each. Tests that run side by side share them; none may change the folder."""
    with made_once(tmp_path_factory, "trained") as (folder, needed):
        lines = folder.with_suffix(".json")
        if needed:
            process = run_script(
                "train_model.py", training_folder, folder, ECG_PRESET="demo", ECG_EPOCHS="1"
            )
            assert process.returncode == 0, process.stderr
            lines.write_text(json.dumps([process.stdout, process.stderr]))
    return folder, *json.loads(lines.read_text())


@pytest.fixture(scope="session")
def model_folder(trained) -> Path:
    return trained[0]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """A folder of five models that were never trained, for tests that only need answers."""
    from tests.narrow import write_untrained

    return write_untrained(tmp_path_factory.mktemp("untrained"))
