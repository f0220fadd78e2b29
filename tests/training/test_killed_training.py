"""Trainings that are killed, and given the same command again.

One kill is a part of every run of the tests; `bash scripts/test.sh --all` does twenty.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, run_script
from tests.synthetic import write_folder

LEAD_SETS = (3, 2)
N_KILLS, KILLS_A_TRAINING = 20, 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(records to train on, records to answer)."""
    folder = tmp_path_factory.mktemp("data")
    training = write_folder(folder / "training", 24)
    for lead_set in LEAD_SETS:
        write_folder(folder / "test", 3, lead_set, prefix=f"Q{lead_set}")
    return training, folder / "test"


def start(data, model, *options, lead_sets=LEAD_SETS, **settings) -> subprocess.Popen:
    """A training in a session of its own, so that it can be killed with all its processes."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ECG_")}
    environ = clean | {"ECG_LEADS": ",".join(map(str, lead_sets)), "ECG_WORKERS": "2"} | settings
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training_process", data[0], model, *options],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process) -> str:
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def kill_after(process, seconds, all_of_it) -> bool:
    """Kills the training, or all its processes at once; whether it was still at work."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        process.stdout.close()
        return False
    if all_of_it:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    return True


def results(data, model) -> dict[str, bytes]:
    """What a model folder answers, and its weights."""
    outputs = model.with_name(f"{model.name}-outputs")
    answered = run_script("test_model.py", model, data[1], outputs, "--strict")
    assert answered.returncode == 0, answered.stderr
    return weights(model) | {file.name: file.read_bytes() for file in outputs.iterdir()}


def weights(model) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in model.glob("*.weights.h5")}


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """(results, seconds) of a training that nothing stops."""
    model = tmp_path_factory.mktemp("undisturbed") / "model"
    started = time.monotonic()
    finish(start(data, model))
    seconds = time.monotonic() - started
    found = results(data, model)
    assert len(found) == 3 * len(LEAD_SETS) + len(LEAD_SETS)
    return found, seconds


def assert_nothing_is_left(model, lead_sets=LEAD_SETS):
    names = {f"{size}_leads{end}" for size in lead_sets for end in (".json", ".weights.h5")}
    assert {path.name for path in model.iterdir()} == names


@pytest.mark.contract
def test_a_training_killed_in_its_midst_comes_to_the_same(data, tmp_path):
    def start_short(model):
        return start(data, model, "--one-stage", lead_sets=[2])

    whole, model = tmp_path / "whole", tmp_path / "model"
    finish(start_short(whole))
    process = start_short(model)
    for line in process.stdout:
        if line.startswith("multiscale_se, 2 leads, epoch 2/3"):
            break
    assert kill_after(process, 0, all_of_it=True)
    assert (model / ".training").is_dir()
    printed = finish(start_short(model))
    assert "multiscale_se, 2 leads: resumed after epoch" in printed
    assert "preparing" not in printed
    assert weights(model) == weights(whole)
    assert_nothing_is_left(model, [2])


@pytest.mark.contract
def test_a_fine_tuning_killed_in_its_midst_comes_to_the_same(data, untrained, tmp_path):
    def start_short(model):
        return start(data, model, "--one-stage", lead_sets=[2], ECG_START=str(untrained))

    whole, model = tmp_path / "whole", tmp_path / "model"
    finish(start_short(whole))
    process = start_short(model)
    for line in process.stdout:
        if line.startswith("multiscale_se, 2 leads, epoch 2/3"):
            break
    assert kill_after(process, 0, all_of_it=True)
    assert "multiscale_se, 2 leads: resumed after epoch" in finish(start_short(model))
    assert weights(model) == weights(whole)
    assert_nothing_is_left(model, [2])


@pytest.mark.nightly
def test_twenty_kills_at_random_moments_change_nothing(data, undisturbed, tmp_path):
    expected, seconds = undisturbed
    rng, n_kills, n_trainings = random.Random(20), 0, 0
    while n_kills < N_KILLS:
        n_trainings += 1
        model, left_s, moments = tmp_path / str(n_trainings), seconds, []
        for _ in range(min(KILLS_A_TRAINING, N_KILLS - n_kills)):
            moment = rng.uniform(0, left_s)
            if not kill_after(start(data, model), moment, all_of_it=rng.random() < 0.5):
                break
            moments.append(f"{moment:.1f}")
            left_s -= 0.8 * moment
        printed = finish(start(data, model))
        assert results(data, model) == expected
        assert_nothing_is_left(model)
        n_kills += len(moments)
        went_on = printed.count("resumed after epoch") + printed.count("already trained, kept")
        print(
            f"training {n_trainings}, of {seconds:.0f} s undisturbed: killed after "
            f"{' and '.join(moments) or '-'} s; {went_on} stages or models taken up; the same",
            flush=True,
        )
    print(f"{n_kills} kills of {n_kills} changed nothing", flush=True)
