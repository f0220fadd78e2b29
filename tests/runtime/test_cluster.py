"""A Dask scheduler and two workers on loopback. Nightly: `bash scripts/test.sh --all`."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.synthetic import write_folder

pytest.importorskip("distributed")
pytestmark = pytest.mark.nightly


def launch(*arguments, **environ) -> subprocess.Popen:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ECG_")}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=clean | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def cluster(log, n_workers):
    """(address, workers) of a scheduler with so many workers.

    Each has as many threads as this machine has cores: on other numbers sums come out otherwise in
    their last bits.
    """
    with open(log, "w") as written:
        processes = []

        def run(*arguments):
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *map(str, arguments)],
                    cwd=ROOT,
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            return processes[-1]

        try:
            place = ("--host", "127.0.0.1", "--port", "0")
            run("distributed.cli.dask_scheduler", *place, "--no-dashboard")
            address = scheduler_in(log)
            options = (
                "--nthreads",
                joblib.cpu_count(),
                "--no-dashboard",
                "--local-directory",
                log.parent,
            )
            # One with a nanny, as workers have by default, whose processes are daemons.
            nannies = [(), *[("--no-nanny",)] * (n_workers - 1)]
            workers = [
                run("distributed.cli.dask_worker", address, *options, *nanny) for nanny in nannies
            ]
            yield address, workers
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def scheduler_in(log) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for line in log.read_text().splitlines():
            if "Scheduler at:" in line:
                return line.split("Scheduler at:")[1].strip()
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


def finish(process) -> str:
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    return printed


def weights(model) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in model.glob("*.weights.h5")}


def answers(out) -> dict[str, dict]:
    """What each fold answered, without how long that took."""
    found = {}
    for file in (out / "folds").glob("*fold_*.npz"):
        with np.load(file) as stored:
            found[file.name] = {name: stored[name] for name in stored if name != "facts"}
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "training", 24)


@pytest.fixture(scope="module")
def without(data, tmp_path_factory):
    """What this machine alone comes to: weights of five models, answers of three folds."""
    place = tmp_path_factory.mktemp("without")
    printed = finish(launch("tests.training_process", data, place / "model"))
    assert "complete, a model for each lead set" in printed
    options = ("--cross-validate", "--leads", 2)
    finish(launch("tests.training_process", data, place / "out", *options))
    found = weights(place / "model"), answers(place / "out")
    assert (len(found[0]), len(found[1])) == (5, 3)
    return found


def assert_same_answers(found, expected):
    assert found.keys() == expected.keys()
    for name, parts in expected.items():
        for part, values in parts.items():
            np.testing.assert_array_equal(found[name][part], values)


def test_two_workers_come_to_the_same_models_and_folds(data, without, tmp_path):
    with cluster(tmp_path / "log", 2) as (address, _):
        printed = finish(
            launch("tests.training_process", data, tmp_path / "model", ECG_DASK=address)
        )
        assert "complete, a model for each lead set" in printed
        assert "epoch" not in printed  # the workers trained
        options = ("--cross-validate", "--leads", 2)
        finish(launch("tests.training_process", data, tmp_path / "out", *options, ECG_DASK=address))
    assert weights(tmp_path / "model") == without[0]
    assert_same_answers(answers(tmp_path / "out"), without[1])


def test_a_worker_killed_in_mid_run_changes_nothing(data, without, tmp_path):
    with cluster(tmp_path / "log", 2) as (address, workers):
        process = launch("tests.training_process", data, tmp_path / "model", ECG_DASK=address)
        for line in process.stdout:  # one model is there, others are under way
            if "set aside for its choices" in line or "on its own training records" in line:
                break
        os.killpg(workers[1].pid, signal.SIGKILL)
        finish(process)
        assert workers[1].wait() == -signal.SIGKILL
    assert weights(tmp_path / "model") == without[0]

    with cluster(tmp_path / "log2", 2) as (address, workers):
        options = ("--cross-validate", "--leads", 2)
        process = launch(
            "tests.training_process", data, tmp_path / "out", *options, ECG_DASK=address
        )
        for line in process.stdout:
            if line.startswith("1/3"):
                break
        os.killpg(workers[1].pid, signal.SIGKILL)
        finish(process)
    assert_same_answers(answers(tmp_path / "out"), without[1])


def test_one_worker_is_a_cluster_too(data, without, tmp_path):
    with cluster(tmp_path / "log", 1) as (address, _):
        printed = finish(
            launch(
                "tests.training_process",
                *(data, tmp_path / "model"),
                ECG_DASK=address,
                ECG_LEADS="2",
            )
        )
    assert "epoch" not in printed
    expected = {name: content for name, content in without[0].items() if name.startswith("2_")}
    assert weights(tmp_path / "model") == expected


def test_a_worker_goes_on_from_a_start_as_this_machine_does(data, untrained, tmp_path):
    settings = {"ECG_START": str(untrained), "ECG_LEADS": "2"}
    finish(launch("tests.training_process", data, tmp_path / "here", **settings))
    with cluster(tmp_path / "log", 1) as (address, _):
        model = tmp_path / "there"
        settings["ECG_DASK"] = address
        printed = finish(launch("tests.training_process", data, model, **settings))
    assert "epoch" not in printed
    assert weights(model) == weights(tmp_path / "here") != {}
